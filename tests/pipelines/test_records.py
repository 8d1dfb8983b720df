"""Records of a run folder made by hand: what readers rely on is there, or the record is damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.errors import DamagedError, LedgerError
from cluster.files.sealed import write_public_json
from pipelines import records

FILE = {"path": "a/part-00000.parquet", "rows": 1, "documents": 1, "tokens": 1, "bytes": 9, "sha256": "0" * 64}
DATASET = {"documents": 1, "tokens": 1, "bytes": 9, "files": [FILE]}
OUTSIDE = ["../../etc/passwd", "/etc/passwd", "s3://bucket/x", "a/../../x", "a\0b"]


def written(folder: Path, data: dict[str, Any]) -> str:
    write_public_json(str(folder / "record.json"), data)
    return str(folder / "record.json")


def test_a_manifest_with_what_every_winnow_wrote_is_read(tmp_path: Path) -> None:
    found = records.read_mix_manifest(written(tmp_path, {"format": 1, "datasets": {"a": DATASET}, "later": [1]}))
    assert found["datasets"]["a"]["files"] == [FILE]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"datasets": []},
        {"datasets": {"a": {}}},
        {"datasets": {"a": {**DATASET, "documents": "1"}}},
        {"datasets": {"a": {**DATASET, "files": [{"path": "x"}]}}},
        {"datasets": {"a": DATASET}, "warnings": "none"},
        {"datasets": {"a": DATASET}, "files": {}},
        {"datasets": {"a": DATASET}, "cells": {"x": {}}},
        *({"datasets": {"a": {**DATASET, "files": [{**FILE, "path": path}]}}} for path in OUTSIDE),
    ],
)
def test_a_manifest_that_lacks_something_or_leads_out_of_its_folder_is_damaged(
    tmp_path: Path, data: dict[str, Any]
) -> None:
    with pytest.raises(DamagedError, match="winnow run"):
        records.read_mix_manifest(written(tmp_path, data))


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="data format 7"):
        records.read_mix_manifest(written(tmp_path, {"format": 7, "datasets": {"a": DATASET}}))


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (records.read_dropped, {"format": 1, "made_by": "x", "stages": [], "datasets": {"a": [{"path": "x"}]}}),
        (records.read_dropped, {"format": 1, "made_by": "x", "stages": []}),
        (records.read_dedup_result, {"made_by": "x", "rows": 1, "kept": 1}),
        (
            records.read_dedup_result,
            {"made_by": "x", "rows": 1, "kept": 1, "dropped": 0, "files": [{**FILE, "path": "/x"}]},
        ),
        (records.read_timings, {"stages": [{"name": "read"}]}),
        (records.read_timings, {"stages": [{"name": "read", "seconds": 1, "parts": [{"name": 3, "seconds": 1}]}]}),
    ],
)
def test_other_records_too(tmp_path: Path, read: Callable[[str], Any], data: dict[str, Any]) -> None:
    with pytest.raises(DamagedError):
        read(written(tmp_path, data))


def test_timings_of_an_earlier_winnow_are_read(tmp_path: Path) -> None:
    assert records.read_timings(written(tmp_path, {"stages": [{"name": "read", "seconds": 2}]}))["stages"]
