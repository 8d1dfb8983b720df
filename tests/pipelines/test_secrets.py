"""What is secret in a recipe is in no file of the run folder, no error and no page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.errors import RecipeError
from pipelines.cli.main import main
from pipelines.recipe.recipe import load_data, load_recipe
from pipelines.run import runner
from pipelines.run_state import reopen
from pipelines.runfolder import open_run
from stages.core.secret_params import sealed
from stages.core.shard import Dataset
from stages.inputs.files.discover import find_shards
from stages.pii import Pii

SALT = "a salt that nobody may see"
SIGNED = "https://host/x?sig=s3cr3tV4lue"
HOLDERS: list[tuple[str, dict[str, Any]]] = [
    ("datasets.d.paths[0]", {"datasets": {"d": {"paths": [SIGNED]}}}),
    ("stages[0].model", {"stages": [{"use": "quality", "model": f"fasttext:{SIGNED}", "min_score": 0.5}]}),
    ("cluster.address", {"cluster": {"kind": "scheduler", "address": "tcp://me:s3cr3tV4lue@host:8786"}}),
    ("mix.tokenizer", {"mix": {"tokenizer": SIGNED}}),
    ("cluster.slurm.prologue[0]", {"cluster": {"slurm": {"prologue": ["export HF_TOKEN=s3cr3tV4lue"]}}}),
    ("cluster.slurm.prologue[0]", {"cluster": {"slurm": {"prologue": ["curl https://me:s3cr3tV4lue@host/x"]}}}),
    ("cluster.slurm.prologue[0]", {"cluster": {"slurm": {"prologue": ["git clone 'https://h/x?token=s3cr3tV4lue'"]}}}),
    ("cluster.slurm.prologue[0]", {"cluster": {"slurm": {"prologue": ["serve --api-key s3cr3tV4lue"]}}}),
    ("cluster.slurm.directives[0]", {"cluster": {"slurm": {"directives": ["--export=ALL,HF_TOKEN=s3cr3tV4lue"]}}}),
    ("datasets.a.paths", {"datasets": {"a": {"paths": "https://host/x;jsessionid=s3cr3tV4lue"}}}),
]


@pytest.mark.parametrize(("key", "data"), HOLDERS)
def test_a_recipe_with_a_secret_in_a_url_is_refused(key: str, data: dict[str, Any]) -> None:
    with pytest.raises(RecipeError) as raised:
        load_data({"datasets": {"d": {"paths": "x"}}, **data}, "mix.yaml")
    assert key in str(raised.value)
    assert "AWS_ACCESS_KEY_ID" in str(raised.value)
    assert "s3cr3tV4lue" not in str(raised.value)


@pytest.mark.parametrize("line", ["export HF_TOKEN=s3cr3tV4lue", "serve --api-key s3cr3tV4lue"])
def test_a_secret_in_the_wrong_place_is_not_quoted(line: str) -> None:
    for wrong in ({"prologue": line}, {"prologue": {"a": line}}, {"directives": [[line]]}, {"jobs": line}, {"x": line}):
        with pytest.raises(RecipeError) as raised:
            load_data({"datasets": {"d": {"paths": "x"}}, "cluster": {"slurm": wrong}}, "mix.yaml")
        assert "s3cr3tV4lue" not in str(raised.value)


def test_a_shell_line_may_name_where_a_secret_is() -> None:
    lines = [
        "export X=https://me:$PW@host/x",
        "curl https://${TOKEN}@host/x?token=$(cat ~/.token)",
        "export A_TOKEN=$B",
    ]
    load_data({"datasets": {"a": {"paths": "x"}}, "cluster": {"slurm": {"prologue": lines}}}, "test")


def test_places_named_on_the_command_line_hold_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["run", "minimal", "--run-dir", "s3://AK:s3cr3tV4lue@bucket/run"],
        ["run", "minimal", "--run-dir", "RUN", "--set", f"datasets.mine.paths={SIGNED}"],
        ["run", "minimal", "--run-dir", "RUN", "--set", 'cluster.slurm.prologue=["serve --api-key s3cr3tV4lue"]'],
        ["run", "minimal", "--run-dir", "RUN", "--set", "cluster.slurm.prologue=export HF_TOKEN=s3cr3tV4lue"],
        ["report", "s3://AK:s3cr3tV4lue@bucket/run"],
        ["plan", "minimal", "--run-dir", "s3://AK:s3cr3tV4lue@bucket/run"],
        ["run", "https://me:s3cr3tV4lue@127.0.0.1:1/mix.yaml", "--run-dir", "RUN"],
    ):
        assert main(arguments) != 0
        assert "s3cr3tV4lue" not in "".join(capsys.readouterr())
    with pytest.raises(RecipeError, match="must hold no secret"):
        find_shards(Dataset(name="d", paths=(SIGNED,)))


def pii_recipe(folder: Path, **more: Any) -> dict[str, Any]:
    pq.write_table(pa.table({"text": ["Write to jo@example.org, please.", "nothing"]}), folder / "in.parquet")
    stage = {"use": "pii", "email": "hash", "salt": SALT, **more}
    return {"datasets": {"d": {"paths": str(folder / "in.parquet")}}, "stages": [stage], "cluster": {"kind": "inline"}}


def holding(folder: Path, text: str) -> list[str]:
    return [str(p) for p in folder.rglob("*") if p.is_file() and text.encode() in p.read_bytes()]


def test_the_salt_is_nowhere_in_the_run_folder_which_opens_without_it(tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    runner.run(load_data(pii_recipe(tmp_path), "test"), run)
    assert holding(tmp_path / "run", SALT) == []
    assert len(holding(tmp_path / "run", sealed(SALT))) >= 2  # lock and report
    prepared = reopen(run)
    assert SALT not in repr(prepared)
    here = load_data(pii_recipe(tmp_path), "test")
    assert prepared.digest == here.digest()
    assert SALT not in repr(here.stages)
    written = next(open_run(run).mix("d", ["text"])).column("text").to_pylist()
    assert main(["materialize", run, "--set", "output.shuffle=none", "--quiet"]) == 0  # facts hold the hashes
    again = next(open_run(run).mix("d", ["text"])).column("text").to_pylist()
    assert sorted(again) == sorted(written)
    assert sealed(SALT) in (tmp_path / "run" / "recipe.lock.yaml").read_text()


def test_judging_again_needs_the_salt_and_says_where_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pii_recipe(tmp_path)
    texts = pa.table({"text": pa.array(["jo@example.org"], pa.large_string())})
    stage = load_data(data, "test").stages[0]
    assert isinstance(stage, Pii)
    locked = load_data(load_data(data, "test").to_data(secrets=False), "lock").stages[0]
    assert isinstance(locked, Pii)
    assert (locked.fact_digest(), locked.digest()) == (stage.fact_digest(), stage.digest())
    with pytest.raises(RecipeError, match="WINNOW_PII_SALT"):
        locked.annotate(texts)
    monkeypatch.setenv("WINNOW_PII_SALT", "another")
    with pytest.raises(RecipeError, match="WINNOW_PII_SALT"):
        load_data(load_data(data, "test").to_data(secrets=False), "lock").stages[0].annotate(texts)  # type: ignore[attr-defined]
    monkeypatch.setenv("WINNOW_PII_SALT", SALT)
    found = load_data(load_data(data, "test").to_data(secrets=False), "lock").stages[0]
    assert found.annotate(texts).equals(stage.annotate(texts))  # type: ignore[attr-defined]


def test_errors_do_not_quote_the_salt(tmp_path: Path) -> None:
    for entry in ({"salt": 77001177}, {"salt": [SALT]}):
        with pytest.raises(RecipeError) as raised:
            load_data(pii_recipe(tmp_path, **entry), "test")
        assert "77001177" not in str(raised.value)
        assert SALT not in str(raised.value)
    path = tmp_path / "mix.yaml"
    path.write_text("datasets: {d: {paths: x}}\nstages: [{use: pii}]\n")
    for override in (f"stages.pii.slat={SALT}", f"stages.pi.salt={SALT}", f"stages.pii.salt=[{SALT}]"):
        with pytest.raises(RecipeError) as raised:
            load_recipe(str(path), [override])
        assert SALT not in str(raised.value)


def test_quarantine_is_for_its_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "fine"}\nbroken\n' + '{"text": "x"}\n' * 30)
    data = {"datasets": {"d": {"paths": str(tmp_path / "in.jsonl")}}, "on_error": "quarantine"}
    runner.run(load_data({**data, "cluster": {"kind": "inline"}}, "test"), str(tmp_path / "run"), with_report=False)
    found = list((tmp_path / "run" / "quarantine").iterdir())
    assert found
    assert {p.stat().st_mode & 0o777 for p in found} == {0o600}
