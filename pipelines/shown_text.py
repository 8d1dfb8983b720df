"""Hostile text made fit to be shown, and two texts compared word by word.

Guarantees: `visible` leaves no character that could move the cursor, ring, or reorder what stands beside it;
`word_diff` compares at most `DIFF_WORDS` words of each text and says so when there was more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from typing_extensions import TypedDict

DIFF_WORDS = 1500  # of each text: SequenceMatcher is quadratic at worst
CONTEXT = 12  # equal words shown on either side of a difference
_WORDS = re.compile(r"\S+\s*|\s+")
_PICTURES = {c: 0x2400 + c for c in range(32) if c not in (9, 10)} | {127: 0x2421}  # U+2400: control pictures
_UNSHOWN = dict.fromkeys((*range(0x80, 0xA0), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF), "\N{REPLACEMENT CHARACTER}")
_BIDI = {c: f"[U+{c:04X}]" for c in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
_ACTING = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # in JSON only within strings
_TABLE: dict[int, Any] = {**_PICTURES, **_UNSHOWN, **_BIDI, 0x2028: "\n", 0x2029: "\n"}


def visible(text: str) -> str:
    r"""Return the text with control characters and direction overrides shown instead of obeyed.

    >>> visible("a\x00b\x1b[31m")
    'a␀b␛[31m'
    """
    return text.replace("\r\n", "\n").translate(_TABLE)


def escape_json(text: str) -> str:
    r"""Return JSON text with C1 controls and direction overrides as escapes; it stands for the same value.

    >>> escape_json('"a\x9bb"')
    '"a\\u009bb"'
    """
    return _ACTING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def excerpt(text: str, chars: int) -> str:
    """Return the first `chars` characters, with an ellipsis where there are more."""
    return text if len(text) <= chars else text[:chars].rstrip() + " …"


class DifferenceTree(TypedDict):
    """A difference as JSON has it. left, right: [kind, text] with kind same, other or gap (words left out)."""

    left: list[list[str]]
    right: list[list[str]]
    same_words: int
    spacing: int
    left_words: int
    right_words: int
    complete: bool


@dataclass(frozen=True)
class Difference:
    """Two texts cut into spans. left, right: (kind, text) with kind same, other or gap (words left out)."""

    left: list[tuple[str, str]]
    right: list[tuple[str, str]]
    same_words: int
    spacing: int  # equal words that other white space follows
    left_words: int
    right_words: int
    complete: bool  # whether every word was compared

    def as_tree(self) -> DifferenceTree:
        """Return the difference as JSON has it."""
        return {
            "left": [list(span) for span in self.left],
            "right": [list(span) for span in self.right],
            "same_words": self.same_words,
            "spacing": self.spacing,
            "left_words": self.left_words,
            "right_words": self.right_words,
            "complete": self.complete,
        }


def word_diff(left: str, right: str, context: int = CONTEXT) -> Difference:
    """Compare two texts word by word.

    Equal runs longer than `2 * context` words are cut in the middle. The longest matching blocks are found
    first (difflib), which reads well and is not always the smallest difference.
    """
    a, b = _WORDS.findall(left), _WORDS.findall(right)
    short_a, short_b = a[:DIFF_WORDS], b[:DIFF_WORDS]
    keys_a, keys_b = [w.rstrip() for w in short_a], [w.rstrip() for w in short_b]
    spans: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
    same = spacing = 0
    operations = SequenceMatcher(None, keys_a, keys_b, autojunk=False).get_opcodes()
    for number, (kind, a0, a1, b0, b1) in enumerate(operations):
        if kind == "equal":
            same += a1 - a0
            spacing += sum(x != y for x, y in zip(short_a[a0:a1], short_b[b0:b1], strict=True))
            edges = (number > 0, number < len(operations) - 1)
            spans[0].extend(_same(short_a[a0:a1], context, *edges))
            spans[1].extend(_same(short_b[b0:b1], context, *edges))
            continue
        for side, words in ((0, short_a[a0:a1]), (1, short_b[b0:b1])):
            if words:
                spans[side].append(("other", "".join(words)))
    complete = len(a) <= DIFF_WORDS and len(b) <= DIFF_WORDS
    return Difference(*spans, same, spacing, len(a), len(b), complete)


def _same(words: list[str], context: int, before: bool, after: bool) -> list[tuple[str, str]]:
    """Return spans of an equal run; a long one keeps `context` words beside each difference."""
    head, tail = context if before else 0, context if after else 0
    if not before and not after:
        head = 4 * context  # the texts are equal: show how they begin
    hidden = len(words) - head - tail
    if hidden <= context:
        return [("same", "".join(words))]
    gap = ("gap", f"{hidden:,} equal words")
    ends = [("same", "".join(words[:head])), gap, ("same", "".join(words[len(words) - tail :]))]
    return [span for span in ends if span[1]]
