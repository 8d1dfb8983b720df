"""`winnow status`: what of a run is done, from what lies in its folder."""

from __future__ import annotations

from typing import cast

from rich.console import Group
from rich.table import Table
from rich.text import Text
from typing_extensions import TypedDict

from cluster import storage
from cluster.sealed import read_public_json
from pipelines.artefacts import MixManifest
from pipelines.run_state import reopen
from pipelines.shown_text import visible
from stages.core.exchange_stage import ExchangeStage, is_complete
from stages.core.run import Run, StageRun
from stages.core.stage import ShardStage
from stages.passes import judge_later


class Done(TypedDict):
    """How many are done of how many."""

    done: int
    of: int


class StageDone(Done):
    """Bundles that a stage has judged."""

    stage: str


class MixWritten(TypedDict):
    """What the mix holds."""

    documents: int
    tokens: int
    bytes: int


class Status(TypedDict):
    """What of a run is done. mix: None while it is not written."""

    run: str
    recipe: str
    documents: int
    shards: int
    stages: list[StageDone]
    ledger: Done
    mix: MixWritten | None


def status_of_run(run_dir: str) -> Status:
    """Return counts of what is done and what there is to do, per stage. Raises RecipeError if it is no run folder."""
    prepared = reopen(run_dir)
    run = prepared.run
    bundles = run.manifest.bundles
    stages: list[StageDone] = []
    for index, stage in enumerate(run.stages):
        if isinstance(stage, ExchangeStage) and stage.hidden:
            continue
        mine = [b for b in bundles if stage.applies_to(b.dataset)]
        if isinstance(stage, ExchangeStage):
            done = len(mine) if is_complete(StageRun(run, index)) else 0
        else:
            assert isinstance(stage, ShardStage)
            judged = not run.deferred(index) or judge_later.is_resolved(StageRun(run, index))
            have = storage.names(run.facts(stage).folder) if judged else set()
            done = sum(f"{b.number}-{b.fingerprint}{run.reading(b.dataset)}.arrow" in have for b in mine)
        stages.append({"stage": stage.name, "done": done, "of": len(mine)})
    ledger = len(storage.names(storage.join(run.root, "ledger")))
    return {
        "run": run.root,
        "recipe": prepared.name,
        "documents": run.manifest.rows(),
        "shards": len(run.manifest.live_shards),
        "stages": stages,
        "ledger": {"done": ledger, "of": len(run.manifest.live_shards)},
        "mix": _mix(run),
    }


def _mix(run: Run) -> MixWritten | None:
    path = storage.join(run.root, "mix", "manifest.json")
    if not storage.exists(path):
        return None
    manifest = cast(MixManifest, read_public_json(path))
    datasets = manifest["datasets"].values()
    return {
        "documents": sum(d["documents"] for d in datasets),
        "tokens": sum(d["tokens"] for d in datasets),
        "bytes": sum(d["bytes"] for d in datasets),
    }


def render_status(found: Status) -> Group:
    """Return a status for the terminal: a line and a table."""
    title = f"{found['recipe']} in {found['run']}: {found['documents']:,} documents in {found['shards']:,} shards"
    table = Table()
    table.add_column("stage")
    table.add_column("bundles done", justify="right")
    for entry in found["stages"]:
        table.add_row(entry["stage"], f"{entry['done']:,} of {entry['of']:,}")
    table.add_row("ledger (shards)", f"{found['ledger']['done']:,} of {found['ledger']['of']:,}")
    mix = found["mix"]
    table.add_row("mix", f"{mix['documents']:,} documents, {mix['tokens']:,} tokens" if mix else "not written")
    return Group(Text(visible(title)), table)
