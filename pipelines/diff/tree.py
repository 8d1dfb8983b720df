"""What `winnow diff --json` prints, as types.

Counts are of documents and of their tokens in the run where they are kept; `mix_tokens` counts every copy written.
"""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

Change = Literal["entered", "left"]


class Count(TypedDict):
    """Documents and their tokens."""

    documents: int
    tokens: int


class Side(TypedDict):
    """One dataset in one run."""

    rows: int
    kept: Count
    mix_tokens: int


class DatasetChange(TypedDict):
    """One dataset in both runs. judged_otherwise: dropped in both, by another stage or for another reason."""

    old: Side
    new: Side
    entered: Count
    left: Count
    judged_otherwise: int
    copies_changed: int


class Cause(TypedDict):
    """Documents that entered or left. stage, reason: of the run that does not keep them; empty: it lacks them."""

    change: Change
    dataset: str
    stage: str
    reason: str
    documents: int
    tokens: int


class Moved(TypedDict):
    """Documents dropped in both runs, but not alike."""

    dataset: str
    old_stage: str
    old_reason: str
    new_stage: str
    new_reason: str
    documents: int


class Named(TypedDict):
    """Documents that entered and left, of one language or one domain. name: empty where it is not known."""

    name: str
    entered: Count
    left: Count


class Matching(TypedDict):
    """How documents of the two runs were found to be the same."""

    files_in_both: int
    files_only_old: int
    files_only_new: int
    by_row: int
    by_id: int
    unmatched_old: int
    unmatched_new: int


class KeyChange(TypedDict):
    """A key of the recipe whose value differs, as text; None: absent."""

    key: str
    old: str | None
    new: str | None


class Diff(TypedDict):
    """What changed between two runs."""

    format: int
    old: str
    new: str
    stale: list[str]
    recipe: list[KeyChange]
    matching: Matching
    datasets: dict[str, DatasetChange]
    causes: list[Cause]
    moved: list[Moved]
    languages: list[Named]
    domains: list[Named]
    domains_counted: int
