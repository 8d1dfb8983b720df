"""What others wrote, by import path MODULE:NAME: classifiers, filters, stages.

A module is looked for among what is installed or on PYTHONPATH, then in the working folder: the one that winnow is
called in, on its workers too. Guarantees: what goes wrong in such code is a RecipeError that names it and the line;
the answers of a classifier are checked before they are used.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from classifiers.base import Classifier, Scores
from cluster.errors import RecipeError, WinnowError


def imported(path: str, what: str) -> Any:
    """Return what MODULE:NAME names; `what` says in an error what it was wanted for.

    Raises
    ------
    RecipeError
        when there is no such module or name, or importing it fails.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise RecipeError(f"{what} must be named MODULE:NAME, got {path!r}.")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last, so that a file here hides no package
    with blamed(f"importing {what} {path}"):
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name and (module == error.name or module.startswith(error.name + ".")):
                raise RecipeError(
                    f"{what} {path} cannot be imported ({error}). Put {module.split('.')[0]} in the folder where "
                    "winnow is called or on PYTHONPATH, or install it, wherever there are workers."
                ) from error
            raise
    try:
        return getattr(found, name)
    except AttributeError as error:
        names = ", ".join(n for n in vars(found) if not n.startswith("_")) or "nothing"
        raise RecipeError(f"module {module} has no {name}, which {what} {path} asks for; it has {names}.") from error


@contextlib.contextmanager
def blamed(doing: str) -> Iterator[None]:
    """Turn an error of somebody else's code into a RecipeError that names the code and the line."""
    try:
        yield
    except (WinnowError, MemoryError):
        raise
    except Exception as error:  # reported here, whatever it is
        own = (__file__, importlib.__file__)
        frames = [
            f for f in traceback.extract_tb(error.__traceback__) if f.filename not in own and f.filename[0] != "<"
        ]
        place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
        raise RecipeError(f"{doing} failed with {type(error).__name__}: {error}{place}. Correct it there.") from error


class OutsideClassifier:
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
