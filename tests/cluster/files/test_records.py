"""JSON records: a key less, another kind of value or no checksum is damage that is named, never a traceback."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.errors import DamagedError
from cluster.files.records import as_kind, read_public_record, read_record
from cluster.files.sealed import commit_sealed, read_json, read_public_json, write_json, write_public_json


@dataclass(frozen=True)
class Entry:
    path: str
    rows: int


def test_a_record_comes_back_as_what_it_was_written_from(tmp_path: Path) -> None:
    path = str(tmp_path / "list.json")
    write_json(path, [{"path": "a", "rows": 1}])
    assert read_record(path, list[Entry]) == [Entry("a", 1)]
    write_json(path, {"low": math.inf, "high": 2})
    assert read_record(path, dict[str, float]) == {"low": math.inf, "high": 2.0}
    write_public_json(path, {"a": 1, "more": [2]})
    assert read_public_record(path, dict[str, Any]) == {"a": 1, "more": [2]}


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ([{"path": "a"}], "0.rows"),
        ([{"path": 1, "rows": 1}], "0.path"),
        ([{"path": "a", "rows": "1"}], "0.rows"),
        ([{"path": "a", "rows": True}], "0.rows"),
        ([None], "0"),
        ({}, "its content"),
        (None, "its content"),
        ("text", "its content"),
    ],
)
def test_another_kind_of_value_is_named_with_its_place(tmp_path: Path, data: Any, place: str) -> None:
    path = str(tmp_path / "list.json")
    write_json(path, data)
    with pytest.raises(DamagedError, match=f"is damaged: {place}: .*winnow run"):
        read_record(path, list[Entry])
    with pytest.raises(DamagedError):
        as_kind(path, data, list[Entry])


def folder(root: Path, sealed: bool) -> Path:
    """Return a folder with a manifest of a winnow that gives files checksums, or of one before it."""
    table = pa.table({"n": [1]})
    if sealed:
        with commit_sealed(str(root / "manifest.parquet")) as file:
            pq.write_table(table, file)
    else:
        pq.write_table(table, root / "manifest.parquet")
    (root / "mix").mkdir()
    return root


@pytest.mark.parametrize("content", [{"a": 1}, {}, {"files": []}, {"data": {"a": 1}}])
def test_without_checksum_only_in_the_folder_of_an_earlier_winnow(tmp_path: Path, content: Any) -> None:
    for sealed in (False, True):
        root = tmp_path / str(sealed)
        root.mkdir()
        path = folder(root, sealed) / "mix" / "manifest.json"
        path.write_text(json.dumps(content))
        if sealed:
            for read in (read_json, read_public_json):
                with pytest.raises(DamagedError, match="checksum"):
                    read(str(path))
        else:
            assert read_public_json(str(path)) == content


def test_a_file_outside_any_run_folder_needs_no_checksum(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": 1}')
    assert read_json(str(tmp_path / "x.json")) == {"a": 1}
