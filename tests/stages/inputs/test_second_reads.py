"""Texts of some rows, read again on the device: batches and mix have the bytes of the host's."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.device import backend, turns
from cluster.engines import brought
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from stages.core.shard import Piece
from stages.inputs import device_reader
from stages.inputs.batches import Batch
from stages.inputs.reader import read_piece
from stages.kernels.gpu import rapids_kernels
from tests.stages.inputs.test_device_reader import INVALID, ODD, STAGES, WEB, Reader, device, on_gpu, shard, staged

__all__ = ["device", "on_gpu"]  # fixtures

DICTIONARY = pa.dictionary(pa.int32(), pa.string())
COLUMNS = ["text", "id", "column:text", "column:id"]


def seen(batches: list[Batch]) -> list[Any]:
    """Return all that can be seen of batches: borders, rows, types, buffers, statuses, problems."""
    return [
        (
            batch.start,
            batch.rows.tolist(),
            batch.table.schema,
            batch.table.to_pydict(),
            [column.nbytes for column in batch.table.columns],
            [column.null_count for column in batch.table.columns],
            batch.status.tolist(),
            batch.problems,
        )
        for batch in batches
    ]


def both(piece: Piece, rows: list[int], columns: list[str] = COLUMNS, **more: Any) -> tuple[list[Any], list[Any]]:
    given = {"rows": np.array(rows, np.int64), **more}
    found = list(read_piece(WEB, piece, columns, gather=device_reader.gather, **given))
    return seen(found), seen(list(read_piece(WEB, piece, columns, **given)))


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Return the row groups of each reader on the device, as they come."""
    asked: list[list[int]] = []
    wrapped = rapids_kernels.parquet_chunks
    monkeypatch.setattr(
        rapids_kernels, "parquet_chunks", lambda *given: asked.append(list(given[2])) or wrapped(*given)
    )
    return asked


@pytest.mark.usefixtures("on_gpu")
class TestBatches:
    @pytest.mark.parametrize("batch_bytes", [32 << 20, 60, 1])
    @pytest.mark.parametrize("columns", [COLUMNS, ["text"], ["id"]])
    @pytest.mark.parametrize("group", [3, 5, 8, 100])
    def test_are_those_of_the_host(
        self, tmp_path: Path, columns: list[str], group: int, batch_bytes: int, readers: list[list[int]]
    ) -> None:
        texts = [*ODD, *(f"text {i}" * (i % 5) for i in range(20)), *ODD]
        piece = shard(tmp_path / "a.parquet", texts, group)
        chosen = np.random.default_rng(group)
        for many in (1, 7, len(texts) - 1, len(texts)):
            rows = sorted(chosen.choice(len(texts), many, replace=False).tolist())
            before = brought()
            ours, theirs = both(piece, rows, columns, batch_bytes=batch_bytes)
            assert ours == theirs
            assert brought() - before == (many if "text" in columns else 0)  # and only these were copied out
        part = Piece(shard=piece.shard, start=5, stop=15)
        ours, theirs = both(part, [5, 6, 14], columns)
        assert ours == theirs
        assert bool(readers) == ("text" in columns)

    @pytest.mark.parametrize(
        "kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]
    )
    def test_of_other_types_are_those_of_the_host(self, tmp_path: Path, kind: Any, readers: list[list[int]]) -> None:
        texts = [f"text {i % 7}" for i in range(24)]
        piece = shard(tmp_path / "a.parquet", texts)
        values = pa.array([t.encode() for t in texts]) if kind == pa.binary() else pa.array(texts).cast(kind)
        pq.write_table(
            pa.table({"text": values, "id": [f"i{i}" for i in range(24)]}), piece.shard.path, row_group_size=5
        )
        ours, theirs = both(piece, [0, 1, 9, 10, 23])
        assert ours == theirs
        assert bool(readers) == (kind in (pa.string(), pa.large_string()))

    @pytest.mark.parametrize("kind", ["jsonl.gz", "json", "csv"])
    @pytest.mark.parametrize("bad", [False, True])
    def test_of_staged_copies_are_those_of_the_host(
        self, tmp_path: Path, kind: str, bad: bool, readers: list[list[int]]
    ) -> None:
        piece, copy = staged(tmp_path, kind, bad=bad)
        ours, theirs = both(piece, [0, 3, 4, 6, 11], ["text", "id"], path=copy)
        assert ours == theirs
        assert readers

    @pytest.mark.parametrize("bad", INVALID)
    def test_with_a_text_that_is_not_utf8_are_read_by_the_host(self, tmp_path: Path, bad: bytes) -> None:
        piece = shard(tmp_path / "a.parquet", [*ODD, bad, *ODD])
        ours, theirs = both(piece, [0, 3, 8, 10], ["text", "id"])
        assert ours == theirs
        assert [problem.row for *_, problems in ours for problem in problems] == [8]

    @pytest.mark.parametrize(
        "error", [MemoryError("std::bad_alloc"), RuntimeError("corrupt page"), OverflowError("size")]
    )
    @pytest.mark.parametrize("times", [1, 5])
    def test_that_the_device_cannot_read_are_read_in_smaller_chunks_or_by_the_host(
        self, tmp_path: Path, error: Exception, times: int, caplog: pytest.LogCaptureFixture, readers: list[list[int]]
    ) -> None:
        piece = shard(tmp_path / "a.parquet", ODD, group=8)
        Reader.failures[:] = [error] * times
        ours, theirs = both(piece, [1, 3, 7])
        assert ours == theirs
        assert caplog.records
        assert len(readers) == {("MemoryError", 1): 2, ("MemoryError", 5): 3}.get((type(error).__name__, times), 1)

    def test_take_one_reader_for_many_row_groups_and_none_for_the_largest(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readers: list[list[int]]
    ) -> None:
        piece = shard(tmp_path / "a.parquet", [f"text {i}" for i in range(40)], group=4)
        rows = [0, 5, 13, 30, 31]
        ours, theirs = both(piece, rows)
        assert ours == theirs
        assert readers == [[0, 1, 3, 7]]
        monkeypatch.setattr(device_reader, "CHUNK_BYTES", 300)  # of row groups with up to 120 bytes
        monkeypatch.setattr(device_reader, "LEAST_BYTES", 1)
        ours, theirs = both(piece, rows)
        assert ours == theirs
        assert readers[1:] == [[0, 1], [3, 7]]
        monkeypatch.setattr(device_reader, "LARGEST_GROUP", 1)
        assert both(piece, rows)[0] == theirs
        assert len(readers) == 3  # the host read them

    def test_are_read_by_the_host_while_others_have_all_turns_on_the_device(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readers: list[list[int]]
    ) -> None:
        few = turns.Turns(1)
        monkeypatch.setattr(turns, "taken_if_free", few.taken_if_free)
        piece = shard(tmp_path / "a.parquet", [f"text {i}" for i in range(40)], group=4)
        with ThreadPoolExecutor(1) as other:
            having = few.taken()
            other.submit(having.__enter__).result()
            ours, theirs = both(piece, [0, 5, 13])
            assert ours == theirs
            assert readers == []
            other.submit(having.__exit__, None, None, None).result()
        with few.taken():  # a thread that has a turn takes another
            ours, theirs = both(piece, [0, 5, 13])
        assert ours == theirs
        assert len(readers) == 1


def files_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*.parquet"))}


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("shuffle", ["global", "shard", "none"])
def test_a_run_that_reads_its_texts_again_on_the_device_writes_the_same_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shuffle: str
) -> None:
    words = [" ".join(map(str, np.random.default_rng(i).integers(0, 9999, 60))) for i in range(30)]
    texts = [f"{words[i // 3]}{' again' * (i % 3)} {'é' * (i % 9)}" for i in range(90)]
    (tmp_path / "in").mkdir()
    for number in range(2):
        shard(tmp_path / "in" / f"{number}.parquet", [*texts[number:], *ODD], group=11)

    def run(name: str, backend_: str) -> tuple[dict[str, bytes], dict[str, Any]]:
        datasets = {"web": {"paths": str(tmp_path / "in"), "columns": {"text": "text", "id": "id"}}}
        output = {"shuffle": shuffle, "columns": ["id"], "shard_bytes": 3000}
        data = {"name": "t", "datasets": datasets, "stages": STAGES, "output": output}
        recipe = load_data({**data, "cluster": {"kind": "inline", "backend": backend_}}, "test")
        runner.run(recipe, str(tmp_path / name))
        steps = json.loads((tmp_path / name / "timings.json").read_text())["stages"]
        return files_of(tmp_path / name / "mix"), {step["name"]: step for step in steps}

    expected, steps = run("host", "cpu")
    assert not any("from_device" in step for step in steps.values())
    monkeypatch.setattr(backend, "_resolved", "gpu")
    found, steps = run("device", "gpu")
    assert found == expected
    assert len(found) > 1 or shuffle == "global"
    kept = sum(pq.read_metadata(path).num_rows for path in (tmp_path / "device" / "mix").rglob("*.parquet"))
    assert steps["materialize"]["from_device"] == kept
    assert 0 < steps["near_dedup"]["from_device"] < 2 * len(texts)
    assert "from_device" not in steps["annotate"]


def test_damaged_pages_are_looked_for_by_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not device_reader.reads_again("stop")
    monkeypatch.setattr(backend, "_resolved", "gpu")
    assert device_reader.reads_again("stop")
    assert not device_reader.reads_again("quarantine")  # libcudf checks no page's checksum
