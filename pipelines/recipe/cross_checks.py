"""What must fit together in a recipe beyond each section alone: names, order of stages, weights, banding.

Guarantees: reads the recipe only; every problem is noted with its key path, none raised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines.recipe.marked_yaml import Path
from pipelines.recipe.mix_checks import check_mixes, check_output
from pipelines.recipe.mix_section import MixSection, NamedMixSection
from pipelines.recipe.problems import Problems
from pipelines.recipe.sections import NAME, DatasetSection, OutputSection
from stages.core.run import has_fact, lacks_fact
from stages.core.stage import ShardStage, Stage
from stages.inputs.presets import PRESETS

Datasets = Mapping[str, DatasetSection]


def check_together(
    datasets: Datasets,
    priority: Sequence[str] | None,
    stages: Sequence[Stage],
    mix: MixSection,
    mixes: Mapping[str, NamedMixSection],
    output: OutputSection,
    problems: Problems,
) -> None:
    """Note everything that does not fit together."""
    _datasets(datasets, problems)
    _priority(priority, datasets, problems)
    _stages(stages, datasets, problems)
    mixed = [name for name, section in datasets.items() if section.role != "reference"]
    check_mixes(mix, mixes, mixed, stages, problems)
    check_output(output, stages, problems)


def _datasets(datasets: Datasets, problems: Problems) -> None:
    for name, section in datasets.items():
        if not NAME.fullmatch(name):
            problems.add(("datasets", name), "must be made of at most 100 letters, digits, _ and -.")
        if section.preset is not None and section.preset not in PRESETS:
            problems.choice(("datasets", name, "preset"), section.preset, sorted(PRESETS))
    if all(section.role == "reference" for section in datasets.values()):
        problems.add(("datasets",), "must hold at least one dataset that is not a reference.")


def _priority(priority: Sequence[str] | None, datasets: Datasets, problems: Problems) -> None:
    if priority is None:
        return
    for place, name in enumerate(priority):
        if name not in datasets:
            problems.choice(("priority", place), name, datasets)
    missing = [name for name in datasets if name not in priority]
    if missing:
        problems.add(("priority",), f"must name every dataset once; missing: {', '.join(missing)}.")
    double = sorted({name for name in priority if list(priority).count(name) > 1})
    if double:
        problems.add(("priority",), f"must name every dataset once; given twice: {', '.join(double)}.")


def _stages(stages: Sequence[Stage], datasets: Datasets, problems: Problems) -> None:
    seen: dict[str, int] = {}
    signatures: dict[str, Stage] = {}
    for place, stage in enumerate(stages):
        path: Path = ("stages", place)
        if stage.name in seen:
            problems.add(path, f"is called {stage.name} like stages[{seen[stage.name]}]. Give one of them a name.")
        seen.setdefault(stage.name, place)
        for key in ("datasets", "protect"):
            for i, name in enumerate(getattr(stage, key, ())):
                if name not in datasets:
                    problems.choice((*path, key, i), name, datasets)
        earlier = [other.name for other in stages[:place] if other.hands_on_text]
        if stage.hands_on_text and earlier:
            problems.add((*path, "judge"), f"must be original: {earlier[0]} hands on repaired texts already.")
        if isinstance(stage, ShardStage):
            _facts_needed(stage, stages[:place], [name for name in datasets if stage.applies_to(name)], path, problems)
        if stage.use == "minhash":
            signatures[stage.name] = stage
        if stage.use == "near_dedup":
            _near_dedup(stage, signatures, datasets, path, problems)


def _facts_needed(
    stage: ShardStage, earlier: Sequence[Stage], mine: Sequence[str], path: Path, problems: Problems
) -> None:
    """Note facts that a stage needs and no stage before it hands on for all its datasets."""
    for name in stage.facts_needed():
        if not any(has_fact(other, name, mine) for other in earlier):
            problems.add(path, str(lacks_fact(stage, name)))


def _near_dedup(
    stage: Stage, signatures: Mapping[str, Stage], datasets: Datasets, path: Path, problems: Problems
) -> None:
    """Note what a near_dedup stage lacks: signatures before it, of its datasets, wide enough for its bands."""
    wanted = str(getattr(stage, "signatures", "") or "")
    if wanted and wanted not in signatures:
        before = ", ".join(signatures) or "none"
        problems.add((*path, "signatures"), f"must name a minhash stage before this one ({before}), got {wanted!r}.")
        return
    if not signatures:
        problems.add(path, "(near_dedup) needs a minhash stage before it. Add `- {use: minhash}` above it.")
        return
    source = signatures[wanted] if wanted else list(signatures.values())[-1]
    for name in datasets:
        if stage.applies_to(name) and not source.applies_to(name):
            problems.add(path, f"compares dataset {name}, which {source.name} is limited not to see. Widen `datasets`.")
    width = int(getattr(source, "num_permutations", 0))
    bands, rows = getattr(stage, "bands", None), getattr(stage, "rows_per_band", None)
    if bands and rows and bands * rows > width:
        problems.add(
            (*path, "bands"),
            f"x rows_per_band must be at most num_permutations ({width}), got {bands} x {rows} = {bands * rows}.",
        )
