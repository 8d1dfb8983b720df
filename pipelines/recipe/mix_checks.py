"""What must fit together in `mix`, `mixes` and `output`: names of datasets, fields, scores, cells and other mixes.

Guarantees: reads the recipe only; every problem is noted with its key path, none raised.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pipelines.recipe.marked_yaml import Path
from pipelines.recipe.mix_section import CellSection, ConditionSection, MixSection, NamedMixSection, ScoreSection
from pipelines.recipe.output import FACT, expanded, own_columns
from pipelines.recipe.problems import Problems
from pipelines.recipe.sections import NAME, HoldoutSection, OutputSection
from stages.core.stage import Stage
from stages.dedup.near.signatures import SignatureStage
from stages.outcome.fields import UnknownField, find_field

NUMERIC = ("min", "max", "above", "below", "min_quantile", "max_quantile")


def check_mixes(
    mix: MixSection,
    mixes: Mapping[str, NamedMixSection],
    datasets: Iterable[str],
    stages: Sequence[Stage],
    problems: Problems,
) -> None:
    """Note what is wrong with the mix, or with each of the named ones. datasets: those that are mixed."""
    names = list(datasets)
    if not mixes:
        _check_mix(mix, ("mix",), names, stages, problems)
    for name, section in mixes.items():
        path: Path = ("mixes", name)
        if not NAME.fullmatch(name):
            problems.add(path, "must be made of letters, digits, _ and -.")
        _check_mix(section.over(mix), path, names, stages, problems)
        for i, other in enumerate(section.exclude):
            if other not in mixes:
                problems.choice((*path, "exclude", i), other, [n for n in mixes if n != name])
    _check_circles(mixes, problems)


def _check_circles(mixes: Mapping[str, NamedMixSection], problems: Problems) -> None:
    """Note mixes that exclude each other, over any number of steps: neither could be drawn first."""
    for name in mixes:
        seen: list[str] = []
        left = list(mixes[name].exclude)
        while left:
            other = left.pop()
            if other in mixes and other not in seen:
                seen.append(other)
                left += mixes[other].exclude
        if name in seen:
            problems.add(("mixes", name, "exclude"), "leads back to the mix itself. Let one of them exclude the other.")


def _check_mix(mix: MixSection, path: Path, datasets: list[str], stages: Sequence[Stage], problems: Problems) -> None:
    for key in ("weights", "max_epochs"):
        given = getattr(mix, key)
        for name in given if isinstance(given, Mapping) else ():
            if name not in datasets:
                problems.unknown((*path, key, name), "dataset that is mixed", datasets)
    if mix.weights and not sum(mix.weights.values()):
        problems.add((*path, "weights"), "must not all be 0.")
    if mix.mode != "sample" and mix.target_tokens is not None:
        problems.add(
            (*path, "target_tokens"),
            f"has no effect where mix.mode is {mix.mode}. Set mix.mode to sample, or leave target_tokens out.",
        )
    fields = _Fields(mix.scores, stages, problems)
    for name, score in mix.scores.items():
        _check_score(name, score, (*path, "scores", name), fields)
    if mix.cells:
        _check_cells(mix, path, datasets, fields)


def _check_cells(mix: MixSection, path: Path, datasets: list[str], fields: _Fields) -> None:
    problems = fields.problems
    if mix.weights:
        problems.add((*path, "weights"), "must not be given with cells: the cells have the weights.")
    if isinstance(mix.max_epochs, Mapping):
        problems.add((*path, "max_epochs"), "must be one number where there are cells. Give a cell its own max_epochs.")
    if mix.mode != "sample":
        problems.add((*path, "cells"), f"need mix.mode sample, and it is {mix.mode}. Add `mode: sample`.")
    if not any(cell.weight is None or cell.weight > 0 for cell in mix.cells):
        problems.add((*path, "cells"), "must not all have the weight 0.")
    seen: dict[str, int] = {}
    for place, cell in enumerate(mix.cells):
        here: Path = (*path, "cells", place)
        if cell.name in seen:
            problems.add((*here, "name"), f"is that of cells[{seen[cell.name]}] too. Give one of them another name.")
        seen.setdefault(cell.name, place)
        open_before = next((c.name for c in mix.cells[:place] if not c.where), None)
        if open_before is not None:
            problems.add(here, f"is never reached: cell {open_before} before it takes all. Move that one to the end.")
        _check_cell(cell, here, datasets, fields)


def _check_cell(cell: CellSection, path: Path, datasets: list[str], fields: _Fields) -> None:
    for name, condition in cell.where.items():
        kind = fields.kind(name, (*path, "where", name))
        if kind:
            _check_condition(condition, kind, (*path, "where", name), fields.problems)
        if name == "dataset":
            for value in (*condition.any_of, *condition.none_of):
                if value not in datasets:
                    fields.problems.choice((*path, "where", name), value, datasets)
    upsample = cell.upsample
    if upsample:
        kind = fields.kind(upsample.by, (*path, "upsample", "by"))
        if kind == "text":
            fields.problems.add((*path, "upsample", "by"), f"must be a field of numbers, and {upsample.by} is text.")
        if upsample.curve and upsample.curve.exponent is None and cell.weight is None and cell.tokens is None:
            fields.problems.add(
                (*path, "upsample", "curve", "exponent"),
                "must be given where the cell wants neither a weight nor tokens.",
            )


def _check_condition(condition: ConditionSection, kind: str, path: Path, problems: Problems) -> None:
    """Note bounds and values that the field's kind cannot meet."""
    given = condition.model_dump(exclude_defaults=True)
    numeric = [key for key in NUMERIC if key in given]
    if kind == "text" and numeric:
        problems.add((*path, numeric[0]), "compares numbers, and the field is text. Use any_of or none_of.")
    if kind != "either" and ("since" in given or "before" in given):
        key = "since" if "since" in given else "before"
        problems.add((*path, key), "compares dates, which only input columns (column:NAME) hold.")
    for key in ("any_of", "none_of"):
        for i, value in enumerate(given.get(key, ())):
            if kind == "number" and isinstance(value, str):
                problems.add((*path, key, i), f"must be a number, as the field is one, got {value!r}.")
            if kind == "text" and not isinstance(value, str):
                problems.add((*path, key, i), f"must be text (in quotes where it looks like a number), got {value!r}.")


class _Fields:
    """The fields that a mix can name: those of documents, and its combined scores."""

    def __init__(self, scores: Mapping[str, ScoreSection], stages: Sequence[Stage], problems: Problems) -> None:
        self.scores, self.stages, self.problems = scores, stages, problems

    def kind(self, name: str, path: Path) -> str | None:
        """Return number, text or either; None after noting that there is no such field."""
        if name in self.scores:
            return "number"
        try:
            return find_field(name, self.stages).kind
        except UnknownField as error:
            more = f", and the scores {', '.join(self.scores)}" if self.scores else ""
            self.problems.add(path, f"{error}{more}.")
            return None


def _check_score(name: str, score: ScoreSection, path: Path, fields: _Fields) -> None:
    if not NAME.fullmatch(name):
        fields.problems.add(path, "must be made of letters, digits, _ and -.")
    try:
        find_field(name, fields.stages)
    except UnknownField:
        pass
    else:
        fields.problems.add(path, "is the name of a field that every document has. Give the score another name.")
    for how in ("max", "mean", "rank_mean"):
        for i, part in enumerate(getattr(score, how) or ()):
            if part in fields.scores:
                fields.problems.add((*path, how, i), f"must be a field, and {part} is a combined score itself.")
            elif fields.kind(part, (*path, how, i)) == "text":
                fields.problems.add((*path, how, i), f"must be a field of numbers, and {part} is text.")


def check_output(output: OutputSection, stages: Sequence[Stage], problems: Problems) -> None:
    """Note columns of facts that do not exist or whose name is taken, and a hold-out by an unknown field."""
    if isinstance(output.holdout, HoldoutSection) and output.holdout.by not in ("content", "group"):
        try:
            find_field(output.holdout.by, stages)
        except UnknownField as error:
            problems.add(("output", "holdout", "by"), f"{error}, content and group.")
    if output.layout == "interleaved" and output.shuffle != "global":
        problems.add(("output", "shuffle"), f"must be global with layout interleaved, got {output.shuffle}.")
    by_group = isinstance(output.holdout, HoldoutSection) and output.holdout.by == "group"
    if by_group and not any(isinstance(stage, SignatureStage) for stage in stages):
        problems.add(("output", "holdout", "by"), "group needs a minhash stage. Add `- {use: minhash}`.")
    taken: dict[str, object] = {name: name for name in own_columns(output.columns)}
    for i, column in enumerate(output.columns):
        if not column.startswith(FACT):
            continue
        try:
            found = expanded(column, stages)
        except UnknownField as error:
            problems.add(("output", "columns", i), f"{error}.")
            continue
        for name, field in found.items():
            if taken.setdefault(name, field) != field:
                problems.add(("output", "columns", i), f"is written as {name}, as is another column. Leave one out.")
