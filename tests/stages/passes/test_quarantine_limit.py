"""What is set aside as unreadable has a limit, beyond which the run stops and says how to raise it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.errors import ShardError
from pipelines.commands.check import check_recipe
from pipelines.recipe.recipe import Recipe, load_data
from pipelines.run import runner


def recipe(folder: Path, **keys: Any) -> Recipe:
    data = {
        "datasets": {"good": {"paths": str(folder / "good")}, "bad": {"paths": str(folder / "bad")}},
        "stages": [{"use": "exact_dedup"}],
        "on_error": "quarantine",
        "cluster": {"kind": "inline"},
        **keys,
    }
    return load_data(data, "test")


def write(folder: Path, rows: int, bad: int, column: str = "text") -> None:
    """Write a good dataset, and one of `rows` lines of which the first `bad` ones are broken."""
    (folder / "good").mkdir(parents=True)
    (folder / "bad").mkdir()
    pq.write_table(pa.table({"text": [f"good {i}" for i in range(40)]}), folder / "good" / "0.parquet")
    lines = ["{broken" if i < bad else json.dumps({column: f"line {i}"}) for i in range(rows)]
    (folder / "bad" / "0.jsonl").write_text("\n".join(lines) + "\n")


def run(folder: Path, **keys: Any) -> Any:
    return runner.run(recipe(folder, **keys), str(folder / "run"), with_report=False)


@pytest.mark.parametrize(
    ("rows", "bad", "limit", "stops"),
    [
        (2000, 20, 0.01, False),
        (2000, 21, 0.01, True),
        (300, 10, 0.01, False),  # few of a small dataset
        (300, 11, 0.01, True),
        (8, 4, 0.01, False),  # half of a tiny one
        (8, 5, 0.01, True),
        (8, 5, 0.7, False),
        (300, 1, 0.0, True),
        (300, 300, 1.0, False),
    ],
)
def test_more_bad_rows_than_the_limit_stop_the_run(
    tmp_path: Path, rows: int, bad: int, limit: float, stops: bool
) -> None:
    write(tmp_path, rows, bad)
    if not stops:
        assert run(tmp_path, max_quarantined=limit).tallies["bad"]["kept"] == rows - bad
        return
    with pytest.raises(ShardError, match=rf"dataset bad: {bad:,} of {rows:,} rows .*max_quarantined") as error:
        run(tmp_path, max_quarantined=limit)
    assert str(tmp_path / "run" / "quarantine") in str(error.value)
    raised = float(str(error.value).split("max_quarantined: ")[1].split(" ")[0])
    assert run(tmp_path, max_quarantined=raised).tallies["bad"]["kept"] == rows - bad


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_a_missing_column_never_sets_a_whole_dataset_aside(tmp_path: Path, rows: int) -> None:
    write(tmp_path, 1, 0)
    (tmp_path / "bad" / "0.jsonl").unlink()
    pq.write_table(pa.table({"body": [f"text {i}" for i in range(rows)]}), tmp_path / "bad" / "0.parquet")
    with pytest.raises(ShardError, match=r"dataset bad: .* cannot be read \(missing_column"):
        run(tmp_path)
    [good, bad] = check_recipe(recipe(tmp_path))
    assert (good.ok, bad.ok) == (True, False)


def test_a_dataset_whose_only_file_cannot_be_opened_stops_the_run(tmp_path: Path) -> None:
    write(tmp_path, 1, 0)
    (tmp_path / "bad" / "0.jsonl").unlink()
    whole = (tmp_path / "good" / "0.parquet").read_bytes()
    (tmp_path / "bad" / "0.parquet").write_bytes(whole[:-40])
    with pytest.raises(ShardError, match="files that cannot be opened"):
        run(tmp_path)
    assert not check_recipe(recipe(tmp_path))[1].ok
    pq.write_table(pa.table({"text": []}, pa.schema([("text", pa.string())])), tmp_path / "bad" / "0.parquet")
    result = run(tmp_path / "other", **{"datasets": {n: {"paths": str(tmp_path / n)} for n in ("good", "bad")}})
    assert any("dataset bad" in text and "no rows" in text for text in result.warnings)


@pytest.mark.parametrize(("on_error", "ok"), [("stop", False), ("quarantine", True)])
def test_check_honours_on_error(tmp_path: Path, on_error: str, ok: bool) -> None:
    write(tmp_path, 300, 2)
    report = check_recipe(recipe(tmp_path, on_error=on_error))[1]
    assert report.ok is ok
    assert any("broken" in text or "JSON" in text for text in (report.warnings if ok else report.problems))
    write(tmp_path / "many", 300, 30)
    assert not check_recipe(recipe(tmp_path / "many", on_error=on_error))[1].ok
