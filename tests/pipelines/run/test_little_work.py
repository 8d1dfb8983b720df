"""Inputs too few for worker processes: where they are worked on in this process, and that no byte depends on it."""

from __future__ import annotations

import dataclasses
import filecmp
import gzip
import sys
from pathlib import Path
from typing import Any

import pytest

from cluster.options import ClusterOptions
from pipelines.recipe.to_run import prepare
from pipelines.run import little_work, runner
from pipelines.run.little_work import where_to_work
from pipelines.run.progress import Lines, Silent
from stages import registry
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


def bare(use: str, **values: Any) -> Any:
    """Return a stage with its defaults and these values, unchecked: no file is looked for."""
    kind = registry.stage_class(use)
    stage = object.__new__(kind)
    for field in dataclasses.fields(kind):
        object.__setattr__(stage, field.name, values.get(field.name, field.default))
    return stage


def test_a_stage_that_is_not_known_to_be_winnow_s_own_needs_workers() -> None:
    own = {use for use in registry.STAGES if little_work.is_own(bare(use))}
    assert own <= {*little_work.OWN, *little_work.FOREIGN_KEYS}
    assert own >= {"exact_dedup", "minhash", "near_dedup", "heuristics", "line_rules", "language_id", "pii"}


@pytest.mark.parametrize(
    ("use", "values"),
    [
        ("document_filter", {}),
        ("perplexity", {}),
        ("semantic_dedup", {}),
        ("heuristics", {"tokenizer": "t.json"}),
        ("heuristics", {"language": "en"}),
        ("pii", {"detector": "presidio"}),
        ("url_rules", {"adblock": ("list.txt",)}),
        ("quality", {"model": "onnx:m"}),
        ("label", {"model": "python:m:f"}),
    ],
)
def test_libraries_of_others_need_workers(use: str, values: dict[str, Any]) -> None:
    assert not little_work.is_own(bare(use, **values))


def test_models_that_winnow_computes_itself_need_none() -> None:
    assert little_work.is_own(bare("quality", model="fasttext:q.bin"))
    assert little_work.is_own(bare("quality", model="column:score"))


@pytest.mark.parametrize("name", ["pages.warc.gz", "pages.wet", "page.dat", "page.jsonl", "linked.gz", "packed"])
def test_workers_start_for_pages_whose_html_is_read(paths: dict[str, str], tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "p.warc.gz").write_bytes(gzip.compress(b"WARC/1.0"))
    if name == "linked.gz":
        (tmp_path / "in" / name).symlink_to(tmp_path / "p.warc.gz")
    else:
        (tmp_path / "in" / name).write_bytes(gzip.compress(b"WARC/1.0") if name == "packed" else b"WARC/1.0\r\n")
    assert chosen({**paths, "w": str(tmp_path / "in")}) == "local"


def test_workers_start_where_the_recipe_says_that_files_are_pages(paths: dict[str, str]) -> None:
    prepared = prepare(recipe_of(paths, EXACT, cluster={"kind": "local"}), "run")
    pages = dataclasses.replace(prepared.run.datasets[0], format="warc")
    run = dataclasses.replace(prepared.run, datasets=(pages,))
    assert where_to_work(dataclasses.replace(prepared, run=run))[0].kind == "local"


def test_compressed_files_count_as_the_text_they_stand_for(paths: dict[str, str], tmp_path: Path) -> None:
    size = little_work.MOST_BYTES // 2
    for name, kind in (("a.jsonl", "threads"), ("a.jsonl.gz", "local"), ("a.parquet", "local")):
        place = tmp_path / name.replace(".", "-")
        place.mkdir()
        with (place / name).open("wb") as file:
            file.truncate(size)
        assert chosen({"c": str(place)}) == kind


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
