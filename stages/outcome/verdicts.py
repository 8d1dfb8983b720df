"""Verdicts on the rows of one bundle: which stage dropped each and why; tokens and duplicates of those that live.

Guarantees: the first stage that drops a document is the one that is named. Memory: the facts of one bundle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.core.arrays import BoolArray, FloatArray, array
from stages.core.edits import sizes
from stages.core.run import Run
from stages.core.shard import check_ascending
from stages.core.view import View
from stages.dedup.dedup_stage import DedupStage
from stages.implicit.count_tokens import CountTokens
from stages.implicit.read import estimated_tokens
from stages.outcome import lineage

I64 = npt.NDArray[np.int64]


@dataclass(eq=False)
class Outcome:
    """Verdicts on the rows of one bundle, arrays of shape (rows,)."""

    view: View
    stage: npt.NDArray[np.int16]  # place of the stage that dropped the row, -1: it lives
    reason: npt.NDArray[np.int16]  # index into that stage's reasons
    reasons: dict[int, tuple[str, ...]]
    value: FloatArray
    threshold: FloatArray
    representative: I64  # -1: none
    kind: npt.NDArray[np.int8]  # index into KINDS, -1: not dropped by deduplication

    @property
    def kept(self) -> BoolArray:
        return self.stage < 0


def outcome(run: Run, position: int) -> Outcome:
    """Return the verdict on every row of the bundle at `position`: dropped by which stage, why, with which value."""
    view = View(run, run.manifest.bundles[position])
    rows = view.bundle.rows
    result = Outcome(
        view=view,
        stage=np.full(rows, -1, np.int16),
        reason=np.full(rows, -1, np.int16),
        reasons={},
        value=np.full(rows, np.nan),
        threshold=np.full(rows, np.nan),
        representative=np.full(rows, -1, np.int64),
        kind=np.full(rows, -1, np.int8),
    )
    for index, stage in enumerate(run.stages):
        judged, decisions = view.decided(index)
        lost = decisions.dropped
        at = judged[lost]
        result.stage[at] = index
        result.reason[at] = decisions.reason[lost]
        result.reasons[index] = decisions.reasons
        result.value[at] = decisions.value[lost]
        result.threshold[at] = decisions.threshold[lost]
        if isinstance(stage, DedupStage) and len(at):
            table = view.stored_decisions(index)
            result.representative[at] = array(table, "representative")
            result.kind[at] = array(table, "similarity_kind")
    return result


def num_tokens(view: View) -> I64:
    """Return the tokens of every row of a bundle, (rows,): counted, or estimated where there is no tokenizer.

    A rewritten text has the tokens of the text as written; counted tokens shrink with its bytes.
    """
    tokens = view.kept("tokens", lambda: _num_tokens(view), lambda made: made.nbytes)
    tokens.setflags(write=False)
    return tokens


def _num_tokens(view: View) -> I64:
    before, edits = _tokens_read(view), view.edits
    if not len(edits):
        return before
    num_bytes = array(view.read, "num_bytes").astype(np.int64)
    rows = np.unique(edits.row)
    after = sizes(edits, num_bytes)[rows]
    if any(isinstance(stage, CountTokens) for stage in view.run.stages):
        before[rows] = -(-before[rows] * after // num_bytes[rows])
    else:
        before[rows] = estimated_tokens(after.astype(np.uint32))
    return before


def _tokens_read(view: View) -> I64:
    run = view.run
    for index, stage in enumerate(run.stages):
        if isinstance(stage, CountTokens):
            rows, found = np.flatnonzero(view.live(index)), np.zeros(view.bundle.rows, np.int64)
            found[rows] = array(view.facts(index, rows), "num_tokens")
            return found
    return estimated_tokens(array(view.read, "num_bytes").astype(np.uint32))


def lookup(keys: I64, values: I64, wanted: I64) -> I64:
    """Return the value of each doc_id, -1 if there is none, (docs,). Raises LedgerError unless the keys ascend."""
    check_ascending(keys, "doc_ids of survivors, groups and copies")
    found = np.full(len(wanted), -1, np.int64)
    if len(keys):
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        hit = keys[at] == wanted
        found[hit] = values[at[hit]]
    return found


def group_columns(run: Run, position: int, kept: BoolArray) -> tuple[pa.Array, pa.Array]:
    """Return columns group_size and group_datasets of a bundle's rows: null if dropped, 1 without duplicates.

    kept : which rows live, (rows,).
    """
    bundle, groups = run.manifest.bundles[position], lineage.groups_of(run, run.manifest.group_at(position))
    keys = array(groups, "doc").astype(np.int64)
    at = lookup(keys, np.arange(groups.num_rows, dtype=np.int64), bundle.doc_ids())
    won = at >= 0
    size = np.ones(len(at), np.int32)
    size[won] = array(groups, "group_size")[at[won]]
    alone = pa.array([f'{{"{bundle.dataset}": 1}}'], pa.large_string())
    texts = pa.concat_arrays([alone, *groups.column("group_datasets").chunks])
    picked = texts.take(pa.array(np.where(kept, at + 1, 0), mask=~kept))
    return pa.array(size, mask=~kept), picked
