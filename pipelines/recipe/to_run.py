"""From a recipe to what tasks know of its run, and back from a run folder.

Guarantees: nothing here computes; a run folder opens as it was last used, sample included.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from typing import cast

from cluster import storage
from cluster.errors import RecipeError
from cluster.options import ClusterOptions, SlurmOptions
from pipelines.mix.materialize import Output, mix_digest
from pipelines.recipe.recipe import Recipe
from stages.core.digests import digest
from stages.core.run import Run
from stages.core.stage import ShardStage, Stage
from stages.core.view import View
from stages.implicit.count_tokens import CountTokens
from stages.implicit.read import Read
from stages.implicit.rewrite import Rewrite
from stages.outcome.mixing import Mix

OWN_COLUMNS = {"text", "id", "url"}


def build(recipe: Recipe, root: str, sample: float | None = None) -> Run:
    """Return what tasks need to know of this run; the manifest's digest is still missing."""
    stages: list[Stage] = [Read(sample=1.0 if sample is None else sample, seed=recipe.seed)]
    if recipe.mix.tokenizer:
        stages.append(CountTokens(tokenizer=recipe.mix.tokenizer))
    for stage in recipe.stages:
        stages.extend(stage.companions())
        stages.append(stage)
    if any(stage.rewrites() for stage in stages):
        stages.append(Rewrite())
    columns = [c for c in recipe.output.columns if c not in OWN_COLUMNS]
    for stage in stages:
        if isinstance(stage, ShardStage):
            columns += [c.removeprefix("column:") for c in stage.columns() if c.startswith("column:")]
    return Run(
        root=root.rstrip("/"),
        datasets=recipe.datasets_resolved(),
        stages=tuple(stages),
        priority=tuple(recipe.priority),
        prefer=tuple(recipe.prefer),
        on_error=recipe.on_error,
        extra_columns=tuple(sorted(set(columns))),
    )


def mix_of(recipe: Recipe) -> Mix:
    """Return the wish of the recipe's mix section."""
    mix = recipe.mix
    return Mix(
        mode=mix.mode,
        target_tokens=mix.target_tokens,
        weights=dict(mix.weights) or None,
        max_epochs=mix.max_epochs,
        holdout=recipe.output.holdout,
        seed=recipe.seed,
    )


def output_of(recipe: Recipe) -> Output:
    """Return how the recipe wants the mix written."""
    out = recipe.output
    return Output(
        columns=tuple(out.columns),
        shard_bytes=out.shard_bytes,
        shuffle=out.shuffle,
        format=out.format,
        repeat=out.repeat,
    )


def cluster_of(recipe: Recipe, workers: int | None = None) -> ClusterOptions:
    """Return where the recipe, or the command line, wants the work done."""
    section = recipe.cluster
    return ClusterOptions(
        kind=section.kind,
        workers=workers if workers is not None else section.workers,
        threads_per_worker=section.threads_per_worker,
        memory_limit=section.memory_limit,
        dashboard=section.dashboard,
        address=section.address,
        scheduler_file=section.scheduler_file,
        task_timeout=section.task_timeout,
        wait=section.wait,
        backend=section.backend,
        slurm=SlurmOptions(**dict(section.slurm)),
    )


def mix_address(job: Run, mix: Mix, output: Output) -> str:
    """Return the folder name of the mix's records below decisions/mix."""
    return digest("mix", mix_digest(job, mix, output))


def write_lock(recipe: Recipe, root: str, sample: float | None) -> None:
    storage.write_bytes(storage.join(root, "recipe.lock.yaml"), recipe.to_yaml().encode())
    storage.write_bytes(storage.join(root, "facts", "options.json"), json.dumps({"sample": sample}).encode())


def reopen(run_dir: str) -> tuple[Recipe, Run]:
    """Return the recipe and the run of a run folder as they were last used. Raises RecipeError if it is none."""
    from pipelines.recipe.recipe import load
    from stages.core import manifest

    root = run_dir.rstrip("/")
    lock = storage.join(root, "recipe.lock.yaml")
    frozen = manifest.read_manifest(root)
    if not storage.exists(lock) or frozen is None:
        raise RecipeError(
            f"{root} is not a run folder (no recipe.lock.yaml or manifest.parquet). Run `winnow run` first."
        )
    recipe = load(lock)
    options = json.loads(storage.read_bytes(storage.join(root, "facts", "options.json")))
    job = build(recipe, root, options["sample"])
    return recipe, dataclasses.replace(job, manifest_digest=frozen.digest)


def sample_of(run_dir: str) -> float | None:
    """Return the `--sample` a run folder was made with."""
    path = storage.join(run_dir, "facts", "options.json")
    if not storage.exists(path):
        return None
    return cast("float | None", json.loads(storage.read_bytes(path))["sample"])


def limit_of(run_dir: str) -> int | None:
    """Return the `--limit` a run folder was made with."""
    path = storage.join(run_dir, "facts", "inputs.json")
    return cast("int | None", json.loads(storage.read_bytes(path))["limit"]) if storage.exists(path) else None


def stage_counts(run_dir: str, name: str) -> dict[str, int]:
    """Return how many documents a stage judged and dropped."""
    _, job = reopen(run_dir)
    index = job.index(name)
    judged = dropped = 0
    for bundle in job.manifest.bundles:
        if job.stages[index].applies_to(bundle.dataset):
            view = View(job, bundle)
            judged += int(view.live(index).sum())
            dropped += int(view.decided(index)[1].dropped.sum())
    return {"judged": judged, "dropped": dropped}


@contextlib.contextmanager
def only_one(root: str) -> Iterator[None]:
    """Hold the run folder against a second run at the same time (on a mounted file system)."""
    if not storage.is_local(root):
        yield
        return
    import fcntl
    import os

    path = storage.local_path(root)
    try:
        os.makedirs(path, exist_ok=True)
        held = open(os.path.join(path, ".lock"), "w")  # noqa: SIM115
    except OSError as error:
        raise RecipeError(
            f"run folder {root!r} cannot be written ({error.strerror}). Give another --run-dir."
        ) from error
    with held as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RecipeError(
                f"run folder {root} is in use by another winnow. Wait for it, or give another --run-dir."
            ) from None
        yield
