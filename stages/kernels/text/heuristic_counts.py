"""The integers that a text is measured by, and the facts that are formed of them, compiled by numba.

Guarantees: host and device count the same integers, and facts are formed of them here alone, so facts have the same
bits on both.
"""

from __future__ import annotations

import numba

from stages.kernels.text.heuristic_facts import OF_UNITS, WITH_BLANK_LINES

WIDTHS = range(2, 11)  # tokens of the n-grams
COUNTS = (
    *("words", "word_chars", "shared_words", "tokens", "alphabetic", "stop_words", "hashes", "ellipses"),
    *("bullets", "ellipsis_lines", "lines", "line_chars", "line_copies", "line_copied", "later_chars"),
    *("paragraphs", "paragraph_chars", "paragraph_copies", "paragraph_copied", "gram_chars"),
    *(f"grams_{width}" for width in WIDTHS),
    *("punctuated", "short", "long", "breaks", "segments", "curly", "lorem", "sentences", "chars", "longest_run"),
    *("letters", "capitals", "digits", "signs", "spaces", "brackets", "addresses"),
)
# shared_words: what shares of words are of. copied: characters of copies; later_chars: of lines but each one's first.
WORDS, WORD_CHARS, SHARED_WORDS, TOKENS, ALPHABETIC, STOP_WORDS, HASHES, ELLIPSES = range(8)
BULLETS, ELLIPSIS_LINES, LINES, LINE_CHARS, LINE_COPIES, LINE_COPIED, LATER_CHARS = range(8, 15)
PARAGRAPHS, PARAGRAPH_CHARS, PARAGRAPH_COPIES, PARAGRAPH_COPIED, GRAM_CHARS = range(15, 20)
GRAMS = 20  # the first of nine
PUNCTUATED, SHORT, LONG, BREAKS, SEGMENTS, CURLY, LOREM, SENTENCES, CHARS, LONGEST_RUN = range(29, 39)
LETTERS, CAPITALS, DIGITS, SIGNS, SPACES, BRACKETS, ADDRESSES = range(39, 46)


@numba.njit(cache=True, nogil=True)
def facts_of(counts, flags, out):  # type: ignore[no-untyped-def]
    """Fill in the facts of documents, (documents, FACTS) float64. counts : (documents, COUNTS) int64."""
    for d in range(len(counts)):
        _word_facts(counts[d], out[d])
        _line_facts(counts[d], flags, out[d])
        _character_facts(counts[d], out[d])


@numba.njit(cache=True, nogil=True)
def _word_facts(c, out):  # type: ignore[no-untyped-def]
    shared = max(c[SHARED_WORDS], 1)
    out[0] = c[WORDS]
    out[1] = c[WORD_CHARS] / max(c[WORDS], 1)
    out[2], out[3] = c[HASHES] / shared, c[ELLIPSES] / shared
    out[6], out[7] = c[ALPHABETIC] / shared, c[STOP_WORDS]


@numba.njit(cache=True, nogil=True)
def _line_facts(c, flags, out):  # type: ignore[no-untyped-def]
    of_units, lines = flags & OF_UNITS, max(c[LINES], 1)
    every = max(c[SEGMENTS], 1) if flags & WITH_BLANK_LINES else lines
    out[4], out[5] = c[BULLETS] / every, c[ELLIPSIS_LINES] / every
    out[8] = c[LINE_COPIES] / lines
    out[9] = c[LINE_COPIED] / max(c[LINE_CHARS] if of_units else c[CHARS], 1)
    out[10] = c[PARAGRAPH_COPIES] / max(c[PARAGRAPHS], 1)
    out[11] = c[PARAGRAPH_COPIED] / max(c[PARAGRAPH_CHARS] if of_units else c[CHARS], 1)
    characters = max(c[GRAM_CHARS] if of_units else c[CHARS], 1)
    for k in range(9):
        out[12 + k] = c[GRAMS + k] / characters
    out[21], out[22] = c[PUNCTUATED] / lines, c[SHORT] / lines
    out[23] = c[LATER_CHARS] / max(c[CHARS] - c[BREAKS], 1)
    out[24] = c[BREAKS] / max(c[TOKENS], 1)
    out[29], out[30] = c[LINES], c[LONG]


@numba.njit(cache=True, nogil=True)
def _character_facts(c, out):  # type: ignore[no-untyped-def]
    size = max(c[CHARS], 1)
    out[25], out[26], out[27] = c[CURLY], c[LOREM], c[SENTENCES]
    out[28], out[31] = c[CHARS], c[LONGEST_RUN]
    out[32], out[33], out[34] = c[DIGITS] / size, c[SIGNS] / size, c[SPACES] / size
    out[35], out[36], out[37] = c[BRACKETS] / size, c[CAPITALS] / max(c[LETTERS], 1), c[ADDRESSES] / size
