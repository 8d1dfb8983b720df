"""Every number that the Gopher, C4 and FineWeb rules compare, in one pass over the text, compiled by numba.

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

from stages.kernels.hashes.hashing import buffers
from stages.kernels.text.heuristic_facts import (
    BY_SPACES,
    DEFAULT,
    EVERY_STOP_WORD,
    FACTS,
    NO_SIGNS,
    OF_UNITS,
    SIGNS_AS_WORDS,
    SIGNS_IN_SHARES,
    SPACED_ELLIPSES,
    STOP_WORDS,
    WITH_BLANK_LINES,
    Readings,
)
from stages.kernels.text.known_words import ENGLISH, Known, nothing_known
from stages.kernels.text.repetition import (
    cleared,
    copies_of,
    hash_of,
    judge_paragraphs,
    repeated_chars,
    running_sums,
    scalar_hash,
    top_gram,
)
from stages.kernels.text.word_tokens import (
    ALPHA,
    LOWER,
    SPACE,
    TERMINAL,
    UPPER,
    WORD,
    classes,
    spaced_ellipsis,
    split,
    split_by_spaces,
)

F64 = npt.NDArray[np.float64]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]

BULLETS = "\u2022\u2023\u25b6\u25c0\u25e6\u25a0\u25a1\u25aa\u25ab\u2013-*"  # FineWeb's and datatrove's
BULLETS += "\u25cf\u25cb\u2219\xb7\u2043\u204c\u204d\u25d8\u29be\u29bf"  # NeMo Curator's, and a middle dot
BRACKETS = "()[]{}\u27e8\u27e9"
LONG_LINE = 200  # characters, mC4 (Xue et al. 2021, 3.1)
COUNT = len(FACTS)

_BULLETS = np.array([ord(c) for c in BULLETS], np.uint32)
_BRACKETS = np.array([ord(c) for c in BRACKETS], np.uint32)
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
def _english() -> tuple[U64, int, int]:
    """Return the hashes of the English stop words, ascending, and the lengths of the shortest and the longest."""
    sizes = [len(word) for word in STOP_WORDS]
    return np.array(sorted(map(scalar_hash, STOP_WORDS)), np.uint64), min(sizes), max(sizes)


@functools.lru_cache(maxsize=4)
def _classes(end_marks: str) -> U16:
    """Return the classes of every code point with these marks at the ends of lines, Unicode's if there are none."""
    if not end_marks:
        return classes()
    found = classes() & ~np.uint16(TERMINAL)
    found[[ord(c) for c in end_marks]] |= TERMINAL
    return found


@numba.njit(cache=True, nogil=True)
def decode(data, start, stop, points):  # type: ignore[no-untyped-def]
    """Write the code points of valid UTF-8; return their number."""
    n, i = 0, start
    while i < stop:
        b = np.uint32(data[i])
        if b < 0x80:
            points[n] = b
            i += 1
        elif b < 0xE0:
            points[n] = ((b & 0x1F) << 6) | (data[i + 1] & 0x3F)
            i += 2
        elif b < 0xF0:
            points[n] = ((b & 0x0F) << 12) | ((data[i + 1] & 0x3F) << 6) | (data[i + 2] & 0x3F)
            i += 3
        else:
            high = ((b & 0x07) << 18) | ((data[i + 1] & 0x3F) << 12)
            points[n] = high | ((data[i + 2] & 0x3F) << 6) | (data[i + 3] & 0x3F)
            i += 4
        n += 1
    return n


@numba.njit(cache=True, nogil=True)
def is_stop(points, kinds, first, stop, h, stops, lower, seen):  # type: ignore[no-untyped-def]
    """Tell whether a token is a stop word, without regard to case; mark which."""
    capital = False
    for i in range(first, stop):
        capital |= kinds[i] & (UPPER | LOWER) == UPPER
    if capital:
        h = _lower_hash(points, first, stop, lower)
    at = np.searchsorted(stops, h)
    if at == len(stops) or stops[at] != h:
        return False
    seen[at] = True
    return True


@numba.njit(cache=True, nogil=True)
def _lower_hash(points, first, stop, lower):  # type: ignore[no-untyped-def]
    small = np.empty(stop - first, np.uint32)
    for i in range(first, stop):
        small[i - first] = lower[points[i]]
    return hash_of(small, 0, stop - first)


@numba.njit(cache=True, nogil=True)
def judge_words(points, kinds, tokens, starts, stops, hashes, stop_words, lower, flags, out):  # type: ignore[no-untyped-def]
    """Fill in the Gopher facts of words (tokens with a letter or digit); write hashes and, into stops, lengths.

    Return the number of tokens that n-grams consist of, and the number of words that shares are of.
    """
    known, shortest, longest = stop_words
    words = chars = alphabetic = found = kept = 0
    seen = np.zeros(len(known), np.bool_)
    for t in range(tokens):
        first, stop = starts[t], stops[t]
        h = hash_of(points, first, stop)
        marks = 0
        for k in range(first, stop):
            marks |= kinds[k]
        hashes[kept], stops[kept] = h, stop - first
        kept += flags & NO_SIGNS == 0 or marks & WORD != 0
        alphabetic += marks & ALPHA != 0
        if marks & WORD or flags & SIGNS_AS_WORDS:
            words += 1
            chars += stop - first
        if shortest <= stop - first <= longest:
            found += is_stop(points, kinds, first, stop, h, known, lower, seen)
    of = tokens if flags & SIGNS_IN_SHARES else words
    out[0] = words
    out[1] = chars / max(words, 1)
    out[6] = alphabetic / max(of, 1)
    out[7] = found if flags & EVERY_STOP_WORD else seen.sum()
    return kept, of


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
def judge_lines(points, kinds, n, table, counts, tokens, short_line, flags, out):  # type: ignore[no-untyped-def]
    """Fill in the facts of lines."""
    lines = bullets = ellipses = punctuated = short = copies = copied = later = breaks = chars = long = 0
    for i in range(n):
        breaks += points[i] == 10
    mask = cleared(table, breaks + 1)
    start = 0
    for end in range(n + 1):
        if end < n and points[end] != 10:
            continue
        first, last = start, end
        while first < last and kinds[first] & SPACE:
            first += 1
        while last > first and kinds[last - 1] & SPACE:
            last -= 1
        start = end + 1
        if first == last:
            continue
        lines += 1
        chars += last - first
        bullets += among(points[first], _BULLETS)
        ellipses += ends_in_ellipsis(points, first, last, flags)
        punctuated += kinds[last - 1] & TERMINAL != 0
        short += last - first <= short_line
        long += last - first >= LONG_LINE
        more = copies_of(table, counts, hash_of(points, first, last), mask, flags)
        copies += more
        copied += more * (last - first)
        later += (more > 0) * (last - first)
    whole = max(lines, 1)
    every = max(breaks + (n > 0 and points[n - 1] != 10), 1) if flags & WITH_BLANK_LINES else whole
    out[4], out[5] = bullets / every, ellipses / every
    out[8], out[9] = copies / whole, copied / max(chars if flags & OF_UNITS else n, 1)
    out[21], out[22] = punctuated / whole, short / whole
    out[23], out[24] = later / max(n - breaks, 1), breaks / max(tokens, 1)
    out[29], out[30] = lines, long


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
    while i < n and not kinds[i] & SPACE and points[i] not in (34, 59, 60, 62):
        i += 1
    return i


@numba.njit(cache=True, nogil=True)
def judge_characters(points, kinds, n, words, flags, out):  # type: ignore[no-untyped-def]
    """Fill in the facts of single characters: hashes, ellipses, brackets, lorem ipsum, ends of sentences, kinds."""
    marks = ellipses = curly = lorem = sentences = 0
    digits = signs = spaces = brackets = capitals = letters = addresses = 0
    longest = skip = reach = 0
    gap = -1  # the white space before this character
    for i in range(n):
        c, kind = points[i], kinds[i]
        digits += kind >> 15  # DECIMAL
        letters += kind & ALPHA != 0
        capitals += kind & (UPPER | LOWER) == UPPER
        if kind & SPACE:
            spaces += 1
            longest = max(longest, i - gap - 1)
            gap = i
            continue
        if kind & WORD:
            if c | 32 == 108 and i + len(_LOREM) <= n and points[i + 1] | 32 == 111:
                same = True
                for k in range(len(_LOREM)):
                    p = points[i + k]
                    same &= _LOREM[k] == (p + 32 if 65 <= p <= 90 else p)
                lorem |= same
            continue
        signs += 1
        marks += c == 35
        curly |= c == 123
        if c == 46 or c == 33 or c == 63:
            sentences += i + 1 == n or kinds[i + 1] & SPACE > 0
            if c == 46 and i >= skip:
                size = ellipsis_at(points, i, n, flags)
                ellipses += size > 0
                skip = i + size
        elif c == 0x2026:
            ellipses += 1
        elif c == 58 and i >= reach:
            begin = url_before(points, i, n)
            if begin >= reach:
                reach = url_end(points, kinds, i, n)
                addresses += reach - begin
        else:
            brackets += among(c, _BRACKETS)
    out[2], out[3] = marks / max(words, 1), ellipses / max(words, 1)
    out[25], out[26], out[27] = curly, lorem, sentences
    size = max(n, 1)
    out[28], out[31] = n, max(longest, n - gap - 1)
    out[32], out[33], out[34] = digits / size, signs / size, spaces / size
    out[35], out[36], out[37] = brackets / size, capitals / max(letters, 1), addresses / size


@numba.njit(cache=True, nogil=True)
def ellipsis_at(points, i, n, flags):  # type: ignore[no-untyped-def]
    """Return the length of the ellipsis that the point at i begins, 0 for none."""
    if i + 2 < n and points[i + 1] == 46 and points[i + 2] == 46:
        return 3
    return 5 if flags & SPACED_ELLIPSES and spaced_ellipsis(points, i, n) else 0


@numba.njit(cache=True, nogil=True)
def words_of(points, kinds, n, known, d, flags, starts, stops):  # type: ignore[no-untyped-def]
    """Write where the tokens of document d start and stop, as given or as they are split; return their number."""
    first, last = known.bounds[d], known.bounds[d + 1]
    if last > first:
        starts[: last - first], stops[: last - first] = known.starts[first:last], known.stops[first:last]
        return last - first
    if flags & BY_SPACES:
        return split_by_spaces(points, kinds, n, starts, stops, flags & SPACED_ELLIPSES != 0)
    return split(points, kinds, n, starts, stops)


@numba.njit(cache=True, nogil=True)
def stop_words_of(known, d, english):  # type: ignore[no-untyped-def]
    """Return the stop words of document d's language, as `_english` gives them."""
    place = known.language[d]
    if place < 0:
        return english
    first, last = known.stop_bounds[place], known.stop_bounds[place + 1]
    return known.stop_hashes[first:last], known.shortest[place], known.longest[place]


@numba.njit(cache=True, nogil=True)
def judge(data, offsets, table_of_classes, longest, stop_words, lower, short_line, flags, known, found):  # type: ignore[no-untyped-def]
    """Fill in `found`, (documents, facts)."""
    points, kinds = np.empty(longest + 1, np.uint32), np.empty(longest + 1, np.uint16)
    starts, lengths = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64)
    hashes, sums = np.empty(longest + 1, np.uint64), np.empty(longest + 2, np.uint64)
    size = 32
    while size < 4 * (longest + 2):
        size *= 2
    table, counts = np.zeros(size, np.uint64), np.zeros(size, np.int32)
    for d in range(len(offsets) - 1):
        out = found[d]
        n = decode(data, offsets[d], offsets[d + 1], points)
        for i in range(n):
            kinds[i] = table_of_classes[points[i]]
        tokens = words_of(points, kinds, n, known, d, flags, starts, lengths)
        mine = stop_words_of(known, d, stop_words)
        kept, of = judge_words(points, kinds, tokens, starts, lengths, hashes, mine, lower, flags, out)
        if known.language[d] < ENGLISH:
            out[7] = np.nan
        judge_characters(points, kinds, n, of, flags, out)
        judge_lines(points, kinds, n, table, counts, tokens, short_line, flags, out)
        judge_paragraphs(points, kinds, n, table, counts, flags, out)
        of_text = max(n, 1)
        if flags & OF_UNITS:
            of_text = max(lengths[:kept].sum(), 1)
        running_sums(hashes, kept, sums)
        for k in range(3):
            out[12 + k] = top_gram(sums, lengths, kept, 2 + k, table, counts, flags) / of_text
        for k in range(6):
            out[15 + k] = repeated_chars(sums, lengths, kept, 5 + k, table, counts, flags) / of_text


def measure(texts: pa.Array | pa.ChunkedArray, readings: Readings = DEFAULT, known: Known | None = None) -> F64:
    """Return the facts of large_string texts without nulls, (texts, len(FACTS)) float64.

    known : stop words and words of the texts' languages; None: those of English.
    """
    data, offsets = buffers(texts)
    found = np.zeros((len(offsets) - 1, COUNT), np.float64)
    if len(found):
        longest = int(np.diff(offsets).max())
        about = known or nothing_known(len(found))
        chosen = _english(), lowered(), readings.short_line, readings.flags, about
        judge(data, offsets, _classes(readings.end_marks), longest, *chosen, found)
    return found
