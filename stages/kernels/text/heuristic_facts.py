"""The numbers that stage `heuristics` measures, in the order in which its kernel writes them, and how they may be read.

Where a publication leaves a definition open, a field of `Readings` chooses; the first value of each is winnow's own.
docs/heuristics.md says which tool reads it which way.
"""

from __future__ import annotations

from dataclasses import dataclass

TOP = (2, 3, 4)
REPEATED = (5, 6, 7, 8, 9, 10)

FACTS = (
    "num_words",
    "mean_word_length",
    "hash_ratio",
    "ellipsis_ratio",
    "bullet_lines",
    "ellipsis_lines",
    "alpha_words",
    "stop_words",
    "duplicate_lines",
    "duplicate_line_chars",
    "duplicate_paragraphs",
    "duplicate_paragraph_chars",
    *(f"top_{n}gram" for n in TOP),
    *(f"duplicate_{n}grams" for n in REPEATED),
    "line_punctuation",
    "short_lines",
    "line_duplicate_chars",
    "newlines_per_word",
    "curly_brackets",
    "lorem_ipsum",
    "sentences",
    "num_chars",
    "num_lines",
    "long_lines",
    "longest_word",
    "digit_ratio",
    "symbol_ratio",
    "space_ratio",
    "bracket_ratio",
    "capital_ratio",
    "url_ratio",
)
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")  # Gopher, Rae et al. 2021, A1.1
SHORT_LINE = 30  # characters, FineWeb

SPLIT = ("tokens", "spaces")
SIGNS = ("ngrams", "shares", "words", "never")
COUNTS = ("later", "all")
OVERLAPS = ("skipped", "covered")
SHARE_OF = ("text", "units")
TOP_TIES = ("first", "longest")
STOP_WORDS_COUNT = ("different", "all")
ELLIPSES = ("joined", "spaced")
BLANK_LINES = ("skipped", "counted")


@dataclass(frozen=True, kw_only=True)
class Readings:
    """How the publications are read. All of it is part of the facts.

    split: tokens of the English tokeniser, or pieces between white space. signs: where tokens without letter and digit
    count: in n-grams only, also in the number of words that shares are of, as words everywhere, or nowhere. counts:
    copies after the first, or all of them. overlaps: after a repeated n-gram the next n words are skipped, or every
    character that any covers counts once. share_of: characters of the text, or of the units compared (lines,
    paragraphs, words). blank_lines: whether they are lines where bullets and ellipses are counted. end_marks: what a
    line of prose ends with, Unicode's sentence ends if empty.
    """

    split: str = "tokens"
    signs: str = "ngrams"
    counts: str = "later"
    overlaps: str = "skipped"
    share_of: str = "text"
    top_ties: str = "first"
    stop_words_count: str = "different"
    ellipses: str = "joined"
    blank_lines: str = "skipped"
    end_marks: str = ""
    short_line: int = SHORT_LINE

    @property
    def flags(self) -> int:
        """The readings as bits, see below."""
        chosen = (
            self.split == "spaces",
            self.signs in ("shares", "words"),
            self.signs == "words",
            self.signs == "never",
            self.counts == "all",
            self.overlaps == "covered",
            self.share_of == "units",
            self.top_ties == "longest",
            self.stop_words_count == "all",
            self.ellipses == "spaced",
            self.blank_lines == "counted",
        )
        return sum(1 << bit for bit, is_set in enumerate(chosen) if is_set)


DEFAULT = Readings()
(
    BY_SPACES,
    SIGNS_IN_SHARES,
    SIGNS_AS_WORDS,
    NO_SIGNS,
    ALL_COPIES,
    COVERED,
    OF_UNITS,
    LONGEST_TOP,
    EVERY_STOP_WORD,
    SPACED_ELLIPSES,
    WITH_BLANK_LINES,
) = (1 << bit for bit in range(11))
