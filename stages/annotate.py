"""One read of a bundle, every fact that is still missing.

All ShardStages of a recipe are fused into this read: each one annotates the rows that the ShardStages
before it leave alive, and only those its sidecar does not cover yet. Memory: one batch of text, the
facts that `decide` needs of one bundle. Running it twice reads no text the second time.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster import storage
from cluster.errors import ShardError
from stages import device_reading
from stages.base import BoolArray, ShardStage
from stages.discover import size_of
from stages.reading import Batch, Problem, ReadStatus, read_piece, stage_compressed
from stages.run import Run, View, filters_rows, read_stage
from stages.shard import Bundle, Shard
from stages.sidecar import Writer, expand


@dataclass
class _Track:
    """One stage during the pass: what is covered, what facts are known, where new ones go."""

    index: int
    stage: ShardStage
    covered: BoolArray
    rows: npt.NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    table: pa.Table | None = None
    writer: Writer | None = None
    documents: int = 0  # annotated, and the seconds that took
    seconds: float = 0.0


def annotate(run: Run, number: int) -> dict[str, Any]:
    """Write the missing facts of bundle `number`; return counts (documents, bytes, annotated, parts)."""
    begin = time.perf_counter()
    bundle = run.manifest.bundles[number]
    counts: dict[str, Any] = {"documents": bundle.rows, "bytes": 0, "annotated": 0, "parts": {}}
    tracks = [_track(run, bundle, i) for i, s in enumerate(run.stages) if _takes_part(s, bundle)]
    if _complete(run, bundle, tracks):
        return counts
    with contextlib.ExitStack() as stack:
        for track in tracks:
            if track.table is None or not track.covered.all():
                sidecars = run.facts(track.stage)
                writing = sidecars.writer(bundle, run.reading(bundle.dataset), track.stage.schema)
                track.writer = stack.enter_context(writing)
        on_device = device_reading.possible([track.stage for track in tracks], run.on_error)
        for offset, batch in read_bundle(run, bundle, _columns(tracks), on_device=on_device):
            counts["bytes"] += batch.text.nbytes
            counts["annotated"] += _pass(run, tracks, offset, batch)
    return {**counts, "parts": _parts(tracks, time.perf_counter() - begin)}


def _parts(tracks: list[_Track], seconds: float) -> dict[str, dict[str, float]]:
    """Return documents and seconds per stage; what no other stage took of all seconds is reading."""
    parts = {t.stage.name: {"documents": t.documents, "seconds": t.seconds} for t in tracks}
    others = sum(t.seconds for t in tracks[1:])
    parts[tracks[0].stage.name]["seconds"] = max(0.0, seconds - others)
    return parts


def _takes_part(stage: object, bundle: Bundle) -> bool:
    return isinstance(stage, ShardStage) and stage.applies_to(bundle.dataset)


def _track(run: Run, bundle: Bundle, index: int) -> _Track:
    stage = run.stages[index]
    assert isinstance(stage, ShardStage)
    sidecars = run.facts(stage)
    reading = run.reading(bundle.dataset)
    track = _Track(index, stage, np.zeros(bundle.rows, np.bool_))
    if sidecars.parts(bundle, reading):
        table = sidecars.read(bundle, reading, None if filters_rows(stage) else [])
        track.rows = table.column("row").to_numpy()
        track.table = table
        track.covered[track.rows] = True
    return track


def _complete(run: Run, bundle: Bundle, tracks: list[_Track]) -> bool:
    """Tell, without reading text, whether every row a stage would judge is covered."""
    if tracks[0].table is None or not tracks[0].covered.all():
        return False
    live = np.ones(bundle.rows, np.bool_)
    for track in tracks:
        if track.table is None or not track.covered[live].all():
            return False
        if filters_rows(track.stage):
            rows = np.flatnonzero(live)
            facts = expand(track.rows, track.table, rows, track.stage.name)
            live[rows[track.stage.decide(facts).dropped]] = False
    return True


def _columns(tracks: list[_Track]) -> list[str]:
    names = ["text", "id", "url"]
    for track in tracks:
        names.extend(c for c in track.stage.columns() if c not in names)
    return names


def read_bundle(
    run: Run, bundle: Bundle, columns: list[str], *, on_device: bool = False
) -> Iterator[tuple[int, Batch]]:
    """Yield (first bundle row, batch) over the pieces of a bundle, problems handled as the recipe says.

    on_device: texts may lie on the device, see device_reading.py.

    Raises ShardError where a file is not as long as it was when it was frozen: that is no unreadable input.
    """
    offset = 0
    dataset = run.dataset(bundle.dataset)
    for position, piece in enumerate(bundle.pieces):
        problems: list[Problem] = []
        copy = staged(run, piece.shard)
        if copy is None:
            _check_size(piece.shard)
        straight = on_device and copy is None
        read = (
            device_reading.read(dataset, piece, columns) if straight else read_piece(dataset, piece, columns, path=copy)
        )
        for batch in read:
            problems.extend(batch.problems)
            if problems and run.on_error == "stop":
                raise _stop(problems[0], piece.shard.dataset)
            if run.on_error == "stop":
                _check_status(batch, piece.shard.path)
            yield offset + batch.start - piece.start, batch
        if problems:
            name = f"{piece.shard.ordinal}-{position}-{piece.start}"
            quarantine(run.root, name, problems)
        offset += piece.rows


def read_rows(
    run: Run, bundle: Bundle, rows: npt.NDArray[np.int64], columns: list[str]
) -> Iterator[tuple[Batch, npt.NDArray[np.int64]]]:
    """Yield (batch, positions in `rows`) of these bundle rows, which are sorted; skips what holds none of them."""
    dataset = run.dataset(bundle.dataset)
    offset = 0
    for piece in bundle.pieces:
        first, last = np.searchsorted(rows, [offset, offset + piece.rows])
        if last > first:
            wanted = rows[first:last] - offset + piece.start
            for batch in read_piece(dataset, piece, columns, path=staged(run, piece.shard), rows=wanted):
                yield batch, first + np.searchsorted(wanted, batch.rows)
        offset += piece.rows


def staged(run: Run, shard: Shard) -> str | None:
    """Return the Parquet copy of a compressed input, made again if it was deleted; None for other inputs."""
    path = run.staged_path(shard)
    if path and not storage.exists(path):
        stage_compressed(run.dataset(shard.dataset), shard.path, path, run.extra_columns)
    return path


def _check_size(shard: Shard) -> None:
    with contextlib.suppress(FileNotFoundError):  # the reader says so better
        size = size_of(shard.path)
        if size != shard.bytes:
            raise ShardError(
                f"{shard.path} (dataset {shard.dataset}) changed during the run: it had {shard.bytes:,} bytes, now "
                f"{size:,}. Bring the old file back, or run again with --refresh."
            )


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


def quarantine(root: str, name: str, problems: list[Problem]) -> None:
    """Write down what could not be read: path, row or byte offset, error."""
    lines = [
        json.dumps({"path": p.path, "row": p.row, "byte_offset": p.byte_offset, "error": p.error}) for p in problems
    ]
    storage.write_bytes(storage.join(root, "quarantine", f"{name}.jsonl"), ("\n".join(lines) + "\n").encode())


def _pass(run: Run, tracks: list[_Track], offset: int, batch: Batch) -> int:
    """Annotate one batch with every stage in turn; return how many documents were annotated."""
    rows = batch.table.num_rows
    live = np.ones(rows, np.bool_)
    count = 0
    for track in tracks:
        begin = time.perf_counter()
        need = live & ~track.covered[offset : offset + rows]
        fresh, where = _annotate(run, track, batch, need)
        count += len(where)
        if track.writer is not None and len(where):
            track.writer.append(where + offset, fresh)
        if filters_rows(track.stage):
            at = np.flatnonzero(live)
            decisions = track.stage.decide(_joined(track, fresh, where, at, offset))
            live[at[decisions.dropped]] = False
        track.documents += len(where)
        track.seconds += time.perf_counter() - begin
    return count


def _annotate(run: Run, track: _Track, batch: Batch, need: BoolArray) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    """Return new facts and the batch rows they are for."""
    where = np.flatnonzero(need)
    if track.index == 0:
        facts = read_stage(run).facts_of(batch)
        return (facts if need.all() else facts.take(pa.array(where))), where
    if not len(where):
        return track.stage.schema.empty_table(), where
    documents = batch.documents(track.stage.columns())
    facts = track.stage.annotate(documents if need.all() else documents.take(pa.array(where)))
    return facts.select(track.stage.schema.names).cast(track.stage.schema), where


def _joined(
    track: _Track, fresh: pa.Table, where: npt.NDArray[np.int64], at: npt.NDArray[np.int64], offset: int
) -> pa.Table:
    """Return the facts of batch rows `at`, out of the old ones and the fresh ones."""
    if len(where) == len(at):
        return fresh
    old = at[~np.isin(at, where)]
    assert track.table is not None
    known = expand(track.rows, track.table, old + offset, track.stage.name).select(fresh.schema.names)
    order = np.argsort(np.concatenate([where, old]), kind="stable")
    return pa.concat_tables([fresh, known.cast(fresh.schema)]).take(pa.array(order))


def view(run: Run, number: int) -> View:
    """Return the view of bundle `number`."""
    return View(run, run.manifest.bundles[number])
