"""The types of a dataset's input columns, beside the manifest: RUN/facts/types/DATASET.json.

Guarantees: what is read belongs to the live shards that the manifest names. Memory: one dataset's columns.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from typing_extensions import TypedDict  # pydantic reads it, and needs this one before Python 3.12

from cluster import storage
from cluster.files.records import read_record
from cluster.files.sealed import damaged, write_json
from stages.core.digests import digest
from stages.core.shard import Shard

FOLDER = "types"


@dataclass(frozen=True)
class Types:
    """What is stored of one dataset. shards: digest of those it was made of. columns: what they hold, to be joined."""

    shards: str
    names: tuple[str, ...]
    columns: Mapping[str, Any]
    schema: pa.Schema


class _Stored(TypedDict):
    """What the file holds. schema: an Arrow schema as a message, in base64."""

    shards: str
    names: list[str]
    columns: dict[str, Any]
    schema: str


def shards_address(shards: Sequence[Shard]) -> str:
    """Return the digest of these shards of a dataset."""
    return digest(sorted((s.ordinal, s.rows, s.fingerprint) for s in shards))


def types_path(root: str, dataset: str) -> str:
    return storage.join(root, "facts", FOLDER, f"{dataset}.json")


def write_types(root: str, dataset: str, types: Types) -> None:
    data = {
        "shards": types.shards,
        "names": list(types.names),
        "columns": types.columns,
        "schema": base64.b64encode(types.schema.serialize().to_pybytes()).decode(),
    }
    write_json(types_path(root, dataset), data)


def read_types(root: str, dataset: str) -> Types | None:
    """Return what is stored of a dataset; None where nothing is. Raises DamagedError."""
    where = types_path(root, dataset)
    if not storage.exists(where):
        return None
    data = read_record(where, _Stored)
    try:
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(data["schema"])))
        return Types(data["shards"], tuple(data["names"]), data["columns"], schema)
    except (ValueError, pa.ArrowException) as error:
        raise damaged(where, f"it lacks what is stored of types ({error})") from None


@functools.lru_cache(maxsize=256)
def cached_schema(root: str, dataset: str, shards: str, names: Collection[str]) -> pa.Schema | None:
    """Return the schema of these shards' columns `names`; None where another one, or none, is stored."""
    found = read_types(root, dataset)
    fits = found is not None and found.shards == shards and set(names) <= set(found.names)
    return found.schema if found is not None and fits else None
