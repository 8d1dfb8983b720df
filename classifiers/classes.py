"""Train a fastText classifier of several labels, or of a number, from labelled text; measure it on held-out texts.

A number is learned as classes (its whole values, or bins of as many texts each, named by their means); its score is the
expected value (`classifiers.quality`). Guarantees: those of train.py: the same data, parameters and machine give the
same file; copies of a text are on one side. Memory: that of train.py; of scores one number for each text.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifiers import fasttext_model, quality
from classifiers.models import file_digest
from classifiers.train import Counts, Parameters, fit, gather, labelled_lines, parameters_of
from cluster import storage
from cluster.errors import RecipeError

I64 = npt.NDArray[np.int64]
MOST_LABELS = 10_000
MOST_WHOLE = 20  # different whole numbers that are classes of their own; more, or fractions, are put into bins
BINS = 10


@dataclass(frozen=True, eq=False)
class Labelled:
    """Texts with a label each. files: where they come from; batches: gives (labels, texts) anew at every call."""

    files: tuple[str, ...]
    batches: Callable[[], Iterator[tuple[list[str], pa.Array]]]

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Yield (label, text)."""
        for labels, texts in self.batches():
            yield from zip(labels, texts.to_pylist(), strict=True)


@dataclass(frozen=True, kw_only=True)
class LabelResult:
    """How well one label is told from the others on held-out texts. Shares are None where there is no text."""

    label: str
    texts: int
    precision: float | None
    recall: float | None
    f1: float


@dataclass(frozen=True, kw_only=True)
class ClassResults:
    """Metrics on held-out texts. error, correlation: of numbers, mean absolute error and Pearson's r."""

    texts: int
    accuracy: float
    macro_f1: float
    labels: tuple[LabelResult, ...]
    error: float | None = None
    correlation: float | None = None


@dataclass(frozen=True, kw_only=True)
class TrainedClasses:
    """A trained model and what is known of it. results: None where nothing was held out."""

    path: str
    counts: Counts
    parameters: Parameters
    results: ClassResults | None
    card: str


def label_of(text: str) -> str:
    """Return a label as fastText takes it: without the prefix, white space as one underscore.

    >>> label_of(" Science & Tech")
    'Science_&_Tech'
    """
    return re.sub(r"\s+", "_", text.strip().removeprefix(quality.PREFIX))


def train_classes(data: Labelled, out: str | Path, **parameters: Any) -> TrainedClasses:
    """Train a classifier that names one of several labels; write it and its card.

    parameters : fields of `classifiers.train.Parameters`.

    Raises
    ------
    RecipeError
        when a parameter is wrong, or fewer than two labels have a text to train on.
    """
    return _train(data.pairs(), data.files, Path(out), parameters_of(parameters), numbers=None)


def train_numbers(data: Labelled, out: str | Path, *, bins: int = BINS, **parameters: Any) -> TrainedClasses:
    """Train a classifier whose score is a number like the labels, which must be numbers; write it and its card."""
    if not 2 <= bins <= MOST_LABELS:
        raise RecipeError(f"bins must be from 2 to {MOST_LABELS}, got {bins}.")
    values = np.concatenate([np.empty(0), *(_numbers(labels) for labels, _ in data.batches())])
    names, edges = classes_of(values, bins)
    labelled = (
        (names[place], text)
        for labels, texts in data.batches()
        for place, text in zip(_places(_numbers(labels), edges), texts.to_pylist(), strict=True)
    )
    return _train(labelled, data.files, Path(out), parameters_of(parameters), numbers=names)


def _numbers(labels: list[str]) -> npt.NDArray[np.float64]:
    try:
        found = np.array([float(label) for label in labels], np.float64)
    except ValueError as error:
        raise RecipeError(f"scores must be numbers: {error}.") from None
    if not np.isfinite(found).all():
        raise RecipeError("scores must be finite numbers.")
    return found


def classes_of(values: npt.NDArray[np.float64], bins: int) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Return (names of the classes, lower edges of all but the first) of numbers.

    >>> names, edges = classes_of(np.array([0.0, 1, 1, 3]), 10)
    >>> names, edges.tolist()
    (['0', '1', '3'], [1.0, 3.0])
    """
    whole = np.unique(values)
    if len(whole) <= MOST_WHOLE and (whole == np.floor(whole)).all():
        return [f"{value:g}" for value in whole], whole[1:]
    edges = np.unique(np.quantile(values, np.arange(1, bins) / bins, method="higher"))
    edges = edges[edges > values.min()]
    places = _places(values, edges)
    return [f"{values[places == place].mean():.6g}" for place in range(len(edges) + 1)], edges


def _places(values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> I64:
    return np.searchsorted(edges, values, side="right").astype(np.int64)


def _train(
    labelled: Iterator[tuple[str, str]],
    files: tuple[str, ...],
    out: Path,
    chosen: Parameters,
    *,
    numbers: list[str] | None,
) -> TrainedClasses:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        counts = gather(folder, ((label, text) for label, text in labelled if label), chosen)
        if len(counts.trained) < 2:
            raise RecipeError(
                f"two labels are needed to train on, {', '.join(files)} have {len(counts.trained)} "
                f"({', '.join(sorted(counts.texts)) or 'none'}). Give texts of more labels, or a smaller holdout."
            )
        if len(counts.trained) > MOST_LABELS:
            raise RecipeError(f"there are {len(counts.trained):,} labels, at most {MOST_LABELS:,} can be told apart.")
        chosen = fit(folder, out, chosen, counts)
        results = measure(folder / "test.txt", out, numbers=numbers is not None) if counts.held_out else None
    return TrainedClasses(
        path=str(out),
        counts=counts,
        parameters=chosen,
        results=results,
        card=_write_card(out, chosen, counts, results, files),
    )


def measure(lines: Path, model: Path, *, numbers: bool) -> ClassResults:
    """Return how well a model names the labels of labelled lines."""
    loaded = fasttext_model.load(str(model))
    names = [label.removeprefix(quality.PREFIX) for label in loaded.labels]
    places = {name: i for i, name in enumerate(names)}
    confusion = np.zeros((len(names) + 1, len(names) + 1), np.int64)  # true, named; the last: no such label
    wanted, given = [np.empty(0)], [np.empty(0)]
    classifier = quality.load(quality.Settings(spec=f"fasttext:{model}", best_label=not numbers))
    for label, texts in labelled_lines(lines):
        if not texts:
            continue
        found = classifier.score(pa.array(texts, pa.large_string()))
        at = np.where(found.label < 0, len(names), found.label)
        confusion[places.get(label, len(names))] += np.bincount(at, minlength=len(names) + 1)
        if numbers:
            wanted.append(np.full(len(texts), float(label)))
            given.append(found.value)
    rows = tuple(_label_result(name, confusion, place) for place, name in enumerate(names))
    seen = [row.f1 for row in rows if row.texts]
    error, correlation = _of_numbers(np.concatenate(wanted), np.concatenate(given)) if numbers else (None, None)
    total = int(confusion.sum())
    return ClassResults(
        texts=total,
        accuracy=float(np.trace(confusion[:-1, :-1]) / total) if total else 0.0,
        macro_f1=float(np.mean(seen)) if seen else 0.0,
        labels=rows,
        error=error,
        correlation=correlation,
    )


def _label_result(name: str, confusion: I64, place: int) -> LabelResult:
    right, texts, named = confusion[place, place], confusion[place].sum(), confusion[:, place].sum()
    return LabelResult(
        label=name,
        texts=int(texts),
        precision=float(right / named) if named else None,
        recall=float(right / texts) if texts else None,
        f1=float(2 * right / (texts + named)) if texts + named else 0.0,
    )


def _of_numbers(wanted: npt.NDArray[np.float64], given: npt.NDArray[np.float64]) -> tuple[float | None, float | None]:
    known = ~np.isnan(given)
    if not known.any():
        return None, None
    error = float(np.abs(wanted[known] - given[known]).mean())
    varied = known.sum() > 1 and np.std(wanted[known]) > 0 and np.std(given[known]) > 0
    return error, float(np.corrcoef(wanted[known], given[known])[0, 1]) if varied else None


def _write_card(
    out: Path, chosen: Parameters, counts: Counts, results: ClassResults | None, files: tuple[str, ...]
) -> str:
    """Write MODEL.card.json and MODEL.card.md; return the path of the first."""
    card = {
        "model": out.name,
        "digest": file_digest(str(out)),
        "parameters": dataclasses.asdict(chosen),
        "counts": dataclasses.asdict(counts),
        "data": {path: file_digest(path) if storage.is_local(path) else "" for path in files},
        "held_out": dataclasses.asdict(results) if results else None,
    }
    storage.write_bytes(f"{out}.card.json", (json.dumps(card, indent=2, sort_keys=True) + "\n").encode())
    storage.write_bytes(f"{out}.card.md", _markdown(card, results).encode())
    return f"{out}.card.json"


def _markdown(card: dict[str, Any], results: ClassResults | None) -> str:
    lines = [f"# {card['model']}", "", f"A fastText classifier trained by winnow. sha256 `{card['digest']}`.", ""]
    lines += [f"- {path} {digest}" for path, digest in card["data"].items()]
    lines += ["", *(f"- {name}: {value}" for name, value in sorted(card["parameters"].items())), ""]
    if results is None:
        return "\n".join([*lines, "Nothing was held out, so nothing was measured."]) + "\n"
    said = f"On {results.texts} held-out texts: accuracy {results.accuracy:.4g}, macro F1 {results.macro_f1:.4g}"
    if results.error is not None:
        said += f", mean absolute error {results.error:.4g}"
    lines += [said + ".", "", "| label | texts | precision | recall | F1 |", "|---|---|---|---|---|"]
    for row in results.labels:
        shares = ("-" if share is None else f"{share:.4g}" for share in (row.precision, row.recall, row.f1))
        lines.append(f"| {row.label} | {row.texts} | {' | '.join(shares)} |")
    return "\n".join(lines) + "\n"
