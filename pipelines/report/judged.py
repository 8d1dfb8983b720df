"""The documents that quality and language stages judged, as arrays: out of the facts, or out of ledger and mix.

Memory: the facts of one bundle, or one batch of a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ledger_tasks import Task, ledger_tasks, shards_of
from pipelines.run_tables import mix_tables
from pipelines.runfolder import RunFolder, StageInfo
from stages.core.arrays import array
from stages.core.run import Run
from stages.core.stage import Decisions

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
SCORES = {"quality": "quality_score", "llm_judge": "judge_score", "language_id": "language_score"}  # by kind of stage
OTHER_LANGUAGE = 0  # the number of reason `language` of stage language_id


@dataclass(frozen=True, eq=False)
class Judged:
    """Documents of one dataset that one stage judged, arrays of shape (rows,). values: NaN for none."""

    stage: StageInfo
    dataset: str
    values: F64
    languages: pa.Array | None
    dropped: npt.NDArray[np.bool_]
    tokens: I64
    wanted: npt.NDArray[np.bool_] | None = None  # in a language that the stage keeps; None: not to be had


def scores_from_facts(run: Run, group: int) -> Iterator[tuple[str, F64]]:
    """Yield the scores of a group's documents that reached each quality stage; more may be stored, of other recipes."""
    from stages.core.view import View

    for position in run.manifest.groups[group]:
        view = View.at(run, position)
        for index, stage in enumerate(run.stages):
            if stage.use in SCORES and stage.use != "language_id" and stage.applies_to(view.bundle.dataset):
                score = SCORES[stage.use]
                table = view.facts(index, np.flatnonzero(view.live(index)), [score])
                yield stage.name, _floats(table, score)


def judged_from_facts(run: Run, infos: Mapping[str, StageInfo], group: int) -> Iterator[Judged]:
    """Yield what the stages judged of a group, bundle by bundle, out of the sidecars."""
    from stages.core.view import View
    from stages.outcome.verdicts import num_tokens

    for position in run.manifest.groups[group]:
        view = View.at(run, position)
        bundle = view.bundle
        tokens = num_tokens(view)
        for index, stage in enumerate(run.stages):
            if stage.use not in SCORES or not stage.applies_to(bundle.dataset):
                continue
            rows, decisions = view.decided(index)
            if stage.use == "llm_judge" and not stage.drops:
                rows = np.flatnonzero(view.live(index))
                decisions = Decisions.keep_all(len(rows))
            table = view.facts(index, rows)
            is_language = stage.use == "language_id"
            yield Judged(
                stage=infos[stage.name],
                dataset=bundle.dataset,
                values=_floats(table, SCORES[stage.use]),
                languages=_strings(table, "language") if is_language else None,
                dropped=decisions.dropped,
                tokens=tokens[rows],
                wanted=decisions.reason != OTHER_LANGUAGE if is_language else None,
            )


def parts_of_files(folder: RunFolder) -> list[Task | tuple[str, str]]:
    """Return the tasks of the ledger, then dataset ("" for several) and path of each file of the mix."""
    mixes = [folder] if folder.mix_name in folder.mixes else [folder.of_mix(name) for name in folder.mixes]
    files: list[tuple[str, str]] = []
    for mix in mixes:
        files += [("", path) for path in mix.files] if mix.interleaved else []
        files += [(name, path) for name in mix.datasets for path in mix.mix_files(name)]
    return [*ledger_tasks(folder), *files]


def judged_from_file(root: str, stages: list[StageInfo], part: Task | tuple[str, str]) -> Iterator[Judged]:
    """Yield the dropped documents of a part of the ledger, or the kept ones of a file of the mix."""
    if isinstance(part, Task):
        for table in RunFolder(root).ledger_of(shards_of(root, part), ["stage", "value", "num_tokens"]):
            for stage in (s for s in stages if s.applies_to(part.dataset)):
                mine = table.filter(pc.fill_null(pc.equal(table.column("stage"), stage.name), False))
                yield _judged(stage, part.dataset, mine, "value", None, dropped=True)
        return
    dataset, path = part
    names = ["language_score", "quality_score", "language", "num_tokens", *([] if dataset else ["source"])]
    for table in mix_tables(path, names):
        for name in [dataset] if dataset else table.column("source").unique().to_pylist():
            mine = table if dataset else table.filter(pc.equal(table.column("source"), name))
            last = {s.use: s for s in stages if s.applies_to(name)}  # the mix holds the scores of the last such stage
            for stage in last.values():
                yield _judged(stage, name, mine, SCORES[stage.use], "language", dropped=False)


def scores_of(
    judged: Callable[[Task | tuple[str, str]], Iterator[Judged]], part: Task | tuple[str, str]
) -> Iterator[tuple[str, F64]]:
    return ((some.stage.name, some.values) for some in judged(part) if some.languages is None)


def _judged(
    stage: StageInfo, dataset: str, table: pa.Table, value: str, language: str | None, *, dropped: bool
) -> Judged:
    languages = None
    if stage.use == "language_id":
        languages = _strings(table, language) if language else pa.nulls(table.num_rows, pa.string())
    return Judged(
        stage=stage,
        dataset=dataset,
        values=_floats(table, value),
        languages=languages,
        dropped=np.full(table.num_rows, dropped),
        tokens=array(table, "num_tokens").astype(np.int64),
    )


def _strings(table: pa.Table, name: str) -> pa.Array:
    return table.column(name).cast(pa.string()).combine_chunks()


def _floats(table: pa.Table, name: str) -> F64:
    return np.asarray(pc.fill_null(table.column(name).cast(pa.float64()), np.nan).to_numpy())
