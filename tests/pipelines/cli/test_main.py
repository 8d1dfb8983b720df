"""The command line on small data: what each command does, prints and returns."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.version import VERSION
from pipelines.cli import app, main, stage
from stages.minhash import MAX_SHINGLES
from stages.registry import STAGES, stage_class
from tests.support import corpora

RECIPE = """\
name: small
seed: 5
datasets:
  a: {{paths: {a}, columns: {{id: id, url: url}}}}
  b: {{paths: {b}, columns: {{id: id, url: url}}}}
stages:
  - {{use: exact_dedup}}
  - {{use: minhash, shingle_width: 8}}
  - {{use: near_dedup, jaccard_threshold: 0.7}}
  - {{use: quality, model: "column:score", min_score: 0.3}}
cluster: {{kind: inline}}
"""
Winnow = Callable[..., tuple[int, str, str]]


@pytest.fixture
def winnow(capsys: pytest.CaptureFixture[str]) -> Winnow:
    """Return a function that runs a command and returns (exit code, standard output, standard error)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main.main([str(a) for a in arguments])
        return (code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe and a finished run."""
    folder = tmp_path_factory.mktemp("cli")
    paths = corpora.write(folder / "in", corpora.corpus(3, 150, ("a", "b")), 2)
    (folder / "r.yaml").write_text(RECIPE.format(**paths))
    assert main.main(["run", str(folder / "r.yaml"), "--run-dir", str(folder / "run"), "--quiet"]) == 0
    return folder


def ledger(run: Path) -> pa.Table:
    files = sorted((run / "ledger").glob("*.parquet"), key=lambda p: int(p.stem))
    return pa.concat_tables([pq.read_table(f) for f in files])


def subprocess_of(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines", *arguments]
    root = Path(app.__file__).parents[2]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=root, env=os.environ | environment, timeout=60, check=False
    )


# --- start ---


def test_help_imports_no_heavy_package() -> None:
    heavy = {"numba", "pandas", "dask", "distributed", "fasttext", "torch", "scipy", "pydantic", "rich.progress"}
    code = "import sys; from pipelines.cli import main; code = main.main(['--help']); "
    code += f"print(sorted({heavy!r} & set(sys.modules)), code)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"


def test_version_is_printed(winnow: Winnow) -> None:
    assert winnow("--version") == (0, f"winnow {VERSION}\n", "")


def test_no_command_is_bad_usage_and_shows_the_help(winnow: Winnow) -> None:
    code, out, err = winnow()
    assert code == 2
    assert "Usage: winnow" in out + err


def test_every_command_has_a_help_page(winnow: Winnow) -> None:
    def walk(command: Any, path: list[str]) -> None:
        code, out, _ = winnow(*path, "--help")
        assert (code, "Usage" in out) == (0, True), path
        assert command.help or command.callback.__doc__, path
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, [*path, name])

    walk(main.command_line(), [])


def test_the_shell_completes_commands_and_stages() -> None:
    found = subprocess_of(_WINNOW_COMPLETE="complete_bash", COMP_WORDS="winnow st", COMP_CWORD="1")
    assert found.stdout.split() == ["status", "stage"]
    found = subprocess_of(_WINNOW_COMPLETE="complete_bash", COMP_WORDS="winnow stage m", COMP_CWORD="2")
    assert found.stdout.split() == ["minhash"]


# --- exit codes ---


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["bogus"], "No such command"),
        (["run"], "Missing argument"),
        (["run", "zyda2"], "--run-dir"),
        (["run", "zyda2", "-r", "RUN", "--limit", "0"], "--limit"),
        (["run", "zyda2", "-r", "RUN", "--sample", "0"], "--sample must be above 0"),
        (["run", "zyda-2", "-r", "RUN"], "Did you mean zyda2?"),
        (["run", "zyda2", "-r", "RUN", "--set", "mix.mod=sample"], "Did you mean mode?"),
        (["check", "zyda2", "--set", "nonsense"], "KEY=VALUE"),
        (["explain", "RUN"], "give one of --doc-id"),
        (["explain", "RUN", "--id", "x", "--url", "y"], "give one of --doc-id"),
        (["materialize", "RUN"], "is not a run folder"),
        (["materialize", "RUN", "--set", "stages.0.seed=1"], "materialize changes"),
        (["stage", "minhash", "RUN"], "is not a run folder"),
        (["stage", "min_hash", "RUN"], "No such command"),
        (["minhash", "x", "-o", "RUN", "--a", "1,x"], "--a must be whole numbers"),
    ],
)
def test_bad_usage_exits_with_2_and_one_message(
    arguments: list[str], part: str, winnow: Winnow, tmp_path: Path
) -> None:
    code, out, err = winnow(*[a.replace("RUN", str(tmp_path / "run")) for a in arguments])
    assert code == 2
    assert out == ""
    assert part in " ".join(err.split())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["status", "RUN"], "is not a run folder"),
        (["facts", "RUN", "quality", "-o", "RUN/x.parquet"], "is not a run folder"),
        (["clean", "RUN"], "is not a run folder"),
        (["run", "minimal", "-r", "RUN", "--quiet", "--set", "cluster.kind=inline"], "does not exist or is empty"),
        (["run", "minimal", "-r", "RUN", "--backend", "gpu"], "BackendError"),
        (["dedup", "RUN/none", "-o", "RUN/out"], "does not exist or is empty"),
    ],
)
def test_what_fails_exits_with_1_and_no_traceback(
    arguments: list[str], part: str, winnow: Winnow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = winnow(*[a.replace("RUN", str(tmp_path / "run")) for a in arguments])
    assert code == 1
    assert part in err
    assert "Traceback" not in err


def test_what_the_system_refuses_exits_with_1_and_names_the_file(winnow: Winnow, made: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = winnow("run", str(made / "r.yaml"), "-r", str(tmp_path / "file"), "--quiet")
    assert code == 1
    assert str(tmp_path / "file") in err


# --- a run and what looks at it ---


def test_errors_and_json_hold_nothing_that_acts_on_a_terminal(
    winnow: Winnow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text('"\\e[2Jkey": 1\n')
    code, _, error = winnow("check", str(path))
    assert code == 2
    assert "␛[2Jkey is not a known key" in error
    _, _, error = winnow("run", "\x1b[31m\u202e.yaml", "--run-dir", str(tmp_path / "run"))
    assert "␛[31m[U+202E].yaml" in error
    value = {"text": "\x1b[31m \x9b31m \x7f \u202e \u2066 \u2028 é"}
    app.say_json(value)
    shown = capsys.readouterr().out
    assert not set(shown) & set("\x1b\x9b\x7f\u202e\u2066\u2028")
    assert "é" in shown
    assert json.loads(shown) == value


def test_run_ends_with_the_funnel_and_where_things_are(winnow: Winnow, made: Path) -> None:
    code, out, err = winnow("run", str(made / "r.yaml"), "-r", str(made / "run"))
    table = ledger(made / "run").to_pylist()
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
    assert f"{made}/run/report.html" in out
    assert "annotate: " in err


def test_quiet_runs_say_nothing_on_the_way(winnow: Winnow, made: Path) -> None:
    code, out, err = winnow("run", str(made / "r.yaml"), "-r", str(made / "run"), "--quiet")
    assert (code, err) == (0, "")
    assert "kept" in out


def test_a_json_log_is_json_on_every_line(winnow: Winnow, made: Path) -> None:
    code, out, err = winnow("run", str(made / "r.yaml"), "-r", str(made / "run"), "--json-log")
    assert code == 0
    events = [json.loads(line) for line in err.splitlines()]
    assert {"freeze", "annotate", "near_dedup", "ledger", "materialize"} <= {e["stage"] for e in events}
    [finished] = [json.loads(line) for line in out.splitlines()]
    assert finished["event"] == "finished"
    assert sum(d["rows"] for d in finished["datasets"].values()) == 150


def test_status_tells_what_is_done(winnow: Winnow, made: Path) -> None:
    code, out, _ = winnow("status", str(made / "run"), "--json")
    found = json.loads(out)
    assert code == 0
    assert found["documents"] == 150
    assert all(entry["done"] == entry["of"] for entry in found["stages"])
    assert "near_dedup" in winnow("status", str(made / "run"))[1]


def test_check_passes_good_data_and_fails_on_a_column_that_is_not_there(winnow: Winnow, made: Path) -> None:
    code, out, _ = winnow("check", str(made / "r.yaml"), "--json")
    assert code == 0
    assert len(json.loads(out)) == 2
    code, out, _ = winnow("check", str(made / "r.yaml"), "--set", "datasets.a.columns.text=body")
    assert code == 1
    assert "body" in out


def test_facts_are_exported_with_doc_ids(winnow: Winnow, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "q.parquet"
    code, said, _ = winnow("facts", str(made / "run"), "quality", "-o", str(out))
    table = pq.read_table(out)
    assert code == 0
    assert said.startswith(f"{table.num_rows:,} rows")
    assert table.column_names[:3] == ["doc_id", "row", "quality_score"]


def test_explain_names_stage_and_winner_of_a_dropped_document(winnow: Winnow, made: Path) -> None:
    lost = next(row for row in ledger(made / "run").to_pylist() if row["stage"] == "near_dedup")
    code, out, _ = winnow("explain", str(made / "run"), "--id", lost["id"], "--json")
    assert code == 0
    [found] = [d for d in json.loads(out)["documents"] if d["doc_id"] == lost["doc_id"]]
    assert "near_dedup" in found["verdict"]
    assert str(lost["representative"]) in found["verdict"]
    assert "near_dedup" in winnow("explain", str(made / "run"), "--doc-id", str(lost["doc_id"]))[1]


def test_report_is_written_anew(winnow: Winnow, made: Path) -> None:
    path = made / "run" / "report.html"
    path.unlink()
    assert winnow("report", str(made / "run")) == (0, f"{path}\n", "")
    assert path.exists()


def test_the_schema_is_json(winnow: Winnow) -> None:
    code, out, _ = winnow("schema")
    assert code == 0
    assert "datasets" in json.loads(out)["properties"]


def test_a_path_with_brackets_is_printed_as_it_is(winnow: Winnow, made: Path, tmp_path: Path) -> None:
    run = tmp_path / "[bold]run[/bold]"
    code, out, _ = winnow("run", str(made / "r.yaml"), "-r", str(run), "--quiet")
    assert code == 0
    assert str(run) in out


# --- commands that change a run folder ---


def test_materialize_writes_the_mix_anew_and_judges_nothing(winnow: Winnow, made: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert winnow("run", str(made / "r.yaml"), "-r", str(run), "--quiet")[0] == 0
    before = ledger(run)
    code, _, _ = winnow("materialize", str(run), "--set", "mix.weights={a: 1, b: 0}", "--set", "mix.mode=sample", "-q")
    after = ledger(run)
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


# --- stage ---


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
    code, out, _ = winnow("stage", "near_dedup", str(run), "--recipe", str(made / "r.yaml"), "-q")
    dropped = sum(row["stage"] == "near_dedup" for row in ledger(made / "run").to_pylist())
    assert code == 0
    assert f"{dropped} dropped" in out
    assert not (run / "mix").exists()


def test_a_stage_with_another_parameter_gives_what_a_run_with_it_gives(
    winnow: Winnow, made: Path, tmp_path: Path
) -> None:
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    winnow("stage", "near_dedup", one, "--recipe", str(made / "r.yaml"), "-q")
    code, out, _ = winnow("stage", "near_dedup", one, "--jaccard-threshold", "0.4", "--json-log")
    winnow("run", str(made / "r.yaml"), "-r", other, "-q", "--set", "stages.near_dedup.jaccard_threshold=0.4")
    assert code == 0
    assert json.loads(out)["dropped"] == sum(row["stage"] == "near_dedup" for row in ledger(Path(other)).to_pylist())


def test_a_stage_that_the_recipe_lacks_is_added(winnow: Winnow, made: Path, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    arguments = ["--model", "column:score", "--min-score", "0.9", "--name", "strict", "--datasets", "a", "-q"]
    code, out, _ = winnow("stage", "quality", run, "--recipe", str(made / "r.yaml"), *arguments)
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
    code, _, err = winnow("stage", arguments[0], str(made / "run"), *arguments[1:])
    assert code == 2
    assert part in err
    assert (made / "run" / "recipe.lock.yaml").read_text() == lock


# --- tools that need no recipe ---


def test_dedup_keeps_all_columns_and_the_longer_text(winnow: Winnow, tmp_path: Path) -> None:
    words = [f"word{i}" for i in range(60)]
    texts = [" ".join(words[:58]), " ".join(words), "something else altogether, of no other document"]
    rows = {"body": texts, "key": ["x", "y", "z"], "extra": [1, 2, 3]}
    pq.write_table(pa.table(rows), tmp_path / "in.parquet")
    arguments = ["--text-column", "body", "--id-column", "key", "--workers", "1", "-q"]
    code, out, _ = winnow("dedup", str(tmp_path / "in.parquet"), "-o", str(tmp_path / "out"), *arguments)
    assert code == 0
    assert out.startswith("3 documents in, 2 kept, 1 dropped")
    kept = pa.concat_tables([pq.read_table(p) for p in sorted((tmp_path / "out").glob("part-*.parquet"))])
    assert sorted(kept.select(["key", "extra"]).to_pylist(), key=str) == [
        {"key": "y", "extra": 2},
        {"key": "z", "extra": 3},
    ]


def test_minhash_writes_signatures_with_ids(winnow: Winnow, tmp_path: Path) -> None:
    raw = pa.array([b"a text of some length", b"no \xff UTF-8", b"a text of some length"])
    text = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
    pq.write_table(pa.table({"text": text, "id": ["p", "bad", "q"]}), tmp_path / "in.parquet")
    code, out, _ = winnow(
        "minhash", str(tmp_path / "in.parquet"), "-o", str(tmp_path / "out"), "--num-permutations", "16"
    )
    assert (code, out.startswith("2 signatures"), "1 documents have none" in out) == (0, True, True)
    [file] = (tmp_path / "out").glob("*.parquet")
    table = pq.read_table(file)
    assert table.column("id").to_pylist() == ["p", "bad", "q"]
    assert [s and len(s) for s in table.column("signature").to_pylist()] == [16, None, 16]


def test_minhash_samples_no_text(winnow: Winnow, tmp_path: Path) -> None:
    texts = ["ab cde " * (MAX_SHINGLES // 6), "ab cde " * 10]  # the same seven shingles
    pq.write_table(pa.table({"text": texts, "id": ["long", "short"]}), tmp_path / "in.parquet")
    winnow("minhash", str(tmp_path / "in.parquet"), "-o", str(tmp_path / "out"), "--num-permutations", "4")
    [file] = (tmp_path / "out").glob("*.parquet")
    long, short = pq.read_table(file).column("signature").to_pylist()
    assert long == short


def test_a_classifier_is_trained_evaluated_and_applied(winnow: Winnow, tmp_path: Path) -> None:
    for name, word in (("good", "lucid"), ("bad", "spam")):
        lines = [json.dumps({"text": f"{word} {word} line number {i} {word}"}) for i in range(200)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    good, bad, model = (str(tmp_path / name) for name in ("good.jsonl", "bad.jsonl", "q.bin"))
    code, out, err = winnow("classifier", "train", "--positive", good, "--negative", bad, "-o", model)
    assert (code, "AUC" in out) == (0, True), err
    code, out, _ = winnow("classifier", "evaluate", model, "--positive", good, "--negative", bad)
    assert code == 0
    assert json.loads(out)["auc"] > 0.9
    plot = tmp_path / "p.svg"
    turned = ("--positive", bad, "--negative", good, "--positive-label", "cc", "--plot", str(plot))
    assert json.loads(winnow("classifier", "evaluate", model, *turned)[1])["auc"] > 0.9
    assert plot.read_text().startswith("<svg")
    code, out, _ = winnow("classifier", "score", model, good, "-o", str(tmp_path / "s.parquet"))
    assert code == 0
    scores = pq.read_table(tmp_path / "s.parquet")
    assert scores.column("label").to_pylist() == ["hq"] * 200
    assert min(scores.column("score").to_pylist()) > 0.5
