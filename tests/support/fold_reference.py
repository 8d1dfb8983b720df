"""Words, lines and n-grams in plain Python, as `stages.kernels.text.fold` defines them."""

from __future__ import annotations

import re
import unicodedata

from stages.kernels.text.unspaced import SPELLED, SYLLABLES, is_in

SKIPPED = set("'\u2019\u02bc\u00ad\u200b\u200c\u200d\u2060\ufeff")


def is_alone(c: str) -> bool:
    """Tell whether a character of a script without spaces is a word by itself."""
    code = ord(c)
    inside = 0x3040 <= code <= 0x30FF or 0x3400 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF or code >= 0x20000
    return (inside or is_in(code, SYLLABLES)) and c.isalpha()


def is_letter(c: str) -> bool:
    """Tell whether a character begins a word of its own that goes on with marks only."""
    return is_in(ord(c), SPELLED) and c.isalpha()


def is_mark(c: str) -> bool:
    """Tell whether a character goes on with such a word."""
    return is_in(ord(c), SPELLED) and unicodedata.category(c)[0] == "M"


def count(words_: list[tuple[str, int, int]], text: str) -> int:
    """Return how many words these count as: three letters of a spelling script without spaces are one."""
    letters = sum(is_letter(text[start]) or is_mark(text[start]) for _, start, _ in words_)
    return -(-(letters + 3 * (len(words_) - letters)) // 3)


def span(words_: list[tuple[str, int, int]], text: str, first: int, width: int) -> int | None:
    """Return the word after the n-gram of `width` words that begins at the first one, None if there are too few."""
    parts = 0
    for i, (_, start, _) in enumerate(words_[first:], start=first):
        parts += 1 if is_letter(text[start]) or is_mark(text[start]) else 3
        if parts >= 3 * width:
            return i + 1
    return None


def fold(c: str, digits: bool) -> str | None:
    """Return the folded character, "" if it vanishes, None if it separates words."""
    if c in SKIPPED:
        return ""
    if not (c.isalnum() or (ord(c) > 0x2FF and unicodedata.category(c)[0] == "M")):
        return None
    lower = c.lower()
    bare = "".join(x for x in unicodedata.normalize("NFKD", lower) if not 0x300 <= ord(x) <= 0x36F)
    if not bare:
        return ""
    one = bare if len(bare) == 1 else lower if len(lower) == 1 else c
    return "0" if digits and one.isdecimal() else one


def words(text: str, digits: bool = False) -> list[tuple[str, int, int]]:
    """Return (folded word, first and last character of it) of every word."""
    found: list[tuple[str, int, int]] = []
    held: list[str] = []
    start = stop = 0
    for i, c in enumerate([*text, " "]):
        folded = fold(c, digits)
        alone = i < len(text) and is_alone(c)
        apart = held and (is_letter(text[start]) or is_mark(text[start])) and folded and not is_mark(c)
        if held and (folded is None or alone or is_letter(c) or apart):
            found.append(("".join(held), start, stop))
            held = []
        if folded:
            if not held:
                start = i
            held.append(folded)
            stop = i + 1
            if alone:
                found.append((folded, start, stop))
                held = []
    return found


def lines(text: str, normalise: str, unit: str, min_words: int) -> list[tuple[object, int, int]]:
    """Return (what is compared, start, stop in bytes) of every line or paragraph with enough words."""
    pieces: list[list[int]] = []  # [start of what is cut, first, last visible character]
    at, blank = 0, True
    for line in re.split("(?<=\n)", text):
        if line.strip():
            first = at + len(line) - len(line.lstrip())
            last = at + len(line.rstrip())
            if pieces and unit == "paragraph" and not blank:
                pieces[-1][2] = last
            else:
                pieces.append([at if pieces else 0, first, last])
        blank = not line.strip()
        at += len(line)
    found: list[tuple[object, int, int]] = []
    for n, (start, first, last) in enumerate(pieces):
        stop = pieces[n + 1][0] if n + 1 < len(pieces) else len(text)
        inside = words(text[first:last], normalise == "digits")
        key: object = text[first:last] if normalise == "none" else tuple(word for word, _, _ in inside)
        if count(inside, text[first:last]) >= min_words:
            found.append((key, len(text[:start].encode()), len(text[:stop].encode())))
    return found
