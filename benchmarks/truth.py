"""All pairs of documents whose shingle sets have at least a given Jaccard similarity, exactly.

Independent of winnow's kernels: shingles are Python's characters or words, numbered by a 64-bit polynomial hash.
Pairs are found by prefix filtering (Bayardo et al. 2007, "Scaling up all pairs similarity search"): two sets
with Jaccard >= t share an element among the n - ceil(t * n) + 1 rarest of each, so nothing is missed; then
every candidate is intersected. Documents with equal sets form a group, and pairs are pairs of groups.
Memory: about 60 bytes per shingle of the corpus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from xxhash import xxh64_intdigest

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

_BASE = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xFF51AFD7ED558CCD)


@dataclass(frozen=True, eq=False)
class Truth:
    """Groups of documents with equal shingle sets, and the pairs of similar groups.

    group: (documents,) the group of each document. left, right: (pairs,) groups. similarity: (pairs,) exact.
    """

    group: I64
    left: I64
    right: I64
    similarity: npt.NDArray[np.float64]


def exact(texts: Sequence[str], threshold: float, kind: str = "characters", width: int = 25) -> Truth:
    """Return all pairs of texts with Jaccard >= threshold over their shingles.

    Examples
    --------
    >>> exact(["a b c d", "a b c e", "x y"], 0.3, "words", 2).similarity.tolist()
    [0.5]
    """
    sets = [shingle_set(text, kind, width) for text in texts]
    first: dict[bytes, int] = {}
    group = np.array([first.setdefault(found.tobytes(), len(first)) for found in sets], np.int64)
    members = np.unique(group, return_index=True)[1]
    distinct = [sets[i] for i in members]
    left, right = _candidates(distinct, threshold)
    similarity = np.array([_jaccard(distinct[a], distinct[b]) for a, b in zip(left, right, strict=True)], np.float64)
    found = similarity >= threshold - 1e-12
    return Truth(group, left[found], right[found], similarity[found])


def shingle_set(text: str, kind: str, width: int) -> U64:
    """Return the distinct shingles of a text as sorted numbers; a shorter text is one shingle."""
    if kind == "characters":
        symbols = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.uint64)
    else:
        symbols = np.array([xxh64_intdigest(word.encode()) for word in text.split()], np.uint64)
    symbols = (symbols ^ (symbols >> np.uint64(33)) ^ _BASE) * _MIX
    symbols ^= symbols >> np.uint64(29)
    count = max(len(symbols) - width + 1, 1)
    number = np.zeros(count, np.uint64)
    for i in range(min(width, len(symbols))):
        number = number * _BASE + symbols[i : i + count]
    return np.unique(number)


def _candidates(sets: list[U64], threshold: float) -> tuple[I64, I64]:
    """Return the pairs of sets that share a shingle of their prefixes and are close enough in size."""
    sizes = np.array([len(found) for found in sets], np.int64)
    owner = np.repeat(np.arange(len(sets)), sizes)
    numbers, token, counts = np.unique(np.concatenate(sets), return_inverse=True, return_counts=True)
    rank = np.empty(len(numbers), np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(numbers))
    order = np.lexsort((rank[token], owner))
    token, owner = token[order], owner[order]
    place = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    prefix = sizes - np.ceil(threshold * sizes - 1e-9).astype(np.int64) + 1
    used = (place < prefix[owner]) & (counts[token] > 1)
    token, owner = token[used], owner[used]
    order = np.lexsort((owner, token))
    left, right = _within_runs(token[order], owner[order], len(sets))
    close = np.minimum(sizes[left], sizes[right]) >= threshold * np.maximum(sizes[left], sizes[right]) - 1e-9
    return left[close], right[close]


def _within_runs(token: I64, owner: I64, n: int) -> tuple[I64, I64]:
    """Return the distinct pairs of owners of one token; pairs `lag` apart in a run, for each lag."""
    found: list[I64] = []
    start = np.arange(len(token))
    lag = 1
    while True:
        start = start[start + lag < len(token)]
        start = start[token[start] == token[start + lag]]
        if not len(start):
            break
        found.append(np.unique(owner[start] * n + owner[start + lag]))
        lag += 1
    codes = np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)
    return codes // n, codes % n


def _jaccard(a: U64, b: U64) -> float:
    common = len(np.intersect1d(a, b, assume_unique=True))
    return common / (len(a) + len(b) - common)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How right a set of removals is.

    precision: removed documents that have a similar document at all. lost: removed documents without a similar one
    among those kept, so that their content is gone. recall: of all removals that were due, those made; due and
    not made is what a pass over the kept documents would still remove.
    """

    removed: int
    precision: float
    lost: float
    recall: float


def judge(truth: Truth, kept: npt.NDArray[np.bool_]) -> Verdict:
    """Compare removals with the truth; kept is (documents,) bool."""
    groups = int(truth.group.max(initial=-1)) + 1
    size = np.bincount(truth.group, minlength=groups)
    living = np.bincount(truth.group[kept], minlength=groups)
    similar, alive_near = size > 1, living > 0
    for a, b in ((truth.left, truth.right), (truth.right, truth.left)):
        similar = similar | (np.bincount(a, minlength=groups) > 0)
        alive_near = alive_near | (np.bincount(a, living[b] > 0, groups) > 0)
    removed = truth.group[~kept]
    right = int(similar[removed].sum())
    missed = int(np.maximum(living - 1, 0).sum()) + _still_removable(truth, living > 0)
    return Verdict(
        removed=len(removed),
        precision=right / max(len(removed), 1),
        lost=float((~alive_near[removed]).sum()) / max(len(removed), 1),
        recall=right / max(right + missed, 1),
    )


def _still_removable(truth: Truth, alive: npt.NDArray[np.bool_]) -> int:
    """Count the living groups that a greedy pass drops, because an earlier one that it keeps is similar."""
    neighbours: dict[int, list[int]] = {}
    for a, b in zip(truth.left.tolist(), truth.right.tolist(), strict=True):
        neighbours.setdefault(max(a, b), []).append(min(a, b))
    kept = alive.copy()
    for group in sorted(neighbours):
        if kept[group] and any(kept[other] for other in neighbours[group]):
            kept[group] = False
    return int(alive.sum() - kept.sum())
