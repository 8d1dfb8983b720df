"""Embedding models: a small real one where it can be had, and what is said about bad specs."""

from __future__ import annotations

import shutil
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from classifiers import embeddings
from classifiers.embeddings import Settings, digest_of, equal_batches, load, split_spec
from cluster.device import placement
from cluster.errors import BackendError, RecipeError
from tests.support.embedding_models import minilm

TEXTS = ["A man plays a guitar on stage.", "On the stage, a man is playing a guitar.", "The bread is in the oven.", "x"]


@pytest.fixture(scope="module")
def model() -> Path:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tokenizers")
    folder, problem = minilm()
    if problem:
        pytest.skip(f"the embedding model cannot be fetched: {problem}")
    return folder


def embed(spec: str, texts: list[str], **more: Any) -> Any:
    return load(Settings(spec=spec, **more)).embed(pa.array(texts, pa.large_string()))


def cosines(vectors: Any) -> Any:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit @ unit.T


def test_a_paraphrase_is_closer_than_another_sentence(model: Path) -> None:
    found = cosines(embed(f"onnx:{model}", TEXTS))
    assert found[0, 1] > 0.9
    assert found[0, 2] < 0.4


def test_a_vector_does_not_depend_on_the_other_texts(model: Path) -> None:
    texts = [*TEXTS, "A longer sentence, which has a good many more tokens than all the others do.", *TEXTS[::-1]]
    together = embed(f"onnx:{model}", texts)
    alone = np.concatenate([embed(f"onnx:{model}", [text]) for text in texts])
    assert np.abs(together - alone).max() < 1e-6


def test_only_the_first_tokens_count(model: Path) -> None:
    words = " ".join(["bread"] * 40)
    cut = embed(f"onnx:{model}", [words, words + " guitar stage music"], max_tokens=16)
    assert np.array_equal(cut[0], cut[1])


def test_no_texts_give_no_vectors(model: Path) -> None:
    assert len(embed(f"onnx:{model}", [])) == 0


def test_the_digest_changes_with_the_model(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    copy.mkdir()
    (copy / "model.onnx").write_bytes(b"model")
    before = digest_of(f"onnx:{copy}")
    assert digest_of(f"onnx:{copy}") == before
    shutil.copy(model / "tokenizer.json", copy)
    assert digest_of(f"onnx:{copy}") != before


def test_an_incomplete_folder_is_named(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tokenizers")
    with pytest.raises(RecipeError, match=r"model\.onnx"):
        load(Settings(spec=f"onnx:{tmp_path}"))


@pytest.mark.parametrize("spec", ["", "onnx:", "bert:x", "model.onnx"])
def test_bad_specs_are_refused(spec: str) -> None:
    with pytest.raises(RecipeError, match="onnx:FOLDER"):
        split_spec(spec)


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError, match=r"winnow-mix\[semantic\]"):
        embeddings.OnnxEmbedder(str(tmp_path), 256)


class Stub:
    """Stands in for a sentence-transformers model: the vector is the text's length and a one."""

    dtype: Any = "float32"

    def __init__(self, name: str, device: str) -> None:
        self.name, self.device, self.max_seq_length = name, device, 512

    def to(self, dtype: Any) -> Stub:
        self.dtype = dtype
        return self

    def encode(self, texts: list[str], show_progress_bar: bool, convert_to_numpy: bool) -> Any:
        return np.array([[len(text), 1.0] for text in texts])


def stand_ins(monkeypatch: pytest.MonkeyPatch, model: type[Stub], gpus: int = 0) -> list[str]:
    """Let a model stand in for sentence-transformers, and torch see so many GPUs; return what torch is told."""
    told: list[str] = []
    library, torch = types.ModuleType("sentence_transformers"), types.ModuleType("torch")
    library.SentenceTransformer = model  # type: ignore[attr-defined]
    torch.cuda = types.SimpleNamespace(is_available=lambda: gpus > 0, device_count=lambda: gpus)  # type: ignore[attr-defined]
    torch.bfloat16, torch.set_float32_matmul_precision = "bfloat16", told.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    monkeypatch.setitem(sys.modules, "torch", torch)
    return told


def test_sentence_transformers_are_asked_for_vectors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_ins(monkeypatch, Stub)
    model: Any = load(Settings(spec=f"sentence-transformers:{tmp_path}", max_tokens=10))
    assert model.embed(pa.array(["abc", "y" * 1000], pa.large_string())).tolist() == [[3, 1], [320, 1]]
    assert model._model.max_seq_length == 10
    assert (model._model.device, model._model.dtype) == ("cpu", "float32")


def test_on_a_gpu_they_compute_in_bfloat16_on_the_device_of_this_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = stand_ins(monkeypatch, Stub, gpus=4)
    monkeypatch.setattr(placement, "local_rank", lambda: 6)
    model: Any = load(Settings(spec=f"sentence-transformers:{tmp_path}", max_tokens=12))
    assert (model._model.device, model._model.dtype, told) == ("cuda:2", "bfloat16", ["high"])
    assert model.embed(pa.array(["abc"], pa.large_string())).tolist() == [[3, 1]]


def test_threads_that_ask_for_a_model_at_once_load_it_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[str] = []
    started = threading.Event()

    class Slow(Stub):
        def __init__(self, name: str, device: str) -> None:
            made.append(name)
            started.wait(1)  # time for the others to ask
            super().__init__(name, device)

    stand_ins(monkeypatch, Slow)
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(load, Settings(spec=f"sentence-transformers:{tmp_path}", max_tokens=13)) for _ in range(3)]
        assert len({id(each.result()) for each in asked}) == len(made) == 1


def test_texts_that_do_not_fit_the_device_together_are_embedded_one_by_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Small(Stub):
        def encode(self, texts: list[str], **more: Any) -> Any:
            if len(texts) > 1:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return super().encode(texts, **more)

    stand_ins(monkeypatch, Small)
    model: Any = load(Settings(spec=f"sentence-transformers:{tmp_path}", max_tokens=11))
    assert model.embed(pa.array(["a", "bcd", "ef"], pa.large_string())).tolist() == [[1, 1], [3, 1], [2, 1]]
    assert "3 rows are halved" in caplog.text


def test_batches_hold_texts_of_one_length() -> None:
    lengths = np.array([3, 5, 3, 5, 3, 900], np.int64)
    batches = [rows.tolist() for rows in equal_batches(lengths, 7)]
    assert batches == [[0, 2], [4], [1], [3], [5]]
