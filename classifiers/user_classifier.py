"""A classifier that somebody else wrote, by import path MODULE:NAME.

Guarantees: its answers are checked before they are used: one score and one label per text, of the right kind and in
range. What is wrong with them is a RecipeError that names the classifier and what it must give.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from classifiers.base import Classifier, Scores
from classifiers.user_code import blamed, imported
from cluster.errors import RecipeError


class UserClassifier:
    """A classifier made by calling MODULE:NAME, whose answers are checked."""

    def __init__(self, path: str) -> None:
        self.path = path
        factory = imported(path, "the classifier")
        with blamed(f"calling {path}() without arguments"):
            made = factory()
            if not isinstance(made, Classifier):
                lacking = [name for name in ("labels", "score", "card") if not hasattr(made, name)]
                raise RecipeError(
                    f"{path}() made a {type(made).__name__} without {' and '.join(lacking)}; a classifier has labels, "
                    "score(texts) and card()."
                )
            self._made = made
            self.labels = tuple(str(name) for name in made.labels)

    def score(self, texts: pa.Array) -> Scores:
        with blamed(f"score(texts) of the classifier {self.path}"):
            found = self._made.score(texts)
            self.labels = tuple(str(name) for name in self._made.labels)  # some learn their labels from what they see
        if not (hasattr(found, "value") and hasattr(found, "label")):
            raise self._wrong(f"a {type(found).__name__}", "classifiers.base.Scores(value, label)")
        return Scores(
            self._array("value", found.value, len(texts), np.dtype(np.float64)),
            self._within(self._array("label", found.label, len(texts), np.dtype(np.int32))),
        )

    def _array(self, name: str, given: Any, rows: int, kind: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """Return one result per text as an array of `kind`; integers serve as scores, nothing else as labels."""
        found = np.asarray(given)
        numbers = "iu" if kind.kind == "i" else "iufb"
        if found.shape != (rows,):
            raise self._wrong(f"{name} of shape {found.shape} for {rows} texts", f"one {name} per text, ({rows},)")
        if found.dtype.kind not in numbers and rows:
            raise self._wrong(f"{name} of {found.dtype}", f"{kind} ({'-1' if kind.kind == 'i' else 'NaN'} for none)")
        return found.astype(kind)

    def _within(self, label: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if len(label) and not -1 <= label.min() <= label.max() < len(self.labels):
            raise self._wrong(
                f"labels from {label.min()} to {label.max()}", f"-1 or an index into its {len(self.labels)} labels"
            )
        return label

    def _wrong(self, given: str, wanted: str) -> RecipeError:
        return RecipeError(f"score(texts) of the classifier {self.path} gave {given}; it must give {wanted}.")

    def card(self) -> dict[str, str]:
        with blamed(f"card() of the classifier {self.path}"):
            card = dict(self._made.card())
        if not card.get("digest"):
            raise RecipeError(
                f"card() of the classifier {self.path} has no digest: give it {{'digest': TEXT}} with a text that you "
                "change whenever the scores may change, since old scores are used again until then."
            )
        return card
