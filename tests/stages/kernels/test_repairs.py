"""Repairs: the edits give what the references give, and repairing twice changes nothing more."""

from __future__ import annotations

import html
import re
import unicodedata
from itertools import pairwise

import ftfy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.kernels.text.compositions import compose
from stages.kernels.text.repairs import KINDS, edited, repairs

CONTROLS = {*range(9), 0xB, *range(0xE, 0x20), 0x7F, *range(0x80, 0xA0), 0xAD, 0x180E, 0x200B, *range(0x2060, 0x2065)}
CONTROLS |= {*range(0x206A, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFD)}
CONTROLS -= {0x85}
REFERENCES = {
    "mojibake": lambda text: "".join(ftfy.fix_encoding(line) for line in re.findall("[^\n]*\n?", text)),
    "entities": lambda text: re.sub(r"&(?:#[0-9]+|#[xX][0-9a-fA-F]+|\w+);", lambda m: html.unescape(m[0]), text),
    "controls": lambda text: "".join(c for c in text if ord(c) not in CONTROLS),
    "line_ends": lambda text: re.sub("\r\n|[\r\x85\u2028\u2029]", "\n", text),
    "nfc": lambda text: unicodedata.normalize("NFC", text),
}
PIECES = [
    *("a", "é", "e\u0301", "\u0344", "\u0958", "\u0915\u093c", "\u1100\u1161\u11a8", "\uac00\u11a8", "q\u0307\u0323"),
    *(
        word.encode().decode("cp1252", "replace")
        for word in ("schön", "na\u00efve \u2013 \u201cx\u201d", "l\u2019\u00e9t\u00e9")
    ),
    *("\u212b", "\u00e2\u20ac\u0153", "\u00c3\u00a9", "&amp;", "&lt;", "&amp;amp;lt;", "&#8203;", "&#13;", "&nbsp;"),
    *("&eacute;", "&unknown;", "&amp", "&#xD800;", "&#38;", "&", "\r\n", "\r", "\n", "\x85", "\u2028", "\x00", "\x07"),
    *("\u200b", "\u200d", "\ufeff", "\xad", "\t", "\f", "中文", "ไทย", "😀", " ", ";"),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=14).map("".join) | st.text(max_size=20)


def reference(text: str, kinds: list[str]) -> str:
    """Apply the references in turn until nothing changes."""
    while True:
        before = text
        for kind in KINDS:
            if kind in kinds:
                text = REFERENCES[kind](text)
        if text == before:
            return text


@settings(max_examples=600)
@given(TEXTS, st.sets(st.sampled_from(KINDS), min_size=1))
def test_applying_the_edits_is_repairing_by_the_references(text: str, kinds: set[str]) -> None:
    edits, counts = repairs(text, kinds)
    result = edited(text, edits)
    assert result == reference(text, sorted(kinds))
    assert set(counts) <= kinds
    assert bool(counts) or result == text
    assert all(start < stop for start, stop, _ in edits)
    assert all(one[1] <= other[0] for one, other in pairwise(edits))
    assert repairs(result, kinds) == ([], {})
    assert repairs(text, kinds) == (edits, counts)


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS)
def test_each_kind_alone_is_its_reference(kind: str, text: str) -> None:
    assert edited(text, repairs(text, [kind])[0]) == reference(text, [kind])


def test_every_character_alone_and_after_a_letter_is_composed_as_unicodedata_does() -> None:
    for code in [*range(0x80, 0xD800), *range(0xE000, 0x30000)]:
        for text in (chr(code), f"a{chr(code)}", f"{chr(code)}\u0301"):
            if not unicodedata.is_normalized("NFC", text):
                assert edited(text, repairs(text, ["nfc"])[0]) == unicodedata.normalize("NFC", text), hex(code)


def spans(size: int) -> st.SearchStrategy[list[tuple[int, int, str]]]:
    def cut(ends: list[int]) -> list[tuple[int, int]]:
        places = sorted(set(ends))
        return list(zip(places[::2], places[1::2], strict=False))

    places = st.lists(st.integers(0, size), max_size=8).map(cut)
    return places.flatmap(
        lambda p: st.tuples(*(st.sampled_from(["", "A", "BC", "DEF"]).map(lambda t, s=s: (*s, t)) for s in p)).map(list)
    )


@settings(max_examples=500)
@given(st.data(), st.text("abcdef", max_size=12))
def test_composed_edits_do_what_both_do_in_turn(data: st.DataObject, text: str) -> None:
    first = data.draw(spans(len(text)))
    between = edited(text, first)
    second = data.draw(spans(len(between)))
    both = compose(first, second)
    assert edited(text, both) == edited(between, second)
    assert all(one[1] <= other[0] for one, other in pairwise(both))


def test_what_is_sound_stays() -> None:
    for text in (
        "plain",
        "a & b; AT&T &c;",
        "می‌خواهم",
        "👩‍👩‍👧",
        "tab\tfeed\f",
        "na\u00efve \u2013 \u201cquoted\u201d",
        "<b>&unknown;</b>",
    ):
        assert repairs(text, KINDS) == ([], {})
