"""What is kept in memory of a settled run: by key, within so many bytes; and nothing of a run that has not settled."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.runfolder import open_run
from stages.core.kept_in_memory import ENTRY, Kept
from stages.core.view import View
from stages.outcome.verdicts import num_tokens, outcome
from tests.support import small_runs


def test_what_was_asked_for_last_stays_and_is_made_once() -> None:
    kept = Kept(3 * ENTRY)
    made: Counter[str] = Counter()

    def ask(key: str, size: int) -> str:
        def make() -> str:
            made[key] += 1
            return key

        return kept.get(key, make, lambda _: size)

    assert [ask(key, ENTRY // 4) for key in "abacab"] == list("abacab")
    assert made == {"a": 1, "b": 2, "c": 1}  # c took the place of b, which was asked for before a
    ask("large", 3 * ENTRY)
    ask("a", 0)
    assert made["a"] == 2  # nothing fits beside what is larger than all that may be kept


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kept")
    texts = [f"a page about number {n} and what is left of it" for n in range(60)]
    columns = {"text": texts, "id": [str(n) for n in range(60)], "url": texts, "score": [n / 60 for n in range(60)]}
    pq.write_table(pa.table(columns), root / "in.parquet")
    stages = [{"use": "quality", "model": "column:score", "min_score": 0.3}, {"use": "pii"}]
    small_runs.run(root / "run", {"web": str(root / "in.parquet")}, stages)
    return root / "run"


def test_a_settled_run_decides_once_for_all_that_ask(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = open_run(str(finished)).run
    asked = Counter[bool]()
    decide = View._decide

    def counted(self: View, *given: object) -> object:
        asked[bool(self.run.settled)] += 1
        return decide(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(View, "_decide", counted)
    settled = dataclasses.replace(run, settled="test")
    found = [outcome(one, 0) for one in (run, run, settled, settled)]
    assert asked == {False: 2 * len(run.stages), True: len(run.stages)}
    for other in found[1:]:
        assert np.array_equal(found[0].stage, other.stage)
        assert np.array_equal(found[0].value, other.value, equal_nan=True)
    assert 0 < found[0].kept.sum() < 60


def test_tokens_that_are_kept_cannot_be_changed(finished: Path) -> None:
    run = open_run(str(finished)).run
    view = View.at(dataclasses.replace(run, settled="tokens"), 0)
    assert not num_tokens(view).flags.writeable
    assert np.array_equal(num_tokens(view), num_tokens(View.at(run, 0)))
