"""Check any file of a run folder that carries a checksum of its own: by the ending of its name."""

from __future__ import annotations

from cluster import storage
from cluster.errors import DamagedError
from cluster.files.sealed import check_bytes, check_file, damaged, read_json
from cluster.files.slices import check_slices


def check(path: str) -> None:
    """Raise DamagedError unless a file is what was written; a name of another kind passes.

    Memory: a block of a local file, the whole of one in a store; of slices their index and one slice.
    """
    try:
        if path.endswith((".arrow", ".parquet")):
            check_file(path) if storage.is_local(path) else check_bytes(path, storage.read_bytes(path))
        elif path.endswith(".slices"):
            check_slices(path)
        elif path.endswith(".json"):
            read_json(path)
    except FileNotFoundError:
        raise damaged(path, "it is missing") from None


def fault_of(path: str) -> str | None:
    """Return what is wrong with a file, None where nothing is."""
    try:
        check(path)
    except DamagedError as error:
        return str(error).removeprefix(f"{path} is damaged: ").partition(". ")[0]
    return None
