"""Files of RUN/quarantine: what could not be read, a JSON line for each problem, with a checksum of the line.

Guarantees: what is listed is of the inputs as the manifest has them: files about shards that are retired, or cut in
another way, go with `drop_outdated`, and one read leaves one file for each piece. Memory: the names in the folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import xxhash

from cluster import storage
from stages.core.manifest import Manifest
from stages.core.shard import Piece
from stages.inputs.batches import Problem

KEYS = ("path", "row", "byte_offset", "error")
LOSSLESS = ("utf-8", "surrogatepass")
READABLE = 80  # characters of a file's name that tell a person which input it is about


def folder_of(root: str) -> str:
    """Return where the files of a run folder lie."""
    return storage.join(root, "quarantine")


def write_problems(root: str, name: str, problems: Iterable[Problem]) -> None:
    """Write a file, which its owner alone may read: path, row or byte offset, error of unreadable inputs."""
    lines = [_line({"path": p.path, "row": p.row, "byte_offset": p.byte_offset, "error": p.error}) for p in problems]
    storage.write_bytes(
        storage.join(folder_of(root), f"{name}.jsonl"), ("\n".join(lines) + "\n").encode(), private=True
    )


def problem_of(line: bytes) -> dict[str, Any] | None:
    """Return the problem of a line; None where it is damaged. A line without checksum is of an earlier winnow."""
    try:
        found = json.loads(line)
        mark = found.pop("checksum", None) if isinstance(found, dict) else ""
        whole = tuple(found) == KEYS and isinstance(found["path"], str) and isinstance(found["error"], str)
        same = whole and mark in (None, _mark(found))
    except (ValueError, TypeError, RecursionError):
        return None
    return found if same else None


def fault_of(path: str) -> str | None:
    """Return what is wrong with a file, None where nothing is."""
    data = storage.read_bytes(path)
    if not data:
        return "it is empty"
    if not data.endswith(b"\n"):
        return "its end is cut off"
    bad = sum(problem_of(line) is None for line in data.splitlines())
    return f"{bad:,} of its lines are not what was written" if bad else None


def piece_name(piece: Piece) -> str:
    """Return the name of the file about a piece: of what it holds, so that it stays as shards come and go."""
    shard = piece.shard
    mark = hashlib.blake2b("\0".join((shard.dataset, shard.path, shard.fingerprint)).encode(*LOSSLESS), digest_size=8)
    return f"{_readable(shard.dataset, shard.relative_path)}-{mark.hexdigest()}-{piece.start}-{piece.stop}"


def lost_name(piece: Piece) -> str:
    """Return the name of the file about a piece that no worker survives, see lost_shards.py."""
    return f"lost-{piece_name(piece)}"


def is_about(names: set[str], piece: Piece) -> bool:
    """Tell whether one of these names is of a file about a piece."""
    return bool(names & {f"{piece_name(piece)}.jsonl", f"{lost_name(piece)}.jsonl"})


def name_by_content(root: str, manifest: Manifest) -> None:
    """Rename files that an earlier winnow named by the ordinals of this manifest."""
    names = storage.names(folder_of(root))
    if not names:
        return
    for bundle in manifest.bundles:
        for position, piece in enumerate(bundle.pieces):
            number, start = piece.shard.ordinal, piece.start
            before = {f"{number}-{position}-{start}": piece_name(piece), f"lost-{number}-{start}": lost_name(piece)}
            for old, new in before.items():
                if f"{old}.jsonl" in names:
                    places = (storage.join(folder_of(root), f"{name}.jsonl") for name in (old, new))
                    storage.move(*places)


def listed_name(dataset: str, relative_path: str) -> str:
    """Return the name of the file about an input that cannot be used, or not all of it.

    >>> listed_name("a", "x/y.gz")
    'a-x~y.gz-27db3719'
    """
    mark = hashlib.blake2b(f"{dataset}\0{relative_path}".encode(*LOSSLESS), digest_size=4).hexdigest()
    return f"{_readable(dataset, relative_path)}-{mark}"


def _readable(dataset: str, relative_path: str) -> str:
    """Return what tells a person which input a file is about."""
    name = f"{dataset}-{relative_path.replace('/', '~')}".encode("utf-8", "replace")[:READABLE]
    return name.decode("utf-8", "ignore")


def is_listed(names: set[str], dataset: str, relative_path: str) -> bool:
    """Tell whether there is a file about an input among these names."""
    return bool(names & _names_of_input(dataset, relative_path))


def drop_listed(root: str, names: set[str], dataset: str, relative_path: str) -> None:
    """Remove the file about an input, where it is among these names: the input is looked at anew."""
    gone = sorted(names & _names_of_input(dataset, relative_path))
    storage.remove_files([storage.join(folder_of(root), name) for name in gone])


def drop_outdated(root: str, manifest: Manifest) -> None:
    """Remove the files about inputs that are not as the manifest has them."""
    gone = {name for name in storage.names(folder_of(root)) if name.endswith(".jsonl")}
    if not gone:
        return
    for shard in manifest.live_shards:
        gone -= _names_of_input(shard.dataset, shard.relative_path)
    for bundle in manifest.bundles:
        for piece in bundle.pieces:
            gone -= {f"{piece_name(piece)}.jsonl", f"{lost_name(piece)}.jsonl"}
    storage.remove_files([storage.join(folder_of(root), name) for name in sorted(gone)])


def _names_of_input(dataset: str, relative_path: str) -> set[str]:
    before = f"{dataset}-{relative_path.replace('/', '~')}.jsonl"  # an earlier winnow's
    return {f"{listed_name(dataset, relative_path)}.jsonl", before}


def _line(problem: dict[str, Any]) -> str:
    return json.dumps({**problem, "checksum": _mark(problem)})


def _mark(problem: dict[str, Any]) -> str:
    return str(xxhash.xxh3_64_hexdigest(json.dumps(problem).encode()))
