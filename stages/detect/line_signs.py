"""What is wrong with lines by C4 and RefinedWeb: the rules each line breaks, and spans inside lines that go alone.

Guarantees: rules depend on the line and the settings alone; spans are bytes of the text. Memory: one number per line
and rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stages.kernels.dispatch.resident import Resident
from stages.kernels.hashes.hashing import buffers
from stages.kernels.text.line_counts import CITED, NAMED, NAVIGATES, WIDE, count_lines
from stages.kernels.text.pieces import pieces

I64 = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

FEWEST_WORDS = 5  # C4, arXiv v4: "only retained lines that contained at least 5 words"
FEW_WORDS = 10  # RefinedWeb: navigation is looked for in lines of at most so many words
RULES = (  # in the order of their bits
    "end_mark",  # C4: ends with no . ! ? or ", or with an ellipsis
    "few_words",  # C4: fewer than 5 words (JMLR: 3)
    "javascript",  # C4
    "policy",  # C4: terms of use, privacy and cookies
    "uppercase",  # RefinedWeb: mainly capitals
    "numeric",  # RefinedWeb: only digits
    "counter",  # RefinedWeb: "3 likes"
    "one_word",  # RefinedWeb
    "navigation",  # RefinedWeb: sign-in, read more, items in cart, in short lines
    "long_word",  # C4's code: a word of more than 1,000 characters
    "citations",  # C4: [1], [edit], [citation needed] go, the line stays
)
_BITS = {name: 1 << bit for bit, name in enumerate(RULES)}
NO_MARK_UNCITED = 1 << len(RULES)  # end_mark, of the line without its citations
ONLY_NAVIGATION = NO_MARK_UNCITED << 1  # nothing with a letter or digit is left without the navigation

_POLICY = "terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies"
_COUNTED = (
    *("like", "share", "comment", "retweet", "repost", "quote"),
    *("bookmark", "upvote", "downvote", "download", "view", "follower"),
)
_COUNTED_ANY = "|".join(f"{word}s?" for word in _COUNTED)
_COUNTER = rf"^[^\p{{L}}\p{{N}}]*[\d.,]+[\s\p{{Z}}]*[kmb]?[\s\p{{Z}}]+(?:{_COUNTED_ANY})[^\p{{L}}\p{{N}}]*$"
_COUNTER_LETTERS = min(map(len, _COUNTED)), max(map(len, _COUNTED)) + 2  # like; k and bookmarks
_MAY_NAVIGATE = "sign[ -]?in|read more|items? in"
_NAVIGATION = re.compile(
    r"\A[\W_]*sign[ -]?in\b\s*|\s*(?<!\w)read more[\W_]*\Z|\s*\b(?:\d+ )?items? in (?:your )?(?:cart|basket)\b",
    re.IGNORECASE,
)
_CITATION = re.compile(rb"\[(?:\d*|edit|citation needed)\]")
_VISIBLE = re.compile(r"[^\W_]")


@dataclass(frozen=True, kw_only=True)
class Signs:
    """Settings of the rules. max_digits: share of a line's characters; None: only digits and white space."""

    end_marks: str = '.!?"'
    min_words: int = FEWEST_WORDS
    max_word_length: int = 1000
    max_uppercase: float = 0.5
    uppercase_of: str = "letters"
    max_digits: float | None = None


@dataclass(frozen=True, eq=False)
class Lines:
    """Lines with a visible character. Spans reach up to the next such line; the first one's begins with the text.

    text, start, stop (bytes of the text), words, words without citations, sentences, rules (bits): (lines,). cuts:
    (spans, 4) of text, start, stop and rule.
    """

    text: I64
    start: I64
    stop: I64
    words: I64
    uncited: I64
    sentences: I64
    rules: I64
    cuts: I64


def find_lines(texts: pa.Array | Resident, signs: Signs) -> Lines:
    """Return the lines of large_string texts with the rules that each breaks."""
    counted = count_lines(texts)
    data, offsets = buffers(texts)
    text, begin = counted["text"], counted["begin"]
    start, stop = begin - offsets[text], np.append(begin[1:], offsets[-1])
    first, last = np.diff(text, prepend=-1) > 0, np.append(np.diff(text) > 0, True)[: len(text)]
    start[first] = 0
    stop = np.where(last, offsets[text + 1], stop) - offsets[text]
    no_mark = _no_mark(counted["tail"], signs.end_marks)
    rules = _counted_rules(counted, signs) | no_mark * (_BITS["end_mark"] | NO_MARK_UNCITED)
    found = _Marked(data, offsets, counted, signs, rules, counted["words"].copy())
    _match_rules(found)
    cuts = sorted([*_citations(found), *_navigation(found)])
    spans = np.array(cuts, np.int64).reshape(-1, 4)
    return Lines(text, start, stop, counted["words"], found.uncited, counted["sentences"], rules, spans)


@dataclass(frozen=True, eq=False)
class _Marked:
    """Lines whose rules are being written."""

    data: npt.NDArray[np.uint8]
    offsets: I64
    counted: dict[str, I64]
    signs: Signs
    rules: I64
    uncited: I64

    def visible(self, lines: I64) -> pa.Array:
        """Return the visible parts of some lines, large_string."""
        return pieces(self.data, self.counted["first"][lines], self.counted["last"][lines])

    def place(self, at: int) -> tuple[int, int]:
        """Return the text of a line, and where in it its visible part begins."""
        text = int(self.counted["text"][at])
        return text, int(self.counted["first"][at] - self.offsets[text])


def bits_of(names: set[str]) -> int:
    """Return the bits of rules by name."""
    return sum(_BITS[name] for name in names)


def _counted_rules(counted: dict[str, I64], signs: Signs) -> I64:
    """Return the bits of the rules that numbers decide, (lines,)."""
    words, chars, digits = counted["words"], counted["chars"], counted["digits"]
    of = counted["letters"] if signs.uppercase_of == "letters" else chars
    few = words < max(signs.min_words, FEWEST_WORDS)
    numeric = (digits > 0) & (counted["letters"] + counted["others"] == 0)
    if signs.max_digits is not None:
        numeric = digits > signs.max_digits * chars
    found: I64 = (
        few * _BITS["few_words"]
        + (counted["capitals"] > signs.max_uppercase * of) * _BITS["uppercase"]
        + numeric * _BITS["numeric"]
        + (words == 1) * _BITS["one_word"]
        + (counted["longest"] > signs.max_word_length) * _BITS["long_word"]
    )
    return found


def _match_rules(found: _Marked) -> None:
    """Set the bits of the rules that patterns decide, tried on the visible parts of the few lines in question."""
    counted, rules = found.counted, found.rules
    suspect = np.flatnonzero(counted["signs"] & NAMED)
    some = found.visible(suspect)
    for name, pattern in (("javascript", "javascript"), ("policy", _POLICY)):
        rules[suspect] |= _match(some, pattern) * _BITS[name]
    letters = counted["letters"]
    few = (letters >= _COUNTER_LETTERS[0]) & (letters <= _COUNTER_LETTERS[1])  # of ASCII, RE2 and Python think alike
    few |= counted["signs"] & WIDE > 0
    short = np.flatnonzero((counted["words"] <= FEW_WORDS) & (counted["digits"] > 0) & few)
    rules[short] |= _match(found.visible(short), _COUNTER) * _BITS["counter"]


def _no_mark(tail: I64, marks: str) -> BoolArray:
    """Mark the lines that end with none of the marks, or with three points, (lines,) bool; tail: of COLUMNS."""
    ends = tail.view(np.uint64)
    last = ends >> np.uint64(56)
    alone = np.zeros(256, np.bool_)  # bytes that are marks
    alone[[ord(mark) for mark in marks if mark.isascii()]] = True
    good: BoolArray = alone[last]
    for code in (mark.encode() for mark in marks if not mark.isascii()):
        at = np.flatnonzero(last == code[-1])
        good[at[ends[at] >> np.uint64(64 - 8 * len(code)) == int.from_bytes(code, "little")]] = True
    good[ends >> np.uint64(40) == int.from_bytes(b"...", "little")] = False
    return ~good


Cut = tuple[int, int, int, int]


def _citations(found: _Marked) -> Iterator[Cut]:
    """Yield the spans of citation markers; set what lines are without them."""
    bit, rules, marks = _BITS["citations"], found.rules, tuple(found.signs.end_marks)
    cited = np.flatnonzero(found.counted["signs"] & CITED)
    for at, line in zip(cited.tolist(), found.visible(cited).cast(pa.large_binary()).to_pylist(), strict=True):
        spans = [m.span() for m in _CITATION.finditer(line)]
        if not spans:
            continue
        left = _CITATION.sub(b"", line).decode().rstrip()
        no_mark = not left.endswith(marks) or left.endswith("...")
        rules[at] = (rules[at] & ~NO_MARK_UNCITED) | bit | (no_mark * NO_MARK_UNCITED)
        found.uncited[at] = len(left.split())
        text, base = found.place(at)
        for start, stop in spans:
            yield text, base + start, base + stop, bit


def _navigation(found: _Marked) -> Iterator[Cut]:
    """Yield the spans of navigation in short lines; set the bits of lines that have some."""
    bit, counted = _BITS["navigation"], found.counted
    short = np.flatnonzero((counted["words"] <= FEW_WORDS) & (counted["signs"] & NAVIGATES > 0))
    short = short[_match(found.visible(short), _MAY_NAVIGATE)]
    for at, line in zip(short.tolist(), found.visible(short).to_pylist(), strict=True):
        spans = [m.span() for m in _NAVIGATION.finditer(line)]
        if not spans:
            continue
        found.rules[at] |= bit
        if not _VISIBLE.search(_NAVIGATION.sub(" ", line)):
            found.rules[at] |= ONLY_NAVIGATION
        text, base = found.place(at)
        for start, stop in spans:
            low = base + len(line[:start].encode())
            yield text, low, low + len(line[start:stop].encode()), bit


def _match(lines: pa.Array, pattern: str) -> BoolArray:
    found: BoolArray = pc.match_substring_regex(lines, pattern, ignore_case=True).to_numpy(False)
    return found
