"""The columns of a mix as dataset hubs write them (`dataset_info.features`), so that no loader has to guess.

A loader that guesses from the first lines of JSON takes a column that is null there for one without a type, and stops
at the first file where it is not. Guarantees: types are those of the files; where a type has no name among the hubs',
nothing is said of the configuration. Memory: one schema.
"""

from __future__ import annotations

from typing import Any, cast

import pyarrow as pa

from cluster import storage
from cluster.sealed import open_parquet
from pipelines.artefacts import MixFileEntry
from pipelines.recipe.output import CELL_COLUMN, MIX_COLUMNS
from pipelines.runfolder import RunFolder
from stages.inputs.fit import is_json

Feature = dict[str, Any]
NAMES = {
    pa.string(): "string",
    pa.large_string(): "string",
    pa.string_view(): "string",
    pa.binary(): "binary",
    pa.large_binary(): "binary",
    pa.bool_(): "bool",
    pa.date32(): "date32",
    pa.date64(): "date64",
    pa.float16(): "float16",
    pa.float32(): "float32",
    pa.float64(): "float64",
    **{kind: str(kind) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())},
    **{kind: str(kind) for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())},
}


def dataset_info(folder: RunFolder, configs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the features of each configuration of the card; those of the default one are of all files together."""
    found = []
    for config in configs:
        inside = [] if config.get("default") else [config["config_name"]]
        features = features_of(folder, inside)
        if features:
            found.append({"config_name": config["config_name"], "features": features})
    return found


def features_of(folder: RunFolder, datasets: list[str]) -> list[Feature] | None:
    """Return the columns of these datasets' files, of all files where none is named; None where a type has no name."""
    columns: dict[str, Feature] = {}
    for path in _one_of_each(folder, datasets):
        schema = _schema(folder, path)
        found = [None if schema is None else _feature(column) for column in schema or ()]
        if not found or None in found:
            return None
        for feature in cast("list[Feature]", found):
            if columns.setdefault(feature["name"], feature) != feature:
                return None
    return list(columns.values())


def _one_of_each(folder: RunFolder, datasets: list[str]) -> list[str]:
    """Return the path below the mix of one file of each of its folders."""
    manifest = cast("dict[str, Any]", folder.mix_manifest)
    entries: list[MixFileEntry] = list(manifest.get("files") or [])
    for name, entry in (manifest.get("datasets") or {}).items():
        entries += entry.get("files") or [] if not datasets or name in datasets else []
    return list({entry["path"].rpartition("/")[0]: entry["path"] for entry in entries}.values())


def _schema(folder: RunFolder, path: str) -> pa.Schema | None:
    """Return the columns of a file of the mix; of JSON lines those that the run gives them."""
    if path.endswith(".parquet"):
        with open_parquet(storage.join(folder.mix_folder, path)) as file:
            return file.schema_arrow
    return _of_lines(folder, path.partition("/")[0])


def _of_lines(folder: RunFolder, dataset: str) -> pa.Schema | None:
    columns = (folder.recipe.get("output") or {}).get("columns") or []
    own = dict(MIX_COLUMNS)
    passed = [name for name in columns if name not in ("text", "id", "url")]
    if any(name.startswith("fact:") for name in passed) or (passed and dataset not in folder.datasets):
        return None
    types = folder.run.types(dataset) if passed else None
    fields = [pa.field(name, kind) for name, kind in MIX_COLUMNS]
    fields += [pa.field(*CELL_COLUMN)] if "documents_in_no_cell" in folder.mix_manifest else []
    for name in passed:
        if types is not None and name in types.names:
            field = types.field(name)
            kind = _as_json(pa.string() if is_json(field) else field.type)
            if kind is None:
                return None
            fields.append(pa.field(f"input_{name}" if name in own else name, kind))
    return pa.schema(fields)


def _as_json(kind: pa.DataType) -> pa.DataType | None:
    """Return the type that a value has in a line of JSON; None where that is for the reader to say."""
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return kind
    return None if pa.types.is_nested(kind) or pa.types.is_null(kind) else pa.string()


def _feature(field: pa.Field) -> Feature | None:
    kind = field.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = _feature(kind.value_field)
        return None if inner is None or "dtype" not in inner else {"name": field.name, "list": inner["dtype"]}
    if pa.types.is_timestamp(kind):
        return {"name": field.name, "dtype": f"timestamp[{kind.unit}{', tz=' + kind.tz if kind.tz else ''}]"}
    return {"name": field.name, "dtype": NAMES[kind]} if kind in NAMES else None
