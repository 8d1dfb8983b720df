"""What a data file is: by its name, and by its first bytes where they say more.

A format is a kind (parquet, jsonl, json, csv, tsv, arrow, warc), and of a compressed file the codec after a dot:
`jsonl.gz`. `json` is one JSON array, or JSON values over several lines; everything else called .json is `jsonl`.

Guarantees: magic bytes win over the name, the name over what merely looks like text; a file is opened for its first
bytes only (64 kB decompressed).
"""

from __future__ import annotations

import csv
import functools
import io
import re
from collections.abc import Callable

import orjson
import pyarrow as pa

from cluster import storage
from cluster.errors import ShardError
from cluster.files import compression
from stages.core.shard import DIRECT

HEAD = 64 << 10
NAMES = {
    ".parquet": "parquet",
    ".parq": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".json": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".warc": "warc",
    ".wet": "warc",
}
DECLARED = ("auto", "parquet", "jsonl", "csv", "tsv", "arrow", "warc")
WHOLE = ("parquet", "arrow")  # kinds that bring their own compression: as .gz they are not read
BOM = b"\xef\xbb\xbf"
MAGIC = ((b"PAR1", "parquet"), (b"ARROW1", "arrow"), (b"WARC/", "warc"))
# What a file is that cannot be read, by its first bytes: for the list of what was passed over.
STRANGERS = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x1f\x9d", "compressed by `compress` (.Z)"),
    (b"\xff\x06\x00\x00sNaPpY", "compressed with Snappy"),
    (b"\x02\x21\x4c\x18", "compressed in lz4's legacy format"),
    (b"PARE", "encrypted Parquet"),
    (b"FEA1", "Feather version 1"),
    (b"ORC", "an ORC file"),
    (b"Obj\x01", "an Avro file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"version https://git-lfs", "a Git LFS pointer: the file itself was not fetched"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)
# What may hold documents but is not read, by name.
PACKED = {".zip": "a ZIP archive", ".tar": "a tar archive", ".tgz": "a tar archive", ".7z": "a 7z archive"}
PACKED |= {".br": "compressed with Brotli", ".z": "compressed by `compress`", ".snappy": "compressed with Snappy"}
PACKED |= {".orc": "an ORC file", ".avro": "an Avro file", ".wat": "a WAT file, which holds no documents"}
PACKED |= {".h5": "an HDF5 file", ".xlsx": "an Excel file", ".rar": "a RAR archive"}
KNOWN = f"{', '.join(sorted(NAMES))}; of text also .{', .'.join(compression.CODECS)}"


def kind_of(format: str) -> str:
    """Return the kind of a format, without the codec."""
    return format.partition(".")[0]


def codec_of(format: str) -> str:
    """Return the codec of a format, "" for none."""
    return format.partition(".")[2]


def is_staged(format: str) -> bool:
    """Tell whether rows cannot be reached without reading from the start: such a file is staged once as Parquet."""
    return format not in DIRECT


def _format(kind: str, codec: str) -> str | None:
    if kind in WHOLE:
        return None if codec else kind
    return f"{kind}.{codec}" if codec else kind


def by_name(path: str, declared: str = "auto") -> str | None:
    """Return the format that a file's name and the recipe's `format:` tell; None where neither does."""
    return _by_ending(_ending(path.rpartition("/")[2].lower()), declared)


def _ending(name: str) -> str:
    """Return the last ending of a name, and before a codec's the one before it: all that tells the format."""
    stem, dot, last = name.rpartition(".")
    if dot and f".{last}" in compression.SUFFIXES:
        _, dot, kind = stem.rpartition(".")
        return f"{dot}{kind}.{last}"
    return f"{dot}{last}"


@functools.lru_cache(maxsize=1024)
def _by_ending(name: str, declared: str) -> str | None:
    stem, codec = compression.by_name(name)
    kind = next((kind for suffix, kind in NAMES.items() if stem.endswith(suffix)), None)
    if declared == "auto":
        return _format(kind, codec) if kind else None
    return declared if declared in WHOLE else _format(declared, codec)


def packed(path: str) -> str | None:
    """Return what a file is that its name tells not to be readable: "a ZIP archive"; None for others."""
    name = path.rsplit("/", 1)[-1].lower()
    stem, codec = compression.by_name(name)
    for suffix, what in PACKED.items():
        if name.endswith(suffix) or (codec and stem.endswith(suffix)):
            return what
    kind = next((kind for suffix, kind in NAMES.items() if stem.endswith(suffix)), None)
    return f"{kind} compressed once more" if codec and kind in WHOLE else None


# --- by content ------------------------------------------------------------------------------------------


def head(path: str, codec_named: str = "") -> tuple[bytes, bytes, str]:
    """Return the first bytes of a file, those that it decompresses to, and the codec that its magic bytes name.

    Raises ShardError where it cannot be reached.
    """
    try:
        raw = storage.read_range(path, 0, HEAD)
        codec = compression.by_magic(raw, codec_named)
        if not codec:
            return raw, raw, ""
        with storage.open_read(path) as file:
            return raw, compression.peek(file, codec, HEAD), codec
    except OSError as error:
        raise ShardError(
            f"{path} cannot be read: {error.strerror or error}. Check that it is there and that every worker may read "
            "it."
        ) from error


def stranger(path: str) -> str | None:
    """Return what a file is that is not read, by its first bytes; None where they say nothing."""
    raw, inner, _ = head(path, compression.by_name(path)[1])
    return next((what for start in (raw, inner) for magic, what in STRANGERS if start.startswith(magic)), None)


def detect(path: str, declared: str = "auto", *, text: bool = True) -> str | None:
    """Return the format of a file by name, recipe and first bytes; None where nothing tells, or it cannot be read.

    text : a name that says nothing and plain text that looks like JSON make a data file.

    Raises ShardError where the file cannot be reached.
    """
    named = by_name(path, declared)
    codec_named = compression.by_name(path)[1]
    _, inner, codec = head(path, codec_named)
    strong = _strong(inner)
    if strong:
        return _format(strong, codec)
    if named is None and not text and not codec:
        return None
    json = _json_kind(inner, path)
    if named is None:
        return _format(json, codec) if json and declared == "auto" else None
    kind = kind_of(named)
    if json and (kind == "jsonl" or (declared == "auto" and _is_object(_first_line(inner)))):
        return _format(json, codec)
    if kind in WHOLE:
        return named
    if codec_named and not codec and inner and not json and (kind == "jsonl" or not _looks_like_text(inner)):
        codec = codec_named  # damaged at its start: the decompressor says so
    return _format(kind, codec if inner or codec else codec_named)


def _strong(start: bytes) -> str | None:
    """Return the kind that magic bytes name beyond doubt."""
    found = next((kind for magic, kind in MAGIC if start.startswith(magic)), None)
    # An IPC stream: a continuation marker and the length of the schema's message, or (before 2019) that length alone.
    if found is None and start[:4] == b"\xff\xff\xff\xff" and 0 < int.from_bytes(start[4:8], "little") < 1 << 28:
        return "arrow"
    return found


def _first_line(start: bytes) -> bytes:
    return start.removeprefix(BOM).lstrip().partition(b"\n")[0]


def _is_object(line: bytes) -> bool:
    """Tell whether a line is a JSON object, or the beginning of one that is longer than what was read."""
    if not line.startswith(b"{"):
        return False
    return _parses(line) or (len(line) > HEAD // 2 and re.match(rb'\{\s*"', line) is not None)


def _parses(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def _json_kind(start: bytes, path: str) -> str | None:
    """Return jsonl, json (an array, or values over several lines) or None for text that does not look like JSON."""
    text = start.removeprefix(BOM).lstrip()
    array = re.match(rb"\[\s*(.?)", text, re.DOTALL)
    if array:
        called = compression.by_name(path.lower())[0].endswith(".json")
        return "json" if array[1] in (b"{", b"]", b"") or called else None
    if not text.startswith(b"{"):
        return None
    line = _first_line(start)
    if _is_object(line):
        return "jsonl"
    return "json" if re.fullmatch(rb"\{\s*", line) or re.fullmatch(rb'\{\s*".*[,{\[]\s*', line) else None


def _looks_like_text(start: bytes) -> bool:
    """Tell whether bytes are UTF-8 text without control characters, a character cut at the end aside."""
    if start.translate(None, bytes({*range(32)} - {9, 10, 13})) != start:
        return False
    try:
        start.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(start) - 3
    return True


def column_names(path: str, format: str) -> list[str] | None:
    """Return the columns of a CSV, TSV or Arrow file as its first bytes name them; None where they do not."""
    raw, start, _ = head(path, codec_of(format))
    if not raw:
        return []
    if kind_of(format) == "arrow":
        start = start[8:] if start.startswith(b"ARROW1") else start
        try:
            return list(pa.ipc.open_stream(pa.py_buffer(start)).schema.names)
        except (pa.ArrowException, OSError):
            return None
    if b"\n" not in start and b"\r" not in start:
        return None  # damaged, or longer than what was looked at
    text = io.StringIO(start.removeprefix(BOM).decode("utf-8", "replace"), newline="")
    try:
        return next(csv.reader(text, delimiter="," if kind_of(format) == "csv" else "\t"), [])
    except csv.Error:
        return None


@functools.lru_cache(maxsize=4096)
def _cached(path: str, declared: str, token: str) -> str | None:
    return detect(path, declared)


def of_file(path: str, declared: str, token: Callable[[str], str]) -> str | None:
    """Return `detect`'s answer, kept as long as the file is the same (`token`)."""
    try:
        return _cached(path, declared, token(path))
    except OSError:
        return by_name(path, declared)  # it is gone: the reader says so better
