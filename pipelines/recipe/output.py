"""How a mix is written: what the recipe's output section asks for, and the columns that every mix has.

Guarantees: values only; nothing is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from stages.core.stage import ShardStage, Stage
from stages.outcome.fields import Field, UnknownField, find_field
from stages.outcome.mixing import Mix

INPUT_COLUMNS = ("text", "id", "url")  # of every document, so `output.columns` need not name them
MIX_COLUMNS: tuple[tuple[str, pa.DataType], ...] = (
    ("text", pa.large_string()),
    ("id", pa.large_string()),
    ("doc_id", pa.int64()),
    ("source", pa.string()),
    ("url", pa.large_string()),
    ("language", pa.string()),
    ("language_score", pa.float32()),
    ("quality_score", pa.float64()),
    ("num_tokens", pa.int64()),
    ("copies", pa.int32()),
    ("group_size", pa.int32()),
)
CELL_COLUMN = ("cell", pa.string())  # behind them where the mix has cells
FACT = "fact:"
EVERY_STAGE = "*."
INTERLEAVED = "interleaved"  # layout, and the folder of its files


@dataclass(frozen=True, kw_only=True)
class Output:
    """How the mix is written. columns: input columns passed through besides text, id and url, and `fact:FIELD`.

    holdout_folder: whether held-out documents lie in a folder of their own, not beside the mix's files.
    """

    columns: tuple[str, ...] = ()
    shard_bytes: int = 512_000_000
    shuffle: str = "shard"  # none | shard (inside each bundle) | global (over the dataset)
    format: str = "parquet"  # or jsonl.zst
    repeat: bool | None = False  # None: as the mix is drawn, see `output_of_mix`
    everything: bool = False  # every input column under its own name (winnow dedup, which removes the run folder)
    layout: str = "by_dataset"  # or interleaved
    holdout_folder: bool = False

    def passed_through(self) -> list[str]:
        """Return the input columns to pass through under their own names; text, id and url come anyway."""
        inputs = [name for name in self.columns if not name.startswith(FACT)]
        return [name for name in inputs if self.everything or name not in INPUT_COLUMNS]

    def facts(self, stages: Sequence[Stage]) -> dict[str, Field]:
        """Return the columns of facts, by the name under which they are written."""
        found: dict[str, Field] = {}
        for column in self.columns:
            if column.startswith(FACT):
                found |= expanded(column, stages)
        return found

    def values(self) -> dict[str, object]:
        """Return what digests are made of: a key that later versions brought counts only where it is given."""
        first = ("columns", "shard_bytes", "shuffle", "format", "repeat", "everything")
        found = {name: getattr(self, name) for name in first}
        later = {"layout": self.layout, "holdout_folder": self.holdout_folder}
        return found | {name: value for name, value in later.items() if value not in ("by_dataset", False)}


def output_of_mix(output: Output, mix: Mix) -> Output:
    """Return how one mix is written: copies are rows of their own where it is drawn or interleaved, unless told."""
    if output.repeat is not None:
        return output
    return replace(output, repeat=output.layout == INTERLEAVED or mix.mode == "sample")


def own_columns(columns: Iterable[str]) -> list[str]:
    """Return the names under which a mix has its own columns and the input columns of a recipe."""
    own = [name for name, _ in (*MIX_COLUMNS, CELL_COLUMN)]
    inputs = [name for name in columns if not name.startswith(FACT) and name not in INPUT_COLUMNS]
    return [*own, *(f"input_{name}" if name in own else name for name in inputs)]


def expanded(column: str, stages: Sequence[Stage]) -> dict[str, Field]:
    """Return the fields that `fact:FIELD` stands for, by the name of their column; `*.FACT` is that of every stage.

    Raises UnknownField.
    """
    name = column.removeprefix(FACT)
    if not name.startswith(EVERY_STAGE):
        return {name.replace(".", "_").replace(":", "_"): _readable(name, stages)}
    fact = name.removeprefix(EVERY_STAGE)
    found: dict[str, Field] = {}
    for stage in stages:
        if isinstance(stage, ShardStage) and not stage.hidden and stage.use != "read":
            try:
                found[f"{stage.name}_{fact}"] = find_field(f"{stage.name}.{fact}", stages)
            except UnknownField:
                continue
    if not found:
        raise UnknownField(f"is no fact of any stage: none has {fact!r}")
    return found


def _readable(name: str, stages: Sequence[Stage]) -> Field:
    field = find_field(name, stages)
    if field.kind == "either":
        raise UnknownField(f"is an input column. Name it without {FACT}column:")
    return field
