"""Tell whether an input file has changed: tokens change when it is written again, fingerprints with its content.

Memory: a block of a file, `WHOLE_BYTES` of one in a store without marks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import xxhash

from cluster import storage

WHOLE_BYTES = 64 << 20  # of a file in a store that gives no mark of its content
SAMPLE_BYTES = 1 << 20
SAMPLES = 32
MARKED_BYTES = 64 << 10  # of a block of a file whose content has a mark
MARKED_SAMPLES = 4
CONTENT_MARKS = ("ETag", "etag")
OTHER_MARKS = ("mtime", "LastModified", "last_modified", "updated", "created")


def fingerprint(path: str, size: int, token: str = "", *, marked: bool = False) -> str:
    """Return 32 hexadecimal digits that stand for the content of a file.

    Every byte of a local file counts. One in a store would be transferred once more: its size, its token (which
    holds the store's mark of its content) and some blocks, both ends among them, count. Where the store gives no mark,
    every byte counts up to WHOLE_BYTES, more blocks of a larger file.

    token : of a file in a store, as `stat_token` has it; marked: whether a mark of the content is in it.
    """
    state = xxhash.xxh3_128()
    if storage.is_local(path):
        with storage.open_read(path) as file:
            while data := file.read(SAMPLE_BYTES):
                state.update(data)
        return str(state.hexdigest())
    block, samples = (MARKED_BYTES, MARKED_SAMPLES) if marked else (SAMPLE_BYTES, SAMPLES)
    whole = size <= (block * samples if marked else WHOLE_BYTES)
    for start, stop in [(0, size)] if whole else _blocks(size, block, samples):
        state.update(storage.read_range(path, start, stop))
    if not whole:
        state.update(f"{size} {token}".encode())
    return str(state.hexdigest())


def bytes_hashed(path: str, size: int, *, marked: bool) -> int:
    """Return how many bytes of a file its fingerprint reads."""
    if storage.is_local(path):
        return size
    return min(size, MARKED_BYTES * MARKED_SAMPLES if marked else WHOLE_BYTES)


def _blocks(size: int, block: int, samples: int) -> list[tuple[int, int]]:
    """Return where blocks at equal distances begin and end, from the first byte to the last."""
    starts = [(size - block) * number // (samples - 1) for number in range(samples)]
    return [(start, start + block) for start in starts]


def size_of(path: str) -> int:
    """Return the size of a file in bytes. Raises FileNotFoundError."""
    if storage.is_local(path):
        return os.stat(storage.local_path(path)).st_size
    fs, inner = storage.filesystem(path)
    return int(fs.info(inner)["size"] or 0)


def stat_token(path: str) -> str:
    """Return a string that changes when a file is written again; reads no content."""
    if storage.is_local(path):
        stat = os.stat(storage.local_path(path))
        return f"{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}-{stat.st_ctime_ns}"
    fs, inner = storage.filesystem(path)
    return token_of(fs.info(inner))


def listed_tokens(folder: str) -> dict[str, str]:
    """Return name and token of each file of a store's folder, by its listing; see `stat_token`."""
    return {entry["name"]: token_of(entry) for entry in storage.listed(folder) if entry["type"] != "directory"}


def token_of(info: Mapping[str, Any]) -> str:
    """Return the token of a file in a store from what its listing says: size and ETag, where there is none the times.

    Examples
    --------
    >>> token_of({"size": 3, "ETag": '"9e1"', "LastModified": "2026-11-28"}), token_of({"size": 3})
    ('3-"9e1"', '3')
    """
    for keys in (CONTENT_MARKS, OTHER_MARKS):
        marks = [_mark(info[key]) for key in keys if info.get(key) is not None]
        if marks:
            return "-".join([str(info.get("size")), *marks])
    return str(info.get("size"))


def _mark(value: object) -> str:
    """Return a mark as text; some stores list a time in seconds and tell it as a date."""
    return str(value.timestamp() if isinstance(value, datetime) else value)


def is_marked(info: Mapping[str, Any]) -> bool:
    """Tell whether a listing of a store gives a mark of a file's content."""
    return any(info.get(key) for key in CONTENT_MARKS)


def same_token(known: str, now: str) -> bool:
    """Tell whether a token is the one that is known.

    Earlier ones of local files lack the time of the last change; earlier ones of a store's have it behind the ETag.
    """
    longer = known.count("-") == 2 and now.count("-") == 3 and now.startswith(f"{known}-")
    return known == now or longer or known.startswith(f"{now}-")
