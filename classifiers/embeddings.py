"""Sentence embeddings by spec: `onnx:FOLDER` and `sentence-transformers:PATH_OR_ID`.

Guarantees: one vector per text, in order; a model is loaded once per process; `digest_of` answers without
loading it. Texts are batched only with texts of equally many tokens, so no padding touches a result, and a
model that quantises its activations at run time sees one text at a time, since its scale spans the batch.
Holds the model and one batch of tokens. An existing column (`column:NAME`) is no model; the stage reads it.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from classifiers import model_files, models
from classifiers.loaded_once import loaded_once
from cluster.device import backend, kernel_times, turns
from cluster.device.halving import in_parts
from cluster.device.placement import device_number, torch_device, visible_devices
from cluster.errors import BackendError, RecipeError

F32 = npt.NDArray[np.float32]
KINDS = ("onnx", "sentence-transformers")
TOKENS_PER_BATCH = 8_192
CHARS_PER_TOKEN = 32  # a text is cut to so many characters for each token that the model sees
CUDA = "CUDAExecutionProvider"
DYNAMIC = b"DynamicQuantizeLinear"  # operator whose scale depends on the whole batch


class Embedder(Protocol):
    """A loaded model."""

    def embed(self, texts: pa.Array) -> F32:
        """Return one vector per text of a large_string array without nulls, (texts, dimensions)."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an embedding depends on besides the text."""

    spec: str
    max_tokens: int = 256


def split_spec(spec: str) -> tuple[str, str]:
    """Return (kind, name) of a model spec; raise RecipeError when it is none."""
    kind, _, name = spec.partition(":")
    if kind not in KINDS or not name:
        raise RecipeError(f"model must be onnx:FOLDER, sentence-transformers:PATH_OR_ID or column:NAME, got {spec!r}.")
    return kind, name


def digest_of(spec: str) -> str:
    """Return what changes whenever the embeddings of a model may change."""
    kind, name = split_spec(spec)
    if kind == "onnx":
        return models.file_digest(_folder(name))
    from classifiers.hf_model import digest_of_model

    return digest_of_model(os.path.expanduser(name))


def load(settings: Settings) -> Embedder:
    """Return the embedder of a spec, loaded once per process as long as its files stay the same.

    Raises
    ------
    RecipeError
        when the spec or the model's folder is wrong.
    BackendError
        when an extra is missing.
    """
    kind, name = split_spec(settings.spec)
    path = _folder(name) if kind == "onnx" else os.path.expanduser(name)
    return _load(settings, path, models.stamp(path))


@loaded_once(2)
def _load(settings: Settings, path: str, stamp: tuple[int, int]) -> Embedder:
    if split_spec(settings.spec)[0] == "onnx":
        return OnnxEmbedder(path, settings.max_tokens)
    return SentenceTransformersEmbedder(path, settings.max_tokens)


def folder_of(spec: str) -> str:
    """Return the folder of an ONNX model by its spec."""
    return _folder(split_spec(spec)[1])


def _folder(name: str) -> str:
    """Return the folder of an ONNX model; the folder of a path that names the model file itself."""
    path = models.resolve(name)
    return path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path))


def _whole(path: Path, load: Callable[[str], Any]) -> Any:
    """Return what `load` makes of a file. Raises RecipeError where it is cut short or corrupt."""
    try:
        return load(str(path))
    except Exception as error:  # neither package raises anything more special
        raise RecipeError(f"{path} cannot be loaded, it is truncated or corrupt ({error}). Get it again.") from error


class OnnxEmbedder:
    """A transformer as ONNX: tokens in, states out, pooled here; or one vector per text, taken as it is.

    The folder holds `model.onnx` (or `onnx/model.onnx`) and `tokenizer.json`. States are averaged over the
    tokens, unless `1_Pooling/config.json` asks for the first token's.
    """

    def __init__(self, folder: str, max_tokens: int) -> None:
        try:
            ort: Any = importlib.import_module("onnxruntime")
            tokenizers: Any = importlib.import_module("tokenizers")
        except ImportError as error:
            raise _missing("onnx", "onnxruntime and tokenizers", "semantic", error) from error
        root = Path(folder)
        model = _file(root, "model.onnx", "onnx/model.onnx")
        model_files.check_onnx(model)
        self._tokenizer: Any = _whole(_file(root, "tokenizer.json"), tokenizers.Tokenizer.from_file)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=max_tokens)
        self._max_chars = CHARS_PER_TOKEN * max_tokens
        options: Any = ort.SessionOptions()
        options.intra_op_num_threads = 1  # workers compute in threads of their own
        options.log_severity_level = 3
        present = ort.get_available_providers()
        providers: list[Any] = ["CPUExecutionProvider"]
        self._device = "cpu"
        if CUDA in present and (count := visible_devices()):
            getattr(ort, "preload_dlls", int)()  # of the CUDA packages beside it; none before 1.21
            self._device = f"cuda:{device_number(count)}"
            providers = [(CUDA, {"device_id": device_number(count)}), *providers]
        self._session: Any = _whole(
            model, lambda path: ort.InferenceSession(path, sess_options=options, providers=providers)
        )
        self._inputs = tuple(i.name for i in self._session.get_inputs())
        self._first_token = _pools_first_token(root)
        self._tokens_per_batch = 1 if DYNAMIC in model.read_bytes() else TOKENS_PER_BATCH

    def embed(self, texts: pa.Array) -> F32:
        cut = pc.utf8_slice_codeunits(texts, 0, self._max_chars).to_pylist()
        tokens = [encoded.ids for encoded in self._tokenizer.encode_batch_fast(cut)]
        found: F32 | None = None
        for rows in equal_batches(np.array([len(ids) for ids in tokens], np.int64), self._tokens_per_batch):
            vectors = self._run(np.array([tokens[i] for i in rows], np.int64))
            if found is None:
                found = np.empty((len(tokens), vectors.shape[1]), np.float32)
            found[rows] = vectors
        return np.empty((0, 0), np.float32) if found is None else found

    def _run(self, ids: npt.NDArray[np.int64]) -> F32:
        """Return the vectors of texts of equally many tokens, (texts, tokens) -> (texts, dimensions)."""
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        with turns.taken_on(self._device), kernel_times.timed(kernel_times.MODEL):
            states: F32 = self._session.run(None, {name: given[name] for name in self._inputs})[0]
        if states.ndim == 2:
            return states
        return states[:, 0] if self._first_token else states.mean(axis=1, dtype=np.float64).astype(np.float32)


class SentenceTransformersEmbedder:
    """A model of the sentence-transformers library (extra `torch`); on a GPU, where torch finds one, in bfloat16."""

    def __init__(self, name: str, max_tokens: int) -> None:
        try:
            library: Any = importlib.import_module("sentence_transformers")
        except ImportError as error:
            raise _missing("sentence-transformers", "sentence-transformers", "torch", error) from error
        backend.ready_for_torch()
        try:
            model_files.check_modules(name)
            torch: Any = importlib.import_module("torch")
            self.device = torch_device(torch)
            with model_files.weights_only():
                self._model: Any = library.SentenceTransformer(name, device=self.device)
            if self.device != "cpu":
                torch.set_float32_matmul_precision("high")  # TF32 for what stays in 32 bits
                self._model = self._model.to(torch.bfloat16)
        except (OSError, ValueError, UnpicklingError) as error:
            raise RecipeError(
                f"model sentence-transformers:{name} cannot be loaded: {error}. Give a model folder or a hub id."
            ) from error
        own = self._model.max_seq_length
        self._model.max_seq_length = max_tokens if own is None else min(int(own), max_tokens)
        self._max_chars = CHARS_PER_TOKEN * max_tokens

    def embed(self, texts: pa.Array) -> F32:
        cut = pc.utf8_slice_codeunits(texts, 0, self._max_chars).to_pylist()
        if not cut:
            return np.empty((0, 0), np.float32)
        return np.concatenate(in_parts(lambda i, j: [self._encode(cut[i:j])], len(cut)))

    def _encode(self, texts: list[str]) -> F32:
        with turns.taken_on(self.device):  # it sorts by length, so that little is padding
            return np.asarray(self._model.encode(texts, show_progress_bar=False, convert_to_numpy=True), np.float32)


def equal_batches(lengths: npt.NDArray[np.int64], tokens: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield rows of equal length, at most `tokens` tokens at a time but at least one row."""
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order]
    start = 0
    while start < len(order):
        same = int(np.searchsorted(ordered, ordered[start], side="right"))
        stop = min(same, start + max(1, tokens // max(1, int(ordered[start]))))
        yield order[start:stop]
        start = stop


def _file(root: Path, *names: str) -> Path:
    for name in names:
        if (root / name).is_file():
            return root / name
    raise RecipeError(f"model onnx:{root} has no {' or '.join(names)}. Export the model as ONNX with its tokenizer.")


def _pools_first_token(root: Path) -> bool:
    config = root / "1_Pooling" / "config.json"
    return config.is_file() and bool(json.loads(config.read_text()).get("pooling_mode_cls_token"))


def _missing(kind: str, package: str, extra: str, error: ImportError) -> BackendError:
    return BackendError(
        f"models {kind}:… need {package}, which cannot be imported ({error}). Install the extra on every worker: "
        f"pip install 'winnow-mix[{extra}]'."
    )
