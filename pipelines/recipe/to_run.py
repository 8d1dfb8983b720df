"""From a recipe to a run: the one place where what a user wrote becomes what tasks are given.

    recipe.yaml -> Recipe (pydantic sections) -> prepare() -> Prepared -> runner -> tasks

Guarantees: nothing here computes or opens a file; below the runner nobody sees a `Recipe`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cluster.codebase import exchange_code
from cluster.credentials import check_place
from cluster.errors import RecipeError
from cluster.options import ClusterOptions, SlurmOptions
from pipelines.recipe.mix_section import CellSection, ConditionSection, MixSection, ScoreSection, UpsampleSection
from pipelines.recipe.output import FACT, INPUT_COLUMNS, INTERLEAVED, Output
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.sections import HoldoutSection
from stages.core.digests import digest
from stages.core.run import Run
from stages.core.stage import ShardStage, Stage
from stages.implicit.count_tokens import CountTokens
from stages.implicit.mix_columns import MixColumns, iso_seconds
from stages.implicit.read import Read
from stages.implicit.rewrite import Rewrite
from stages.outcome.cells import COMBINATIONS, Cell, Combined, Condition, Upsample
from stages.outcome.fields import COLUMN
from stages.outcome.mixing import CONTENT, Mix


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A recipe made ready for one run folder.

    run : the stages in order, the implicit ones included; its manifest digest is empty until inputs are frozen.
    mixes, output : how much of each dataset or cell goes into the mix, or into each of the named ones, and how that is
    written.
    cluster : where the work is done.
    lock : the recipe as YAML text with every default written out (recipe.lock.yaml).
    sample : share of the documents worked on; None: all of them.
    max_quarantined : share of a dataset's rows that may be unreadable. strict : whether the mix must be as wished.
    dropped : whether dropped documents are written too, or the stages whose drops are.
    """

    name: str
    digest: str
    run: Run
    mixes: tuple[Mix, ...]
    output: Output
    cluster: ClusterOptions
    lock: str
    sample: float | None = None
    max_quarantined: float = 1.0
    strict: bool = False
    dropped: bool | tuple[str, ...] = False

    @property
    def mix(self) -> Mix:
        """The mix of a recipe that has one; the first of several."""
        return self.mixes[0]

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
        code=exchange_code(),
        stays=not wanted.everything,
    )
    return Prepared(
        name=recipe.name,
        digest=recipe.digest(),
        run=run,
        mixes=mixes_of_recipe(recipe),
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
    asked = _columns_of_mixes(recipe)
    if asked:
        stages.append(MixColumns(wanted=asked))
    if any(stage.rewrites() for stage in stages):
        stages.append(Rewrite())
    return tuple(stages)


def _columns_of_mixes(recipe: Recipe) -> tuple[str, ...]:
    """Return the input columns by which mixes choose documents, or that are held out together."""
    mixes = mixes_of_recipe(recipe)
    named = {condition.field for mix in mixes for cell in mix.cells for condition in cell.where}
    named |= {cell.upsample.by for mix in mixes for cell in mix.cells if cell.upsample}
    named |= {name for mix in mixes for score in mix.scores for name in score.of}
    named |= {mix.holdout_by for mix in mixes}
    return tuple(sorted(name.removeprefix(COLUMN) for name in named if name.startswith(COLUMN)))


def _extra_columns(stages: tuple[Stage, ...], output: Output) -> tuple[str, ...]:
    """Return the input columns that stages and output read besides text, id and url."""
    named = (name for stage in stages if isinstance(stage, ShardStage) for name in stage.columns())
    columns = {name.removeprefix("column:") for name in named if name.startswith("column:")}
    columns |= {name for name in output.columns if not name.startswith(FACT)}
    return tuple(sorted(columns if output.everything else columns.difference(INPUT_COLUMNS)))


def mix_of_recipe(recipe: Recipe) -> Mix:
    """Return the mix that a recipe wants; the first of several."""
    return mixes_of_recipe(recipe)[0]


def mixes_of_recipe(recipe: Recipe) -> tuple[Mix, ...]:
    """Return the mix that a recipe wants, or its named ones, each after those that it excludes."""
    if not recipe.mixes:
        return (_mix(recipe, recipe.mix),)
    found: dict[str, Mix] = {}

    def add(name: str) -> None:
        if name in found:
            return
        section = recipe.mixes[name]
        for other in section.exclude:
            add(other)
        mix = replace(_mix(recipe, section.over(recipe.mix)), name=name, exclude=section.exclude)
        wishes = [found[other].values() for other in mix.exclude]
        found[name] = replace(mix, exclude_digest=digest(*wishes)) if wishes else mix

    for name in recipe.mixes:
        add(name)
    return tuple(found.values())


def _mix(recipe: Recipe, section: MixSection) -> Mix:
    holdout = recipe.output.holdout
    by = holdout.by if isinstance(holdout, HoldoutSection) else CONTENT
    return Mix(
        mode=section.mode,
        target_tokens=section.target_tokens,
        weights=dict(section.weights) or None,
        max_epochs=section.max_epochs,
        holdout=holdout.share if isinstance(holdout, HoldoutSection) else holdout,
        seed=recipe.seed,
        cells=tuple(_cell(cell, section) for cell in section.cells),
        scores=tuple(_score(name, score) for name, score in section.scores.items()) if section.cells else (),
        holdout_by=by,
    )


def _cell(cell: CellSection, mix: MixSection) -> Cell:
    most = cell.max_epochs if cell.max_epochs is not None else mix.max_epochs
    return Cell(
        name=cell.name,
        where=tuple(condition_of(name, condition) for name, condition in cell.where.items()),
        weight=cell.weight,
        tokens=cell.tokens,
        max_epochs=most if isinstance(most, float | int) else 1.0,
        upsample=_upsample(cell.upsample) if cell.upsample else None,
    )


def condition_of(name: str, condition: ConditionSection) -> Condition:
    """Return what must hold of a field."""
    return Condition(
        field=name,
        any_of=tuple(condition.any_of),
        none_of=tuple(condition.none_of),
        at_least=condition.min,
        at_most=condition.max,
        above=condition.above,
        below=condition.below,
        since=iso_seconds(condition.since) if condition.since else None,
        before=iso_seconds(condition.before) if condition.before else None,
        min_quantile=condition.min_quantile,
        max_quantile=condition.max_quantile,
        known=condition.known,
    )


def _upsample(section: UpsampleSection) -> Upsample:
    curve = section.curve
    return Upsample(
        by=section.by,
        steps=tuple((float(at), factor) for at, factor in (section.table or section.quantiles or {}).items()),
        quantiles=section.quantiles is not None,
        curve=curve is not None,
        discard=curve.discard if curve else 0.0,
        exponent=curve.exponent if curve else None,
    )


def _score(name: str, section: ScoreSection) -> Combined:
    how = next(how for how in COMBINATIONS if getattr(section, how))
    return Combined(name=name, how=how, of=getattr(section, how))


def output_of_recipe(recipe: Recipe) -> Output:
    """Return how the recipe wants the mix written."""
    out = recipe.output
    return Output(
        columns=tuple(out.columns),
        shard_bytes=out.shard_bytes,
        shuffle=out.shuffle,
        format=out.format,
        repeat=out.repeat,
        layout=out.layout,
        holdout_folder=isinstance(out.holdout, HoldoutSection) or out.layout == INTERLEAVED,
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
        link_timeout=section.link_timeout,
        cores=section.cores,
        backend=section.backend,
        slurm=SlurmOptions(**dict(section.slurm)),
    )
