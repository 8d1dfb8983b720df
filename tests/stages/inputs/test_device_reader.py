"""Texts read to the device: the facts, statuses and problems of the host's reader, on stand-ins for cuDF."""

from __future__ import annotations

import json
import sys
import threading
import types
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.device import agree, backend, cuda_source, turns
from cluster.files import compression
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from stages.core import manifest
from stages.core.shard import Dataset, Piece, Shard
from stages.implicit.read import Read
from stages.inputs import device_reader
from stages.inputs.batches import ReadStatus, mark_text_status
from stages.inputs.reader import read_piece, stage_compressed
from stages.kernels.dispatch import resident
from stages.kernels.dispatch.space import HOST, Space
from stages.kernels.gpu import array_kernels, rapids_kernels
from stages.passes import annotate
from tests.stages.kernels.test_cosine import strict
from tests.stages.kernels.test_gpu_code import Column, PyLibCuGraph
from tests.support import cuda_on_host, fasttext_variants

ODD = ["plain text", "", "  \u3000\x1f", "naïve — 文字 🎉", None, "\u200b", "z" * 300, "\t\n"]
INVALID = [b"\xff", b"ab\x80", b"\xe2\x82", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf0\x8f\xbf\xbf"]


# --- array and frame code -----------------------------------------------------------------------------------


def encoded(parts: list[bytes], space: Space) -> tuple[Any, Any]:
    data = np.frombuffer(b"".join(parts), np.uint8).copy()
    starts = np.r_[0, np.cumsum([len(part) for part in parts])][:-1].astype(np.int64)
    return space.put(data), space.put(starts[starts < len(data)])


@settings(deadline=None, max_examples=150)
@given(st.lists(st.one_of(st.text(max_size=6).map(str.encode), st.binary(max_size=4)), max_size=6))
def test_array_code_knows_utf8_as_python_does(parts: list[bytes]) -> None:
    def valid(part: bytes) -> bool:
        return part.decode(errors="ignore").encode() == part

    for space in (HOST, strict()):
        assert array_kernels.well_formed(space, *encoded(parts, space)) == all(map(valid, parts))


@pytest.mark.parametrize("bad", INVALID)
@pytest.mark.parametrize("window", [1, 2, 5, 1 << 20])
def test_malformed_bytes_are_found_wherever_they_stand(bad: bytes, window: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(array_kernels, "WINDOW", window)
    for before in ("", "a", "é文🎉"):
        for after in ("", "文"):
            parts = [b"x", before.encode(), bad + after.encode(), b""]
            assert not array_kernels.well_formed(HOST, *encoded(parts, HOST))
            assert array_kernels.well_formed(HOST, *encoded([parts[0], parts[1], after.encode()], HOST))


def test_white_space_is_what_the_host_takes_for_it() -> None:
    assert {c for c in map(chr, range(0x110000)) if c.isspace()} == set(resident.WHITE_SPACE)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(st.none(), st.text(max_size=5), st.text(resident.WHITE_SPACE, max_size=3)), max_size=8))
def test_frame_code_judges_texts_as_the_host_does(texts: list[str | None]) -> None:
    found = resident.judge_column(pd.Series(texts, dtype="str"))
    values, status = mark_text_status(pa.array(texts, pa.large_string()))
    assert found.column.tolist() == values.to_pylist()
    assert device_reader._status(found).tolist() == status.tolist()
    assert found.characters.tolist() == [len(text) for text in values.to_pylist()]


# --- stand-ins ----------------------------------------------------------------------------------------------


class Strings:
    """Stands in for `series.str` of cuDF: pandas' own, and what only cuDF has."""

    def __init__(self, series: Frame) -> None:
        self._plain = pd.Series(series).str
        self._column = Column(series.to_arrow())

    def lstrip(self, characters: str) -> Frame:
        return Frame(self._plain.lstrip(characters))

    def len(self) -> Frame:
        return Frame(self._plain.len())

    def minhash(self, **more: Any) -> Column:
        return self._column.minhash(**more)

    def minhash64(self, **more: Any) -> Column:
        return self._column.minhash64(**more)


class Frame(pd.Series):
    """Stands in for a cuDF series: a pandas series that hashes, and goes to Arrow and back."""

    @property
    def _constructor(self) -> Any:
        return Frame

    @property
    def str(self) -> Any:
        return Strings(self)

    def to_arrow(self) -> pa.Array:
        return pa.array(self.tolist(), pa.large_string(), from_pandas=True)

    def hash_values(self, method: Any, seed: int | None = None) -> Column:
        return Column(self.to_arrow()).hash_values(method, seed)

    def to_pylibcudf(self) -> tuple[Strung, dict[str, Any]]:
        return Strung(pa.array(self.tolist(), pa.string())), {}

    @classmethod
    def from_arrow(cls, array: pa.Array) -> Frame:
        return cls(array.to_pylist(), dtype="str")

    @classmethod
    def from_pylibcudf(cls, column: Strung) -> Frame:
        texts = [None if text is None else text.decode(errors="replace") for text in column.values.to_pylist()]
        return cls(texts, dtype="str")


class Strung:
    """Stands in for a string column of libcudf."""

    def __init__(self, values: pa.Array) -> None:
        self.values = values.cast(pa.binary())

    def size(self) -> int:
        return len(self.values)

    def data(self) -> Any:
        return np.frombuffer(self.values.buffers()[2] or b"", np.uint8)

    def child(self, number: int) -> Any:
        assert number == 0
        kind = types.SimpleNamespace(id=lambda: types.SimpleNamespace(name="INT32"))
        return types.SimpleNamespace(data=lambda: np.frombuffer(self.values.buffers()[1], np.uint8), type=lambda: kind)


class Options:
    """Stands in for the reader's options and their builder."""

    def __init__(self, source: list[str]) -> None:
        [self.path] = source

    builder = classmethod(lambda cls, source: cls(source))

    def use_pandas_metadata(self, wanted: bool) -> Options:
        assert not wanted
        return self

    def build(self) -> Options:
        return self

    def set_row_groups(self, groups: list[list[int]]) -> None:
        [self.groups] = groups

    def set_column_names(self, names: list[str]) -> None:
        [self.name] = names


class Reader:
    """Stands in for libcudf's chunked reader: `ROWS` rows a chunk; raises `failures` in turn, each after a chunk."""

    rows = 3
    failures: ClassVar[list[Exception]] = []

    def __init__(self, options: Options, *, chunk_read_limit: int, pass_read_limit: int) -> None:
        assert 0 < chunk_read_limit < pass_read_limit
        column = pq.ParquetFile(options.path).read_row_groups(options.groups, columns=[options.name])[options.name]
        whole = column.combine_chunks().cast(pa.binary())
        steps = range(0, len(whole), self.rows)
        self.chunks = [pa.concat_arrays([whole.slice(at, self.rows)]) for at in steps]
        self.failure = self.failures.pop(0) if self.failures else None

    def has_next(self) -> bool:
        return bool(self.chunks)

    def read_chunk(self) -> Any:
        if self.failure and len(self.chunks) == 1:
            raise self.failure
        chunk = pa.array(self.chunks.pop(0).to_pylist(), pa.binary())
        return types.SimpleNamespace(tbl=types.SimpleNamespace(columns=lambda: (Strung(chunk),)))


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process compute on stand-ins for cuDF, libcudf's reader, pylibcugraph and CuPy."""
    made = {name: types.ModuleType(name) for name in ("cudf", "pylibcudf")}
    made["cudf"].Series = type("Series", (Frame,), {"__new__": lambda cls, v: Column(v)})  # type: ignore[attr-defined]
    made["cudf"].Series.from_arrow = Frame.from_arrow  # type: ignore[attr-defined]
    made["cudf"].Series.from_pylibcudf = Frame.from_pylibcudf  # type: ignore[attr-defined]
    made["pylibcugraph"] = PyLibCuGraph(HOST)
    parquet = types.SimpleNamespace(ParquetReaderOptions=Options, ChunkedParquetReader=Reader)
    made["pylibcudf"].io = types.SimpleNamespace(parquet=parquet, SourceInfo=list)  # type: ignore[attr-defined]
    for name, module in (*made.items(), ("cupy", np)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(np, "RawModule", cuda_on_host.HostModule, raising=False)
    monkeypatch.setattr(np, "asnumpy", np.asarray, raising=False)
    cuda_source.kernel.cache_clear()
    monkeypatch.setattr(rapids_kernels, "space", lambda: HOST)
    monkeypatch.setattr(agree, "choose_backend_here", lambda wanted: agree.Resolved(name=wanted, reason="a stand-in"))
    monkeypatch.setattr(Reader, "failures", [])


@pytest.fixture
def on_gpu(device: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_resolved", "gpu")


# --- reading ------------------------------------------------------------------------------------------------


def shard(path: Path, texts: list[Any], group: int = 5) -> Piece:
    column = pa.array([t.encode() if isinstance(t, str) else t for t in texts], pa.binary())
    valid = pa.StringArray.from_buffers(len(column), *column.buffers()[1:], column.buffers()[0])
    pq.write_table(pa.table({"text": valid, "id": [f"i{i}" for i in range(len(texts))]}), path, row_group_size=group)
    made = Shard(
        ordinal=3, dataset="web", path=str(path), relative_path=path.name, rows=len(texts), bytes=path.stat().st_size,
        fingerprint="f",
    )  # fmt: skip
    return Piece(shard=made, start=0, stop=len(texts))


WEB = Dataset(name="web", paths=())
LINES = ["one text", "", "  \u3000", None, "naïve — 文字 🎉", "\t", "z" * 300]


def staged(folder: Path, kind: str, *, bad: bool) -> tuple[Piece, str]:
    """Return a piece of a file that is staged, with texts that cannot be used, and its copy."""
    path, copy = folder / f"a.{kind}", folder / "copy.parquet"
    rows = [{"text": text, "id": f"i{i}"} for i, text in enumerate(LINES * 3)]
    lines = [json.dumps(row) for row in rows]
    if bad:
        lines[4] = '{"text": 5, "id": "x"}'
    if kind == "json":
        data = f"[{','.join(lines)}]".encode()
    elif kind == "csv":
        cells = [["text", "id"], *([row["text"] or "", row["id"]] for row in rows)]
        data = "".join(f'"{text}",{name}\n' for text, name in cells).encode() + (b'"open,x\n' if bad else b"")
    else:
        data = compression.compress("".join(line + "\n" for line in lines).encode(), kind.rpartition(".")[2])
    path.write_bytes(data)
    layout = stage_compressed(WEB, str(path), str(copy))
    made = Shard(
        ordinal=3, dataset="web", path=str(path), relative_path=path.name, rows=layout.rows, bytes=len(data),
        fingerprint="f", format=kind,
    )  # fmt: skip
    return Piece(shard=made, start=0, stop=layout.rows), str(copy)


def rows_of(batches: Any) -> list[tuple[int, int, str, str]]:
    found = []
    for batch in batches:
        text = batch.resident.host() if batch.resident is not None else batch.text
        found += zip(
            batch.rows.tolist(), batch.status.tolist(), text.to_pylist(), batch.table["id"].to_pylist(), strict=True
        )
    return found


def read(piece: Piece) -> list[Any]:
    return list(device_reader.read(WEB, piece, ["text", "id"]))


@pytest.mark.usefixtures("on_gpu")
class TestReading:
    def test_rows_are_those_of_the_host(self, tmp_path: Path) -> None:
        piece = shard(tmp_path / "a.parquet", ODD * 3)
        found = read(piece)
        assert all(batch.resident is not None for batch in found)
        assert rows_of(found) == rows_of(read_piece(WEB, piece, ["text", "id"]))
        part = Piece(shard=piece.shard, start=5, stop=15)
        assert rows_of(read(part)) == rows_of(read_piece(WEB, part, ["text", "id"]))

    @pytest.mark.parametrize("texts", [[], [None], ODD, [*ODD, b"a\xff", *ODD]])
    def test_facts_are_those_of_the_host(self, tmp_path: Path, texts: list[Any]) -> None:
        piece, columns = shard(tmp_path / "a.parquet", texts), ["text", "id", "url"]
        readers = device_reader.read(WEB, piece, columns), read_piece(WEB, piece, columns)
        ours, theirs = ([row for batch in each for row in Read().facts_of(batch).to_pylist()] for each in readers)
        assert ours == theirs

    @pytest.mark.parametrize("bad", INVALID)
    def test_a_text_that_is_not_utf8_is_judged_by_the_host(self, tmp_path: Path, bad: bytes) -> None:
        piece = shard(tmp_path / "a.parquet", [*ODD, bad, *ODD], group=20)
        found = read(piece)
        assert rows_of(found) == rows_of(read_piece(WEB, piece, ["text", "id"]))
        assert [problem.row for batch in found for problem in batch.problems] == [len(ODD)]
        assert found[0].resident is not None
        assert found[-1].resident is None

    @pytest.mark.parametrize(
        "error", [MemoryError("std::bad_alloc"), RuntimeError("corrupt page"), OverflowError("size")]
    )
    @pytest.mark.parametrize("times", [1, 5])
    def test_what_the_device_cannot_read_is_read_in_smaller_chunks_or_by_the_host(
        self, tmp_path: Path, error: Exception, times: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        piece = shard(tmp_path / "a.parquet", ODD, group=8)
        Reader.failures[:] = [error] * times
        found = read(piece)
        assert rows_of(found) == rows_of(read_piece(WEB, piece, ["text", "id"]))
        assert caplog.records
        smaller = isinstance(error, MemoryError) and times == 1
        assert (found[-1].resident is not None) == smaller

    def test_row_groups_are_read_by_one_reader_which_goes_on_behind_a_bad_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[list[int]] = []
        wrapped = rapids_kernels.parquet_chunks
        monkeypatch.setattr(
            rapids_kernels, "parquet_chunks", lambda *given: asked.append(list(given[2])) or wrapped(*given)
        )
        piece = shard(tmp_path / "a.parquet", [f"text {i}" for i in range(40)], group=4)
        assert len(rows_of(read(piece))) == 40
        assert asked == [list(range(10))]
        bad = shard(tmp_path / "b.parquet", [b"\xff" if i in (13, 36) else f"text {i}" for i in range(40)], group=4)
        found = read(bad)
        assert rows_of(found) == rows_of(read_piece(WEB, bad, ["text", "id"]))
        assert asked[1:] == [list(range(10)), list(range(4, 10)), [9]]  # a chunk of rows 34 to 36 ends in the last one
        on_host = {row for batch in found if batch.resident is None for row in batch.rows.tolist()}
        assert on_host <= {*range(12, 16), *range(32, 40)}

    @pytest.mark.parametrize("bad", [False, True])
    @pytest.mark.parametrize("kind", ["jsonl.gz", "jsonl.zst", "json", "csv"])
    def test_other_formats_are_read_by_their_staged_copy(self, tmp_path: Path, kind: str, bad: bool) -> None:
        piece, copy = staged(tmp_path, kind, bad=bad)
        found = list(device_reader.read(WEB, piece, ["text", "id"], copy))
        expected = list(read_piece(WEB, piece, ["text", "id"], path=copy))
        assert rows_of(found) == rows_of(expected)
        assert [p for batch in found for p in batch.problems] == [p for batch in expected for p in batch.problems]
        assert {batch.resident is not None for batch in found} == {not bad}
        assert {int(batch.status.max()) for batch in expected} != {0}

    def test_files_of_s3_are_read_where_their_keys_are_in_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name in device_reader.S3:
            monkeypatch.delenv(name, raising=False)
        assert not device_reader.within_reach("s3://bucket/a.parquet")
        for name in device_reader.S3:
            monkeypatch.setenv(name, "x")
        assert device_reader.within_reach("s3://bucket/a.parquet")
        assert not device_reader.within_reach("gs://bucket/a.parquet")
        assert device_reader._address("s3://bucket/a.parquet") == "s3://bucket/a.parquet"
        assert device_reader._address(f"file://{tmp_path}/a") == f"{tmp_path}/a"

    def test_files_that_a_device_cannot_read_are_read_on_the_host(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_text('{"text": "one"}\n')
        lines = Shard(
            ordinal=0, dataset="web", path=str(tmp_path / "a.jsonl"), relative_path="a.jsonl", rows=1, bytes=16,
            fingerprint="f",
        )  # fmt: skip
        assert device_reader.groups(WEB, Piece(shard=lines, start=0, stop=1)) is None
        piece = shard(tmp_path / "a.parquet", ODD)
        assert device_reader.groups(WEB, Piece(shard=piece.shard, start=1, stop=8)) is None  # cut inside a row group
        (tmp_path / "a.parquet").write_bytes(b"PAR1 no more")
        assert device_reader.groups(WEB, piece) is None
        assert [status for _, status, *_ in rows_of(read(piece))] == [ReadStatus.UNREADABLE] * len(ODD)


def ledger(
    root: Path, name: str, backend_: str, stages: list[dict[str, Any]], kind: str = "inline", files: str = "*.parquet"
) -> pa.Table:
    datasets = {"web": {"paths": str(root / files), "columns": {"text": "text", "id": "id"}}}
    cluster = {"kind": kind, "backend": backend_, "workers": 3}
    recipe = load_data({"name": "t", "datasets": datasets, "stages": stages, "cluster": cluster}, "test")
    runner.run(recipe, str(root / name), with_report=False)
    return pa.concat_tables([pq.read_table(p) for p in sorted((root / name / "ledger").glob("*.parquet"))])


STAGES = [
    {"use": "exact_dedup"},
    {"use": "minhash", "shingle_width": 5, "num_permutations": 32},
    {"use": "near_dedup", "jaccard_threshold": 0.6, "bands": 16, "rows_per_band": 2},
]


HEURISTICS = {"use": "heuristics", "presets": ["gopher_repetition"], "limits": ["num_words>=12"]}


FLAGSHIP = [
    {"use": "language_id", "model": "fasttext:MODEL", "min_score": 0.2},
    {"use": "repair"},
    HEURISTICS,
    {"use": "line_rules", "rules": ["c4", "refinedweb"], "max_removed": 0.9},
    {"use": "quality", "model": "fasttext:MODEL", "positive_label": "l1", "min_score": 0.001},
]


@pytest.mark.skipif(cuda_on_host.compiler() is None, reason="no C++ compiler")
@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("first_stage", [[], FLAGSHIP, [{"use": "pii"}]], ids=["dedup", "flagship", "host"])
def test_a_run_on_the_device_gives_the_ledger_of_a_run_on_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_stage: list[dict[str, Any]]
) -> None:
    texts = [f"document {i // 3} says the very same thing{' again' * (i % 3)}" for i in range(40)]
    model = fasttext_variants.builder(tmp_path)("softmax")
    if first_stage is FLAGSHIP:
        texts = [
            f"{text} {judged} don&amp;t.\n1 like" for text, judged in zip(texts, fasttext_variants.TEXTS, strict=False)
        ]
        first_stage = [{**s, "model": f"fasttext:{model}"} if "model" in s else s for s in FLAGSHIP]
    shard(tmp_path / "a.parquet", [*texts, *ODD, *texts[:4]], group=11)
    expected = ledger(tmp_path, "host", "cpu", [*first_stage, *STAGES])
    monkeypatch.setattr(backend, "_resolved", "gpu")
    chunks: list[int] = []
    wrapped = device_reader._chunks
    monkeypatch.setattr(device_reader, "_chunks", lambda *given: chunks.append(given[2]) or wrapped(*given))
    brought: set[str] = set()
    told = annotate._parts

    def parts(*given: Any) -> Any:
        found = told(*given)
        brought.update(name for name, part in found.items() if part["from_device"])
        return found

    monkeypatch.setattr(annotate, "_parts", parts)
    assert ledger(tmp_path, "device", "gpu", [*first_stage, *STAGES]).equals(expected)
    assert bool(chunks) == (len(first_stage) != 1)  # with pii the first read is the host's
    assert expected["kept"].to_pylist().count(False) > 10
    assert brought == ({"repair"} if len(first_stage) > 1 else set())  # what is brought to the host is counted


@pytest.mark.usefixtures("device")
def test_a_run_over_compressed_lines_reads_their_copies_to_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [*(f"document {i // 3} says the very same thing{' again' * (i % 3)}" for i in range(40)), *LINES]
    lines = "".join(json.dumps({"text": text, "id": f"i{i}"}) + "\n" for i, text in enumerate(texts))
    (tmp_path / "a.jsonl.gz").write_bytes(compression.compress(lines.encode(), "gz"))
    expected = ledger(tmp_path, "host", "cpu", STAGES, files="*.gz")
    monkeypatch.setattr(backend, "_resolved", "gpu")
    chunks: list[str] = []
    wrapped = rapids_kernels.parquet_chunks
    monkeypatch.setattr(rapids_kernels, "parquet_chunks", lambda *given: chunks.append(given[0]) or wrapped(*given))
    assert ledger(tmp_path, "device", "gpu", STAGES, files="*.gz").equals(expected)
    assert ["/device/staged/" in path for path in chunks] == [True] * 3  # read at first, compared, and written
    assert set(expected["reason"].to_pylist()) >= {"null_text", "white_space", "empty"}


class _Busy:
    """Counts the threads that compute on the device."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def change(self, step: int) -> None:
        with self._lock:
            self.now += step
            self.most = max(self.most, self.now)


@pytest.mark.usefixtures("device")
def test_threads_that_share_a_device_give_the_same_ledger_and_take_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"document {i // 3} says the very same thing{' again' * (i % 3)}" for i in range(40)]
    for number in range(6):
        shard(tmp_path / f"{number}.parquet", [*texts[number:], *ODD], group=7)
    for bound in ("SMALLEST", "LARGEST"):
        monkeypatch.setattr(manifest, bound, 1)  # a bundle, hence a task, for each row group
    expected = ledger(tmp_path, "host", "cpu", STAGES)
    monkeypatch.setattr(backend, "_resolved", "gpu")
    busy, wrapped = _Busy(), rapids_kernels.parquet_chunks

    def counted(*given: Any) -> Any:
        busy.change(1)
        yield from wrapped(*given)
        busy.change(-1)

    monkeypatch.setattr(rapids_kernels, "parquet_chunks", counted)
    assert ledger(tmp_path, "device", "gpu", STAGES, "threads").equals(expected)
    assert 1 <= busy.most <= turns.TURNS
