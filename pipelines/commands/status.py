"""`winnow status`: what of a run is done, from what lies in its folder."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text
from typing_extensions import TypedDict

from cluster import storage
from pipelines.recipe.to_run import Prepared
from pipelines.records import read_mix_manifest
from pipelines.run_state import from_home, mix_root, reopen, stage_progress
from pipelines.shown_text import visible
from pipelines.staleness import Stale, stale_parts
from stages.core.exchange_stage import ExchangeStage


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
    """What of a run is done. mix: None while it is not written; stale: what of it is not up to date."""

    run: str
    recipe: str
    documents: int
    shards: int
    stages: list[StageDone]
    ledger: Done
    mix: MixWritten | None
    stale: list[Stale]


def status_of_run(run_dir: str) -> Status:
    """Return counts of what is done and what there is to do, per stage. Raises RecipeError if it is no run folder."""
    with from_home(run_dir) as root:
        found = _status(reopen(root))
    found["run"] = run_dir.rstrip("/")
    return found


def _status(prepared: Prepared) -> Status:
    run = prepared.run
    stages: list[StageDone] = []
    for index, stage in enumerate(run.stages):
        if isinstance(stage, ExchangeStage) and stage.hidden:
            continue
        done, bundles = stage_progress(run, index)
        stages.append({"stage": stage.name, "done": done, "of": bundles})
    ledger = len(storage.names(storage.join(run.root, "ledger")))
    return {
        "run": run.root,
        "recipe": prepared.name,
        "documents": run.manifest.rows(),
        "shards": len(run.manifest.live_shards),
        "stages": stages,
        "ledger": {"done": ledger, "of": len(run.manifest.live_shards)},
        "mix": _mix(prepared),
        "stale": stale_parts(run.root),
    }


def _mix(prepared: Prepared) -> MixWritten | None:
    """Return what is written, of all mixes of the run together."""
    paths = [storage.join(mix_root(prepared.run.root, mix.name), "manifest.json") for mix in prepared.mixes]
    found = [read_mix_manifest(path) for path in paths if storage.exists(path)]
    if not found:
        return None
    datasets = [dataset for manifest in found for dataset in manifest["datasets"].values()]
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
    old = {part["what"] for part in found["stale"]}
    old |= {what.partition(" ")[0] for what in old}
    marks = {name: ", stale" if name in old else "" for name in ("ledger", "mix")}
    table.add_row("ledger (shards)", f"{found['ledger']['done']:,} of {found['ledger']['of']:,}{marks['ledger']}")
    mix = found["mix"]
    written = f"{mix['documents']:,} documents, {mix['tokens']:,} tokens{marks['mix']}" if mix else "not written"
    table.add_row("mix", written)
    return Group(Text(visible(title)), table)
