"""Side files: every format and codec, and damage that is named, never read in part."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster.errors import RecipeError, ShardError, WinnowError
from cluster.files.compression import CODECS, compress
from stages.detect import benchmark_items
from stages.inputs import side_files
from tests.support import archives

ROWS = [{"text": f"number {n}\nand, more", "answer": str(n)} for n in range(50)]
TEXTS = [row["text"] for row in ROWS]
NAMES = {"arrows": "arrow", "array": "json", "pretty": "json", "values": "json"}
FORMATS = [
    *("jsonl", "array", "pretty", "values", "csv", "tsv", "parquet", "arrow", "arrows"),
    *(f"{kind}.{codec}" for kind in ("jsonl", "csv", "array") for codec in CODECS),
]


def made(folder: Path, format: str) -> Path:
    kind, _, codec = format.partition(".")
    path = folder / f"b.{NAMES.get(kind, kind)}{f'.{codec}' if codec else ''}"
    path.write_bytes(archives.made(ROWS, format))
    return path


@pytest.mark.parametrize("format", FORMATS)
def test_rows_and_texts_are_the_same_in_every_format(tmp_path: Path, format: str) -> None:
    path = made(tmp_path, format)
    assert list(side_files.rows(str(path))) == ROWS
    found = list(side_files.texts(path))
    assert [text for batch in found for text in batch.texts.to_pylist()] == TEXTS
    assert [row for batch in found for row in batch.rows] == list(range(50))
    assert [item[0][1] for item in benchmark_items.parts(f"b={path}#text")] == TEXTS
    with pytest.raises(RecipeError, match=r"b\..*'body'"):
        list(side_files.texts(path, "body"))


@pytest.mark.parametrize("format", [f for f in FORMATS if f not in ("jsonl", "csv", "tsv", "values")])
@pytest.mark.parametrize("left", [0.2, 0.5, 0.99])
def test_what_is_cut_is_named(tmp_path: Path, format: str, left: float) -> None:
    path = made(tmp_path, format)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * left)])
    for read in (side_files.rows, side_files.texts):
        with pytest.raises(WinnowError, match=path.name.replace(".", r"\.")):
            list(read(str(path)))


def test_lines_that_are_no_json_are_named(tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl"
    path.write_text('{"text": "a"}\n\n{"text": "b"\n')
    with pytest.raises(ShardError, match=r"b\.jsonl, line 3 cannot be read"):
        list(side_files.rows(str(path)))
    path.write_text('{"text": "a"}\n\n"only text"\n{"n": 1e999, "big": 12345678901234567890123}\n')
    found = list(side_files.rows(str(path)))
    assert found[1] == {"text": "only text"}
    assert found[2]["big"] == 12345678901234567890123


def test_lists_are_lines_or_a_column(tmp_path: Path) -> None:
    domains = ["a.example", "b.example # why", "", "c.example"]
    text = "\n".join(domains).encode()
    for codec in ("", *CODECS):
        path = tmp_path / f"list.txt{f'.{codec}' if codec else ''}"
        path.write_bytes(compress(text, codec))
        assert side_files.entries(str(path)) == domains
        if codec:
            path.write_bytes(compress(text * 999, codec)[:-9])
            with pytest.raises(ShardError, match=path.name):
                side_files.entries(str(path))
    rows = [{"domain": d, "n": 1} for d in ("a.example", "b.example")]
    for format in ("csv", "tsv", "jsonl.gz", "parquet", "csv.xz", "arrow"):
        path = tmp_path / f"list.{format}"
        path.write_bytes(archives.made(rows, format))
        assert side_files.entries(str(path)) == ["a.example", "b.example"]
        assert side_files.entries(f"{path}#n") == ["1", "1"]
        with pytest.raises(RecipeError, match="no column 'x'; it has domain, n"):
            side_files.entries(f"{path}#x")
    (tmp_path / "plain.csv").write_text("a.example\nb.example\n")
    assert side_files.entries(str(tmp_path / "plain.csv")) == ["a.example", "b.example"]
    (tmp_path / "other.jsonl").write_text(json.dumps({"a": 1, "b": 2}))
    with pytest.raises(RecipeError, match="none of the columns"):
        side_files.entries(str(tmp_path / "other.jsonl"))


def test_missing_and_unknown_files_are_errors(tmp_path: Path) -> None:
    (tmp_path / "b.pdf").write_bytes(b"%PDF")
    for path in (tmp_path / "none.jsonl", tmp_path / "b.pdf"):
        with pytest.raises(RecipeError, match=path.name):
            list(side_files.rows(str(path)))
