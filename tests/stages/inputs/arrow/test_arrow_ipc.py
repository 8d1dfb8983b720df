"""Arrow IPC files whose columns are nested, damaged or called alike."""

from __future__ import annotations

import struct
from pathlib import Path

import pyarrow as pa
import pytest

from cluster.errors import ShardError
from stages.core.shard import Dataset, Piece, Shard
from stages.inputs.kinds import Kinds
from stages.inputs.reader import count_and_layout, file_columns, read_piece
from stages.inputs.schema import EVERY

ROWS = 5


def written(path: Path, table: pa.Table) -> tuple[Dataset, str]:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as out:
        out.write_table(table)
    return Dataset(name="d", paths=(str(path),)), str(path)


def test_json_text_inside_a_struct_whose_name_holds_a_dot_is_read(tmp_path: Path) -> None:
    table = pa.table({"text": ["t"] * ROWS, "a.b": pa.array([{"c": '{"k": 1}'}] * ROWS)})
    dataset, path = written(tmp_path / "a.arrow", table)
    found = file_columns(dataset, path, ["a.b.c.k"])
    assert found.columns["a.b.c.k"].kinds == Kinds.INT
    assert count_and_layout(dataset, path, ["a.b.c.k"]).columns == found
    shard = Shard(ordinal=0, dataset="d", path=path, relative_path="a", rows=ROWS, bytes=0, fingerprint="")
    batches = read_piece(dataset, Piece(shard=shard, start=0, stop=ROWS), ["column:a.b.c.k"])
    assert [value for batch in batches for value in batch.table.column(0).to_pylist()] == [1] * ROWS


def test_a_column_that_is_damaged_inside_is_a_problem_of_the_file(tmp_path: Path) -> None:
    dataset, path = written(tmp_path / "a.arrow", pa.table({"text": ["t"] * ROWS, "meta": ['{"k": 1}'] * ROWS}))
    data = bytearray(Path(path).read_bytes())
    at = data.find(struct.pack("<6i", *range(0, 48, 8)))  # the offsets of `meta`
    assert at > 0
    data[at + 20 : at + 24] = struct.pack("<i", 1 << 28)
    Path(path).write_bytes(data)
    layout = count_and_layout(dataset, path, ["meta.k"])
    assert layout.row_groups is None
    assert "corrupt" in str(layout.problem)


def test_columns_of_one_name_are_an_error_in_arrow_and_csv(tmp_path: Path) -> None:
    columns = [pa.array(["t"]), pa.array([1]), pa.array([2])]
    dataset, path = written(tmp_path / "a.arrow", pa.Table.from_arrays(columns, names=["text", "x", "x"]))
    plain = tmp_path / "a.csv"
    plain.write_text("text,x,x\nt,1,2\n")
    for file in (path, str(plain)):
        with pytest.raises(ShardError, match="2 columns are called 'x'"):
            file_columns(dataset, file, [EVERY])
        assert file_columns(dataset, file, ["text"]).schema().names == ["text"]
        assert "'x'" in str(count_and_layout(dataset, file, [EVERY]).problem)
