"""Texts in device memory in place of an Arrow array: read there by cuDF, used there by several kernels.

Guarantees: what a kernel returns for them has the bits of the same texts on the host. Frame functions here use only
what pandas and cuDF both offer, so they run on pandas as well. Memory: on the device, the texts of one chunk.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.engines import count_brought

I64 = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

PORTION = 32 << 20  # bytes of text, as many as a batch on the host has

# The characters for which `str.isspace` and Arrow's utf8_is_space are true.
WHITE_SPACE = "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B)))
WHITE_SPACE += "\u2028\u2029\u202f\u205f\u3000"


@dataclass(frozen=True, eq=False)
class Resident:
    """Documents without nulls whose texts are a string column (a cuDF series) on the device.

    offsets : (docs + 1,) int64 from 0, where each text begins. characters : (docs,) uint32.
    """

    column: Any
    offsets: I64
    characters: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def nbytes(self) -> int:
        """Bytes of text and offsets, as Arrow counts them."""
        return int(self.offsets[-1]) + self.offsets.nbytes

    def bytes(self) -> Any:
        """Return the bytes of all texts, one behind the other, as an array of the device."""
        return raw(self.column.to_pylibcudf()[0])[0]

    def take(self, rows: I64) -> Resident:
        """Return these documents, gathered on the device."""
        places = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(np.diff(self.offsets)[rows], out=places[1:])
        return Resident(self.column.take(rows), places, self.characters[rows])

    def host(self, start: int = 0, stop: int | None = None) -> pa.Array:
        """Return documents [start, stop) as an Arrow array: the only copy to the host, for host kernels."""
        return bring(self.column.iloc[start : len(self) if stop is None else stop])


def bring(column: Any) -> pa.Array:
    """Return the texts of a column of the device as an Arrow array on the host, nulls kept, and count them."""
    count_brought(len(column))
    return column.to_arrow().cast(pa.large_string())


def raw(column: Any) -> tuple[Any, Any]:
    """Return bytes and offsets of a column of libcudf, which is no slice, without copying."""
    cupy: Any = importlib.import_module("cupy")
    wide = column.child(0).type().id().name == "INT64"
    offsets = cupy.asarray(column.child(0).data()).view(cupy.int64 if wide else cupy.int32)[: column.size() + 1]
    size = int(offsets[-1])
    data = cupy.asarray(column.data())[:size] if size else cupy.empty(0, cupy.uint8)
    return data.view(cupy.uint8), offsets


def portions(texts: pa.Array | Resident) -> Iterator[pa.Array | Resident]:
    """Yield texts of a device in portions of PORTION bytes or one text, for work that brings much of each to the host.

    An Arrow array is small enough as it is.
    """
    if not isinstance(texts, Resident) or texts.nbytes <= PORTION:
        yield texts
        return
    start = 0
    while start < len(texts):
        stop = int(np.searchsorted(texts.offsets, texts.offsets[start] + PORTION, side="right")) - 1
        stop = min(len(texts), max(stop, start + 1))
        yield texts.take(np.arange(start, stop))
        start = stop


def texts_at(texts: pa.Array | Resident, rows: I64) -> pa.Array:
    """Return some texts as an Arrow array on the host, wherever they lie."""
    return texts.take(rows).host() if isinstance(texts, Resident) else texts.take(pa.array(rows))


@dataclass(frozen=True, eq=False)
class Documents:
    """A table of documents whose texts lie on the device, with the methods of an Arrow table that stages call."""

    table: pa.Table  # the other columns
    text: Resident

    @property
    def num_rows(self) -> int:
        return len(self.text)

    def column(self, name: str) -> Any:
        """Return a column: texts as Resident, others as Arrow has them."""
        return self.text if name == "text" else self.table.column(name)

    def take(self, rows: pa.Array) -> Documents:
        """Return these rows."""
        return Documents(self.table.take(rows), self.text.take(rows.to_numpy()))


@dataclass(frozen=True, eq=False)
class Judged:
    """Result of the frame functions: texts, "" where invalid, and a status per row."""

    column: Any
    null: BoolArray
    empty: BoolArray
    blank: BoolArray  # nothing but white space, or nothing at all
    characters: npt.NDArray[np.uint32]


def judge_column(column: Any) -> Judged:
    """Mark the status of a string column of pandas or cuDF with valid UTF-8 values, as `mark_text_status` does."""
    null = column.isna()
    filled = column.fillna("")
    empty = filled == ""
    blank = filled.str.lstrip(WHITE_SPACE) == ""
    texts = filled.mask(blank, "")
    return Judged(
        column=texts,
        null=null.to_numpy().astype(np.bool_),
        empty=empty.to_numpy().astype(np.bool_),
        blank=blank.to_numpy().astype(np.bool_),
        characters=texts.str.len().to_numpy().astype(np.uint32),
    )
