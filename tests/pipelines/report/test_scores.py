"""Histograms of scores hold every document that was judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from cluster.engines import InlineEngine
from pipelines.report.judged import Judged
from pipelines.report.scores import count_judged
from pipelines.runfolder import StageInfo
from tests.support import run_folders


def test_score_histograms_hold_every_document_that_was_judged(run: Path, found: dict[str, Any]) -> None:
    score = {}
    for file in (run.parent / "in").rglob("*.parquet"):
        score.update({row["id"]: row["score"] for row in pq.read_table(file).to_pylist()})
    judged = [r for r in run_folders.ledger(run) if r["kept"] or r["stage"] == "quality"]
    (entry,) = found["scores"]
    assert found["scores_from"] == "facts"
    assert entry["judged"] == len(judged)
    for key, kept in (("kept", True), ("dropped", False)):
        values = [score[r["id"]] for r in judged if r["kept"] is kept]
        assert entry[key] == np.histogram(values, entry["edges"])[0].tolist()
    for point in entry["thresholds"]:
        assert point["documents"] == sum(score[r["id"]] >= point["threshold"] for r in judged)
    assert 0.3 in [p["threshold"] for p in entry["thresholds"]]


@given(
    st.lists(st.floats(-5, 5) | st.integers(-3, 60).map(float) | st.just(float("nan")), min_size=1, max_size=60),
    st.floats(-6, 6),
)
def test_share_kept_at_other_thresholds_is_exact(values: list[float], minimum: float) -> None:
    stage = StageInfo(name="q", use="quality", parameters={"min_score": minimum})
    scores = np.array(values)
    group = Judged(
        stage=stage,
        dataset="a",
        values=scores,
        languages=None,
        dropped=~(scores >= minimum),
        tokens=np.ones(len(scores), np.int64),
    )
    halves = [np.arange(len(scores)) % 2 == part for part in range(2)]  # counted apart, then added

    def judged(part: int) -> Iterator[Judged]:
        mine = halves[part]
        yield replace(group, values=scores[mine], dropped=group.dropped[mine], tokens=group.tokens[mine])

    (entry,), _ = count_judged(
        InlineEngine(), [stage], range(2), lambda part: iter([("q", scores[halves[part]])]), judged
    )
    assert sum(entry["kept"]) + sum(entry["dropped"]) + entry["unscored"] == len(values)
    for point in entry["thresholds"]:
        assert point["documents"] == sum(v >= point["threshold"] for v in values)
    assert [p["threshold"] for p in entry["thresholds"]].count(minimum) >= 1
