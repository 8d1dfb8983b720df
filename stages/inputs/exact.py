"""JSON texts without loss: where a value stands in its line, numbers as written, keys that stand twice.

orjson rounds numbers beyond 64 bits and keeps the last of several equal keys. What it cannot be trusted with is read
here again, from the text. Guarantees: a text made here parses to the same value, numbers compared as decimals.
"""

from __future__ import annotations

import functools
import json
import json.decoder
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from stages.inputs.paths import split_path

SPACE = re.compile(r"[ \t\n\r]*")
SPACES = b" \t\n\r"
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[ \t\n\r]+|[^\s"{}\[\],:]+', re.DOTALL)
ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")  # a key may hide behind it
PLAIN_KEY = re.compile(r"[ !#-.0-\[\]-~]+")  # written in one way by every writer but those that escape letters
LONGEST_INT = 18  # digits of which every number fits 64 bits


TWICE = "stands more than once in the object"


class Repeated(ValueError):
    """A key that a path names stands several times in its object."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the key {name!r} {TWICE}, so that nothing tells which is meant")
        self.name = name


class Number:
    """A number that neither a 64-bit integer nor a double holds, as it is written."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Lenient(dict[str, Any]):
    """An object that orjson refuses: strings may hold half a surrogate, floats may be NaN, numbers a `Number`."""


# --- numbers ---------------------------------------------------------------------------------------------


def is_exact(text: str, value: float) -> bool:
    """Tell whether a double stands for just the number that is written.

    >>> is_exact("1.10", 1.1), is_exact("0.12345678901234567890", 0.12345678901234568), is_exact("1e400", float("inf"))
    (True, False, False)
    """
    shortest = repr(value)
    if text == shortest:
        return True
    try:
        written = Decimal(text)
        return written == Decimal(shortest) and not (written.is_zero() and value != 0)
    except InvalidOperation:
        return False


def _float(text: str) -> float | Number:
    value = float(text)
    return value if is_exact(text, value) else Number(text)


def _int(text: str) -> int | Number:
    return int(text) if len(text) <= LONGEST_INT or -(2**63) <= _whole(text) < 2**64 else Number(text)


def _whole(text: str) -> int:
    return int(text) if len(text) <= 20 else 2**64


_LENIENT = json.JSONDecoder(object_hook=Lenient, parse_float=_float, parse_int=_int)
scanstring: Any = vars(json.decoder)["scanstring"]
_DECODER: Any = json.JSONDecoder(strict=False, parse_float=str, parse_int=str)
_SCAN = _DECODER.scan_once


def loads_lenient(line: bytes) -> Any:
    """Read JSON that orjson refuses: NaN and infinities, any number, half surrogates; malformed bytes become such.

    Raises ValueError or RecursionError where it is no JSON.
    """
    return _LENIENT.decode(text_of(line))


def text_of(line: bytes) -> str:
    """Decode a line; malformed bytes become half surrogates."""
    return line.decode("utf-8", "surrogateescape")


def is_sound(text: str) -> bool:
    """Tell whether a string holds no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# --- places ----------------------------------------------------------------------------------------------


def members(text: str) -> list[tuple[str, int, int]]:
    """Return (key, start, stop) of every member of an object's text, [] where it is no object.

    >>> members('{"a": 1, "a": [2]}')
    [('a', 6, 7), ('a', 14, 17)]
    """
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        return []
    found: list[tuple[str, int, int]] = []
    at = _skip(text, at + 1)
    while text[at] == '"':
        key, at = scanstring(text, at + 1, False)
        start = _skip(text, _skip(text, at) + 1)
        _, stop = _SCAN(text, start)
        found.append((key, start, stop))
        at = _skip(text, stop)
        if text[at] != ",":
            break
        at = _skip(text, at + 1)
    return found


def _skip(text: str, at: int) -> int:
    match = SPACE.match(text, at)
    assert match is not None
    return match.end()


def raw_at(text: str, path: str) -> str | None:
    """Return the text of what lies at a path in a JSON text; None where there is nothing. Raises Repeated."""
    while True:
        at = _skip(text, 0)
        if text[at : at + 1] == '"':
            text, at = scanstring(text, at + 1, False)[0], 0
        try:
            found = members(text)
        except (ValueError, StopIteration, IndexError):
            return None
        names = [key for key, _, _ in found]
        split = split_path(set(names), path)
        if split is None:
            return None
        name, path = split
        if names.count(name) > 1:
            raise Repeated(name)
        _, start, stop = found[names.index(name)]
        if not path:
            return text[start:stop]
        text = text[start:stop]


@functools.lru_cache(maxsize=256)
def _number_pattern(name: str) -> tuple[bytes, re.Pattern[bytes]]:
    quoted = json.dumps(name).encode()
    return quoted, re.compile(re.escape(quoted) + rb"[ \t\r]*:[ \t\r]*(-?[0-9][-+.0-9eE]*)")


def number_at(line: bytes, path: str, value: float) -> str:
    """Return the number at a path as it is written; `value` is what it was read as."""
    quoted, pattern = _number_pattern(path)
    at = line.find(quoted)
    if at >= 0 and line.find(quoted, at + 1) < 0:
        match = pattern.match(line, at)
        if match is not None and float(match[1]) == value:
            return match[1].decode()
    return (raw_at(text_of(line), path) or repr(value)).strip()


# --- texts -----------------------------------------------------------------------------------------------


def compact(raw: str) -> str:
    """Return a JSON text without its blanks, strings as orjson writes them, numbers as written where they must be.

    >>> compact('{"a" : 1.10, "b":[ 1e400, "\\\\u00e9"]}')
    '{"a":1.1,"b":[1e400,"é"]}'
    """
    try:
        data = raw.encode()
        found = orjson.dumps(orjson.loads(data))
        if found.translate(None, SPACES) == data.translate(None, SPACES):
            return found.decode()
    except (ValueError, TypeError, UnicodeEncodeError):
        pass
    return TOKEN.sub(_token, raw)


def _token(match: re.Match[str]) -> str:
    token = match[0]
    if token[0] == '"':
        return quoted(scanstring(token, 1, False)[0])
    if token[0] in " \t\n\r":
        return ""
    return number(token) if token[0] in "-0123456789" and token != "-Infinity" else token


def number(text: str) -> str:
    """Return a number as orjson writes it where that is the same number, else as it is."""
    if text.lstrip("-").isdigit():
        return text
    value = float(text)
    return orjson.dumps(value).decode() if is_exact(text, value) else text


def quoted(text: str) -> str:
    """Return a string as JSON; half surrogates stay escaped."""
    try:
        return orjson.dumps(text).decode()
    except TypeError:
        return json.dumps(text)


# --- keys that stand twice -------------------------------------------------------------------------------


class KeyWatch:
    """Finds the lines in which a key of these paths stands twice in its object, mostly by counting.

    text: a top-level key whose value is long; it is searched only once.
    """

    def __init__(self, paths: Sequence[str], text: str | None) -> None:
        self.paths = list(dict.fromkeys(paths))
        names = {name for path in self.paths for name in _names(path)}
        self.odd = any(PLAIN_KEY.fullmatch(name) is None for name in names)
        self.text = text if text in names else ""
        self.long = json.dumps(self.text).encode()
        self.dotted = [path for path in self.paths if "." in path]
        parts = {part for path in self.dotted for part in path.split(".")}
        self.whole = {name for name in names if "." in name}  # rare: keys that hold dots themselves
        self.others = [json.dumps(name).encode() for name in sorted(parts)]
        top = sorted({path for path in self.paths if "." not in path} - parts)
        self.top = [(name, json.dumps(name).encode()) for name in top]  # cannot repeat where the object lacks them
        quoted_names = [json.dumps(name).encode() for name in sorted(names)]
        self.patterns = [re.compile(re.escape(name) + rb"[ \t\r]*:") for name in quoted_names]

    def find(self, lines: Sequence[bytes], values: Sequence[dict[str, Any]]) -> Iterator[tuple[int, Repeated]]:
        """Yield (position, error) of the lines with such a key; `values` are the objects on them."""
        if not self.paths:
            return
        suspect, odd = self._suspect, self.odd
        for row, (line, value) in enumerate(zip(lines, values, strict=True)):
            if value and (odd or suspect(line, value)):
                error = self._twice(line)
                if error is not None:
                    yield row, error

    def _suspect(self, line: bytes, value: dict[str, Any]) -> bool:
        """Tell whether a name stands more than once outside the text, or an escape may hide one."""
        rest = self._without_text(line, value) if self.text else line
        for quoted_name in self.others:
            if rest.count(quoted_name) > 1:
                return self._keys_repeat(line)
        for name, quoted_name in self.top:
            if name in value and rest.count(quoted_name) > 1:
                return self._keys_repeat(line)
        if b"\\" in rest and ESCAPED_ASCII.search(rest) is not None:
            return True
        return bool(self.dotted) and self._deep(value)

    def _without_text(self, line: bytes, value: dict[str, Any]) -> bytes:
        """Return a line without its text, if it stands there as orjson would write it, behind a key of one level."""
        at = line.find(self.long)
        text = value.get(self.text)
        if at < 0 or type(text) is not str or line.find(b"{", 1, at) >= 0:
            return line
        start = at + len(self.long) + 1
        if line[start - 1 : start] != b":":
            return line
        start += line[start : start + 1] == b" "
        try:
            written = orjson.dumps(text)
        except TypeError:
            return line
        return line[:start] + line[start + len(written) :] if line.startswith(written, start) else line

    def _deep(self, value: dict[str, Any]) -> bool:
        """Tell whether a dotted path leads through JSON text, or through a key that holds dots."""
        for path in self.dotted:
            first, _, rest = path.partition(".")
            inner = value.get(first)
            if type(inner) is str or (type(inner) is dict and "." in rest):
                return True
        return not self.whole.isdisjoint(value)

    def _keys_repeat(self, line: bytes) -> bool:
        if ESCAPED_ASCII.search(line):
            return True
        return any(len(pattern.findall(line)) > 1 for pattern in self.patterns)

    def _twice(self, line: bytes) -> Repeated | None:
        text = text_of(line)
        for path in self.paths:
            try:
                raw_at(text, path)
            except Repeated as error:
                return error
        return None


def _names(path: str) -> Iterator[str]:
    """Yield every key that a dotted path may be made of."""
    parts = path.split(".")
    for start in range(len(parts)):
        for stop in range(start + 1, len(parts) + 1):
            yield ".".join(parts[start:stop])
