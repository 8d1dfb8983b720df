"""Recall and precision of the sketches of stage `minhash` on pairs of known similarity, and what signatures cost.

Pairs are real (all similar pairs of the first documents, found exactly) and made: documents, and pieces of them of 40
to 150 characters, with words replaced so that similarities spread from .5 to 1.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks import truth
from stages.kernels.hashes.hashing import buffers
from stages.kernels.similarity.bands import band_keys
from stages.kernels.similarity.jaccard import estimate, exact_pairs
from stages.kernels.similarity.minhash import slots8
from stages.minhash import MinHash
from stages.near_dedup import NearDedup

SKETCHES = ("permutations", "oph")
THRESHOLDS = (0.7, 0.8, 0.9)
WIDTH = 24
MADE = 60_000  # pairs of each kind: of 6,000 short ones 70 have a similarity of .9
LEAST = 0.5  # similarity of pairs that count
F64 = npt.NDArray[np.float64]


def benchmark(texts: list[str], documents: int) -> dict[str, Any]:
    """Return a row for each kind of pairs, threshold and sketch; so many documents are searched for real pairs."""
    kinds = {
        "real": _real(texts[:documents]),
        "made": list(_made(texts, 200, 20_000)),
        "made, short": list(_made(texts, 40, 150)),
    }
    rows = [row for kind, pairs in kinds.items() for row in _judged(kind, pairs)]
    return {"rows": rows, "rates": {sketch: _rate(texts, sketch) for sketch in SKETCHES}, "missing": {}}


def _real(texts: list[str]) -> list[tuple[str, str]]:
    found = truth.exact(texts, LEAST, "characters", WIDTH)
    first = np.unique(found.group, return_index=True)[1]
    pairs = zip(first[found.left].tolist(), first[found.right].tolist(), strict=True)
    return [(texts[left], texts[right]) for left, right in pairs]


def _made(texts: list[str], shortest: int, longest: int) -> Iterator[tuple[str, str]]:
    choose = random.Random(shortest)
    for _ in range(MADE):
        text = choose.choice(texts)
        size = min(len(text), choose.randint(shortest, longest))
        begin = choose.randint(0, len(text) - size)
        words = text[begin : begin + size].split(" ")
        changed = words.copy()
        share = choose.random() * 0.5 * 6 / WIDTH  # a word changes about WIDTH + 6 shingles
        for at in choose.sample(range(len(words)), max(1, round(share * len(words)))):
            changed[at] = f"new{choose.randrange(10**6)}"
        if len(" ".join(words)) >= shortest:
            yield " ".join(words), " ".join(changed)


def _judged(kind: str, pairs: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    column = pa.array([text for pair in pairs for text in pair], pa.large_string())
    left = np.arange(0, len(column), 2)
    similarity = exact_pairs(*buffers(column), left, left + 1, WIDTH)
    for sketch in SKETCHES:
        matrix = MinHash(sketch=sketch, shingle_width=WIDTH).signatures(column)
        slots = slots8(matrix)
        value = estimate(slots[::2], slots[1::2])
        for threshold in THRESHOLDS:
            bands = NearDedup(jaccard_threshold=threshold).banding(matrix.shape[1])
            keys = band_keys(matrix, *bands)
            together = (keys[::2] == keys[1::2]).any(axis=1)
            yield {"pairs": kind, "sketch": sketch, "threshold": threshold} | _shares(
                similarity, value, together, threshold
            )


def _shares(similarity: F64, value: F64, together: npt.NDArray[np.bool_], threshold: float) -> dict[str, Any]:
    """Return the recall of candidates (all there is to say where texts decide), and both where the estimate does."""
    similar, taken = similarity >= threshold, together & (value >= threshold)
    apart = value - similarity
    return {
        "similar": int(similar.sum()),
        "recall": float(together[similar].mean()),
        "recall_unverified": float(taken[similar].mean()),
        "precision_unverified": float(similar[taken].mean()),
        "bias": float(apart[similarity >= LEAST].mean()),
        "deviation": float(apart[similarity >= LEAST].std()),
    }


def _rate(texts: list[str], sketch: str) -> float:
    """Return megabytes of text a second of processor time, the best of three."""
    column = pa.array(texts, pa.large_string())
    stage, spent = MinHash(sketch=sketch, shingle_width=WIDTH), []
    for _ in range(3):
        begin = time.process_time()
        stage.signatures(column)
        spent.append(time.process_time() - begin)
    return float(len(buffers(column)[0]) / 1e6 / min(spent))
