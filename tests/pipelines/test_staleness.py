"""Readers of a run folder know when ledger, mix, report and card are not those of its recipe and inputs."""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cluster import storage
from cluster.errors import LedgerError, WinnowError
from cluster.files.sealed import read_json, write_json
from pipelines.audit.audit import audit
from pipelines.cli.main import main
from pipelines.commands.facts import export_facts
from pipelines.commands.status import status_of_run
from pipelines.explain.explain import explain
from pipelines.mix.card import write_card
from pipelines.report.report import write_report
from pipelines.run import mixes, runner
from pipelines.run_state import from_home
from pipelines.runfolder import open_run
from pipelines.staleness import stale_parts
from tests.support.tiny_fasttext import write_model

RECIPE = """\
name: small
datasets:
  a: {paths: in/a/*, columns: {id: id, url: url}}
stages:
  - {use: exact_dedup}
  - {use: minhash, shingle_width: 8}
  - {use: near_dedup, jaccard_threshold: 0.95}
cluster: {kind: inline}
"""

WITH_LISTS = """\
datasets:
  a: {paths: in/a, columns: {id: id, url: url}}
stages:
  - {use: url_rules, domains: [lists/d.txt]}
  - {use: decontaminate, benchmarks: ['lists/items.jsonl#question']}
  - {use: quality, model: 'fasttext:lists/q.bin', positive_label: hq}
  - {use: pii}
cluster: {kind: inline}
"""


def write_inputs(folder: Path) -> None:
    """Write 40 texts, and near copies of 20 of them, that differ in one to eight of 60 words."""
    rng = random.Random(1)
    texts = [[f"word{rng.randrange(300)}" for _ in range(60)] for _ in range(40)]
    for number in range(20):
        copy = list(texts[number])
        for place in range(1 + number % 8):
            copy[7 * place] = f"other{place}"
        texts.append(copy)
    lines = [json.dumps({"text": " ".join(words), "id": str(n), "url": None}) for n, words in enumerate(texts)]
    folder.mkdir(parents=True)
    (folder / "one.jsonl").write_text("\n".join(lines))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with inputs, a recipe that names them by relative paths, and a finished run."""
    project = tmp_path_factory.mktemp("project")
    write_inputs(project / "in" / "a")
    (project / "r.yaml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        assert main(["run", "r.yaml", "-r", "run", "-q"]) == 0
    return project


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, as if it had been made there; the working folder is another one."""
    copy = tmp_path / "project"
    shutil.copytree(made, copy)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return copy


def whats(root: Path) -> list[str]:
    return [part["what"] for part in stale_parts(str(root))]


def test_a_finished_run_is_not_stale(project: Path) -> None:
    assert stale_parts(str(project / "run")) == []
    assert open_run(str(project / "run")).stale == []


def test_after_a_stage_with_another_threshold_readers_tell_and_contradict_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(project / "run")
    monkeypatch.chdir(project)
    assert main(["stage", "run", "near_dedup", "--jaccard-threshold", "0.4", "-q"]) == 0
    assert whats(project / "run") == ["ledger", "mix", "report", "card"]
    assert status_of_run(run)["stale"][0]["why"].endswith("(stages.near_dedup.jaccard_threshold 0.95 -> 0.4)")
    with pytest.warns(UserWarning, match="stale: ledger"):
        folder = open_run(run)
    assert next(s for s in folder.stages if s.name == "near_dedup").parameters["jaccard_threshold"] == 0.95
    for doc in range(0, 60, 7):
        (found,) = explain(run, doc_id=doc)["documents"]
        assert found["kept"] == (not any(d["verdict"] == "dropped" for d in found["decisions"]))
        assert all(d["threshold"] != 0.4 for d in found["decisions"])
    assert audit(run)["stages"]["near_dedup"]["threshold"] == 0.95
    capsys.readouterr()
    assert main(["explain", "run", "--doc-id", "0", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["stale"][0]["what"] == "ledger"
    assert "warning: stale: ledger" in err
    assert "winnow materialize run" in err
    write_report(run)
    report = json.loads((project / "run" / "report.json").read_text())
    assert [part["what"] for part in report["stale"]] == ["ledger", "mix"]
    assert "not up to date" in (project / "run" / "report.html").read_text()
    with pytest.raises(LedgerError, match="no dataset card is written"):
        write_card(run)
    assert main(["materialize", "run", "-q"]) == 0
    assert whats(project / "run") == []
    assert "not up to date" not in (project / "run" / "report.html").read_text()


@pytest.mark.parametrize("step", ["write_ledger_folder", "materialize", "write_mix_manifest"])
def test_a_run_that_stopped_is_told_of(project: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def stop(*_: object, **__: object) -> None:
        raise WinnowError("stopped")

    monkeypatch.chdir(project)
    with monkeypatch.context() as patch:
        patch.setattr(runner if step == "write_ledger_folder" else mixes, step, stop)
        assert main(["run", "r.yaml", "-r", "run", "-q", "--set", "stages.near_dedup.jaccard_threshold=0.5"]) == 1
    assert whats(project / "run")[0] == ("ledger" if step == "write_ledger_folder" else "mix")
    assert main(["materialize", "run", "-q"]) == 0
    assert whats(project / "run") == []


def test_a_ledger_of_other_inputs_answers_no_question(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise WinnowError("stopped")

    monkeypatch.chdir(project)
    shutil.copy(next((project / "in" / "a").iterdir()), project / "in" / "a" / "more.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(runner, "_decide", stop)
        assert main(["run", "r.yaml", "-r", "run", "-q", "--refresh"]) == 1
    for read in (lambda: explain("run", doc_id=0), lambda: audit("run"), lambda: write_report("run")):
        with pytest.raises(LedgerError, match="other inputs"):
            read()
    with pytest.raises(LedgerError, match="is not finished"):
        export_facts("run", "near_dedup", str(project / "facts.parquet"))


def test_a_run_folder_is_read_from_any_folder(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = project / "run"
    before = json.loads((run / "report.json").read_text())
    assert explain(str(run), doc_id=0)["documents"][0]["text"]
    assert open_run(str(run)).texts([0])[0].text
    write_report("../project/run")
    assert json.loads((run / "report.json").read_text()) == before
    assert main(["facts", "../project/run", "near_dedup", "-o", "here.parquet"]) == 0
    assert Path("here.parquet").exists()
    assert main(["materialize", "../project/run", "-q", "--set", "output.shuffle=global"]) == 0
    assert main(["audit", "../project/run"]) == 0
    assert main(["status", "../project/run"]) == 0


def test_a_poorer_report_never_replaces_a_better_one(
    made: Path, project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pipelines.run_state.home_of", lambda *_: str(Path.cwd()))  # the inputs are nowhere
    pages = [project / "run" / name for name in ("report.json", "report.html")]
    before = [page.read_bytes() for page in pages]
    write_report(str(project / "run"))
    assert [page.read_bytes() for page in pages] == before
    assert "is kept as it is" in caplog.text
    pages[0].unlink()
    write_report(str(project / "run"))
    assert pages[1].read_bytes() != before[1]


def test_readers_leave_the_working_folder_alone_and_threads_do_not_mix(project: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(project, tmp_path / "other"))
    here = os.getcwd()
    for place in (project, other):  # as if each had been made there
        options = str(place / "run" / "facts" / "options.json")
        write_json(options, {**read_json(options), "started_in": str(place)})
    places = [project, other] * 3
    barrier = threading.Barrier(len(places))

    def read(place: Path) -> tuple[set[str], set[str]]:
        barrier.wait()
        cwd, inputs = set(), set()
        for _ in range(20):
            with from_home(str(place / "run")):
                barrier.wait()
                inputs.add(storage.absolute("in/a"))
                cwd.add(os.getcwd())
        return cwd, inputs

    with ThreadPoolExecutor(len(places)) as pool:
        answers = list(pool.map(read, places))
    assert answers == [({here}, {str(place / "in" / "a")}) for place in places]
    assert storage.absolute("in/a") == os.path.join(here, "in", "a")


def test_models_and_lists_with_relative_paths_are_found_from_anywhere(tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("in/a", "lists", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "in" / "a" / "1.jsonl").write_text(json.dumps({"text": "ask me at a@b.org", "id": "1", "url": "x"}))
    (tmp_path / "lists" / "d.txt").write_text("bad.example\n")
    (tmp_path / "lists" / "items.jsonl").write_text(
        json.dumps({"question": "who asks whom what and where and when and why"})
    )
    write_model(tmp_path / "lists" / "q.bin")
    (tmp_path / "r.yaml").write_text(WITH_LISTS)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "r.yaml", "-r", "run", "-q"]) == 0
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert status_of_run("../run")["stale"] == []
    assert "a@b.org" not in str(explain("../run", id="1")["documents"][0]["text"])
    (tmp_path / "run" / "report.html").unlink()
    for command in (["report", "../run"], ["facts", "../run", "quality", "-o", "f.parquet"]):
        assert main(command) == 0
    assert (tmp_path / "elsewhere" / "f.parquet").exists()
    assert main(["materialize", "../run", "-q"]) == 0
    assert os.getcwd() == str(tmp_path / "elsewhere")
