"""The recipe: one YAML file that says which datasets, which stages in which order, and which mix.

Guarantees: what loads is valid as a whole, sections checked against each other; every error names file and
line (or the `--set`), key, value and remedy; the digest covers all that can change the result and nothing
else. Nothing but the recipe file is opened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from cluster import storage
from cluster.errors import RecipeError
from pipelines.marked_yaml import Marked, Path, parse, scalar
from pipelines.problems import Problems
from pipelines.sections import (
    NAME,
    ClusterSection,
    Criterion,
    DatasetSection,
    MixSection,
    OutputSection,
    Section,
)
from pipelines.stage_entries import build_stage, entry_of, stage_schemas
from stages.base import DATA_FORMAT, Stage, digest
from stages.presets import PRESETS
from stages.registry import STAGES
from stages.shard import Columns, Dataset


class Sections(Section):
    """Every key a recipe may have at its top."""

    name: str = Field("mix", description="name of the mix", pattern=NAME.pattern)
    seed: int = Field(0, ge=0, description="seed of sampling, holdout and shuffle")
    datasets: dict[str, DatasetSection] = Field(min_length=1, description="the sources, by name")
    on_error: Literal["stop", "quarantine"] = Field(
        "stop", description="what to do with unreadable input: stop, or count it and go on"
    )
    priority: tuple[str, ...] | None = Field(
        None, description="datasets in survivor order, best first (default: as listed)"
    )
    prefer: tuple[Criterion, ...] = Field((), description="which document of equally ranked ones survives")
    stages: tuple[Any, ...] = Field((), description="the stages, in order")
    mix: MixSection = Field(MixSection(), description="how the survivors become the mix")
    output: OutputSection = Field(OutputSection(), description="how the mix is written")
    cluster: ClusterSection = Field(ClusterSection(), description="where the work runs")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A valid recipe. `stages` are built; everything else is the section as it was written, defaults filled in."""

    name: str
    seed: int
    datasets: Mapping[str, DatasetSection]
    on_error: str
    priority: tuple[str, ...]
    prefer: tuple[str, ...]
    stages: tuple[Stage, ...]
    mix: MixSection
    output: OutputSection
    cluster: ClusterSection

    def datasets_resolved(self) -> tuple[Dataset, ...]:
        """Return the datasets with their presets applied."""
        return tuple(_resolve(name, section) for name, section in self.datasets.items())

    def to_data(self) -> dict[str, Any]:
        """Return the recipe as plain data, every default written out."""
        sections = {name: getattr(self, name).model_dump(mode="json") for name in ("mix", "output", "cluster")}
        return {
            "name": self.name,
            "seed": self.seed,
            "datasets": {name: section.model_dump(mode="json") for name, section in self.datasets.items()},
            "on_error": self.on_error,
            "priority": list(self.priority),
            "prefer": list(self.prefer),
            "stages": [entry_of(stage) for stage in self.stages],
            **sections,
        }

    def to_yaml(self) -> str:
        """Return the recipe as YAML that loads to an equal recipe."""
        head = f"# winnow recipe, data format {DATA_FORMAT}, digest {self.digest()}\n"
        return head + str(yaml.dump(self.to_data(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))

    def digest(self) -> str:
        """Return 16 hexadecimal digits that address all that can change the result (not `cluster`)."""
        data = {key: value for key, value in self.to_data().items() if key != "cluster"}
        return digest("recipe", data)


class _Dumper(yaml.SafeDumper):
    """Writes without aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _resolve(name: str, section: DatasetSection) -> Dataset:
    known = PRESETS[section.preset] if section.preset else None
    base = known.columns if known else Columns()
    given = {k: v for k, v in section.columns.model_dump().items() if v is not None}
    return Dataset(
        name=name,
        paths=section.paths,
        format=section.format or "auto",
        columns=Columns(**{"text": base.text, "id": base.id, "url": base.url, **given}),
        licence=section.licence or (known.licence if known else None),
        role=section.role,
    )


def load(source: str, overrides: Sequence[str] = ()) -> Recipe:
    """Load a recipe file, a URL, or a built-in recipe by name (zyda2, zyda2-safe, demo, minimal).

    overrides : `--set` values such as "mix.target_tokens=1B" or "stages.near_dedup.jaccard_threshold=0.7".

    Raises RecipeError with every problem found.
    """
    text, name = _read(source)
    return _load(parse(text, name), overrides)


def load_data(data: Mapping[str, Any], source: str) -> Recipe:
    """Load a recipe from plain data; `source` is what errors name."""
    return _load(Marked(dict(data), source), ())


def builtin_names() -> list[str]:
    """Return the names of the recipes that come with winnow."""
    folder = resources.files("pipelines") / "recipes"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _read(source: str) -> tuple[str, str]:
    if not storage.exists(source) or (storage.is_local(source) and os.path.isdir(source)):
        if source in builtin_names():
            path = resources.files("pipelines") / "recipes" / f"{source}.yaml"
            return path.read_text(encoding="utf-8"), f"{source}.yaml"
        raise RecipeError(
            f"there is no recipe file {source}. Give a path, or one of the built-in recipes: "
            f"{', '.join(builtin_names())}."
        )
    try:
        return storage.read_bytes(source).decode(), os.path.basename(source)
    except UnicodeDecodeError:
        raise RecipeError(f"{source} is not UTF-8 text. Save it as UTF-8.") from None


def _load(document: Marked, overrides: Sequence[str]) -> Recipe:
    if not isinstance(document.value, dict):
        raise RecipeError(f"{document.source} must be a mapping with the key datasets. See `winnow schema`.")
    problems = Problems(document)
    for override in overrides:
        _override(document.value, override, problems)
    problems.stop()
    try:
        sections = Sections.model_validate(document.value)
    except ValidationError as error:
        problems.add_validation(error, Sections)
        _note_stage_problems(document.value, problems)
        problems.stop()
        raise  # not reached: an invalid recipe has at least one problem
    built = [build_stage(entry, ("stages", i), problems) for i, entry in enumerate(sections.stages)]
    problems.stop()
    stages = tuple(stage for stage in built if stage is not None)
    _cross_check(sections, stages, problems)
    problems.stop()
    return Recipe(
        name=sections.name,
        seed=sections.seed,
        datasets=sections.datasets,
        on_error=sections.on_error,
        priority=sections.priority or tuple(sections.datasets),
        prefer=sections.prefer,
        stages=stages,
        mix=sections.mix,
        output=sections.output,
        cluster=sections.cluster,
    )


def _note_stage_problems(data: Mapping[str, Any], problems: Problems) -> None:
    """Add what is wrong with the stages, so that one message holds all that is wrong."""
    entries = data.get("stages")
    if isinstance(entries, list):
        for i, entry in enumerate(entries):
            build_stage(entry, ("stages", i), problems)


def _override(data: dict[str, Any], override: str, problems: Problems) -> None:
    """Put the value of a `--set a.b=c` in its place."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set must be KEY=VALUE, such as mix.target_tokens=1B, got {override!r}.")
    path: Path = ()
    at: Any = data
    parts = key.strip().split(".")
    for n, part in enumerate(parts):
        last = n == len(parts) - 1
        if isinstance(at, list):
            index = _place(at, part, override)
            path = (*path, index)
            if last:
                raise RecipeError(f"--set {override}: {key} is a whole stage; name one of its parameters.")
            at = at[index]
        elif last:
            path = (*path, part)
            at[part] = scalar(text, f"--set {key}")
        else:
            path = (*path, part)
            at = at.setdefault(part, {})
            if not isinstance(at, dict | list):
                raise RecipeError(f"--set {override}: {'.'.join(parts[: n + 1])} has no keys below it.")
    problems.set_by = {**problems.set_by, path: override}


def _place(entries: list[Any], part: str, override: str) -> int:
    """Return which stage a part of a `--set` key names: by position, by name, or by use."""
    if part.isdigit() and int(part) < len(entries):
        return int(part)
    for key in ("name", "use"):
        found = [i for i, entry in enumerate(entries) if isinstance(entry, dict) and entry.get(key) == part]
        if len(found) == 1:
            return found[0]
        if found:
            raise RecipeError(f"--set {override}: {part} is used {len(found)} times; name it by position or `name`.")
    names = [str(e.get("name") or e.get("use")) for e in entries if isinstance(e, dict)]
    raise RecipeError(f"--set {override}: no stage is called {part!r}; there are {', '.join(names)}.")


def _cross_check(sections: Sections, stages: tuple[Stage, ...], problems: Problems) -> None:
    """Note what does not fit together."""
    _check_datasets(sections, problems)
    _check_stages(sections, stages, problems)
    mixable = [name for name, d in sections.datasets.items() if d.role != "reference"]
    if not mixable:
        problems.add(("datasets",), "must hold at least one dataset that is not a reference.")
    epochs = sections.mix.max_epochs
    for key, names in (
        ("weights", sections.mix.weights),
        ("max_epochs", epochs if isinstance(epochs, dict) else {}),
    ):
        for name in names:
            if name not in mixable:
                problems.unknown(("mix", key, name), "dataset that is mixed", mixable)
    if sections.mix.weights and not sum(sections.mix.weights.values()):
        problems.add(("mix", "weights"), "must not all be 0.")


def _check_datasets(sections: Sections, problems: Problems) -> None:
    names = list(sections.datasets)
    for name, section in sections.datasets.items():
        if not NAME.fullmatch(name):
            problems.add(("datasets", name), "must be made of letters, digits, _ and -.")
        if section.preset and section.preset not in PRESETS:
            problems.unknown(("datasets", name, "preset", section.preset), "known preset", sorted(PRESETS))
    for i, name in enumerate(sections.priority or ()):
        if name not in names:
            problems.unknown(("priority", i, name), "dataset of this recipe", names)
    if sections.priority is not None and sorted(set(sections.priority) & set(names)) != sorted(names):
        missing = ", ".join(n for n in names if n not in sections.priority)
        problems.add(("priority",), f"must name every dataset once; missing: {missing}.")
    if sections.priority is not None and len(set(sections.priority)) != len(sections.priority):
        problems.add(("priority",), "must name every dataset once; one is named twice.")
    for i, rule in enumerate(sections.prefer):
        if rule not in ("longest", "shortest"):
            problems.add(("prefer", i), f"must be longest or shortest, got {rule}.")


def _check_stages(sections: Sections, stages: tuple[Stage, ...], problems: Problems) -> None:
    seen: dict[str, int] = {}
    slots: dict[str, int] = {}
    for i, stage in enumerate(stages):
        path: Path = ("stages", i)
        if stage.name in seen:
            problems.add(path, f"is called {stage.name} like stages[{seen[stage.name]}]. Give one of them a name.")
        seen[stage.name] = i
        for key in ("datasets", "protect"):
            for name in getattr(stage, key, ()):
                if name not in sections.datasets:
                    problems.unknown((*path, key, name), "dataset of this recipe", sections.datasets)
        if stage.use == "minhash":
            slots[stage.name] = int(getattr(stage, "num_permutations", 0))
        if stage.use == "near_dedup":
            _check_near_dedup(stage, slots, path, problems)


def _check_near_dedup(stage: Stage, slots: dict[str, int], path: Path, problems: Problems) -> None:
    wanted = getattr(stage, "signatures", "")
    if not slots or (wanted and wanted not in slots):
        problems.add(path, "needs a minhash stage before it. Add `- use: minhash`.")
        return
    width = slots[wanted] if wanted else list(slots.values())[-1]
    bands, rows = getattr(stage, "bands", None), getattr(stage, "rows_per_band", None)
    if bands and rows and bands * rows > width:
        problems.add((*path, "bands"), f"x rows_per_band is {bands * rows}, more than num_permutations ({width}).")


def schema() -> dict[str, Any]:
    """Return the JSON schema of a recipe, stages included, for editors."""
    found = Sections.model_json_schema()
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found["title"] = "winnow recipe"
    found["properties"]["stages"] = {
        "type": "array",
        "description": "the stages, in order",
        "items": {"oneOf": stage_schemas(STAGES)},
    }
    return dict(json.loads(json.dumps(found)))
