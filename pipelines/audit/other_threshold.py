"""What another jaccard_threshold would keep, from stored facts alone: no text is read, nothing is hashed.

The stage runs again on its signatures, in a temporary folder, with the threshold changed. Pairs whose estimate
does not settle them are decided by their true similarity where an earlier run kept it, else by the estimate, and
these are counted. Later dedup stages follow. Memory: that of near_dedup (docs/design.md).
"""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from cluster import storage
from cluster.engines import InlineEngine
from cluster.errors import RecipeError
from cluster.files.arrow_files import read_arrow, write_arrow
from pipelines.audit import tree
from pipelines.runfolder import RunFolder
from stages.core.exchange_stage import ExchangeStage
from stages.core.run import Run, StageRun, stage_runs
from stages.core.sidecar import Sidecars
from stages.core.view import View
from stages.dedup.dedup_stage import ESTIMATED, write_decisions
from stages.dedup.near import buckets, rounds
from stages.dedup.near.buckets import Groups
from stages.dedup.near.job import NearJob
from stages.dedup.near.judge import Judge
from stages.dedup.near.known_pairs import recall_pairs
from stages.kernels.survivors.pair_answers import NO, YES
from stages.near_dedup import NearDedup
from stages.outcome.verdicts import num_tokens

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Scratch(Run):
    """A run whose stages from `first` on decide anew, in another folder; facts and earlier verdicts are the run's."""

    guesses: ClassVar[bool] = True

    scratch: str = ""
    first: int = 0

    def decision_digest(self, index: int) -> str:
        found = super().decision_digest(index)
        return found if index < self.first else f"scratch-{found}"

    def decisions(self, index: int) -> Sidecars:
        found = super().decisions(index)
        if index < self.first:
            return found
        return Sidecars(storage.join(self.scratch, "decisions", str(index)))

    def exchange_folder(self, index: int, hop: str) -> str:
        return storage.join(self.scratch, "exchange", str(index), hop)


class FromFacts(Judge):
    """A judge that never asks for a text. guessed: pairs near the threshold that the estimate decided."""

    guessed = 0
    known = 0

    def __call__(self, left: I64, right: I64) -> npt.NDArray[np.uint8]:
        value, kind = self.similarity(left, right)
        close = self.is_close(value, np.asarray(left, np.int64), np.asarray(right, np.int64)) & (kind == ESTIMATED)
        self.guessed += int(close.sum())
        self.known += int((kind != ESTIMATED).sum())
        if self.near.verify == "none":
            return np.full(len(value), YES, np.uint8)
        return np.where(value >= self.near.threshold, YES, NO).astype(np.uint8)


def compare_thresholds(folder: RunFolder, threshold: float) -> tree.ThresholdAudit:
    """Return documents and tokens kept per dataset with this threshold, beside those of the present run.

    Raises
    ------
    RecipeError
        The run has no near_dedup, or one without verification, whose verdicts no threshold changes.
    """
    run = folder.run
    uses = stage_runs(run, NearDedup)
    if not uses:
        raise RecipeError(f"--threshold: {folder.root} has no near_dedup stage.")
    index, stage = uses[-1].index, uses[-1].stage
    if stage.verify == "none":
        raise RecipeError(
            f"--threshold: {stage.name} has verify: none, so no threshold changes what it drops. Change bands and "
            "rows_per_band instead."
        )
    other = dataclasses.replace(stage, jaccard_threshold=threshold)
    stages = (*run.stages[:index], other, *run.stages[index + 1 :])
    with tempfile.TemporaryDirectory(prefix="winnow-audit-") as scratch_folder:
        values = {f.name: getattr(run, f.name) for f in dataclasses.fields(Run)}
        scratch = Scratch(**{**values, "stages": stages}, scratch=scratch_folder, first=index)
        counts = [0, 0]
        for place in range(index, len(stages)):
            _resolve(scratch, place, counts)
        now, then, unjudged = kept_of_run(run), kept_of_run(scratch), _unjudged(scratch)
    return {
        "stage": stage.name,
        "threshold": threshold,
        "present": stage.jaccard_threshold,
        "pairs_known": counts[0],
        "pairs_guessed": counts[1],
        "not_judged": unjudged,
        "datasets": {name: {"now": now[name], "then": then[name]} for name in now},
    }


def _resolve(scratch: Scratch, index: int, counts: list[int]) -> None:
    """Decide one stage anew; near_dedup from facts alone."""
    stage, engine = scratch.stages[index], InlineEngine()
    if not isinstance(stage, ExchangeStage) or stage.hidden:
        return
    if not isinstance(stage, NearDedup):
        stage.resolve(engine, StageRun(scratch, index))
        return
    near = stage.job(StageRun(scratch, index))
    groups = buckets.group_candidates(engine, near)
    found = _verdicts(engine, near, groups, counts) if groups else []
    write_decisions(engine, near.stage_run, found)


def _unjudged(run: Run) -> int:
    """Return how many documents a deferred filter has not judged, which count as passing."""
    found = 0
    for index, stage in enumerate(run.stages):
        if run.deferred(index) and stage.drops:
            for bundle in filter(lambda b: stage.applies_to(b.dataset), run.manifest.bundles):
                view = View(run, bundle)
                found += int((view.live(index) & ~view.covered(index)).sum())
    return found


def _verdicts(engine: InlineEngine, near: NearJob, groups: Groups, counts: list[int]) -> list[str | None]:
    known = recall_pairs(engine, near, groups)
    paths: list[str | None] = []
    for d in range(groups.destinations):
        members, documents = groups.members[d], groups.documents[d]
        if members is None or documents is None:
            paths.append(None)
            continue
        judge = FromFacts(near, read_arrow(documents), [known[d]])
        result = rounds.decide_groups(near, judge, rounds.bucketed(near, judge, read_arrow(members)))
        path = storage.join(near.folder("from-facts"), f"{d}.arrow")
        write_arrow(path, rounds.final_verdicts(judge, result))
        paths.append(path)
        counts[0], counts[1] = counts[0] + judge.known, counts[1] + judge.guessed
    return paths


def kept_of_run(run: Run) -> dict[str, tree.KeptAmount]:
    """Return dataset -> documents and tokens that survive every stage."""
    found: dict[str, tree.KeptAmount] = {d.name: {"documents": 0, "tokens": 0} for d in run.datasets}
    for bundle in run.manifest.bundles:
        view, last = View(run, bundle), len(run.stages) - 1
        live = view.live(last).copy()
        rows, decisions = view.decided(last)
        live[rows[decisions.dropped]] = False
        found[bundle.dataset]["documents"] += int(live.sum())
        found[bundle.dataset]["tokens"] += int(num_tokens(view)[live].sum())
    return found
