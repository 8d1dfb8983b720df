"""Patterns of the user's own, matched by RE2 (Arrow's), whose time is linear in the text whatever the pattern.

RE2 has no look-around and no back references. Spans are found by one replacement that puts a byte which no UTF-8 text
holds before and after every match. Guarantees: spans are bytes of the text, leftmost first, without overlaps, none
empty. Memory: the texts that match, once more.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stages.kernels.hashes.hashing import buffers

I64 = npt.NDArray[np.int64]
MARK = 0xFF  # stands in no UTF-8 text
NAME = re.compile("[a-z][a-z0-9_]*")


def problem(pattern: str) -> str | None:
    """Return what is wrong with a pattern, and where, None if nothing is.

    >>> problem("a(b"), problem("[a-z]+")
    ('at position 1: missing ): a(b', None)
    """
    try:
        pc.match_substring_regex(pa.array([""]), f"({pattern})")
    except (pa.ArrowInvalid, ValueError) as error:
        return _where(pattern, str(error))
    if pc.match_substring_regex(pa.array([""]), pattern)[0].as_py():
        return "it matches a text of no characters"
    return None


def _where(pattern: str, error: str) -> str:
    """Return RE2's message with the place in the pattern of what it complains about."""
    what = error.removeprefix("Invalid regular expression: ").strip()
    _, _, shown = what.rpartition(": ")
    shown = shown.removesuffix(")") if shown.count(")") > shown.count("(") else shown
    place = pattern.find(shown) if shown else -1
    if "missing )" in what:
        place, what = _unclosed(pattern), f"missing ): {pattern}"
    elif "unexpected )" in what:
        place, what = _extra(pattern), f"unexpected ): {pattern}"
    return f"at position {place}: {what}" if place >= 0 else what


def _brackets(pattern: str) -> Iterator[tuple[int, str]]:
    """Yield the parentheses of a pattern that group, with their places."""
    inside = False
    for m in re.finditer(r"\\.|[\[\]()]", pattern, re.DOTALL):
        if m[0] == "[" or m[0] == "]":
            inside = m[0] == "["
        elif not inside and m[0] in "()":
            yield m.start(), m[0]


def _unclosed(pattern: str) -> int:
    held: list[int] = []
    for place, c in _brackets(pattern):
        if c == "(":
            held.append(place)
        elif held:
            held.pop()
    return held[-1] if held else -1


def _extra(pattern: str) -> int:
    depth = 0
    for place, c in _brackets(pattern):
        depth += 1 if c == "(" else -1
        if depth < 0:
            return place
    return -1


def spans(texts: pa.Array, pattern: str) -> I64:
    """Return (text, start, stop) of every match, (matches, 3) int64, in bytes of the text.

    >>> spans(pa.array(["\u00e9 ab-1 ab-22"], pa.large_string()), "ab-[0-9]+").tolist()
    [[0, 3, 7], [0, 8, 13]]
    """
    hit = np.flatnonzero(pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False))
    if not len(hit):
        return np.empty((0, 3), np.int64)
    some = texts.take(pa.array(hit))
    mark = bytes([MARK])
    marked = pc.replace_substring_regex(some, pattern=f"({pattern})", replacement=mark + b"\\1" + mark)
    data, offsets = buffers(marked)
    at = np.flatnonzero(data == MARK)
    text = np.searchsorted(offsets, at, side="right") - 1
    _, first = np.unique(text, return_index=True)
    before = np.arange(len(at)) - np.repeat(first, np.diff(np.append(first, len(at))))  # marks in the text before
    place = at - offsets[text] - before
    found: I64 = np.stack([hit[text[::2]], place[::2], place[1::2]], axis=1)
    return found[found[:, 2] > found[:, 1]]


def find(texts: pa.Array, patterns: Mapping[str, str]) -> dict[int, list[tuple[int, int, str]]]:
    """Return start, stop and name of what the patterns match, by text."""
    found: dict[int, list[tuple[int, int, str]]] = {}
    for name, pattern in patterns.items():
        for row, start, stop in spans(texts, pattern).tolist():
            found.setdefault(row, []).append((start, stop, name))
    return found


@functools.lru_cache(maxsize=64)
def split(patterns: tuple[str, ...]) -> dict[str, str]:
    """Return NAME=REGEX texts as a mapping."""
    return dict(text.partition("=")[::2] for text in patterns)
