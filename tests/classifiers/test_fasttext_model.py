"""winnow's own inference answers as the fasttext package does, for every kind of supervised model."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import fasttext
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers import fasttext_model, models
from classifiers.native_fasttext import features, format, subwords
from cluster.errors import RecipeError
from tests.support import fasttext_variants
from tests.support.fasttext_variants import TEXTS, VARIANTS, array, sentences


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return fasttext_variants.builder(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_labels_and_scores_are_those_of_the_package(variant: str, make: Callable[[str], Path]) -> None:
    path = str(make(variant))
    own, package = fasttext_model.load(path), fasttext_model.PackageModel(path)
    assert isinstance(own, fasttext_model.NativeModel)
    assert own.labels == package.labels
    label, score = own.best(array(TEXTS))
    expected_label, expected_score = package.best(array(TEXTS))
    np.testing.assert_array_equal(label, expected_label)
    np.testing.assert_allclose(score, expected_score, rtol=0, atol=1e-6)
    every = range(len(own.labels))
    found, expected = own.scores(array(TEXTS), every), package.scores(array(TEXTS), every)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", ["tree", "pruned", "ova", "softmax-wide"])
@given(text=st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_text_is_judged_as_by_the_package(variant: str, make: Callable[[str], Path], text: str) -> None:
    path = str(make(variant))
    own, package = fasttext_model.load(path), fasttext_model.PackageModel(path)
    label, score = own.best(array([text]))
    expected_label, expected_score = package.best(array([text]))
    assert label.tolist() == expected_label.tolist()
    assert abs(float(score[0]) - float(expected_score[0])) <= 1e-6


def test_the_package_itself_is_asked_through_its_public_predict(make: Callable[[str], Path]) -> None:
    path = str(make("tree"))
    public = fasttext.load_model(path)
    own = fasttext_model.load(path)
    label, score = own.best(array(TEXTS))
    for i, text in enumerate(TEXTS):
        names, values = public.predict([fasttext_model.clean(text)])
        assert own.labels[label[i]] == names[0][0]
        assert abs(score[i] - min(float(values[0][0]), 1.0)) <= 1e-6


@pytest.mark.parametrize(
    "text", ["abc\x08def g", "a\x7fb", "\x07 abc", "a\x00b c", "abc \x1f def", "a\x0bb\x0cc\rd\te"]
)
def test_control_characters_stand_in_words_as_in_the_package(make: Callable[[str], Path], text: str) -> None:
    path = str(make("plain"))
    [names], [values] = fasttext.load_model(path).predict([text])
    label, score = fasttext_model.load(path).best(array([text]))
    assert fasttext_model.load(path).labels[label[0]] == names[0]
    assert abs(score[0] - min(float(values[0]), 1.0)) <= 1e-6


def test_a_text_is_cut_after_max_chars_characters(make: Callable[[str], Path]) -> None:
    own = fasttext_model.load(str(make("tree")))
    texts = ["漢字 abc àéî" * 30, "abcdef" * 50, "short"]
    for limit in (1, 7, 100):
        cut = own.best(array([text[:limit] for text in texts]))
        np.testing.assert_array_equal(own.best(array(texts), limit)[0], cut[0])
        np.testing.assert_array_equal(own.best(array(texts), limit)[1], cut[1])


def test_slices_and_empty_arrays_are_read_where_they_lie(make: Callable[[str], Path]) -> None:
    own = fasttext_model.load(str(make("softmax")))
    whole = own.best(array(TEXTS))
    part = own.best(array(TEXTS).slice(7, 20))
    np.testing.assert_array_equal(part[0], whole[0][7:27])
    np.testing.assert_array_equal(part[1], whole[1][7:27])
    assert own.best(array([]))[0].shape == (0,)
    assert own.scores(array([]), [0, 1]).shape == (0, 2)


def test_equal_scores_are_decided_as_by_the_package(tmp_path: Path) -> None:
    text = tmp_path / "ties.txt"
    text.write_text("\n".join(f"__label__l{i} same words" for i in range(8)) + "\n")
    for loss in ("softmax", "hs", "ova"):
        model = fasttext.train_supervised(
            str(text), loss=loss, dim=4, epoch=1, lr=0.0, bucket=10, thread=1, verbose=0, minCount=1
        )
        path = str(tmp_path / f"{loss}.bin")
        model.save_model(path)
        own, package = fasttext_model.load(path), fasttext_model.PackageModel(path)
        assert (
            own.best(array(["same words", "same"]))[0].tolist()
            == package.best(array(["same words", "same"]))[0].tolist()
        )


def test_documents_beyond_the_short_way_keep_their_scores(make: Callable[[str], Path]) -> None:
    path = str(make("softmax-wide"))
    words = [line.split(" ", 1)[1] for line in sentences(3000, 2, seed=5)]
    texts = [" ".join(words[:n]) for n in (60, 90, 120, 1000, 3000)]  # from about 1,500 to 100,000 features
    own, package = fasttext_model.load(path), fasttext_model.PackageModel(path)
    found, expected = own.scores(array(texts), [0, 1], 10**6), package.scores(array(texts), [0, 1], 10**6)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_a_model_is_loaded_once_until_its_file_changes(make: Callable[[str], Path]) -> None:
    path = make("plain")
    first = fasttext_model.load(str(path))
    assert fasttext_model.load(str(path)) is first
    path.write_bytes(path.read_bytes() + b" ")
    assert fasttext_model.load(str(path)) is not first


def test_what_is_too_large_to_expand_is_left_to_the_package(
    make: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = make("quantised")
    expected = fasttext_model.load(str(path)).best(array(TEXTS))
    monkeypatch.setattr(format, "LARGEST_EXPANDED", 100)
    path.write_bytes(path.read_bytes() + b" ")  # another stamp, so that it is loaded again
    again = fasttext_model.load(str(path))
    assert isinstance(again, fasttext_model.PackageModel)
    assert "is too large to expand" in caplog.text
    np.testing.assert_array_equal(again.best(array(TEXTS))[0], expected[0])


@pytest.mark.parametrize(
    ("place", "value"), [(4, 10), (4, 13), (32, 9), (36, 1)], ids=["old", "new", "loss", "vectors"]
)
def test_what_the_reader_does_not_know_is_refused_and_not_given_to_the_package(
    make: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int, value: int
) -> None:
    monkeypatch.setattr(fasttext_model, "PackageModel", lambda path: pytest.fail("the package would be asked"))
    data = bytearray(make("plain").read_bytes())
    struct.pack_into("<i", data, place, value)
    (tmp_path / "x.bin").write_bytes(data)
    with pytest.raises(RecipeError, match=r"x\.bin"):
        fasttext_model.load(str(tmp_path / "x.bin"))


def test_a_file_that_is_no_classifier_is_refused_with_its_path(tmp_path: Path) -> None:
    for name, content in (("empty.bin", b""), ("text.bin", b"not a model at all" * 50)):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(RecipeError, match=name):
            fasttext_model.load(str(path))


def test_word_vectors_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("some words here\n" * 40)
    model = fasttext.train_unsupervised(str(text), dim=4, bucket=100, thread=1, verbose=0, minCount=1)
    model.save_model(str(tmp_path / "vectors.bin"))
    with pytest.raises(RecipeError, match="word vectors"):
        fasttext_model.load(str(tmp_path / "vectors.bin"))


@given(h=st.integers(0, 2**64 - 1), bucket=st.integers(1, 2**31 - 1))
@settings(max_examples=300, deadline=None)
def test_a_bucket_is_the_remainder_of_the_hash(h: int, bucket: int) -> None:
    sizes = format.sizes(minn=0, maxn=0, bucket=bucket, word_ngrams=1, words=0, kept=None)
    assert subwords.bucket_of(sizes, np.uint64(h)) == h % bucket


@given(
    h=st.integers(0, 2**32 - 1), bucket=st.one_of(st.integers(1, 2**31 - 1), st.integers(0, 30).map(lambda n: 1 << n))
)
@settings(max_examples=300, deadline=None)
def test_buckets_of_short_hashes_are_remainders_too(h: int, bucket: int) -> None:
    sizes = format.sizes(minn=0, maxn=0, bucket=bucket, word_ngrams=1, words=0, kept=None)
    product = h * int(sizes.factor)
    assert product < 2**64  # the kernel multiplies in 64 bits
    assert h // bucket - (product >> int(sizes.shift)) in (0, 1)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.binary(max_size=9), st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 255))), st.data()
)
def test_a_short_dictionary_is_read_as_a_long_one(entries: list[tuple[bytes, int, int]], data: st.DataObject) -> None:
    whole = b"".join(word.replace(b"\0", b"") + struct.pack("<bqB", 0, n, kind) for word, n, kind in entries) + b"more"
    cut = data.draw(st.integers(0, len(whole)))
    text = np.frombuffer(whole, np.uint8)[:cut]
    short, long = (parse(text, len(entries)) for parse in (format._parse_few, features.parse_entries))
    assert short[-1] == long[-1]
    if short[-1] >= 0:
        assert all(np.array_equal(a, b) for a, b in zip(short[:4], long[:4], strict=True))


def test_the_published_model_answers_as_by_the_package() -> None:
    try:
        path = models.resolve("fasttext:lid.176.ftz")
    except RecipeError:
        pytest.skip("lid.176.ftz is not on this machine")
    own, package = fasttext_model.load(path), fasttext_model.PackageModel(path)
    texts = array([*TEXTS, "This is plainly English.", "Das ist Deutsch.", "これは日本語です。", "Ceci est français."])
    label, score = own.best(texts)
    expected_label, expected_score = package.best(texts)
    np.testing.assert_array_equal(label, expected_label)
    np.testing.assert_allclose(score, expected_score, rtol=0, atol=1e-6)
