"""The same rows whatever format, codec and name a file has; a wrong name changes nothing."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cluster.errors import RecipeError
from cluster.files.compression import CODECS, compress
from stages.core.shard import Columns, Dataset, Piece, Shard
from stages.inputs.files import formats
from stages.inputs.files.discover import find_shards, look
from stages.inputs.reader import (
    ReadStatus,
    count_and_layout,
    passthrough_schema,
    read_piece,
    stage_compressed,
)
from tests.support import archives

ROWS: list[dict[str, Any]] = [
    {"text": "plain", "id": "007", "meta": '{"url": "https://a.example/1", "n": 1}', "note": "NA"},
    {"text": 'two\nlines, "quoted"\ttab', "id": "1e3", "meta": '{"url": null}', "note": "true"},
    {"text": "Grüße 水 😀", "id": " 12 ", "meta": "no JSON", "note": "2024-01-01"},
    {"text": "", "id": "x", "meta": '{"url": "u"}', "note": ""},
    {"text": "last", "id": "12345678901234567890", "meta": "{}", "note": "-0"},
]
NAMES = {"arrows": "arrow", "array": "json", "pretty": "json", "values": "json"}
PLAIN = ("jsonl", "array", "pretty", "values", "csv", "tsv", "arrow", "arrows", "parquet")
PACKED = tuple(f"{kind}.{codec}" for kind in ("jsonl", "array", "csv") for codec in CODECS)
COLUMNS = Columns(text="text", id="id", url="meta.url")


def dataset(path: object, **more: Any) -> Dataset:
    return Dataset(name="d", paths=(str(path),), columns=COLUMNS, **more)


def read(given: Dataset, folder: Path, names: Any = ("text", "id", "url", "column:note")) -> list[dict[str, Any]]:
    """Return the rows of a dataset as a run reads them: staged where a run stages, in pieces and by row."""
    found = []
    for number, file in enumerate(look(given, f) for f in find_shards(given)):
        copy = str(folder / f"copy-{number}.parquet") if file.staged else None
        layout = (
            stage_compressed(given, file.path, copy, ["note"], kind=file.format)
            if copy
            else count_and_layout(given, file.path, kind=file.format)
        )
        assert layout.problem is None
        assert layout == count_and_layout(given, file.path) or copy
        shard = Shard(
            ordinal=0,
            dataset="d",
            path=file.path,
            relative_path="f",
            rows=layout.rows,
            bytes=1,
            fingerprint="f",
            format=file.format,
        )
        whole = Piece(shard=shard, start=0, stop=layout.rows)
        rows = [row for b in read_piece(given, whole, names, path=copy) for row in b.table.to_pylist()]
        middle = Piece(shard=shard, start=1, stop=layout.rows - 1)
        assert [r for b in read_piece(given, middle, names, path=copy) for r in b.table.to_pylist()] == rows[1:-1]
        picked = read_piece(given, whole, names, path=copy, rows=np.array([0, 3]))
        assert [r for b in picked for r in b.table.to_pylist()] == [rows[0], rows[3]]
        straight = read_piece(given, whole, names)
        assert [r for b in straight for r in b.table.to_pylist()] == rows
        found += rows
    return found


EXPECTED = [
    {"text": row["text"], "id": row["id"], "url": url, "column:note": row["note"]}
    for row, url in zip(ROWS, ["https://a.example/1", None, None, "u", None], strict=True)
]


@pytest.mark.parametrize("format", [*PLAIN, *PACKED])
def test_every_format_gives_the_same_rows(tmp_path: Path, format: str) -> None:
    kind, _, codec = format.partition(".")
    name = f"a.{NAMES.get(kind, kind)}{f'.{codec}' if codec else ''}"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_bytes(archives.made(ROWS, format))
    assert read(dataset(tmp_path / "data"), tmp_path) == EXPECTED
    assert passthrough_schema(dataset(tmp_path / "data"), [str(tmp_path / "data" / name)], "all").names == list(ROWS[0])


WRONG = {
    "jsonl.gz": ("a.jsonl", "a.json", "a.jsonl.zst", "a.bin", "part-0", "a.jsonl.gzip", "a.JSONL.GZ", "a.parquet"),
    "jsonl.bz2": ("a.jsonl", "a.gz", "a.ndjson.xz", "noname"),
    "jsonl.xz": ("a.ndjson", "a.lzma", "a.txt"),
    "jsonl.lz4": ("a.jsonl", "a.zst"),
    "jsonl": ("a.jsonl.gz", "a.csv", "a.json.xz", "a.parquet"),
    "parquet": ("a.jsonl", "a.bin", "0a1b2c", "a.parquet.gz", "a.csv"),
    "arrow": ("a.parquet", "noname", "a.json"),
    "arrows": ("a.parquet", "a.feather"),
    "array": ("a.jsonl", "a.ndjson"),
    "csv": ("a.csv.gz",),
    "csv.zst": ("a.csv", "a.csv.gz"),
}


@pytest.mark.parametrize(("format", "name"), [(f, n) for f, names in WRONG.items() for n in names])
def test_a_wrong_name_changes_nothing(tmp_path: Path, format: str, name: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_bytes(archives.made(ROWS, format))
    assert read(dataset(tmp_path / "data"), tmp_path) == EXPECTED
    assert read(dataset(tmp_path / "data" / name), tmp_path) == EXPECTED


def test_several_members_are_one_file(tmp_path: Path) -> None:
    for codec in CODECS:
        parts = [compress(archives.made([row], "jsonl"), codec) for row in ROWS]
        (tmp_path / f"a.jsonl.{codec}").write_bytes(b"".join(parts))
        assert read(dataset(tmp_path / f"a.jsonl.{codec}"), tmp_path) == EXPECTED


@pytest.mark.parametrize("format", [*PLAIN, *PACKED])
def test_a_file_that_is_cut_is_a_problem_of_the_file(tmp_path: Path, format: str) -> None:
    kind, _, codec = format.partition(".")
    data = archives.made([{**row, "text": row["text"] + " word" * 2000} for row in ROWS * 20], format)
    path = tmp_path / f"a.{NAMES.get(kind, kind)}{f'.{codec}' if codec else ''}"
    for left in (0.3, 0.7, 0.97):
        path.write_bytes(data[: int(len(data) * left)])
        given = dataset(path)
        kind_now = look(given, find_shards(given)[0]).format
        layout = count_and_layout(given, str(path))
        if kind in ("jsonl", "values") and not codec and layout.problem is None:
            assert layout.rows < 100  # cut between lines or values, or in a line, which reading names
            continue
        if kind in ("csv", "tsv") and not codec and layout.problem is None:
            continue  # cut between or in unquoted values: below
        assert layout.problem is not None
        if formats.is_staged(kind_now):
            staged = stage_compressed(given, str(path), str(tmp_path / "s.parquet"))
            assert (staged.rows, staged.problem) == (layout.rows, layout.problem)
            assert staged.rows <= 100


def test_a_csv_that_ends_in_quotes_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,id\n"one\ntwo",1\n"three,2\nfour,3\n')
    layout = count_and_layout(dataset(path), str(path))
    assert layout.rows == 2
    assert "a quote is not closed" in str(layout.problem)


def test_what_nobody_reads_is_named(tmp_path: Path) -> None:
    for name, data, what in (
        ("a.zip", b"PK\x03\x04", "ZIP"),
        ("a.jsonl.br", b"x", "Brotli"),
        ("a.orc", b"ORC", "ORC"),
        ("a.bin", b"Obj\x01", "Avro"),
        ("a.parquet.gz", compress(b"PAR1 but no more", "gz"), "parquet compressed once more"),
        ("a.log", b"some text", r"\.log"),
    ):
        (tmp_path / name).write_bytes(data)
        for path in (tmp_path / name, tmp_path):
            with pytest.raises(RecipeError, match=f"{what}.*{name}"):
                find_shards(dataset(path))
        (tmp_path / name).unlink()


def test_utf16_and_lfs_pointers_are_problems(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("text,id\na,1\n".encode("utf-16"))
    assert "UTF-16" in str(count_and_layout(dataset(tmp_path / "a.csv"), str(tmp_path / "a.csv")).problem)


def test_a_json_array_keeps_what_stands_in_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"text": "a\\ud800", "id": 1}, {"text": "b", "id": 123456789012345678901}, "s", null]')
    given = Dataset(name="d", paths=(str(path),), columns=Columns(text="text", id="id"))
    layout = stage_compressed(given, str(path), str(tmp_path / "s.parquet"), kind="json")
    assert layout.rows == 4
    shard = Shard(
        ordinal=0, dataset="d", path=str(path), relative_path="f", rows=4, bytes=1, fingerprint="", format="json"
    )
    found = list(read_piece(given, Piece(shard=shard, start=0, stop=4), ["text"], path=str(tmp_path / "s.parquet")))
    statuses = list(itertools.chain.from_iterable(b.status.tolist() for b in found))
    assert statuses[2:] == [ReadStatus.WRONG_TYPE, ReadStatus.WRONG_TYPE]
    assert found[0].table.column("text").to_pylist()[1] == "b"


def test_declared_formats_filter(tmp_path: Path) -> None:
    for format in ("jsonl", "csv", "tsv", "parquet", "arrow", "jsonl.xz"):
        (tmp_path / f"a.{format}").write_bytes(archives.made(ROWS, format))
    for declared in ("parquet", "csv", "tsv", "arrow"):
        for path in (tmp_path, f"{tmp_path}/*", f"{tmp_path}/a.*"):
            found = find_shards(dataset(path, format=declared))
            assert [f.relative_path for f in found] == [f"a.{declared}"], path
    assert [f.relative_path for f in find_shards(dataset(tmp_path, format="jsonl"))] == ["a.jsonl", "a.jsonl.xz"]


def test_arrow_types_stay(tmp_path: Path) -> None:
    table = pa.table(
        {"text": ["a", "b"], "n": pa.array([1, None], pa.int16()), "d": pa.array([1.5, 2]).dictionary_encode()}
    )
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    given = Dataset(name="d", paths=(str(tmp_path / "a.arrow"),))
    assert passthrough_schema(given, given.paths, ["n", "d"]).types == [pa.int16(), pa.float64()]
    layout = count_and_layout(given, given.paths[0])
    assert (layout.rows, layout.problem) == (2, None)


def test_a_line_longer_than_what_is_looked_at_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "part-0"
    path.write_bytes(compress(json.dumps({"text": "x" * 300_000}).encode() + b"\n", "bz2"))
    assert formats.detect(str(path)) == "jsonl.bz2"
