"""What the rows of one bundle in ledger and mix are made from, as digests: equal digests, equal rows.

So files of ledger and mix stay where only other bundles' rows changed, and where only some columns did (a document won
a copy, so its group is larger), the others are copied. Guarantees: a digest is told only where all that
rows depend on is in it: facts (named by their addresses), verdicts of deduplication, representatives and groups; not
for recipes with cells, several mixes, copy numbers, held-out groups or other stages that compare documents. Memory:
the verdicts on one bundle, and the survivors of its group.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from cluster.engines import Engine
from cluster.version import VERSION as WINNOW
from stages.core.arrays import array, whole
from stages.core.costs import per_bundle
from stages.core.digests import DATA_FORMAT, digest
from stages.core.exchange_stage import ExchangeStage
from stages.core.run import Run
from stages.core.shard import ROW_BITS, Bundle
from stages.core.stage import ShardStage
from stages.core.view import View
from stages.dedup.dedup_stage import DedupStage
from stages.kernels.hashes.hashing import buffers
from stages.outcome import lineage
from stages.outcome.draw import Draw
from stages.outcome.mixing import CONTENT, Mix

I64 = npt.NDArray[np.int64]
VERSION = 3  # 1 had one digest for all columns, 2 hashed what lies beside the groups of a bundle
TELL = per_bundle("tell what rows are made from")


@dataclass(frozen=True)
class MadeFrom:
    """Digests of what the rows of a bundle are made from, in the ledger and in the mix; empty where none is told.

    ledger : of its columns that deduplication does not touch, of verdicts, of groups, with colons between. mix : of
    all columns but the size of groups, and of that.
    """

    ledger: str = ""
    mix: str = ""


def made_from(engine: Engine, run: Run, draws: Sequence[Draw]) -> list[MadeFrom]:
    """Return what the rows of each bundle are made from."""
    count = len(run.manifest.bundles)
    if not _can_be_told(run, draws):
        return [MadeFrom()] * count
    [draw] = draws
    return engine.map(partial(_of_bundle, run, draw, _rule(run)), range(count), cost=TELL)


def rule_of_rows(run: Run, mix: Mix) -> str:
    """Return the digest of what it depends on which rows of all bundles live and are held out; empty if not told."""
    told = _all_plain(run) and mix.holdout_by == CONTENT
    return digest(_rule(run), mix.holdout, mix.seed) if told else ""


def rows_made_from(view: View, rule: str) -> str:
    """Return the digest of what it depends on which rows of a bundle live. rule: of all bundles."""
    return digest(rule, view.bundle.dataset, view.reading, view.bundle.fingerprint, _verdicts(view)[0])


def rows_can_be_told(run: Run, mixes: Sequence[Mix]) -> bool:
    """Tell whether which rows live and are held out depends on nothing but what digests are made of here."""
    if len(mixes) != 1 or not _all_plain(run):
        return False
    return not (mixes[0].cells or mixes[0].name) and mixes[0].holdout_by == CONTENT


def _can_be_told(run: Run, draws: Sequence[Draw]) -> bool:
    """Tell the same of rows of the mix."""
    told = rows_can_be_told(run, [draw.mix for draw in draws])
    return told and not (draws[0].numbered or draws[0].excluded)


def _all_plain(run: Run) -> bool:
    """Tell whether all stages that compare documents are deduplication whose verdicts are those it stored."""
    return all(isinstance(s, DedupStage) and _is_plain(s) for s in run.stages if s.exchanges)


def _is_plain(stage: DedupStage) -> bool:
    """Tell whether a stage's verdicts are those it stored, with no words beside them."""
    kind = type(stage)
    plain = kind.verdicts is ExchangeStage.verdicts and kind.evidence is ExchangeStage.evidence
    return plain and not kind.rewrites()


def _rule(run: Run) -> str:
    """Return the digest of what the rows of all bundles depend on."""
    facts = [run.facts(s).folder.removeprefix(run.root) for s in run.stages if isinstance(s, ShardStage)]
    stages = [(s.name, s.digest()) for s in run.stages]
    return digest(VERSION, WINNOW, DATA_FORMAT, pa.__version__, stages, facts)


def _of_bundle(run: Run, draw: Draw, rule: str, position: int) -> MadeFrom:
    view = View.at(run, position)
    bundle, mix = view.bundle, draw.mix
    epochs = draw.epochs.get(bundle.dataset)
    role = run.dataset(bundle.dataset).role
    pieces = [(p.shard.ordinal, p.shard.path, p.start, p.stop) for p in bundle.pieces]
    wish = (mix.mode, epochs, mix.holdout, mix.seed, role)
    same = (rule, bundle.dataset, view.reading, bundle.fingerprint, pieces)
    rows, verdicts = _verdicts(view)
    sizes, groups, survivors = _lineage(run, position, bundle)
    return MadeFrom(
        ledger=":".join((digest(same), digest(wish, rows, verdicts, survivors), digest(rows, groups))),
        mix=":".join((digest(same, wish, rows), digest(sizes))),
    )


def together(parts: Sequence[str], *more: object) -> str:
    """Return the digests of rows of several bundles, and of more that the first family depends on; empty as theirs."""
    if not parts or not all(parts):
        return ""
    first, *others = zip(*(part.split(":") for part in parts), strict=True)
    return ":".join((digest(first, more), *(digest(each) for each in others)))


def _verdicts(view: View) -> tuple[list[str], list[object]]:
    """Return digests of the rows that each dedup stage dropped, and of why."""
    rows: list[str] = []
    verdicts: list[object] = []
    for index, stage in enumerate(view.run.stages):
        if stage.exchanges and stage.applies_to(view.bundle.dataset):
            table = view.stored_decisions(index)
            rows.append(_hash([array(table, "row")]))
            verdicts.append(_hash(array(table, name) for name in table.schema.names))
            verdicts.append(_datasets(view.run, array(table, "representative").astype(np.int64)))
    return rows, verdicts


def _datasets(run: Run, doc: I64) -> list[tuple[int, str]]:
    ordinals = np.unique(doc >> ROW_BITS).tolist()
    return [(ordinal, run.manifest.shard(ordinal).dataset) for ordinal in ordinals]


def _lineage(run: Run, position: int, bundle: Bundle) -> tuple[str, str, str]:
    """Return digests of the sizes of groups, of all that is told of groups, and of survivors, of a bundle's rows."""
    group = run.manifest.group_at(position)
    doc, survivor = lineage.survivors_of(run, group)
    ends = list(lineage.rows_of_bundle(bundle, doc))
    table = lineage.groups_of(run, group)
    won = list(lineage.rows_of_bundle(bundle, array(table, "doc").astype(np.int64)))
    parts = [table.slice(first, last - first) for first, last in won]
    sizes = _hash(array(part, name) for part in parts for name in ("doc", "group_size"))
    words = _hash(column for part in parts for column in _own_buffers(whole(part.column("group_datasets"))))
    return sizes, sizes + words, _hash(column[first:last] for first, last in ends for column in (doc, survivor))


def _own_buffers(texts: pa.Array) -> tuple[npt.NDArray[np.uint8], I64]:
    """Return bytes and offsets of strings alone, whatever they are a slice of."""
    data, offsets = buffers(texts)
    return data[offsets[0] : offsets[-1]], offsets - offsets[0]


def _hash(columns: Iterable[npt.NDArray[np.generic]]) -> str:
    mark = xxhash.xxh3_128()
    for column in columns:
        mark.update(f"{len(column)}{column.dtype}".encode())
        mark.update(np.ascontiguousarray(column).view(np.uint8).data)
    return str(mark.hexdigest())
