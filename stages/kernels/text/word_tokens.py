"""Words and marks as the tokeniser counts them that FineWeb's filters use for English, compiled by numba.

A piece is a run of characters that are no white space; a character of a script without spaces is a piece of its
own. Marks (brackets, quotes, commas, symbols, two points or more) are taken off both ends of a piece, each a token;
so are a final point, "'s" and "n't". What is left is one token if it is an address of the web, and is split else
between letters at hyphens, commas and slashes, and between digits at signs.
Guarantees: equal to `tests/support/word_tokens_reference.py` for every text.
"""

from __future__ import annotations

import functools
import sys
import unicodedata

import numba
import numpy as np
import numpy.typing as npt

U16 = npt.NDArray[np.uint16]

# Classes of characters.
SPACE, WORD, ALPHA, SINGLE, DIGIT, LOWER, UPPER, MARK, CURRENCY, ICON, QUOTE, TERMINAL, LEADING, DASH, TICK, DECIMAL = (
    1 << i for i in range(16)
)
QUOTES = "'\"\u201d\u201c`\u2018\xb4\u2019\u201a,\u201e\xbb\xab\uff08\uff09\u3014\u3015\u27e6\u27e7" + "".join(
    map(chr, range(0x3008, 0x3012))
)
MARKS = "\u2026:;!?\xbf\xa1()[]{}<>_#*&\xb7\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f\uff5e"
MARKS += "\u060c\u061b\u061f\u066a\u06d4\u0964"
LEADERS = "\xa7%="  # taken off the front only
DASHES, TICKS = "\u2013\u2014", "'\u2019"
TERMINALS = (  # Unicode's property Sentence_Terminal, without the historic scripts
    ".!?\u0589\u061d\u061e\u061f\u06d4\u0700\u0701\u0702\u07f9\u0837\u0839\u083d\u083e\u0964\u0965\u104a\u104b\u1362"
    "\u1367\u1368\u166e\u1735\u1736\u17d4\u17d5\u1803\u1809\u1944\u1945\u1aa8\u1aa9\u1aaa\u1aab\u1b5a\u1b5b\u1b5e"
    "\u1b5f\u1b7d\u1b7e\u1c3b\u1c3c\u1c7e\u1c7f\u203c\u203d\u2047\u2048\u2049\u2e2e\u2e3c\u2e53\u2e54\u3002\ua4ff"
    "\ua60e\ua60f\ua6f3\ua6f7\ua876\ua877\ua8ce\ua8cf\ua92f\ua9c8\ua9c9\uaa5d\uaa5e\uaa5f\uaaf0\uaaf1\uabeb\ufe52"
    "\ufe56\ufe57\uff01\uff0e\uff1f\uff61"
)
POINT, PLUS, MINUS, COMMA, SLASH, COLON, AT = (ord(c) for c in ".+-,/:@")
PERCENT, TILDE = 37, 126
SELECTORS = range(0xE0100, 0xE01F0)  # of variants of Han characters


_HAN = 0x3400  # letters beyond that have no case or are of their own kind
_LETTER = WORD | ALPHA | LOWER | UPPER
_NOTHING = frozenset({"Cn", "Co", "Cs"})  # not assigned, private use, surrogates
_IN_FRONT = MARK | CURRENCY | LEADING | DASH


@functools.cache
def classes() -> U16:
    """Return the classes of every code point, (1114112,) uint16; 40 ms, once per process."""
    found = np.zeros(sys.maxunicode + 1, np.uint16)
    category = unicodedata.category
    for code in (*range(0x3FFFF), *SELECTORS):  # other code points beyond are tags and private use
        kind = category(chr(code))
        if kind == "Lo" and code >= _HAN:
            found[code] = _LETTER | SINGLE * _stands_alone(code)
        elif kind not in _NOTHING:
            found[code] = _classes_of(chr(code))
    named = {MARK: MARKS + QUOTES, QUOTE: QUOTES, TERMINAL: TERMINALS, LEADING: LEADERS, DASH: DASHES, TICK: TICKS}
    for flag, characters in named.items():
        for c in characters:
            found[ord(c)] |= flag
    return found


def _classes_of(c: str) -> int:
    code, category = ord(c), unicodedata.category(c)
    flags = SPACE * c.isspace() | CURRENCY * (category == "Sc") | DECIMAL * (category == "Nd")
    if category == "So" and code > 127:
        flags |= MARK | ICON
    if c.isalnum() or (code > 0x2FF and category[0] == "M"):
        flags |= WORD | DIGIT * ("0" <= c <= "9")
    if c.isalpha():
        flags |= ALPHA | LOWER * (not c.isupper()) | UPPER * (not c.islower())
        flags |= SINGLE * _stands_alone(code)
    return flags


def _stands_alone(code: int) -> bool:
    """Tell whether a letter is of a script without spaces."""
    return 0x3040 <= code <= 0x30FF or 0x3400 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF or code >= 0x20000


@numba.njit(cache=True, nogil=True)
def points_before(points, start, stop):  # type: ignore[no-untyped-def]
    """Return how many points end at stop."""
    i = stop
    while i > start and points[i - 1] == POINT:
        i -= 1
    return stop - i


@numba.njit(cache=True, nogil=True)
def points_after(points, start, stop):  # type: ignore[no-untyped-def]
    """Return how many points begin at start."""
    i = start
    while i < stop and points[i] == POINT:
        i += 1
    return i - start


@numba.njit(cache=True, nogil=True)
def mark_in_front(points, kinds, start, stop):  # type: ignore[no-untyped-def]
    """Return the length of the mark that a piece begins with, 0 for none."""
    if kinds[points[start]] & _IN_FRONT:
        return 1
    if points[start] == PLUS:
        return 0 if start + 1 < stop and kinds[points[start + 1]] & DIGIT else 1
    run = points_after(points, start, stop) if points[start] == POINT else 0
    return run if run > 1 else 0


@numba.njit(cache=True, nogil=True)
def is_full_stop(points, kinds, start, stop):  # type: ignore[no-untyped-def]
    """Tell whether the point that ends a piece is a token; it is not after one letter alone (e.g., J.)."""
    kind, c = kinds[points[stop - 2]], points[stop - 2]
    if kind & ALPHA:
        if stop - start == 2 or points[stop - 3] == POINT:
            return False
        return kind & LOWER != 0 or kinds[points[stop - 3]] & UPPER != 0
    return kind & (DIGIT | MARK) != 0 or c in (PERCENT, MINUS, PLUS)


@numba.njit(cache=True, nogil=True)
def mark_at_end(points, kinds, start, stop):  # type: ignore[no-untyped-def]
    """Return the length of the mark that a piece ends with, 0 for none."""
    c = points[stop - 1]
    if c == POINT:
        run = points_before(points, start, stop)
        if run > 1:
            return run
        return 1 if stop - start > 1 and is_full_stop(points, kinds, start, stop) else 0
    if kinds[points[stop - 1]] & (MARK | DASH):
        return 1
    if stop - start < 2:
        return 0
    if c in (83, 115) and kinds[points[stop - 2]] & TICK:  # S s
        return 2
    after_digit = kinds[points[stop - 2]] & DIGIT and (kinds[points[stop - 1]] & CURRENCY or c in (PLUS, PERCENT))
    return 1 if after_digit else 0


@numba.njit(cache=True, nogil=True)
def splits_at(points, kinds, start, stop, i):  # type: ignore[no-untyped-def]
    """Return the length of the mark inside a piece at i, where no letter or digit stands; 0 for none."""
    c = points[i]
    if c == POINT:
        run = points_after(points, i, stop)
        if run > 1:
            return run
        if i == start or i + 1 == stop:
            return 0
        return 1 if kinds[points[i - 1]] & (LOWER | QUOTE) and kinds[points[i + 1]] & (UPPER | QUOTE) else 0
    if kinds[points[i]] & ICON or c == 0x2026:
        return 1
    if i == start or i + 1 == stop:
        return 0
    before, after = kinds[points[i - 1]], kinds[points[i + 1]]
    sign = c == PLUS or c == MINUS or c == 42 or c == 94  # * ^
    if sign and before & DIGIT and (after & DIGIT or points[i + 1] == MINUS):
        return 1
    if c == COMMA:
        return 1 if before & ALPHA and after & ALPHA else 0
    if not before & (ALPHA | DIGIT):
        return 0
    dash = kinds[points[i]] & DASH or c in (MINUS, TILDE)
    if (dash or c in (SLASH, COLON) or 60 <= c <= 62) and after & ALPHA:  # < = >
        return 1
    width = 1
    while dash and width < 3 and i + width + 1 < stop and points[i + width] == c and c != TILDE:
        width += 1
        if kinds[points[i + width]] & ALPHA:
            return width
    return 0


@numba.njit(cache=True, nogil=True)
def _ends_host(c, port):  # type: ignore[no-untyped-def]
    return c == SLASH or c == 63 or c == 35 or (port and c == COLON)  # ? #


@numba.njit(cache=True, nogil=True)
def is_address(points, kinds, start, stop):  # type: ignore[no-untyped-def]
    """Tell whether a piece is SCHEME://USER@HOST.TLD/PATH, of which host and top-level domain must be there.

    A host's labels are not empty: two points in a row are an ellipsis.
    """
    first = start
    for i in range(start + 3, stop):
        if points[i] == SLASH and points[i - 1] == SLASH and points[i - 2] == COLON:
            first = i + 1
            break
    i = first
    while i < stop and not _ends_host(points[i], False):
        if points[i] == AT:
            first = i + 1
        i += 1
    point, i = first - 1, first
    while i < stop and (kinds[points[i]] & WORD or points[i] == POINT or points[i] == MINUS or points[i] == 95):
        if points[i] == POINT:
            if point == i - 1:
                return False
            point = i
        i += 1
    if point <= first or i - point < 3 or (i < stop and not _ends_host(points[i], True)):
        return False
    letters = 0
    for k in range(point + 1, i):
        letters += kinds[points[k]] & LOWER != 0
    return letters == i - point - 1


@numba.njit(cache=True, nogil=True)
def contraction(points, kinds, start, stop):  # type: ignore[no-untyped-def]
    """Return the length of "n't", "'ll", "'re", "'ve", "'m" or "'d" at a word's end, 0 for none."""
    if stop - start < 3:
        return 0
    z, y, x = points[stop - 1], points[stop - 2], points[stop - 3]
    if kinds[points[stop - 2]] & TICK:
        if z in (100, 109):  # d m
            return 2
        return 3 if z == 116 and x == 110 and stop - start > 3 else 0
    pair = (y == 108 and z == 108) or (y in (114, 118) and z == 101)  # ll re ve
    return 3 if pair and kinds[points[stop - 3]] & TICK and stop - start > 3 else 0


@numba.njit(cache=True, nogil=True)
def split_piece(points, kinds, start, stop, starts, stops, count):  # type: ignore[no-untyped-def]
    """Write the tokens of one piece; return how many tokens there are then."""
    held = len(starts)  # what comes off the end waits at the arrays' end
    while start < stop:
        size = mark_in_front(points, kinds, start, stop)
        if size:
            starts[count], stops[count] = start, start + size
            count, start = count + 1, start + size
            continue
        size = mark_at_end(points, kinds, start, stop)
        if size == 0:
            break
        held -= 1
        starts[held], stops[held] = stop - size, stop
        stop -= size
    begin, i, whole = start, start, False
    size = contraction(points, kinds, start, stop)
    if size:
        held -= 1
        starts[held], stops[held] = stop - size, stop
        stop -= size
    while i < stop and not whole:
        if kinds[points[i]] & (ALPHA | DIGIT):
            i += 1
            continue
        size = splits_at(points, kinds, start, stop, i)
        if size and begin == start and is_address(points, kinds, start, stop):
            whole = True
        elif size:
            if begin < i:
                starts[count], stops[count] = begin, i
                count += 1
            starts[count], stops[count] = i, i + size
            count, i = count + 1, i + size
            begin = i
        else:
            i += 1
    if begin < stop:
        starts[count], stops[count] = begin, stop
        count += 1
    for k in range(held, len(starts)):
        starts[count], stops[count] = starts[k], stops[k]
        count += 1
    return count


@numba.njit(cache=True, nogil=True)
def split_by_spaces(points, kinds, n, starts, stops, spaced):  # type: ignore[no-untyped-def]
    """Write where the pieces between white space start and stop; return their number.

    spaced: three points with a blank between each two are in one piece.
    """
    count = i = np.int64(0)
    while i < n:
        if kinds[points[i]] & SPACE:
            i += 1
            continue
        starts[count] = i
        while i < n and not kinds[points[i]] & SPACE:
            i += 5 if spaced and spaced_ellipsis(points, i, n) else 1
        stops[count] = i
        count += 1
    return count


@numba.njit(cache=True, nogil=True)
def spaced_ellipsis(points, i, n):  # type: ignore[no-untyped-def]
    """Tell whether three points with a blank between each two begin at i."""
    if i + 4 >= n or points[i] != POINT or points[i + 2] != POINT or points[i + 4] != POINT:
        return False
    return points[i + 1] == 32 and points[i + 3] == 32
