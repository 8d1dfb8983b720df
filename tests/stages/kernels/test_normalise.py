"""Normalised texts equal their definition in plain Python, whichever path they took; null stays null."""

from __future__ import annotations

import re
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.errors import RecipeError
from stages.kernels.text.normalise import NORMALISATIONS, normalise

ASCII = st.text(st.characters(max_codepoint=127), max_size=40)
TEXTS = st.lists(st.one_of(st.none(), ASCII, st.text(max_size=40), st.text("aE\u0301İΣ ٣5\u3000\t", max_size=20)))


def defined(text: str | None, how: str) -> str | None:
    if text is None or how == "none":
        return text
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
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
