"""`winnow clean`: remove from a run folder what the recipe in recipe.lock.yaml no longer uses.

Guarantees: the facts and decisions of the locked recipe, the ledger, the mix and the report stay.
"""

from __future__ import annotations

from cluster import storage
from pipelines.ledger_records import records_of
from pipelines.mix.cell_changes import notes_folder
from pipelines.mix.dropped import FOLDER
from pipelines.mix.job import mix_job
from pipelines.recipe.to_run import Prepared
from pipelines.run.scratch import BOOTS
from pipelines.run_state import only_one, reopen
from stages.core.exchange_stage import ExchangeStage
from stages.core.run import Run
from stages.core.stage import ShardStage
from stages.outcome.copy_numbers import copies_folder
from stages.outcome.draw import Draw
from stages.outcome.holdout_groups import groups_folder
from stages.outcome.lineage import lineage_digest

ALWAYS = {"types", "numberings", "bundles.json", "inputs.json", "options.json", "annotated.json"} | {
    *("ledger-made-by", "ledger-made-from.json", "ledger-recipe.lock.yaml", "report-made-from", "card-made-from")
}


def clean_run(run_dir: str, *, dry_run: bool = False) -> list[str]:
    """Remove stale sidecars, exchange files and unfinished files; return their paths.

    dry_run : remove nothing, only say what would go.

    Raises RecipeError where a run is going on in the folder: what is unfinished is in use.
    """
    prepared = reopen(run_dir)
    if dry_run:
        return _unused(prepared)
    with only_one(prepared.run.root):
        stale = _unused(prepared)
        for path in stale:
            _remove(path)
    return stale


def _remove(path: str) -> None:
    """Remove a file or folder; of a folder behind a link, as the exchange may be on a larger disk, what winnow made."""
    if storage.is_link(path):
        for name in sorted(storage.names(path)):
            storage.remove(storage.join(path, name))
    else:
        storage.remove(path)


def _unused(prepared: Prepared) -> list[str]:
    """Return what the run does not need."""
    run = prepared.run
    live = _live(run) | {mix_job(prepared, Draw(mix=mix)).records for mix in prepared.mixes}
    live.add(groups_folder(run, prepared.mix))
    live |= {storage.join(notes_folder(run.root), name) for name in storage.names(notes_folder(run.root))}
    stale = [*_stale(run, live), *_stale_staged(run), *_temporary(run.root)]
    if not prepared.dropped and storage.exists(unwanted := storage.join(run.root, FOLDER)):
        stale.append(unwanted)
    exchange = storage.join(run.root, "exchange")
    if storage.names(exchange) - {BOOTS} or (storage.exists(exchange) and not storage.is_link(exchange)):
        stale.append(exchange)
    return stale


def _live(run: Run) -> set[str]:
    """Return the sidecar folders that the run uses."""
    live = {storage.join(run.root, "decisions", "lineage", lineage_digest(run)), records_of(run.root) or ""}
    live.add(copies_folder(run))
    for index, stage in enumerate(run.stages):
        if isinstance(stage, ShardStage):
            live.add(run.facts(stage).folder)
        if isinstance(stage, ExchangeStage) or run.deferred(index):
            live.add(run.decisions(index).folder)
    near = storage.join(run.root, "facts", "near_dedup")
    return live | {storage.join(near, name) for name in storage.names(near)}  # verified pairs serve any threshold


def _stale(run: Run, live: set[str]) -> list[str]:
    found = []
    for kind in ("facts", "decisions"):
        root = storage.join(run.root, kind)
        for stage in sorted(storage.names(root) - ALWAYS):
            for address in sorted(storage.names(storage.join(root, stage))):
                path = storage.join(root, stage, address)
                if path not in live:
                    found.append(path)
    return found


def _stale_staged(run: Run) -> list[str]:
    """Return staged copies that no live shard uses."""
    wanted = {run.staged_path(shard) for shard in run.manifest.live_shards}
    root = storage.join(run.root, "staged")
    paths = [
        storage.join(root, d, name)
        for d in sorted(storage.names(root))
        for name in sorted(storage.names(storage.join(root, d)))
    ]
    return [path for path in paths if path not in wanted]


def _temporary(root: str) -> list[str]:
    """Return unfinished files of interrupted runs (on a mounted file system)."""
    if not storage.is_local(root):
        return []
    import os

    return sorted(
        os.path.join(folder, name)
        for folder, _, names in os.walk(storage.local_path(root))
        for name in names
        if name.startswith(storage.TEMPORARY)
    )
