"""What the files of a run folder hold, as types: ledger rows, mix/manifest.json, timings.json.

Guarantees: names and meanings are those of docs/data-format.md. Keys that a reader does without are not required, so
that a folder from which something was cut still opens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired

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


class CellCount(TypedDict):
    """What was written of a cell: documents, rows, and tokens of every copy."""

    documents: int
    rows: int
    tokens: int


class MixFileEntry(TypedDict):
    """One file of the mix. path: relative to the mix folder; tokens: of every copy.

    losses: values that the format cannot hold, by column and what became of them; absent where there are none.
    cells: dataset -> cell -> what the file holds of it ("": held out), where the mix has cells or is interleaved.
    """

    path: str
    rows: int
    documents: int
    tokens: int
    bytes: int
    sha256: str
    losses: NotRequired[dict[str, int]]
    cells: NotRequired[dict[str, dict[str, CellCount]]]


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


class MixLevel(TypedDict):
    """Documents of a cell that are repeated alike. factor: of the recipe; documents, tokens: there are."""

    factor: float
    documents: int
    tokens: int
    epochs: float


class MixCell(TypedDict):
    """One cell of a mix; of a mix without cells every dataset is one.

    weight: None where none is given. tokens_wanted: None where the cell is taken as it is. available: documents and
    tokens, each counted once. epochs: expected tokens per token available. tokens_over, tokens_under: written beyond
    and below what is wanted. levels: by factor, where the cell is upsampled. digest: of its documents and their epochs.
    """

    weight: float | None
    tokens_wanted: int | None
    documents_available: int
    tokens_available: int
    documents_written: int
    rows_written: int
    tokens_written: int
    epochs: float
    max_epochs: float
    tokens_over: int
    tokens_under: int
    digest: str
    levels: list[MixLevel]


class HoldoutSimilarity(TypedDict):
    """How similar the held-out documents are to the training part.

    how: what was measured. measured: held-out documents looked at; compared: training documents. greatest, mean: of
    each one's greatest similarity; held_out, training: doc_ids of the most similar pair.
    """

    how: str
    measured: int
    compared: int
    greatest: float
    mean: float
    held_out: int | None
    training: int | None


class MixManifest(TypedDict, total=False):
    """mix/manifest.json, or mixes/NAME/manifest.json. No times, so that two runs can be compared byte for byte.

    mix: name of one of several. layout: by_dataset (files in `datasets`) or interleaved (in `files`). repeat: whether a
    document with n copies is n rows. cells: by name, in the recipe's order.
    """

    format: int
    name: str
    recipe_digest: str
    manifest_digest: str
    tokens_are: str
    mode: str
    warnings: list[str]
    datasets: dict[str, MixDataset]
    mix: str
    layout: str
    repeat: bool
    exclude: list[str]
    cells: dict[str, MixCell]
    documents_in_no_cell: int
    tokens_in_no_cell: int
    files: list[MixFileEntry]
    holdout: HoldoutSimilarity


def files_of_mix(manifest: Mapping[str, Any]) -> list[MixFileEntry]:
    """Return the files of a mix, by its manifest: those of each dataset, then those of all; none where it is empty."""
    of_datasets = [file for entry in (manifest.get("datasets") or {}).values() for file in entry.get("files") or []]
    return [*of_datasets, *(manifest.get("files") or [])]


class PartTiming(TypedDict):
    """Work of one stage inside a step, summed over workers.

    from_device: documents whose text a GPU had and the stage brought to the host all the same; absent where none.
    """

    name: str
    documents: int
    seconds: float
    from_device: NotRequired[int]


class StepTiming(TypedDict):
    """One step of a run. documents, bytes: 0 where it counts none; peak_memory_bytes: of the largest worker process.

    from_device: documents whose text a GPU read, or had, and the step brought to the host; absent where none.
    bundles_on_gpu, bundles_on_cores: bundles of the first read that workers with a GPU did over it, and on their cores
    alone; absent where none.
    """

    name: str
    seconds: float
    documents: int
    bytes: int
    peak_memory_bytes: int | None
    from_device: NotRequired[int]
    bundles_on_gpu: NotRequired[int]
    bundles_on_cores: NotRequired[int]
    parts: list[PartTiming]


class Timings(TypedDict):
    """timings.json: what the last call took."""

    format: int
    workers: int
    peak_memory_bytes: int | None
    stages: list[StepTiming]
