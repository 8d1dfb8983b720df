"""From a recipe to a run: the one place where what a user wrote becomes what tasks are given.

    recipe.yaml -> Recipe (pydantic sections) -> prepare() -> Prepared -> runner -> tasks

Guarantees: nothing here computes or opens a file; below the runner nobody sees a `Recipe`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cluster.credentials import check_place
from cluster.errors import RecipeError
from cluster.options import ClusterOptions, SlurmOptions
from pipelines.recipe.output import INPUT_COLUMNS, Output
from pipelines.recipe.recipe import Recipe
from stages.core.run import Run
from stages.core.stage import ShardStage, Stage
from stages.implicit.count_tokens import CountTokens
from stages.implicit.read import Read
from stages.implicit.rewrite import Rewrite
from stages.outcome.mixing import Mix


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A recipe made ready for one run folder.

    run : the stages in order, the implicit ones included; its manifest digest is empty until inputs are frozen.
    mix, output : how much of each dataset goes into the mix, and how that is written.
    cluster : where the work is done.
    lock : the recipe as YAML text with every default written out (recipe.lock.yaml).
    sample : share of the documents worked on; None: all of them.
    max_quarantined : share of a dataset's rows that may be unreadable. strict : whether the mix must be as wished.
    dropped : whether dropped documents are written too, or the stages whose drops are.
    """

    name: str
    digest: str
    run: Run
    mix: Mix
    output: Output
    cluster: ClusterOptions
    lock: str
    sample: float | None = None
    max_quarantined: float = 1.0
    strict: bool = False
    dropped: bool | tuple[str, ...] = False

    @property
    def tokens_are(self) -> str:
        """Whether tokens are counted by a tokenizer or estimated, in words."""
        counted = any(isinstance(stage, CountTokens) for stage in self.run.stages)
        return "counted" if counted else "estimated as UTF-8 bytes / 4"


def prepare(
    recipe: Recipe,
    run_dir: str,
    *,
    sample: float | None = None,
    workers: int | None = None,
    output: Output | None = None,
) -> Prepared:
    """Return a recipe as the values that a run in `run_dir` is made of.

    Parameters
    ----------
    sample : work on this share of the documents, chosen by content hash.
    workers : worker processes; None: as the recipe says.
    output : how to write the mix; None: as the recipe says.
    """
    check_place(run_dir, "the run folder")
    wanted = output or output_of_recipe(recipe)
    stages = _stages_of_recipe(recipe, sample)
    datasets = recipe.datasets_resolved()
    if wanted.everything:  # files may lack an id or a URL
        datasets = tuple(replace(dataset, optional=("id", "url")) for dataset in datasets)
    run = Run(
        root=run_dir.rstrip("/"),
        datasets=datasets,
        stages=stages,
        priority=tuple(recipe.priority),
        prefer=tuple(recipe.prefer),
        on_error=recipe.on_error,
        extra_columns=_extra_columns(stages, wanted),
    )
    return Prepared(
        name=recipe.name,
        digest=recipe.digest(),
        run=run,
        mix=mix_of_recipe(recipe),
        output=wanted,
        cluster=cluster_of_recipe(recipe, workers),
        lock=recipe.to_yaml(),
        max_quarantined=recipe.max_quarantined,
        strict=recipe.mix.strict,
        sample=sample,
        dropped=_dropped(recipe.output.dropped, stages),
    )


def _dropped(wanted: bool | tuple[str, ...], stages: tuple[Stage, ...]) -> bool | tuple[str, ...]:
    """Return which stages' drops are written. Raises RecipeError where one is none of the recipe."""
    names = [stage.name for stage in stages if not stage.hidden]
    if not isinstance(wanted, bool) and (wrong := next((name for name in wanted if name not in names), None)):
        raise RecipeError(f"output.dropped must name stages of the recipe ({', '.join(names)}), got {wrong!r}.")
    return wanted


def _stages_of_recipe(recipe: Recipe, sample: float | None) -> tuple[Stage, ...]:
    """Return the stages in the order in which they decide, with those that no recipe names."""
    stages: list[Stage] = [Read(sample=1.0 if sample is None else sample, seed=recipe.seed)]
    if recipe.mix.tokenizer:
        stages.append(CountTokens(tokenizer=recipe.mix.tokenizer))
    for stage in recipe.stages:
        repaired = any(before.hands_on_text for before in stages)
        stages.extend(stage.companions_after_repair() if repaired else stage.companions())
        stages.append(stage)
    if any(stage.rewrites() for stage in stages):
        stages.append(Rewrite())
    return tuple(stages)


def _extra_columns(stages: tuple[Stage, ...], output: Output) -> tuple[str, ...]:
    """Return the input columns that stages and output read besides text, id and url."""
    named = (name for stage in stages if isinstance(stage, ShardStage) for name in stage.columns())
    columns = {name.removeprefix("column:") for name in named if name.startswith("column:")} | {*output.columns}
    return tuple(sorted(columns if output.everything else columns.difference(INPUT_COLUMNS)))


def mix_of_recipe(recipe: Recipe) -> Mix:
    """Return how much of each dataset the recipe wants in the mix."""
    mix = recipe.mix
    return Mix(
        mode=mix.mode,
        target_tokens=mix.target_tokens,
        weights=dict(mix.weights) or None,
        max_epochs=mix.max_epochs,
        holdout=recipe.output.holdout,
        seed=recipe.seed,
    )


def output_of_recipe(recipe: Recipe) -> Output:
    """Return how the recipe wants the mix written."""
    out = recipe.output
    return Output(
        columns=tuple(out.columns),
        shard_bytes=out.shard_bytes,
        shuffle=out.shuffle,
        format=out.format,
        repeat=out.repeat,
    )


def cluster_of_recipe(recipe: Recipe, workers: int | None = None) -> ClusterOptions:
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
