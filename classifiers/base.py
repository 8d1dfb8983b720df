"""What a classifier is: text in, a score and a label per text out.

Anything with these three members can be used by stage `quality` and by `winnow classifier score`; it
may come from outside winnow (`model: "python:my_package.my_module:make_classifier"`). Guarantees asked
of it: one result per text, in order, that depends on nothing but the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["F64", "I32", "NO_LABEL", "Classifier", "Scores"]

F64 = npt.NDArray[np.float64]  # scores
I32 = npt.NDArray[np.int32]  # labels

NO_LABEL = -1  # the classifier has nothing to say, for instance of a text without a word


@dataclass(frozen=True, eq=False)
class Scores:
    """Judgements of some texts, arrays of shape (texts,).

    value: the score on the model's own scale, NaN where there is none.
    label: index into the classifier's `labels`, NO_LABEL where there is none.
    """

    value: F64
    label: I32

    @classmethod
    def none(cls, texts: int) -> Scores:
        """Return `texts` judgements that say nothing."""
        return cls(np.full(texts, np.nan), np.full(texts, NO_LABEL, np.int32))

    def labels(self, names: tuple[str, ...]) -> pa.Array:
        """Return the labels by name, (texts,) string, null where there is none."""
        indices = pa.array(self.label, mask=self.label < 0)
        return pa.array(names, pa.string()).take(indices)


@runtime_checkable
class Classifier(Protocol):
    """A loaded model."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels; empty for a plain score."""

    def score(self, texts: pa.Array) -> Scores:
        """Judge a large_string array without nulls, which may be empty."""

    def card(self) -> dict[str, str]:
        """Say what the model is: `digest` (changes whenever scores may change), `licence`, `source`."""
