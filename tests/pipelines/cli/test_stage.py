"""`winnow stage`: one stage on a run folder, its parameters as flags."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click
import pytest

from pipelines.cli import stage
from stages.registry import STAGES, stage_class
from tests.support.command_line import Winnow
from tests.support.small_runs import read_ledger


def test_a_stage_has_a_flag_for_every_parameter() -> None:
    for use in STAGES:
        flags = {p.name for p in stage.stage_command(use).params}
        fields = dataclasses.fields(stage_class(use))
        assert {stage.PREFIX + f.name for f in fields} <= flags
        for option in stage.stage_command(use).params:
            if (option.name or "").startswith(stage.PREFIX):
                assert isinstance(option, click.Option)
                assert option.help


def test_a_stage_runs_alone_from_a_recipe(winnow: Winnow, made: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, out, _ = winnow("stage", str(run), "near_dedup", "--recipe", str(made / "r.yaml"), "-q")
    dropped = sum(row["stage"] == "near_dedup" for row in read_ledger(made / "run").to_pylist())
    assert code == 0
    assert f"{dropped} dropped" in out
    assert not (run / "mix").exists()


def test_a_stage_with_another_parameter_gives_what_a_run_with_it_gives(
    winnow: Winnow, made: Path, tmp_path: Path
) -> None:
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    winnow("stage", one, "near_dedup", "--recipe", str(made / "r.yaml"), "-q")
    code, out, _ = winnow("stage", one, "near_dedup", "--jaccard-threshold", "0.4", "--json-log")
    winnow("run", str(made / "r.yaml"), "-r", other, "-q", "--set", "stages.near_dedup.jaccard_threshold=0.4")
    assert code == 0
    assert json.loads(out)["dropped"] == sum(
        row["stage"] == "near_dedup" for row in read_ledger(Path(other)).to_pylist()
    )


def test_a_stage_that_the_recipe_lacks_is_added(winnow: Winnow, made: Path, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    arguments = ["--model", "column:score", "--min-score", "0.9", "--name", "strict", "--datasets", "a", "-q"]
    code, out, _ = winnow("stage", run, "quality", "--recipe", str(made / "r.yaml"), *arguments)
    assert code == 0
    assert out.startswith("strict: ")
    assert "name: strict" in Path(run, "recipe.lock.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["near_dedup", "--jaccard-threshold", "6"], "0<=x<=1"),
        (["near_dedup", "--verify", "maybe"], "'maybe'"),
        (["near_dedup", "--bands", "100", "--rows-per-band", "2"], "at most num_permutations (128)"),
        (["minhash", "--shingles", "words", "--parameters", "zyda2_seeds"], "zyda2_seeds"),
        (["quality", "--datasets", "c"], "must be one of a, b"),
    ],
)
def test_a_bad_parameter_of_a_stage_is_bad_usage(arguments: list[str], part: str, winnow: Winnow, made: Path) -> None:
    lock = (made / "run" / "recipe.lock.yaml").read_text()
    code, _, err = winnow("stage", str(made / "run"), arguments[0], *arguments[1:])
    assert code == 2
    assert part in err
    assert (made / "run" / "recipe.lock.yaml").read_text() == lock
