"""The plan against the run that follows it: counts, reuse, bytes; its model against sums done by hand."""

from __future__ import annotations

import copy
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.cli.main import main
from pipelines.plan import device as plan_device
from pipelines.plan import view
from pipelines.plan.costs import makespan
from pipelines.plan.growth import share_in_all
from pipelines.plan.inputs import draw, sizes, survey
from pipelines.plan.plan import plan
from pipelines.plan.profile import missed_if_even
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from stages.core.shard import Dataset
from stages.kernels.similarity.banding import probability
from tests.support import corpora, run_folders

STAGES = run_folders.STAGES


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return three datasets in four formats."""
    folder = tmp_path_factory.mktemp("planned")
    formats = ("parquet", "jsonl", "jsonl.gz", "jsonl.zst")
    paths = corpora.write(folder / "in", corpora.corpus(3, 300), 4, formats)
    columns = {"text": "text", "id": "id", "url": "url"}
    return {name: {"paths": path, "columns": columns} for name, path in sorted(paths.items())}


def data(datasets: dict[str, Any], **more: Any) -> dict[str, Any]:
    found = {"name": "p", "seed": 5, "datasets": datasets, "stages": STAGES, "cluster": {"kind": "inline"}, **more}
    return copy.deepcopy(found)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start no fresh process; the plan of fixture `planned` does."""
    monkeypatch.setattr("pipelines.plan.plan.cold_seconds", lambda *_: 1.0)


@pytest.fixture(scope="module")
def planned(datasets: dict[str, Any]) -> dict[str, Any]:
    return plan(load_data(data(datasets), "test"), price_per_hour=3.0)


@pytest.fixture(scope="module")
def run_dir(datasets: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("run") / "run")
    runner.run(load_data(data(datasets), "test"), folder)
    return folder


def actions(found: dict[str, Any]) -> dict[str, str]:
    return {entry["stage"]: entry["action"] for entry in found["stages"]}


def test_a_sample_that_is_the_whole_tells_what_the_run_then_keeps(planned: dict[str, Any], run_dir: str) -> None:
    rows = run_folders.ledger(Path(run_dir))
    for name, entry in planned["datasets"].items():
        mine = [r for r in rows if r["dataset"] == name]
        assert entry["documents"] == len(mine)
        assert planned["kept"][name]["documents"] == sum(r["kept"] for r in mine)
        for stage, flow in planned["flow"].items():
            if name in flow and stage != "minhash":
                assert flow[name]["dropped"] == sum(r["stage"] == stage for r in mine)


def test_the_plan_of_a_whole_sample_foretells_the_mix(planned: dict[str, Any], run_dir: str) -> None:
    made = json.loads((Path(run_dir) / "mix" / "manifest.json").read_text())["datasets"]
    for name, entry in planned["mix"]["datasets"].items():
        assert entry["documents"] == made[name]["documents"]
        assert entry["tokens"] == pytest.approx(made[name]["tokens"], rel=0.02)


def test_bytes_written_come_near_those_of_the_run(planned: dict[str, Any], run_dir: str) -> None:
    def size(*parts: str) -> int:
        return sum(p.stat().st_size for p in Path(run_dir, *parts).rglob("*") if p.is_file())

    for name, place in (("read", "facts/read"), ("minhash", "facts/minhash"), ("ledger", "ledger")):
        assert 0.3 < planned["bytes_written"][name] / size(place) < 2


def test_everything_is_reused_in_a_finished_run_folder(datasets: dict[str, Any], run_dir: str) -> None:
    found = plan(load_data(data(datasets), "test"), run_dir)
    did = actions(found)
    assert {did[s] for s in ("freeze", "read", "exact_dedup", "minhash", "near_dedup", "quality")} == {"reuse"}
    assert did["materialize"] == did["ledger"] == "reuse"
    assert found["time"]["steps"]["annotate"] == 0


def test_another_threshold_runs_only_what_it_changes(datasets: dict[str, Any], run_dir: str) -> None:
    changed = data(datasets)
    changed["stages"] = [dict(s) for s in STAGES]
    changed["stages"][2]["jaccard_threshold"] = 0.6
    did = actions(plan(load_data(changed, "test"), run_dir))
    assert {did[s] for s in ("read", "exact_dedup", "minhash", "quality")} == {"reuse"}
    assert did["near_dedup"] == did["materialize"] == "run"


def test_a_changed_fact_parameter_is_computed_anew(datasets: dict[str, Any], run_dir: str) -> None:
    changed = data(datasets)
    changed["stages"] = [dict(s) for s in STAGES]
    changed["stages"][1]["shingle_width"] = 9
    did = actions(plan(load_data(changed, "test"), run_dir))
    assert did["read"] == did["exact_dedup"] == "reuse"
    assert did["minhash"] == did["near_dedup"] == "run"


def test_an_added_stage_runs_on_its_datasets_alone_and_nothing_is_written(
    datasets: dict[str, Any], run_dir: str
) -> None:
    before = {p: p.stat().st_mtime_ns for p in Path(run_dir).rglob("*")}
    few = {"use": "quality", "name": "few", "datasets": ["a"], "model": "column:score", "positive_label": "x"}
    found = plan(load_data(data(datasets, stages=[*STAGES, few]), "test"), run_dir)
    entry = next(e for e in found["stages"] if e["stage"] == "few")
    assert (entry["action"], entry["of"]) == ("run", found["datasets"]["a"]["bundles"])
    assert {p: p.stat().st_mtime_ns for p in Path(run_dir).rglob("*")} == before


def test_cost_is_hours_times_price_times_workers(datasets: dict[str, Any], planned: dict[str, Any]) -> None:
    assert planned["cost"]["total"] == pytest.approx(planned["time"]["total"] / 3600 * 3.0)
    assert planned["time"]["total"] == pytest.approx(
        planned["time"]["start"] + planned["time"]["warm_up"] + sum(planned["time"]["steps"].values())
    )


def test_warnings_name_what_is_wrong(datasets: dict[str, Any]) -> None:
    stages = [
        {"use": "minhash", "shingle_width": 8},
        {"use": "near_dedup", "jaccard_threshold": 0.8, "bands": 4, "rows_per_band": 30, "orphans": "allow"},
        {"use": "quality", "model": "column:score", "min_score": 0.3},
        {"use": "quality", "name": "all", "model": "column:score", "min_score": 0.001},
        {"use": "quality", "name": "none", "model": "column:score", "min_score": 65},
    ]
    mix = {"mode": "sample", "target_tokens": "10M", "weights": {"a": 1, "b": 1}}
    text = " ".join(plan(load_data(data(datasets, stages=stages, mix=mix), "test"))["warnings"])
    for part in ("find only", "orphans: allow", "drops nothing", "drops everything", "c has no weight", "short of its"):
        assert part in text


def test_a_recipe_without_near_dedup_is_told_so(datasets: dict[str, Any]) -> None:
    found = plan(load_data(data(datasets, stages=[]), "test"))
    assert any("near duplicates are not looked for" in text for text in found["warnings"])
    assert found["lsh"] == []


def test_the_command_prints_a_plot_and_json(
    datasets: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(data(datasets)))
    assert main(["plan", str(path), "--sample-documents", "100", "--workers", "3", "--gpus", "2"]) == 0
    out = capsys.readouterr().out
    assert "P(found)" in out
    assert "└" in out
    assert main(["plan", str(path), "--sample-documents", "100", "--price-per-hour", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cost"]["price_per_hour"] == 2


# --- sizes ---


def many(folder: Path, files: int, rows: int) -> Dataset:
    rng = random.Random(1)
    folder.mkdir()
    for n in range(files):
        texts = [" ".join(f"w{rng.randrange(999)}" for _ in range(rng.randrange(20, 60))) for _ in range(rows)]
        lines = "".join(json.dumps({"text": t}) + "\n" for t in texts)
        if n % 2:
            (folder / f"{n:03d}.jsonl").write_text(lines)
        else:
            pq.write_table(pa.table({"text": texts}), folder / f"{n:03d}.parquet", row_group_size=50)
    return Dataset(name="d", paths=(str(folder),))


def test_a_drawn_sample_tells_documents_and_bytes_of_the_whole(tmp_path: Path) -> None:
    found = survey(many(tmp_path / "in", 6, 400))
    drawn = draw(found, 300, 0, str(tmp_path / "out"))
    texts = [t for p in Path(tmp_path / "out").glob("*.parquet") for t in pq.read_table(p)["text"].to_pylist()]
    lines = [p.read_text().splitlines() for p in Path(tmp_path / "out").glob("*.jsonl")]
    texts += [json.loads(line)["text"] for part in lines for line in part]
    assert len(texts) == drawn.rows == 300
    size = sizes(found, drawn, sum(len(t.encode()) for t in texts))
    assert size.documents == pytest.approx(2400, rel=0.05)
    whole = sum(len(t) for p in (tmp_path / "in").glob("*.parquet") for t in pq.read_table(p)["text"].to_pylist())
    assert size.text_bytes == pytest.approx(2 * whole, rel=0.1)
    assert not size.exact


def test_the_same_seed_draws_the_same_rows(tmp_path: Path) -> None:
    found = survey(many(tmp_path / "in", 4, 200))
    for place in ("one", "two"):
        draw(found, 60, 7, str(tmp_path / place))
    names = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert names == sorted(p.name for p in (tmp_path / "two").iterdir())
    assert all((tmp_path / "one" / n).read_bytes() == (tmp_path / "two" / n).read_bytes() for n in names)


# --- model ---


@given(st.lists(st.floats(0, 10), max_size=20), st.integers(1, 5))
def test_the_makespan_lies_between_the_bounds_of_list_scheduling(tasks: list[float], slots: int) -> None:
    found = makespan(tasks, slots)
    least = max(max(tasks, default=0.0), sum(tasks) / slots)
    assert least - 1e-9 <= found <= 2 * least + 1e-9


@given(st.floats(0.001, 0.5), st.integers(100, 5000), st.floats(1.0, 200.0))
def test_the_share_of_duplicates_grows_with_the_documents_and_no_faster_than_they(
    share: float, drawn: int, times: float
) -> None:
    total = round(drawn * times)
    found = share_in_all(share, drawn, total)
    assert found is not None
    assert share - 1e-9 <= found <= 0.98
    assert found <= share * max(1.0, total / drawn) + 1e-6


def test_the_share_of_duplicates_of_a_log_series_is_found_from_a_sample() -> None:
    rng = np.random.default_rng(0)
    a, total, drawn = 30_000.0, 60_000, 6_000
    names: list[int] = []
    for n in range(total):  # Hoppe's urn: a new name with probability a / (a + n), else one that is there
        names.append(n if rng.random() < a / (a + n) else names[int(rng.integers(n))])
    sample = rng.choice(np.array(names), drawn, replace=False)
    found = share_in_all(1 - len(np.unique(sample)) / drawn, drawn, total)
    assert found == pytest.approx(1 - len(set(names)) / total, rel=0.1)


def test_what_cannot_be_told_is_not_told() -> None:
    assert share_in_all(0.0, 100, 1000) is None
    assert share_in_all(0.01, 100, 10**9) is None
    assert share_in_all(0.0, 100, 100) == 0.0


@given(st.floats(0.3, 0.95), st.integers(1, 64), st.integers(1, 16))
def test_expected_misses_are_the_mean_of_the_curve(threshold: float, bands: int, rows: int) -> None:
    grid = np.linspace(threshold, 1, 4001)
    expected = float(np.mean([1 - probability(float(j), bands, rows) for j in grid]))
    assert missed_if_even(threshold, bands, rows) == pytest.approx(expected, abs=1e-3)


@given(st.integers(1, 64), st.integers(1, 32), st.floats(0.0, 1.0))
def test_the_plot_has_fixed_lines_and_marks_the_threshold(bands: int, rows: int, threshold: float) -> None:
    lines = view.s_curve(bands, rows, threshold).plain.splitlines()
    assert len(lines) == view.HEIGHT + 3
    assert lines[-2].count("┴") == 1
    assert f"▲{threshold:.2f}" in lines[-1]
    heights = [sum(view.BLOCKS.find(line[6 + c]) for line in lines[1:-2] if line[6 + c] != "│") for c in range(61)]
    assert all(math.isfinite(h) for h in heights)
    assert heights == sorted(heights)


# --- device memory ---------------------------------------------------------------------------------------


def test_the_plan_checks_what_stages_take_against_the_memory_of_a_gpu(
    datasets: dict[str, Any], planned: dict[str, Any]
) -> None:
    assert "device" not in planned  # nobody asked for a GPU
    stages = [{"use": "minhash", "num_permutations": 256, "hash_bits": 64}]
    only = {"web": next(iter(datasets.values()))}
    found = plan(load_data(data(only, stages=stages), "test"), gpus=8, gpu_memory=2 * 10**9, sample_documents=50)
    device = found["device"]
    assert device["worker"] == device["tasks"]["annotate"] > 10 * (256 << 20)  # ten times a chunk of text
    assert (device["limit"], device["text_on_host_for"]) == (1_800_000_000, [])
    assert plan_device.lines(found)[1] == "text: read to the GPU"
    assert [text for text in found["warnings"] if "on its GPU (annotate) of 1.8 GB" in text]
    found["device"] |= {"limit": 72 * 10**9, "text_on_host_for": ["heuristics"]}
    assert plan_device.warnings(found) == []
    assert plan_device.lines(found)[1] == "text: on the host, for heuristics"
