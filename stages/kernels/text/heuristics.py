"""Every count that the Gopher, C4 and FineWeb rules compare, in one pass over the text, compiled by numba.

Guarantees: equal to the plain rules of `tests/support/heuristics_reference.py` for every text and every reading. Tokens
are those of `word_tokens`, or the pieces between white space; words are tokens with a letter or digit. Lines are those
with a character that is no white space. Holds the code points of one document.
"""

from __future__ import annotations

import functools

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.kernels.dispatch.dispatch import by_backend
from stages.kernels.dispatch.resident import Resident
from stages.kernels.hashes.bits import trailing_zeros
from stages.kernels.hashes.hashing import I64, U8, buffers, load64
from stages.kernels.text import heuristic_counts as at
from stages.kernels.text.heuristic_counts import COUNTS, facts_of
from stages.kernels.text.heuristic_facts import (
    BY_SPACES,
    DEFAULT,
    EVERY_STOP_WORD,
    FACTS,
    NO_SIGNS,
    SIGNS_AS_WORDS,
    SIGNS_IN_SHARES,
    SPACED_ELLIPSES,
    STOP_WORDS,
    Readings,
)
from stages.kernels.text.known_words import ENGLISH, Known, hash_table, nothing_known
from stages.kernels.text.marks import (
    CAPITAL,
    FIRST,
    HIGH,
    LETTER,
    LOOK,
    ONES,
    PAD,
    WIDE,
    bits_of,
    counted,
    decode,
    marks_in,
)
from stages.kernels.text.marks import table as marks_by_point
from stages.kernels.text.repetition import (
    cleared,
    copies_of,
    hash_of,
    hash_of_word,
    judge_grams,
    judge_paragraphs,
    running_sums,
    stripped,
)
from stages.kernels.text.splitting import split
from stages.kernels.text.word_tokens import LOWER, SPACE, TERMINAL, UPPER, classes, spaced_ellipsis, split_by_spaces

F64 = npt.NDArray[np.float64]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]

BULLETS = "\u2022\u2023\u25b6\u25c0\u25e6\u25a0\u25a1\u25aa\u25ab\u2013-*"  # FineWeb's and datatrove's
BULLETS += "\u25cf\u25cb\u2219\xb7\u2043\u204c\u204d\u25d8\u29be\u29bf"  # NeMo Curator's, and a middle dot
BRACKETS = "()[]{}\u27e8\u27e9"
LONG_LINE = 200  # characters, mC4 (Xue et al. 2021, 3.1)

_BULLETS = np.array([ord(c) for c in BULLETS], np.uint32)
_BRACKETS = np.array([ord(c) for c in BRACKETS], np.uint32)
_LETTERS, _CAPITALS = LETTER * ONES, CAPITAL * ONES  # in each of eight marks; CAPITAL is the bit of ASCII's lower case
_FOUR = np.uint64(4)
_LOREM = np.array([ord(c) for c in "lorem ipsum"], np.uint32)


@functools.cache
def lowered() -> U32:
    """Return the lower-case form of every code point that has one of a single character, (1114112,) uint32."""
    found = np.arange(len(classes()), dtype=np.uint32)
    for code in np.flatnonzero((classes() & (UPPER | LOWER)) == UPPER).tolist():
        lower = chr(code).lower()
        if len(lower) == 1:
            found[code] = ord(lower)
    return found


@functools.cache
def english_stop_words() -> tuple[U64, int, int]:
    """Return the English stop words as `stop_words_of` returns those of a list."""
    return (hash_table(STOP_WORDS), min(map(len, STOP_WORDS)), max(map(len, STOP_WORDS)))


@functools.lru_cache(maxsize=4)
def classes_with(end_marks: str) -> U16:
    """Return the classes of every code point with these marks at the ends of lines, Unicode's if there are none."""
    if not end_marks:
        return classes()
    found = classes() & ~np.uint16(TERMINAL)
    found[[ord(c) for c in end_marks]] |= TERMINAL
    return found


@numba.njit(cache=True, nogil=True)
def slot_among(slots, h):  # type: ignore[no-untyped-def]
    """Return the slot of a stop word by its hash, -1 for other words."""
    mask = np.uint64(len(slots) - 1)
    slot = h & mask
    while slots[slot] != 0:
        if slots[slot] == h:
            return np.int64(slot)
        slot = (slot + np.uint64(1)) & mask
    return np.int64(-1)


@numba.njit(cache=True, nogil=True)
def hash_in_lower_case(points, first, stop, lowers):  # type: ignore[no-untyped-def]
    lower, small, narrow = lowers
    for i in range(first, stop):
        small[i - first] = lower[points[i]]
        narrow[i - first] = min(lower[points[i]], np.uint32(WIDE))
    return hash_of(small, narrow, np.int64(0), stop - first)


@numba.njit(cache=True, nogil=True)
def judge_words(points, narrow, marks, tokens, starts, stops, hashes, stop_words, lowers, flags, out):  # type: ignore[no-untyped-def]
    """Count words (tokens with a letter or digit); write hashes and, into stops, lengths.

    Return the number of tokens that n-grams consist of. Up to eight ASCII characters are one number, in lower case with
    the bits of CAPITAL set.
    """
    slots, shortest, longest = stop_words
    words = chars = alphabetic = found = kept = 0
    seen = np.zeros(len(slots), np.bool_)
    for t in range(tokens):
        first, stop = starts[t], stops[t]
        size = stop - first
        word, every = load64(narrow, first) & FIRST[min(size, 8)], load64(marks, first) & FIRST[min(size, 8)]
        plain = size <= 8 and word & HIGH == 0
        if plain:
            h, inside = hash_of_word(word, size), ~(every | (every << _FOUR)) & FIRST[size] & HIGH != 0
        else:
            h = hash_of(points, narrow, first, stop)
            every, inside = marks_in(marks, first, stop)
        hashes[kept], stops[kept] = h, size
        kept += inside or flags & NO_SIGNS == 0
        alphabetic += every & _LETTERS != 0
        is_word = inside or flags & SIGNS_AS_WORDS != 0
        words += is_word
        chars += is_word * size
        if shortest <= size <= longest:
            if every & _CAPITALS != 0:
                h = (
                    hash_of_word(word | (every & _CAPITALS), size)
                    if plain
                    else hash_in_lower_case(points, first, stop, lowers)
                )
            slot = slot_among(slots, h)
            if slot >= 0:
                found += 1
                seen[slot] = True
    out[at.WORDS], out[at.WORD_CHARS], out[at.TOKENS], out[at.ALPHABETIC] = words, chars, tokens, alphabetic
    out[at.SHARED_WORDS] = tokens if flags & SIGNS_IN_SHARES else words
    out[at.STOP_WORDS] = found if flags & EVERY_STOP_WORD else seen.sum()
    return kept


@numba.njit(cache=True, nogil=True)
def among(point, points):  # type: ignore[no-untyped-def]
    found = False
    for p in points:
        found |= p == point
    return found


@numba.njit(cache=True, nogil=True)
def ends_in_ellipsis(points, first, last, flags):  # type: ignore[no-untyped-def]
    """Tell whether a line ends with three points or the sign for them; with `spaced` also three points and blanks."""
    if points[last - 1] == 0x2026:
        return True
    if last - first < 3 or points[last - 1] != 46:
        return False
    if points[last - 2] == 46:
        return points[last - 3] == 46
    if not flags & SPACED_ELLIPSES or last - first < 5:
        return False
    return points[last - 2] == 32 and points[last - 3] == 46 and points[last - 4] == 32 and points[last - 5] == 46


@numba.njit(cache=True, nogil=True)
def judge_lines(points, narrow, kinds, n, breaks, table, counts, short_line, flags, out):  # type: ignore[no-untyped-def]
    """Count what lines are. breaks : where line feeds stand."""
    lines = bullets = ellipses = punctuated = short = copies = copied = later = chars = long = 0
    mask = cleared(table, len(breaks) + 1)
    start = np.int64(0)
    for k in range(len(breaks) + 1):
        end = breaks[k] if k < len(breaks) else n
        first, last = stripped(points, kinds, start, end)
        start = end + 1
        if first >= last:
            continue
        lines += 1
        chars += last - first
        bullets += among(points[first], _BULLETS)
        ellipses += ends_in_ellipsis(points, first, last, flags)
        punctuated += kinds[points[last - 1]] & TERMINAL != 0
        short += last - first <= short_line
        long += last - first >= LONG_LINE
        more = copies_of(table, counts, hash_of(points, narrow, first, last), mask, flags)
        copies += more
        copied += more * (last - first)
        later += (more > 0) * (last - first)
    out[at.LINES], out[at.LINE_CHARS], out[at.BULLETS], out[at.ELLIPSIS_LINES] = lines, chars, bullets, ellipses
    out[at.PUNCTUATED], out[at.SHORT], out[at.LONG] = punctuated, short, long
    out[at.LINE_COPIES], out[at.LINE_COPIED], out[at.LATER_CHARS] = copies, copied, later
    out[at.BREAKS], out[at.SEGMENTS] = len(breaks), len(breaks) + (n > 0 and points[n - 1] != 10)


@numba.njit(cache=True, nogil=True)
def url_before(points, i, n):  # type: ignore[no-untyped-def]
    """Return where "http" or "https" begins that ends before the "://" at i, -1 for none."""
    if i + 3 >= n or points[i + 1] != 47 or points[i + 2] != 47:
        return -1
    end = i - 1 if i > 0 and points[i - 1] | 32 == 115 else i  # s
    if end < 4 or points[end - 1] | 32 != 112 or points[end - 4] | 32 != 104:  # p, h
        return -1
    return end - 4 if points[end - 2] | 32 == 116 and points[end - 3] | 32 == 116 else -1  # t t


@numba.njit(cache=True, nogil=True)
def url_end(points, kinds, i, n):  # type: ignore[no-untyped-def]
    """Return where an address ends: before white space, quotation marks, angle brackets, a semicolon."""
    while i < n and not kinds[points[i]] & SPACE and points[i] not in (34, 59, 60, 62):
        i += 1
    return i


@numba.njit(cache=True, nogil=True)
def is_lorem(points, i, n):  # type: ignore[no-untyped-def]
    """Tell whether "lorem ipsum" stands around the p at i, in any case."""
    first = i - 7
    if first < 0 or first + len(_LOREM) > n:
        return False
    same = True
    for k in range(len(_LOREM)):
        p = points[first + k]
        same &= _LOREM[k] == (p + 32 if 65 <= p <= 90 else p)
    return same


@numba.njit(cache=True, nogil=True)
def judge_signs(points, kinds, marks, n, flags, breaks, out):  # type: ignore[no-untyped-def]
    """Count signs: hashes, ellipses, brackets, lorem ipsum, ends of sentences, addresses.

    Write where line feeds stand; return how many there are.
    """
    lines = hashes = ellipses = curly = lorem = sentences = brackets = addresses = skip = reach = 0
    for first in range(0, n, 64):
        looks = bits_of(marks, first, LOOK)
        while looks != 0:
            i = first + trailing_zeros(looks)
            looks &= looks - np.uint64(1)
            c = points[i]
            if c == 10:
                breaks[lines] = i
                lines += 1
            elif c | 32 == 112:  # p
                lorem |= is_lorem(points, i, n)
            elif c == 46 or c == 33 or c == 63:
                sentences += i + 1 == n or kinds[points[i + 1]] & SPACE > 0
                if c == 46 and i >= skip:
                    size = ellipsis_at(points, i, n, flags)
                    ellipses += size > 0
                    skip = i + size
            elif c == 0x2026:
                ellipses += 1
            elif c == 58:
                begin = url_before(points, i, n) if i >= reach else -1
                if begin >= reach:
                    reach = url_end(points, kinds, i, n)
                    addresses += reach - begin
            else:
                hashes += c == 35
                curly |= c == 123
                brackets += among(c, _BRACKETS)
    out[at.HASHES], out[at.ELLIPSES], out[at.SENTENCES] = hashes, ellipses, sentences
    out[at.CURLY], out[at.LOREM] = curly, lorem
    out[at.BRACKETS], out[at.ADDRESSES] = brackets, addresses
    return lines


@numba.njit(cache=True, nogil=True)
def judge_kinds(marks, n, out):  # type: ignore[no-untyped-def]
    """Count kinds of characters."""
    found = counted(marks, n)
    out[at.SPACES], out[at.LETTERS], out[at.CAPITALS], out[at.DIGITS], out[at.SIGNS], out[at.LONGEST_RUN] = found
    out[at.CHARS] = n


@numba.njit(cache=True, nogil=True)
def ellipsis_at(points, i, n, flags):  # type: ignore[no-untyped-def]
    """Return the length of the ellipsis that the point at i begins, 0 for none."""
    if i + 2 < n and points[i + 1] == 46 and points[i + 2] == 46:
        return 3
    return 5 if flags & SPACED_ELLIPSES and spaced_ellipsis(points, i, n) else 0


@numba.njit(cache=True, nogil=True)
def words_of(points, kinds, marks, n, known, d, flags, starts, stops):  # type: ignore[no-untyped-def]
    """Write where the tokens of document d start and stop, as given or as they are split; return their number."""
    first, last = known.bounds[d], known.bounds[d + 1]
    if last > first:
        for i in range(first, last):
            starts[i - first], stops[i - first] = known.starts[i], known.stops[i]
        return last - first
    if flags & BY_SPACES:
        return split_by_spaces(points, kinds, n, starts, stops, flags & SPACED_ELLIPSES != 0)
    return split(points, kinds, marks, n, starts, stops)


@numba.njit(cache=True, nogil=True)
def stop_words_of(known, d, english):  # type: ignore[no-untyped-def]
    """Return the stop words of document d's language: their table, characters of the shortest and the longest."""
    place = known.language[d]
    if place < 0:
        return english
    first, last = known.stop_bounds[place], known.stop_bounds[place + 1]
    return known.stop_slots[first:last], known.shortest[place], known.longest[place]


@numba.njit(cache=True, nogil=True)
def judge(data, offsets, tables, longest, stop_words, lower, short_line, flags, known, found):  # type: ignore[no-untyped-def]
    """Fill in `found`, (documents, COUNTS)."""
    kinds, table_of_marks = tables
    points, small = np.zeros(longest + PAD, np.uint32), np.zeros(longest + PAD, np.uint32)
    narrow, small_narrow = np.zeros(longest + PAD, np.uint8), np.zeros(longest + PAD, np.uint8)
    marks = np.empty(longest + 2 * PAD, np.uint8)
    starts, lengths = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64)
    hashes, sums = np.empty(longest + 1, np.uint64), np.empty(longest + 2, np.uint64)
    breaks = np.empty(longest + 1, np.int64)
    size = 32
    while size < 4 * (longest + 2):
        size *= 2
    table, counts = np.zeros(size, np.uint64), np.zeros(size, np.int32)
    lowers = lower, small, small_narrow
    for d in range(len(offsets) - 1):
        out = found[d]
        n = decode(data, offsets[d], offsets[d + 1], table_of_marks, points, narrow, marks)
        tokens = words_of(points, kinds, marks, n, known, d, flags, starts, lengths)
        mine = stop_words_of(known, d, stop_words)
        kept = judge_words(points, narrow, marks, tokens, starts, lengths, hashes, mine, lowers, flags, out)
        judge_kinds(marks, n, out)
        lines = judge_signs(points, kinds, marks, n, flags, breaks, out)
        judge_lines(points, narrow, kinds, n, breaks[:lines], table, counts, short_line, flags, out)
        judge_paragraphs(points, narrow, kinds, n, breaks[:lines], table, counts, flags, out)
        out[at.GRAM_CHARS] = running_sums(hashes, lengths, kept, sums)
        judge_grams(sums, lengths, kept, (starts, breaks), table, counts, flags, out)


def measure(
    texts: pa.Array | pa.ChunkedArray | Resident, readings: Readings = DEFAULT, known: Known | None = None
) -> F64:
    """Return the facts of large_string texts without nulls, (texts, len(FACTS)) float64.

    known : stop words and words of the texts' languages; None: those of English.
    """
    data, offsets = buffers(texts)
    about = known or nothing_known(len(offsets) - 1)
    found = np.zeros((len(offsets) - 1, len(FACTS)), np.float64)
    facts_of(heuristic_counts(data, offsets, readings, about), readings.flags, found)
    found[about.language < ENGLISH, FACTS.index("stop_words")] = np.nan
    return found


@by_backend
def heuristic_counts(data: U8, offsets: I64, readings: Readings, known: Known) -> I64:
    """Return what is counted of each document, (documents, COUNTS) int64."""
    found = np.zeros((len(offsets) - 1, len(COUNTS)), np.int64)
    if len(found):
        longest = int(np.diff(offsets).max())
        chosen = english_stop_words(), lowered(), readings.short_line, readings.flags, known
        judge(data, offsets, (classes_with(readings.end_marks), marks_by_point()), longest, *chosen, found)
    return found
