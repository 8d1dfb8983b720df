"""A large corpus of real text's shape out of a small one: each copy has its letters permuted.

A permutation of the alphabet keeps lengths, word lengths, repetitions and the natural near-duplicates of the
source, while no shingle of one copy equals one of another. So the share of duplicates stays that of the source, at
any size. Files are Parquet with text and id, shuffled within a copy.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def permuted(number: int) -> dict[int, int]:
    """Return the translation table of copy `number`; copy 0 is the source itself."""
    letters = list(string.ascii_lowercase)
    shuffled = letters.copy()
    if number:
        random.Random(number).shuffle(shuffled)
    lower = dict(zip(map(ord, letters), map(ord, shuffled), strict=True))
    upper = {ord(chr(a).upper()): ord(chr(b).upper()) for a, b in lower.items()}
    return lower | upper


def build(texts: list[str], out: Path, megabytes: float) -> int:
    """Write about so many megabytes of text below `out`; return the documents written."""
    out.mkdir(parents=True, exist_ok=True)
    size = written = copy = 0
    while size < megabytes * 1_000_000:
        table = permuted(copy)
        rows = [(text.translate(table), f"{copy}-{number}") for number, text in enumerate(texts)]
        random.Random(copy).shuffle(rows)
        kept, size = _until(rows, size, int(megabytes * 1_000_000))
        columns = {"text": [text for text, _ in kept], "id": [name for _, name in kept]}
        pq.write_table(pa.table(columns), out / f"copy-{copy:03d}.parquet", compression="zstd", row_group_size=5000)
        written += len(kept)
        copy += 1
    return written


def _until(rows: Iterable[tuple[str, str]], size: int, limit: int) -> tuple[list[tuple[str, str]], int]:
    kept = []
    for text, name in rows:
        if size >= limit:
            break
        kept.append((text, name))
        size += len(text.encode())
    return kept, size


def documents(folder: Path) -> Iterator[str]:
    """Yield the texts of every Parquet file below a folder."""
    for path in sorted(folder.rglob("*.parquet")):
        if "text" in pq.read_schema(path).names:
            for batch in pq.ParquetFile(path).iter_batches(columns=["text"]):
                yield from (text for text in batch.column(0).to_pylist() if text and text.strip())
