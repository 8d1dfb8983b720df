"""`View`: one bundle through its sidecars: live rows before a stage, eligibility by later filters, edits.

Guarantees: verdicts of shard stages follow from facts, those of exchange stages from what they stored. Memory: the
facts of one bundle, each read on first use.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster.errors import LedgerError
from stages.core import edits
from stages.core.arrays import BoolArray, array, whole
from stages.core.composition import compose_edits
from stages.core.edits import Edits
from stages.core.kept_in_memory import KEPT
from stages.core.run import Run, StageRun
from stages.core.shard import Bundle
from stages.core.sidecar import expand
from stages.core.stage import Decisions, ShardStage
from stages.kernels.survivors.pair_answers import NO, UNKNOWN, YES

T = TypeVar("T")


class _SeesBundle(Protocol):
    """Protocol of a stage that is no shard stage: its verdicts and edits of a bundle; every ExchangeStage has it."""

    def verdicts(self, view: View, index: int) -> tuple[npt.NDArray[np.int64], Decisions]: ...

    def edits_of(self, view: View, index: int, rows: npt.NDArray[np.int64]) -> Edits: ...


class View:
    """One bundle through its sidecars. Holds the facts of the bundle, each read on first use."""

    def __init__(self, run: Run, bundle: Bundle) -> None:
        self.run = run
        self.bundle = bundle
        self._decided: dict[int, tuple[npt.NDArray[np.int64], Decisions]] = {}
        self._live: dict[int, BoolArray] = {}

    @classmethod
    def at(cls, run: Run, position: int) -> View:
        """Return the view of the bundle at `position` in the manifest."""
        return cls(run, run.manifest.bundles[position])

    @functools.cached_property
    def read(self) -> pa.Table:
        """Facts of stage `read`: every row, in order."""
        stage = self.run.stages[0]
        table = self.run.facts(stage).read(self.bundle, self.reading)
        if table.num_rows != self.bundle.rows:
            raise LedgerError(
                f"bundle {self.bundle.number} of {self.bundle.dataset}: facts of read have {table.num_rows:,} rows,"
                f" the manifest says {self.bundle.rows:,}."
            )
        return table

    @property
    def reading(self) -> str:
        return self.run.reading(self.bundle.dataset)

    @functools.cached_property
    def doc_ids(self) -> npt.NDArray[np.int64]:
        return self.bundle.doc_ids()

    def facts(self, index: int, rows: npt.NDArray[np.int64], columns: list[str] | None = None) -> pa.Table:
        """Return a stage's facts of these bundle rows. Raises LedgerError if a row has none."""
        stage = self.run.stages[index]
        table = self.read if index == 0 else StageRun(self.run, index).facts(self.bundle, columns)
        if self.run.guesses and self.run.deferred(index):
            return table.take(pc.index_in(pa.array(rows, pa.uint32()), whole(table.column("row"))))
        return expand(table.column("row").to_numpy(), table, rows, f"{stage.name}, bundle {self.bundle.number}")

    def live(self, index: int) -> BoolArray:
        """Mark the live rows before stage `index`: those that no earlier stage dropped, (rows,) bool."""
        if index not in self._live:
            if index == 0:
                self._live[0] = np.ones(self.bundle.rows, np.bool_)
            else:
                live = self.live(index - 1).copy()
                rows, decisions = self.decided(index - 1)
                live[rows[decisions.dropped]] = False
                self._live[index] = live
        return self._live[index]

    def decided(self, index: int) -> tuple[npt.NDArray[np.int64], Decisions]:
        """Return (rows, decisions): the rows that a ShardStage decided, or an exchange stage dropped, and verdicts."""
        if index not in self._decided:
            self._decided[index] = self.kept(index, lambda: self._decide(index, self.live(index)), _size)
        return self._decided[index]

    def kept(self, what: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """Return what `make` gives of this bundle, or gave before where all stages have decided. size: its bytes."""
        return KEPT.get((self.run.settled, self.bundle.number, what), make, size) if self.run.settled else make()

    def _decide(self, index: int, among: BoolArray) -> tuple[npt.NDArray[np.int64], Decisions]:
        stage = self.run.stages[index]
        nothing = np.empty(0, np.int64), Decisions.keep_all(0)
        if not stage.applies_to(self.bundle.dataset):
            return nothing
        if isinstance(stage, ShardStage):
            if not stage.drops:
                return nothing
            if self.run.guesses and self.run.deferred(index):
                among = among & self.covered(index)
            rows = np.flatnonzero(among)
            return rows, stage.decide(self.facts(index, rows))
        return cast("_SeesBundle", stage).verdicts(self, index)

    def stored_decisions(self, index: int) -> pa.Table:
        """Return the decisions sidecar of an exchange stage, one row per dropped document."""
        return self.run.decisions(index).read(self.bundle, self.reading)

    @functools.cached_property
    def edits(self) -> Edits:
        """Merged edits of all stages to the texts live before `rewrite`, by bundle row."""
        if not self.run.stages[-1].applies_edits:
            return edits.none()
        rows = np.flatnonzero(self.live(len(self.run.stages) - 1))
        place = next((i for i, stage in enumerate(self.run.stages) if stage.hands_on_text), None)
        if place is None or not self.run.stages[place].applies_to(self.bundle.dataset):
            return self._edits_of(range(len(self.run.stages)), rows).numbered(rows)
        repaired = self._edits_of(range(place, place + 1), rows)
        later = self._edits_of(range(place + 1, len(self.run.stages)), rows)
        both = [self._edits_of(range(place), rows), compose_edits(repaired, later)]
        return edits.merge(both).numbered(rows)

    def _edits_of(self, indexes: range, rows: npt.NDArray[np.int64]) -> Edits:
        """Return the edits of these stages, merged; row: place in `rows`."""
        found = []
        for index in indexes:
            stage = self.run.stages[index]
            if not stage.rewrites() or not stage.applies_to(self.bundle.dataset):
                continue
            if isinstance(stage, ShardStage):
                found.append(stage.edits(self.facts(index, rows)))
            else:
                found.append(cast("_SeesBundle", stage).edits_of(self, index, rows))
        return edits.merge(found)

    def as_judged(self, index: int, rows: npt.NDArray[np.int64], texts: pa.Array) -> pa.Array:
        """Return texts of bundle rows, ascending, as stage `index` judges them: repaired, if a stage before says so."""
        place = self.run.text_from(index)
        if place is None or not self.run.stages[place].applies_to(self.bundle.dataset):
            return texts
        return edits.apply(texts, self._edits_of(range(place, place + 1), rows))

    def eligible(self, index: int) -> npt.NDArray[np.uint8]:
        """Return the eligibility of rows: live before stage `index` and passing every later shard stage, (rows,) uint8.

        UNKNOWN: the row is unscored by a deferred filter, and no other filter drops it.
        """
        passing = self.live(index).copy()
        unknown = np.zeros(len(passing), np.bool_)
        for later in range(index + 1, len(self.run.stages)):
            stage = self.run.stages[later]
            if not isinstance(stage, ShardStage) or not stage.drops or stage.by_population:
                continue
            judged = passing
            if self.run.deferred(later) and stage.applies_to(self.bundle.dataset):
                judged = passing & self.covered(later)
                unknown |= passing & ~judged
            if judged.any():
                rows, decisions = self._decide(later, judged)
                passing[rows[decisions.dropped]] = False
        return np.where(passing, np.where(unknown, UNKNOWN, YES), NO).astype(np.uint8)

    def covered(self, index: int) -> BoolArray:
        """Mark the rows that have facts of a stage, (rows,) bool."""
        found = np.zeros(self.bundle.rows, np.bool_)
        table = self.run.facts(self.run.stages[index]).read_if_there(self.bundle, self.reading, [])
        if table is not None:
            found[array(table, "row")] = True
        return found

    def criteria(self, rows: npt.NDArray[np.int64]) -> list[npt.NDArray[np.float64]]:
        """Return the tie-break criteria, one array per entry of `prefer`, smaller is better, (rows,) float64."""
        found: list[npt.NDArray[np.float64]] = []
        for rule in self.run.prefer:
            sign = {"longest": -1.0, "shortest": 1.0}[rule]
            found.append(sign * self.read.column("num_chars").to_numpy()[rows].astype(np.float64))
        return found


def _size(verdicts: tuple[npt.NDArray[np.int64], Decisions]) -> int:
    rows, decisions = verdicts
    return int(rows.nbytes + decisions.reason.nbytes + decisions.value.nbytes + decisions.threshold.nbytes)
