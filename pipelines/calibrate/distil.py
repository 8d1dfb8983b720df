"""`winnow classifier distil RUN`: a cheap classifier that copies a judge, and how well it does.

A stratified sample of the judged documents (by dataset and language) is split by a hash of the content: eight tenths to
train, one to find the threshold that keeps the share the judge keeps, one to measure. Guarantees: the same run and seed
give the same model; copies of a text are never on both sides. Memory: rows of the sample; texts of one batch.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from classifiers import embeddings, head, quality
from classifiers.base import F64
from classifiers.evaluation import auc, kappa
from classifiers.train import Texts, train
from cluster import storage
from cluster.errors import RecipeError
from pipelines.calibrate.calibrate import judge_of
from pipelines.calibrate.sample import draw, rows_of
from pipelines.run_state import from_home
from pipelines.runfolder import RunFolder, open_run
from pipelines.texts_as_judged import texts_as_judged
from stages.core.arrays import array, whole
from stages.core.view import View
from stages.implicit.read import unit_interval

TRAIN, TUNE, TEST = "train", "tune", "test"
PARTS = {TEST: 0.1, TUNE: 0.2, TRAIN: 1.0}  # upper ends
SPLIT = 0xD157
BATCH = 2000  # documents whose texts are held
FEWEST = 5  # good and bad ones, of each part
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be made of which judge. cut: score from which it calls a document good; None: its min_score."""

    judge: str = "llm_judge"
    to: str = "fasttext"
    cut: float | None = None
    documents: int = 200_000
    embeddings: str = ""
    max_tokens: int = 256
    seed: int = 0


def distil(run_dir: str, out: str, wish: Wish) -> dict[str, Any]:
    """Train a classifier on a judge's scores, write it with its card, and return how well it agrees.

    Raises
    ------
    RecipeError
        no such judge, too few documents it calls good or bad, or a wrong parameter.
    """
    if wish.to not in ("fasttext", "onnx"):
        raise RecipeError(f"to must be fasttext or onnx, got {wish.to!r}.")
    if wish.to == "onnx" and not wish.embeddings.startswith("onnx:"):
        raise RecipeError("--to onnx needs --embeddings onnx:FOLDER, the embedding model that the head is put on.")
    with from_home(run_dir) as root, tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "documents.parquet"
        found = _write_documents(open_run(root, warn=False), wish, path)
        spec = _train(path, out, wish)
        table = pq.read_table(path, columns=["dataset", "language", "good", "part", "weight"])
        table = table.append_column("score", pa.array(_scores(path, spec)))
    tune, test = (table.filter(pc.equal(table.column("part"), part)) for part in (TUNE, TEST))
    threshold = matching_threshold(_floats(tune, "score"), _good(tune), _floats(tune, "weight"))
    found |= {
        "model": spec,
        "threshold": threshold,
        "trained": int(pc.sum(pc.equal(table.column("part"), TRAIN)).as_py()),
        "tuned_on": tune.num_rows,
        **{"all": agreement(test, threshold)},
        "datasets": _by(test, "dataset", threshold),
        "languages": _by(test, "language", threshold),
    }
    _add_to_card(out, found)
    return found


# --- documents --------------------------------------------------------------------------------------------------


def _write_documents(folder: RunFolder, wish: Wish, path: Path) -> dict[str, Any]:
    """Write text, verdict, part and weight of the documents to learn from; return what is known of the judge."""
    run = folder.run
    judge = judge_of(run, wish.judge)
    index = run.index(judge.name)
    cut = wish.cut if wish.cut is not None else judge.min_score
    if cut is None and not judge.keep_labels and not judge.drop_labels:
        raise RecipeError(f"give --cut, the score from which {judge.name} calls a document good: it has no min_score.")

    sample = draw(run, partial(_candidates, index, cut, wish.seed), _strata, wish.documents)
    good = whole(sample.rows.column("kept")).to_numpy(zero_copy_only=False)
    if min(good.sum(), (~good).sum()) < 10 * FEWEST:
        raise RecipeError(
            f"{judge.name} calls {good.sum():,} documents good and {(~good).sum():,} bad; {10 * FEWEST} of each are "
            "needed to learn from. Judge more documents (sample), or choose another --cut."
        )
    table = sample.rows.append_column("weight", pa.array(sample.weights()))
    with pq.ParquetWriter(path, _schema()) as writer:
        for start in range(0, table.num_rows, BATCH):
            rows = table.slice(start, BATCH)
            texts = texts_as_judged(folder, index, array(rows, "doc").tolist())
            writer.write_table(_with_texts(rows, texts))
    parts = pq.read_table(path, columns=["part", "good"]).to_pylist()
    for part in PARTS:
        sides = [sum(row["part"] == part and row["good"] == side for row in parts) for side in (True, False)]
        if min(sides) < 1:
            raise RecipeError(f"part {part} of the sample has only good or only bad documents. Judge more documents.")
    return {"judge": judge.name, "models": list(judge.models), "prompt": judge.prompt, "cut": cut, "seed": wish.seed}


def _schema() -> pa.Schema:
    return pa.schema(
        [
            ("text", pa.large_string()),
            ("dataset", pa.string()),
            ("language", pa.string()),
            ("good", pa.bool_()),
            ("part", pa.string()),
            ("weight", pa.float64()),
        ]
    )


def _with_texts(rows: pa.Table, texts: dict[int, str]) -> pa.Table:
    known = pa.array([doc in texts for doc in array(rows, "doc").tolist()])
    rows = rows.filter(known)
    share = unit_interval(array(rows, "place").astype(np.uint64), SPLIT)
    names = np.array(list(PARTS))
    part = names[np.searchsorted(np.array(list(PARTS.values())), share, side="right")]
    found = pa.array([texts[doc] for doc in array(rows, "doc").tolist()], pa.large_string())
    columns = [found, *(rows.column(name) for name in ("dataset", "language", "kept")), pa.array(part.tolist())]
    return pa.table([*columns, rows.column("weight")], schema=_schema())


def _candidates(index: int, cut: float | None, seed: int, view: View) -> pa.Table | None:
    """Return the judged documents of a bundle; kept: whether the judge calls them good."""
    stage = view.run.stages[index]
    if not stage.applies_to(view.bundle.dataset):
        return None
    rows = np.flatnonzero(view.live(index) & view.covered(index)).astype(np.int64)
    facts = view.facts(index, rows, ["judge_score", "judge_label", "judge_votes"])
    judged = array(facts, "judge_votes") > 0
    rows, facts = rows[judged], facts.filter(pa.array(judged))
    score = facts.column("judge_score")
    if cut is not None:
        good = pc.fill_null(pc.greater_equal(score, cut), False)
    else:
        wanted, unwanted = getattr(stage, "keep_labels", ()), getattr(stage, "drop_labels", ())
        label = facts.column("judge_label")
        good = pc.is_in(label, pa.array(wanted, pa.string())) if wanted else pc.is_valid(label)
        good = pc.and_not(good, pc.is_in(label, pa.array(unwanted, pa.string())))
    return rows_of(view, index, rows, whole(score), whole(good).to_numpy(zero_copy_only=False), seed)


def _strata(table: pa.Table) -> pa.Array:
    return whole(pc.binary_join_element_wise(table.column("dataset"), table.column("language"), "\t"))


# --- model ------------------------------------------------------------------------------------------------------


def _batches(path: Path, columns: list[str], part: str | None = None) -> Iterator[pa.RecordBatch]:
    for batch in pq.ParquetFile(path).iter_batches(BATCH, columns=[*columns, "part"]):
        yield batch if part is None else batch.filter(pc.equal(batch.column("part"), part))


def _train(path: Path, out: str, wish: Wish) -> str:
    """Train on the part for training; return the spec of the model."""
    if wish.to == "onnx":
        return _train_head(path, out, wish)

    def side(good: bool) -> Texts:
        def batches() -> Iterator[pa.Array]:
            for batch in _batches(path, ["text", "good"], TRAIN):
                yield batch.filter(batch.column("good") if good else pc.invert(batch.column("good"))).column("text")

        return Texts((), batches)

    train(side(True), side(False), out, seed=wish.seed)
    return f"fasttext:{out}"


def _train_head(path: Path, out: str, wish: Wish) -> str:
    embedder = embeddings.load(embeddings.Settings(spec=wish.embeddings, max_tokens=wish.max_tokens))
    vectors, good = [], []
    for batch in _batches(path, ["text", "good"], TRAIN):
        if batch.num_rows:
            vectors.append(head.unit(embedder.embed(batch.column("text"))))
            good.append(batch.column("good").to_numpy(zero_copy_only=False))
    weights, bias = head.fit(np.concatenate(vectors), np.concatenate(good), wish.seed)
    head.write(out, embeddings.folder_of(wish.embeddings), weights, bias, wish.max_tokens)
    return f"onnx:{out}"


def _scores(path: Path, spec: str) -> F64:
    """Return the score of each document that was not trained on, NaN for the others."""
    model = quality.load(quality.Settings(spec=spec))
    found = []
    for batch in _batches(path, ["text"]):
        score = np.full(batch.num_rows, np.nan)
        asked = pc.not_equal(batch.column("part"), TRAIN)
        mine = asked.to_numpy(zero_copy_only=False)
        score[mine] = np.nan_to_num(model.score(batch.column("text").filter(asked)).value)
        found.append(score)
    return np.concatenate(found)


# --- agreement --------------------------------------------------------------------------------------------------


def matching_threshold(score: F64, good: BoolArray, weight: F64) -> float:
    """Return the score from which as large a share is kept as the judge keeps, by weights."""
    order = np.argsort(-score, kind="stable")
    kept = np.cumsum(weight[order])
    place = int(np.searchsorted(kept, weight[good].sum() * (1 - 1e-12)))
    place = min(place, len(order) - 1)
    here = float(score[order][place])
    below = score[score < here]
    return here if not len(below) else float((here + below.max()) / 2)


def agreement(table: pa.Table, threshold: float) -> dict[str, Any]:
    """Return how a classifier agrees with the judge on documents that neither training nor threshold saw."""
    score, good = _floats(table, "score"), _good(table)
    kept = score >= threshold
    right = int((kept & good).sum())
    return {
        "documents": table.num_rows,
        "good": int(good.sum()),
        "kept": int(kept.sum()),
        "auc": _number(auc(score[good], score[~good])),
        "kappa": _number(kappa(kept, good)),
        "precision": _number(right / kept.sum() if kept.any() else np.nan),
        "recall": _number(right / good.sum() if good.any() else np.nan),
    }


def _by(table: pa.Table, column: str, threshold: float) -> dict[str, Any]:
    names = sorted(table.column(column).unique().to_pylist())
    return {name: agreement(table.filter(pc.equal(table.column(column), name)), threshold) for name in names}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _floats(table: pa.Table, name: str) -> F64:
    return array(table, name).astype(np.float64)


def _good(table: pa.Table) -> BoolArray:
    return np.asarray(whole(table.column("good")).to_numpy(zero_copy_only=False), np.bool_)


def _add_to_card(out: str, found: dict[str, Any]) -> None:
    """Write what was measured into the model's card, for machines and for people."""
    from pipelines.calibrate.distil_view import markdown

    path = Path(f"{out}.card.json")
    card = json.loads(path.read_text()) if path.exists() else {"model": Path(out).name}
    storage.write_bytes(str(path), (json.dumps({**card, "distilled": found}, indent=2, sort_keys=True) + "\n").encode())
    page = Path(f"{out}.card.md")
    text = page.read_text().rstrip() + "\n\n" if page.exists() else f"# {Path(out).name}\n\n"
    storage.write_bytes(str(page), (text + markdown(found)).encode())
