"""What the files of a run folder hold, as types: ledger rows, mix/manifest.json, timings.json.

Guarantees: names and meanings are those of docs/data-format.md. Keys that a reader does without are not required, so
that a folder from which something was cut still opens.
"""

from __future__ import annotations

from typing import NotRequired

from typing_extensions import TypedDict  # pydantic makes schemas of these, which before Python 3.12 needs this one


class LedgerRow(TypedDict):
    """What became of one input document. None: does not apply."""

    doc_id: int
    dataset: str
    path: str
    row: int
    id: str | None
    kept: bool
    copies: int
    stage: str | None
    reason: str | None
    value: float | None
    threshold: float | None
    representative: int | None
    representative_dataset: str | None
    similarity: float | None
    similarity_kind: str | None
    survivor: int | None
    group_size: int | None
    group_datasets: str | None
    num_tokens: int
    evidence: str | None


class ShardRow(TypedDict):
    """One input file, as manifest.parquet has it; a reader may ask for fewer columns."""

    ordinal: int
    dataset: str
    path: str
    rows: int


class QuarantinedProblem(TypedDict):
    """A line of quarantine/*.jsonl: what could not be read. row, byte_offset: None where it is the whole file."""

    path: str
    row: int | None
    byte_offset: int | None
    error: str


class MixFileEntry(TypedDict):
    """One file of the mix. path: relative to the mix folder; tokens: of every copy.

    losses: values that the format cannot hold, by column and what became of them; absent where there are none.
    """

    path: str
    rows: int
    documents: int
    tokens: int
    bytes: int
    sha256: str
    losses: NotRequired[dict[str, int]]


class Survivors(TypedDict):
    """Documents that survived every stage and are not held out, and their tokens."""

    documents: int
    tokens: int


class MixDataset(TypedDict, total=False):
    """What one dataset gave to the mix; counts are of what was written, held-out documents apart."""

    documents: int
    rows: int
    tokens: int
    bytes: int
    epochs: float
    weight: float | None
    target_tokens: int | None
    shortfall_tokens: int | None
    survivors: Survivors
    holdout_documents: int
    files: list[MixFileEntry]


class MixManifest(TypedDict, total=False):
    """mix/manifest.json. No times, so that two runs can be compared byte for byte."""

    format: int
    name: str
    recipe_digest: str
    manifest_digest: str
    tokens_are: str
    mode: str
    warnings: list[str]
    datasets: dict[str, MixDataset]


class PartTiming(TypedDict):
    """Work of one stage inside a step, summed over workers."""

    name: str
    documents: int
    seconds: float


class StepTiming(TypedDict):
    """One step of a run. documents, bytes: 0 where it counts none; peak_memory_bytes: of the largest worker process."""

    name: str
    seconds: float
    documents: int
    bytes: int
    peak_memory_bytes: int | None
    parts: list[PartTiming]


class Timings(TypedDict):
    """timings.json: what the last call took."""

    format: int
    workers: int
    peak_memory_bytes: int | None
    stages: list[StepTiming]
