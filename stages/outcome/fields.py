"""Fields of documents that cells and columns of a mix can ask for: what is known of a document, by name.

    dataset, path, id, url, host, domain, language, language_score, quality_score, num_tokens, num_chars, num_bytes,
    group_size, STAGE.FACT (STAGE.score, STAGE.label for short), column:NAME

Guarantees: a name is resolved against the stages alone and opens nothing; values are read from facts, never from text.
Memory: the facts of one bundle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stages.core.arrays import array, whole
from stages.core.stage import ShardStage, Stage
from stages.detect.urls import host_of, registered_domain
from stages.implicit.mix_columns import MixColumns
from stages.outcome.cells import Values
from stages.outcome.verdicts import Outcome, group_columns, num_tokens

I64 = npt.NDArray[np.int64]
NUMBERS = ("num_tokens", "num_chars", "num_bytes", "group_size")
TEXTS = ("dataset", "path", "id", "url", "host", "domain")
LAST = {  # facts of the last stage of this kind that applies
    "language": ("language_id", "language"),
    "language_score": ("language_id", "language_score"),
    "quality_score": ("quality", "quality_score"),
}
COLUMN = "column:"


@dataclass(frozen=True)
class Field:
    """A field found by its name. kind: number, text, or either (an input column). stages: by whom it is judged."""

    name: str
    kind: str
    stages: tuple[int, ...] = ()  # the last one that applies to a dataset counts
    fact: str = ""


class UnknownField(ValueError):
    """There is no such field; the message says which there are, to stand after the name."""


def find_field(name: str, stages: Sequence[Stage]) -> Field:
    """Return the field of this name. Raises UnknownField."""
    if name in NUMBERS or name in TEXTS:
        return Field(name, "number" if name in NUMBERS else "text")
    if name in LAST:
        use, fact = LAST[name]
        found = tuple(i for i, stage in enumerate(stages) if stage.use == use)
        if not found:
            raise UnknownField(f"needs a stage {use}, and the recipe has none")
        return Field(name, "text" if name == "language" else "number", found, fact)
    if name.startswith(COLUMN) and name != COLUMN:
        return Field(name, "either")
    return _fact(name, stages)


def _fact(name: str, stages: Sequence[Stage]) -> Field:
    stage_name, _, asked = name.rpartition(".")
    named = {s.name: i for i, s in enumerate(stages) if isinstance(s, ShardStage) and not s.hidden and s.use != "read"}
    if stage_name not in named:
        facts = ", ".join(f"{n}.FACT" for n in named)
        known = ", ".join((*TEXTS, *NUMBERS, *LAST, "column:NAME", *([facts] if facts else [])))
        raise UnknownField(f"is no field of a document. There are {known}")
    stage = stages[named[stage_name]]
    assert isinstance(stage, ShardStage)
    kinds = {f.name: kind for f in stage.schema if (kind := kind_of(f.type))}
    fact = _long_name(asked, kinds)
    if fact is None:
        raise UnknownField(f"is no fact of stage {stage_name} with one value. It has {', '.join(kinds) or 'none'}")
    return Field(name, kinds[fact], (named[stage_name],), fact)


def _long_name(asked: str, known: Iterable[str]) -> str | None:
    """Return the fact that is asked for: by its name, or as the only score or label of its stage."""
    names = list(known)
    if asked in names:
        return asked
    ends = {"score": ("score",), "label": ("label", "language")}.get(asked, ())
    found = [n for n in names if n in ends or any(n.endswith(f"_{end}") for end in ends)]
    return found[0] if len(found) == 1 else None


def kind_of(kind: pa.DataType) -> str | None:
    """Return number or text for a type with one value, None for others."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return "number"
    return "text" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else None


def values_of(field: Field, position: int, found: Outcome, rows: I64) -> Values:
    """Return the values of these kept rows, ascending, of the bundle at `position`."""
    view = found.view
    match field.name:
        case "dataset":
            return Values(text=pa.repeat(pa.scalar(view.bundle.dataset, pa.large_string()), len(rows)))
        case "num_tokens":
            return Values(number=num_tokens(view)[rows].astype(np.float64))
        case "group_size":
            return Values(number=_numbers(group_columns(view.run, position, found.kept)[0].take(pa.array(rows))))
        case "path":
            return Values(text=_paths(found, rows))
        case "num_chars" | "num_bytes" as name:
            return Values(number=array(view.read, name)[rows].astype(np.float64))
        case "id" | "url" as name:
            return Values(text=whole(view.read.column(name)).take(pa.array(rows)))
        case "host" | "domain" as name:
            return Values(text=hosts(whole(view.read.column("url")).take(pa.array(rows)), domains=name == "domain"))
    if field.name.startswith(COLUMN):
        return _column(field, found, rows)
    column = fact_column(field, found, rows)
    if column is None:
        return missing(field, len(rows))
    if field.kind == "text":
        return Values(text=column.cast(pa.large_string()))
    return Values(number=_numbers(column))


def fact_column(field: Field, found: Outcome, rows: I64) -> pa.Array | None:
    """Return a fact of these rows as it was stored; None where no stage of the field judges the dataset."""
    view = found.view
    for index in reversed(field.stages):
        if view.run.stages[index].applies_to(view.bundle.dataset):
            return whole(view.facts(index, rows, [field.fact]).column(field.fact))
    return None


def missing(field: Field, rows: int) -> Values:
    """Return values of a field that none of the documents has."""
    if field.kind == "text":
        return Values(text=pa.nulls(rows, pa.large_string()))
    return Values(number=np.full(rows, np.nan))


def _numbers(column: pa.Array) -> npt.NDArray[np.float64]:
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)


def _paths(found: Outcome, rows: I64) -> pa.Array:
    pieces = found.view.bundle.pieces
    ends = np.cumsum([piece.rows for piece in pieces])
    names = pa.array([piece.shard.path for piece in pieces], pa.large_string())
    return names.take(pa.array(np.searchsorted(ends, rows, side="right")))


def _column(field: Field, found: Outcome, rows: I64) -> Values:
    view = found.view
    name = field.name.removeprefix(COLUMN)
    for index, stage in enumerate(view.run.stages):
        if isinstance(stage, MixColumns) and name in stage.wanted:
            found_values = stage.values_of(view.facts(index, rows), name)
            number, text, time = (found_values.field(part) for part in ("number", "text", "time"))
            return Values(number=_numbers(number), text=text, time=_numbers(time))
    raise AssertionError(f"no stage reads {field.name}")


def hosts(urls: pa.Array, *, domains: bool) -> pa.Array:
    """Return the host, or the registered domain, of every URL; null where there is none. One look-up per host."""
    found = pc.dictionary_encode(urls.cast(pa.large_string()))
    each = [host_of(url) or None for url in found.dictionary.to_pylist()]
    if domains:
        each = [registered_domain(host) if host else None for host in each]
    return pa.array(each, pa.large_string()).take(found.indices)
