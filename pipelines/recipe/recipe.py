"""The recipe: one YAML file that says which datasets, which stages in which order, and which mix.

Guarantees: what loads is valid as a whole, sections checked against each other; every error names file and
line (or the `--set`), key, value and remedy; the digest covers all that can change the result and nothing
else. Nothing but the recipe file is opened.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from pydantic import Field, ValidationError

from cluster import storage
from cluster.errors import RecipeError
from cluster.seed import DEFAULT_SEED
from pipelines.recipe import lock
from pipelines.recipe.credentials import note_secrets
from pipelines.recipe.cross_checks import check_together
from pipelines.recipe.limits import LARGEST, MAX_BYTES, MAX_DATASETS, check_data
from pipelines.recipe.marked_yaml import Marked, dump_yaml, parse_yaml
from pipelines.recipe.mix_section import MixSection, NamedMixSection, plain
from pipelines.recipe.overrides import apply_override
from pipelines.recipe.problems import Problems, did_you_mean
from pipelines.recipe.sections import (
    NAME,
    ClusterSection,
    Criterion,
    DatasetSection,
    IdSection,
    OutputSection,
    Section,
)
from pipelines.recipe.stage_entries import build_stage, entry_of, stage_schemas
from stages.core.digests import DATA_FORMAT, digest
from stages.core.shard import Columns, Dataset
from stages.core.stage import Stage
from stages.inputs.presets import PRESETS
from stages.registry import listed


class Sections(Section):
    """Every key a recipe may have at its top."""

    name: str = Field("mix", description="name of the mix", pattern=f"^{NAME.pattern}$")
    seed: int = Field(DEFAULT_SEED, ge=0, le=LARGEST, description="seed of sampling, holdout and shuffle")
    datasets: dict[str, DatasetSection] = Field(
        min_length=1, max_length=MAX_DATASETS, description="the sources, by name"
    )
    on_error: Literal["stop", "quarantine"] = Field(
        "stop", description="what to do with unreadable input: stop, or count it and go on"
    )
    max_quarantined: float = Field(
        0.01, ge=0, le=1, description="with on_error: quarantine, share of a dataset's rows beyond which the run stops"
    )
    priority: tuple[str, ...] | None = Field(
        None, description="datasets in survivor order, best first (default: as listed)"
    )
    prefer: tuple[Criterion, ...] = Field((), description="which document of equally ranked ones survives")
    stages: tuple[Any, ...] = Field((), description="the stages, in order")
    mix: MixSection = Field(MixSection(), description="how the survivors become the mix")
    mixes: dict[str, NamedMixSection] = Field(
        {}, max_length=100, description="several mixes of one run, by name; what they leave out, `mix` says"
    )
    output: OutputSection = Field(OutputSection(), description="how the mix is written")
    cluster: ClusterSection = Field(ClusterSection(), description="where the work runs")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A valid recipe. `stages` are built; everything else is the section as it was written, defaults filled in."""

    name: str
    seed: int
    datasets: Mapping[str, DatasetSection]
    on_error: str
    max_quarantined: float
    priority: tuple[str, ...]
    prefer: tuple[str, ...]
    stages: tuple[Stage, ...]
    mix: MixSection
    mixes: Mapping[str, NamedMixSection]
    output: OutputSection
    cluster: ClusterSection

    def datasets_resolved(self) -> tuple[Dataset, ...]:
        """Return the datasets with their presets applied."""
        return tuple(_resolve(name, section) for name, section in self.datasets.items())

    def to_data(self, *, secrets: bool = True) -> dict[str, Any]:
        """Return the recipe as plain data, every default written out; without secrets, their digests stand for them."""
        sections = {"mix": plain(self.mix)}
        if self.mixes:
            sections["mixes"] = {name: plain(section) for name, section in self.mixes.items()}
        sections["output"] = self._output_data()
        sections["cluster"] = self.cluster.model_dump(mode="json")
        return {
            "name": self.name,
            "seed": self.seed,
            "datasets": {name: _dataset_data(section) for name, section in self.datasets.items()},
            "on_error": self.on_error,
            "max_quarantined": self.max_quarantined,
            "priority": list(self.priority),
            "prefer": list(self.prefer),
            "stages": [entry_of(stage, secrets=secrets) for stage in self.stages],
            **sections,
        }

    def _output_data(self) -> dict[str, Any]:
        """Return the output section; keys of later versions only where they are given."""
        data = self.output.model_dump(mode="json")
        sampled = self.mix.mode == "sample" or self.mixes or self.output.layout != "by_dataset"
        if data["repeat"] is None and not sampled:
            data["repeat"] = False
        return {k: v for k, v in data.items() if (k, v) != ("layout", "by_dataset")}

    def to_yaml(self, *, secrets: bool = False) -> str:
        """Return the recipe as YAML that loads to an equal recipe, but for secrets, which are left out by default."""
        head = f"# winnow recipe, data format {DATA_FORMAT}, digest {self.digest()}\n"
        return head + dump_yaml(self.to_data(secrets=secrets))

    def digest(self) -> str:
        """Return 16 hexadecimal digits that address all that can change the result (not `cluster`)."""
        data = {key: value for key, value in self.to_data(secrets=False).items() if key != "cluster"}
        return digest("recipe", data)


def _resolve(name: str, section: DatasetSection) -> Dataset:
    known = PRESETS[section.preset] if section.preset else None
    base = known.columns if known else Columns(id="id", url="url") if section.format == "warc" else Columns()
    given = {k: v for k, v in section.columns.model_dump(exclude={"id"}).items() if v is not None}
    return Dataset(
        name=name,
        paths=section.paths,
        format=section.format or "auto",
        columns=Columns(**{"text": base.text, **_ids(section.columns.id, base.id), "url": base.url, **given}),
        licence=section.licence or (known.licence if known else None),
        role=section.role,
        extract=section.extract or "resiliparse",
    )


def _ids(given: str | IdSection | None, known: str | None) -> dict[str, str | None]:
    """Return where ids lie and what stands in for null ones: `id: content` is the digest if no column is called so."""
    if isinstance(given, IdSection):
        return {"id": given.column, "null_ids": given.if_null}
    if given == "content":
        return {"id": None, "null_ids": "unless_column"}
    return {"id": given or known}


def _columns_data(columns: Columns) -> dict[str, Any]:
    """Return columns as a recipe writes them."""
    written: dict[str, Any] = {"text": columns.text, "id": columns.id, "url": columns.url}
    if columns.null_ids == "unless_column":
        return {**written, "id": "content"}
    if columns.null_ids or columns.id == "content":
        return {**written, "id": {"column": columns.id, "if_null": columns.null_ids}}
    return written


def _dataset_data(section: DatasetSection) -> dict[str, Any]:
    """Return a dataset's section with what its preset gives written out."""
    resolved = _resolve("", section)
    given = {"columns": _columns_data(resolved.columns), "licence": resolved.licence, "format": resolved.format}
    data = {**section.model_dump(mode="json"), **given}
    return data if section.extract else {key: value for key, value in data.items() if key != "extract"}


def load_recipe(source: str, overrides: Sequence[str] = ()) -> Recipe:
    """Load a recipe file, a URL, or a built-in recipe by name (zyda2, zyda2-safe, demo, minimal).

    overrides : `--set` values such as "mix.target_tokens=1B" or "stages.near_dedup.jaccard_threshold=0.7".

    Raises RecipeError with every problem found.
    """
    text, name = _read(source)
    lock.check_format_of(text, source)
    return _load(parse_yaml(text, name), overrides)


def load_data(data: Mapping[str, Any], source: str, overrides: Sequence[str] = ()) -> Recipe:
    """Load a recipe from plain data; `source` is what errors name, overrides as `load_recipe` takes them."""
    check_data(data, source)
    return _load(Marked(dict(data), source), overrides)


def builtin_names() -> list[str]:
    """Return the names of the recipes that come with winnow."""
    folder = resources.files("pipelines") / "recipe" / "shipped"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _read(source: str) -> tuple[str, str]:
    if not storage.exists(source) or (storage.is_local(source) and os.path.isdir(source)):
        if source in builtin_names():
            path = resources.files("pipelines") / "recipe" / "shipped" / f"{source}.yaml"
            return path.read_text(encoding="utf-8"), f"{source}.yaml"
        names = builtin_names()
        raise RecipeError(
            f"there is no recipe file {source}.{did_you_mean(source, names)} Give a path, or the name of a "
            f"built-in recipe: {', '.join(names)}."
        )
    try:
        with storage.open_read(source) as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise RecipeError(f"the recipe {source} has more than {MAX_BYTES:,} bytes. Name files by folders or globs.")
        return data.decode(), os.path.basename(source.partition("?")[0])
    except OSError as error:
        raise RecipeError(f"the recipe {source} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{source} is not UTF-8 text. Save it as UTF-8.") from None


def _load(document: Marked, overrides: Sequence[str]) -> Recipe:
    if not isinstance(document.value, dict):
        raise RecipeError(f"{document.source} must be a mapping with the key datasets. See `winnow schema`.")
    problems = Problems(document)
    for override in overrides:
        apply_override(document.value, override, problems)
    problems.stop()
    check_data(document.value, document.source)
    try:
        sections = Sections.model_validate_json(json.dumps(document.value, default=str), strict=True)
    except ValidationError as error:
        problems.add_validation(error, Sections)
        _note_stage_problems(document.value, problems)
        problems.stop()
        raise  # not reached: an invalid recipe has at least one problem
    note_secrets(document.value, problems)
    problems.stop()
    built = [build_stage(entry, ("stages", i), problems) for i, entry in enumerate(sections.stages)]
    problems.stop()
    stages = tuple(stage for stage in built if stage is not None)
    check_together(
        sections.datasets, sections.priority, stages, sections.mix, sections.mixes, sections.output, problems
    )
    problems.stop()
    return Recipe(
        name=sections.name,
        seed=sections.seed,
        datasets=sections.datasets,
        on_error=sections.on_error,
        max_quarantined=sections.max_quarantined,
        priority=sections.priority or tuple(sections.datasets),
        prefer=sections.prefer,
        stages=stages,
        mix=sections.mix,
        mixes=sections.mixes,
        output=sections.output,
        cluster=sections.cluster,
    )


def _note_stage_problems(data: Mapping[str, Any], problems: Problems) -> None:
    """Add what is wrong with the stages, so that one message holds all that is wrong."""
    entries = data.get("stages")
    if isinstance(entries, list):
        for i, entry in enumerate(entries):
            build_stage(entry, ("stages", i), problems)


def recipe_schema() -> dict[str, Any]:
    """Return the JSON schema of a recipe, stages included, for editors."""
    classes, broken = listed()
    for sentence in broken:
        logging.getLogger("winnow.plugins").warning("left out of the schema: %s", sentence)
    found = Sections.model_json_schema()
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found["title"] = "winnow recipe"
    found["properties"]["stages"] = {
        "type": "array",
        "description": "the stages, in order",
        "items": {"oneOf": stage_schemas(classes)},
    }
    return dict(json.loads(json.dumps(found)))
