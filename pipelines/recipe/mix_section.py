"""The section `mix` of a recipe, and `mixes`: weights per dataset, or cells of documents by what is known of them.

Guarantees: conditions are a closed list of keys, nothing is evaluated; what contradicts itself is refused here, what
does not fit the stages in `mix_checks.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    model_validator,
)

from pipelines.recipe.sections import MAX_EPOCHS, NAME, Count, Epochs, Section, Weight
from stages.implicit.mix_columns import iso_seconds

Scalar = StrictStr | StrictBool | StrictInt | StrictFloat
Finite = Annotated[float, Field(allow_inf_nan=False)]
Quantile = Annotated[float, Field(ge=0, le=1)]
Epoch = Annotated[float, Field(gt=0, le=MAX_EPOCHS)]
FACTORS = 1000  # steps of an upsampling table


def _date(value: str) -> str:
    if iso_seconds(value) is None:
        raise ValueError("must be a date such as 2024-01-31, or a time in ISO 8601")
    return value


Date = Annotated[str, AfterValidator(_date)]


def _condition(value: object) -> object:
    """Read the short forms: a value, or a list of them, is what the field must be one of."""
    if isinstance(value, Mapping):
        return {key: tuple(part) if isinstance(part, list) else part for key, part in value.items()}
    if value is None:
        raise ValueError("must be a value, a list of them, or a mapping such as {min: 0.5}; {known: false}: no value")
    return {"any_of": tuple(value) if isinstance(value, list | tuple) else (value,)}


def _steps(value: object) -> dict[str, float]:
    """Return an upsampling table: from -> factor, ascending."""
    if not isinstance(value, Mapping) or not value:
        raise ValueError("must be a mapping from the lowest value of each step to its factor, such as {1: 1, 2: 2}")
    if len(value) > FACTORS:
        raise ValueError(f"must have at most {FACTORS:,} steps")
    found: dict[float, float] = {}
    for key, factor in value.items():
        try:
            at = float(key)
        except ValueError:
            at = math.nan
        good = isinstance(factor, int | float) and not isinstance(factor, bool) and 0 <= factor <= MAX_EPOCHS
        if not math.isfinite(at) or not good or at in found:
            raise ValueError(f"must map distinct numbers to factors from 0 to {MAX_EPOCHS:,}")
        found[at] = float(factor)
    if not any(found.values()):
        raise ValueError("must have a factor above 0")
    return {f"{at:.12g}": factor for at, factor in sorted(found.items())}


Steps = Annotated[
    dict[str, float],
    PlainValidator(_steps),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "number", "minimum": 0}}),
]


class ConditionSection(Section):
    """What must hold of one field; a bare value or a list stands for `any_of`."""

    any_of: tuple[Scalar, ...] = Field((), description="the field is one of these")
    none_of: tuple[Scalar, ...] = Field((), description="the field is none of these, or has no value")
    min: Finite | None = Field(None, description="least value")
    max: Finite | None = Field(None, description="greatest value")
    above: Finite | None = Field(None, description="the value is greater")
    below: Finite | None = Field(None, description="the value is less")
    since: Date | None = Field(None, description="earliest date (ISO 8601)")
    before: Date | None = Field(None, description="the date is earlier")
    min_quantile: Quantile | None = Field(
        None, description="from this quantile on, among the documents that meet the cell's other conditions"
    )
    max_quantile: Quantile | None = Field(None, description="below this quantile (1: no limit)")
    known: bool | None = Field(None, description="whether the field has a value")

    @model_validator(mode="after")
    def _fits(self) -> ConditionSection:
        given = self.model_dump(exclude_defaults=True)
        if not given:
            raise ValueError(f"must have one of {', '.join(type(self).model_fields)}")
        for low, high in (("min", "max"), ("above", "below"), ("min_quantile", "max_quantile"), ("since", "before")):
            if low in given and high in given and not _ordered(low, given[low], given[high]):
                raise ValueError(f"must have {low} below {high}, or no document can meet it")
        if self.known is False and len(given) > 1:
            raise ValueError("must not ask for more where known is false")
        return self


def _ordered(key: str, low: Any, high: Any) -> bool:
    if key == "since":
        return (iso_seconds(low) or 0.0) < (iso_seconds(high) or 0.0)
    return bool(low <= high if key == "min" else low < high)


Condition = Annotated[
    ConditionSection,
    BeforeValidator(_condition, json_schema_input_type=ConditionSection | Scalar | tuple[Scalar, ...]),
]


class CurveSection(Section):
    """A curve by quantile as in Olmo 3: nothing below `discard`, then C * (x - discard) ** exponent in 20 steps."""

    discard: float = Field(0.0, ge=0, lt=1, description="share of the cell's tokens, of the lowest values, left out")
    exponent: float | None = Field(
        None, ge=0, le=20, description="how steep; null: as steep as max_epochs allows for the tokens wanted"
    )


class UpsampleSection(Section):
    """How much more often some documents of a cell are repeated than others. One of table, quantiles and curve."""

    by: str = Field(description="the field, such as group_size or hq.score")
    table: Steps | None = Field(None, description="factor from each value on, such as {1: 1, 2: 2, 5: 5, 100: 8}")
    quantiles: Steps | None = Field(None, description="factor from each share of the cell's tokens on, beginning at 0")
    curve: CurveSection | None = Field(None, description="factors of a curve over the shares of the cell's tokens")

    @model_validator(mode="after")
    def _one_kind(self) -> UpsampleSection:
        if sum(kind is not None for kind in (self.table, self.quantiles, self.curve)) != 1:
            raise ValueError("must have one of table, quantiles and curve")
        shares = [float(at) for at in self.quantiles or {"0": 1.0}]
        if shares[0] != 0 or shares[-1] >= 1:
            raise ValueError("must have quantiles from 0 (the first) to below 1")
        return self


def _cell_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError("must be made of letters, digits, _ and -")
    return name


class CellSection(Section):
    """Documents that belong together: those that meet every condition and are in no earlier cell."""

    name: Annotated[str, AfterValidator(_cell_name)] = Field(description="name of the cell")
    where: dict[str, Condition] = Field({}, description="condition per field; none: all that is left")
    weight: Weight | None = Field(None, description="share of the mix")
    tokens: Count | None = Field(None, description="tokens wanted, instead of a weight")
    max_epochs: Epoch | None = Field(None, description="how often a document may be repeated (default: the mix's)")
    upsample: UpsampleSection | None = Field(None, description="repeat some of its documents more often than others")

    @model_validator(mode="after")
    def _one_wish(self) -> CellSection:
        if self.weight is not None and self.tokens is not None:
            raise ValueError("must have a weight or tokens, not both")
        return self


class ScoreSection(Section):
    """A score made of several, over those that a document has."""

    max: tuple[str, ...] | None = Field(None, description="the greatest of these fields")
    mean: tuple[str, ...] | None = Field(None, description="the mean of these fields")
    rank_mean: tuple[str, ...] | None = Field(None, description="the mean of the ranks, from 0 to 1, in these fields")

    @model_validator(mode="after")
    def _one_way(self) -> ScoreSection:
        given = [value for value in (self.max, self.mean, self.rank_mean) if value is not None]
        if len(given) != 1 or not given[0]:
            raise ValueError("must have one of max, mean and rank_mean, with a list of fields")
        return self


class MixSection(Section):
    """How the surviving documents become the mix."""

    mode: Literal["sample", "all_with_weights"] = Field(
        "all_with_weights",
        description="sample: documents drawn to the weights; all_with_weights: everything, weights recorded",
    )
    target_tokens: Count | None = Field(None, description="tokens in the mix, such as 10B or 5T")
    weights: dict[str, Weight] = Field({}, description="share of each dataset in the resulting mix")
    max_epochs: Epochs = Field(1.0, description="how often a document may be repeated; a number or one per dataset")
    tokenizer: str | None = Field(None, description="tokenizer file; without it token counts are estimates")
    strict: bool = Field(
        False, description="stop where a dataset gives nothing or a weight cannot be kept, instead of a warning"
    )
    cells: tuple[CellSection, ...] = Field(
        (), max_length=10_000, description="instead of weights: a document belongs to the first cell that it meets"
    )
    scores: dict[str, ScoreSection] = Field({}, description="combined scores, by the name that conditions use")


class NamedMixSection(Section):
    """One of several mixes of a run; what it does not say, `mix` says."""

    mode: Literal["sample", "all_with_weights"] | None = Field(None, description="see mix.mode")
    target_tokens: Count | None = Field(None, description="see mix.target_tokens")
    weights: dict[str, Weight] | None = Field(None, description="see mix.weights")
    max_epochs: Epochs | None = Field(None, description="see mix.max_epochs")
    cells: tuple[CellSection, ...] | None = Field(None, description="see mix.cells")
    scores: dict[str, ScoreSection] | None = Field(None, description="see mix.scores")
    exclude: tuple[str, ...] = Field((), description="mixes of which no document is taken")

    def over(self, base: MixSection) -> MixSection:
        """Return the mix that it stands for: its own keys, and the others as `base` has them."""
        own = {k: getattr(self, k) for k in type(self).model_fields if k != "exclude" and getattr(self, k) is not None}
        if "cells" in own and "weights" not in own:
            own["weights"] = {}
        if "weights" in own and "cells" not in own and own["weights"]:
            own["cells"] = ()
        return base.model_copy(update=own)


def plain(section: MixSection | NamedMixSection) -> dict[str, Any]:
    """Return a section as a recipe writes it: keys of later versions only where they are given."""
    data = section.model_dump(mode="json", exclude={"cells", "scores"})
    for key in ("cells", "scores"):
        value = section.model_dump(mode="json", exclude_defaults=True).get(key)
        if value:
            data[key] = value
    if isinstance(section, NamedMixSection):
        return {k: v for k, v in data.items() if v not in (None, [])}
    return data
