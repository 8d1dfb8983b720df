"""WARC and WET: a row for each page, text by the extractor, damage named."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from cluster.errors import RecipeError
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from stages.core import extractor
from stages.core.shard import Columns, Dataset
from stages.inputs import warc
from stages.inputs.files.discover import find_shards, look
from stages.inputs.reader import count_and_layout
from stages.inputs.warc import Archive
from tests.support import archives, run_folders
from tests.support.archives import conversion, info, page, record, response, zipped

PLAIN = "Content-Type: text/html\r\n"
LATIN = "Content-Type: text/html; charset=iso-8859-1\r\n"
PAGES = [
    info(),
    page("Grüße aus dem Netz", 1),
    record("request", b"GET / HTTP/1.1\r\n\r\n", "application/http; msgtype=request", 1),
    response(archives.HTML.format("Größe").encode("latin-1"), 2, LATIN),
    response(gzip.compress(b"<p>packed</p>"), 3, f"{PLAIN}Content-Encoding: gzip\r\n"),
    response(
        b"6\r\n<p>in \r\n9\r\nparts</p>\r\n0\r\n\r\n", 4, "Content-Type: text/html\r\nTransfer-Encoding: chunked\r\n"
    ),
    response(b"just text", 5, "Content-Type: text/plain\r\n"),
    response(b"\x89PNG", 6, "Content-Type: image/png\r\n"),
    response("<p>ключ</p>".encode("cp1251"), 7, "Content-Type: text/html; charset=windows-1251\r\n"),
    record("metadata", b"fetchTimeMs: 1\r\n", "application/warc-fields", 1),
]
TEXTS = ["Grüße aus dem Netz", "Größe", "packed", "in parts", "just text", None, "ключ"]


def rows(
    path: Path, data: bytes, format: str = "warc", extract: str = "resiliparse"
) -> tuple[list[dict[str, Any]], Any]:
    path.write_bytes(data)
    archive = Archive(str(path), format, extract)
    return [row for part in archive.rows() for row in part.record.to_pylist()], archive.error


@pytest.mark.parametrize("format", ["warc", "warc.gz"])
def test_pages_become_rows(tmp_path: Path, format: str) -> None:
    data = zipped(PAGES) if format == "warc.gz" else b"".join(PAGES)
    found, error = rows(tmp_path / "a", data, format)
    assert error is None
    assert [row["text"] for row in found] == TEXTS
    assert found[0] == {
        "text": "Grüße aus dem Netz",
        "id": "<urn:uuid:0001>",
        "url": "https://site.example/1",
        "date": "2024-01-02T03:04:05Z",
        "WARC-Type": "response",
        "Content-Type": "text/html",
        "http_status": 200,
    }
    assert found[5]["Content-Type"] == "image/png"


def test_wet_texts_stand_as_they_are(tmp_path: Path) -> None:
    texts = ["eins\n zwei \n", "水"]
    found, error = rows(tmp_path / "a", b"".join([info(), *(conversion(t, n) for n, t in enumerate(texts))]))
    assert ([row["text"] for row in found], error) == (texts, None)
    assert [row["WARC-Type"] for row in found] == ["conversion"] * 2


def test_extractors_differ_and_none_keeps_the_html(tmp_path: Path) -> None:
    words = " ".join(f"word{n} of a sentence that an extractor takes for content." for n in range(40))
    html = f"<html><body><nav><a href=/>menu</a></nav><article><p>{words}</p></article></body></html>"
    texts = {
        name: rows(tmp_path / "a", response(html.encode()), extract=name)[0][0]["text"] for name in extractor.EXTRACTORS
    }
    assert texts["none"] == html
    assert texts["resiliparse"].strip() == words
    assert "word39" in texts["trafilatura"]
    assert "<p>" not in texts["trafilatura"]


def test_a_cut_anywhere_is_named(tmp_path: Path) -> None:
    records = [info(), page("one", 1), conversion("two", 2)]
    whole, ends, at = b"".join(records), {0}, 0
    for part in records:
        at += len(part)
        ends |= set(range(at - 4, at + 1))  # the empty lines after a record
    for size in range(1, len(whole)):
        found, error = rows(tmp_path / "a", whole[:size])
        assert error is not None or size in ends, size
        assert len(found) <= 3
    packed, borders = zipped(records), {len(zipped(records[:n])) for n in range(4)}
    for size in range(1, len(packed), 7):
        assert rows(tmp_path / "a", packed[:size], "warc.gz")[1] is not None or size in borders


def test_garbage_between_records_and_files_without_pages_are_named(tmp_path: Path) -> None:
    for data in (info() + b"garbage\r\n" + page("x"), page("x") + b"garbage", b"WARC/1.0\r\n\r\n", info()):
        assert rows(tmp_path / "a", data)[1]


def test_a_folder_of_archives_is_a_dataset(tmp_path: Path) -> None:
    names = {"a.warc.gz": zipped(PAGES), "b.warc.wet.gz": zipped([info(), conversion("aus WET", 9)]), "c": PAGES[1]}
    (tmp_path / "in").mkdir()
    for name, data in names.items():
        (tmp_path / "in" / name).write_bytes(data)
    (tmp_path / "in" / "a.warc.wat.gz").write_bytes(b"no magic")
    given = Dataset(name="d", paths=(str(tmp_path / "in"),), format="warc", columns=Columns(id="id", url="url"))
    assert [f.format for f in (look(given, f) for f in find_shards(given))] == ["warc.gz", "warc.gz", "warc"]
    layouts = [count_and_layout(given, f.path) for f in find_shards(given)]
    assert [(layout.rows, layout.problem) for layout in layouts] == [(7, None), (1, None), (1, None)]


def mix(tmp_path: Path, run: str, **dataset: Any) -> dict[str, Any]:
    entry = {"paths": str(tmp_path / "in"), "format": "warc", **dataset}
    recipe = {"datasets": {"d": entry}, "stages": [{"use": "exact_dedup"}], "cluster": {"kind": "inline"}}
    recipe["output"] = {"columns": ["date", "http_status"], "shuffle": "none"}
    runner.run(load_data(recipe, "test"), str(tmp_path / run))
    return {row["id"]: row for row in run_folders.ledger(tmp_path / run)}


def test_a_run_knows_ids_urls_and_the_extractor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.warc.gz").write_bytes(zipped([*PAGES, page("Grüße aus dem Netz", 8)]))
    found = mix(tmp_path, "run")
    assert len(found) == 8
    assert [found[f"<urn:uuid:000{n}>"]["kept"] for n in (1, 2, 6, 8)] == [True, True, False, False]
    staged = {path.name for path in (tmp_path / "run" / "staged" / "d").iterdir()}
    mix(tmp_path, "run")
    assert {path.name for path in (tmp_path / "run" / "staged" / "d").iterdir()} == staged
    monkeypatch.setattr(extractor.metadata, "version", lambda name: "another")
    mix(tmp_path, "run")
    assert {path.name for path in (tmp_path / "run" / "staged" / "d").iterdir()} > staged
    html = mix(tmp_path, "run", extract="none")
    assert html["<urn:uuid:0003>"]["kept"]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise extractor.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(extractor.metadata, "version", missing)
    with pytest.raises(RecipeError, match=r"winnow-mix\[warc\]"):
        extractor.extractor("resiliparse")
    monkeypatch.setattr(warc, "open_file", None)
    monkeypatch.setitem(__import__("sys").modules, "fastwarc.warc", None)
    with pytest.raises(RecipeError, match=r"winnow-mix\[warc\]"):
        list(Archive("x.warc", "warc").rows())
