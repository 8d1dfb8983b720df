"""The sections of a recipe as pydantic models: what may be written in the YAML and what it then is.

Guarantees: a section is frozen, unknown keys are errors, sizes and counts ("512MB", "5T") are whole numbers
after validation, and nothing is opened. Field descriptions are those that editors show.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
)

from cluster.options import LEAST_LINK_SECONDS
from pipelines.recipe.limits import LARGEST, MAX_DIGITS
from pipelines.recipe.output import INPUT_COLUMNS, MIX_COLUMNS
from stages.inputs.presets import PRESETS

COUNTS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}
SIZES = {"": 1, **{f"{p}B": 1000**i for i, p in enumerate(("", *"KMGTP"))}}
SIZES |= {f"{p}IB": 1024**i for i, p in enumerate("KMGTP", start=1)}
MAX_EPOCHS = 10_000  # more is a slip of the pen, and copies must fit 32 bits
NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")  # names become folders and parts of a key path


def _scaled(value: object, units: Mapping[str, int], example: str) -> int:
    """Return the whole number that `value` (12, "12", "1.5K") stands for."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)", str(value).strip().replace("_", ""))
    if isinstance(value, bool) or match is None or match[2].upper() not in units:
        raise ValueError(f"must be a whole number or one with a unit, such as {example}")
    if len(match[1]) > MAX_DIGITS:
        raise ValueError(f"must be below 2^63, but has {len(match[1]):,} digits")
    number = float(match[1]) if "." in match[1] else int(match[1])
    scaled = round(number * units[match[2].upper()])
    if scaled > LARGEST:
        raise ValueError("must be below 2^63")
    if scaled < 1:
        raise ValueError(f"must be at least 1, such as {example}")
    return scaled


def parse_count(value: object) -> int:
    """Return a number of tokens or documents.

    >>> parse_count("5T"), parse_count("1.5M"), parse_count(7)
    (5000000000000, 1500000, 7)
    """
    return _scaled(value, COUNTS, "3M, 10B or 5T")


def parse_bytes(value: object) -> int:
    """Return a number of bytes; MB is 10^6 bytes and MiB is 2^20.

    >>> parse_bytes("512MB"), parse_bytes("1MiB")
    (512000000, 1048576)
    """
    return _scaled(value, SIZES, "512MB or 2GB")


def _one_or_more(value: object) -> object:
    parts = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(part, str) for part in parts):
        raise ValueError("must be text or a list of texts (in quotes where they look like a number)")
    if not parts or not all(parts):
        raise ValueError("must be a list with at least one entry, and none empty")
    return tuple(parts)


def _workers(value: object) -> int | None:
    if value == "auto" or value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("must be auto or a whole number from 1")
    return value


def _memory(value: object) -> str | None:
    if value == "auto" or value is None:
        return None
    parse_bytes(value)
    return str(value)


def _size(value: str) -> str:
    parse_bytes(value)
    return value


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what would give two columns of one name, or one without."""
    for place, name in enumerate(names):
        if not name:
            raise ValueError("must name columns, and none of the names may be empty")
        if name in names[:place]:
            raise ValueError(f"must name every column once; {name} is there twice")
        if f"input_{name}" in names and name in {own for own, _ in MIX_COLUMNS}.difference(INPUT_COLUMNS):
            raise ValueError(f"must not name both {name} (written as input_{name}) and input_{name}")
    return names


def _epochs(value: object) -> float | dict[str, float]:
    numbers = value.values() if isinstance(value, Mapping) else [value]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) and 0 < n <= MAX_EPOCHS for n in numbers):
        raise ValueError(f"must be a number above 0 and at most {MAX_EPOCHS:,}, or one such number for each dataset")
    return {str(k): float(v) for k, v in value.items()} if isinstance(value, Mapping) else float(value)  # type: ignore[arg-type]


def _text_or_number(pattern: str, *, null: bool = False) -> WithJsonSchema:
    kinds = [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": pattern}]
    return WithJsonSchema({"anyOf": [*kinds, {"type": "null"}] if null else kinds})


_NUMBER = r"^\s*[0-9]+(\.[0-9]+)?\s*"
Count = Annotated[int, PlainValidator(parse_count), _text_or_number(_NUMBER + "[kKmMbBgGtT]?$")]
Bytes = Annotated[int, PlainValidator(parse_bytes), _text_or_number(_NUMBER + "([kKmMgGtTpP]?[iI]?[bB])?$")]
Workers = Annotated[int | None, PlainValidator(_workers), _text_or_number("^auto$", null=True)]
Memory = Annotated[
    str | None,
    PlainValidator(_memory),
    _text_or_number("^auto$|" + _NUMBER + "([kKmMgGtTpP]?[iI]?[bB])?$", null=True),
]
_EPOCH = {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_EPOCHS}
Epochs = Annotated[
    float | dict[str, float],
    PlainValidator(_epochs),
    WithJsonSchema(
        {
            "anyOf": [
                _EPOCH,
                {"type": "object", "additionalProperties": _EPOCH},
            ]
        }
    ),
]
Texts = Annotated[tuple[str, ...], BeforeValidator(_one_or_more, json_schema_input_type=str | list[str])]
Criterion = Literal["longest", "shortest"]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A part of the recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, defer_build=True)


class IdSection(Section):
    """Where the dataset keeps its ids, and what stands in for a null one."""

    column: str | None = Field(None, description="column of the user's own id; none: every id is null")
    if_null: Literal["content"] | None = Field(None, description="content: a null id becomes the digest of the text")


class ColumnsSection(Section):
    """Where the dataset keeps its text, id and URL; a dotted path descends into structs and JSON strings."""

    text: str | None = Field(None, description="column of the text (default: text)")
    id: str | IdSection | None = Field(
        None,
        description="column of the user's own id; content: the digest of the text, unless a column is called so; "
        "or {column: NAME, if_null: content}",
    )
    url: str | None = Field(None, description="column of the URL")


class DatasetSection(Section):
    """One named source of documents."""

    paths: Texts = Field(description="file, folder, glob or URL, or a list of them; relative to the current directory")
    preset: str | None = Field(
        None,
        description="a known schema: gives columns and licence",
        json_schema_extra={"enum": [None, *sorted(PRESETS)]},
    )
    format: Literal["auto", "parquet", "jsonl", "csv", "tsv", "arrow", "warc"] | None = Field(
        None, description="auto (default) goes by name and first bytes; any other reads only files of that format"
    )
    extract: Literal["resiliparse", "trafilatura", "none"] | None = Field(
        None, description="what takes the text out of the HTML of WARC files (default: resiliparse); none: the HTML"
    )
    columns: ColumnsSection = Field(ColumnsSection(), description="column mapping; overrides the preset's")
    licence: str | None = Field(None, description="licence, as the dataset card shall state it")
    role: Literal["source", "reference"] = Field(
        "source", description="reference: compared against by deduplication, never written"
    )


class HoldoutSection(Section):
    """Documents that are in no mix, written to a folder of their own."""

    share: float = Field(ge=0, lt=1, description="share of documents held out")
    by: str = Field(
        "content",
        description="what is held out together: content (equal texts), group (what shares a bucket of near_dedup with "
        "a drawn document), domain, or any other field of cells",
    )


def _holdout(value: object) -> float | HoldoutSection:
    """Read a share, or a mapping of share and what is held out together."""
    share = value.get("share") if isinstance(value, Mapping) else value
    if isinstance(value, HoldoutSection):
        return value
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        raise ValueError("must be a share from 0 to below 1, or a mapping such as {share: 0.01, by: domain}")
    if not isinstance(value, Mapping):
        return float(share)
    by = value.get("by", "content")
    if not isinstance(by, str) or not value.keys() <= {"share", "by"}:
        raise ValueError("must be a share, or a mapping of share and by (the name of a field, content or group)")
    return HoldoutSection(share=float(share), by=by)


Holdout = Annotated[
    float | HoldoutSection,
    PlainValidator(_holdout),
    PlainSerializer(lambda share: share.model_dump() if isinstance(share, HoldoutSection) else share),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0, "exclusiveMaximum": 1}, HoldoutSection.model_json_schema()]}
    ),
]


class OutputSection(Section):
    """How the mix is written."""

    columns: Annotated[tuple[str, ...], AfterValidator(_distinct)] = Field(
        (), description="input columns passed through to the mix; fact:STAGE.FACT or fact:FIELD is a column of facts"
    )
    shard_bytes: Bytes = Field(512_000_000, description="target size of an output file, such as 512MB")
    shuffle: Literal["none", "shard", "global"] = Field("global", description="order of the documents")
    layout: Literal["by_dataset", "interleaved"] = Field(
        "by_dataset", description="a folder per dataset, or files that are each a sample of the whole mix"
    )
    holdout: Holdout = Field(0.0, description="share of documents held out, or {share, by}: see HoldoutSection")
    format: Literal["parquet", "jsonl.zst"] = Field("parquet", description="format of the output files")
    repeat: bool | None = Field(
        None,
        description="write a document with n copies n times (default: true with mix.mode sample or layout interleaved)",
    )
    dropped: bool | tuple[str, ...] = Field(
        False, description="write dropped documents too, to RUN/dropped with their reason; or those of these stages"
    )


class SlurmSection(Section):
    """What one Slurm job asks for (cluster.kind slurm, and `winnow slurm-script`)."""

    jobs: int = Field(1, ge=1, description="jobs, or nodes of the script's one job")
    cores: int = Field(1, ge=1, description="cores of each")
    memory: Annotated[str, AfterValidator(_size)] = Field("4GB", description="memory of each, such as 64GB")
    walltime: str = Field("24:00:00", description="time limit", pattern=r"^([0-9]+-)?[0-9]{1,3}(:[0-9]{2}){0,2}$")
    partition: str | None = Field(None, description="partition (queue)")
    account: str | None = Field(None, description="account to charge")
    gpus: int = Field(0, ge=0, description="GPUs of each")
    interface: str | None = Field(None, description="network interface, such as ib0")
    local_directory: str | None = Field(None, description="scratch folder on the nodes")
    prologue: tuple[str, ...] = Field((), description="shell lines before the workers start")
    directives: tuple[str, ...] = Field((), description="further #SBATCH options, such as --qos=long")


class ClusterSection(Section):
    """Where the work runs; changes nothing about the result."""

    kind: Literal["local", "threads", "inline", "local-cuda", "scheduler", "slurm", "ray"] = Field(
        "local",
        description="local: Dask workers on this machine; threads: threads of this process; inline: one task after "
        "the other; local-cuda: one worker "
        "for each GPU; scheduler: a running Dask cluster; slurm: workers as Slurm jobs; ray: workers on a Ray cluster",
    )
    workers: Workers = Field(None, description="worker processes, or auto (sized from cores and memory)")
    threads_per_worker: Workers = Field(None, description="threads in each worker, or auto")
    memory_limit: Memory = Field(None, description="memory of each worker, such as 4GB, or auto")
    dashboard: str | None = Field(None, description="address of Dask's dashboard, such as 127.0.0.1:8787")
    address: str | None = Field(None, description="kind scheduler: its address, such as tcp://10.0.0.1:8786")
    scheduler_file: str | None = Field(None, description="kind scheduler: the file it wrote with --scheduler-file")
    task_timeout: float | None = Field(
        21600.0, gt=0, description="seconds after which a task is taken to hang and run elsewhere; null: never"
    )
    wait: float = Field(300.0, gt=0, description="seconds to wait for workers")
    link_timeout: float = Field(
        300.0,
        ge=LEAST_LINK_SECONDS,
        description="seconds that a network link may be down before what lies behind it is given up",
    )
    cores: int | None = Field(None, ge=1, description="kind ray: cores that the autoscaler is asked for")
    slurm: SlurmSection = Field(SlurmSection(), description="kind slurm: what a job asks for")
    backend: Literal["auto", "cpu", "gpu"] = Field(
        "auto", description="what computes: auto takes gpu where every worker has a GPU of its own"
    )
