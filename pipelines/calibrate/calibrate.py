"""`winnow calibrate RUN --stage NAME`: precision and recall of a filter, by documents that models or people judge.

A sample is drawn from both sides of the threshold, near it and far from it, of every dataset and language. Guarantees:
the sample depends on the run and the seed alone, so that labels of people fit it later. Memory: the sample's texts.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifiers.endpoint import prompt as prompts
from classifiers.endpoint.answers import Range
from cluster import storage
from cluster.errors import RecipeError
from cluster.files.sealed import write_public_json
from pipelines.calibrate import labels
from pipelines.calibrate.estimate import Stratum, best_threshold, draws, precision_recall
from pipelines.calibrate.sample import Sample, draw, rows_of
from pipelines.run_state import from_home
from pipelines.runfolder import RunFolder, open_run
from pipelines.texts_as_judged import texts_as_judged
from stages.asking.population import languages_of
from stages.asking.texts import ask_texts
from stages.core.arrays import array, whole
from stages.core.run import Run, StageRun
from stages.core.stage import ShardStage
from stages.core.view import View
from stages.llm_judge import LlmJudge

F64 = npt.NDArray[np.float64]
LOOKED_AT = 20_000  # documents from which the sides' near parts are found
NEAR = 1 / 3  # of each side
LANGUAGES = 10  # that have strata of their own
OTHER = "other"
FOLDER = "calibration"


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is to be calibrated and how. judge: the stage llm_judge whose models are asked; empty: the only one."""

    stage: str
    documents: int = 400
    seed: int = 0
    beta: float = 1.0
    judge: str = ""
    prompt: str = ""
    cut: float | None = None


@dataclass(frozen=True)
class Filter:
    """A filter's threshold. sign: 1 where scores from it on are kept, -1 where those up to it are.

    other: reasons that are none of the threshold's; languages: that have strata of their own; near: distances from the
    threshold up to which a document is near, of the dropped and the kept side.
    """

    index: int
    sign: int
    threshold: float | None  # None: each document has its own
    other: frozenset[str]
    languages: frozenset[str]
    near: tuple[float, float]


def calibrate(run_dir: str, question: Question, *, export: str = "", given: str = "") -> dict[str, Any]:
    """Return precision, recall and the best threshold of a stage; write the sample to `export` instead, if it is given.

    Parameters
    ----------
    export : CSV file to write for people to label. given : the same file, labelled.

    Raises
    ------
    RecipeError
        no run folder, no such stage, a stage without scores, labels that do not fit the sample.
    """
    with from_home(run_dir) as root:
        folder = open_run(root, warn=False)
        filter_ = look(folder.run, question)
        sample = draw(
            folder.run,
            partial(candidates, filter_, question.seed),
            partial(strata_of, filter_),
            question.documents,
        )
        docs = array(sample.rows, "doc").tolist()
        if export:
            labels.write(export, sample.rows, texts_as_judged(folder, filter_.index, docs))
            return {"stage": question.stage, "documents": len(docs), "export": export}
        good = labels.read(given, docs) if given else asked(folder, filter_, question, docs)
        found = result(filter_, sample, good, question)
        write_public_json(storage.join(root, FOLDER, f"{question.stage}.json"), found)
    return found


# --- the filter and its strata ----------------------------------------------------------------------------------


def look(run: Run, question: Question) -> Filter:
    """Find out about a filter what its strata need, from the verdicts on some documents of each bundle."""
    index = _index(run, question.stage)
    seen = [part for bundle in run.manifest.bundles if (part := _decided(View(run, bundle), index)) is not None]
    if not seen or not any(len(part["score"]) for part in seen):
        raise RecipeError(f"stage {question.stage} has judged no document in this run folder.")
    score, threshold = (np.concatenate([part[name] for part in seen]) for name in ("score", "threshold"))
    kept = np.concatenate([part["reason"] for part in seen]) == ""
    reasons = np.concatenate([part["reason"] for part in seen])
    known = np.isfinite(score) & np.isfinite(threshold)
    if not known.any():
        raise RecipeError(
            f"stage {question.stage} compares no score with a threshold. Calibrate a stage with a limit, such as "
            "min_score."
        )
    above = (score >= threshold) & kept & known
    sign = 1 if above.sum() * 2 >= (kept & known).sum() else -1
    side = sign * (score - threshold) >= 0
    other = {str(name) for name in np.unique(reasons[~kept & known & side])} | {
        str(name) for name in np.unique(reasons[~kept & ~known])
    }
    values = np.unique(threshold[known & (kept | ~np.isin(reasons, list(other)))])
    distance = np.abs(score - threshold)
    within = known & ~np.isin(reasons, list(other))
    near = [_near(distance[within & mine]) for mine in (~kept, kept)]
    counted = Counter(np.concatenate([part["language"] for part in seen]).tolist())
    most = sorted(counted, key=lambda name: (-counted[name], name))[:LANGUAGES]
    return Filter(
        index=index,
        sign=sign,
        threshold=float(values[0]) if len(values) == 1 else None,
        other=frozenset(other),
        languages=frozenset(most),
        near=(near[0], near[1]),
    )


def _near(distance: F64) -> float:
    return float(np.quantile(distance, NEAR)) if len(distance) else 0.0


def _index(run: Run, name: str) -> int:
    """Return the place of a stage. Raises RecipeError where there is none that judges single documents."""
    for index, stage in enumerate(run.stages):
        if stage.name == name and isinstance(stage, ShardStage) and not stage.hidden and stage.use != "read":
            return index
    names = [s.name for s in run.stages if isinstance(s, ShardStage) and not s.hidden and s.use != "read"]
    raise RecipeError(f"stage must be one of {', '.join(names) or 'none'}, got {name!r}.")


def _decided(view: View, index: int, every: bool = False) -> dict[str, Any] | None:
    """Return rows, scores, thresholds, reasons and languages of documents that a stage decided: some, or all."""
    stage = view.run.stages[index]
    assert isinstance(stage, ShardStage)
    if not stage.applies_to(view.bundle.dataset):
        return None
    rows = np.flatnonzero(view.live(index)).astype(np.int64)
    if not every:
        step = max(1, len(rows) * len(view.run.manifest.bundles) // LOOKED_AT)
        order = np.argsort(array(view.read, "h1")[rows], kind="stable")
        rows = np.sort(rows[order[::step]])
    decisions = stage.decide(view.facts(index, rows))
    names = np.array([*decisions.reasons, ""], object)
    languages = languages_of(StageRun(view.run, index + 1), view, rows)
    return {
        "rows": rows,
        "score": decisions.value.astype(np.float64),
        "threshold": decisions.threshold.astype(np.float64),
        "reason": names[decisions.reason],
        "language": np.array([""] * len(rows) if languages is None else languages.to_pylist(), object),
    }


def candidates(filter_: Filter, seed: int, view: View) -> pa.Table | None:
    """Return the documents of a bundle that a filter judged. score: how far on the kept side of the threshold.

    -inf where no threshold would keep a document. Where all have one threshold it is the stage's own score, with a
    minus sign where less is better.
    """
    found = _decided(view, filter_.index, every=True)
    if found is None:
        return None
    kept = found["reason"] == ""
    score = filter_.sign * (found["score"] - found["threshold"])
    if filter_.threshold is not None:
        score = filter_.sign * found["score"]
    never = np.isin(found["reason"], list(filter_.other)) | ~np.isfinite(score)
    score = np.where(never, -np.inf, score)
    return rows_of(view, filter_.index, found["rows"], pa.array(score), kept, seed)


def strata_of(filter_: Filter, table: pa.Table) -> pa.Array:
    """Return the stratum of each candidate: dataset, language, side and distance."""
    score, kept = array(table, "score"), whole(table.column("kept")).to_numpy(zero_copy_only=False)
    limit = 0.0 if filter_.threshold is None else filter_.sign * filter_.threshold
    near = np.abs(score - limit) <= np.where(kept, filter_.near[1], filter_.near[0])
    side = np.where(kept, np.where(near, "kept-near", "kept-far"), np.where(near, "dropped-near", "dropped-far"))
    side = np.where(~kept & ~np.isfinite(score), "dropped-other", side)
    names = [
        f"{dataset}\t{language if language in filter_.languages else OTHER}\t{where}"
        for dataset, language, where in zip(
            table.column("dataset").to_pylist(), table.column("language").to_pylist(), side.tolist(), strict=True
        )
    ]
    return pa.array(names, pa.string())


# --- judging ----------------------------------------------------------------------------------------------------


def asked(folder: RunFolder, filter_: Filter, question: Question, docs: Sequence[int]) -> list[bool | None]:
    """Return for each document whether the models of a stage llm_judge call it good; None where they say nothing."""
    judge = judge_of(folder.run, question.judge)
    judge = dataclasses.replace(judge, **_prompt(folder, filter_, question, judge))
    texts = texts_as_judged(folder, filter_.index, docs)
    cut = judge.askers()[0].prompt.cut
    facts, at = ask_texts(
        folder.root, judge, judge.manner(1), Range(), [cut(texts[doc]) if doc in texts else "" for doc in docs]
    )
    labelled = "label" in judge.askers()[0].prompt.schema["properties"] and question.cut is None
    column = "judge_label" if labelled else "judge_score"
    values = facts.column(column).take(pa.array(at)).to_pylist()
    limit = question.cut
    if limit is None and not labelled:
        raise RecipeError("give --cut, the score from which the judge calls a document good.")
    known = [doc in texts for doc in docs]
    return [
        None if value is None or not there else (value == "yes" if labelled else value >= limit)
        for value, there in zip(values, known, strict=True)
    ]


def judge_of(run: Run, name: str) -> LlmJudge:
    """Return the stage llm_judge of a run by its name, or the only one. Raises RecipeError."""
    found = [stage for stage in run.stages if isinstance(stage, LlmJudge) and name in ("", stage.name)]
    if len(found) != 1:
        names = ", ".join(stage.name for stage in run.stages if isinstance(stage, LlmJudge)) or "none"
        raise RecipeError(
            f"the recipe has {len(found)} stages llm_judge called {name!r} ({names}); the models of one are asked. "
            "Add one, name it by --judge, or let people label: --export labels.csv."
        )
    return found[0]


def _prompt(folder: RunFolder, filter_: Filter, question: Question, judge: LlmJudge) -> dict[str, Any]:
    """Return the parameters of the judge that ask the question of a calibration."""
    plain = {"keep_labels": (), "drop_labels": (), "min_score": None, "max_score": None}
    stage = folder.run.stages[filter_.index]
    if question.prompt:
        return {**plain, "prompt": _calibration_prompt(folder, question.prompt)}
    if stage.use == "language_id":
        text = prompts.source("language", "calibrate")
        languages = ", ".join(getattr(stage, "languages", ())) or "the language named most likely"
        return {**plain, "prompt": _written(folder, "language", text.replace("{languages}", languages))}
    if question.cut is not None:
        return {**plain, "prompt": judge.prompt}
    return {**plain, "prompt": _calibration_prompt(folder, "keep")}


def _calibration_prompt(folder: RunFolder, name: str) -> str:
    return _written(folder, name, prompts.source(name, "calibrate")) if name in prompts.names("calibrate") else name


def _written(folder: RunFolder, name: str, text: str) -> str:
    """Write a prompt into the run folder, so that it can be read what was asked; return its path."""
    path = storage.join(folder.root, FOLDER, f"{name}.yaml")
    storage.write_bytes(path, text.encode())
    return path


# --- what comes of it ---------------------------------------------------------------------------------------------


def result(filter_: Filter, sample: Sample, good: Sequence[bool | None], question: Question) -> dict[str, Any]:
    """Return precision, recall and best thresholds: of all documents, of each dataset, of each language."""
    strata = strata_with(sample, good)
    drawn = draws(strata, question.seed)
    known = np.array([value is not None for value in good])
    truth = np.array([bool(value) for value in good])
    weight = _weights(sample, strata)
    score = array(sample.rows, "score")

    def of(members: Sequence[int]) -> dict[str, Any]:
        names = {strata[i].name for i in members}
        mine = known & np.array([name in names for name in sample.rows.column("stratum").to_pylist()], np.bool_)
        precision, recall = precision_recall(strata, drawn, members)
        best = best_threshold(score[mine], truth[mine], weight[mine], question.beta)
        tree = None if best is None else {**best.as_tree(), "threshold": filter_.sign * best.value}
        return {
            "documents": sum(strata[i].size for i in members),
            "judged": sum(strata[i].judged for i in members),
            "precision": precision.as_tree(),
            "recall": recall.as_tree(),
            "best": tree,
        }

    def by(part: int) -> dict[str, Any]:
        groups: dict[str, list[int]] = {}
        for i, s in enumerate(strata):
            groups.setdefault(s.name.split("\t")[part], []).append(i)
        return {name: of(members) for name, members in sorted(groups.items())}

    return {
        "stage": question.stage,
        "threshold": filter_.threshold,
        "kept": "from the threshold on" if filter_.sign > 0 else "up to the threshold",
        "threshold_is": "the stage's own scale"
        if filter_.threshold is not None
        else "distance from each one's threshold",
        "beta": question.beta,
        "seed": question.seed,
        "unjudged": int((~known).sum()),
        "all": of(range(len(strata))),
        "datasets": by(0),
        "languages": by(1),
        "sides": by(2),
    }


def strata_with(sample: Sample, good: Sequence[bool | None]) -> list[Stratum]:
    """Return the strata of a sample with what was judged of each."""
    kept: dict[str, bool] = {}
    judged: Counter[str] = Counter()
    right: Counter[str] = Counter()
    rows = sample.rows.select(["stratum", "kept"]).to_pylist()
    for row, value in zip(rows, good, strict=True):
        kept[row["stratum"]] = row["kept"]
        judged[row["stratum"]] += value is not None
        right[row["stratum"]] += bool(value)
    return [
        Stratum(
            name=name,
            side=name.split("\t")[2],
            kept=kept.get(name, name.split("\t")[2].startswith("kept")),
            size=size,
            judged=judged[name],
            good=right[name],
        )
        for name, size in sorted(sample.sizes.items())
    ]


def _weights(sample: Sample, strata: Sequence[Stratum]) -> F64:
    """Return how many documents each judged row stands for."""
    by_name: Mapping[str, Stratum] = {s.name: s for s in strata}
    names = sample.rows.column("stratum").to_pylist()
    return np.array([by_name[name].size / max(1, by_name[name].judged) for name in names], np.float64)
