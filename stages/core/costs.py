"""Cost models of winnow's tasks: the quantities that work grows with, and the usual kinds of task.

Every task's cost is declared beside its function (`cluster/engines/cost.py`) and named where the task is handed to
an engine. A task without a declared cost counts as one per bundle, with work by the documents.
"""

from __future__ import annotations

import math
from enum import StrEnum

from cluster.engines import Growth, TaskCost
from stages.core import manifest
from stages.core.exchange_stage import destinations_for


class Quantity(StrEnum):
    """What is counted of an input, or of the part of it that reaches a stage."""

    ONCE = "once"  # always 1
    FILES = "files"
    BUNDLES = "bundles"
    ROWS = "rows"  # documents of the whole input
    DOCUMENTS = "documents"  # that reach the stage
    BAND_RECORDS = "band_records"  # rows x bands
    CANDIDATES = "candidates"  # documents that share a bucket with another
    CANDIDATE_TEXTS = "candidate_texts"  # bytes of text read to bring candidates' texts
    CANDIDATE_PAIRS = "candidate_pairs"  # pairs whose true similarity is computed
    JUDGED = "judged"  # documents that a deferred stage scores, for itself or for a dedup stage
    TEXT_BYTES = "text_bytes"
    MIX_BYTES = "mix_bytes"  # of text written to the mix
    MIX_PARTS = "mix_parts"  # tasks that write the mix


def group_count(bundles: float) -> float:
    """Return the greatest number of groups of a number of bundles: the destinations of rows routed to documents."""
    return float(manifest.group_count(math.ceil(bundles)))


ONCE = Growth(quantity=Quantity.ONCE)
BUNDLES = Growth(quantity=Quantity.BUNDLES)
GROUPS = Growth(quantity=Quantity.BUNDLES, law=group_count)
DOCUMENTS = Growth(quantity=Quantity.DOCUMENTS)
CANDIDATES = Growth(quantity=Quantity.CANDIDATES)


def per_bundle(name: str, work: Growth = DOCUMENTS, *, rare: bool = False) -> TaskCost:
    """Return the cost of tasks, one per bundle."""
    return TaskCost(name=name, tasks=BUNDLES, work=work, rare=rare)


def per_group(name: str, work: Growth = DOCUMENTS, *, rare: bool = False) -> TaskCost:
    """Return the cost of tasks, one per group of bundles, on the rows routed to it."""
    return TaskCost(name=name, tasks=GROUPS, work=work, rare=rare)


def per_destination(name: str, work: Growth = DOCUMENTS) -> TaskCost:
    """Return the cost of tasks, one per destination of an exchange of all rows of the input."""
    return TaskCost(name=name, tasks=Growth(quantity=Quantity.ROWS, law=_destinations), work=work)


def _destinations(rows: float) -> float:
    return destinations_for(round(rows))


UNDECLARED = per_bundle("other")
