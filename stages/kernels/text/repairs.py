"""What is broken in a text and can be mended without guessing its meaning, as edits.

Mojibake (UTF-8 read as another encoding: ftfy), HTML entities that end in a semicolon, control and zero-width
characters, line ends, and Unicode's composed form NFC, in this order, again until nothing changes (in `ROUNDS` rounds),
since an entity may hold a control character. Guarantees: applying the edits is what the references give
(ftfy.fix_encoding line by line, html.unescape, unicodedata.normalize); repairing twice changes nothing more; joiners
(U+200C, U+200D), tabs and form feeds stay. Memory: a few copies of one text.
"""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator

from stages.kernels.text.compositions import Edit, compose

ROUNDS = 32  # an entity inside an entity inside … takes one each
KINDS = ("mojibake", "entities", "controls", "line_ends", "nfc")
CONTROL = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f\x80-\x84\x86-\x9f\xad\u180e\u200b\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffc]+"
)
LINE_END = re.compile("\r\n|[\r\x85\u2028\u2029]")
_ENTITY = re.compile(
    r"&(?:(?:amp|AMP|#0*38|#[xX]0*26);)*(#[0-9]{1,12}|#[xX][0-9a-fA-F]{1,12}|[A-Za-z][A-Za-z0-9]{1,31});"
)
Edits = list[Edit[str]]


def repairs(text: str, kinds: Iterable[str]) -> tuple[Edits, dict[str, int]]:
    """Return the edits (start, stop, text; in characters) that repair a text, and how many of each kind were made.

    >>> repairs("&amp; e\\u0301\\r\\n", KINDS)
    ([(0, 5, '&'), (6, 8, 'é'), (8, 10, '\\n')], {'entities': 1, 'line_ends': 1, 'nfc': 1})
    """
    wanted = [(kind, _REPAIRS[kind]) for kind in KINDS if kind in set(kinds)]
    total, counts = Edits(), dict[str, int]()
    for _ in range(ROUNDS):
        before = text
        for kind, find in wanted:
            found = list(find(text))
            if found:
                counts[kind] = counts.get(kind, 0) + len(found)
                text, total = edited(text, found), compose(total, found)
        if text == before:
            break
    return total, counts


def edited(text: str, edits: Edits) -> str:
    """Return a text with edits applied."""
    parts, at = [], 0
    for start, stop, new in edits:
        parts += [text[at:start], new]
        at = stop
    return "".join([*parts, text[at:]])


def _mojibake(text: str) -> Iterator[Edit[str]]:
    if text.isascii():
        return
    import ftfy

    start = 0
    for line in re.findall("[^\n]*\n?", text):
        if not line.isascii():
            fixed = ftfy.fix_encoding(line)
            if fixed != line:
                yield _trimmed(start, line, fixed)
        start += len(line)


def _trimmed(start: int, line: str, fixed: str) -> Edit[str]:
    """Return the edit without what both texts begin and end with; never one of no characters."""
    head = min(_alike(line, fixed), len(line) - 1)
    tail = _alike(line[head + 1 :][::-1], fixed[head:][::-1])
    return start + head, start + len(line) - tail, fixed[head : len(fixed) - tail]


def _alike(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


def _entities(text: str) -> Iterator[Edit[str]]:
    for m in _ENTITY.finditer(text):
        new = html.unescape(f"&{m[1]};")
        if new != m[0]:
            yield *m.span(), new


def _controls(text: str) -> Iterator[Edit[str]]:
    return ((*m.span(), "") for m in CONTROL.finditer(text))


def _line_ends(text: str) -> Iterator[Edit[str]]:
    return ((*m.span(), "\n") for m in LINE_END.finditer(text))


def _nfc(text: str) -> Iterator[Edit[str]]:
    if unicodedata.is_normalized("NFC", text):
        return
    for m in _unsettled().finditer(text):
        new = unicodedata.normalize("NFC", m[0])
        if new != m[0]:
            yield *m.span(), new


@functools.cache
def joining() -> frozenset[int]:
    """Return the code points that NFC may change, join to the character before, or put in another order."""
    joins = {0x1161 + n for n in range(21)} | {0x11A8 + n for n in range(27)}  # Hangul vowels and final consonants
    for code in range(0x80, 0x40000):  # code points beyond are tags, selectors and private use
        c = chr(code)
        if unicodedata.combining(c) or not (0xD800 <= code < 0xE000 or unicodedata.is_normalized("NFC", c)):
            joins.add(code)
        parts = unicodedata.decomposition(c)
        if parts and not parts.startswith("<"):
            joins.update(int(part, 16) for part in parts.split()[1:])
    return frozenset(joins)


@functools.cache
def _unsettled() -> re.Pattern[str]:
    """Return the pattern of a character and those after it that NFC may join to it or put in another order."""
    inside = "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in _ranges(sorted(joining())))
    return re.compile(f"[^{inside}]?[{inside}]+")


def _ranges(codes: list[int]) -> Iterator[tuple[int, int]]:
    low = high = codes[0]
    for code in codes[1:]:
        if code != high + 1:
            yield low, high
            low = code
        high = code
    yield low, high


_REPAIRS: dict[str, Callable[[str], Iterator[Edit[str]]]] = {
    "mojibake": _mojibake,
    "entities": _entities,
    "controls": _controls,
    "line_ends": _line_ends,
    "nfc": _nfc,
}
