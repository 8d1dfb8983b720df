"""Train and evaluate a fastText quality classifier from labelled text, by the recipe of DCLM.

Models of several labels or of a number are made of the same parts, see classes.py.

Guarantees: the same data, parameters and machine give the same model file (one thread, content order);
a text and its copies lie either in the training or in the held-out part, never in both. Memory: 1/64 of the
text at a time, and what fastText itself holds (the model).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import random
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from classifiers import fasttext_model, quality
from classifiers.base import F64, Classifier
from classifiers.evaluation import Evaluation, evaluate_scores, plot
from classifiers.fasttext_model import MAX_CHARS, clean
from classifiers.models import file_digest
from cluster import storage
from cluster.errors import RecipeError
from cluster.seed import DEFAULT_SEED

POSITIVE, NEGATIVE = "hq", "cc"  # DCLM's names of the labels
PARTS = 64  # temporary files; one is in memory at a time
MOST_BUCKETS = 2_000_000  # fastText's own default
TOKENS_WANTED = 10_000_000  # small sets are seen more often, until this many tokens or 50 epochs
MOST_TRIALS = 1000
TUNED_ON = 10  # every so many-th text of the training part, by content
_SPECIAL = re.compile(r"(?<!\S)(?:__label__\S*|</s>(?!\S))")  # tokens that fastText gives a meaning

_BLANKS = re.compile(r"[ \t\v\f\r\0]+")


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """How a model is trained. 0 for `epoch` or `bucket` means: by the amount of text."""

    seed: int = DEFAULT_SEED
    dimensions: int = 100
    word_ngrams: int = 2
    epoch: int = 0
    bucket: int = 0
    learning_rate: float = 0.1
    min_count: int = 1
    holdout: float = 0.1
    max_chars: int = MAX_CHARS
    autotune: int = 0  # trials of other learning rates, epochs and n-grams; 0: none

    def __post_init__(self) -> None:
        if not 0 <= self.holdout < 1:
            raise RecipeError(f"holdout must be in [0, 1), got {self.holdout}: the share of texts kept for testing.")
        if not 0 <= self.autotune <= MOST_TRIALS:
            raise RecipeError(f"autotune must be a number of trials from 0 to {MOST_TRIALS}, got {self.autotune}.")
        for name in ("dimensions", "word_ngrams", "min_count", "max_chars"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} must be at least 1, got {getattr(self, name)}.")


@dataclass(kw_only=True)
class Counts:
    """What the labelled files held, texts per label."""

    texts: dict[str, int] = field(default_factory=lambda: {POSITIVE: 0, NEGATIVE: 0})
    copies: int = 0  # the same text again under the same label: used once
    conflicting: int = 0  # texts under both labels: not used
    trained: dict[str, int] = field(default_factory=lambda: {POSITIVE: 0, NEGATIVE: 0})
    held_out: dict[str, int] = field(default_factory=lambda: {POSITIVE: 0, NEGATIVE: 0})
    tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained model and what is known of it."""

    path: str
    counts: Counts
    parameters: Parameters
    evaluation: Evaluation | None  # on the held-out part; None where nothing was held out
    card: str  # path of the model card


@dataclass(frozen=True, eq=False)
class Texts:
    """The texts of one side. files: where they come from, for the card; batches: gives them anew at every call."""

    files: tuple[str, ...]
    batches: Callable[[], Iterator[pa.Array]]  # large_string without nulls


def train(positive: Texts, negative: Texts, out: str | Path, **parameters: Any) -> Trained:
    """Train a classifier that tells positive from negative texts; write it and its card.

    Parameters
    ----------
    positive, negative
        texts to keep and texts to drop.
    out
        path of the model, such as `quality.bin`. Beside it lie `.card.json`, `.card.md` and `.svg`.
    parameters
        fields of `Parameters`: seed, dimensions, word_ngrams, epoch, bucket, learning_rate, min_count,
        holdout, max_chars, autotune.

    Raises
    ------
    RecipeError
        when a parameter is wrong, or one of the two sides has no text.
    """
    chosen = parameters_of(parameters)
    out = Path(out)
    with tempfile.TemporaryDirectory() as folder:
        sides = ((POSITIVE, positive), (NEGATIVE, negative))
        batches = ((label, batch) for label, side in sides for batch in side.batches())
        labelled = ((label, text) for label, batch in batches for text in batch.to_pylist())
        counts = gather(Path(folder), labelled, chosen, (POSITIVE, NEGATIVE))
        _check(counts, positive, negative)
        chosen = fit(Path(folder), out, chosen, counts)
        evaluation = _on_held_out(Path(folder) / "test.txt", out) if chosen.holdout else None
    data = {POSITIVE: _digests(positive), NEGATIVE: _digests(negative)}
    card = write_card(out, parameters=chosen, counts=counts, evaluation=evaluation, data=data)
    return Trained(path=str(out), counts=counts, parameters=chosen, evaluation=evaluation, card=card)


def gather(folder: Path, labelled: Iterable[tuple[str, str]], chosen: Parameters, labels: Sequence[str] = ()) -> Counts:
    """Write train.txt and test.txt of (label, text) into a folder, each text once; return what they hold.

    labels : those that are counted even where there is no text of them.
    """
    counts = Counts(texts=dict.fromkeys(labels, 0), trained=dict.fromkeys(labels, 0), held_out=dict.fromkeys(labels, 0))
    _distribute(folder, labelled, chosen, counts)
    _collect(folder, chosen, counts)
    return counts


def fit(folder: Path, out: Path, chosen: Parameters, counts: Counts) -> Parameters:
    """Train on the train.txt of a folder, tuned first if that is wished; return the parameters that were used."""
    if chosen.autotune:
        chosen = tuned(folder, chosen, counts.tokens)
    chosen = by_amount(chosen, counts.tokens)
    train_model(folder / "train.txt", out, chosen)
    return chosen


def parameters_of(given: dict[str, Any]) -> Parameters:
    known = {f.name for f in dataclasses.fields(Parameters)}
    if wrong := sorted(set(given) - known):
        raise RecipeError(f"train has no parameter {wrong[0]!r}; it has {', '.join(sorted(known))}.")
    return Parameters(**given)


def line_of(text: str, max_chars: int = MAX_CHARS) -> str:
    """Return the text as one line of fastText input: cut, no special tokens, one blank for fastText's white space.

    So texts that fastText cannot tell apart are copies.
    """
    return _BLANKS.sub(" ", _SPECIAL.sub("", clean(text, max_chars))).strip()


def _distribute(folder: Path, labelled: Iterable[tuple[str, str]], chosen: Parameters, counts: Counts) -> None:
    """Write every text to one of 64 files by its content, so that copies meet in one file."""
    parts = [open(folder / f"part-{i}", "w", encoding="utf-8") for i in range(PARTS)]  # noqa: SIM115
    try:
        for label, text in labelled:
            line = line_of(text, chosen.max_chars)
            if line:
                counts.texts[label] = counts.texts.get(label, 0) + 1
                key = hashlib.blake2b(line.encode(), digest_size=16).hexdigest()
                parts[int(key[:8], 16) % PARTS].write(f"{key} {label} {line}\n")
    finally:
        for part in parts:
            part.close()


def _collect(folder: Path, chosen: Parameters, counts: Counts) -> None:
    """Write train.txt and test.txt: each text once, in an order fixed by content and seed."""
    salt = str(chosen.seed).encode()
    parts = sorted(range(PARTS), key=lambda i: hashlib.blake2b(b"%d" % i, key=salt).digest())
    train_path, test_path = folder / "train.txt", folder / "test.txt"
    with open(train_path, "w", encoding="utf-8") as train, open(test_path, "w", encoding="utf-8") as test:
        for i in parts:
            unique = _unique(folder / f"part-{i}", counts)
            for key in sorted(unique, key=lambda k: hashlib.blake2b(k.encode(), key=salt).digest()):
                label, line = unique[key]
                _write(train, test, key, label, line, chosen, counts)
            (folder / f"part-{i}").unlink()


def _unique(path: Path, counts: Counts) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    conflicting = set()
    with open(path, encoding="utf-8", newline="\n") as file:
        for row in file:
            key, label, line = row.rstrip("\n").split(" ", 2)
            if key in found and found[key][0] != label:
                conflicting.add(key)
            elif key in found:
                counts.copies += 1
            else:
                found[key] = label, line
    counts.conflicting += len(conflicting)
    return {key: value for key, value in found.items() if key not in conflicting}


def _write(train: IO[str], test: IO[str], key: str, label: str, line: str, chosen: Parameters, counts: Counts) -> None:
    held_out = int(key[8:24], 16) < chosen.holdout * 2**64  # by content alone: the same for every seed
    mine = counts.held_out if held_out else counts.trained
    mine[label] = mine.get(label, 0) + 1
    if not held_out:
        counts.tokens += line.count(" ") + 1
    (test if held_out else train).write(f"__label__{label} {line}\n")


def _check(counts: Counts, positive: Texts, negative: Texts) -> None:
    for label, given in ((POSITIVE, positive), (NEGATIVE, negative)):
        if not counts.trained[label]:
            side = "positive" if label == POSITIVE else "negative"
            raise RecipeError(
                f"the {side} files ({', '.join(given.files)}) hold {counts.texts[label]} texts and none is left to "
                f"train on ({counts.conflicting} lie on both sides). Give more text, or a smaller holdout."
            )


def by_amount(chosen: Parameters, tokens: int) -> Parameters:
    """Fill in what depends on the amount of text: little text is seen more often and needs fewer buckets."""
    epoch = max(5, min(50, math.ceil(TOKENS_WANTED / max(tokens, 1))))
    bucket = min(MOST_BUCKETS, max(10_000, tokens // 2 * (chosen.word_ngrams - 1)))
    return dataclasses.replace(chosen, epoch=chosen.epoch or epoch, bucket=chosen.bucket or bucket)


def train_model(lines: Path, out: Path, chosen: Parameters) -> None:
    import fasttext

    model = fasttext.train_supervised(
        input=str(lines),
        dim=chosen.dimensions,
        wordNgrams=chosen.word_ngrams,
        epoch=chosen.epoch,
        bucket=chosen.bucket,
        lr=chosen.learning_rate,
        minCount=chosen.min_count,
        seed=chosen.seed,
        thread=1,
        verbose=0,
        loss="softmax",
        minn=0,
        maxn=0,
    )
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "model.bin"
        model.save_model(str(path))
        _copy(path, out)


def trials(chosen: Parameters) -> list[Parameters]:
    """Return the settings that are tried, the given ones first: a sequence that depends on the seed alone."""
    draw = random.Random(f"autotune {chosen.seed}")
    found = [dataclasses.replace(chosen, autotune=0)]
    while len(found) < chosen.autotune:
        found.append(
            dataclasses.replace(
                found[0],
                learning_rate=round(10 ** draw.uniform(-1.5, 0.0), 4),
                epoch=draw.choice((5, 10, 25, 50)),
                word_ngrams=draw.choice((1, 2, 3)),
                min_count=draw.choice((1, 2, 5)),
            )
        )
    return found


def tuned(folder: Path, chosen: Parameters, tokens: int) -> Parameters:
    """Return the settings whose model finds the texts that it was not trained on least surprising.

    Each trial trains on nine tenths of train.txt and takes the mean negative log-likelihood of the right label on the
    rest; of equal ones the first wins. Nothing depends on time: the budget is the number of trials.
    """
    kept, rest = folder / "trial.txt", folder / "tune.txt"
    lines = open(folder / "train.txt", encoding="utf-8", newline="\n")  # noqa: SIM115
    with lines, open(kept, "w", encoding="utf-8") as most, open(rest, "w", encoding="utf-8") as few:
        for line in lines:
            key = hashlib.blake2b(line.encode(), digest_size=8).digest()
            (few if int.from_bytes(key) % TUNED_ON == 0 else most).write(line)
    best, least = chosen, math.inf
    for number, trial in enumerate(trials(chosen)):
        model = folder / f"trial-{number}.bin"
        train_model(kept, model, by_amount(trial, tokens))
        loss = surprise(rest, model)
        model.unlink()
        if loss < least:
            best, least = trial, loss
    return dataclasses.replace(best, autotune=chosen.autotune)


def surprise(lines: Path, model: Path) -> float:
    """Return the mean negative log-likelihood of the right labels of labelled lines; infinite without a line."""
    loaded = fasttext_model.load(str(model))
    places = {label: i for i, label in enumerate(loaded.labels)}
    total, count = 0.0, 0
    for label, texts in labelled_lines(lines):
        if texts and (place := places.get(quality.PREFIX + label)) is not None:
            found = loaded.scores(pa.array(texts, pa.large_string()), [place])[:, 0].astype(np.float64)
            total -= float(np.log(np.maximum(found, 1e-6)).sum())
            count += len(texts)
    return total / count if count else math.inf


def _copy(source: Path, target: Path) -> None:
    with open(source, "rb") as file, storage.commit(str(target)) as kept:
        while block := file.read(1 << 22):
            kept.write(block)


def _on_held_out(lines: Path, model: Path) -> Evaluation:
    found: dict[str, list[F64]] = {POSITIVE: [np.empty(0)], NEGATIVE: [np.empty(0)]}
    classifier = quality.load(quality.Settings(spec=f"fasttext:{model}"))
    for label, texts in labelled_lines(lines):
        found[label].append(score_texts(classifier, texts))
    return evaluate_scores(np.concatenate(found[POSITIVE]), np.concatenate(found[NEGATIVE]))


def labelled_lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield (label, texts) of a file of labelled lines, up to 1,024 texts at a time."""
    waiting: dict[str, list[str]] = {}
    with open(path, encoding="utf-8", newline="\n") as file:
        for row in file:
            label, line = row.rstrip("\n").split(" ", 1)
            texts = waiting.setdefault(label.removeprefix(quality.PREFIX), [])
            texts.append(line)
            if len(texts) == 1024:
                yield label.removeprefix(quality.PREFIX), texts
                texts.clear()
    yield from waiting.items()


def score_texts(classifier: Classifier, texts: list[str]) -> F64:
    """Return the scores of Python strings, (texts,) float64."""
    return classifier.score(pa.array(texts, pa.large_string())).value


def _digests(side: Texts) -> dict[str, str]:
    return {path: file_digest(path) if storage.is_local(path) else "" for path in side.files}


def evaluate(
    model: str | Path,
    positive: Texts,
    negative: Texts,
    *,
    threshold: float = 0.5,
    positive_label: str = "",
) -> Evaluation:
    """Score two labelled sets with a model (a path or a spec such as `hf:PATH`) and return the metrics."""
    spec = quality.spec_of(str(model))
    classifier = quality.load(quality.Settings(spec=spec, positive_label=positive_label))
    found = []
    for side in (positive, negative):
        scores = [classifier.score(batch).value for batch in side.batches()]
        found.append(np.concatenate([np.empty(0), *scores]))
    return evaluate_scores(found[0], found[1], threshold)


def write_card(
    model: str | Path,
    *,
    parameters: Parameters,
    counts: Counts,
    evaluation: Evaluation | None,
    data: dict[str, dict[str, str]],
) -> str:
    """Write MODEL.card.json, MODEL.card.md and MODEL.svg beside a model; return the path of the first."""
    from classifiers.model_card import markdown

    card = {
        "model": Path(model).name,
        "digest": file_digest(str(model)),
        "positive_label": POSITIVE,
        "parameters": dataclasses.asdict(parameters),
        "counts": dataclasses.asdict(counts),
        "data": data,
        "held_out": evaluation.as_dict() if evaluation else None,
    }
    storage.write_bytes(f"{model}.card.json", (json.dumps(card, indent=2, sort_keys=True) + "\n").encode())
    storage.write_bytes(f"{model}.card.md", markdown(card).encode())
    if evaluation:
        storage.write_bytes(f"{model}.svg", plot(evaluation, Path(model).name).encode())
    return f"{model}.card.json"
