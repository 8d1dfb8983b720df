"""What verifying candidates costs in the whole, of which a sample holds only a few.

A near_dedup's work after its buckets grows with the documents that share one, and their number does not
follow the sample's. It is put together from the estimated number of candidates, the rate of reading and the
time that a true similarity takes on the sample's texts.
"""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa

from pipelines.plan.density import Duplicates
from pipelines.plan.sample import Measured
from stages.core.arrays import whole
from stages.core.costs import Quantity
from stages.dedup.near.components import JOIN
from stages.kernels.hashes.hashing import buffers
from stages.kernels.similarity.jaccard import exact_pairs
from stages.near_dedup import near_job
from stages.passes.annotate import read_bundle

TURNS = 1.0  # readings of the whole text: the first turn asks for most candidates, later ones for a few
CANDIDATE_SECONDS = 12e-6  # of routing and deciding one candidate, texts apart (9 to 14 us, 2026-11-29)
# Similarities per candidate, in the time of one alone of texts that share little: .14 to .17 on 3,600 to 129,000
# candidates, whose texts share long runs (2026-11-29).
PAIRS = 0.2
ROW_BYTES = 120  # of a candidate besides its text and signature slots
TIMED = 400  # texts whose similarities are timed


def in_sample(measured: Measured, stage: str) -> int:
    """Return how many of the sample's documents shared a bucket."""
    results = [c.results for c in measured.calls if c.step == stage and c.cost == JOIN]
    return sum(int(documents) for found in results for documents, _ in found)


def in_all(measured: Measured, stage: str, known: Duplicates, live: float) -> float:
    """Estimate how many of `live` documents share a bucket: the duplicates, what they lost to, and strangers.

    Where more documents than the sample were looked at, they tell.
    """
    if known.candidates is not None:
        return live * known.candidates
    share = known.in_sample if known.in_all is None else known.in_all
    members = 1.0 + known.groups / max(1, known.dropped)
    strangers = max(0, in_sample(measured, stage) - known.dropped - known.groups) / max(1, known.documents)
    return live * min(1.0, share * members + strangers)


def pair_seconds(measured: Measured, index: int) -> float:
    """Return the seconds that the true similarity of two of the sample's texts takes."""
    run, how = measured.run, near_job(measured.run, index).shingling
    texts: list[pa.Array] = []
    for bundle in run.manifest.bundles:
        for _, batch in read_bundle(run, bundle, ["text"]):
            texts.append(whole(batch.table.column("text")).slice(0, TIMED // max(1, len(run.datasets))))
            break
    text = pa.concat_arrays(texts) if texts else pa.array([], pa.large_string())
    if len(text) < 2:
        return 0.0
    left = np.arange(0, len(text) - 1, 2)
    data, offsets = buffers(text)
    exact_pairs(data, offsets, left[:1], left[:1] + 1, how.width, words=how.unit == "words")
    begin = time.perf_counter()
    exact_pairs(data, offsets, left, left + 1, how.width, words=how.unit == "words")
    return (time.perf_counter() - begin) / len(left)


def prices(measured: Measured, index: int) -> dict[Quantity, float]:
    """Return the seconds of one core for a unit of what a near_dedup's tasks declare to be rare in a sample."""
    found = {Quantity.CANDIDATES: CANDIDATE_SECONDS}
    if near_job(measured.run, index).compares_texts:
        found[Quantity.CANDIDATE_PAIRS] = pair_seconds(measured, index)
        found[Quantity.CANDIDATE_TEXTS] = measured.again.seconds
    return found


def extra_bytes(measured: Measured, index: int, candidates: float, text_bytes: float) -> float:
    """Return the bytes that candidates write: signature slots, order, and texts of `text_bytes` each."""
    near = near_job(measured.run, index)
    text = text_bytes if near.compares_texts else 0.0
    return candidates * (text + near.num_permutations + ROW_BYTES)
