"""What recipes and data bring into the card is shown, and does nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.mix.markdown import code, inline, table

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "[a](https://evil.example)",
    "![i](https://evil.example/x.png)",
    "https://evil.example",
    "www.evil.example",
    "me@evil.example",
    "a | b | c",
    "a\n\n# heading\n\n- list",
    "a\u2028# heading",
    "`code` <b>",
    "``` fence",
    "**bold** _em_ ~~gone~~",
    "&lt;b&gt; &#60;",
    "\\[a\\](b)",
    "$x$ [^1]",
]


def bare(text: str) -> str:
    """Return Markdown without code and escaped characters: what is left could act."""
    return re.sub(r"`[^`]*`", "", re.sub(r"\\[\\`*_\[\]<>|~#!&$^]", "", text))


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_it_acts(text: str) -> None:
    for shown in (inline(text), code(text)):
        assert "\n" not in shown
        left = bare(shown)
        assert not re.search(r"[<>\[\]|`]|://|www\.|@|&", left)


@given(st.text(max_size=80), st.text(max_size=80))
def test_a_table_keeps_its_shape(left: str, right: str) -> None:
    lines = table(["a", "b"], [[left, code(right)], [7, 12345]]).split("\n")
    assert len(lines) == 4
    assert lines[3] == "| 7 | 12,345 |"
    for line in lines:
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3


def test_ordinary_names_stay_readable() -> None:
    assert inline("fineweb_edu") == "fineweb_edu"
    assert inline("cc-by-4.0") == "cc-by-4.0"
    assert inline("Common Crawl terms (see site)") == "Common Crawl terms (see site)"
