"""Banding of MinHash-LSH: the S-curve, the solver for bands and rows, warnings about a poor choice.

Two documents of similarity j share at least one of b bands of r rows with probability 1 - (1 - j^r)^b
(Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, 3.4.2).
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from cluster.errors import RecipeError

F64 = npt.NDArray[np.float64]
LIKELY = 0.5  # a banding that finds a smaller share of pairs at the threshold deserves a warning


def probability(j: float, bands: int, rows: int) -> float:
    """Return the probability that a pair of similarity j becomes a candidate.

    Examples
    --------
    >>> round(probability(0.85, 8, 16), 2)
    0.46
    """
    return float(1.0 - (1.0 - j**rows) ** bands)


def s_curve(bands: int, rows: int, points: int = 101) -> list[tuple[float, float]]:
    """Return (similarity, probability) at `points` similarities evenly spread over [0, 1]."""
    return [(float(j), probability(float(j), bands, rows)) for j in np.linspace(0.0, 1.0, points)]


def solve(
    threshold: float,
    num_permutations: int,
    *,
    false_positive_weight: float = 0.5,
    false_negative_weight: float = 0.5,
    min_recall: float | None = None,
    at: float | None = None,
) -> tuple[int, int]:
    """Choose bands and rows for a Jaccard threshold.

    Without `min_recall`: the pair with the least weighted sum of the area under the S-curve below the
    threshold (false positives) and above the curve beyond it (false negatives), the first such pair in the
    order of bands, then rows. This is the optimum of datasketch's MinHashLSH.
    With it: the pair with the least false-positive area among those that find a pair of similarity `at` (by
    default the threshold) with at least that probability.

    Parameters
    ----------
    threshold, at, min_recall : in (0, 1), (0, 1] and (0, 1).
    num_permutations : bands x rows may not exceed it.

    Returns
    -------
    (bands, rows).

    Raises
    ------
    RecipeError : a value out of range, or no banding reaches the recall.

    Examples
    --------
    >>> solve(0.8, 128)
    (9, 13)
    """
    similarity = threshold if at is None else at
    _check(threshold, num_permutations, min_recall, similarity)
    positive, negative = _areas(threshold, num_permutations)
    if min_recall is None:
        error = positive * false_positive_weight + negative * false_negative_weight
    else:
        bands, rows = _grid(num_permutations)
        error = np.where(1.0 - (1.0 - similarity**rows) ** bands >= min_recall, positive, np.inf)
    error[np.isnan(positive)] = np.inf
    best = np.unravel_index(int(error.argmin()), error.shape)
    if not np.isfinite(error[best]):
        raise RecipeError(
            f"min_recall {min_recall} at similarity {similarity} is out of reach of {num_permutations} "
            f"permutations (at best {probability(similarity, num_permutations, 1):.3f}). Lower it, or raise "
            "num_permutations."
        )
    return int(best[0]) + 1, int(best[1]) + 1


def _check(threshold: float, num_permutations: int, min_recall: float | None, at: float) -> None:
    if not 0.0 < threshold < 1.0:
        raise RecipeError(f"jaccard_threshold must be in (0, 1), got {threshold}. Usual: 0.8.")
    if num_permutations < 1:
        raise RecipeError(f"num_permutations must be at least 1, got {num_permutations}. Usual: 128.")
    if min_recall is not None and not 0.0 < min_recall < 1.0:
        raise RecipeError(f"min_recall must be in (0, 1), got {min_recall}. Usual: 0.95.")
    if not 0.0 < at <= 1.0:
        raise RecipeError(f"the similarity of min_recall must be in (0, 1], got {at}. Give the threshold.")


def _grid(num_permutations: int) -> tuple[F64, F64]:
    """Return bands as a column and rows as a row, both 1 … num_permutations."""
    steps = np.arange(1, num_permutations + 1, dtype=np.float64)
    return steps[:, None], steps[None, :]


@functools.lru_cache(maxsize=8)
def _areas(threshold: float, num_permutations: int) -> tuple[F64, F64]:
    """Return false-positive and false-negative areas, (bands, rows) each, NaN where they do not fit.

    The S-curve is a polynomial in j of degree bands * rows, for which Gauss-Legendre quadrature with
    num_permutations // 2 + 1 nodes is exact. Memory: 16 * num_permutations^2 bytes.
    """
    nodes, weights = np.polynomial.legendre.leggauss(num_permutations // 2 + 1)
    below, above = (nodes + 1) / 2 * threshold, threshold + (nodes + 1) / 2 * (1 - threshold)
    positive = np.full((num_permutations, num_permutations), np.nan)
    negative = positive.copy()
    for bands in range(1, num_permutations + 1):
        rows = np.arange(1, num_permutations // bands + 1)[:, None]
        found = 1.0 - (1.0 - below**rows) ** bands
        missed = (1.0 - above**rows) ** bands
        positive[bands - 1, : len(rows)] = found @ weights / 2 * threshold
        negative[bands - 1, : len(rows)] = missed @ weights / 2 * (1 - threshold)
    return positive, negative


def warnings(bands: int, rows: int, threshold: float) -> list[str]:
    """Return warnings about a banding, list of sentences; empty if it is sound.

    Examples
    --------
    >>> warnings(8, 16, 0.85)[0][:60]
    '8 bands x 16 rows find only 46 % of the pairs at the thresho'
    """
    found = probability(threshold, bands, rows)
    if found >= LIKELY:
        return []
    share, half = 100 * found, half_way(bands, rows)
    return [
        f"{bands} bands x {rows} rows find only {share:.0f} % of the pairs at the threshold {threshold}; "
        f"half are found from {half:.2f} on. Use fewer rows_per_band and more bands."
    ]


def half_way(bands: int, rows: int) -> float:
    """Return the similarity at which half of the pairs become candidates.

    Examples
    --------
    >>> round(half_way(16, 8), 2)
    0.67
    """
    return float((1.0 - 0.5 ** (1.0 / bands)) ** (1.0 / rows))
