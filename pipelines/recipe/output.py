"""How a mix is written: what the recipe's output section asks for, and the columns that every mix has.

Guarantees: values only; nothing is opened.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

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


@dataclass(frozen=True, kw_only=True)
class Output:
    """How the mix is written. columns: input columns passed through besides text, id and url."""

    columns: tuple[str, ...] = ()
    shard_bytes: int = 512_000_000
    shuffle: str = "shard"  # none | shard (inside each bundle) | global (over the dataset)
    format: str = "parquet"  # or jsonl.zst
    repeat: bool = False
    everything: bool = False  # every input column under its own name (winnow dedup)

    def passed_through(self) -> list[str]:
        """Return the input columns to pass through under their own names; text, id and url come anyway."""
        return [name for name in self.columns if self.everything or name not in INPUT_COLUMNS]
