"""Hugging Face sequence classifiers and regressors from a local folder or a hub id (extra `torch`).

Guarantees: texts are cut after the model's own number of characters and tokens, batched by length so that
little is padding, and answered in their order. On a GPU (of several, that of this process: placement.py) the model
computes in bfloat16, so scores may differ from a CPU's in the third decimal. Threads share the model: while one
computes on the GPU, others tokenise. Holds the model and one batch of tokens for each thread.

Known models (others: 10,000 characters, the tokenizer's longest input up to 1,024 tokens):

- `nvidia/quality-classifier-deberta`: first 6,000 characters, 1,024 tokens, labels High, Medium, Low;
- `HuggingFaceFW/fineweb-edu-classifier`: 512 tokens, one number from 0 to 5, the label is it rounded.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from classifiers import model_files
from classifiers.base import F64, Scores
from classifiers.models import file_digest
from cluster import storage
from cluster.device import backend, kernel_times, turns
from cluster.device.halving import in_parts
from cluster.device.placement import torch_device
from cluster.errors import BackendError, RecipeError

TOKENS_PER_BATCH = 32_768
POSITIVE = ("high", "high_quality", "hq", "positive", "good", "label_1")  # whose probability is the score


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much of a text a model sees."""

    max_chars: int = 10_000
    max_tokens: int = 1_024


KNOWN = {
    "quality-classifier-deberta": Limits(max_chars=6_000, max_tokens=1_024),
    "fineweb-edu-classifier": Limits(max_chars=100_000, max_tokens=512),
}


def digest_of_model(name: str) -> str:
    """Return the sha256 of a local model folder; for a hub id, the id and the cached commit."""
    if os.path.isdir(folder := storage.local_path(name)):
        return file_digest(folder)
    try:
        hub: Any = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise _missing("huggingface_hub", error) from error
    cached = hub.try_to_load_from_cache(name, "config.json")
    if isinstance(cached, str):  # …/snapshots/COMMIT/config.json
        return f"{name}@{os.path.basename(os.path.dirname(cached))}"
    if hub.constants.HF_HUB_OFFLINE:
        raise RecipeError(f"model hf:{name} is neither a folder nor in the hub's cache, and HF_HUB_OFFLINE is set.")
    return f"{name}@{hub.HfApi().model_info(name).sha}"


class HuggingFaceClassifier:
    """A sequence classifier (score: probability of the positive label) or regressor (score: its output)."""

    def __init__(self, name: str, *, max_chars: int | None = None, positive_label: str = "", device: str = "") -> None:
        try:
            import torch
            from transformers import AutoConfig, AutoTokenizer
        except ImportError as error:
            raise _missing("torch and transformers", error) from error
        backend.ready_for_torch()
        self.name = name
        self._torch: Any = torch
        limits = KNOWN.get(os.path.basename(name.rstrip("/")), Limits())
        self.max_chars = max_chars or limits.max_chars
        self.device = device or torch_device(torch)
        try:
            folder = storage.local_path(name)
            place = folder if os.path.isdir(folder) else name
            config = AutoConfig.from_pretrained(place)
            self._tokenizer: Any = AutoTokenizer.from_pretrained(place)
            with model_files.weights_only():
                model = _load_model(place, config)
            self._model: Any = model.eval().to(self.device, self._dtype())
        except (OSError, ValueError, UnpicklingError) as error:  # the latter two: code, or more than weights, in it
            raise RecipeError(f"model hf:{name} cannot be loaded: {error}. Give a model folder or a hub id.") from error
        self.max_tokens = min(limits.max_tokens, int(self._tokenizer.model_max_length))
        self.labels, self._regression = _labels(config)
        self._positive = 0 if self._regression else _positive(self.labels, positive_label, name)

    def _dtype(self) -> Any:
        return self._torch.bfloat16 if self.device.startswith("cuda") else self._torch.float32

    def score(self, texts: pa.Array) -> Scores:
        if not len(texts):
            return Scores.none(0)
        cut = pc.utf8_slice_codeunits(texts, 0, self.max_chars).to_pylist()
        encoded = self._tokenizer(cut, truncation=True, max_length=self.max_tokens)["input_ids"]
        lengths = np.array([len(ids) for ids in encoded])
        logits = np.empty((len(cut), 1 if self._regression else len(self.labels)))
        for rows in batches(lengths):
            ids = [encoded[i] for i in rows]
            logits[rows] = np.concatenate(in_parts(functools.partial(self._part, ids), len(ids)))
        return self._judged(logits)

    def _part(self, ids: list[list[int]], start: int, stop: int) -> list[F64]:
        return [self._logits(ids[start:stop])]

    def _logits(self, ids: list[list[int]]) -> F64:
        batch = self._tokenizer.pad({"input_ids": ids}, return_tensors="pt")
        timed = kernel_times.timed(kernel_times.MODEL)
        with turns.taken_on(self.device), self._torch.inference_mode(), timed:
            out = self._model(**batch.to(self.device))
            values: F64 = (out if self._torch.is_tensor(out) else out.logits).float().cpu().numpy().astype(np.float64)
        return values.reshape(len(ids), -1)

    def _judged(self, logits: F64) -> Scores:
        if self._regression:
            value = logits[:, 0]
            label = np.clip(np.round(value), 0, len(self.labels) - 1).astype(np.int32)
            return Scores(value, label)
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        probability = shifted / shifted.sum(axis=1, keepdims=True)
        return Scores(probability[:, self._positive], probability.argmax(axis=1).astype(np.int32))

    def card(self) -> dict[str, str]:
        return {"digest": digest_of_model(self.name), "licence": "", "source": self.name}


def _labels(config: Any) -> tuple[tuple[str, ...], bool]:
    """Return (labels, whether one number is predicted); a regressor's labels are 0 to 5."""
    names = getattr(config, "id2label", None) or {}
    labels = tuple(names[i] for i in sorted(names, key=int))
    if getattr(config, "num_labels", len(labels)) == 1 or len(labels) == 1:
        return tuple(str(i) for i in range(6)), True
    return labels, False


def _positive(labels: tuple[str, ...], wanted: str, name: str) -> int:
    lower = [label.lower() for label in labels]
    for word in (wanted.lower(),) if wanted else POSITIVE:
        if word in lower:
            return lower.index(word)
    if wanted:
        raise RecipeError(f"model hf:{name} has no label {wanted!r}; its labels are {', '.join(labels)}. Correct it.")
    return 0


def batches(lengths: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the rows of batches of similar length, the longest first; a batch has at most 32,768 tokens."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, TOKENS_PER_BATCH // max(int(lengths[order[start]]), 1))
        yield order[start : start + size]
        start += size


def _load_model(name: str, config: Any) -> Any:
    """Load a sequence classifier, or the DeBERTa quality classifier's layout: backbone, dropout, linear."""
    from transformers import AutoModelForSequenceClassification

    if getattr(config, "base_model", None) and getattr(config, "fc_dropout", None) is not None:
        return _backbone_with_head(name, config)
    return AutoModelForSequenceClassification.from_pretrained(name)


def _backbone_with_head(name: str, config: Any) -> Any:
    """Return `fc(dropout(backbone(x).last_hidden_state))` at the first token, with the weights at `name`."""
    import torch
    from transformers import AutoConfig, AutoModel

    mixin: Any = importlib.import_module("huggingface_hub").PyTorchModelHubMixin

    class Backbone(torch.nn.Module, mixin):  # type: ignore[misc]  # torch has no types here
        def __init__(self, config: dict[str, Any]) -> None:
            super().__init__()
            base = config["base_model"]
            self.model = AutoModel.from_config(AutoConfig.from_pretrained(base))
            self.dropout = torch.nn.Dropout(config["fc_dropout"])
            self.fc = torch.nn.Linear(self.model.config.hidden_size, len(config["id2label"]))

        def forward(self, input_ids: Any, attention_mask: Any, **_: Any) -> Any:
            features = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            return self.fc(self.dropout(features))[:, 0, :]

    plain = {"base_model": config.base_model, "fc_dropout": config.fc_dropout, "id2label": config.id2label}
    return Backbone.from_pretrained(name, config=plain)


def _missing(package: str, error: ImportError) -> BackendError:
    return BackendError(
        f"models hf:… need {package}, which cannot be imported ({error}). Install the extra on every worker: "
        "pip install 'winnow-mix[torch]'."
    )
