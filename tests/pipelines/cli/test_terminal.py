"""The terminal: a first word at once, an end in winnow's own words, exit codes as documented."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import corpora
from tests.support.command_line import Winnow

COMMAND = [sys.executable, "-m", "pipelines"]
FOREIGN = ("Traceback", "distributed", "tornado", "asyncio")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("terminal")
    paths = corpora.write(folder / "in", corpora.corpus(41, 60, ("a",)), 1)
    (folder / "r.yaml").write_text(
        f"datasets: {{a: {{paths: {paths['a']}, columns: {{id: id}}}}}}\nstages: [{{use: exact_dedup}}]\n"
    )
    return folder / "r.yaml"


def until(descriptor: int, words: str, seconds: float = 60.0) -> str:
    """Return what a terminal shows up to the first of these words."""
    seen, end = "", time.monotonic() + seconds
    while words not in seen and time.monotonic() < end:
        if select.select([descriptor], [], [], 0.1)[0]:
            try:
                seen += os.read(descriptor, 65536).decode("utf-8", "replace")
            except OSError:  # the other side has closed
                break
    return seen


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="uses a pseudo-terminal")
def test_ctrl_c_ends_workers_and_run_with_one_sentence(recipe: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*COMMAND, "run", str(recipe), "-r", str(tmp_path / "run"), "--workers", "1"]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    try:
        seen = until(ours, "list inputs")
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process that it shows
        seen += until(ours, "goes on from there")
        assert process.wait(60) == 130
    finally:
        process.kill()
        os.close(ours)
    assert "Interrupted. What is finished stays; the same command goes on from there." in seen
    assert not [word for word in FOREIGN if word in seen]


def test_the_first_word_comes_before_heavy_packages(recipe: Path, tmp_path: Path) -> None:
    command = [*COMMAND, "run", str(recipe), "-r", str(tmp_path / "run"), "--set", "cluster.kind=inline"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[0] == "winnow run: begins"
    assert done.stdout.count("winnow run") == 0


def test_a_log_for_machines_has_nothing_but_json(recipe: Path, tmp_path: Path) -> None:
    command = [*COMMAND, "run", str(recipe), "-r", str(tmp_path / "run"), "--set", "cluster.kind=inline", "--json-log"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert events[0]["event"] == "begin"
    assert {event["event"] for event in events} == {"begin", "start", "done"}
    [last] = [json.loads(line) for line in done.stdout.splitlines()]
    assert last["event"] == "finished"
    assert {"warnings", "notes", "datasets"} <= last.keys()
    taken = last["datasets"]["a"]
    assert taken["kept"] == taken["mixes"][""]["documents"]
    assert taken["kept_tokens"] == taken["mixes"][""]["tokens"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "nosuch.yaml", "-r", "RUN"),
        ("run", "BAD", "-r", "RUN"),
        ("check", "BAD"),
        ("plan", "BAD"),
        ("doctor", "BAD"),
        ("slurm-script", "BAD", "--run-dir", "RUN"),
        ("report", "NOWHERE"),
        ("status", "NOWHERE"),
        ("explain", "NOWHERE", "--doc-id", "1"),
        ("audit", "NOWHERE"),
        ("facts", "NOWHERE", "read", "-o", "f.parquet"),
        ("materialize", "NOWHERE"),
        ("clean", "NOWHERE"),
        ("diff", "NOWHERE", "NOWHERE"),
        ("stage", "NOWHERE", "exact_dedup"),
        ("stage", "NOWHERE", "nosuch"),
        ("run", "--nosuch"),
        ("nosuch",),
        ("schema", "--of", "nosuch"),
        ("models", "fetch", "nosuch"),
        ("dedup", "NOWHERE", "-o", "OUT"),
        ("minhash", "NOWHERE", "-o", "OUT"),
    ],
    ids=" ".join,
)
def test_bad_usage_and_bad_recipes_exit_with_2(
    winnow: Winnow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "BAD").write_text("datasets: {a: {pats: x}}\n")
    code, out, err = winnow(*arguments)
    assert (code, out) == (2, "")
    assert len(err) > 20
    assert "Traceback" not in err


def test_a_wrong_path_is_told_before_workers_start(winnow: Winnow, recipe: Path, tmp_path: Path) -> None:
    code, _, err = winnow("run", str(recipe), "-r", str(tmp_path / "run"), "--set", "datasets.a.paths=/no/such/place")
    assert code == 2
    assert "/no/such/place does not exist" in err
    assert "start workers" not in err
