"""Normalised texts equal their definition in plain Python, whichever path they took; null stays null."""

from __future__ import annotations

import re
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.errors import RecipeError
from stages.exact_dedup import ExactDedup
from stages.kernels.text.normalise import NORMALISATIONS, normalise, simplified
from stages.minhash import MinHash

ASCII = st.text(st.characters(max_codepoint=127), max_size=40)
TEXTS = st.lists(st.one_of(st.none(), ASCII, st.text(max_size=40), st.text("aE\u0301İΣ ٣5\u3000\t", max_size=20)))


def defined(text: str | None, how: str) -> str | None:
    if text is None or how == "none":
        return text
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
    if how == "datatrove":
        return simplified(text)
    if how == "diacritics":
        bare = (c for c in unicodedata.normalize("NFD", folded) if unicodedata.category(c) != "Mn")
        folded = unicodedata.normalize("NFC", "".join(bare))
    if how == "punctuation":
        folded = "".join(" " if unicodedata.category(c)[0] in "PS" else c for c in folded)
    if how == "digits":
        folded = "".join("0" if unicodedata.category(c) == "Nd" else c for c in folded)
    return re.sub(r"\s+", " ", folded).strip()


@pytest.mark.parametrize("how", NORMALISATIONS)
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
@settings(max_examples=100, deadline=None)
@given(texts=TEXTS)
def test_normalised_texts_equal_the_definition(how: str, kind: pa.DataType, texts: list[str | None]) -> None:
    array = pa.array(texts, kind)
    result = normalise(array, how)
    assert result.type == pa.large_string()
    result.validate(full=True)
    assert result.to_pylist() == [defined(text, how) for text in texts]
    assert normalise(array.slice(1), how).to_pylist() == result.to_pylist()[1:]
    chunks = pa.chunked_array([array.slice(0, 1), array.slice(1)], kind)
    assert normalise(chunks, how).to_pylist() == result.to_pylist()


def test_every_white_space_character_and_decimal_digit_is_folded() -> None:
    spaces = [chr(c) for c in range(0x110000) if chr(c).isspace()]
    digits = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) == "Nd"]
    texts = pa.array([f"{c}A{c}{c}B{c}" for c in spaces] + [f"x{c}" for c in digits])
    expected = ["a b"] * len(spaces) + ["x0"] * len(digits)
    assert normalise(texts, "digits").to_pylist() == expected


def test_unknown_normalisations_are_refused() -> None:
    with pytest.raises(RecipeError, match="nfc_lower_space"):
        normalise(pa.array(["a"]), "lower")


def test_several_normalisations_and_a_pattern_of_ones_own() -> None:
    text = pa.array(["Caf\u00e9, 3.14 [ad 7] \u2014 ÀB!"])
    assert normalise(text, "punctuation+diacritics").to_pylist() == ["cafe 3 14 ad 7 ab"]
    assert normalise(text, "digits+cut:\\[ad [0-9]\\]").to_pylist() == ["caf\u00e9, 0.00 \u2014 \u00e0b!"]
    assert normalise(text, "cut:[^a-z]+").to_pylist() == ["afad"]


@pytest.mark.parametrize(
    ("text", "simple"),
    [
        ("Hello,   World!\n", "hello world"),
        ("\u00c9t\u00e9 2,50 and 1.000.000", "ete 0 and 0 0"),
        ("a_b-c\u2026d", "a b c d"),
        ("\u0663\u066b\u0664 x", "0 x"),
        ("", ""),
    ],
)
def test_datatroves_default_by_hand(text: str, simple: str) -> None:
    assert normalise(pa.array([text]), "datatrove").to_pylist() == [simple]


@pytest.mark.parametrize("how", ["", "digits+none", "datatrove+digits", "cut:", "cut:(", "digits+x"])
def test_wrong_normalisations_are_refused_by_stages_too(how: str) -> None:
    for stage in (ExactDedup, MinHash):
        with pytest.raises(RecipeError, match="normalise must be"):
            stage(normalise=how)
