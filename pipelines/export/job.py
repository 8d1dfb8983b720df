"""The two kinds of task of an export: tokenise documents and send them off; sort, pack and write what arrives.

Guarantees: documents are ordered by a hash of their text and the number of the copy, so that neither workers nor the
layout of the mix have a say; a part that is recorded is not written again. Memory: tokenising, one batch of text and
its tokens for every copy; writing, one slice (`Settings.slice_tokens`, 8 M tokens, some 30 bytes each).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from typing_extensions import TypedDict  # pydantic reads it, and needs this one before Python 3.12

from cluster import storage
from cluster.engines import Engine
from cluster.errors import DamagedError
from cluster.exchange import Exchange, Written
from cluster.files.records import as_kind
from cluster.files.sealed import read_json, write_json
from pipelines.export.copies import Numbering
from pipelines.export.files import PartFiles, Slice
from pipelines.export.packing import Pieces, pack
from pipelines.export.record import PartFile
from pipelines.export.settings import Settings, Tokens
from pipelines.export.sidecar import SidecarWriter, sidecar_path
from pipelines.export.source import Source, Unit
from pipelines.export.tokens import BATCH_BYTES, choose_threads, encode, load_tokenizer, with_ends
from pipelines.records import check_inside
from stages.core.arrays import array, whole
from stages.kernels.hashes.hashing import buffers, content_hash, mix64

I64 = npt.NDArray[np.int64]
SENT_BYTES = 32 << 20  # of tokens that are sent off at once
ORDER_SALT = 0x6578706F7274
SENT = pa.schema([("key", pa.uint64()), ("doc", pa.int64()), ("copy", pa.int32()), ("tokens", pa.large_binary())])


@dataclass(frozen=True, kw_only=True)
class ExportJob:
    """What the tasks of an export are given. root : of the export; work : folder for what is removed at the end."""

    settings: Settings
    source: Source
    root: str
    work: str
    tokenizer: str  # its name, for files that state it
    workers: int

    @property
    def tokenizer_path(self) -> str:
        return storage.join(self.root, "tokenizer.json")

    @cached_property
    def slices(self) -> int:
        """The number of slices of the whole export; follows from the mix alone."""
        return max(1, round(self.source.tokens / self.settings.slice_tokens))

    @property
    def slices_per_part(self) -> int:
        return max(1, self.settings.shard_tokens // self.settings.slice_tokens) if self.settings.kind.stream else 1

    @property
    def parts(self) -> int:
        return -(-self.slices // self.slices_per_part)

    @property
    def hop(self) -> Exchange:
        return Exchange(folder=storage.join(self.work, "tokens"), destinations=self.slices, schema=SENT)

    @property
    def numbering(self) -> Numbering | None:
        """How copies get their numbers, where the mix holds each of them."""
        if not self.source.repeated:
            return None
        return Numbering(source=self.source, folder=storage.join(self.work, "copies"))


def write_parts(engine: Engine, job: ExportJob) -> None:
    """Write every part that is not recorded yet."""
    todo = [number for number in range(job.parts) if not _is_whole(job, number)]
    if not todo:
        return
    if job.numbering:
        job.numbering.run(engine)
    units = list(enumerate(job.source.units))
    written = job.hop.scatter(engine, units, partial(_tokenise, job))
    engine.map(partial(_write_part, job, written), todo)


def _tokenise(job: ExportJob, numbered: tuple[int, Unit]) -> Iterator[pa.Table]:
    """Yield the documents of a unit as tokens, every copy of them."""
    choose_threads(job.workers)
    place, unit = numbered
    tokenizer = load_tokenizer(job.tokenizer_path)
    numbers = job.numbering.of_unit(place) if job.numbering else None
    row, held = 0, list[pa.Table]()
    for table in job.source.read(unit):
        for batch in _batches(table):
            copy = None if numbers is None else numbers.between(row, row + batch.num_rows)
            held.append(_sent(job, tokenizer, batch, copy))
            row += batch.num_rows
            if sum(one.nbytes for one in held) >= SENT_BYTES:
                yield pa.concat_tables(held)
                held = []
    if held:
        yield pa.concat_tables(held)


def _batches(table: pa.Table) -> Iterator[pa.Table]:
    """Cut documents into batches of at most `BATCH_BYTES` of text, or one document."""
    sizes = np.diff(buffers(whole(table.column("text")))[1])
    start, size = 0, 0
    for row, many in enumerate(sizes.tolist()):
        if row > start and size + many > BATCH_BYTES:
            yield table.slice(start, row - start)
            start, size = row, 0
        size += many
    if start < table.num_rows:
        yield table.slice(start)


def _sent(job: ExportJob, tokenizer: Any, batch: pa.Table, copy: npt.NDArray[np.int32] | None) -> pa.Table:
    """Return a batch in `SENT`. copy : the number of each row's copy; None: a row stands for all copies."""
    settings = job.settings
    text = whole(batch.column("text"))
    tokens, sizes = encode(tokenizer, text.to_pylist(), settings.dtype)
    tokens, sizes = with_ends(tokens, sizes, settings.bos, settings.eod)
    values = _binary(tokens, sizes)
    which = np.arange(batch.num_rows)
    if copy is None:
        number = array(batch, "copies").astype(np.int64)
        which = np.repeat(which, number)
        copy = (np.arange(len(which)) - np.repeat(np.cumsum(number) - number, number)).astype(np.int32)
        values = values.take(pa.array(which)) if (number != 1).any() else values
    h1, _ = content_hash(*buffers(text))
    key = mix64(h1[which] + copy.astype(np.uint64), settings.seed ^ ORDER_SALT)
    doc = array(batch, "doc_id").astype(np.int64)[which]
    return pa.table([pa.array(key), pa.array(doc), pa.array(copy), values], schema=SENT)


def _binary(tokens: Tokens, sizes: I64) -> pa.Array:
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]) * tokens.dtype.itemsize
    buffer = [None, pa.py_buffer(offsets.astype(np.int64)), pa.py_buffer(np.ascontiguousarray(tokens))]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(sizes), buffer)


# --- write -----------------------------------------------------------------------------------------------


def record_path(job: ExportJob, number: int) -> str:
    """Return where it is written down that a part is whole."""
    return storage.join(job.work, "parts", f"part-{number:05d}.json")


class _Record(TypedDict):
    """What is asked of the record of a part."""

    sequences: int
    tokens: int
    filled: int
    copies: int
    documents: int
    empty: int
    files: list[PartFile]


def read_record(job: ExportJob, number: int) -> dict[str, Any]:
    """Return what is written down of a part. Raises DamagedError, FileNotFoundError."""
    path = record_path(job, number)
    as_kind(path, found := read_json(path), _Record)
    check_inside(path, [file["path"] for file in found["files"]])
    return dict(found)


def _is_whole(job: ExportJob, number: int) -> bool:
    """Tell whether a part is recorded and its files are there with the size they were written with."""
    try:
        files = read_record(job, number)["files"]
        return storage.have_sizes(job.root, ((file["path"], file["bytes"]) for file in files))
    except (FileNotFoundError, DamagedError):
        return False


def _write_part(job: ExportJob, written: Written, number: int) -> dict[str, int]:
    """Write the files of one part, its sidecar, then its record."""
    counts = {"sequences": 0, "tokens": 0, "filled": 0, "copies": 0, "documents": 0, "empty": 0}
    path = sidecar_path(job.root, number)
    files = PartFiles(job.root, number, job.settings, job.tokenizer)
    with storage.commit(path) as file, files:
        sidecar = SidecarWriter(file)
        first = number * job.slices_per_part
        for piece in range(first, min(first + job.slices_per_part, job.slices)):
            table = _sorted(job.hop.gather(written, piece))
            found, columns = _packed(job.settings, table, piece)
            sidecar.write({**columns, "start": columns["start"] + counts["tokens"]})
            files.write(found)
            _count(counts, table, found)
        sidecar.close()
    traced = {"path": path[len(job.root) + 1 :], "bytes": sidecar.out.size, "sha256": sidecar.out.digest.hexdigest()}
    write_json(record_path(job, number), {**counts, "files": [*files.entries, traced]})
    return {"documents": counts["copies"], "bytes": sum(file["bytes"] for file in files.entries)}


def _sorted(table: pa.Table) -> pa.Table:
    order = np.lexsort([array(table, "copy"), array(table, "doc"), array(table, "key")])
    return table.take(pa.array(order)).combine_chunks()


def _count(counts: dict[str, int], table: pa.Table, found: Slice) -> None:
    counts["sequences"] += len(found.sequences)
    counts["tokens"] += len(found.tokens)
    counts["filled"] += 0 if found.filled is None else int(found.filled.sum())
    counts["copies"] += table.num_rows
    counts["documents"] += int((array(table, "copy") == 0).sum())
    counts["empty"] += found.empty


def _packed(settings: Settings, table: pa.Table, salt: int) -> tuple[Slice, dict[str, I64]]:
    """Return a slice's tokens as they are written, and its pieces for the sidecar, `start` counted from the slice."""
    column = whole(table.column("tokens"))
    data, offsets = buffers(column)
    width = np.dtype(settings.dtype).itemsize
    tokens, begin = data[: len(data) // width * width].view(settings.dtype), offsets // width
    sizes = np.diff(begin)
    pieces = pack(settings, sizes, salt)
    pieces = _without_empty(pieces)
    place, sequences, total = _places(settings, pieces)
    out = np.full(total, settings.pad, tokens.dtype)
    filled = np.ones(total, np.bool_)
    _copy(tokens, begin[pieces.document] + pieces.start, pieces.length, place, out, filled)
    stops = place + pieces.length
    ends = np.unique(np.concatenate([stops, np.cumsum(sequences)])) if settings.fixed else stops
    columns = {
        "start": place,
        "length": pieces.length,
        "doc_id": array(table, "doc").astype(np.int64)[pieces.document],
        "copy": array(table, "copy").astype(np.int64)[pieces.document],
        "first": pieces.start,
        "document_tokens": sizes[pieces.document],
    }
    fills = filled if filled.any() else None
    return Slice(tokens=out, sequences=sequences, ends=ends, filled=fills, empty=int((sizes == 0).sum())), columns


def _without_empty(pieces: Pieces) -> Pieces:
    """Return pieces without those of documents that have no token."""
    some = pieces.length > 0
    if some.all():
        return pieces
    window, kept = pieces.window[some], np.unique(pieces.window[some])
    return Pieces(
        pieces.document[some], pieces.start[some], pieces.length[some], np.searchsorted(kept, window), len(kept)
    )


def _places(settings: Settings, pieces: Pieces) -> tuple[I64, I64, int]:
    """Return (where each piece goes, the length of each sequence, all tokens)."""
    before = np.cumsum(pieces.length) - pieces.length
    used = np.bincount(pieces.window, weights=pieces.length, minlength=pieces.windows).astype(np.int64)
    if not settings.fixed:
        return before, used, int(used.sum())
    inside = before - (np.cumsum(used) - used)[pieces.window]
    sequences = np.full(pieces.windows, settings.window, np.int64)
    return pieces.window * settings.window + inside, sequences, pieces.windows * settings.window


def _copy(
    tokens: Tokens,
    source: I64,
    length: I64,
    place: I64,
    out: Tokens,
    filled: npt.NDArray[np.bool_],
    step: int = 1 << 16,
) -> None:
    """Copy runs of tokens to their places, so many runs at a time."""
    for begin in range(0, len(length), step):
        many = length[begin : begin + step]
        total = int(many.sum())
        offset = np.arange(total) - np.repeat(np.cumsum(many) - many, many)
        target = np.repeat(place[begin : begin + step], many) + offset
        out[target] = tokens[np.repeat(source[begin : begin + step], many) + offset]
        filled[target] = False
