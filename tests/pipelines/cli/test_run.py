"""Commands that take a recipe or change a run folder: what each does, prints and returns."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.command_line import Winnow
from tests.support.small_runs import read_ledger


def test_run_ends_with_the_funnel_and_where_things_are(winnow: Winnow, made: Path, tmp_path: Path) -> None:
    code, out, err = winnow("run", str(made / "r.yaml"), "-r", str(tmp_path / "run"))
    table = read_ledger(tmp_path / "run").to_pylist()
    assert code == 0
    lines = {line.split("│")[1].strip(): line.split("│")[2:-1] for line in out.splitlines() if "│" in line}
    numbers = {
        name: [int(cell.replace(",", "") or 0) for cell in cells]
        for name, cells in lines.items()
        if name in ("rows", "kept", "- read", "- exact_dedup", "- near_dedup", "- quality")
    }
    for column, dataset in enumerate(["a", "b"]):
        mine = [row for row in table if row["dataset"] == dataset]
        assert numbers["rows"][column] == len(mine)
        assert numbers["kept"][column] == sum(row["kept"] for row in mine)
        for name in ("read", "exact_dedup", "near_dedup", "quality"):
            assert numbers[f"- {name}"][column] == sum(row["stage"] == name for row in mine)
    assert f"{tmp_path}/run/report.html" in out
    assert "read and judge: " in err


def test_quiet_runs_say_nothing_on_the_way(winnow: Winnow, made: Path) -> None:
    code, out, err = winnow("run", str(made / "r.yaml"), "-r", str(made / "run"), "--quiet")
    assert (code, err) == (0, "")
    assert "kept" in out


def test_a_json_log_is_json_on_every_line(winnow: Winnow, made: Path, tmp_path: Path) -> None:
    code, out, err = winnow("run", str(made / "r.yaml"), "-r", str(tmp_path / "run"), "--json-log")
    assert code == 0
    events = [json.loads(line) for line in err.splitlines()]
    assert {"freeze", "annotate", "near_dedup", "ledger", "materialize"} <= {e["stage"] for e in events}
    [finished] = [json.loads(line) for line in out.splitlines()]
    assert finished["event"] == "finished"
    assert sum(d["rows"] for d in finished["datasets"].values()) == 150


def test_check_passes_good_data_and_fails_on_a_column_that_is_not_there(winnow: Winnow, made: Path) -> None:
    code, out, _ = winnow("check", str(made / "r.yaml"), "--json")
    assert code == 0
    assert len(json.loads(out)) == 2
    code, out, _ = winnow("check", str(made / "r.yaml"), "--set", "datasets.a.columns.text=body")
    assert code == 1
    assert "body" in out


def test_the_schema_is_json(winnow: Winnow) -> None:
    code, out, _ = winnow("schema")
    assert code == 0
    assert "datasets" in json.loads(out)["properties"]


def test_the_schema_of_what_winnow_writes_is_printed_by_name(winnow: Winnow) -> None:
    code, out, _ = winnow("schema", "--of", "report")
    assert code == 0
    assert "funnel" in json.loads(out)["required"]
    assert winnow("schema", "--of", "recipe") == winnow("schema")
    code, _, error = winnow("schema", "--of", "ledger")
    assert code == 2
    assert "--of must be one of recipe, " in error


def test_a_path_with_brackets_is_printed_as_it_is(winnow: Winnow, made: Path, tmp_path: Path) -> None:
    run = tmp_path / "[bold]run[/bold]"
    code, out, _ = winnow("run", str(made / "r.yaml"), "-r", str(run), "--quiet")
    assert code == 0
    assert str(run) in out


def test_materialize_writes_the_mix_anew_and_judges_nothing(winnow: Winnow, made: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert winnow("run", str(made / "r.yaml"), "-r", str(run), "--quiet")[0] == 0
    before = read_ledger(run)
    code, _, _ = winnow("materialize", str(run), "--set", "mix.weights={a: 1, b: 0}", "--set", "mix.mode=sample", "-q")
    after = read_ledger(run)
    assert code == 0
    assert after.drop_columns(["copies"]).equals(before.drop_columns(["copies"]))
    assert sum(row["copies"] for row in after.to_pylist() if row["dataset"] == "b") == 0


def test_clean_removes_what_the_recipe_no_longer_uses(winnow: Winnow, made: Path, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    winnow("run", str(made / "r.yaml"), "-r", run, "-q")
    winnow("clean", run)
    winnow("run", str(made / "r.yaml"), "-r", run, "-q", "--set", "stages.minhash.shingle_width=9")
    code, out, _ = winnow("clean", run, "--dry-run")
    stale = out.splitlines()[:-1]
    assert code == 0
    assert any("facts/minhash" in path for path in stale)
    assert all(Path(path).exists() for path in stale)
    assert winnow("clean", run)[1].splitlines()[:-1] == stale
    assert not any(Path(path).exists() for path in stale)
    assert winnow("clean", run)[1] == "0 removed\n"
