"""recipe.lock.yaml: the recipe of a run folder, with a checksum in its second line.

Guarantees: a lock that is empty, cut or changed is a DamagedError where a run folder is opened; one without the line,
of an earlier winnow, is taken as it is.
"""

from __future__ import annotations

import re
from typing import Any, NotRequired

import xxhash
from typing_extensions import TypedDict  # pydantic reads them, and needs this one before Python 3.12

from cluster import storage
from cluster.files.records import as_kind
from cluster.files.sealed import check_unmarked, damaged
from stages.core.formats import check_format

LINE = "# checksum "
ANYWHERE = re.compile(r"checksum|[0-9a-f]{16}\n")  # a lock without the line is of a winnow that wrote none
FORMAT = re.compile(r"# winnow recipe, data format (\d+)")


def sealed_lock(text: str) -> str:
    """Return the text of a lock, which begins with one line of comment, with its checksum as the second line."""
    head, _, rest = text.partition("\n")
    return f"{head}\n{LINE}{_mark(head, rest)}\n{rest}"


def check_lock(path: str) -> None:
    """Raise DamagedError unless a lock is what was written."""
    text = storage.read_bytes(path).decode("utf-8", "replace")
    head, _, body = text.partition("\n")
    line, _, rest = body.partition("\n")
    if not rest:
        raise damaged(path, "it is empty or cut")
    if (line.startswith("#") or ANYWHERE.search(text)) and line != f"{LINE}{_mark(head, rest)}":
        raise damaged(path, "its checksum does not fit (a recipe is changed in its own file, not here)")
    if not line.startswith("#"):
        check_unmarked(path)
    check_format_of(text, path)


class _Recipe(TypedDict):
    """What readers of a run folder ask of its recipe as plain values."""

    datasets: dict[str, dict[str, Any] | None]
    stages: NotRequired[list[dict[str, Any]] | None]
    mix: NotRequired[dict[str, Any] | None]
    mixes: NotRequired[dict[str, dict[str, Any] | None] | None]
    priority: NotRequired[list[str] | None]


def read_lock(path: str) -> dict[str, Any]:
    """Return the recipe of a run folder as plain values, with every key. Raises DamagedError."""
    import yaml

    check_lock(path)
    try:
        found = yaml.safe_load(storage.read_bytes(path))
        names = [entry.get("name") or entry["use"] for entry in as_kind(path, found, _Recipe).get("stages") or []]
    except (yaml.YAMLError, ValueError, RecursionError, KeyError) as error:
        raise damaged(path, f"it is no recipe ({type(error).__name__})") from None
    if not all(isinstance(name, str) for name in names):
        raise damaged(path, "its stages have no names")
    return dict(found)


def check_format_of(text: str, where: str) -> None:
    """Raise LedgerError where a recipe says that it is a lock of a data format that this winnow does not know."""
    found = FORMAT.match(text)
    if found:
        check_format(found[1], where)


def _mark(head: str, rest: str) -> str:
    return str(xxhash.xxh3_64_hexdigest(f"{head}\n{rest}".encode()))
