"""No text that repairs would change is passed over unread, and clean text is."""

from __future__ import annotations

import ftfy
import numpy as np
import pyarrow as pa
import pytest
from ftfy import badness
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.kernels.text import repair_signs
from stages.kernels.text.repair_signs import may_need_repair
from stages.kernels.text.repairs import KINDS, repairs

BAD = sorted({c for c in badness.BADNESS_RE.pattern if c > "\x7f"} | {chr(c) for c in range(0x80, 0x180)})
PIECES = ["a", "Z", " ", "\n", "-", "&", ";", "&amp;", "&#0;", "&#x41;", "&x", "#", "\r", "\u2028", "\xad", "e\u0301"]
PIECES += ["\u1100\u1161", "中", "\ufeff", "😀", "\U0001d15e", *"«»\u201c\u201d\u2018\u2019…œŒÃÂØÙ\xa0"]


def marked(texts: list[str], kinds: set[str]) -> list[bool]:
    column = pa.array(["\xc3", *texts], pa.large_string()).slice(1)
    return [bool(x) for x in may_need_repair(column, kinds)]


TEXTS = st.lists(st.sampled_from(PIECES) | st.sampled_from(BAD) | st.characters(codec="utf-8"), max_size=9).map("".join)


@settings(max_examples=300)
@given(st.lists(TEXTS, max_size=6), st.sets(st.sampled_from(KINDS), min_size=1))
def test_what_would_be_repaired_is_marked(texts: list[str], kinds: set[str]) -> None:
    for text, mark in zip(texts, marked(texts, kinds), strict=True):
        assert mark or not repairs(text, kinds)[0]


@given(st.text(max_size=30), st.sampled_from(["cp1252", "latin-1", "cp1251", "macroman", "cp437", "cp1253", "cp1250"]))
def test_text_read_in_a_wrong_encoding_is_marked(text: str, encoding: str) -> None:
    broken = text.encode().decode(encoding, "replace")
    for line in broken.split("\n"):
        assert ftfy.fix_encoding(line) == line or marked([line], {"mojibake"}) == [True]


def test_every_pair_of_characters_that_ftfy_takes_for_bad_is_marked() -> None:
    """Every two of ftfy's characters, and those with one of ASCII before, between or behind."""
    for before, after in (("", ""), ("a", ""), ("", " "), ("", "A"), (" ", "")):
        texts = [before + a + b + after for a in BAD for b in (*BAD, " ", "-", "z")]
        bad = np.array([badness.BADNESS_RE.search(text) is not None for text in texts])
        assert np.array(marked(texts, {"mojibake"}))[bad].all()


def test_usual_text_is_passed_over() -> None:
    clean = [
        "\u201cIt\u2019s\u201d \u2013 \u2018fine\u2019… AT&T & co; 5 €, naïve café",
        "中文。「引用」",
        "Это текст, «кавычки» — да.",
        "Größe: 5°",
        "",
    ]
    assert marked(clean, set(KINDS)) == [False] * len(clean)


def test_a_pattern_of_another_form_marks_all_beyond_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    import re

    monkeypatch.setattr(badness, "BADNESS_RE", re.compile("[a-z]?é"))
    repair_signs.tables.cache_clear()
    try:
        assert marked(["é", "e", "中"], {"mojibake"}) == [True, False, True]
    finally:
        repair_signs.tables.cache_clear()
