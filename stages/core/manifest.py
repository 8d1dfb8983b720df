"""The manifest: the shards of a run, and the bundles that tasks work on.

One file holds all of it, and the limit it was made with: what was frozen together is replaced together, by one rename.
Live shards are numbered and bundled as in a new folder, whatever was frozen before (`stages/passes/arrange.py`);
retired ones come after them. A bundle's number names its facts and is never used for another content. Bundles depend on
the shards alone, never on the number of workers. Memory: a few hundred bytes per shard.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cluster import storage
from cluster.errors import LedgerError
from cluster.files.sealed import commit_sealed, damaged, read_sealed
from cluster.scale import scaled
from stages.core.digests import DATA_FORMAT, digest
from stages.core.formats import check_format
from stages.core.shard import ROW_BITS, Bundle, Piece, Shard
from stages.core.types import shards_address

SMALLEST, LARGEST = scaled(16 << 20), scaled(512 << 20)  # decoded text of one bundle, in bytes
BUNDLES = scaled(256)  # aimed at in between: enough to keep many workers busy to the end
BUNDLE_ROWS = scaled(200_000)  # bounds the facts of one task: 100 MB of signatures
BUNDLE_SHARDS = 512
GROUPS = scaled(512)  # destinations of what is routed to documents; more where each would have over GROUP_BUNDLES
GROUP_BUNDLES = 16  # of 200,000 rows: the verdicts on all of them take 80 MB

MANIFEST_SCHEMA = pa.schema(
    [
        ("ordinal", pa.int32()),
        ("dataset", pa.string()),
        ("path", pa.string()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
        ("fingerprint", pa.string()),
        ("within", pa.string()),
        ("retired", pa.bool_()),
        ("file_rows", pa.int64()),
        ("format", pa.string()),
        ("text_bytes", pa.int64()),
    ],
    metadata={"winnow.format": str(DATA_FORMAT)},
)
NEEDED = ("ordinal", "dataset", "path", "rows", "bytes", "fingerprint", "within")  # of any winnow
PIECE = pa.struct([("bundle", pa.int32()), ("place", pa.int32()), ("start", pa.int64()), ("stop", pa.int64())])
PIECES = pa.field("pieces", pa.list_(PIECE))  # of each shard: where it lies in which bundle
_loading = threading.Lock()
LIMIT = "winnow.limit"  # rows of each dataset that were taken at most, "null" for all
PAST = "winnow.past_bundles"  # (dataset, fingerprint, number) of bundles that were: a content keeps its number
BUNDLE_BYTES = "winnow.bundle_bytes"  # the greatest size of a bundle, "null" where its bundles lie as they were frozen
FIELDS = {"within": "relative_path"}  # of a shard, where the file's column has another name


@dataclass(frozen=True)
class Manifest:
    """All shards (retired ones too) in ordinal order, and the bundles of the live ones.

    limit: rows of each dataset that it was made with at most; None: all. bundle_bytes: `bundle_bytes` of its shards;
    None where an earlier winnow numbered and bundled them in the order in which they came. past: dataset, fingerprint
    and number of bundles that were; equal live shards so always have equal bundles.
    """

    shards: tuple[Shard, ...]
    bundles: tuple[Bundle, ...]
    limit: int | None = field(default=None, compare=False)
    bundle_bytes: int | None = field(default=None, compare=False)
    past: tuple[tuple[str, str, int], ...] = field(default=(), compare=False)

    @functools.cached_property
    def _starts(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """First doc_id, bundle number and first bundle row of every piece, sorted by doc_id."""
        rows = []
        for position, bundle in enumerate(self.bundles):
            offset = 0
            for piece in bundle.pieces:
                rows.append(((piece.shard.ordinal << ROW_BITS) + piece.start, position, offset))
                offset += piece.rows
        table = np.array(sorted(rows), dtype=np.int64).reshape(-1, 3)
        return table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy()

    def locate(self, doc_ids: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return (position of the bundle in `bundles`, row in the bundle) of every document."""
        starts, positions, offsets = self._starts
        piece = np.searchsorted(starts, doc_ids, side="right") - 1
        return positions[piece], offsets[piece] + (doc_ids - starts[piece])

    @functools.cached_property
    def units(self) -> list[list[int]]:
        """Positions of bundles, in units that hold whole shards: one ledger task works on a unit."""
        units: list[list[int]] = []
        last = -1
        for position, bundle in enumerate(self.bundles):
            if units and bundle.pieces[0].shard.ordinal == last:
                units[-1].append(position)
            else:
                units.append([position])
            last = bundle.pieces[-1].shard.ordinal
        return units

    @functools.cached_property
    def groups(self) -> list[list[int]]:
        """Positions of bundles, in `group_count` groups of whole units: the destinations of verdicts."""
        count = min(len(self.units), group_count(len(self.bundles)))
        groups: list[list[int]] = [[] for _ in range(count)]
        for number, unit in enumerate(self.units):
            groups[number * count // len(self.units)].extend(unit)
        return groups

    @functools.cached_property
    def _group_by_position(self) -> npt.NDArray[np.int32]:
        where = np.zeros(len(self.bundles), np.int32)
        for number, group in enumerate(self.groups):
            where[group] = number
        return where

    def group_at(self, position: int) -> int:
        """Return the number of the group that holds the bundle at `position`."""
        return int(self._group_by_position[position])

    def group_of(self, doc_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Return the number of the group that holds each document."""
        return self._group_by_position[self.locate(doc_ids)[0]]

    @functools.cached_property
    def _positions(self) -> dict[str, npt.NDArray[np.int64]]:
        """Positions of each dataset's bundles, ascending."""
        names = np.array([bundle.dataset for bundle in self.bundles], object)
        return {name: np.flatnonzero(names == name) for name in dict.fromkeys(names)}

    def bundles_between(self, dataset: str, start: int, stop: int) -> int:
        """Return how many bundles of a dataset are at positions start … stop - 1."""
        first, last = np.searchsorted(self._positions[dataset], [start, stop])
        return max(0, int(last - first))

    @functools.cached_property
    def _by_ordinal(self) -> dict[int, Shard]:
        return {shard.ordinal: shard for shard in self.shards}

    def shard(self, ordinal: int) -> Shard:
        return self._by_ordinal[ordinal]

    @property
    def live_shards(self) -> list[Shard]:
        return [shard for shard in self.shards if not shard.retired]

    @functools.cached_property
    def _live_by_dataset(self) -> dict[str, list[Shard]]:
        found: dict[str, list[Shard]] = {}
        for shard in self.live_shards:
            found.setdefault(shard.dataset, []).append(shard)
        return found

    def live_of(self, dataset: str) -> Sequence[Shard]:
        """Return the live shards of a dataset, in order."""
        return self._live_by_dataset.get(dataset, [])

    def rows(self, dataset: str | None = None) -> int:
        return sum(s.rows for s in (self.live_shards if dataset is None else self.live_of(dataset)))

    @functools.cached_property
    def _addresses(self) -> dict[str, str]:
        return {name: shards_address(shards) for name, shards in self._live_by_dataset.items()}

    def address(self, dataset: str) -> str:
        """Return the digest of a dataset's live shards."""
        return self._addresses.get(dataset, "")

    @functools.cached_property
    def archives(self) -> frozenset[str]:
        """Names of the datasets that hold WARC files, whose texts depend on an extractor."""
        return frozenset(s.dataset for s in self.live_shards if s.format.startswith("warc"))

    @functools.cached_property
    def digest(self) -> str:
        """Digest of the live shards, on which every cross-shard result depends."""
        return digest([(s.ordinal, s.dataset, s.rows, s.fingerprint, s.relative_path) for s in self.live_shards])


def group_count(bundles: int) -> int:
    """Return how many groups a number of bundles is put in: as many as bundles, then GROUPS, then a share of them.

    Examples
    --------
    >>> [group_count(bundles) for bundles in (3, 5_000, 65_900)]
    [3, 512, 4119]
    """
    return min(bundles, max(GROUPS, -(-bundles // GROUP_BUNDLES)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """Where a shard may be cut: rows and decoded text bytes of its row groups, in order; or where it was cut before.

    pieces: (rows, bytes) of its parts as they were under the same `bundle_bytes`; empty: by its row groups.
    """

    shard: Shard
    row_groups: tuple[tuple[int, int], ...] = ()
    pieces: tuple[tuple[int, int], ...] = ()

    @property
    def text_bytes(self) -> int:
        """Decoded text of the shard, as far as its row groups tell."""
        return sum(weight for _, weight in self.pieces or _groups(self))


def bundle_bytes(total: int) -> int:
    """Return the greatest size of a bundle for so many bytes of text; does not depend on workers.

    It doubles as the text does, so that where a shard is cut rarely changes as others are added.

    Examples
    --------
    >>> [bundle_bytes(gigabytes << 30) >> 20 for gigabytes in (1, 7, 8, 40_000)]
    [16, 16, 32, 512]
    """
    size = SMALLEST
    while 2 * size <= LARGEST and 2 * size * BUNDLES <= total:
        size *= 2
    return size


def bundle_shards(cuts: Sequence[Cut], first: int) -> list[Bundle]:
    """Group small shards of a dataset and split large ones at row groups, numbering from `first`."""
    limit = bundle_bytes(sum(cut.text_bytes for cut in cuts))
    bundles: list[Bundle] = []
    open_pieces: list[Piece] = []
    size = open_rows = 0

    def close() -> None:
        nonlocal size, open_rows
        if open_pieces:
            dataset = open_pieces[0].shard.dataset
            bundles.append(Bundle(number=first + len(bundles), dataset=dataset, pieces=tuple(open_pieces)))
            open_pieces.clear()
            size = open_rows = 0

    for cut in cuts:
        pieces = list(_split(cut, limit))
        total = sum(weight for _, weight in pieces)
        rows = open_rows + cut.shard.rows
        foreign = bool(open_pieces) and open_pieces[0].shard.dataset != cut.shard.dataset
        if foreign or len(pieces) > 1 or size + total > limit or rows > BUNDLE_ROWS:
            close()
        for piece, weight in pieces:
            if len(pieces) > 1:  # a large shard never shares a bundle
                close()
            open_pieces.append(piece)
            size += weight
            open_rows += piece.rows
        if len(pieces) > 1 or len(open_pieces) >= BUNDLE_SHARDS:
            close()
    close()
    return bundles


def _groups(cut: Cut) -> Sequence[tuple[int, int]]:
    """Return (rows, bytes of text) of the smallest parts that a shard can be cut into."""
    return cut.row_groups or ((cut.shard.rows, cut.shard.bytes * 3),)


def _split(cut: Cut, limit: int) -> Iterator[tuple[Piece, int]]:
    """Cut a shard at row groups into pieces of at most `limit` bytes and BUNDLE_ROWS, as far as row groups allow."""
    start = stop = size = 0
    for rows, weight in cut.pieces:
        yield Piece(shard=cut.shard, start=start, stop=start + rows), weight
        start += rows
    if cut.pieces:
        return
    for rows, weight in _groups(cut):
        rows = min(rows, cut.shard.rows - stop)
        if stop > start and (size + weight > limit or stop - start + rows > BUNDLE_ROWS):
            yield Piece(shard=cut.shard, start=start, stop=stop), size
            start, size = stop, 0
        stop += rows
        size += weight
    yield Piece(shard=cut.shard, start=start, stop=stop), size


def write_manifest(root: str, manifest: Manifest) -> None:
    """Write shards, bundles and limit atomically, in one file."""
    number = {shard.ordinal: i for i, shard in enumerate(manifest.shards)}
    pieces: list[list[dict[str, int]]] = [[] for _ in manifest.shards]
    for bundle in manifest.bundles:
        for place, piece in enumerate(bundle.pieces):
            entry = {"bundle": bundle.number, "place": place, "start": piece.start, "stop": piece.stop}
            pieces[number[piece.shard.ordinal]].append(entry)
    rows = [{name: getattr(s, FIELDS.get(name, name)) for name in MANIFEST_SCHEMA.names} for s in manifest.shards]
    own = {LIMIT: manifest.limit, BUNDLE_BYTES: manifest.bundle_bytes, PAST: manifest.past}
    metadata = {**MANIFEST_SCHEMA.metadata, **{name: json.dumps(value) for name, value in own.items()}}
    table = pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA).append_column(PIECES, pa.array(pieces, PIECES.type))
    with commit_sealed(manifest_path(root)) as file:
        pq.write_table(table.replace_schema_metadata(metadata), file, compression="zstd", write_page_checksum=True)


def manifest_path(root: str) -> str:
    return storage.join(root, "manifest.parquet")


def read_manifest(root: str) -> Manifest | None:
    """Return the manifest of a run folder; None if there is none yet.

    Raises DamagedError, and LedgerError where its data format is not known.
    """
    if not storage.exists(manifest_path(root)):
        return None
    table = read_manifest_table(root)
    fields = [name for name in MANIFEST_SCHEMA.names if name in table.schema.names]  # older ones have fewer
    try:
        rows = table.select(fields).to_pylist()
        shards = tuple(Shard(**{FIELDS.get(k, k): value for k, value in row.items()}) for row in rows)
        if PIECES.name not in table.schema.names:
            return _before_generations(root, shards)
        metadata = table.schema.metadata
        limit, size = json.loads(metadata[LIMIT.encode()]), json.loads(metadata.get(BUNDLE_BYTES.encode(), b"null"))
        if not all(isinstance(value, int | None) for value in (limit, size)):
            raise ValueError("a limit that is no number")
        bundles = _bundles(shards, table.column(PIECES.name).to_pylist(), size is not None)
        past = tuple(
            (dataset, mark, number) for dataset, mark, number in json.loads(metadata.get(PAST.encode(), b"[]"))
        )
        return Manifest(shards, bundles, limit, size, past)
    except (KeyError, ValueError, TypeError) as error:
        raise damaged(manifest_path(root), f"it lacks what a manifest holds ({error})") from None


def read_manifest_table(root: str) -> pa.Table:
    """Return the manifest as a table, retired shards too. Raises as `read_manifest`."""
    where = manifest_path(root)
    data = read_sealed(where)
    try:
        with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
            table = file.read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise damaged(where, " ".join(str(error).split())) from None
    check_format((table.schema.metadata or {}).get(b"winnow.format"), where)
    for name in NEEDED:
        kind = MANIFEST_SCHEMA.field(name).type
        if name not in table.schema.names or table.schema.field(name).type != kind or table.column(name).null_count:
            raise damaged(where, f"it lacks what a manifest holds (a column {name} of {kind} without nulls)")
    return table


def _bundles(shards: Sequence[Shard], pieces: Sequence[Sequence[dict[str, int]]], by_shard: bool) -> tuple[Bundle, ...]:
    """Return the bundles, the pieces of each in their places; by_shard: in the order of their shards."""
    found: dict[int, dict[int, Piece]] = {}
    for shard, mine in zip(shards, pieces, strict=True):
        for p in mine:
            found.setdefault(p["bundle"], {})[p["place"]] = Piece(shard=shard, start=p["start"], stop=p["stop"])
    ordered = [(number, [places[i] for i in sorted(places)]) for number, places in sorted(found.items())]
    if by_shard:
        ordered.sort(key=lambda bundle: (bundle[1][0].shard.ordinal, bundle[1][0].start))
    return tuple(Bundle(number=n, dataset=mine[0].shard.dataset, pieces=tuple(mine)) for n, mine in ordered)


def _before_generations(root: str, shards: Sequence[Shard]) -> Manifest:
    """Return a manifest whose bundles and limit lie in files of their own, as they did once."""
    where = storage.join(root, "facts", "bundles.json")
    inputs = storage.join(root, "facts", "inputs.json")
    pieces: dict[tuple[int, str], list[Piece]] = {}
    try:
        saved = json.loads(storage.read_bytes(inputs)) if storage.exists(inputs) else {"limit": None, "tokens": {}}
        known = {path: (entry[2:] or [None])[0] for path, entry in saved["tokens"].items()}
        shards = tuple(replace(shard, file_rows=known.get(shard.path)) for shard in shards)
        for number, dataset, position, start, stop in json.loads(storage.read_bytes(where)):
            piece = Piece(shard=shards[position], start=start, stop=stop)
            pieces.setdefault((number, dataset), []).append(piece)
        limit = saved["limit"]
    except (FileNotFoundError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        why = f"{where} or {inputs}, which belong to it, are missing or cut ({error})"
        raise damaged(manifest_path(root), why) from None
    bundles = tuple(Bundle(number=n, dataset=d, pieces=tuple(p)) for (n, d), p in pieces.items())
    return Manifest(shards, bundles, limit)


def cached_manifest(root: str, digest: str) -> Manifest:
    """Return the manifest, read once per worker process, by whichever of its threads asks first.

    Raises LedgerError if its digest is another.
    """
    with _loading:
        return _load(root, digest)


@functools.lru_cache(maxsize=4)
def _load(root: str, digest: str) -> Manifest:
    manifest = read_manifest(root)
    if manifest is None or manifest.digest != digest:
        raise LedgerError(f"the manifest in {root} changed while the run was going on; run again.")
    return manifest
