"""The native files of each format, written without their libraries.

A part is one `TokenFile` and what its loader wants beside it. Guarantees: the same tokens give the same bytes; a file
appears whole or not at all; `export.json` names them with their digests. Memory: the tokens given at once, and for
Megatron, nanotron one number for each sequence or piece of a part.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cluster import storage
from cluster.files.digesting import Digesting
from pipelines.export.settings import Settings, Tokens

I64 = npt.NDArray[np.int64]
MEGATRON_CODES = {"uint16": 8, "int32": 4}
LITDATA_CODES = {"uint16": 20, "int32": 16}
MDS_SIZE_LIMIT = 1 << 26  # what the writer of that library states; readers pass over it
LITTLE = {"uint16": "<u2", "uint32": "<u4", "int32": "<i4"}


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Tokens in the order of the file, and what they are made of.

    tokens : (tokens,). sequences : length of each sequence. ends : where pieces of documents, and what fills windows,
    end. filled : whether a token only fills a window; None: none does. empty : documents without a token.
    """

    tokens: Tokens
    sequences: I64
    ends: I64
    filled: npt.NDArray[np.bool_] | None = None
    empty: int = 0


@dataclass
class PartFiles:
    """The files of one part, written slice by slice. Use as a context manager; `entries` lists what was written."""

    root: str
    number: int
    settings: Settings
    tokenizer: str = ""
    entries: list[dict[str, Any]] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)
    _open: dict[str, Digesting] = field(default_factory=dict)
    _tokens: int = 0
    _lengths: list[I64] = field(default_factory=list)
    _ends: list[I64] = field(default_factory=list)

    def __enter__(self) -> PartFiles:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        if self._open:
            getattr(self, f"_finish_{self.settings.format}", lambda: None)()
        self._stack.close()
        for path, out in self._open.items():
            self.entries.append({"path": path, "bytes": out.size, "sha256": out.digest.hexdigest()})

    def write(self, piece: Slice) -> None:
        """Append a slice; one without tokens makes no file."""
        if not len(piece.tokens):
            return
        getattr(self, f"_write_{self.settings.format}")(piece)
        self._tokens += len(piece.tokens)

    def _file(self, path: str) -> Digesting:
        if path not in self._open:
            file = self._stack.enter_context(storage.commit(storage.join(self.root, path)))
            self._open[path] = Digesting(file)
        return self._open[path]

    def _name(self, suffix: str) -> str:
        return f"part-{self.number:05d}{suffix}"

    def _put(self, suffix: str, tokens: Tokens) -> None:
        self._file(self._name(suffix)).write(_little(tokens, self.settings.dtype))

    # Megatron-LM: tokens in .bin, in .idx the length and byte offset of each sequence

    def _write_megatron(self, piece: Slice) -> None:
        self._put(".bin", piece.tokens)
        self._lengths.append(piece.sequences)

    def _finish_megatron(self) -> None:
        lengths = np.concatenate(self._lengths) if self._lengths else np.zeros(0, np.int64)
        size = np.dtype(self.settings.dtype).itemsize
        out = self._file(self._name(".idx"))
        out.write(b"MMIDIDX\x00\x00" + struct.pack("<QB", 1, MEGATRON_CODES[self.settings.dtype]))
        out.write(struct.pack("<QQ", len(lengths), len(lengths) + 1))
        out.write(lengths.astype("<i4").tobytes())
        out.write(((np.cumsum(lengths) - lengths) * size).astype("<i8").tobytes())
        out.write(np.arange(len(lengths) + 1, dtype="<i8").tobytes())

    # nanotron, datatrove: tokens in .ds, in .ds.index where documents end, in .ds.metadata what they are

    def _write_nanotron(self, piece: Slice) -> None:
        self._put(".ds", piece.tokens)
        self._file(self._name(".ds.index")).write((piece.ends + self._tokens).astype("<u8").tobytes())

    def _finish_nanotron(self) -> None:
        size = np.dtype(self.settings.dtype).itemsize
        text = f"{self.tokenizer}|{size}\n{self._tokens}\n{_rounded(self._tokens)}"
        self._file(self._name(".ds.metadata")).write(text.encode())

    # OLMo-core: bare tokens, and a mask of those that count for the loss where windows are filled

    def _write_olmo(self, piece: Slice) -> None:
        self._put(".npy", piece.tokens)
        if self.settings.fixed:
            counts = np.ones(len(piece.tokens), np.bool_) if piece.filled is None else ~piece.filled
            self._file(f"label_mask/{self._name('.npy')}").write(counts.tobytes())

    # MosaicML Streaming: number of samples, their offsets, the columns, the samples

    def _write_mds(self, piece: Slice) -> None:
        config = json.dumps(mds_columns(self.settings), sort_keys=True).encode()
        rows = len(piece.sequences)
        first = 4 + 4 * (rows + 1) + len(config)
        width = self.settings.window * np.dtype(self.settings.dtype).itemsize
        offsets = first + width * np.arange(rows + 1)
        out = self._file(self._name(".mds"))
        out.write(struct.pack("<I", rows) + offsets.astype("<u4").tobytes() + config)
        out.write(_little(piece.tokens, self.settings.dtype))

    # litdata: number of items, their offsets, the items; the loader of tokens cuts the whole by itself

    def _write_litdata(self, piece: Slice) -> None:
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(piece.sequences)])
        header = 4 + 4 * len(offsets)
        out = self._file(self._name(".bin"))
        out.write(struct.pack("<I", len(piece.sequences)))
        out.write((header + offsets * np.dtype(self.settings.dtype).itemsize).astype("<u4").tobytes())
        out.write(_little(piece.tokens, self.settings.dtype))

    # Hugging Face datasets: Parquet, a row for each window, with the lengths of the documents in it

    def _write_hf(self, piece: Slice) -> None:
        schema = hf_schema(self.settings)
        out = self._file(f"data/{self._name('.parquet')}")
        with pq.ParquetWriter(
            pa.PythonFile(out, mode="w"), schema, compression="zstd", write_page_checksum=True
        ) as file:
            for table in _hf_tables(piece, schema):
                file.write_table(table)


def _little(tokens: Tokens, dtype: str) -> Any:
    """Return tokens as bytes, the low byte first."""
    return np.ascontiguousarray(tokens.astype(LITTLE[dtype], copy=False)).view(np.uint8).data


def _rounded(tokens: int) -> str:
    """Return a number for people.

    >>> _rounded(999), _rounded(12_345), _rounded(7_000_000_000)
    ('999 tokens', '12.3K tokens', '7.0G tokens')
    """
    size, unit = float(tokens), 0
    while size >= 1000 and unit < 4:
        size, unit = size / 1000, unit + 1
    return f"{tokens} tokens" if not unit else f"{size:.1f}{'KMGT'[unit - 1]} tokens"


def mds_columns(settings: Settings) -> dict[str, Any]:
    """Return how shards for MosaicML Streaming describe themselves."""
    size = np.dtype(settings.dtype).itemsize * settings.window
    return {
        "version": 2,
        "format": "mds",
        "compression": None,
        "hashes": [],
        "size_limit": MDS_SIZE_LIMIT,
        "column_names": ["tokens"],
        "column_encodings": [f"ndarray:{settings.dtype}:{settings.window}"],
        "column_sizes": [size],
    }


def hf_schema(settings: Settings) -> pa.Schema:
    """Return the columns of an export for Hugging Face datasets."""
    kind = pa.from_numpy_dtype(np.dtype(settings.dtype))
    return pa.schema([("input_ids", pa.list_(kind)), ("seq_lengths", pa.list_(pa.int32()))])


def _hf_tables(piece: Slice, schema: pa.Schema, rows: int = 1024) -> Iterator[pa.Table]:
    """Yield a slice as rows; pieces that only fill a window are not among its lengths."""
    stops = np.cumsum(piece.sequences)
    starts = np.concatenate([np.zeros(1, np.int64), piece.ends[:-1]])
    real = np.ones(len(piece.ends), np.bool_) if piece.filled is None else ~piece.filled[starts]
    ends = piece.ends[real]
    lengths = (piece.ends - starts)[real]
    upto = np.searchsorted(ends, stops, side="right")
    for begin in range(0, len(stops), rows):
        stop = min(begin + rows, len(stops))
        first = int(stops[begin - 1]) if begin else 0
        low = int(upto[begin - 1]) if begin else 0
        tokens = piece.tokens[first : int(stops[stop - 1])]
        offsets = np.concatenate([np.zeros(1, np.int64), stops[begin:stop] - first]).astype(np.int32)
        parts = np.concatenate([np.zeros(1, np.int64), upto[begin:stop] - low]).astype(np.int32)
        columns = [
            pa.ListArray.from_arrays(pa.array(offsets), pa.array(tokens)),
            pa.ListArray.from_arrays(pa.array(parts), pa.array(lengths[low : int(upto[stop - 1])].astype(np.int32))),
        ]
        yield pa.table(columns, schema=schema)
