"""The command line itself: help, completion, exit codes, and what an error looks like."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cluster.version import VERSION
from pipelines.cli import app, main
from tests.support.command_line import Winnow, subprocess_of


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


def test_the_table_of_commands_says_in_which_module_each_is() -> None:
    main.command_line()
    found: dict[str, set[str]] = {main.STAGE_COMMAND: {"stage"}}
    for each in app.app.registered_commands:
        assert each.callback is not None
        found.setdefault(each.callback.__module__, set()).add(each.name or each.callback.__name__)
    for group in app.app.registered_groups:
        assert group.typer_instance is not None
        for inner in group.typer_instance.registered_commands:
            assert inner.callback is not None
            found.setdefault(inner.callback.__module__, set()).add(str(group.name))
    assert found == {module: set(names) for module, names in main.COMMANDS.items()}


def test_a_command_imports_no_module_of_other_commands() -> None:
    code = "import sys; from pipelines.cli import main; code = main.main(['warmup', '--help']); "
    code += "print([name for name in main.COMMANDS if name in sys.modules], code)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "['pipelines.cli.kernels'] 0"


def test_the_shell_completes_commands_and_stages() -> None:
    found = subprocess_of(_WINNOW_COMPLETE="complete_bash", COMP_WORDS="winnow st", COMP_CWORD="1")
    assert found.stdout.split() == ["status", "stage"]
    found = subprocess_of(_WINNOW_COMPLETE="complete_bash", COMP_WORDS="winnow stage m", COMP_CWORD="2")
    assert found.stdout.split() == ["minhash"]


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
        (["stage", "RUN", "minhash"], "is not a run folder"),
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
    ("arguments", "code", "part"),
    [
        (["status", "RUN"], 2, "is not a run folder"),
        (["facts", "RUN", "quality", "-o", "RUN/x.parquet"], 2, "is not a run folder"),
        (["clean", "RUN"], 2, "is not a run folder"),
        (["run", "minimal", "-r", "RUN", "--quiet", "--set", "cluster.kind=inline"], 2, "does not exist or is empty"),
        (["run", "minimal", "-r", "RUN", "--backend", "gpu", "--set", "datasets.web.paths=."], 1, "BackendError"),
        (["dedup", "RUN/none", "-o", "RUN/out"], 2, "does not exist or is empty"),
    ],
)
def test_what_fails_exits_with_1_what_is_asked_wrongly_with_2_and_no_traceback(
    arguments: list[str], code: int, part: str, winnow: Winnow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    got, _, err = winnow(*[a.replace("RUN", str(tmp_path / "run")) for a in arguments])
    assert got == code
    assert part in err
    assert "Traceback" not in err


def test_a_run_folder_that_cannot_be_is_bad_usage_and_named(winnow: Winnow, made: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = winnow("run", str(made / "r.yaml"), "-r", str(tmp_path / "file"), "--quiet")
    assert code == 2
    assert str(tmp_path / "file") in err


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
