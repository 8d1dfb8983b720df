"""Reading: the same documents from every format, every row exactly once, every bad input with a name."""

from __future__ import annotations

import gzip
import itertools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.errors import LedgerError, ShardError
from stages.core.shard import Columns, Dataset, Piece, Shard
from stages.inputs import jsonl
from stages.inputs.files.file_versions import size_of
from stages.inputs.reader import (
    Batch,
    ReadStatus,
    count_and_layout,
    passthrough_schema,
    read_piece,
    stage_compressed,
)
from stages.kernels.text.validity import invalid_utf8, only_white_space

COLUMNS = Columns(text="text", id="id", url="meta.url")
FORMATS = ("parquet", "jsonl", "jsonl.gz", "jsonl.zst")
STAGED = ("jsonl.gz", "jsonl.zst")
DOCUMENTS = [
    {"text": "first text", "id": "a", "meta": {"url": "http://x.example/1", "score": 1.5}, "n": 3},
    {"text": None, "id": "b", "meta": {"url": None, "score": 2.5}, "n": None},
    {"text": "", "id": "c", "meta": {"url": "u", "score": 0.5}, "n": 4},
    {"text": " \t\n\u3000", "id": None, "meta": {"url": "v", "score": 0.25}, "n": 5},
    {"text": 'Grüße 😀\n"quoted" \\ \x00 end', "id": "e", "meta": {"url": "w", "score": 9.0}, "n": 6},
    {"text": "last", "id": "f", "meta": {"url": "z", "score": 7.0}, "n": 7},
]
STATUSES = [0, ReadStatus.NULL_TEXT, ReadStatus.EMPTY, ReadStatus.WHITE_SPACE, 0, 0]


@dataclass
class Source:
    """A file with its dataset; reads itself."""

    dataset: Dataset
    path: str
    staged: str | None = None
    extra: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return count_and_layout(self.dataset, self.path).rows

    def piece(self, start: int = 0, stop: int | None = None) -> Piece:
        shard = Shard(
            ordinal=5,
            dataset=self.dataset.name,
            path=self.path,
            relative_path="f",
            rows=self.rows,
            bytes=size_of(self.path),
            fingerprint="f",
        )
        return Piece(shard=shard, start=start, stop=shard.rows if stop is None else stop)

    def read(self, columns: Any = ("text", "id", "url"), **more: Any) -> list[Batch]:
        piece = self.piece(more.pop("start", 0), more.pop("stop", None))
        return list(read_piece(self.dataset, piece, columns, path=self.staged, **more))


def pack(data: bytes, kind: str) -> bytes:
    if kind == "jsonl.gz":
        return gzip.compress(data, 1, mtime=0)
    return zstandard.compress(data) if kind == "jsonl.zst" else data


def lines_of(documents: list[Any]) -> bytes:
    return b"".join(json.dumps(d, ensure_ascii=False).encode() + b"\n" for d in documents)


def source(root: str | Path, kind: str, documents: list[Any], *, extra: tuple[str, ...] = ()) -> Source:
    """Write documents in a format; compressed ones are staged too."""
    if kind == "parquet":
        buffer = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(documents), buffer, row_group_size=2)
        return raw(root, kind, buffer.getvalue().to_pybytes())
    return raw(root, kind, pack(lines_of(documents), kind), extra=extra)


def raw(root: str | Path, kind: str, data: bytes, *, extra: tuple[str, ...] = (), stage: bool = True) -> Source:
    path = f"{root}/docs.{kind}"
    with fsspec.open(path, "wb") as file:
        file.write(data)
    made = Source(Dataset(name="d", paths=(path,), columns=COLUMNS), path, extra=extra)
    if stage and kind in STAGED:
        made.staged = f"{root}/staged.parquet"
        stage_compressed(made.dataset, path, made.staged, list(extra))
    return made


def together(batches: list[Batch]) -> tuple[list[dict[str, Any]], list[int], list[int]]:
    """Return rows of the table, statuses and shard rows of all batches."""
    rows = [row for b in batches for row in b.table.to_pylist()]
    return rows, [int(s) for b in batches for s in b.status], [int(r) for b in batches for r in b.rows]


def statuses(batches: list[Batch]) -> list[str]:
    return [ReadStatus(s).reason for s in together(batches)[1]]


# --- the same documents in every format ------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("place", ["local", "memory"])
def test_every_format_gives_the_same_batches(tmp_path: Path, kind: str, place: str) -> None:
    root = tmp_path if place == "local" else f"memory://reading-{kind}"
    made = source(root, kind, DOCUMENTS)
    rows, status, numbers = together(made.read())
    assert status == STATUSES
    assert numbers == list(range(len(DOCUMENTS)))
    for row, document, known in zip(rows, DOCUMENTS, STATUSES, strict=True):
        assert row["text"] == (document["text"] if known == 0 else "")
        assert row["id"] == document["id"]
        assert row["url"] == document["meta"]["url"]


@pytest.mark.parametrize("kind", FORMATS)
def test_columns_have_the_types_that_are_promised(tmp_path: Path, kind: str) -> None:
    made = source(tmp_path, kind, DOCUMENTS, extra=("n", "column:meta.score"))
    (batch, *_) = made.read(["column:n", "text", "id", "url", "column:meta.score"])
    types = dict(zip(batch.table.schema.names, batch.table.schema.types, strict=True))
    assert list(types) == ["column:n", "text", "id", "url", "column:meta.score"]
    assert types["text"] == types["id"] == types["url"] == pa.large_string()
    assert types["column:n"] == pa.int64()
    assert types["column:meta.score"] == pa.float64()
    assert batch.table.column("text").null_count == 0
    read = pa.concat_tables([b.table for b in made.read(["column:n"])]).column(0).to_pylist()
    assert read == [d["n"] for d in DOCUMENTS]


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_all_columns_are_those_of_the_file(tmp_path: Path, kind: str) -> None:
    batch = source(tmp_path, kind, DOCUMENTS).read("all")[0]
    own = ["text", "id", "url"]
    assert batch.table.schema.names == [*own, "column:text", "column:id", "column:meta", "column:n"]


@pytest.mark.parametrize("kind", FORMATS)
def test_passthrough_schema_names_the_types_of_input_columns(tmp_path: Path, kind: str) -> None:
    made = source(tmp_path, kind, DOCUMENTS, extra=("n", "meta.score"))
    schema = passthrough_schema(made.dataset, [made.staged or made.path], ["column:n", "meta.score", "nope"])
    assert schema.names == ["n", "meta.score"]
    assert schema.types == [pa.int64(), pa.float64()]


def test_number_ids_become_strings_in_every_format(tmp_path: Path) -> None:
    documents = [{"text": "a", "id": 12}, {"text": "b", "id": None}]
    for kind in FORMATS:
        folder = tmp_path / kind
        folder.mkdir()
        made = source(folder, kind, documents)
        made.dataset = Dataset(name="d", paths=("x",), columns=Columns(id="id"))
        assert [r["id"] for r in together(made.read())[0]] == ["12", None]


TEXTS = st.one_of(st.none(), st.text(max_size=30), st.sampled_from(["", " ", "\n", "\u2003", "x" * 300]))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXTS, min_size=1, max_size=40), data=st.data())
def test_pieces_in_any_cut_give_the_whole(tmp_path: Path, texts: list[str | None], data: Any) -> None:
    documents = [{"text": t, "id": str(i), "meta": {"url": None}} for i, t in enumerate(texts)]
    cuts = data.draw(st.lists(st.integers(0, len(texts)), max_size=3).map(sorted))
    size = data.draw(st.sampled_from([1, 40, 1000, 1 << 20]))
    edges = [0, *cuts, len(texts)]
    staged = data.draw(st.booleans())
    expected = [t if t and not t.isspace() else "" for t in texts]
    for kind in FORMATS:
        made = source(tmp_path, kind, documents)
        made.staged = made.staged if staged else None
        batches = [
            b for start, stop in itertools.pairwise(edges) for b in made.read(start=start, stop=stop, batch_bytes=size)
        ]
        rows, status, numbers = together(batches)
        assert numbers == list(range(len(texts)))
        assert [r["text"] for r in rows] == expected
        assert [s == 0 for s in status] == [bool(t) for t in expected]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_wanted_rows_are_those_of_the_whole(tmp_path: Path, data: Any) -> None:
    wanted = np.array(sorted(data.draw(st.sets(st.integers(0, 29), min_size=1))), np.int64)
    staged = data.draw(st.booleans())
    documents = [{"text": f"document {i} " * (i % 7), "id": str(i), "meta": {"url": None}} for i in range(30)]
    for kind in FORMATS:
        made = source(tmp_path, kind, documents)
        made.staged = made.staged if staged else None
        rows, _, numbers = together(made.read(rows=wanted, batch_bytes=data.draw(st.sampled_from([1, 1 << 20]))))
        assert numbers == wanted.tolist()
        assert [r["id"] for r in rows] == [str(i) for i in wanted]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("wanted", [[3, 1], [0, 2, 2]], ids=str)
def test_rows_that_do_not_ascend_are_refused(tmp_path: Path, kind: str, wanted: list[int]) -> None:
    made = source(tmp_path, kind, DOCUMENTS)
    with pytest.raises(LedgerError, match=f"{re.escape(made.path)} must ascend, each one once; got {wanted[-1]} after"):
        made.read(rows=np.array(wanted, np.int64))


def test_rows_far_apart_are_reached_through_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "BLOCK", 64)
    documents = [{"text": f"document {i}", "id": str(i), "meta": {}} for i in range(500)]
    made = source(tmp_path, "jsonl", documents)
    for wanted in ([3, 4, 250, 499], [0], [499], [100, 101, 102]):
        rows, _, numbers = together(made.read(rows=np.array(wanted, np.int64)))
        assert numbers == wanted
        assert [r["id"] for r in rows] == [str(i) for i in wanted]
    for start in range(0, 500, 37):
        assert together(made.read(start=start))[0][0]["id"] == str(start)


@pytest.mark.parametrize("kind", FORMATS)
def test_layout_counts_rows_and_may_be_cut(tmp_path: Path, kind: str) -> None:
    made = source(tmp_path, kind, DOCUMENTS)
    layouts = [count_and_layout(made.dataset, made.path)]
    if made.staged:
        layouts.append(stage_compressed(made.dataset, made.path, made.staged, ()))
    for layout in layouts:
        assert layout.problem is None
        assert layout.rows == len(DOCUMENTS)
        assert sum(rows for rows, _ in layout.row_groups or []) == len(DOCUMENTS)


def test_a_long_file_of_lines_can_be_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "BLOCK", 256)
    monkeypatch.setattr(jsonl, "GROUP_BYTES", 1024)
    made = source(tmp_path, "jsonl", [{"text": f"text {i}"} for i in range(300)])
    groups = count_and_layout(made.dataset, made.path).row_groups
    assert groups is not None
    assert len(groups) > 3
    assert sum(rows for rows, _ in groups) == 300


# --- what Parquet files hold -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.dictionary(pa.int8(), pa.large_string()),
    ],
    ids=str,
)
def test_every_string_type_is_read(tmp_path: Path, kind: pa.DataType) -> None:
    plain = pa.array(["a", None, "ü", "a"], pa.string())
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    text = plain.cast(pa.binary()).cast(kind) if binary else plain.cast(kind)
    pq.write_table(pa.table({"text": text}), tmp_path / "docs.parquet")
    made = Source(Dataset(name="d", paths=("x",)), str(tmp_path / "docs.parquet"))
    rows, status, _ = together(made.read(["text", "column:text"]))
    assert [r["text"] for r in rows] == ["a", "", "ü", "a"]
    assert status == [0, ReadStatus.NULL_TEXT, 0, 0]


def test_invalid_utf8_in_a_parquet_string_is_one_bad_row(tmp_path: Path) -> None:
    values = pa.array([b"good", b"bad \xff\xfe", b"also good", b"\xed\xa0\x80"], pa.binary())
    pq.write_table(pa.table({"text": values.view(pa.string())}), tmp_path / "docs.parquet")
    made = Source(Dataset(name="d", paths=("x",)), str(tmp_path / "docs.parquet"))
    batches = made.read(["text"])
    assert statuses(batches) == ["ok", "invalid_utf8", "ok", "invalid_utf8"]
    assert [p.row for b in batches for p in b.problems] == [1, 3]
    assert all(b.table.column("text").validate(full=True) is None for b in batches)


def test_dotted_paths_descend_into_structs_json_text_and_names_with_dots(tmp_path: Path) -> None:
    table = pa.table(
        {
            "s": pa.array([{"in": {"url": "u1"}}, None, {"in": None}]),
            "j": pa.array(['{"a": {"b": "deep"}}', "no json", None]),
            "x.y": pa.array(["dotted", "d", None]),
            "body": pa.array(["t1", "t2", "t3"]),
        }
    )
    pq.write_table(table, tmp_path / "docs.parquet")
    columns = Columns(text="body", id="j.a.b", url="s.in.url")
    made = Source(Dataset(name="d", paths=("x",), columns=columns), str(tmp_path / "docs.parquet"))
    rows = together(made.read(["text", "id", "url", "column:x.y"]))[0]
    assert rows == [
        {"text": "t1", "id": "deep", "url": "u1", "column:x.y": "dotted"},
        {"text": "t2", "id": None, "url": None, "column:x.y": "d"},
        {"text": "t3", "id": None, "url": None, "column:x.y": None},
    ]


# --- bad inputs ------------------------------------------------------------------------------------------


def test_a_truncated_parquet_file_is_a_problem_with_no_rows(tmp_path: Path) -> None:
    made = source(tmp_path, "parquet", DOCUMENTS)
    whole = Path(made.path).read_bytes()
    for length in (0, 3, len(whole) // 2, len(whole) - 1):
        Path(made.path).write_bytes(whole[:length])
        layout = count_and_layout(made.dataset, made.path)
        assert layout.rows == 0
        assert "footer" in str(layout.problem)
        batches = list(read_piece(made.dataset, _piece_of(made.path, 6), ["text", "id", "column:n"]))
        assert statuses(batches) == ["unreadable"] * 6
        assert len([p for b in batches for p in b.problems]) == 1


def _piece_of(path: str, rows: int) -> Piece:
    shard = Shard(ordinal=0, dataset="d", path=path, relative_path="f", rows=rows, bytes=1, fingerprint="f")
    return Piece(shard=shard, start=0, stop=rows)


def test_a_corrupt_row_group_loses_only_its_rows(tmp_path: Path) -> None:
    documents = [{"text": f"text number {i} " * 200, "id": str(i), "meta": {"url": None}} for i in range(6)]
    path = tmp_path / "docs.parquet"
    table = pa.Table.from_pylist(documents, schema=pa.schema([("text", pa.string()), ("id", pa.string())]))
    pq.write_table(table, path, row_group_size=2, compression="zstd", use_dictionary=False)
    place = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[place : place + 40] = b"\xff" * 40
    path.write_bytes(data)
    made = Source(Dataset(name="d", paths=("x",), columns=Columns(id="id")), str(path))
    batches = made.read(["text", "id"])
    assert statuses(batches) == ["ok", "ok", "unreadable", "unreadable", "ok", "ok"]
    (problem,) = [p for b in batches for p in b.problems]
    assert "row group 1" in problem.error
    assert [r["id"] for r in together(batches)[0]][4:] == ["4", "5"]


def test_every_reader_loses_the_same_rows_to_a_corrupt_page(tmp_path: Path) -> None:
    count = 9000
    table = pa.table({"text": [f"text {i}" for i in range(count)], "wide": ["w" * 5000] * count})
    path = tmp_path / "docs.parquet"
    pq.write_table(table, path, use_dictionary=False, compression="none", data_page_size=4096)
    data = bytearray(path.read_bytes())
    half = len(data) - data[::-1].find(b"text 6000"[::-1]) - 9
    data[half - 3000 : half] = b"\xff" * 3000
    path.write_bytes(data)
    made = Source(Dataset(name="d", paths=("x",)), str(path))
    narrow, wide = made.read(["text"]), made.read(["text", "column:wide"])
    assert "unreadable" in statuses(narrow)
    assert together(narrow)[1] == together(wide)[1]
    some = np.arange(0, count, 500, dtype=np.int64)
    assert together(made.read(["text"], rows=some))[1] == [together(narrow)[1][i] for i in some]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_damaged_every_row_comes_once(tmp_path: Path, data: Any) -> None:
    kind = data.draw(st.sampled_from(FORMATS))
    documents = [{"text": f"text {i} " * (i % 9), "id": str(i), "meta": {"url": "u"}} for i in range(40)]
    made = source(tmp_path, kind, documents)
    content = bytearray(Path(made.path).read_bytes())
    body = len(content)
    if kind == "parquet":  # a footer has no checksum, and Arrow may end the process over a damaged one
        body -= int.from_bytes(content[-8:-4], "little") + 8
    for place in data.draw(st.lists(st.integers(0, body - 1), min_size=1, max_size=8)):
        content[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(content) - 1)))
    Path(made.path).write_bytes(content[:cut])
    layout = count_and_layout(made.dataset, made.path)
    if made.staged:
        assert stage_compressed(made.dataset, made.path, made.staged, ()).rows == layout.rows
    piece = _piece_of(made.path, layout.rows)
    for path in {made.staged, None}:
        batches = list(read_piece(made.dataset, piece, ["text", "id"], path=path))
        assert together(batches)[2] == list(range(layout.rows))


def test_a_missing_text_column_names_the_columns_that_exist(tmp_path: Path) -> None:
    for kind in FORMATS:
        folder = tmp_path / kind
        folder.mkdir()
        made = source(folder, kind, [{"body": "a", "id": "1", "meta": {"url": "u"}}] * 3)
        layout = count_and_layout(made.dataset, made.path)
        assert layout.rows == 3
        problem = str(layout.problem)
        assert "'text'" in problem
        assert "body" in problem
        assert "datasets.d.columns.text" in problem
        batches = made.read()
        reason = "missing_column" if kind == "parquet" else "null_text"
        assert statuses(batches) == [reason] * 3
        assert [r["id"] for r in together(batches)[0]] == ["1"] * 3


def test_a_text_column_of_the_wrong_type_is_a_problem(tmp_path: Path) -> None:
    made = source(tmp_path, "parquet", [{"text": 1, "id": "1", "meta": {"url": "u"}}])
    assert "int64" in str(count_and_layout(made.dataset, made.path).problem)
    batches = made.read()
    assert statuses(batches) == ["wrong_type"]
    assert len(batches[0].problems) == 1


def test_a_missing_passthrough_column_is_null_and_a_problem(tmp_path: Path) -> None:
    batches = source(tmp_path, "parquet", DOCUMENTS).read(["text", "column:score"])
    assert [r["column:score"] for r in together(batches)[0]] == [None] * len(DOCUMENTS)
    (problem,) = [p for b in batches for p in b.problems]
    assert "'score'" in problem.error


BAD_LINES = [
    (b'{"text": "good"}', "ok"),
    (b'{"text": "cut', "invalid_json"),
    (b"", "empty"),
    (b"   ", "empty"),
    (b"[1, 2]", "wrong_type"),
    (b'{"text": 5}', "wrong_type"),
    (b'{"text": "bad \xff byte"}', "invalid_utf8"),
    (b'{"text": "half \\ud800 pair"}', "invalid_utf8"),
    (b'{"text": null}', "null_text"),
    (b'{"id": "no text"}', "null_text"),
    (b'{"text": "NaN as Python writes it", "x": NaN}', "ok"),
    (b'{"text": "windows line"}\r', "ok"),
    (b'{"text": "last, without newline"}', "ok"),
]


@pytest.mark.parametrize("kind", FORMATS[1:])
@pytest.mark.parametrize("staged", [True, False])
def test_every_bad_line_has_its_reason_and_its_byte_offset(tmp_path: Path, kind: str, staged: bool) -> None:
    lines = [line for line, _ in BAD_LINES]
    made = raw(tmp_path, kind, pack(b"\n".join(lines), kind), stage=staged)
    assert made.rows == len(lines)
    batches = made.read()
    assert statuses(batches) == [reason for _, reason in BAD_LINES]
    found = {p.row: p for b in batches for p in b.problems}
    bad = [i for i, (_, reason) in enumerate(BAD_LINES) if reason in ("invalid_json", "invalid_utf8", "wrong_type")]
    assert sorted(found) == bad
    for row in bad:
        assert found[row].byte_offset == sum(len(line) + 1 for line in lines[:row])
        assert found[row].path == made.path


@pytest.mark.parametrize("kind", FORMATS[1:])
def test_an_empty_file_of_lines_has_no_rows_and_no_problem(tmp_path: Path, kind: str) -> None:
    for data in (b"", pack(b"", kind)):
        made = raw(tmp_path, kind, data)
        layout = count_and_layout(made.dataset, made.path)
        assert (layout.rows, layout.problem) == (0, None)
        assert made.read() == []


@pytest.mark.parametrize("kind", STAGED)
def test_a_truncated_stream_keeps_its_readable_lines(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    documents = [{"text": rng.bytes(60).hex(), "id": str(i)} for i in range(3000)]
    data = pack(lines_of(documents), kind)
    made = raw(tmp_path, kind, data[: len(data) * 2 // 3])
    layout = stage_compressed(made.dataset, made.path, str(made.staged), ())
    assert "truncated" in str(layout.problem)
    assert 0 < layout.rows < 3000
    batches = made.read()
    assert statuses(batches)[:-1] == ["ok"] * (layout.rows - 1)
    assert statuses(batches)[-1] in ("unreadable", "ok")
    assert together(batches)[0][5]["text"] == documents[5]["text"]
    made.staged = None
    assert statuses(made.read()) == statuses(batches)


@pytest.mark.parametrize("kind", STAGED)
def test_a_corrupt_stream_is_a_problem(tmp_path: Path, kind: str) -> None:
    made = raw(tmp_path, kind, b"this is neither gzip nor zstd")
    layout = count_and_layout(made.dataset, made.path)
    assert layout.rows == 0
    assert "corrupt" in str(layout.problem)


@pytest.mark.parametrize("kind", STAGED)
def test_several_members_or_frames_are_one_stream(tmp_path: Path, kind: str) -> None:
    data = lines_of(DOCUMENTS)
    made = raw(tmp_path, kind, pack(data[:50], kind) + pack(data[50:], kind))
    assert together(made.read())[1] == STATUSES


@pytest.mark.parametrize("kind", FORMATS)
def test_one_huge_document_among_small_ones_is_read(tmp_path: Path, kind: str) -> None:
    documents = [{"text": "small", "id": str(i), "meta": {"url": None}} for i in range(50)]
    documents[20]["text"] = "huge text " * 500_000
    batches = source(tmp_path, kind, documents).read(batch_bytes=1 << 16)
    assert together(batches)[2] == list(range(50))
    assert max(len(r["text"]) for r in together(batches)[0]) == 5_000_000
    assert next(r for r in together(batches)[0] if r["id"] == "21")["text"] == "small"


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_batches_stay_near_the_size_asked_for(tmp_path: Path, kind: str) -> None:
    documents = [{"text": "0123456789" * 100, "id": str(i), "meta": {"url": None}} for i in range(400)]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(documents), tmp_path / "docs.parquet")
        made = Source(Dataset(name="d", paths=("x",), columns=COLUMNS), str(tmp_path / "docs.parquet"))
    else:
        made = source(tmp_path, kind, documents)
    sizes = [len(b.table) for b in made.read(batch_bytes=50_000)]
    assert sum(sizes) == 400
    assert max(sizes) <= 80


def test_a_file_shorter_than_the_manifest_says_has_unreadable_rows(tmp_path: Path) -> None:
    for kind in ("parquet", "jsonl", "jsonl.gz"):
        folder = tmp_path / kind
        folder.mkdir()
        made = source(folder, kind, DOCUMENTS)
        for start in (0, 4, 7):
            piece = Piece(shard=_piece_of(made.path, 9).shard, start=start, stop=9)
            batches = list(read_piece(made.dataset, piece, ["text"]))
            assert together(batches)[2] == list(range(start, 9))
            assert statuses(batches)[-2:] == ["unreadable"] * 2


def test_a_file_that_is_gone_is_a_shard_error(tmp_path: Path) -> None:
    for kind in FORMATS:
        path = str(tmp_path / f"gone.{kind}")
        with pytest.raises(ShardError, match="gone"):
            list(read_piece(Dataset(name="d", paths=(path,)), _piece_of(path, 3), ["text"]))


def test_a_damaged_staged_copy_is_an_error_not_a_loss(tmp_path: Path) -> None:
    made = source(tmp_path, "jsonl.gz", DOCUMENTS)
    assert made.staged is not None
    data = Path(made.staged).read_bytes()
    Path(made.staged).write_bytes(data[: len(data) // 2])
    with pytest.raises(ShardError, match="staged copy"):
        made.read()


def test_a_byte_order_mark_belongs_to_no_document(tmp_path: Path) -> None:
    for kind in FORMATS[1:]:
        made = raw(tmp_path, kind, pack(b"\xef\xbb\xbf" + lines_of(DOCUMENTS[:1]), kind))
        assert statuses(made.read()) == ["ok"]


# --- types that change, kernels --------------------------------------------------------------------------


@given(st.lists(st.one_of(st.binary(max_size=8), st.text(max_size=4).map(str.encode)), max_size=20))
@settings(max_examples=100, deadline=None)
def test_malformed_utf8_is_what_python_cannot_decode(values: list[bytes]) -> None:
    def malformed(value: bytes) -> bool:
        try:
            value.decode()
        except UnicodeDecodeError:
            return True
        return False

    texts = pa.array(values, pa.large_binary()).view(pa.large_string())
    assert invalid_utf8(texts).tolist() == [malformed(v) for v in values]


@given(st.lists(st.text(alphabet=" \t\n\u00a0\u2003\u200b\x1cab", max_size=5), max_size=20))
@settings(max_examples=100, deadline=None)
def test_white_space_is_what_python_calls_space(values: list[str]) -> None:
    assert only_white_space(pa.array(values, pa.large_string())).tolist() == [v.isspace() for v in values]


def test_tiny_files_weigh_what_they_hold(tmp_path: Path) -> None:
    """So that many of them share a bundle, whatever the block in which lines are counted."""
    file = tmp_path / "tiny.jsonl"
    file.write_text('{"text": "a"}\n{"text": "b"}\n')
    found = jsonl.layout(Dataset(name="a", paths=(str(tmp_path),), format="jsonl", columns=Columns()), str(file))
    assert found.row_groups == [(2, file.stat().st_size)]
