"""What doc_ids of an earlier manifest are called now: shards are numbered anew when others are added.

A numbering names the live shards of a manifest, and how they were read, by what they hold. Files that outlive a
manifest say by which numbering they speak. Guarantees: a document that was read in another way, or whose file holds
something else now, is none of today's. Memory: a hundred bytes for each shard.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster import storage
from cluster.files.arrow_files import read_arrow_if_there, write_arrow
from stages.core.arrays import array
from stages.core.digests import digest
from stages.core.manifest import cached_manifest
from stages.core.run import Run
from stages.core.shard import ROW_BITS

I64 = npt.NDArray[np.int64]
FOLDER = "numberings"
Readings = tuple[tuple[str, str], ...]
NONE = -1
SIZE = 16  # bytes of a digest of a shard


def note_numbering(run: Run) -> str:
    """Write down the numbering of a run's manifest, unless it is; return its name."""
    name = numbering_of(run)
    path = _path(run.root, name)
    if not storage.exists(path):
        known = _identities(run.root, run.manifest_digest, _readings(run))
        columns = {
            "shard": pa.array(list(known), pa.binary(SIZE)),
            "ordinal": pa.array(list(known.values()), pa.int64()),
        }
        write_arrow(path, pa.table(columns))
    return name


def numbering_of(run: Run) -> str:
    """Return the name of the numbering of a run's manifest."""
    return digest("numbering", run.manifest_digest, _readings(run))


def translated(run: Run, name: str, doc: I64) -> I64:
    """Return today's doc_ids of documents named by a numbering, (docs,); NONE where there is none today."""
    if name == numbering_of(run) or not len(doc):
        return doc
    today = _table(run.root, name, run.manifest_digest, _readings(run))
    ordinal = doc >> ROW_BITS
    known = (ordinal >= 0) & (ordinal < len(today))
    found = np.full(len(doc), NONE, np.int64)
    found[known] = today[ordinal[known]]
    return np.where(found < 0, NONE, (found << ROW_BITS) | (doc & ((1 << ROW_BITS) - 1)))


def covers(run: Run, name: str) -> bool:
    """Tell whether every shard of a numbering is there today, read as it was."""
    today = _table(run.root, name, run.manifest_digest, _readings(run))
    return len(today) > 0 and len(todays_ordinals(run, name)) == _shards(run.root, name)


def todays_ordinals(run: Run, name: str) -> frozenset[int]:
    """Return today's ordinals of the shards of a numbering."""
    return _ordinals(run.root, name, run.manifest_digest, _readings(run))


@functools.lru_cache(maxsize=16)
def _ordinals(root: str, name: str, manifest_digest: str, readings: Readings) -> frozenset[int]:
    return frozenset(n for n in _table(root, name, manifest_digest, readings).tolist() if n != NONE)


def _shards(root: str, name: str) -> int:
    table = read_arrow_if_there(_path(root, name))
    return 0 if table is None else int(table.num_rows)


def _path(root: str, name: str) -> str:
    return storage.join(root, "facts", FOLDER, f"{name}.arrow")


def _readings(run: Run) -> Readings:
    return tuple((d.name, run.reading(d.name)) for d in run.datasets)


@functools.lru_cache(maxsize=4)
def _identities(root: str, manifest_digest: str, readings: Readings) -> dict[bytes, int]:
    """Return the ordinal of each live shard by what it holds and how it is read."""
    how, found = dict(readings), {}
    for s in cached_manifest(root, manifest_digest).live_shards:
        parts = "\0".join((s.dataset, s.path, s.relative_path, s.fingerprint, str(s.rows), how[s.dataset]))
        mark = hashlib.blake2b(parts.encode("utf-8", "surrogatepass"), digest_size=SIZE)
        found[mark.digest()] = s.ordinal
    return found


@functools.lru_cache(maxsize=16)
def _table(root: str, name: str, manifest_digest: str, readings: Readings) -> I64:
    """Return today's ordinal of each ordinal of a numbering, NONE where its shard is none of today's."""
    table = read_arrow_if_there(_path(root, name))
    if table is None or not table.num_rows:
        return np.empty(0, np.int64)
    now = _identities(root, manifest_digest, readings)
    ordinal = array(table, "ordinal").astype(np.int64)
    today = np.full(int(ordinal.max()) + 1, NONE, np.int64)
    today[ordinal] = [now.get(shard, NONE) for shard in table.column("shard").to_pylist()]
    return today
