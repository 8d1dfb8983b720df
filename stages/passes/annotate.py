"""The fused pass: one read of a bundle computes every missing fact of all its shard stages.

All ShardStages of a recipe but the deferred ones (judge_later.py) share this read. Each annotates the rows that the
stages before it keep, unless its sidecar covers them. Memory: one batch of text,
the facts that `decide` needs of one bundle. Running it twice reads no text the second time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster import storage
from cluster.device import backend, kernel_times, share
from cluster.engines import Growth, brought
from cluster.errors import DamagedError, LedgerError, RecipeError, ShardError
from cluster.files.sealed import check_file
from stages.core.arrays import BoolArray, array, whole
from stages.core.costs import Quantity, per_bundle
from stages.core.edits import apply, merge
from stages.core.run import Run
from stages.core.shard import Bundle, Dataset, Piece, Shard, check_ascending
from stages.core.sidecar import Writer, expand
from stages.core.stage import ShardStage
from stages.core.view import View
from stages.implicit.read import read_stage
from stages.inputs import device_reader
from stages.inputs.batches import unreadable_batches
from stages.inputs.reader import Batch, Problem, ReadStatus, read_piece, stage_compressed
from stages.kernels.hashes.hashing import buffers, content_hash
from stages.passes import quarantined
from stages.passes.as_frozen import as_frozen


@dataclass
class Track:
    """State of one stage in the pass: rows with facts, the facts needed to decide, the writer of new ones."""

    index: int
    stage: ShardStage
    covered: BoolArray
    needs: dict[str, int] = field(default_factory=dict)  # places of the stages whose facts it is given, by name
    handed: dict[str, pa.Array] = field(default_factory=dict)  # its facts of the batch that others are given
    rows: npt.NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    table: pa.Table | None = None
    writer: Writer | None = None
    documents: int = 0  # annotated, and the seconds that took
    seconds: float = 0.0
    from_device: int = 0  # documents whose text was brought to the host though it lay on a device


ANNOTATE = per_bundle("annotate", Growth(quantity=Quantity.TEXT_BYTES))


def annotate(run: Run, number: int, within: share.Round | None = None) -> dict[str, Any]:
    """Write the missing facts of bundle `number`; return counts (documents, bytes, annotated, parts).

    within : the round of this bundle, by which a worker with a GPU tells whether its host may do it alone.
    """
    begin = time.perf_counter()
    bundle = run.manifest.bundles[number]
    counts: dict[str, Any] = {"documents": bundle.rows, "bytes": 0, "annotated": 0, "parts": {}}
    tracks = tracks_of(run, bundle, (i for i in range(len(run.stages)) if not run.deferred(i)))
    every = np.ones(bundle.rows, np.bool_)
    if all(t.table is not None for t in tracks) and not len(missing(tracks, every)):
        return counts
    with contextlib.ExitStack() as stack:
        counts |= stack.enter_context(_side(run, tracks, number, within))
        for track in tracks:
            if track.table is None or not track.covered.all():
                sidecars = run.facts(track.stage)
                writing = sidecars.writer(bundle, run.reading(bundle.dataset), track.stage.schema)
                track.writer = stack.enter_context(writing)
        on_device = device_reader.possible([track.stage for track in tracks], run.on_error)
        names = ["text", "id", "url", *columns_of(tracks)]
        for offset, batch in read_bundle(run, bundle, names, on_device=on_device):
            counts["bytes"] += batch.text.nbytes
            place = np.arange(offset, offset + batch.table.num_rows)
            counts["annotated"] += annotate_batch(run, tracks, place, batch)
    return {**counts, "parts": _parts(tracks, time.perf_counter() - begin)}


@contextlib.contextmanager
def _side(run: Run, tracks: list[Track], number: int, within: share.Round | None) -> Iterator[dict[str, int]]:
    """Choose device or host for the bundle that is done in this block; yield it as a count, none without a device."""
    if backend.current() != "gpu":
        yield {}
    elif within is None or any(track.stage.neural for track in tracks):
        yield {"bundles_on_gpu": 1}
    else:
        bundle = run.manifest.bundles[number]
        left = run.manifest.bundles_between(bundle.dataset, number + 1, within.stop)
        with share.side(within, bundle.dataset, number, left, bundle.rows) as host:
            yield {"bundles_on_cores" if host else "bundles_on_gpu": 1}


def _parts(tracks: list[Track], seconds: float) -> dict[str, dict[str, float]]:
    """Return documents and seconds per stage; seconds that no other stage took are those of `read`."""
    parts: dict[str, dict[str, float]] = {
        t.stage.name: {"documents": t.documents, "seconds": t.seconds, "from_device": t.from_device} for t in tracks
    }
    others = sum(t.seconds for t in tracks[1:])
    parts[tracks[0].stage.name]["seconds"] = max(0.0, seconds - others)
    return parts


def tracks_of(run: Run, bundle: Bundle, indexes: Iterable[int]) -> list[Track]:
    """Return a track for each of these stages that is a ShardStage and applies to the bundle's dataset."""
    chosen = {i: s for i in indexes if isinstance(s := run.stages[i], ShardStage) and s.applies_to(bundle.dataset)}
    needs = {i: run.facts_from(i) for i in chosen}
    wanted: dict[int, set[str]] = {}
    for names in needs.values():
        for name, place in names.items():
            wanted.setdefault(place, set()).add(name)
    return [_track(run, bundle, i, s, needs[i], wanted.get(i, set())) for i, s in chosen.items()]


def _track(
    run: Run, bundle: Bundle, index: int, stage: ShardStage, needs: dict[str, int], handed: Iterable[str]
) -> Track:
    """Return the track of one stage; handed: its facts that later stages are given."""
    sidecars = run.facts(stage)
    reading = run.reading(bundle.dataset)
    track = Track(index, stage, np.zeros(bundle.rows, np.bool_), needs, dict.fromkeys(handed))
    every = stage.drops or stage.hands_on_text or track.handed
    table = sidecars.read_if_there(bundle, reading, None if every else [])
    if table is not None:
        track.rows = table.column("row").to_numpy()
        track.table = table
        track.covered[track.rows] = True
    return track


def missing(tracks: list[Track], among: BoolArray) -> npt.NDArray[np.int64]:
    """Return the bundle rows that a stage must annotate and has no facts of, ascending; reads no text."""
    live, found = among.copy(), np.zeros(len(among), np.bool_)
    for track in tracks:
        known = live & track.covered
        found |= live & ~known
        if track.stage.drops and track.table is not None:
            rows = np.flatnonzero(known)
            facts = expand(track.rows, track.table, rows, track.stage.name)
            live[rows[track.stage.decide(facts).dropped]] = False
    return np.flatnonzero(found)


def columns_of(tracks: list[Track]) -> list[str]:
    """Return the input columns that these stages read besides text, id and url."""
    names = dict.fromkeys(c for track in tracks for c in track.stage.columns())
    return [name for name in names if name not in ("text", "id", "url")]


def read_bundle(
    run: Run, bundle: Bundle, columns: list[str], *, on_device: bool = False
) -> Iterator[tuple[int, Batch]]:
    """Yield (first bundle row, batch) over the pieces of a bundle, problems handled as the recipe says.

    on_device: texts may lie on the device, see device_reader.py.

    Raises ShardError where a file is not as long as it was when it was frozen: that is no unreadable input.
    """
    offset = 0
    dataset = run.dataset(bundle.dataset)
    listed = storage.names(quarantined.folder_of(run.root)) if run.on_error == "quarantine" else set()
    for piece in bundle.pieces:
        if f"{quarantined.lost_name(piece)}.jsonl" in listed:
            for batch in _unreadable(piece, columns):
                yield offset + batch.start - piece.start, batch
            offset += piece.rows
            continue
        problems: list[Problem] = []
        copy = staged(run, piece.shard)
        reader = device_reader.read if on_device else _on_host
        for batch in as_frozen(dataset, piece.shard, copy, reader(dataset, piece, columns, copy)):
            problems.extend(batch.problems)
            if problems and run.on_error == "stop":
                raise _stop(problems[0], piece.shard.dataset)
            if run.on_error == "stop":
                _check_status(batch, piece.shard.path)
            yield offset + batch.start - piece.start, batch
        name = quarantined.piece_name(piece)
        if problems:
            quarantined.write_problems(run.root, name, problems)
        elif f"{name}.jsonl" in listed:  # of the piece as it was cut before
            storage.remove_files([storage.join(quarantined.folder_of(run.root), f"{name}.jsonl")])
        offset += piece.rows


def _on_host(dataset: Dataset, piece: Piece, columns: list[str], copy: str | None) -> Iterator[Batch]:
    return read_piece(dataset, piece, columns, path=copy)


def _unreadable(piece: Piece, columns: list[str]) -> Iterator[Batch]:
    empty = pa.schema([(n, pa.large_string() if n in ("text", "id", "url") else pa.null()) for n in columns])
    return unreadable_batches(piece.shard.ordinal, range(piece.start, piece.stop), empty, ReadStatus.UNREADABLE, None)


def try_piece(run: Run, number: int, position: int) -> None:
    """Annotate one piece of a bundle and discard the facts: a probe for input that kills its worker."""
    bundle = run.manifest.bundles[number]
    bundle = dataclasses.replace(bundle, pieces=bundle.pieces[position : position + 1])
    tracks = tracks_of(run, bundle, (i for i in range(len(run.stages)) if not run.deferred(i)))
    for offset, batch in read_bundle(run, bundle, ["text", "id", "url", *columns_of(tracks)]):
        annotate_batch(run, tracks, np.arange(offset, offset + batch.table.num_rows), batch)


def read_rows(
    run: Run, bundle: Bundle, rows: npt.NDArray[np.int64], columns: list[str], *, compared: bool = False
) -> Iterator[tuple[Batch, npt.NDArray[np.int64]]]:
    """Yield (batch, positions in `rows`) of these bundle rows; skips what holds none of them.

    Where the backend is gpu, the device reads the texts, and only those of these rows are copied to the host.

    rows : ascending, each once. Raises LedgerError where they are not.
    compared : the caller gives every batch to `check_texts` before it uses the texts, which are of usable documents;
        so nothing else is asked of them.
    """
    check_ascending(rows, f"rows to be read of bundle {bundle.number} of {bundle.dataset}")
    dataset = run.dataset(bundle.dataset)
    gather = device_reader.gather if device_reader.reads_again(run.on_error) else None
    offset = 0
    for piece in bundle.pieces:
        first, last = np.searchsorted(rows, [offset, offset + piece.rows])
        if last > first:
            wanted = rows[first:last] - offset + piece.start
            copy = staged(run, piece.shard)
            for batch in read_piece(dataset, piece, columns, path=copy, rows=wanted, gather=gather, compared=compared):
                yield batch, first + np.searchsorted(wanted, batch.rows)
        offset += piece.rows


def check_texts(view: View, rows: npt.NDArray[np.int64], table: pa.Table) -> None:
    """Raise LedgerError where the text of a bundle row does not have the content hash in its facts."""
    h1, h2 = content_hash(*buffers(whole(table.column("text"))))
    read = view.read
    wrong = (h1 != array(read, "h1")[rows]) | (h2 != array(read, "h2")[rows])
    if wrong.any():
        doc = int(view.doc_ids[rows[np.flatnonzero(wrong)[0]]])
        shard = view.run.manifest.shard(doc >> 32)
        raise LedgerError(
            f"{shard.path}, row {doc & 0xFFFFFFFF}: the text is not the one that was judged; the file changed during "
            "the run. Run again with --refresh."
        )


def staged(run: Run, shard: Shard) -> str | None:
    """Return the Parquet copy of a compressed input, made again if it is gone or damaged; None for other inputs."""
    path = run.staged_path(shard)
    if path and not _is_whole(path):
        kind = shard.format or None
        stage_compressed(run.dataset(shard.dataset), shard.path, path, run.wanted(shard.dataset), kind=kind)
    return path


def _is_whole(path: str) -> bool:
    """Tell whether a staged copy is there; a local one is checked from end to end, once per process."""
    if not storage.is_local(path):
        return storage.exists(path)
    try:
        check_file(path)
    except (FileNotFoundError, DamagedError):
        return False
    return True


def _stop(problem: Problem, dataset: str) -> ShardError:
    place = f"row {problem.row}" if problem.row is not None else "the file"
    return ShardError(
        f"{problem.path} (dataset {dataset}), {place}: {problem.error}. "
        "Repair or remove it, or set `on_error: quarantine` in the recipe to count it and go on."
    )


def _check_status(batch: Batch, path: str) -> None:
    for status in ReadStatus:
        if status.bad and (at := np.flatnonzero(batch.status == status)).size:
            raise _stop(Problem(path, batch.start + int(at[0]), None, status.reason), "")


def annotate_batch(run: Run, tracks: list[Track], place: npt.NDArray[np.int64], batch: Batch) -> int:
    """Annotate one batch by every stage in recipe order; return the number of documents annotated.

    place : bundle row of each row of the batch.
    """
    live = np.ones(len(place), np.bool_)
    count = 0
    for track in tracks:
        begin, before = time.perf_counter(), brought()
        need = live & ~track.covered[place]
        fresh, where = _annotate(run, track, batch, need, tracks)
        count += len(where)
        if track.writer is not None and len(where):
            track.writer.append(place[where], fresh)
        if track.stage.drops or track.handed:
            at = np.flatnonzero(live)
            facts = _joined(track, fresh, where, at, place)
            _hand_on(track, facts, at, len(place))
            live[at[track.stage.decide(facts).dropped]] = False
        if track.stage.hands_on_text:
            batch = _rewritten(track, fresh, where, np.flatnonzero(live), place, batch)
        track.documents += len(where)
        track.seconds += time.perf_counter() - begin
        track.from_device += brought() - before
    return count


def _hand_on(track: Track, facts: pa.Table, at: npt.NDArray[np.int64], rows: int) -> None:
    """Keep the facts of batch rows `at` that later stages are given; null for the other rows of the batch."""
    if not track.handed:
        return
    place = np.full(rows, -1, np.int64)
    place[at] = np.arange(len(at))
    index = pa.array(place, mask=place < 0)
    for name in track.handed:
        track.handed[name] = whole(facts.column(name)).take(index)


def _with_needed(track: Track, tracks: list[Track], documents: pa.Table) -> pa.Table:
    """Return a batch's documents with the facts of earlier stages that this one needs, as columns fact:NAME."""
    for name, place in track.needs.items():
        source = next(other for other in tracks if other.index == place)
        documents = documents.append_column(f"fact:{name}", source.handed[name])
    return documents


def _annotate(
    run: Run, track: Track, batch: Batch, need: BoolArray, tracks: list[Track]
) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    """Return (new facts, batch rows they belong to)."""
    where = np.flatnonzero(need)
    if track.index == 0:
        facts = read_stage(run).facts_of(batch, null_ids=_null_ids(run, batch))
        return (facts if need.all() else facts.take(pa.array(where))), where
    if not len(where):
        return track.stage.schema.empty_table(), where
    documents = batch.documents(track.stage.columns())
    if track.needs:
        documents = _with_needed(track, tracks, documents)
    if not need.all():
        with kernel_times.timed("gather_texts"):
            documents = documents.take(pa.array(where))
    facts = track.stage.annotate(documents)
    if len(facts) != len(where):
        raise RecipeError(
            f"annotate of stage {track.stage.name} gave {len(facts)} rows for {len(where)} documents; it must give one "
            "row per document, in order."
        )
    return facts.select(track.stage.schema.names).cast(track.stage.schema), where


def _rewritten(
    track: Track,
    fresh: pa.Table,
    where: npt.NDArray[np.int64],
    at: npt.NDArray[np.int64],
    place: npt.NDArray[np.int64],
    batch: Batch,
) -> Batch:
    """Return the batch with the edits of this stage applied to rows `at`, for the stages after it."""
    kept = np.isin(where, at)
    facts = _joined(track, fresh.filter(pa.array(kept)), where[kept], at, place)
    edits = merge([track.stage.edits(facts)]).numbered(at)
    column = batch.table.schema.get_field_index("text")
    text = apply(whole(batch.table.column("text")), edits)
    return dataclasses.replace(batch, table=batch.table.set_column(column, "text", text))


def _null_ids(run: Run, batch: Batch) -> bool:
    """Tell whether documents without an id get the digest of their text."""
    dataset = run.manifest.shard(batch.ordinal).dataset if batch.ordinal is not None else ""
    return any(d.columns.null_ids is not None for d in run.datasets if d.name == dataset)


def _joined(
    track: Track,
    fresh: pa.Table,
    where: npt.NDArray[np.int64],
    at: npt.NDArray[np.int64],
    place: npt.NDArray[np.int64],
) -> pa.Table:
    """Return the facts of batch rows `at`, joined from stored and fresh ones."""
    if len(where) == len(at):
        return fresh
    old = at[~np.isin(at, where)]
    assert track.table is not None
    known = expand(track.rows, track.table, place[old], track.stage.name).select(fresh.schema.names)
    order = np.argsort(np.concatenate([where, old]), kind="stable")
    return pa.concat_tables([fresh, known.cast(fresh.schema)]).take(pa.array(order))
