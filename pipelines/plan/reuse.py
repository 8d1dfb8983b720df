"""What a run folder holds already of a recipe that is to be run in it.

Guarantees: reads names and markers in the run folder, no facts; writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cluster import storage
from pipelines.plan.inputs import Input
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.to_run import Prepared, prepare
from pipelines.run_state import limit_of, mix_digest, mix_root, sample_of
from stages.core import manifest
from stages.core.exchange_stage import is_complete
from stages.core.manifest import Manifest
from stages.core.run import Run, StageRun
from stages.core.shard import Bundle
from stages.core.stage import ShardStage
from stages.dedup import kept
from stages.dedup.dedup_stage import DedupStage
from stages.outcome import lineage
from stages.passes import judge_later


@dataclass(frozen=True, kw_only=True)
class Present:
    """What lies in the run folder already. done: per shard stage, whether each bundle has its facts.

    known: dataset and path of the files there are, where nothing but files was added. kept: dedup stages that go on
    from the keys that they kept, so that they decide again what the added documents touch.
    """

    run: Run | None
    manifest: Manifest | None
    changed: bool  # files are new, gone or of another size
    done: Mapping[str, Sequence[bool]]
    complete: frozenset[str]  # exchange stages and closing steps that need not run
    known: frozenset[tuple[str, str]] = frozenset()
    kept: frozenset[str] = frozenset()

    def have_facts(self, stage: str, bundles: Sequence[Bundle]) -> list[bool]:
        """Tell of each bundle that a run would cut now whether it has the facts of a stage, where files were added."""
        if self.manifest is None or stage not in self.done:
            return [False] * len(bundles)
        frozen = zip(self.manifest.bundles, self.done[stage], strict=True)
        lacking = {old.dataset for old, have in frozen if not have}
        return [b.dataset not in lacking and self.knows(b) for b in bundles]

    def knows(self, bundle: Bundle) -> bool:
        """Tell whether all files of a bundle are those that were frozen, where nothing but files was added."""
        return all((bundle.dataset, piece.shard.path) in self.known for piece in bundle.pieces)


def present(recipe: Recipe, run_dir: str | None, inputs: Sequence[Input]) -> Present:
    """Return what a run folder holds of this recipe; an empty answer where there is none."""
    frozen = manifest.read_manifest(run_dir.rstrip("/")) if run_dir else None
    if run_dir is None or frozen is None:
        return Present(run=None, manifest=None, changed=False, done={}, complete=frozenset())
    now = {(i.dataset.name, f.path, f.bytes) for i in inputs for f in i.files}
    then = {(s.dataset, s.path, s.bytes) for s in frozen.live_shards}
    limited = limit_of(run_dir) is not None
    changed = not then <= now if limited else then != now
    added = changed and not limited and then < now
    grown = sum(size for _, _, size in now) / max(1, sum(size for _, _, size in then)) if added else 1.0
    prepared = prepare(recipe, run_dir, sample=sample_of(run_dir))
    job = replace(prepared.run, manifest_digest=frozen.digest)
    done: dict[str, list[bool]] = {}
    finished, kept_of = set[str](), set[str]()
    for index, stage in enumerate(job.stages):
        if isinstance(stage, ShardStage):
            judged = not job.deferred(index) or judge_later.was_resolved(StageRun(job, index))
            have = storage.names(job.facts(stage).folder) if judged else set()
            done[stage.name] = [_name(job, b) in have for b in frozen.bundles]
        elif stage.exchanges and not (stage.hidden or changed) and is_complete(StageRun(job, index)):
            finished.add(stage.name)
        elif isinstance(stage, DedupStage) and added and kept.may_go_on(StageRun(job, index), frozen.rows() * grown):
            kept_of.add(stage.name)
    if not changed and all(all(d) for d in _applying(job, frozen.bundles, done)):
        finished |= _closing(prepared, job)
    return Present(
        run=job,
        manifest=frozen,
        changed=changed,
        done=done,
        complete=frozenset(finished),
        known=frozenset((name, path) for name, path, _ in then) if added else frozenset(),
        kept=frozenset(kept_of),
    )


def _name(job: Run, bundle: Bundle) -> str:
    return f"{bundle.number}-{bundle.fingerprint}{job.reading(bundle.dataset)}.arrow"


def _applying(job: Run, bundles: Sequence[Bundle], done: Mapping[str, Sequence[bool]]) -> list[list[bool]]:
    """Return, per shard stage, whether its facts are there for the bundles it applies to."""
    return [
        [have for b, have in zip(bundles, done[s.name], strict=True) if s.applies_to(b.dataset)]
        for s in job.stages
        if s.name in done
    ]


def _closing(prepared: Prepared, job: Run) -> set[str]:
    """Return the closing steps that are done: mixes that these verdicts made have their ledger too."""
    mixes = {mix_root(job.root, mix.name): mix_digest(job, mix, prepared.output).encode() for mix in prepared.mixes}
    if not all(_made_by(root) == mine for root, mine in mixes.items()):
        lineage_done = storage.join(job.root, "decisions", "lineage", lineage.lineage_digest(job), "complete")
        return {"lineage"} if storage.exists(lineage_done) else set()
    whole = all(storage.exists(storage.join(root, "manifest.json")) for root in mixes)
    return {"lineage", "ledger", "materialize"} if whole else {"lineage", "ledger"}


def _made_by(root: str) -> bytes:
    """Return the digest of what made the mix in a folder; empty where there is none."""
    marker = storage.join(root, ".made-by")
    return storage.read_bytes(marker) if storage.exists(marker) else b""
