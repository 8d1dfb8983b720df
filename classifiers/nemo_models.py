"""NeMo Curator's own classifiers behind the `Classifier` protocol (extra `nemo`).

Guarantees: NeMo Curator is imported only when such a model is asked for. Its classifiers need a GPU and
weights that it downloads itself; one batch of texts goes through its stages in memory.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
from typing import Any

import numpy as np
import pyarrow as pa

from classifiers.base import Scores
from cluster.device import backend, turns
from cluster.errors import BackendError, RecipeError

MODULE = "nemo_curator.stages.text.classifiers"
LABEL, SCORE = "winnow_label", "winnow_score"  # columns that the classifier is told to write
POSITIVE = "high"  # in lower case; the first label where there is none


def digest_of_nemo(name: str) -> str:
    """Return the classifier's name with the version of NeMo Curator that is installed."""
    try:
        return f"{name}@{importlib.metadata.version('nemo-curator')}"
    except importlib.metadata.PackageNotFoundError as error:
        raise _missing(name, error) from error


def _missing(name: str, error: ImportError) -> BackendError:
    return BackendError(
        f"model nemo:{name} needs NeMo Curator, which cannot be imported ({error}). Install the extra on "
        "every GPU worker: pip install 'winnow-mix[nemo]'."
    )


class NemoClassifier:
    """A classifier class of NeMo Curator, such as `nemo:QualityClassifier` or `nemo:FineWebEduClassifier`.

    The score is the probability of the label High (else of the first), or a regressor's number.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            module = importlib.import_module(MODULE)
            self._batch: Any = importlib.import_module("nemo_curator.tasks").DocumentBatch
        except ImportError as error:
            raise _missing(name, error) from error
        backend.ready_for_torch()
        kind = getattr(module, name, None)
        if kind is None:
            known = ", ".join(sorted(n for n in {*dir(module), *module.__all__} if n.endswith("Classifier")))
            raise RecipeError(f"NeMo Curator has no classifier {name!r}; it has {known}.")
        self._regression = "float_score_field" in inspect.signature(kind).parameters
        field = "float_score_field" if self._regression else "score_field"
        self._stages: list[Any] = list(kind(label_field=LABEL, **{field: SCORE}).decompose())
        try:
            for stage in self._stages:
                stage.setup(None)
        except OSError as error:
            raise RecipeError(
                f"model nemo:{name} cannot be loaded: {error}. Let every worker reach the hub, or fill the "
                "hub's cache first."
            ) from error
        self.labels: tuple[str, ...] = tuple(getattr(self._stages[1], "labels", ()))

    def score(self, texts: pa.Array) -> Scores:
        if not len(texts):
            return Scores.none(0)
        batch = self._batch(task_id="0", dataset_name="winnow", data=pa.table({"text": texts}).to_pandas())
        with turns.taken():
            for stage in self._stages:
                batch = stage.process(batch)
        return self._judged(batch.to_pandas())

    def _judged(self, frame: Any) -> Scores:
        names = [str(value) for value in frame[LABEL]]
        self.labels += tuple(sorted(set(names) - set(self.labels)))
        label = np.array([self.labels.index(name) for name in names], np.int32)
        if self._regression:
            return Scores(frame[SCORE].to_numpy(np.float64), label)
        lower = [name.lower() for name in self.labels]
        positive = lower.index(POSITIVE) if POSITIVE in lower else 0
        return Scores(np.array([row[positive] for row in frame[SCORE]], np.float64), label)

    def card(self) -> dict[str, str]:
        return {"digest": digest_of_nemo(self.name), "licence": "", "source": f"NeMo Curator {self.name}"}
