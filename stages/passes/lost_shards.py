"""Quarantine of shards that kill their worker or hang, with `on_error: quarantine`.

The shards of a lost bundle are read again one at a time, alone on the cluster, since a task that merely shared
a worker with a killer is blamed as well. Guarantees: only a shard that was lost twice is quarantined; its rows are
unreadable in the ledger, counted and listed under RUN/quarantine, and later runs of the folder do not try them again.
"""

from __future__ import annotations

from functools import partial

from cluster import storage
from cluster.engines import Engine
from cluster.errors import DamagedError, LostTaskError
from cluster.sealed import read_json, write_json
from stages.core.digests import digest
from stages.core.run import Run
from stages.core.stage import ShardStage
from stages.inputs.batches import Problem
from stages.passes.annotate import ANNOTATE, annotate, try_piece
from stages.passes.quarantined import folder_of, lost_name, write_problems


def annotate_all(engine: Engine, run: Run) -> None:
    """Annotate every bundle; a shard that kills workers stops the run or is quarantined, by `on_error`.

    Where the last run did so for the same stages and inputs, and its sidecars are all there, none is opened: one
    listing of the facts of each stage tells.

    Raises LostTaskError if on_error is "stop", or if no shard of the lost bundle does it alone.
    """
    if _noted(run) == _state(run):
        return
    while True:
        try:
            engine.map(
                partial(annotate, run), range(len(run.manifest.bundles)), cost=ANNOTATE, on_device=_on_device(run)
            )
            write_json(_note_path(run), _state(run))
            return
        except LostTaskError as error:
            if run.on_error == "stop" or not quarantine_killer_shards(engine, run, error):
                raise


def _on_device(run: Run) -> bool:
    """Tell whether a stage of the first read computes with a neural model."""
    return any(
        isinstance(stage, ShardStage) and stage.neural and not run.deferred(index)
        for index, stage in enumerate(run.stages)
    )


def _note_path(run: Run) -> str:
    return storage.join(run.root, "facts", "annotated.json")


def _noted(run: Run) -> str | None:
    """Return the state of the facts after the last first read; None where nothing can be read of it."""
    try:
        return str(read_json(_note_path(run)))
    except (FileNotFoundError, DamagedError):
        return None


def _state(run: Run) -> str:
    """Return the digest of what the first read depends on, and of the names of the sidecars that it wrote."""
    stages = [s for i, s in enumerate(run.stages) if isinstance(s, ShardStage) and not run.deferred(i)]
    names = [sorted(storage.names(run.facts(stage).folder)) for stage in stages]
    readings = [run.reading(d.name) for d in run.datasets]
    how = [run.on_error, sorted(storage.names(folder_of(run.root)))]
    return digest(run.manifest_digest, [s.digest() for s in run.stages], readings, names, how)


def quarantine_killer_shards(engine: Engine, run: Run, error: LostTaskError) -> bool:
    """Quarantine the shards of a lost bundle that kill their worker alone too; return whether there are any."""
    bundle = run.manifest.bundles[error.index]
    if run.facts(run.stages[0]).parts(bundle, run.reading(bundle.dataset)):
        return False  # it was read before: a stage is at fault
    found, before = False, storage.names(folder_of(run.root))
    for position, piece in enumerate(bundle.pieces):
        if f"{lost_name(piece)}.jsonl" in before:
            continue
        try:
            engine.map(partial(try_piece, run, error.index), [position], cost=ANNOTATE, on_device=_on_device(run))
        except LostTaskError as again:
            what = f"rows {piece.start} to {piece.stop - 1} are given up: {again}"
            write_problems(run.root, lost_name(piece), [Problem(piece.shard.path, None, None, what)])
            found = True
    return found
