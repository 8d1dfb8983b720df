"""What a finished run folder lacks: files that no list names, since each is found by its name alone.

Guarantees: nothing is written or imported from the folder; where the recipe cannot be opened, or what it says is stale,
only what is told without it is looked for. Memory: the names in one folder of sidecars.
"""

from __future__ import annotations

from collections.abc import Iterator

from cluster import storage
from cluster.errors import WinnowError
from pipelines.recipe.to_run import Prepared
from pipelines.run_state import LOCK, mix_root, reopen, stage_progress
from pipelines.staleness import ledger_mark, stale_sources
from stages.core.exchange_stage import ExchangeStage
from stages.core.manifest import manifest_path
from stages.core.stage import ShardStage

Missing = tuple[str, str]  # path below the run folder, and what is missing there


def missing_files(root: str) -> Iterator[Missing]:
    """Yield what is missing of a run folder."""
    for path in (manifest_path(root), storage.join(root, LOCK)):
        if not storage.exists(path):
            yield path.removeprefix(f"{root}/"), "it is missing"
    if not storage.exists(ledger_mark(root)) and storage.names(storage.join(root, "ledger")):
        yield ledger_mark(root).removeprefix(f"{root}/"), "it is missing"
    try:
        prepared = reopen(root)
        stale = {part["what"] for part in stale_sources(root)}
    except (WinnowError, OSError):
        return
    yield from _mixes(prepared)
    if not stale:
        yield from _sidecars(prepared)


def _mixes(prepared: Prepared) -> Iterator[Missing]:
    """Yield the manifests of mixes of which there is something else."""
    root = prepared.run.root
    for mix in prepared.mixes:
        folder = mix_root(root, mix.name)
        names = storage.names(folder)
        for name in ("manifest.json", ".made-by"):
            if names and name not in names:
                yield f"{folder}/{name}".removeprefix(f"{root}/"), "it is missing"


def _sidecars(prepared: Prepared) -> Iterator[Missing]:
    """Yield the folders of sidecars that lack some, of stages that a finished ledger rests on."""
    run = prepared.run
    for index, stage in enumerate(run.stages):
        done, bundles = stage_progress(run, index)
        if done >= bundles or (isinstance(stage, ExchangeStage) and stage.hidden):
            continue
        sidecars = run.facts(stage) if isinstance(stage, ShardStage) else run.decisions(index)
        yield sidecars.folder.removeprefix(f"{run.root}/"), f"{bundles - done:,} of {bundles:,} files are missing"
