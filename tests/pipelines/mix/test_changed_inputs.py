"""A text that changes between its verdict and the mix stops the run, whatever it becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.errors import LedgerError
from pipelines.mix import documents
from tests.support import small_runs

STAGES: list[dict[str, Any]] = [{"use": "exact_dedup"}]


def write(path: Path, texts: list[bytes | None]) -> None:
    rows = {"id": [f"i{n}" for n in range(len(texts))], "url": [None] * len(texts), "score": [1.0] * len(texts)}
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"text": pa.array(texts, pa.binary()).view(pa.string()), **rows}), path)


@pytest.mark.parametrize("now", [b"caf\xe9", b"\xed\xa0\x80", None, b"", b" \n", b"another text", b"kept\0"])
@pytest.mark.parametrize("shuffle", ["none", "shard", "global"])
def test_no_text_is_written_that_is_not_the_one_that_was_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: bytes | None, shuffle: str
) -> None:
    path, judged = tmp_path / "in" / "a.parquet", [b"first", b"kept", b" ", b"last \xc3\xa9"]
    write(path, list(judged))
    outcome = documents.outcome

    def change_then_ask(*given: Any) -> Any:
        write(path, [judged[0], now, *judged[2:]])
        return outcome(*given)

    monkeypatch.setattr(documents, "outcome", change_then_ask)
    with pytest.raises(LedgerError, match="row 1: the text is not the one that was judged"):
        small_runs.run(tmp_path / "run", {"web": str(path.parent)}, STAGES, output={"shuffle": shuffle})
    assert not list((tmp_path / "run").glob("mix/*/part-*"))


def test_texts_that_are_the_same_are_written(tmp_path: Path) -> None:
    path = tmp_path / "in" / "a.parquet"
    write(path, [b"first", None, b"\xff", b" ", b"", b"last \xc3\xa9"])
    small_runs.run(tmp_path / "run", {"web": str(path.parent)}, STAGES, on_error="quarantine", max_quarantined=1.0)
    assert [row[1] for row in small_runs.mix(tmp_path / "run")] == ["first", "last é"]
