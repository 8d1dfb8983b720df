"""Quarantine of shards that kill their worker or hang, with `on_error: quarantine`.

The shards of a lost bundle are read again one at a time, alone on the cluster, since a task that merely shared
a worker with a killer is blamed as well. Guarantees: only a shard that was lost twice is quarantined; its rows are
unreadable in the ledger, counted and listed under RUN/quarantine, and later runs of the folder do not try them again.
"""

from __future__ import annotations

from functools import partial

from cluster import storage
from cluster.engines import Engine
from cluster.errors import LostTaskError
from stages.core.run import Run
from stages.inputs.batches import Problem
from stages.passes.annotate import ANNOTATE, annotate, try_piece
from stages.passes.quarantined import folder_of, lost_name, write_problems


def annotate_all(engine: Engine, run: Run) -> None:
    """Annotate every bundle; a shard that kills workers stops the run or is quarantined, by `on_error`.

    Raises LostTaskError if on_error is "stop", or if no shard of the lost bundle does it alone.
    """
    while True:
        try:
            engine.map(partial(annotate, run), range(len(run.manifest.bundles)), cost=ANNOTATE)
            return
        except LostTaskError as error:
            if run.on_error == "stop" or not quarantine_killer_shards(engine, run, error):
                raise


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
            engine.map(partial(try_piece, run, error.index), [position], cost=ANNOTATE)
        except LostTaskError as again:
            what = f"rows {piece.start} to {piece.stop - 1} are given up: {again}"
            write_problems(run.root, lost_name(piece), [Problem(piece.shard.path, None, None, what)])
            found = True
    return found
