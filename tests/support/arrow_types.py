"""Three values and a null of every Arrow type, nested ones too."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

import pyarrow as pa

WHEN = dt.datetime(2024, 2, 29, 23, 59, 58, 123456)
UUIDS = [uuid.UUID(int=i << 100 | 7) for i in (0, 1, 3)]


def _of(kind: pa.DataType, *values: object) -> pa.Array:
    return pa.array([*values, None], kind)


def _run_ends(values: pa.Array) -> pa.Array:
    return pa.RunEndEncodedArray.from_arrays(pa.array(range(1, len(values) + 1), pa.int32()), values)


def _plain() -> dict[str, pa.Array]:
    strings, octets = ["ä", "", "z" * 40], [b"\xff\x00", b"", b"text"]
    integers = {
        **{f"int{b}": _of(getattr(pa, f"int{b}")(), -(2 ** (b - 1)), 0, 2 ** (b - 1) - 1) for b in (8, 16, 32, 64)},
        **{f"uint{b}": _of(getattr(pa, f"uint{b}")(), 0, 1, 2**b - 1) for b in (8, 16, 32, 64)},
    }
    return {
        **integers,
        "null": pa.nulls(4),
        "bool": _of(pa.bool_(), True, False, True),
        "half": _of(pa.float16(), 1.5, -0.0, 65504.0),
        "float": _of(pa.float32(), 0.1, -1e38, 2.0**-149),
        "double": _of(pa.float64(), 0.1, 1.7e308, 5e-324),
        **{f"decimal{b}": _of(getattr(pa, f"decimal{b}")(9, 2), *map(Decimal, ("1.10", "-0.01", "9999999.99")))
           for b in (32, 64, 128, 256)},
        "decimal_wide": _of(pa.decimal256(76, 0), Decimal(10**75), Decimal(-1), Decimal(0)),
        "string": _of(pa.string(), *strings),
        "large_string": _of(pa.large_string(), *strings),
        "string_view": _of(pa.string_view(), *strings),
        "binary": _of(pa.binary(), *octets),
        "large_binary": _of(pa.large_binary(), *octets),
        "binary_view": _of(pa.binary_view(), *octets),
        "fixed_binary": _of(pa.binary(2), b"\x00\x01", b"ab", b"\xff\xff"),
        "date32": _of(pa.date32(), dt.date(1, 1, 1), dt.date(1970, 1, 1), dt.date(2024, 2, 29)),
        "date64": _of(pa.date64(), dt.date(1, 1, 1), dt.date(1970, 1, 1), dt.date(2024, 2, 29)),
        "time32_s": _of(pa.time32("s"), 0, 1, 86399),
        "time32_ms": _of(pa.time32("ms"), 0, 1, 86399999),
        "time64_us": _of(pa.time64("us"), 0, 1, 86399999999),
        "time64_ns": _of(pa.time64("ns"), 0, 1, 86399999999999),
        **{f"timestamp_{u}": _of(pa.timestamp(u), -1, 0, 170925119812) for u in ("s", "ms", "us", "ns")},
        "timestamp_utc": _of(pa.timestamp("us", "UTC"), -1, 0, 1709251198123456),
        "timestamp_zone": _of(pa.timestamp("ms", "Europe/Berlin"), -1, 0, 1709251198123),
        **{f"duration_{u}": _of(pa.duration(u), -1, 0, 2**40) for u in ("s", "ms", "us", "ns")},
    }  # fmt: skip


def _nested() -> dict[str, pa.Array]:
    words = _of(pa.string(), "a", "b", "a")
    deep = pa.struct([("x", pa.list_(pa.struct([("y", pa.int16())]))), ("z", pa.string_view())])
    tensor = pa.list_(pa.int32(), 2)
    return {
        "dictionary": words.dictionary_encode(),
        "dictionary_int": _of(pa.int64(), 2**60, 1, 2**60).dictionary_encode(),
        "list": _of(pa.list_(pa.int64()), [1, None], [], [2**62]),
        "large_list": _of(pa.large_list(pa.string()), ["a", None], [], ["b"]),
        "list_view": _of(pa.list_view(pa.int32()), [1, 2], [], [None]),
        "large_list_view": _of(pa.large_list_view(pa.string_view()), ["a"], [], [None]),
        "fixed_list": _of(pa.list_(pa.float32(), 2), [0.5, None], [1, 2], [3, 4]),
        "list_of_views": _of(pa.list_(pa.string_view()), ["a", "b"], [], [None]),
        "list_of_words": pa.ListArray.from_arrays(
            pa.array([0, 2, 2, None, 3], pa.int32()), pa.array(["q", "r", "q"]).dictionary_encode()
        ),
        "struct": _of(pa.struct([("a", pa.int8()), ("b", pa.string())]), {"a": 1, "b": None}, {"a": None}, {"b": "x"}),
        "deep": _of(deep, {"x": [{"y": 1}, None], "z": "v"}, {"x": None}, {"x": []}),
        "map": _of(pa.map_(pa.string(), pa.int64()), [("k", 1), ("l", None)], [], [("m", 2**62)]),
        "map_of_views": _of(pa.map_(pa.string_view(), pa.list_(pa.binary_view())), [("k", [b"\xff"])], [], [("", [])]),
        "uuid": pa.ExtensionArray.from_storage(pa.uuid(), _of(pa.binary(16), *(u.bytes for u in UUIDS))),
        "json": pa.ExtensionArray.from_storage(pa.json_(), _of(pa.string(), '{"a": 1}', "[]", '"x"')),
        "bool8": pa.ExtensionArray.from_storage(pa.bool8(), _of(pa.int8(), 1, 0, 1)),
        "tensor": pa.ExtensionArray.from_storage(
            pa.fixed_shape_tensor(pa.int32(), [2]), _of(tensor, [1, 2], [3, 4], [5, 6])
        ),
        "opaque": pa.ExtensionArray.from_storage(
            pa.opaque(pa.binary(), "thing", "maker"), _of(pa.binary(), b"\xff", b"", b"o")
        ),
    }


def _beyond_parquet() -> dict[str, pa.Array]:
    moments = [pa.MonthDayNano([1, -2, 3]), pa.MonthDayNano([0, 0, 0]), pa.MonthDayNano([-1, 5, 10**12])]
    codes = pa.array([0, 1, 0, 1], pa.int8())
    members = [pa.array([1, 0, 2**60, 0]), pa.array(["", "a", "", None])]
    return {
        "interval": _of(pa.month_day_nano_interval(), *moments),
        "run_ends": _run_ends(_of(pa.string(), "a", "b", "c")),
        "run_ends_int": _run_ends(_of(pa.int64(), 2**60, 0, 1)),
        "no_fields": _of(pa.struct([]), {}, {}, {}),
        "decimal_negative_scale": _of(pa.decimal128(5, -2), Decimal("1E+3"), Decimal(0), Decimal("-12300")),
        "sparse_union": pa.UnionArray.from_sparse(codes, members),
        "struct_of_intervals": _of(pa.struct([("i", pa.month_day_nano_interval())]), *({"i": m} for m in moments)),
    }


IN_PARQUET: dict[str, pa.Array] = {**_plain(), **_nested()}
EVERYWHERE: dict[str, pa.Array] = {**IN_PARQUET, **_beyond_parquet()}
