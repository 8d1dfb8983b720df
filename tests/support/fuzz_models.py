"""Fuzz target: fastText models, changed or cut.

The format has no checksum, so that a changed number in a matrix is another model. What must hold: the only error is a
RecipeError; a model that is loaded gives each text scores between 0 and 1, finite, and twice the same.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from classifiers import fasttext_model
from cluster.errors import RecipeError
from tests.support.fuzzing import mutated
from tests.support.tiny_fasttext import VARIANTS, write_model

TEXTS = pa.array(["word1 word2 word3", "", "nothing known \U0001f33f", "word5 " * 300], pa.large_string())


@dataclass(frozen=True)
class Ready:
    """A whole model, and where changed ones are written."""

    path: Path
    whole: bytes


def kinds() -> tuple[str, ...]:
    return VARIANTS


def prepare(kind: str, folder: Path) -> Ready:
    """Train a model and use it."""
    path = write_model(folder / "model.bin", kind)
    _answers(path)
    return Ready(path, path.read_bytes())


def case(ready: Ready, draw: random.Random) -> str:
    """Load a changed model."""
    data = mutated(ready.whole, draw)
    if draw.random() < 0.5:  # the numbers at the beginning say what the rest is
        head = mutated(ready.whole[:160], draw)
        data = head + ready.whole[160:]
    ready.path.write_bytes(data)
    try:
        once = _answers(ready.path)
    except RecipeError:
        return "refused"
    again = _answers(ready.path)
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True)), "two answers differ"
    best, score, scores = once
    for found in (score, scores):
        assert np.isfinite(found).all(), found
        assert found.min(initial=0) >= 0, found
        assert found.max(initial=0) <= 1.0001, found
    assert (best >= -1).all(), best
    return "read"


def _answers(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    model = fasttext_model.load(str(path))
    fasttext_model.labels_of(str(path))
    best, score = model.best(TEXTS)
    return best, score, model.scores(TEXTS, range(min(8, len(model.labels))))
