"""Ids of any scalar type, as they are written."""

from __future__ import annotations

import pyarrow as pa
import pytest

from stages.inputs.ids import scalar_texts, spellings
from tests.support.arrow_types import EVERYWHERE

WANTED = {
    "int64": ["-9223372036854775808", "0", "9223372036854775807"],
    "uint64": ["0", "1", "18446744073709551615"],
    "bool": ["true", "false", "true"],
    "decimal128": ["1.10", "-0.01", "9999999.99"],
    "decimal_wide": [str(10**75), "-1", "0"],
    "decimal_negative_scale": ["1000", "0", "-12300"],
    "binary": ["ff00", "", "74657874"],
    "binary_view": ["ff00", "", "74657874"],
    "fixed_binary": ["0001", "6162", "ffff"],
    "string_view": ["ä", "", "z" * 40],
    "dictionary": ["a", "b", "a"],
    "run_ends": ["a", "b", "c"],
    "run_ends_int": [str(2**60), "0", "1"],
    "uuid": [
        "00000000-0000-0000-0000-000000000007",
        "00000010-0000-0000-0000-000000000007",
        "00000030-0000-0000-0000-000000000007",
    ],
    "json": ['{"a": 1}', "[]", '"x"'],
    "date32": ["0001-01-01", "1970-01-01", "2024-02-29"],
    "timestamp_ms": ["1969-12-31T23:59:59.999", "1970-01-01T00:00:00.000", "1975-06-02T07:11:59.812"],
    "timestamp_ns": [
        "1969-12-31T23:59:59.999999999",
        "1970-01-01T00:00:00.000000000",
        "1970-01-01T00:02:50.925119812",
    ],
    "timestamp_zone": ["1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00.000Z", "2024-02-29T23:59:58.123Z"],
    "time64_ns": ["00:00:00.000000000", "00:00:00.000000001", "23:59:59.999999999"],
    "duration_ms": ["PT-0.001S", "PT0S", "PT1099511627.776S"],
    "interval": ["P1M-2DT0.000000003S", "P0M0DT0S", "P-1M5DT1000S"],
    "half": ["1.5", "-0", "65504"],
}


@pytest.mark.parametrize("name", WANTED)
def test_ids_are_written_as_they_are(name: str) -> None:
    assert scalar_texts(EVERYWHERE[name]).to_pylist() == [*WANTED[name], None]


@pytest.mark.parametrize("name", [n for n, c in EVERYWHERE.items() if not pa.types.is_nested(c.type) and n != "null"])
def test_different_values_have_different_ids(name: str) -> None:
    column = EVERYWHERE[name]
    if pa.types.is_nested(getattr(column.type, "storage_type", column.type)):
        return
    ids = scalar_texts(column).to_pylist()
    assert ids[3] is None
    assert len(set(ids[:3])) >= len({repr(v) for v in column.to_pylist()[:3]})


def test_malformed_strings_stay_apart() -> None:
    strings = pa.array([b"caf\xe9", b"caf\xe8", b"caf\xc3\xa9"], pa.binary()).view(pa.string())
    assert scalar_texts(strings).to_pylist() == ["caf\\xe9", "caf\\xe8", "café"]


def test_an_id_is_looked_for_in_its_usual_spelling() -> None:
    assert spellings("abc") == ["abc"]
    assert "0000000c-9f2c-9cd0-4674-edea40003039" in spellings("0000000C9F2C9CD04674EDEA40003039")
