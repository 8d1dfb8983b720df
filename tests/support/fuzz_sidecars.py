"""Fuzz target: files that winnow wrote into a run folder, changed: sidecars, slices, ledger, manifest, JSON.

What must hold: the content that was written, or a DamagedError (a LedgerError, where the data format is not known).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.errors import DamagedError, LedgerError
from cluster.files import integrity, sealed
from cluster.files.arrow_files import read_arrow, write_arrow
from cluster.files.slices import SliceWriter, check_slices, merge_slices, read_slice
from pipelines.recipe.lock import check_lock, sealed_lock
from stages.core import manifest
from stages.core.shard import Bundle, Piece, Shard
from stages.core.sidecar import Sidecars
from stages.inputs.batches import Problem
from stages.passes.quarantined import problem_of, write_problems
from tests.support.fuzzing import mutated

TABLE = pa.table({"row": pa.array(range(60), pa.uint32()), "text": [f"text {i}" * (i % 7) for i in range(60)]})
SHARDS = tuple(
    Shard(ordinal=n, dataset="a", path=f"in/{n}", relative_path=str(n), rows=30, bytes=9, fingerprint=f"f{n}")
    for n in range(2)
)
BUNDLE = Bundle(number=0, dataset="a", pieces=tuple(Piece(shard=s, start=0, stop=s.rows) for s in SHARDS))
SLICES = pa.schema([("x", pa.int64())])
DATA = {"format": 1, "files": [{"path": "a", "bytes": 17, "share": 0.1}], "none": None}


@dataclass(frozen=True)
class Ready:
    """A whole file, how it is read, and what is read of it."""

    path: Path
    whole: bytes
    read: Callable[[], Any]
    right: Any


def _arrow(path: Path) -> Callable[[], Any]:
    write_arrow(str(path), TABLE)
    return lambda: read_arrow(str(path)).to_pylist()


def _parquet(path: Path) -> Callable[[], Any]:
    with sealed.commit_sealed(str(path)) as file:
        pq.write_table(TABLE, file, compression="zstd", write_page_checksum=True, row_group_size=20)
    return lambda: [row for table in sealed.batches(str(path), 7) for row in table.to_pylist()]


def _sidecar(path: Path) -> Callable[[], Any]:
    sidecars = Sidecars(str(path.parent))
    sidecars.write(BUNDLE, "", TABLE)
    Path(sidecars.path(BUNDLE, "")).rename(path)

    def read() -> Any:
        Path(sidecars.path(BUNDLE, "")).write_bytes(path.read_bytes())
        return sidecars.read(BUNDLE, "").to_pylist()

    return read


def _slices(path: Path) -> Callable[[], Any]:
    writer = SliceWriter(5)
    for destination in (0, 3, 4):
        writer.add(destination, pa.record_batch([pa.array(range(destination + 2))], schema=SLICES))
    with path.open("wb") as file:
        writer.write(file)

    def read() -> Any:
        return [[b.to_pydict() for b in read_slice(str(path), d, SLICES)] for d in range(5)]

    return read


def _merged(path: Path) -> Callable[[], Any]:
    _slices(path)

    def read() -> Any:
        target = str(path.with_name("merged"))
        check_slices(str(path))
        merge_slices([str(path), str(path)], target, 5, SLICES)
        return [[b.to_pydict() for b in read_slice(target, d, SLICES)] for d in range(5)]

    return read


def _manifest(path: Path) -> Callable[[], Any]:
    manifest.write_manifest(str(path.parent), manifest.Manifest(SHARDS, (BUNDLE,), None))
    return lambda: manifest.read_manifest(str(path.parent))


def _json(path: Path) -> Callable[[], Any]:
    sealed.write_json(str(path), DATA)
    return lambda: sealed.read_json(str(path))


def _public_json(path: Path) -> Callable[[], Any]:
    sealed.write_public_json(str(path), DATA)
    return lambda: {key: value for key, value in sealed.read_public_json(str(path)).items() if key in DATA}


def _lock(path: Path) -> Callable[[], Any]:
    path.write_text(sealed_lock("# winnow recipe, data format 1\nname: x\ndatasets:\n  a: {paths: in/a}\n"))
    return lambda: (check_lock(str(path)), path.read_bytes())[1]


def _quarantine(path: Path) -> Callable[[], Any]:
    write_problems(
        str(path.parents[1]), path.stem, [Problem("in/a", n, 7 * n, f"line {n} is broken") for n in range(4)]
    )
    return lambda: [problem_of(line) for line in path.read_bytes().splitlines()]


KINDS: dict[str, tuple[str, Callable[[Path], Callable[[], Any]]]] = {
    "arrow": ("x.arrow", _arrow),
    "parquet": ("x.parquet", _parquet),
    "sidecar": ("y.arrow", _sidecar),
    "slices": ("x.slices", _slices),
    "merged": ("x.slices", _merged),
    "manifest": ("manifest.parquet", _manifest),
    "json": ("x.json", _json),
    "public json": ("mix.json", _public_json),
    "lock": ("recipe.lock.yaml", _lock),
    "quarantine": ("quarantine/0-0-0.jsonl", _quarantine),
}


def kinds() -> tuple[str, ...]:
    return tuple(KINDS)


def prepare(kind: str, folder: Path) -> Ready:
    """Write the file of a kind and read it."""
    name, make = KINDS[kind]
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    read = make(path)
    return Ready(path, path.read_bytes(), read, read())


def case(ready: Ready, draw: random.Random) -> str:
    """Read a changed file."""
    data = mutated(ready.whole, draw)
    ready.path.write_bytes(data)
    if ready.path.suffix == ".jsonl":
        return _lines(ready)
    try:
        found = ready.read()
    except (DamagedError, LedgerError) as error:
        return "refused" if data != ready.whole else f"a whole file is refused: {error}"
    if found == ready.right or _without_checksum(ready, data):
        return "read"
    integrity.check(str(ready.path))
    return f"other content is read without a word: {found!r}"[:2000]


def _lines(ready: Ready) -> str:
    """Every line is one that was written, or is told to be damaged."""
    found = [line for line in ready.read() if line is not None]
    assert all(line in ready.right for line in found), found
    return "read" if len(found) == len(ready.right) else "refused"


def _without_checksum(ready: Ready, data: bytes) -> bool:
    """Tell whether a change made the file one of an earlier winnow, which wrote no checksums: by its mark alone."""
    if ready.path.suffix in (".arrow", ".parquet"):
        return sealed.SEAL not in data[-64:]
    return ready.path.suffix in (".json", ".yaml") and b"checksum" not in data
