"""Line filters of C4 and RefinedWeb: lines that are not prose are cut when the mix is written.

Guarantees: every rule is a fact of every line, so the choice of rules reads no text again; spans are bytes of the
original text. Memory: one number per line and rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stages.core.arrays import array, list_column, whole
from stages.core.edits import Edits, from_spans
from stages.core.stage import Decisions, ShardStage, param
from stages.kernels.hashes.hashing import buffers

I64 = npt.NDArray[np.int64]
MIN_WORDS = 5  # C4: "only retained lines that contained at least 5 words"
FEW_WORDS = 10  # RefinedWeb: navigation is looked for in lines of at most so many words
_POLICY = "terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies"
_COUNTED = (
    "likes?|shares?|comments?|retweets?|reposts?|quotes?|bookmarks?|upvotes?|downvotes?|downloads?|views?|followers?"
)
RULES = (  # in the order of their bits
    "end_mark",  # C4: ends with no . ! ? or ", or with an ellipsis
    "few_words",  # C4: fewer than 5 words
    "javascript",  # C4
    "policy",  # C4: terms of use, privacy and cookies
    "uppercase",  # RefinedWeb: most letters are capitals
    "numeric",  # RefinedWeb: digits and no letter
    "counter",  # RefinedWeb: "3 likes"
    "one_word",  # RefinedWeb
    "navigation",  # RefinedWeb: sign-in, read more, items in cart, in short lines
)
PRESETS = {"c4": RULES[:4], "refinedweb": RULES[4:]}
LINE = pa.struct([("start", pa.int32()), ("stop", pa.int32()), ("words", pa.int32()), ("rules", pa.uint16())])


# RE2's \b knows ASCII letters only.
BEGIN, END = r"(?:^|[^\p{L}\p{N}_])", r"(?:[^\p{L}\p{N}_]|$)"


@dataclass(frozen=True, kw_only=True)
class LineRules(ShardStage):
    """Cut lines that break rules of C4 (Raffel et al. 2020, 2.2) or RefinedWeb (Penedo et al. 2023, G.2).

    Reads: text. Writes: the lines that break a rule, and which. Drops: documents that lose more than `max_removed`
    of their words (`bad_lines`; RefinedWeb: 0.05). Words are runs of characters that are no white space.
    """

    use: ClassVar[str] = "line_rules"
    summary: ClassVar[str] = "cut lines by the rules of C4 and RefinedWeb out of what is written"
    schema: ClassVar[pa.Schema] = pa.schema([("num_words", pa.int32()), ("lines", pa.list_(LINE))])
    expansion: ClassVar[float] = 3.0

    rules: tuple[str, ...] = param(("c4",), "presets or rules: " + ", ".join((*PRESETS, *RULES)))
    max_removed: float | None = param(None, "drop documents that lose a larger share of their words", ge=0, le=1)

    def validate(self) -> None:
        for name in self.rules:
            if name not in PRESETS and name not in RULES:
                raise self.error("rules", name, "one of " + ", ".join((*PRESETS, *RULES)))

    @property
    def mask(self) -> int:
        """Bits of the rules in force."""
        names = {rule for name in self.rules for rule in PRESETS.get(name, (name,))}
        return sum(1 << RULES.index(name) for name in names)

    def annotate(self, documents: pa.Table) -> pa.Table:
        texts = whole(documents.column("text"))
        place, start, stop, words, broken = measure(texts)
        total = np.bincount(place, weights=words, minlength=len(texts)).astype(np.int32)
        bad = broken > 0
        kinds = (np.int32, np.int32, np.int32, np.uint16)
        fields = [pa.array(a[bad].astype(k)) for a, k in zip((start, stop, words, broken), kinds, strict=True)]
        lines = list_column(len(texts), place[bad], pa.StructArray.from_arrays(fields, fields=list(LINE)))
        return pa.table([pa.array(total), lines], schema=self.schema)

    def decide(self, facts: pa.Table) -> Decisions:
        if self.max_removed is None:
            return Decisions.keep_all(facts.num_rows)
        lists = whole(facts.column("lines"))
        words = pc.struct_field(pc.list_flatten(lists), "words").to_numpy(zero_copy_only=False)
        place = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
        cut = self._in_force(lists)
        lost = np.bincount(place[cut], weights=words[cut], minlength=facts.num_rows)
        share = lost / np.maximum(array(facts, "num_words"), 1)
        reason = np.where(share > self.max_removed, 0, -1).astype(np.int16)
        return Decisions(reason, ("bad_lines",), share, np.full(len(share), self.max_removed))

    def edits(self, facts: pa.Table) -> Edits:
        lists = whole(facts.column("lines"))
        return from_spans(lists).take(self._in_force(lists))

    def _in_force(self, lists: pa.Array) -> npt.NDArray[np.bool_]:
        rules = pc.struct_field(pc.list_flatten(lists), "rules").to_numpy(zero_copy_only=False)
        found: npt.NDArray[np.bool_] = (rules.astype(np.int64) & self.mask) > 0
        return found


def measure(texts: pa.Array) -> tuple[I64, I64, I64, I64, I64]:
    """Return text, start, stop (bytes), words and broken rules (bits) of every line with a visible character.

    A line's span reaches up to the next such line, the first one's begins with the text.
    """
    data, offsets = buffers(texts)
    begin = np.unique(np.concatenate([offsets[:-1], _after_breaks(data, offsets)]))
    bounds = np.append(begin, offsets[-1])
    lines = pa.LargeStringArray.from_buffers(len(begin), pa.py_buffer(bounds), texts.buffers()[2])
    words = _count(lines, r"[^\s\p{Z}]+")
    visible = np.flatnonzero(words)
    lines, begin, words = lines.take(pa.array(visible)), begin[visible], words[visible]
    place = np.searchsorted(offsets, begin, side="right") - 1
    start, stop = begin - offsets[place], np.append(begin[1:], offsets[-1])
    first, last = np.diff(place, prepend=-1) > 0, np.append(np.diff(place) > 0, True)[: len(place)]
    start[first] = 0
    stop = np.where(last, offsets[place + 1], stop) - offsets[place]
    return place, start, stop, words, _broken(lines, words)


def _after_breaks(data: npt.NDArray[np.uint8], offsets: I64) -> I64:
    """Return where lines begin after a line feed, inside the texts."""
    breaks = np.flatnonzero(data[offsets[0] : offsets[-1]] == 10) + offsets[0] + 1
    found: I64 = breaks[breaks < offsets[-1]]
    return found


def _broken(lines: pa.Array, words: I64) -> I64:
    """Return the broken rules of each line as bits, (lines,)."""
    few = words <= FEW_WORDS
    signs = (
        ~_match(lines, r"[.!?\"][\s\p{Z}]*$") | _match(lines, r"\.\.\.[\s\p{Z}]*$"),
        words < MIN_WORDS,
        _match(lines, "javascript"),
        _match(lines, _POLICY),
        _mostly_capitals(lines),
        ~_match(lines, r"\p{L}") & _match(lines, r"\p{Nd}"),
        few
        & _match(lines, rf"^[^\p{{L}}\p{{N}}]*[\d.,]+[\s\p{{Z}}]*[km]?[\s\p{{Z}}]+(?:{_COUNTED})[^\p{{L}}\p{{N}}]*$"),
        words == 1,
        few
        & _match(
            lines,
            rf"^[^\p{{L}}\p{{N}}]*sign[ -]?in{END}|read more[^\p{{L}}\p{{N}}]*$|"
            rf"{BEGIN}items? in (?:your )?(?:cart|basket){END}",
        ),
    )
    found: I64 = sum((sign.astype(np.int64) << bit for bit, sign in enumerate(signs)), np.zeros(len(words), np.int64))
    return found


def _mostly_capitals(lines: pa.Array) -> npt.NDArray[np.bool_]:
    """Mark lines with more capitals than other letters, (lines,) bool: ASCII by bytes, the rest by Unicode classes."""
    data, offsets = buffers(lines)
    data = data[offsets[0] : offsets[-1]]
    bounds = (offsets - offsets[0])[:-1]
    if not len(bounds):
        return np.zeros(0, np.bool_)
    capitals = np.add.reduceat((data >= 65) & (data <= 90), bounds, dtype=np.int64)
    others = np.add.reduceat((data >= 97) & (data <= 122), bounds, dtype=np.int64)
    found: npt.NDArray[np.bool_] = capitals > others
    wide = np.flatnonzero(np.maximum.reduceat(data, bounds) >= 0x80)
    some = lines.take(pa.array(wide))
    capital = _count(some, r"\p{Lu}")
    found[wide] = False
    maybe = np.flatnonzero(capital)
    letters = _count(some.take(pa.array(maybe)), r"\p{L}")
    found[wide[maybe]] = 2 * capital[maybe] > letters
    return found


def _match(lines: pa.Array, pattern: str) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = pc.match_substring_regex(lines, pattern, ignore_case=True).to_numpy(False)
    return found


def _count(lines: pa.Array, pattern: str) -> I64:
    return np.asarray(pc.count_substring_regex(lines, pattern).to_numpy(False), np.int64)
