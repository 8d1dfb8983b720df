"""`ExchangeStage`: a stage that brings equal keys together across shards; and whether its decisions are complete.

Guarantees: decisions marked complete have all sidecars; the number of destinations of an exchange depends on
the data alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from typing_extensions import TypedDict  # pydantic reads it, and needs this one before Python 3.12

from cluster import storage
from cluster.engines import Engine, InlineEngine
from cluster.exchange import remove_hops
from cluster.files.records import as_kind
from cluster.files.sealed import parse_json, write_json
from cluster.scale import scaled
from stages.core.arrays import array
from stages.core.edits import Edits
from stages.core.run import StageRun
from stages.core.stage import Decisions, Stage
from stages.core.view import View

MARKER = "complete"
ROWS_PER_DESTINATION = scaled(250_000)
SMALL = scaled(20_000)  # below this one destination does it all


class _Marker(TypedDict):
    """What says that decisions are complete: the files that belong to them beside the sidecars."""

    beside: list[str]


@dataclass(frozen=True, kw_only=True)
class ExchangeStage(Stage):
    """Base class of stages whose verdicts depend on several documents: brings equal keys together across shards."""

    exchanges: ClassVar[bool] = True
    drop_reason: ClassVar[str] = ""
    keeps_verdicts: ClassVar[bool] = True  # in a decisions sidecar per bundle, a row per document concerned

    @property
    def threshold(self) -> float:
        """The similarity threshold recorded with every dropped document."""
        return 1.0

    @classmethod
    def rewrites(cls) -> bool:
        """Tell whether stages of this class rewrite texts: it overrides `edits_of`."""
        return cls.edits_of is not ExchangeStage.edits_of

    def resolve(self, engine: Engine, stage_run: StageRun[Self]) -> None:
        """Write the decisions sidecar of every bundle; `stage_run` is this stage in its run."""
        raise TypeError(f"{type(self).__name__} has no resolve")

    def notes(self, stage_run: StageRun[Self]) -> list[str]:
        """Return what the user should be told of the finished stage, one sentence each."""
        return []

    def verdicts(self, view: View, index: int) -> tuple[npt.NDArray[np.int64], Decisions]:
        """Return (rows, decisions): the bundle rows that the stage decided, ascending, and the verdict on each."""
        table = view.stored_decisions(index)
        reason = np.zeros(table.num_rows, np.int16)
        similarity = array(table, "similarity").astype(np.float64)
        decisions = Decisions(reason, (self.drop_reason,), similarity, np.full(table.num_rows, self.threshold))
        return array(table, "row").astype(np.int64), decisions

    def edits_of(self, view: View, index: int, rows: npt.NDArray[np.int64]) -> Edits:
        """Return the edits of the texts of these bundle rows, numbered by place in `rows`."""
        raise TypeError(f"{type(self).__name__} rewrites nothing")

    def evidence(self, view: View, index: int) -> tuple[npt.NDArray[np.int64], list[str]]:
        """Return (rows, words): bundle rows with an entry in the ledger column `evidence`, and the entries."""
        return np.empty(0, np.int64), []


def destinations_for(rows: int) -> int:
    """Return the number of destinations for an exchange of `rows` rows; depends on the data alone."""
    return 1 if rows <= SMALL else max(4, -(-rows // ROWS_PER_DESTINATION))


def is_complete(stage_run: StageRun[Stage]) -> bool:
    """Tell whether an exchange stage's decisions are complete.

    The marker exists, with all that it lists, and a sidecar of every bundle. Raises DamagedError of the marker.
    """
    if not storage.exists(_marker(stage_run)):
        return False
    run, stage, sidecars = stage_run.run, stage_run.stage, stage_run.decisions
    have = storage.names(sidecars.folder)
    if not _are_there(sidecars.folder, have, read_marker(_marker(stage_run))):
        return False
    if isinstance(stage, ExchangeStage) and not stage.keeps_verdicts:
        return True
    mine = [b for b in run.manifest.bundles if stage.applies_to(b.dataset)]
    paths = [sidecars.path(bundle, run.reading(bundle.dataset)) for bundle in mine]
    return all(path.rpartition("/")[2] in have for path in paths)


def _are_there(folder: str, have: set[str], beside: Sequence[str]) -> bool:
    """Tell whether all of these files are there, by one listing of each folder below. have: names in `folder`."""
    inner = {path.rpartition("/")[0] for path in beside} - {""}
    listed = {place: storage.names(storage.join(folder, place)) for place in inner} | {"": have}
    return all(path.rpartition("/")[2] in listed[path.rpartition("/")[0]] for path in beside)


def mark_complete(stage_run: StageRun[Stage], engine: Engine | None = None, beside: Sequence[str] = ()) -> None:
    """Write the marker of complete decisions, then remove the files of the exchange.

    engine : removes many of them. beside : files in the decisions' folder, other than sidecars, that belong to them.
    """
    write_json(_marker(stage_run), {"beside": sorted(beside)})
    remove_hops(engine or InlineEngine(), stage_run.folder("").rstrip("/"), len(stage_run.positions))


def read_marker(path: str) -> list[str]:
    """Return what a marker lists; nothing of an empty one, as an earlier winnow wrote. Raises DamagedError."""
    text = storage.read_bytes(path)
    return as_kind(path, parse_json(path, text), _Marker)["beside"] if text else []


def _marker(stage_run: StageRun[Stage]) -> str:
    return storage.join(stage_run.decisions.folder, MARKER)
