"""Last stage of a run with edits: drops documents of which the edits leave nothing.

Guarantees: what is dropped is exactly what would be written as nothing but white space; reads no text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from cluster.engines import Engine
from stages.core.arrays import array
from stages.core.edits import nothing_left
from stages.core.exchange_stage import ExchangeStage
from stages.core.run import StageRun
from stages.core.stage import Decisions
from stages.core.view import View

NAME = "rewrite"


@dataclass(frozen=True, kw_only=True)
class Rewrite(ExchangeStage):
    """Reads the edits of all stages / Writes nothing / Drops documents of which the edits leave nothing."""

    use: ClassVar[str] = NAME
    hidden: ClassVar[bool] = True
    summary: ClassVar[str] = "what is left of rewritten texts"
    keeps_verdicts: ClassVar[bool] = False
    applies_edits: ClassVar[bool] = True

    def resolve(self, engine: Engine, stage_run: StageRun[Self]) -> None:
        """Write no decisions: the verdicts follow from the edits of other stages."""

    def verdicts(self, view: View, index: int) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], Decisions]:
        edits = view.edits
        rows = nothing_left(edits, array(view.read, "num_bytes").astype(np.int64))
        zero = np.zeros(len(rows))
        return rows, Decisions(zero.astype(np.int16), ("nothing_left",), zero, np.ones(len(rows)))
