"""`winnow classifier train` and `evaluate`: labelled files are read here, classifiers see texts.

A classifier tells two sides, names one of several labels, or gives a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from classifiers import train as training
from classifiers.classes import Labelled, TrainedClasses, label_of, train_classes, train_numbers
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


def labelled(paths: Paths, column: str, label: str, *, numbers: bool = False) -> Labelled:
    """Return the labelled texts of files, folders and globs. Raises RecipeError where one names no data file."""
    files = side_files.find(paths, column)

    def batches() -> Iterator[tuple[list[str], pa.Array]]:
        for labels, found in side_files.labelled([file.path for file in files], column, label):
            yield labels if numbers else [label_of(text) for text in labels], found

    return Labelled(tuple(file.path for file in files), batches)


def train_labels(
    data: Paths, out: str | Path, *, label_column: str, column: str = "text", **parameters: Any
) -> TrainedClasses:
    """Train a classifier of several labels from files with a label column, as `classifiers.classes.train_classes`."""
    return train_classes(labelled(data, column, label_column), out, **parameters)


def train_scores(
    data: Paths, out: str | Path, *, score_column: str, column: str = "text", **parameters: Any
) -> TrainedClasses:
    """Train a classifier of a number from files with a score column, as `classifiers.classes.train_numbers`."""
    return train_numbers(labelled(data, column, score_column, numbers=True), out, **parameters)


def evaluate(
    model: str | Path, positive: Paths, negative: Paths, *, column: str = "text", **parameters: Any
) -> Evaluation:
    """Score two sets of files with a model and return the metrics, as `classifiers.train.evaluate` does."""
    return training.evaluate(model, texts(positive, column), texts(negative, column), **parameters)
