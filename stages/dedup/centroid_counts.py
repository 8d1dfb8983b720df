"""How many centroids and destinations semantic deduplication has, and what its tasks cost."""

from __future__ import annotations

from functools import partial

from cluster.engines import Growth, TaskCost
from cluster.scale import scaled
from stages.core.costs import DOCUMENTS, ONCE, Quantity
from stages.dedup.clusters import SAMPLE_PER_CENTROID

DOCUMENTS_PER_CENTROID = scaled(10_000)  # comparing them costs seconds; more centroids part more similar pairs
DOCUMENTS_PER_DESTINATION = scaled(50_000)


def centroids_for(documents: int) -> int:
    """Return the number of centroids for a number of documents; one where all pairs can be compared."""
    return max(1, round(documents / DOCUMENTS_PER_CENTROID))


def destination_count(given: int | None, documents: int) -> int:
    """Return the number of destinations for a number of documents; given: `centroids` of the recipe."""
    wanted = max(4, -(-documents // DOCUMENTS_PER_DESTINATION))
    return min(given or centroids_for(documents), wanted)


def fit_cost(given: int | None) -> TaskCost:
    """Return the cost of k-means: one task, that compares the sample's vectors with the centroids."""
    work = Growth(quantity=Quantity.DOCUMENTS, law=partial(_fit_pairs, given))
    return TaskCost(name="k-means", tasks=ONCE, work=work)


def _fit_pairs(given: int | None, documents: float) -> float:
    clusters = given or centroids_for(round(documents))
    return clusters * min(documents, float(clusters * SAMPLE_PER_CENTROID))


def receive_cost(given: int | None) -> TaskCost:
    """Return the cost of receiving candidates, one task per destination."""
    tasks = Growth(quantity=Quantity.DOCUMENTS, law=partial(_compare_tasks, given))
    return TaskCost(name="receive documents", tasks=tasks, work=DOCUMENTS)


def compare_cost(given: int | None) -> TaskCost:
    """Return the cost of comparing the documents of each centroid, pair by pair."""
    tasks = Growth(quantity=Quantity.DOCUMENTS, law=partial(_compare_tasks, given))
    work = Growth(quantity=Quantity.DOCUMENTS, law=partial(_compare_pairs, given))
    return TaskCost(name="compare documents", tasks=tasks, work=work)


def _compare_tasks(given: int | None, documents: float) -> float:
    return destination_count(given, round(documents))


def _compare_pairs(given: int | None, documents: float) -> float:
    return documents * documents / (given or centroids_for(round(documents)))
