"""Limits and stop words of a language, learned from good text of it.

FineWeb2 (Penedo et al. 2025, arXiv:2506.20920; https://github.com/huggingface/fineweb-2, `configs/`) has a file of
limits for each of its languages. What they have in common is followed here: the facts that are learned and those that
are left as they are or switched off, lists of at least eight stop words of which two must occur, whole numbers for the
mean length of words, and for the score of the language `max(0.3, min(0.9, median - standard deviation))`. The cuts
follow one of the methods that the paper compares:

- `tail`: the cut beyond which at most a share lies (its 10Tail: 0.1 for each rule), with a margin for small references.
- `mean_std`: as many standard deviations from the reference's mean as the English limit is from English text's.
- `quantile`: the cut beyond which as large a share of the reference lies as of English text beyond the English limit.
- `median_ratio`: the English limit times the ratio of the two medians.

The last three need English text besides. Guarantees: pure functions of numbers; a cut is never stricter than half way
from the English limit to a text without fault, as a clean reference does not show how much repetition is too much.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bounds = tuple[float, float]
METHODS = ("tail", "mean_std", "quantile", "median_ratio")
LEAST_STOP_WORDS, NEEDED = 8, 2
Z95 = 1.645  # one-sided 95 % quantile of the normal distribution
STOP_WORD_SHARE = 0.008  # of a text's words: about what the shortest lists of FineWeb2's large languages begin at
LEARNED = (  # facts, as in FineWeb2's configurations
    "mean_word_length",
    "alpha_words",
    "duplicate_lines",
    *(f"top_{n}gram" for n in (2, 3, 4)),
    *(f"duplicate_{n}grams" for n in range(5, 11)),
    "line_punctuation",
    "newlines_per_word",
)
FIXED: dict[str, Bounds] = {  # facts that FineWeb2 does not judge, or by one limit in all languages
    "duplicate_line_chars": (-math.inf, math.inf),
    "duplicate_paragraphs": (-math.inf, math.inf),
    "duplicate_paragraph_chars": (-math.inf, math.inf),
    "short_lines": (-math.inf, math.inf),
    "line_duplicate_chars": (-math.inf, 0.1),
}
WHOLE = ("mean_word_length",)  # rounded outwards to whole numbers, as FineWeb2 has it
UNBOUNDED = ("mean_word_length",)  # no share: what a text without fault has is not known


@dataclass(frozen=True)
class Cut:
    """One learned limit. beyond: share of the reference that it would drop."""

    fact: str
    low: float
    high: float
    beyond: float


def stop_words(counts: Mapping[str, int], share: float = STOP_WORD_SHARE) -> list[str]:
    """Return the words that make up at least this share of all words, and at least eight, the commonest first.

    >>> stop_words({"a": 900, "b": 90, "c": 9, "d": 1}, 0.05)
    ['a', 'b', 'c', 'd']
    """
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [word for place, (word, n) in enumerate(ordered) if place < LEAST_STOP_WORDS or n >= share * total]


def language_score(scores: F64) -> float:
    """Return the least score of a language: FineWeb2's max(0.3, min(0.9, median - standard deviation)).

    >>> language_score(np.array([0.99, 0.97, 0.98])), language_score(np.array([0.2, 0.4, 0.3]))
    (0.9, 0.3)
    """
    return round(max(0.3, min(0.9, float(np.median(scores) - np.std(scores)))), 3)


def calibration(right: I64, wrong: I64) -> list[tuple[float, float]]:
    """Return (score, share that is right) at the knots of the isotonic regression of labels that are right or wrong.

    right, wrong : labels by score, in bins of equal width from 0 to 1, (bins,) each. Pools adjacent violators (Zadrozny
    and Elkan 2002); a block of n labels of which k are right has the share (k + 0.5) / (n + 1).

    >>> calibration(np.array([1, 9]), np.array([8, 0]))
    [(0.25, 0.15), (0.75, 0.95)]
    """
    blocks: list[list[float]] = []  # right, all, sum of scores
    for place in np.flatnonzero(right + wrong).tolist():
        n = float(right[place] + wrong[place])
        blocks.append([float(right[place]), n, n * (place + 0.5) / len(right)])
        while len(blocks) > 1 and _share(blocks[-2]) >= _share(blocks[-1]):
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    shares = np.maximum.accumulate(np.array([_share(block) for block in blocks], np.float64))
    return [(round(b[2] / b[1], 6), round(float(share), 6)) for b, share in zip(blocks, shares, strict=True)]


def _share(block: list[float]) -> float:
    return (block[0] + 0.5) / (block[1] + 1)


def cuts(
    values: Mapping[str, F64],
    published: Mapping[str, Bounds],
    *,
    method: str = "tail",
    share: float = 0.01,
    english: Mapping[str, F64] | None = None,
) -> list[Cut]:
    """Return the limits of every learned fact that has a published, English one.

    Parameters
    ----------
    values : the facts of the reference's documents, by name, (documents,) each.
    published : (least, greatest) of each fact for English.
    method, share : one of METHODS; the share of `tail`.
    english : the facts of English text, which every method but `tail` needs.
    """
    found = []
    for fact in LEARNED:
        if fact not in published:
            continue
        theirs = english[fact] if english is not None else np.empty(0)
        low, high = published[fact]
        low = _outward(fact, _low(fact, values[fact], low, method, share, theirs), down=True)
        high = _outward(fact, _high(fact, values[fact], high, method, share, theirs), down=False)
        beyond = float(np.mean((values[fact] < low) | (values[fact] > high)))
        found.append(Cut(fact, low, high, beyond))
    return found


def _high(fact: str, values: F64, limit: float, method: str, share: float, english: F64) -> float:
    if not math.isfinite(limit):
        return limit
    if method == "tail":
        cut = _tail(values, share)
    elif method == "quantile":
        cut = float(np.quantile(values, np.mean(english <= limit)))
    else:
        cut = _scaled(values, limit, method, english)
    return cut if fact in UNBOUNDED else max(cut, limit / 2)


def _low(fact: str, values: F64, limit: float, method: str, share: float, english: F64) -> float:
    if not math.isfinite(limit):
        return limit
    if method == "tail":
        cut = -_tail(-values, share)
    elif method == "quantile":
        cut = float(np.quantile(values, np.mean(english < limit)))
    else:
        cut = _scaled(values, limit, method, english)
    return max(0.0, cut if fact in UNBOUNDED else min(cut, (1 + limit) / 2))


def _tail(values: F64, share: float) -> float:
    """Return the value that at most this share lies above, of what the reference is a sample of: with 95 % confidence.

    That is an order statistic (normal approximation of the binomial); in a sample too small to have it, a tenth of the
    way from the median to the greatest value beyond that.
    """
    ordered, n = np.sort(values), len(values)
    above = math.floor(n * share - Z95 * math.sqrt(n * share * (1 - share)))
    if above > 0:
        return float(ordered[-above - 1])
    return float(ordered[-1] + 0.1 * (ordered[-1] - np.median(ordered)))


def _scaled(values: F64, limit: float, method: str, english: F64) -> float:
    """Return the English limit carried over by mean and standard deviation, or by the medians."""
    if method == "median_ratio":
        theirs = float(np.median(english))
        return limit * float(np.median(values)) / theirs if theirs else limit
    spread = float(np.std(english))
    return (
        float(np.mean(values)) + (limit - float(np.mean(english))) / spread * float(np.std(values)) if spread else limit
    )


def _outward(fact: str, cut: float, *, down: bool) -> float:
    """Return a cut rounded so that it drops no more: to whole numbers or to three digits behind the point."""
    if not math.isfinite(cut):
        return cut
    digits = 1 if fact in WHOLE else 1000
    return (math.floor(cut * digits) if down else math.ceil(cut * digits)) / digits


def histogram(values: F64, cut: Cut, bins: int = 40) -> tuple[list[float], list[int], list[int]]:
    """Return (edges, documents within the limits, documents beyond) of one fact, for a picture of its distribution."""
    seen = [x for x in (cut.low, cut.high) if math.isfinite(x)]
    low, high = min([float(values.min()), *seen]), max([float(values.max()), *seen])
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    beyond = (values < cut.low) | (values > cut.high)
    kept, lost = (np.histogram(values[mask], edges)[0].tolist() for mask in (~beyond, beyond))
    return edges.tolist(), kept, lost


def needed(method: str, english: Sequence[object]) -> str:
    """Return what is wrong with a choice of method and English text; empty where nothing is."""
    if method != "tail" and not english:
        return f"method {method} compares with English text, and none is given. Give --english PATH, or method tail."
    return ""
