"""Texts cut into chunks of a number of tokens, at the largest borders that fit: paragraphs, lines, sentences, words.

Guarantees: chunks in order are the text but for white space between them; none is longer than the limit, unless one
word is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

BYTES_PER_TOKEN = 4
_STOPS = ".!?\u3002\uff01\uff1f\u061f\u0964"  # of Latin, Chinese and Japanese, Arabic, Devanagari
_BORDERS = tuple(re.compile(border) for border in (r"\n\s*\n", r"\n", rf"(?<=[{_STOPS}])\s+|(?<=\u3002)", r"\s+"))
Count = Callable[[Sequence[str]], Sequence[int]]


def estimated(texts: Sequence[str]) -> list[int]:
    """Return tokens of texts, as UTF-8 bytes / 4."""
    return [-(-len(text.encode()) // BYTES_PER_TOKEN) for text in texts]


def chunks(text: str, most: int, least: int, count: Count = estimated) -> list[str]:
    """Return the chunks of a text of `least` to `most` tokens; what is shorter is left out.

    >>> chunks("One two three. Four five six.\\n\\nSeven eight nine ten.", 6, 1)
    ['One two three.', 'Four five six.', 'Seven eight nine ten.']
    """
    found = [chunk for chunk in _cut(text.strip(), most, count, 0) if chunk]
    sizes = count(found)
    return [chunk for chunk, size in zip(found, sizes, strict=True) if size >= least]


def _cut(text: str, most: int, count: Count, level: int) -> list[str]:
    """Return the parts of a text, joined as far as they fit."""
    if count([text])[0] <= most or level == len(_BORDERS):
        return [text]
    parts = _between(text, _BORDERS[level])
    sizes = count([part for part, _ in parts])
    found: list[str] = []
    held, weight = "", 0
    for (part, border), size in zip(parts, sizes, strict=True):
        if size > most:
            found += [*([held.strip()] if held.strip() else []), *_cut(part.strip(), most, count, level + 1)]
            held, weight = "", 0
            continue
        extra = size + _size(border)
        if held and weight + size > most:
            found.append(held.strip())
            held, weight = "", 0
        held += part + border
        weight += extra
    return [*found, *([held.strip()] if held.strip() else [])]


def _size(border: str) -> int:
    """Return the most tokens that white space adds between two parts."""
    return len(border) + 1


def _between(text: str, border: re.Pattern[str]) -> list[tuple[str, str]]:
    """Return (part, what follows it up to the next part)."""
    found, start = [], 0
    for match in border.finditer(text):
        found.append((text[start : match.start()], match[0]))
        start = match.end()
    return [*found, (text[start:], "")]
