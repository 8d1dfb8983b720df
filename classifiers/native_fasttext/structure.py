"""Whether a fastText file is whole and agrees with itself, told from its headers and sizes before anything is loaded.

The package loads what is cut short, or names other sizes than its matrices have, without a word, and then answers
with something. Guarantees: a file that passes holds its whole model, its matrices have the sizes that arguments and
dictionary ask for, and nothing is allocated that the file does not hold. Memory: the dictionary.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

CODES = 256
ENTRY_BYTES = 10  # of a dictionary entry without its text
MAX_BUCKET = 1 << 28
MAX_NGRAM = 1 << 10


class Contradiction(ValueError):
    """The file is cut short or contradicts itself; the message says how."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the head of a file says. pruned: buckets that have a row, -1 where all have."""

    dim: int
    word_ngrams: int
    bucket: int
    minn: int
    maxn: int
    words: int
    labels: int
    pruned: int


def unpack(file: BinaryIO, form: str) -> tuple[int, ...]:
    """Read numbers. Raises Contradiction where the file ends first."""
    size = struct.calcsize("<" + form)
    data = file.read(size)
    if len(data) < size:
        raise Contradiction("the file is cut short")
    return struct.unpack("<" + form, data)


def left(file: BinaryIO) -> int:
    """Return the bytes between the present place and the end."""
    return os.fstat(file.fileno()).st_size - file.tell()


def check_arguments(sizes: dict[str, int]) -> None:
    """Raise Contradiction where the arguments make no model."""
    ranges = {"dim": (1, 1 << 16), "word_ngrams": (1, MAX_NGRAM), "bucket": (0, MAX_BUCKET), "minn": (0, MAX_NGRAM)}
    ranges["maxn"] = (0, MAX_NGRAM)
    for name, (low, high) in ranges.items():
        if not low <= sizes[name] <= high:
            raise Contradiction(f"its argument {name} is {sizes[name]}, between {low} and {high} is possible")


def check_dictionary(file: BinaryIO, size: int, words: int, labels: int, pruned: int) -> None:
    """Raise Contradiction where a dictionary of this size does not fit in what is left of the file."""
    if min(size, words) < 0 or labels < 1 or size != words + labels or pruned < -1:
        raise Contradiction(f"its dictionary has {size} entries, {words} words and {labels} labels")
    if size * ENTRY_BYTES + max(0, pruned) * 8 > left(file):
        raise Contradiction(f"the file is cut short: its dictionary of {size:,} entries does not fit in it")


def check_matrices(file: BinaryIO, sizes: Sizes) -> None:
    """Check the two matrices from here to the end of the file, and leave the file where it was.

    Raises Contradiction.
    """
    begin = file.tell()
    quantised = _flag(file)
    rows = sizes.words + (sizes.bucket if sizes.pruned < 0 else sizes.pruned)
    _matrix(file, quantised, "input", rows, sizes.dim)
    quantised_output = _flag(file)
    _matrix(file, quantised and quantised_output, "output", sizes.labels, sizes.dim)
    file.seek(begin)


def _flag(file: BinaryIO) -> bool:
    (value,) = unpack(file, "B")
    if value > 1:
        raise Contradiction(f"a flag is {value} instead of 0 or 1")
    return value == 1


def _matrix(file: BinaryIO, quantised: bool, which: str, rows: int, columns: int) -> None:
    norms = quantised and _flag(file)
    found = unpack(file, "qq")
    if found != (rows, columns):
        raise Contradiction(
            f"its {which} matrix is {found[0]:,} x {found[1]:,}, the dictionary asks for {rows:,} x {columns:,}"
        )
    if not quantised:
        _skip(file, 4 * rows * columns)
        return
    (codes,) = unpack(file, "i")
    _skip(file, codes)
    _quantiser(file, which, columns, lambda parts: codes == rows * parts)
    if norms:
        _skip(file, rows)
        _quantiser(file, f"{which} norms", 1, lambda parts: parts == 1)


def _quantiser(file: BinaryIO, which: str, columns: int, fits: Callable[[int], bool]) -> None:
    dim, parts, width, last = unpack(file, "4i")
    whole = 0 < last <= width and parts > 0 and (parts - 1) * width + last == dim
    if dim != columns or not whole or not fits(parts):
        raise Contradiction(
            f"the quantiser of its {which} has {parts} parts of {width}, the last {last}, for {dim} numbers"
        )
    _skip(file, 4 * dim * CODES)


def _skip(file: BinaryIO, size: int) -> None:
    if not 0 <= size <= left(file):
        raise Contradiction("the file is cut short")
    file.seek(size, os.SEEK_CUR)
