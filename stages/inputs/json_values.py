"""JSON that is not one value a line: one array, or values over several lines, cut into a row for each value.

Guarantees: every value's own bytes are handed on, so that numbers, escapes and malformed text arrive as they are
written; what is cut short or no JSON raises `Broken` after the values before it. Memory: a block, or the largest value.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator

from cluster.bounds import LONGEST

BLOCK = 1 << 20  # characters between two blocks of rows
_DECODER = json.JSONDecoder(strict=False, parse_int=len, parse_float=len, parse_constant=len)
_BLANKS = re.compile(r"[ \t\r\n]*")


class Broken(Exception):
    """The values end early, or something stands there that is no JSON; the message says what."""


class _Text:
    """Text that grows as bytes come in. `at`: where the next value begins."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self.text = ""
        self.at = 0
        self.ended = False

    def more(self) -> bool:
        """Read on, by as much again as is held; tell whether anything came."""
        self.text, self.at = self.text[self.at :], 0
        if len(self.text) > LONGEST:
            raise Broken(f"a value has more than {LONGEST:,} characters")
        parts, wanted = [self.text], max(1, len(self.text))
        while wanted > 0 and not self.ended:
            chunk = next(self._chunks, None)
            self.ended = chunk is None
            part = self._decoder.decode(chunk or b"", self.ended)
            wanted -= len(part)
            parts.append(part)
        before, self.text = len(self.text), "".join(parts)
        return len(self.text) > before

    def next(self) -> str:
        """Return the next character that is not blank without going past it; "" at the end."""
        while True:
            self.at = _BLANKS.match(self.text, self.at).end()  # type: ignore[union-attr]  # it matches nothing, too
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def value(self, number: int) -> str:
        """Return the text of the next value, and go past it."""
        while True:
            try:
                end = _DECODER.raw_decode(self.text, self.at)[1]
            except json.JSONDecodeError as error:
                partial = error.msg.startswith("Unterminated") or error.pos >= len(self.text) - 8
                if partial and self.more():
                    continue
                what = "is cut short" if partial else f"is no JSON ({error.msg})"
                raise Broken(f"value {number} {what}") from error
            except (ValueError, RecursionError) as error:
                raise Broken(f"value {number} cannot be read ({error})") from error
            if end < len(self.text) or not self.more():  # a number may go on
                found = self.text[self.at : end]
                self.at = end
                return found


def values(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield the text of every value of a JSON array, or of values one after the other."""
    text = _Text(chunks)
    number = 0
    array = text.next() == "["
    if array:
        text.at += 1
    while (first := text.next()) not in ("", "]"):
        yield text.value(number)
        number += 1
        if not array:
            continue
        text.next()
        if text.text[text.at : text.at + 1] == ",":
            text.at += 1
            if text.next() == "]":
                raise Broken(f"value {number} is missing before the end of the array")
        elif text.next() not in ("]", ""):
            raise Broken(f"a comma is missing after value {number - 1}")
    _check_end(text, array, first, number)


def _check_end(text: _Text, array: bool, first: str, number: int) -> None:
    """Raise Broken unless an array is closed and nothing comes after it."""
    if array and first == "":
        raise Broken(f"the array is cut short after {number} values")
    if first == "]":
        text.at += 1
        if not array or text.next():
            raise Broken(f"something follows the end of the array, after {number} values")


def rows(chunks: Iterable[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Yield (byte offset, values) block by block, as lines of JSON are cut. The offset counts only values."""
    block: list[bytes] = []
    offset = size = 0
    try:
        for value in values(chunks):
            block.append(value.encode("utf-8", "surrogateescape"))
            size += len(block[-1]) + 1
            if size >= BLOCK:
                yield offset, block
                offset, size, block = offset + size, 0, []
    except Exception:
        if block:
            yield offset, block
        raise
    if block:
        yield offset, block
