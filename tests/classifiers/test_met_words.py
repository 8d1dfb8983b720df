"""Words that were met before: a text is judged the same alone and among any others, whatever was met."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers import fasttext_model
from classifiers.native_fasttext import met_words
from tests.support import fasttext_variants
from tests.support.fasttext_variants import array

# Words of all lengths around those that are remembered, ends of lines, labels, words of a model and others.
PIECES = ["a", "the", "</s>", "__label__b", "__label__nobody", "é", "слово", "漢字" * 9, "\x01\x7f"]
PIECES += ["x" * n for n in (7, 8, 9, 15, 16, 17, 23, 24, 25, 400)] + ["ab" * 1100, "cd\x1fe", "w\x0bw"]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return fasttext_variants.builder(tmp_path_factory.mktemp("models"))


def many_words(documents: int, words: int) -> list[str]:
    """Return documents of words drawn from more than are remembered, the frequent ones often."""
    draw = np.random.default_rng(0)
    ranks = (draw.pareto(0.3, (documents, words)) * 50).clip(max=3e6).astype(np.int64)
    return [" ".join(f"w{rank * 7919 % 3_000_017:x}" for rank in row) for row in ranks.tolist()]


@pytest.mark.parametrize("variant", ["tree", "pruned", "ova", "softmax-wide", "plain"])
def test_texts_of_one_call_are_judged_as_alone(variant: str, make: Callable[[str], Path]) -> None:
    own = fasttext_model.load(str(make(variant)))
    texts = many_words(60, 2000)
    label, score = own.best(array(texts))
    alone = [own.best(array([text])) for text in texts[::7]]
    assert label[::7].tolist() == [int(found[0][0]) for found in alone]
    assert score[::7].tolist() == [float(found[1][0]) for found in alone]


@pytest.mark.parametrize("variant", ["tree", "pruned", "ova", "softmax-wide", "plain"])
@given(texts=st.lists(st.lists(st.sampled_from(PIECES), max_size=30).map(" ".join), max_size=6))
@settings(max_examples=40, deadline=None)
def test_words_met_again_are_judged_as_by_the_package(
    variant: str, make: Callable[[str], Path], texts: list[str]
) -> None:
    path = str(make(variant))
    own, package = fasttext_model.load(path), fasttext_model.PackageModel(path)
    label, score = own.best(array(texts))
    expected_label, expected_score = package.best(array(texts))
    assert label.tolist() == expected_label.tolist()
    np.testing.assert_allclose(score, expected_score, rtol=0, atol=1e-6)


def test_tokens_are_read_in_blocks_with_the_same_ends() -> None:
    text = " ".join(many_words(3, 300) + PIECES).encode()
    data = np.frombuffer(text, np.uint8)
    met = met_words.make_met(4)
    found, at = [], 0
    while at < len(text):
        begin = at
        tokens, _, at = met_words.read_block(met, data, begin, at, len(text))
        assert 0 < tokens <= met_words.BLOCK
        found += [text[begin + a : begin + b] for a, b in met.spans[: 2 * tokens].reshape(-1, 2).tolist()]
    assert found == [word for word in text.translate(bytes.maketrans(b"\x0b", b" ")).split(b" ") if word]
