"""Quarantine of shards that kill their worker or hang, with `on_error: quarantine`.

The shards of a lost bundle are read again one at a time, alone on the cluster, since a task that merely shared
a worker with a killer is blamed as well. Guarantees: only a shard that was lost twice is quarantined; its rows are
unreadable in the ledger, counted and listed under RUN/quarantine, and later runs of the folder do not try them again.
"""

from __future__ import annotations

from functools import partial

from cluster import storage
from cluster.device.share import Round
from cluster.engines import Engine
from cluster.errors import DamagedError, LostTaskError
from cluster.files.sealed import read_json, write_json
from stages.core.digests import digest
from stages.core.run import Run
from stages.core.shard import Bundle
from stages.core.stage import ShardStage
from stages.inputs.batches import Problem
from stages.passes.annotate import ANNOTATE, annotate, try_piece
from stages.passes.quarantined import folder_of, lost_name, write_problems


def annotate_all(engine: Engine, run: Run) -> None:
    """Annotate every bundle; a shard that kills workers stops the run or is quarantined, by `on_error`.

    Bundles that the last run annotated for the same stages, and whose sidecars are all there, are not opened: one
    listing of the facts of each stage tells.

    Raises LostTaskError if on_error is "stop", or if no shard of the lost bundle does it alone.
    """
    noted, there = _noted(run), _sidecars(run)
    stems = [_stem(run, bundle) for bundle in run.manifest.bundles]
    todo = [position for position, stem in enumerate(stems) if noted.get(stem, "") != there.get(stem)]
    while todo:
        try:
            engine.map(partial(annotate, run, within=Round.over(todo)), todo, cost=ANNOTATE, on_device=_on_device(run))
            break
        except LostTaskError as error:
            if run.on_error == "stop" or not quarantine_killer_shards(engine, run, error, todo[error.index]):
                raise
    if todo:
        write_json(_note_path(run), {"how": _how(run), "bundles": _sidecars(run)})


def _on_device(run: Run) -> bool:
    """Tell whether a stage of the first read computes with a neural model."""
    return any(stage.neural for stage in _annotating(run))


def _note_path(run: Run) -> str:
    return storage.join(run.root, "facts", "annotated.json")


def _noted(run: Run) -> dict[str, str]:
    """Return which sidecars each bundle had after the last first read; nothing if it was for other stages."""
    try:
        found = read_json(_note_path(run))
        return dict(found["bundles"]) if found["how"] == _how(run) else {}
    except (FileNotFoundError, DamagedError, KeyError, TypeError, ValueError):
        return {}


def _how(run: Run) -> str:
    """Return the digest of what the first read of a bundle depends on besides its content."""
    listed = sorted(storage.names(folder_of(run.root)))
    return digest([s.digest() for s in run.stages], [s.name for s in _annotating(run)], run.on_error, listed)


def _annotating(run: Run) -> list[ShardStage]:
    return [s for i, s in enumerate(run.stages) if isinstance(s, ShardStage) and not run.deferred(i)]


def _sidecars(run: Run) -> dict[str, str]:
    """Return a digest of the sidecars of each bundle of the run that has some, by the beginning of their names."""
    found: dict[str, list[tuple[str, str]]] = {_stem(run, bundle): [] for bundle in run.manifest.bundles}
    for stage in _annotating(run):
        folder = run.facts(stage).folder
        for name in sorted(storage.names(folder)):
            if (stem := name.partition(".")[0]) in found:
                found[stem].append((folder.removeprefix(run.root), name))
    return {stem: digest(names) for stem, names in found.items() if names}


def _stem(run: Run, bundle: Bundle) -> str:
    return f"{bundle.number}-{bundle.fingerprint}{run.reading(bundle.dataset)}"


def quarantine_killer_shards(engine: Engine, run: Run, error: LostTaskError, number: int) -> bool:
    """Quarantine the shards of a lost bundle that kill their worker alone too; return whether there are any.

    number : the bundle's position.
    """
    bundle = run.manifest.bundles[number]
    if run.facts(run.stages[0]).parts(bundle, run.reading(bundle.dataset)):
        return False  # it was read before: a stage is at fault
    found, before = False, storage.names(folder_of(run.root))
    for position, piece in enumerate(bundle.pieces):
        if f"{lost_name(piece)}.jsonl" in before:
            continue
        try:
            engine.map(partial(try_piece, run, number), [position], cost=ANNOTATE, on_device=_on_device(run))
        except LostTaskError as again:
            what = f"rows {piece.start} to {piece.stop - 1} are given up: {again}"
            write_problems(run.root, lost_name(piece), [Problem(piece.shard.path, None, None, what)])
            found = True
    return found
