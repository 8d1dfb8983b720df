"""Quality models by spec: `fasttext:PATH`, `onnx:FOLDER` (head.py), `hf:PATH_OR_ID`, `nemo:NAME`,
`python:MODULE:NAME`, or the NAME of an installed package's classifier (entry points, installed.py).

Guarantees: a model is loaded once per process; `digest_of` answers without loading it. An existing column
(`column:NAME`) is no model and is handled by the stage.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifiers import fasttext_model, head, installed, models
from classifiers.base import F64, I32, Classifier, Scores
from classifiers.fasttext_model import MAX_CHARS
from classifiers.loaded_once import loaded_once
from classifiers.user_classifier import UserClassifier
from cluster import storage
from cluster.errors import RecipeError

KINDS = ("fasttext", "onnx", "hf", "nemo", "python")
SPECS = (
    "column:NAME, fasttext:PATH, onnx:FOLDER, hf:PATH_OR_ID, nemo:NAME, python:MODULE:NAME or an installed "
    "classifier's NAME"
)
POSITIVE = (
    "hq",
    "high",
    "high_quality",
    "positive",
    "pos",
    "good",
    "1",
    "yes",
)  # without __label__, any case
PREFIX = "__label__"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a loaded quality model depends on."""

    spec: str
    positive_label: str = ""  # fastText: whose probability is the score; empty: the one named like POSITIVE
    best_label: bool = False  # fastText: the score is the probability of the label that is named
    max_chars: int | None = None  # None: the model's own cut


def split_spec(spec: str) -> tuple[str, str]:
    """Return (kind, name) of a model spec; an installed package's classifier is of kind python.

    Raises
    ------
    RecipeError
        when it is no spec, or the package that offers it says something wrong about it.
    """
    kind, colon, name = spec.partition(":")
    if kind in KINDS and name:
        return kind, name
    offers = installed.offers(installed.CLASSIFIERS) if not colon else installed.Offers()
    offer = offers.named(spec, ("column", *KINDS), "classifier")
    if offer is None:
        rest = "".join(f" Besides, {sentence}" for sentence in offers.unreadable)
        raise RecipeError(f"model must be {SPECS}, got {spec!r}.{rest}")
    return "python", offer.path


def spec_of(model: str) -> str:
    """Return the spec of what a command is given: a spec, an installed classifier's name, or a fastText file."""
    named = model in installed.offers(installed.CLASSIFIERS).by_name and not storage.exists(model)
    return model if named or model.partition(":")[0] in KINDS else f"fasttext:{model}"


def load(settings: Settings) -> Classifier:
    """Return the classifier of a spec, loaded once per process as long as its files stay the same.

    Raises
    ------
    RecipeError
        when the spec or the file is wrong.
    BackendError
        when an extra is missing.
    """
    kind, name = split_spec(settings.spec)
    path = models.resolve(settings.spec) if kind == "fasttext" else name
    if kind == "onnx":
        path = os.path.join(models.resolve(name), head.HEAD)
    return _load(settings, models.stamp(path) if kind in ("fasttext", "onnx", "hf") else (0, 0))


@loaded_once(4)
def _load(settings: Settings, stamp: tuple[int, int]) -> Classifier:
    kind, name = split_spec(settings.spec)
    if kind == "fasttext":
        return FastTextQuality(settings)
    if kind == "onnx":
        return head.HeadClassifier(name)
    if kind == "python":
        return UserClassifier(name)
    if kind == "nemo":
        from classifiers.nemo_models import NemoClassifier

        return NemoClassifier(name)
    from classifiers.hf_model import HuggingFaceClassifier

    return HuggingFaceClassifier(name, max_chars=settings.max_chars, positive_label=settings.positive_label)


def digest_of(spec: str) -> str:
    """Return what changes whenever the scores of a model may change."""
    kind, name = split_spec(spec)
    if kind == "fasttext":
        return models.file_digest(models.resolve(spec))
    if kind == "onnx":
        return head.digest_of(name)
    if kind == "python":
        return load(Settings(spec=spec)).card()["digest"]
    if kind == "nemo":
        from classifiers.nemo_models import digest_of_nemo

        return digest_of_nemo(name)
    from classifiers.hf_model import digest_of_model

    return digest_of_model(name)


class FastTextQuality:
    """A fastText classifier; the score is the probability of the positive label.

    Where more than two labels are all numbers, as those of a model trained on scores, it is their expected value.
    Scores are those of the fasttext package, clipped to 1; NaN for a text without a known word.
    """

    def __init__(self, settings: Settings) -> None:
        self.path = models.resolve(settings.spec)
        self.max_chars = settings.max_chars or MAX_CHARS
        self._model = fasttext_model.load(self.path)
        numbers = None if settings.positive_label or settings.best_label else values_of(self.labels)
        self._values = numbers
        self._best = settings.best_label
        known = numbers is not None or self._best
        self.positive = 0 if known else find_label(self._model.labels, settings.positive_label, self.path)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(label.removeprefix(PREFIX) for label in self._model.labels)

    def score(self, texts: pa.Array) -> Scores:
        every = self._model.scores(texts, range(len(self._model.labels)), self.max_chars)
        known = every.any(axis=1)
        last = every.shape[1] - 1 - every[:, ::-1].argmax(axis=1)  # of equal scores the package names the last label
        label: I32 = np.where(known, last, -1).astype(np.int32)
        return Scores(np.where(known, self._scores(every), np.nan).astype(np.float64), label)

    def _scores(self, every: npt.NDArray[np.float32]) -> F64:
        """Return the score of each text, of the probabilities of all labels, (texts, labels)."""
        if self._best:
            found: F64 = every.max(axis=1).astype(np.float64)
        elif self._values is None:
            found = every[:, self.positive].astype(np.float64)
        else:
            weights = every.astype(np.float64)
            found = weights @ self._values / np.maximum(weights.sum(axis=1), 1e-12)
        return found

    def card(self) -> dict[str, str]:
        return fasttext_model.card(self.path)


def values_of(labels: tuple[str, ...]) -> F64 | None:
    """Return the numbers that more than two labels all are, else None.

    >>> values_of(("0", "2", "5"))
    array([0., 2., 5.])
    """
    try:
        found = np.array([float(label) for label in labels], np.float64)
    except ValueError:
        return None
    return found if len(found) > 2 and np.isfinite(found).all() else None


def find_label(labels: tuple[str, ...], wanted: str, path: str) -> int:
    """Return the index of the positive label.

    Raises
    ------
    RecipeError
        when the label is not there, or none was named and not exactly one looks positive.
    """
    names = [label.removeprefix(PREFIX) for label in labels]
    if wanted.removeprefix(PREFIX) in names:
        return names.index(wanted.removeprefix(PREFIX))
    lower = [name.lower() for name in names]
    found = [word for word in POSITIVE if word in lower]
    if wanted or not found:
        what = f"has no label {wanted!r}" if wanted else "has no label that looks positive"
        raise RecipeError(
            f"{path} {what}; its labels are {', '.join(names[:20])}. Set positive_label to the one whose "
            "probability is the quality score."
        )
    return lower.index(found[0])
