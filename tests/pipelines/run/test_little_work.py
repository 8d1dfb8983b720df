"""Inputs too few for worker processes: where they are worked on in this process, and that no byte depends on it."""

from __future__ import annotations

import dataclasses
import filecmp
import sys
from pathlib import Path
from typing import Any

import pytest

from cluster.options import ClusterOptions
from pipelines.recipe.to_run import prepare
from pipelines.run import little_work, runner
from pipelines.run.little_work import where_to_work
from pipelines.run.progress import Lines, Silent
from tests.support import corpora
from tests.support.small_runs import recipe_of

EXACT = [{"use": "exact_dedup"}]
JUDGE = [{"use": "quality", "model": "python:tests.support.judges:first", "min_score": 0}]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return corpora.write(tmp_path_factory.mktemp("in"), corpora.corpus(41, 60, ("a", "b")), 2)


def chosen(paths: dict[str, str], stages: Any = EXACT, cluster: dict[str, Any] | None = None, **more: Any) -> str:
    recipe = recipe_of(paths, stages, cluster={"kind": "local", **(cluster or {})}, **more)
    options, said = where_to_work(prepare(recipe, "run"))
    assert bool(said) == (options.kind != recipe.cluster.kind)
    return options.kind


def test_few_bytes_need_no_worker_processes(paths: dict[str, str]) -> None:
    assert chosen(paths) == "threads"
    assert chosen({"a": f"{paths['a']}/*"}) == "threads"
    assert chosen(paths, cluster={"backend": "cpu"}) == "threads"


@pytest.mark.parametrize(
    "asked",
    [
        {"workers": 1},
        {"threads_per_worker": 2},
        {"memory_limit": "2GB"},
        {"dashboard": "127.0.0.1:0"},
        {"task_timeout": 60},
        {"backend": "gpu"},
    ],
)
def test_what_is_said_of_workers_is_done(paths: dict[str, str], asked: dict[str, Any]) -> None:
    assert chosen(paths, cluster=asked) == "local"


def test_workers_start_where_one_may_die_of_what_it_runs(paths: dict[str, str]) -> None:
    assert chosen(paths, on_error="quarantine") == "local"
    assert chosen(paths, JUDGE) == "local"


def test_workers_start_for_pages_whose_html_is_read(paths: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "pages.warc.gz").touch()
    assert chosen({**paths, "w": str(tmp_path)}) == "local"


def test_workers_start_on_a_gpu_that_is_there(paths: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(little_work.backend, "why_no_gpu", lambda: "")
    assert chosen(paths) == "local"
    assert chosen(paths, cluster={"backend": "cpu"}) == "threads"


def test_workers_start_for_much(paths: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for number in range(little_work.MOST_FILES):
        (tmp_path / f"{number}.jsonl").write_text('{"text": "a"}\n')
    assert chosen({"c": str(tmp_path)}) == "threads"
    assert chosen({**paths, "c": str(tmp_path)}) == "local"
    monkeypatch.setattr(little_work, "MOST_BYTES", 1000)
    assert chosen(paths) == "local"


def test_inputs_of_a_store_are_not_asked_for(paths: dict[str, str]) -> None:
    assert chosen({**paths, "s": "memory://nowhere/*.parquet"}) == "local"


@pytest.mark.parametrize("kind", ["inline", "threads", "ray", "slurm", "scheduler", "local-cuda"])
def test_other_kinds_are_what_they_are(paths: dict[str, str], kind: str) -> None:
    prepared = prepare(recipe_of(paths, EXACT), "run")
    asked = ClusterOptions(kind=kind, backend="cpu")
    assert where_to_work(dataclasses.replace(prepared, cluster=asked)) == (asked, "")


def test_no_byte_of_ledger_and_mix_depends_on_it_and_the_terminal_says_so(
    paths: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, cluster in (("threads", {}), ("dask", {"workers": 2})):
        recipe = recipe_of(paths, cluster={"kind": "local", **cluster})
        display = Lines(sys.stdout) if name == "threads" else Silent()
        runner.run(recipe, str(tmp_path / name), progress=display, with_report=False)
    assert "without worker processes" in capsys.readouterr().out
    files = [p.relative_to(tmp_path / "dask") for p in tmp_path.glob("dask/*/**/*.parquet") if p.is_file()]
    assert len([p for p in files if p.parts[0] in ("ledger", "mix")]) > 2
    wanted = [str(p) for p in files if p.parts[0] in ("ledger", "mix")]
    same, _, _ = filecmp.cmpfiles(tmp_path / "dask", tmp_path / "threads", wanted, shallow=False)
    assert sorted(same) == sorted(wanted)
