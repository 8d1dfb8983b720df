"""A logistic regression on embeddings: `onnx:FOLDER`, an ONNX embedding model with the file head.json beside it.

FineWeb-Edu's classifier is of this kind. Guarantees: scores depend on the text alone, see embeddings.py; a head that
does not fit its model is refused.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from classifiers import embeddings, model_files, models
from classifiers.base import F64, Scores
from cluster import storage
from cluster.errors import BackendError, RecipeError

HEAD = "head.json"
LABELS = ("cc", "hq")
KEYS = ("weights", "bias", "max_tokens")


class HeadClassifier:
    """An embedding model with a head; the score is the probability that a text is good."""

    labels = LABELS

    def __init__(self, folder: str) -> None:
        self.folder = models.resolve(folder)
        self._head = _read(self.folder)
        settings = embeddings.Settings(spec=f"onnx:{self.folder}", max_tokens=self._head["max_tokens"])
        self._embedder = embeddings.load(settings)

    def score(self, texts: pa.Array) -> Scores:
        if not len(texts):
            return Scores.none(0)
        value = probabilities(unit(self._embedder.embed(texts)), self._head["weights"], self._head["bias"])
        return Scores(value, (value >= 0.5).astype(np.int32))

    def card(self) -> dict[str, str]:
        return {"digest": digest_of(self.folder), "licence": "", "source": self.folder}


def unit(vectors: Any) -> F64:
    """Return vectors of length 1, (texts, dimensions) float64."""
    found = np.asarray(vectors, np.float64)
    lengths: F64 = np.sqrt((found * found).sum(axis=1, keepdims=True))
    return found / np.maximum(lengths, 1e-12)


def probabilities(vectors: F64, weights: F64, bias: float) -> F64:
    """Return the probability of each vector, (texts,)."""
    if vectors.shape[1] != len(weights):
        raise RecipeError(f"{HEAD} has {len(weights)} weights, the embedding model gives {vectors.shape[1]} numbers.")
    found: F64 = 1 / (1 + np.exp(-np.clip((vectors * weights).sum(axis=1) + bias, -60, 60)))
    return found


def digest_of(folder: str) -> str:
    """Return what changes whenever scores may change: of the model's files and the head."""
    path = models.resolve(folder)
    head = hashlib.sha256((Path(path) / HEAD).read_bytes()).hexdigest()
    return hashlib.sha256(f"{embeddings.digest_of(f'onnx:{path}')} {head}".encode()).hexdigest()


def _read(folder: str) -> dict[str, Any]:
    path = Path(folder) / HEAD
    try:
        found = json.loads(path.read_text())
        head: dict[str, Any] = {
            "weights": np.asarray(found["weights"], np.float64),
            "bias": float(found["bias"]),
            "max_tokens": int(found["max_tokens"]),
        }
    except FileNotFoundError:
        raise RecipeError(
            f"model onnx:{folder} has no {HEAD}. Make such a folder by winnow classifier distil --to onnx."
        ) from None
    except (ValueError, KeyError, TypeError):
        raise RecipeError(f"{path} is not a head: a JSON object with {', '.join(KEYS)} was expected.") from None
    if head["weights"].ndim != 1 or not np.isfinite(head["weights"]).all() or head["max_tokens"] < 1:
        raise RecipeError(f"{path} is not a head: weights must be a list of finite numbers.")
    return head


def fit(vectors: F64, good: Any, seed: int) -> tuple[F64, float]:
    """Return weights and bias of a logistic regression whose classes count alike. Raises BackendError."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise BackendError(
            f"a head is fitted by scikit-learn, which cannot be imported ({error}). Install the extra: pip install "
            "'winnow-mix[semantic]'."
        ) from error
    model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000, random_state=seed)
    model.fit(vectors, good)
    return np.asarray(model.coef_[0], np.float64), float(model.intercept_[0])


def write(out: str, source: str, weights: F64, bias: float, max_tokens: int) -> None:
    """Write a folder: the files of an embedding model and the head."""
    files = (Path(source) / "model.onnx", Path(source) / "onnx" / "model.onnx")
    model_files.check_onnx(next(path for path in files if path.is_file()))
    target = Path(out)
    if target.resolve() != Path(source).resolve():
        shutil.copytree(source, target, dirs_exist_ok=True)
    head = {"weights": [float(w) for w in weights], "bias": bias, "max_tokens": max_tokens}
    storage.write_bytes(str(target / HEAD), (json.dumps(head) + "\n").encode())
