"""Arrow and Parquet files that carry a checksum of all their bytes, and JSON that does.

A sealed file is a valid Arrow or Parquet file: its footer is 16 bytes longer than its content needs, which readers
pass over. These bytes are an XXH3 of all others and the word `SEAL`. A file without them was written by a winnow that
did not seal yet; it is read as it was then, Arrow with a check of every offset.

Guarantees: a sealed file with any byte changed, cut off or zeroed is a DamagedError before Arrow sees it. A local file
is hashed once per process, by reads of `BLOCK` bytes, not through a map, which would count as resident memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from cluster import storage
from cluster.errors import DamagedError
from cluster.files.digesting import Writable, WriteOnly, blocks_of

SEAL = b"WINNOWX1"
ENDS = (b"ARROW1", b"PAR1")  # what Arrow and Parquet files end with, behind the length of the footer
HELD = 10  # bytes: the longest end, and the length
LENGTH = struct.Struct("<i")
BLOCK = 1 << 20
REMEMBERED = 1 << 16  # files that a process knows to be whole
MANIFEST = "manifest.parquet"  # of a run folder
DEEPEST = 8  # folders below that of the manifest in which files lie
REMEDY = "`winnow run` with the folder's recipe makes it again"

_whole: OrderedDict[str, tuple[int, int, int]] = OrderedDict()


class Sealing(WriteOnly):
    """A binary file for the writer of an Arrow or Parquet file; `finish`, once that is closed, adds the seal."""

    closed = False

    def __init__(self, file: Writable) -> None:
        self._file = file
        self._hash = xxhash.xxh3_64()
        self._end = b""  # the last bytes so far, not written yet
        self._size = 0

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if len(view) >= HELD:
            self._put(self._end)
            self._put(view[:-HELD])
            self._end = bytes(view[-HELD:])
        else:
            held = self._end + bytes(view)
            self._put(held[:-HELD])
            self._end = held[-HELD:]
        self._size += len(view)
        return len(view)

    def _put(self, data: bytes | memoryview) -> None:
        self._hash.update(data)
        self._file.write(data)

    def finish(self) -> None:
        """Write what is held back, the seal in its place."""
        end = next(end for end in ENDS if self._end.endswith(end))
        start = len(self._end) - len(end) - LENGTH.size
        (length,) = LENGTH.unpack_from(self._end, start)
        self._put(self._end[:start])
        last = SEAL + LENGTH.pack(length + 8 + len(SEAL)) + end
        self._hash.update(last)
        self._file.write(struct.pack("<Q", self._hash.intdigest()) + last)

    def tell(self) -> int:
        return self._size

    def close(self) -> None:
        """The file that lies below is closed by who opened it."""


@contextlib.contextmanager
def commit_sealed(path: str, *, scratch: bool = False) -> Iterator[Sealing]:
    """Yield a file for a writer of Arrow or Parquet, which must close inside; it appears sealed, or not at all."""
    with storage.commit_scratch(path) if scratch else storage.commit(path) as file:
        sealing = Sealing(file)
        yield sealing
        sealing.finish()


def read_sealed(path: str) -> pa.Buffer:
    """Return the bytes of a sealed file, checked: mapped where it is local. Raises DamagedError."""
    if not storage.is_local(path):
        data = pa.py_buffer(storage.read_bytes(path))
        check_bytes(path, data)
        return data
    check_file(path)
    with pa.memory_map(storage.local_path(path)) as file:
        return file.read_buffer()


def is_sealed(data: pa.Buffer) -> bool:
    """Tell whether a whole file carries a seal."""
    return _seal_of(bytes(memoryview(data)[-HELD - 16 :])) is not None


def check_bytes(path: str, data: pa.Buffer | bytes) -> None:
    """Raise DamagedError unless these bytes of a file are what was written."""
    view = memoryview(data)
    state = xxhash.xxh3_64()
    _check_end(path, bytes(view[-HELD - 16 :]), len(view), state, iter([view]))


def check_file(path: str) -> None:
    """Raise DamagedError unless a local file is what was written; a file that was checked and not changed is passed."""
    name = storage.local_path(path)
    with open(name, "rb", buffering=0) as file:
        found = os.fstat(file.fileno())
        known = (found.st_size, found.st_mtime_ns, found.st_ino)
        if _whole.get(name) == known:
            return
        file.seek(max(0, found.st_size - HELD - 16))
        end = file.read()
        file.seek(0)
        _check_end(path, end, found.st_size, xxhash.xxh3_64(), blocks_of(file, BLOCK))
    _whole[name] = known
    while len(_whole) > REMEMBERED:
        with contextlib.suppress(KeyError):  # another thread was first
            _whole.popitem(last=False)


def _seal_of(end: bytes) -> tuple[int, int] | None:
    """Return (checksum, bytes from it to the end of the file) of the last bytes of a sealed file."""
    for kind in ENDS:
        place = len(end) - len(kind) - LENGTH.size - len(SEAL)
        if place >= 8 and end[place : place + len(SEAL)] == SEAL:
            (mark,) = struct.unpack_from("<Q", end, place - 8)
            return int(mark), len(end) - place + 8
    return None


def _check_end(path: str, end: bytes, size: int, state: Any, blocks: Iterator[Any]) -> None:
    seal = _seal_of(end)
    if seal is None:
        if not end.endswith(ENDS):
            raise damaged(path, "it is empty" if not size else "its end is cut off or overwritten")
        return
    mark, length = seal
    left = size - length  # bytes before the checksum
    for block in blocks:
        state.update(memoryview(block)[: max(0, left)])
        left -= len(block)
    state.update(end[len(end) - length + 8 :])
    if state.intdigest() != mark:
        raise damaged(path, "its checksum does not fit")


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn what Arrow says about the bytes of a run folder's file into DamagedError; what the storage says stays."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise damaged(path, " ".join(str(error).split())) from None


@contextlib.contextmanager
def open_parquet(path: str, *, whole: bool = False) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file of a run folder for reading, checked: its seal where it is local, its pages everywhere.

    whole : a file of a store is fetched by one request, held, and its seal checked.
    The block reads inside `reading(path)`. Raises DamagedError, FileNotFoundError.
    """
    if storage.is_local(path):
        check_file(path)
        with reading(path):  # by its path: a thread may release a Python file while Python exits
            parquet = pq.ParquetFile(storage.local_path(path), page_checksum_verification=True)
        with parquet:
            yield parquet
        return
    with pa.BufferReader(read_sealed(path)) if whole else storage.open_read(path) as file:
        with reading(path):
            parquet = pq.ParquetFile(file, page_checksum_verification=True)
        yield parquet


def batches(
    path: str,
    rows: int,
    columns: list[str] | None = None,
    check: Callable[[pq.ParquetFile], None] | None = None,
    *,
    whole: bool = False,
) -> Iterator[pa.Table]:
    """Yield the rows of a Parquet file of a run folder in tables of at most so many. Raises as `open_parquet`.

    check : called with the open file before the first table. whole : as `open_parquet` has it.
    """
    with open_parquet(path, whole=whole) as file:
        if check is not None:
            check(file)
        check_columns(path, file, columns or ())
        with reading(path):
            found = file.iter_batches(rows, columns=columns)
        while True:
            with reading(path):
                batch = next(found, None)
            if batch is None:
                return
            yield pa.Table.from_batches([batch])


def check_columns(path: str, file: pq.ParquetFile, columns: Iterable[str]) -> None:
    """Raise DamagedError where a file of a run folder lacks one of these columns."""
    missing = [name for name in columns if name not in file.schema_arrow.names]
    if missing:
        raise damaged(path, f"it has no column {missing[0]}")


def damaged(path: str, why: str, remedy: str = REMEDY) -> DamagedError:
    """Return the error of a file of a run folder that is not what was written."""
    return DamagedError(f"{path} is damaged: {why}. {remedy[0].upper()}{remedy[1:]}.", path)


def check_unmarked(path: str) -> None:
    """Raise DamagedError where a file without checksum lies in the folder of a winnow that gives all files one.

    That is told by the seal of the nearest `manifest.parquet` above the file.
    """
    folder = path
    for _ in range(DEEPEST):
        folder = folder.rpartition("/")[0]
        manifest = storage.join(folder, MANIFEST)
        if not folder or folder.endswith(":/"):
            return
        if storage.exists(manifest):
            if _carries_seal(manifest):
                raise damaged(path, "it has no checksum")
            return


def _carries_seal(path: str) -> bool:
    """Tell whether a file ends with a seal, whatever it holds else."""
    if not storage.is_local(path):
        return _seal_of(storage.read_bytes(path)[-HELD - 16 :]) is not None
    with open(storage.local_path(path), "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - HELD - 16))
        return _seal_of(file.read()) is not None


# --- JSON ------------------------------------------------------------------------------------------------


def write_json(path: str, data: Any, *, scratch: bool = False) -> None:
    """Commit plain data as JSON, with a checksum."""
    text = json.dumps({"checksum": _mark(data), "data": data})
    storage.write_bytes(path, text.encode(), scratch=scratch)


def read_json(path: str) -> Any:
    """Return the data of `write_json`, or of an earlier winnow's JSON. Raises DamagedError, FileNotFoundError."""
    return parse_json(path, storage.read_bytes(path))


def parse_json(path: str, text: bytes) -> Any:
    """Return the data of the content of a file that `write_json` wrote."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise damaged(path, "it is empty" if not text else "it is no JSON") from None
    if not isinstance(found, dict) or not {"checksum", "data"} & found.keys():
        check_unmarked(path)
        return found  # of a winnow that wrote no checksums
    if found.keys() != {"checksum", "data"} or found["checksum"] != _mark(found["data"]):
        raise damaged(path, "its checksum does not fit")
    return found["data"]


def write_public_json(path: str, data: Mapping[str, Any]) -> None:
    """Commit an indented JSON object for others to read, with its checksum as one key more."""
    text = json.dumps({**data, "checksum": _mark(data)}, indent=2)
    storage.write_bytes(path, f"{text}\n".encode())


def read_public_json(path: str) -> dict[str, Any]:
    """Return what `write_public_json` wrote, or an earlier winnow's object. Raises DamagedError, FileNotFoundError."""
    text = storage.read_bytes(path)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise damaged(path, "it is empty" if not text else "it is no JSON") from None
    if not isinstance(found, dict):
        raise damaged(path, "it is no JSON object")
    mark = found.pop("checksum", None)
    if mark is None:
        check_unmarked(path)
    elif mark != _mark(found):
        raise damaged(path, "its checksum does not fit")
    return found


def check_text(path: str) -> None:
    """Raise DamagedError unless a JSON file with a checksum has the bytes that were written, not just these values.

    Its checksum is of the values, which stay where the last digit of a fraction or an escape's case changes.
    """
    text = storage.read_bytes(path)
    found = json.loads(text) if text else None
    if isinstance(found, dict) and "checksum" in found:
        wrapped = found.keys() == {"checksum", "data"}
        if text != (json.dumps(found) if wrapped else f"{json.dumps(found, indent=2)}\n").encode():
            raise damaged(path, "its values fit its checksum, but it is not the text that was written")


def _mark(data: Any) -> str:
    return xxhash.xxh3_64_hexdigest(json.dumps(data, sort_keys=True).encode())
