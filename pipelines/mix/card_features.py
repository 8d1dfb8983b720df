"""The columns of a mix as dataset hubs write them (`dataset_info.features`), so that no loader has to guess.

A loader that guesses from the first lines of JSON takes a column that is null there for one without a type, and stops
at the first file where it is not. Guarantees: types are those of the files; where a type has no name among the hubs',
nothing is said of the configuration. Memory: one schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pyarrow as pa

from cluster import storage
from cluster.files.sealed import open_parquet
from pipelines.mix.card_files import Config, info_entry
from pipelines.mix.documents import schema_of
from pipelines.mix.job import MixJob, mix_job
from pipelines.recipe.output import INTERLEAVED
from pipelines.run_state import reopen
from pipelines.runfolder import RunFolder
from pipelines.staleness import recipe_of_ledger
from stages.inputs.fit import is_list
from stages.outcome.draw import Draw

Feature = dict[str, Any]
NAMES = {
    pa.string(): "string",
    pa.large_string(): "string",
    pa.string_view(): "string",
    pa.binary(): "binary",
    pa.large_binary(): "binary",
    pa.bool_(): "bool",
    pa.null(): "null",
    pa.date32(): "date32",
    pa.date64(): "date64",
    pa.float16(): "float16",
    pa.float32(): "float32",
    pa.float64(): "float64",
    **{kind: str(kind) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())},
    **{kind: str(kind) for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())},
}


def dataset_info(folder: RunFolder, configs: Sequence[Config]) -> list[dict[str, Any]]:
    """Return what the card says of each configuration: features, splits, size; features of all files together."""
    found = []
    for config in configs:
        entry = info_entry(config)
        features = features_of(folder, config)
        found.append({"config_name": entry.pop("config_name"), **({"features": features} if features else {}), **entry})
    return found


def features_of(folder: RunFolder, config: Config) -> list[Feature] | None:
    """Return the columns of a configuration's files; None where a type has no name, or types do not go together."""
    schemas = []
    for path in _one_of_each(config):
        schema = _schema(folder, path)
        if schema is None:
            return None
        schemas.append(schema)
    try:
        joined = pa.unify_schemas([_plain(schema) for schema in schemas], promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return None
    found = [_feature(field) for field in joined]
    return None if None in found else cast("list[Feature]", found)


def _plain(schema: pa.Schema) -> pa.Schema:
    """Return a schema without metadata, strings of one width."""
    wide = {pa.large_string(): pa.string(), pa.string_view(): pa.string(), pa.large_binary(): pa.binary()}
    return pa.schema([pa.field(f.name, wide.get(f.type, f.type)) for f in schema])


def _one_of_each(config: Config) -> list[str]:
    """Return the path below the mix of one file of each folder."""
    files = [file["path"] for split in config.splits.values() for file in split.files]
    return list({path.rpartition("/")[0]: path for path in files}.values())


def _schema(folder: RunFolder, path: str) -> pa.Schema | None:
    """Return the columns of a file of the mix; of JSON lines as a reader of JSON finds them, None if it must guess."""
    if path.endswith(".parquet"):
        with open_parquet(storage.join(folder.mix_folder, path)) as file:
            return file.schema_arrow
    dataset = INTERLEAVED if folder.interleaved else path.split("/")[-2]
    fields = [(field.name, _in_json(field.type)) for field in schema_of(_job(folder), dataset)]
    return None if any(kind is None for _, kind in fields) else pa.schema(fields)


def _job(folder: RunFolder) -> MixJob:
    """Return the job that wrote a mix, as far as its columns go."""
    prepared = reopen(folder.root, recipe_of_ledger(folder.root))
    mix = next(mix for mix in prepared.mixes if mix.name == folder.mix_name)
    return mix_job(prepared, Draw(mix=mix))


def _in_json(kind: pa.DataType) -> pa.DataType | None:
    """Return the type that values have in lines of JSON (see `json_rows.py`); None where that cannot be told."""
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind):
        return kind
    if is_list(kind):
        inner = _in_json(kind.value_type)
        return None if inner is None else pa.list_(inner)
    if pa.types.is_struct(kind):
        fields = [(field.name, _in_json(field.type)) for field in kind]
        return None if any(inner is None for _, inner in fields) else pa.struct(fields)
    return None if pa.types.is_nested(kind) else pa.string()


def _feature(field: pa.Field) -> Feature | None:
    """Return a column as hubs write it: name, and dtype, list or struct."""
    kind = field.type
    if is_list(kind) and not pa.types.is_fixed_size_list(kind):
        inner = _feature(pa.field("item", kind.value_type))
        if inner is None:
            return None
        return {"name": field.name, "list": inner.get("dtype") or inner.get("struct") or {"list": inner["list"]}}
    if pa.types.is_struct(kind):
        fields = [_feature(inner) for inner in kind]
        return None if None in fields or not fields else {"name": field.name, "struct": fields}
    if pa.types.is_timestamp(kind):
        return {"name": field.name, "dtype": f"timestamp[{kind.unit}{', tz=' + kind.tz if kind.tz else ''}]"}
    if pa.types.is_duration(kind) or pa.types.is_time(kind):
        return {
            "name": field.name,
            "dtype": f"{'duration' if pa.types.is_duration(kind) else f'time{kind.bit_width}'}[{kind.unit}]",
        }
    if pa.types.is_decimal128(kind) or pa.types.is_decimal256(kind):
        return {"name": field.name, "dtype": f"decimal{kind.bit_width}({kind.precision}, {kind.scale})"}
    return {"name": field.name, "dtype": NAMES[kind]} if kind in NAMES else None
