"""Spans of bytes in a text."""

from __future__ import annotations


def with_white_space(text: bytes, start: int, stop: int) -> tuple[int, int]:
    """Return the span with the white space (`str.isspace`) on both sides of it."""
    while start > 0:
        before = start - 1
        while text[before] & 0xC0 == 0x80:
            before -= 1
        if not text[before:start].decode().isspace():
            break
        start = before
    while stop < len(text):
        after = stop + 1
        while after < len(text) and text[after] & 0xC0 == 0x80:
            after += 1
        if not text[stop:after].decode().isspace():
            break
        stop = after
    return start, stop
