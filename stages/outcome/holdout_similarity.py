"""How similar held-out documents are to the training part: the greatest similarity of a sample of them, measured.

With a `minhash` stage its signatures of all training documents are compared; without one those of a sample of them,
made for the purpose. Similarities are estimates of Jaccard similarity by equal slots.

Guarantees: samples follow from content hashes, so that the answer does not depend on order or partitioning. Memory: the
signatures of `HELD` documents, and those of one bundle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from cluster.engines import Engine, TaskCost
from stages.core.arrays import array, whole
from stages.core.costs import per_bundle
from stages.core.run import Run
from stages.core.view import View
from stages.dedup.near.signatures import SignatureStage, signature_matrix
from stages.kernels.hashes.hashing import buffers, mix64
from stages.kernels.similarity import minhash
from stages.outcome.holdout import held_out
from stages.outcome.mixing import Mix
from stages.outcome.quantiles import chunks
from stages.outcome.verdicts import outcome
from stages.passes.annotate import read_rows

T = TypeVar("T")
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.unsignedinteger]
HELD = 400  # held-out documents that are measured
TRAINING = 4000  # training documents they are compared with where there are no signatures
WIDTH, SLOTS, SEED = 24, 128, 42  # of signatures made for the purpose: those of stage minhash
SALT = 0x6C65616B
BLOCK = 1 << 22  # slots compared at once
SAMPLE = per_bundle("sample signatures")
COMPARE = per_bundle("compare held-out documents")


@dataclass(frozen=True, eq=False)
class _Sample:
    """Documents with the smallest ranks: rank (from the content hash), doc_id, signature, (docs, …) each."""

    rank: U64
    doc: I64
    signature: Matrix

    def smallest(self, count: int) -> _Sample:
        order = np.lexsort([self.doc, self.rank])[:count]
        return _Sample(self.rank[order], self.doc[order], self.signature[order])


@dataclass(frozen=True, eq=False)
class _Nearest:
    """The most similar training document of each held-out one, (held,) each, and how many were compared."""

    similarity: npt.NDArray[np.float64]
    rank: U64
    doc: I64
    compared: int


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """How similar held-out documents are to the training part; see `HoldoutSimilarity`, which has the same fields."""

    how: str
    measured: int
    compared: int
    greatest: float
    mean: float
    held_out: int | None
    training: int | None


def measure(engine: Engine, run: Run, mix: Mix) -> Similarity | None:
    """Return how similar the held-out documents are to the survivors that are not; None where nothing is held out."""
    if mix.holdout <= 0:
        return None
    place = next((i for i in reversed(range(len(run.stages))) if isinstance(run.stages[i], SignatureStage)), None)
    held = _joined(_map(engine, run, partial(_sample, run, mix, place, True, HELD), SAMPLE), HELD)
    if place is None:
        how = f"signatures made of at most {TRAINING:,} training texts, sampled by content"
        training = _joined(_map(engine, run, partial(_sample, run, mix, None, False, TRAINING), SAMPLE), TRAINING)
        parts = [_nearest(held, training)] if held and training else []
    else:
        how = f"signatures of {run.stages[place].name}, of every training document"
        parts = _map(engine, run, partial(_compare, run, mix, place, held), COMPARE) if held else []
    if held is None or not parts:
        return Similarity(how=how, measured=0, compared=0, greatest=0.0, mean=0.0, held_out=None, training=None)
    best = _best(parts)
    top = int(np.lexsort([held.rank, -best.similarity])[0])
    return Similarity(
        how=how,
        measured=len(held.doc),
        compared=best.compared,
        greatest=float(best.similarity[top]),
        mean=float(round(best.similarity.mean(), 6)),
        held_out=int(held.doc[top]),
        training=int(best.doc[top]) if best.compared else None,
    )


def _map(engine: Engine, run: Run, task: Callable[[list[int]], T], cost: TaskCost) -> list[T]:
    return engine.map(task, chunks(range(len(run.manifest.bundles))), cost=cost)


def _rows(run: Run, mix: Mix, held: bool, position: int) -> tuple[View, I64, U64]:
    """Return the kept rows of a bundle that are held out, or are not, and their ranks."""
    found = outcome(run, position)
    out = held_out(mix, position, found)
    mixed = run.dataset(found.view.bundle.dataset).role != "reference"
    rows = np.flatnonzero((out if held else found.kept & ~out) & mixed)
    h1 = array(found.view.read, "h1").astype(np.uint64)[rows]
    return found.view, rows, mix64(h1, mix.seed ^ SALT)


def _sample(run: Run, mix: Mix, place: int | None, held: bool, count: int, positions: Sequence[int]) -> _Sample | None:
    """Return the documents of the smallest ranks of some bundles, held out or not."""
    found: list[_Sample] = []
    for position in positions:
        view, rows, rank = _rows(run, mix, held, position)
        if place is not None and not run.stages[place].applies_to(view.bundle.dataset):
            continue
        chosen = np.sort(np.lexsort([view.doc_ids[rows], rank])[:count])
        if len(chosen):
            rows = rows[chosen]
            found.append(_Sample(rank[chosen], view.doc_ids[rows], _signatures(view, place, rows)))
    return _joined(found, count)


def _joined(parts: Sequence[_Sample | None], count: int) -> _Sample | None:
    there = [part for part in parts if part is not None]
    if not there:
        return None
    columns = [np.concatenate([getattr(p, f.name) for p in there]) for f in dataclasses.fields(_Sample)]
    return _Sample(*columns).smallest(count)


def _signatures(view: View, place: int | None, rows: I64) -> Matrix:
    if place is not None:
        return signature_matrix(view.facts(place, rows))
    family = minhash.nemo_parameters(SLOTS, SEED, 32)
    found = np.zeros((len(rows), SLOTS), np.uint32)
    for batch, at in read_rows(view.run, view.bundle, rows, ["text"]):
        data, offsets = buffers(whole(batch.table.column("text")))
        found[at] = minhash.signatures(data, offsets, family, WIDTH)
    return found


def _compare(run: Run, mix: Mix, place: int, held: _Sample, positions: Sequence[int]) -> _Nearest:
    """Return the nearest training document of each held-out one among those of some bundles."""
    best = _nothing(len(held.doc))
    for position in positions:
        view, rows, rank = _rows(run, mix, False, position)
        if len(rows) and run.stages[place].applies_to(view.bundle.dataset):
            training = _Sample(rank, view.doc_ids[rows], _signatures(view, place, rows))
            best = _best([best, _nearest(held, training)])
    return best


def _nothing(held: int) -> _Nearest:
    return _Nearest(np.zeros(held), np.full(held, 2**64 - 1, np.uint64), np.full(held, -1, np.int64), 0)


def _nearest(held: _Sample, training: _Sample) -> _Nearest:
    """Return the nearest of these training documents of each held-out one; of equally near ones that of least rank."""
    training = training.smallest(len(training.doc))
    best = _nothing(len(held.doc))
    slots = held.signature.shape[1]
    size = max(1, BLOCK // (len(held.doc) * slots))
    similarity, where = best.similarity.copy(), np.zeros(len(held.doc), np.int64)
    for start in range(0, len(training.doc), size):
        block = training.signature[start : start + size]
        equal = (held.signature[:, None, :] == block[None, :, :]).sum(axis=2)
        place = equal.argmax(axis=1)
        value = equal[np.arange(len(equal)), place] / slots
        better = value > similarity
        similarity[better], where[better] = value[better], start + place[better]
    there = similarity > 0
    rank, doc = np.where(there, training.rank[where], best.rank), np.where(there, training.doc[where], -1)
    return _Nearest(similarity, rank, doc, len(training.doc))


def _best(parts: Sequence[_Nearest]) -> _Nearest:
    total = parts[0]
    for part in parts[1:]:
        same = (part.similarity == total.similarity) & (part.rank < total.rank)
        better = (part.similarity > total.similarity) | same
        total = _Nearest(
            np.where(better, part.similarity, total.similarity),
            np.where(better, part.rank, total.rank),
            np.where(better, part.doc, total.doc),
            total.compared + part.compared,
        )
    return total
