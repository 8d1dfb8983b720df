"""JSON of a run folder, read as the type that its readers rely on.

Guarantees: a record that lacks a key, or holds another kind of value, is a DamagedError that names the place in it,
whoever wrote it and whether its checksum fits or not; keys that are not known are passed over.
"""

from __future__ import annotations

import functools
import json
from typing import Any, TypeVar, cast

from cluster.files.sealed import damaged, read_json, read_public_json

T = TypeVar("T")


def read_record(path: str, kind: type[T]) -> T:
    """Return what `write_json` wrote, as a dataclass, TypedDict or container of them. Raises as `read_json`."""
    return as_kind(path, read_json(path), kind)


def read_public_record(path: str, kind: object) -> dict[str, Any]:
    """Return what `write_public_json` wrote, with all its keys, checked against a type. Raises as `read_json`."""
    found = read_public_json(path)
    as_kind(path, found, cast("type[object]", kind))
    return found


def as_kind(path: str, data: object, kind: type[T]) -> T:
    """Return plain data of a file as a type. Raises DamagedError where it is none."""
    from pydantic import ValidationError

    try:
        return cast("T", _adapter(cast(Any, kind)).validate_json(json.dumps(data), strict=True))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:80]
        raise damaged(path, f"{place or 'its content'}: {first['msg'][:80]}") from None


@functools.cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
