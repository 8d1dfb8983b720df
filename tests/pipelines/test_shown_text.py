"""Hostile text made fit to be shown, and two texts compared word by word."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipelines.shown_text import visible, word_diff

FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@given(st.text(), st.text())
def test_word_differences_lose_no_word_and_mark_only_what_differs(left: str, right: str) -> None:
    difference = word_diff(left, right, context=10**6)
    assert "".join(words for _, words in difference.left) == left
    assert "".join(words for _, words in difference.right) == right
    same = [[w for kind, words in side if kind == "same" for w in words.split()] for side in _sides(difference)]
    assert same[0] == same[1]
    assert word_diff(left, left).same_words == difference.left_words


def test_texts_that_differ_in_white_space_only_are_told_apart() -> None:
    difference = word_diff("one  two\nthree", "one two three")
    assert (difference.same_words, difference.spacing) == (3, 2)
    assert word_diff("one two", "one two").spacing == 0


def _sides(difference: Any) -> tuple[Any, Any]:
    return difference.left, difference.right


@given(st.text(st.characters(codec=None)))
def test_shown_text_obeys_nothing_and_can_be_encoded(text: str) -> None:
    shown = visible(text)
    assert not FORBIDDEN.search(shown)
    shown.encode("utf-8")
    assert visible(shown) == shown
