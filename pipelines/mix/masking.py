"""Columns of the mix besides the text that `pii` redacts: URLs, ids, passed-through columns.

Guarantees: every value is redacted when it is written, or the run stops before it writes anything. Memory: one batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pyarrow as pa

from cluster.errors import RecipeError
from pipelines.recipe.output import MIX_COLUMNS, Output
from stages.core.arrays import whole
from stages.core.run import Run
from stages.core.stage import is_kind
from stages.inputs.fit import is_json

if TYPE_CHECKING:
    from stages.pii import Pii

TEXTS = (pa.types.is_string, pa.types.is_large_string)


def check_masked(run: Run, output: Output, schema: pa.Schema, dataset: str) -> None:
    """Raise RecipeError where a column that is to be redacted holds no text, or is none of the mix."""
    for stage in _stages(run, dataset):
        for column in stage.redact_columns:
            names = [name for name in (column, f"input_{column}") if name in schema.names]
            if not names and column not in _everywhere(output):
                raise RecipeError(
                    f"redact_columns of stage {stage.name}: the mix has no column {column}. Name url, id or one of "
                    "output.columns."
                )
            for name in names:
                kind = schema.field(name).type
                if not any(is_text(kind) for is_text in TEXTS) and not is_json(schema.field(name)):
                    raise RecipeError(
                        f"redact_columns of stage {stage.name}: {column} of dataset {dataset} has type {kind}, and "
                        "only text can be redacted. Leave the column out of output.columns."
                    )


def _everywhere(output: Output) -> set[str]:
    """Return the columns that some dataset's files have, though perhaps not this one's."""
    return {*(name for name, _ in MIX_COLUMNS), *output.columns}


def masked(run: Run, dataset: str, table: pa.Table) -> pa.Table:
    """Return documents of a dataset with the columns redacted that its `pii` stages name."""
    for stage in _stages(run, dataset):
        for column in stage.redact_columns:
            for name in (column, f"input_{column}"):
                at = table.schema.get_field_index(name)
                if at >= 0:
                    values = whole(table.column(at))
                    table = table.set_column(at, table.schema.field(at), stage.masked(values).cast(values.type))
    return table


def _stages(run: Run, dataset: str) -> list[Pii]:
    found = [cast("Pii", stage) for stage in run.stages if is_kind(stage, "pii")]
    return [stage for stage in found if stage.redact_columns and stage.applies_to(dataset)]
