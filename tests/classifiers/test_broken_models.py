"""A model file that is cut, changed or forged is an error with a sentence, never a crash or an answer."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from classifiers import fasttext_model, model_files, models
from cluster.errors import RecipeError
from tests.support.tiny_fasttext import write_model


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    folder = tmp_path_factory.mktemp("models")
    found: dict[str, bytes] = {}

    def model(variant: str) -> bytes:
        if variant not in found:
            found[variant] = write_model(folder / variant, variant).read_bytes()
        return found[variant]

    return model


def loaded(folder: Path, data: bytes) -> fasttext_model.FastTextModel:
    path = folder / f"model-{abs(hash(data))}.bin"
    path.write_bytes(data)
    return fasttext_model.load(str(path))


@pytest.mark.parametrize("variant", ["plain", "tree", "quantised", "pruned"])
def test_a_model_that_is_cut_anywhere_is_refused(tmp_path: Path, make: Callable[[str], bytes], variant: str) -> None:
    whole = make(variant)
    assert isinstance(loaded(tmp_path, whole), fasttext_model.NativeModel)
    rng = np.random.default_rng(1)
    places = {0, 3, 8, 56, 64, 92, 93, len(whole) - 1, len(whole) - 4, len(whole) // 2}
    for place in sorted(places | set(rng.integers(1, len(whole), 40).tolist())):
        with pytest.raises(RecipeError, match="fastText"):
            loaded(tmp_path, whole[:place])


HEAD = {"dim": 8, "word_ngrams": 28, "bucket": 40, "minn": 44, "maxn": 48}
DICTIONARY = {"size": 64, "words": 68, "labels": 72}


@pytest.mark.parametrize("name", [*HEAD, *DICTIONARY])
@pytest.mark.parametrize("value", [-1, 2**31 - 1, None])
def test_a_number_that_contradicts_the_rest_is_refused(
    tmp_path: Path, make: Callable[[str], bytes], name: str, value: int | None
) -> None:
    data = bytearray(make("plain"))
    place = {**HEAD, **DICTIONARY}[name]
    (present,) = struct.unpack_from("<i", data, place)
    harmless = name in ("word_ngrams", "minn", "maxn") and value is None  # another model, as far as can be told
    struct.pack_into("<i", data, place, present + 1 if value is None else value)
    if harmless:
        loaded(tmp_path, bytes(data))
        return
    with pytest.raises(RecipeError, match="fastText"):
        loaded(tmp_path, bytes(data))


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, make: Callable[[str], bytes]) -> None:
    whole = make("plain")
    for value in (np.nan, np.inf):
        with pytest.raises(RecipeError, match="not finite"):
            loaded(tmp_path, whole[:-4] + struct.pack("<f", value))


def test_a_file_that_calls_itself_a_published_model_has_its_digest(
    tmp_path: Path, make: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_MODELS", str(tmp_path / "kept"))
    (tmp_path / "kept").mkdir()
    for path, spec in (
        (tmp_path / "kept" / "lid.176.ftz", "fasttext:lid.176.ftz"),
        (tmp_path / "lid.176.ftz", f"fasttext:{tmp_path / 'lid.176.ftz'}"),
    ):
        path.write_bytes(make("quantised"))
        with pytest.raises(RecipeError, match="is not the published file"):
            models.resolve(spec)
    (tmp_path / "mine.ftz").write_bytes(make("quantised"))
    assert models.resolve(f"fasttext:{tmp_path / 'mine.ftz'}") == str(tmp_path / "mine.ftz")


def test_a_device_is_no_model() -> None:
    with pytest.raises(RecipeError, match="neither a file nor a folder"):
        models.resolve("fasttext:/dev/zero")


@pytest.mark.parametrize(
    ("place", "fine"),
    [
        ("w.bin", True),
        ("sub/weights.bin", True),
        ("../w", False),
        ("/etc/w", False),
        ("a/../../w", False),
        ("C:\\w", False),
    ],
)
def test_onnx_weights_lie_beside_the_model(tmp_path: Path, place: str, fine: bool) -> None:
    entry = b"\x0a\x08location\x12" + bytes([len(place)]) + place.encode()
    (tmp_path / "model.onnx").write_bytes(b"\x08\x07" + b"x" * 50 + entry + b"y" * 20)
    if fine:
        model_files.check_onnx(tmp_path / "model.onnx")
        return
    with pytest.raises(RecipeError, match="outside its folder"):
        model_files.check_onnx(tmp_path / "model.onnx")


@pytest.mark.parametrize("kind", ["os.system", "custom.Module", "sentence_transformersX.models.Y"])
def test_modules_of_a_sentence_transformer_are_the_librarys_own(tmp_path: Path, kind: str) -> None:
    (tmp_path / "modules.json").write_text('[{"type": "sentence_transformers.models.Transformer", "path": ""}]')
    model_files.check_modules(str(tmp_path))
    (tmp_path / "modules.json").write_text(f'[{{"type": "{kind}", "path": ""}}]')
    with pytest.raises(RecipeError, match="weights only"):
        model_files.check_modules(str(tmp_path))
