"""`winnow classifier train` and `evaluate`: labelled files are read here, classifiers see texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from classifiers import train as training
from classifiers.evaluation import Evaluation
from classifiers.train import Texts, Trained
from stages.inputs import side_files
from stages.inputs.side_files import Paths


def texts(paths: Paths, column: str = "text") -> Texts:
    """Return the texts of files, folders and globs. Raises RecipeError where one names no data file."""
    files = side_files.find(paths, column)

    def batches() -> Iterator[pa.Array]:
        return (batch.texts for batch in side_files.texts([file.path for file in files], column))

    return Texts(tuple(file.path for file in files), batches)


def train(positive: Paths, negative: Paths, out: str | Path, *, column: str = "text", **parameters: Any) -> Trained:
    """Train a classifier that tells positive from negative texts, as `classifiers.train.train` does, from files.

    Raises
    ------
    RecipeError
        A path or parameter is wrong, a file lacks the column, or one of the two sides has no text.
    ShardError
        A file is cut short or corrupt.
    """
    return training.train(texts(positive, column), texts(negative, column), out, **parameters)


def evaluate(
    model: str | Path, positive: Paths, negative: Paths, *, column: str = "text", **parameters: Any
) -> Evaluation:
    """Score two sets of files with a model and return the metrics, as `classifiers.train.evaluate` does."""
    return training.evaluate(model, texts(positive, column), texts(negative, column), **parameters)
