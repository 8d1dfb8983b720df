"""An explanation as types: what `winnow explain --json` prints.

Guarantees: a function of the run folder and the question alone.
"""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from pipelines.report.tree import Comparison, ShownDocument
from pipelines.shown_text import DifferenceTree
from pipelines.staleness import Stale


class Decision(TypedDict):
    """What one stage made of the document. verdict: passed, dropped, not reached …"""

    stage: str
    use: str
    verdict: str
    reason: str | None
    value: float | None
    threshold: float | None


class LostTo(TypedDict):
    """A document that it lost to, directly or through others, and what became of that one."""

    stage: str | None
    doc_id: int
    dataset: str
    id: str | None
    similarity: float | None
    similarity_kind: str | None
    verdict: str
    url: str | None


class Member(TypedDict):
    """A document of the group that did not survive."""

    doc_id: int
    dataset: str
    id: str | None
    stage: str | None
    similarity: float | None


class Group(TypedDict):
    """The documents that one survivor stands for: how many, per dataset, and the first of them."""

    size: int | None
    datasets: dict[str, int]
    members: list[Member]


class Resemblance(TypedDict):
    """How similar a document is to the text that was asked about; the difference for the most similar one."""

    similarity: float
    similarity_kind: str
    difference: DifferenceTree | None


class ExplainedDocument(ShownDocument):
    """What became of one document. facts: per stage, as stored; facts_missing: why there are none."""

    kept: bool
    copies: int
    verdict: str
    facts: dict[str, dict[str, Any]]
    facts_missing: str | None
    decisions: list[Decision]
    lost_to: list[LostTo]
    survivor: ShownDocument | None
    group: Group | None
    comparison: Comparison | None
    resemblance: Resemblance | None
    made_from: dict[str, Any] | None  # of a synthetic document: its source, chunk, prompt, model, critiques


class Explanation(TypedDict):
    """Every document that a question finds. match: exact, alike or near; more: doc_ids of those not shown;
    stale: what of the run folder is not up to date."""

    format: int
    run: str
    query: dict[str, int | str | None]
    match: str
    found: int
    documents: list[ExplainedDocument]
    more: list[int]
    stale: list[Stale]
