"""The plan against the run that follows it: counts, reuse, bytes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli.main import main
from pipelines.plan.plan import plan
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from tests.pipelines.run.test_additions import found as kept_found
from tests.support import corpora, run_folders
from tests.support.plans import recipe_data

STAGES = run_folders.STAGES


@pytest.fixture(scope="module")
def planned(datasets: dict[str, Any]) -> dict[str, Any]:
    return plan(load_data(recipe_data(datasets), "test"), price_per_hour=3.0)


@pytest.fixture(scope="module")
def run_dir(datasets: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("run") / "run")
    runner.run(load_data(recipe_data(datasets), "test"), folder)
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
    found = plan(load_data(recipe_data(datasets), "test"), run_dir)
    did = actions(found)
    assert {did[s] for s in ("freeze", "read", "exact_dedup", "minhash", "near_dedup", "quality")} == {"reuse"}
    assert did["materialize"] == did["ledger"] == "reuse"
    assert found["time"]["steps"]["annotate"] == 0


def test_several_mixes_are_reused_where_all_are_whole(datasets: dict[str, Any], run_dir: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    mixes = {"one": {"target_tokens": 2000}, "two": {"target_tokens": 1000, "exclude": ["one"]}}
    recipe = load_data(recipe_data(datasets, mix={"mode": "sample"}, mixes=mixes), "test")
    assert actions(plan(recipe, str(run)))["materialize"] == "run"
    runner.run(recipe, str(run), with_report=False)
    did = actions(plan(recipe, str(run)))
    assert did["materialize"] == did["ledger"] == "reuse"
    (run / "mixes" / "two" / ".made-by").unlink()
    assert actions(plan(recipe, str(run)))["materialize"] == "run"


def test_another_threshold_runs_only_what_it_changes(datasets: dict[str, Any], run_dir: str) -> None:
    changed = recipe_data(datasets)
    changed["stages"] = [dict(s) for s in STAGES]
    changed["stages"][2]["jaccard_threshold"] = 0.6
    did = actions(plan(load_data(changed, "test"), run_dir))
    assert {did[s] for s in ("read", "exact_dedup", "minhash", "quality")} == {"reuse"}
    assert did["near_dedup"] == did["materialize"] == "run"


def test_a_changed_fact_parameter_is_computed_anew(datasets: dict[str, Any], run_dir: str) -> None:
    changed = recipe_data(datasets)
    changed["stages"] = [dict(s) for s in STAGES]
    changed["stages"][1]["shingle_width"] = 9
    did = actions(plan(load_data(changed, "test"), run_dir))
    assert did["read"] == did["exact_dedup"] == "reuse"
    assert did["minhash"] == did["near_dedup"] == "run"


def test_an_added_dataset_is_foreseen_to_cost_what_is_new(
    datasets: dict[str, Any], run_dir: str, tmp_path: Path
) -> None:
    other = corpora.write(tmp_path / "more", corpora.corpus(9, 60), 1, ("parquet",))
    name, path = sorted(other.items())[0]
    more = {**datasets, f"z{name}": {**next(iter(datasets.values())), "paths": path}}
    recipe = load_data(recipe_data(more), "test")
    foreseen = plan(recipe, run_dir)
    did = actions(foreseen)
    assert {did[stage] for stage in ("read", "exact_dedup", "minhash", "near_dedup")} == {"rest"}
    assert {did[step] for step in ("freeze", "ledger", "materialize")} == {"rest"}
    assert any("decide again what new documents touch" in text for text in foreseen["warnings"])
    shutil.copytree(run_dir, tmp_path / "run")
    shutil.copytree(run_dir, tmp_path / "cleaned", ignore=shutil.ignore_patterns("kept-*"))
    with kept_found() as noted:
        runner.run(recipe, str(tmp_path / "run"), with_report=False)
    assert noted == [True, True]
    did = actions(plan(recipe, str(tmp_path / "cleaned")))
    assert did["read"] == "rest"
    assert did["exact_dedup"] == did["near_dedup"] == "run"


def test_an_added_stage_runs_on_its_datasets_alone_and_nothing_is_written(
    datasets: dict[str, Any], run_dir: str
) -> None:
    before = {p: p.stat().st_mtime_ns for p in Path(run_dir).rglob("*")}
    few = {"use": "quality", "name": "few", "datasets": ["a"], "model": "column:score", "positive_label": "x"}
    found = plan(load_data(recipe_data(datasets, stages=[*STAGES, few]), "test"), run_dir)
    entry = next(e for e in found["stages"] if e["stage"] == "few")
    assert (entry["action"], entry["of"]) == ("run", found["datasets"]["a"]["bundles"])
    assert {p: p.stat().st_mtime_ns for p in Path(run_dir).rglob("*")} == before


def test_nothing_is_said_of_gpus_where_nobody_asks_for_one(planned: dict[str, Any]) -> None:
    assert "device" not in planned


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
    text = " ".join(plan(load_data(recipe_data(datasets, stages=stages, mix=mix), "test"))["warnings"])
    for part in ("find only", "orphans: allow", "drops nothing", "drops everything", "c has no weight", "short of its"):
        assert part in text


def test_a_recipe_without_near_dedup_is_told_so(datasets: dict[str, Any]) -> None:
    found = plan(load_data(recipe_data(datasets, stages=[]), "test"))
    assert any("near duplicates are not looked for" in text for text in found["warnings"])
    assert found["lsh"] == []


def test_the_command_prints_a_plot_and_json(
    datasets: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe_data(datasets)))
    assert main(["plan", str(path), "--sample-documents", "100", "--workers", "3", "--gpus", "2"]) == 0
    out = capsys.readouterr().out
    assert "P(found)" in out
    assert "└" in out
    assert main(["plan", str(path), "--sample-documents", "100", "--price-per-hour", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cost"]["price_per_hour"] == 2


def test_every_named_mix_is_planned(
    datasets: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixes = {
        "late": {"target_tokens": 40_000, "exclude": ["early"]},
        "early": {"target_tokens": 3_000},
        "all": {"target_tokens": 6_000, "max_epochs": 3},
    }
    data = recipe_data(datasets, mix={"mode": "sample", "weights": {"a": 1, "b": 1, "c": 1}}, mixes=mixes)
    path, run = tmp_path / "recipe.yaml", tmp_path / "run"
    path.write_text(json.dumps(data))
    runner.run(load_data(data, "test"), str(run), with_report=False)
    assert main(["plan", str(path), "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert set(planned["mixes"]) == set(mixes)
    for name, mix in planned["mixes"].items():
        made = json.loads((run / "mixes" / name / "manifest.json").read_text())["datasets"]
        for dataset, entry in mix["datasets"].items():
            assert entry["epochs"] == pytest.approx(made[dataset]["epochs"], rel=0.1), (name, dataset)
            assert entry["target_tokens"] == made[dataset]["target_tokens"]
            if entry["shortfall_tokens"] > 1000:  # what the run says counts the error of drawing as well
                assert entry["shortfall_tokens"] == pytest.approx(made[dataset]["shortfall_tokens"], rel=0.1)
        assert sum(e["tokens"] for e in mix["datasets"].values()) == pytest.approx(
            sum(e["tokens"] for e in made.values()), rel=0.15
        )
    for key in ("documents", "tokens", "shortfall_tokens"):
        for dataset, entry in planned["mix"]["datasets"].items():
            assert entry[key] == sum(mix["datasets"][dataset][key] for mix in planned["mixes"].values())
    assert planned["mix"]["text_bytes"] == sum(mix["text_bytes"] for mix in planned["mixes"].values())
    assert [w for w in planned["warnings"] if w.startswith("mix late: a is expected to fall ")]
    assert not [w for w in planned["warnings"] if w.startswith("mix all: ")]
    assert main(["plan", str(path)]) == 0
    shown = capsys.readouterr().out
    assert all(f" {name} " in shown for name in mixes)
