"""Export a mix: tokens in the native files of a training loader.

    winnow export RUN --format megatron --tokenizer tokenizer.json --sequence-length 4096 --out EXPORT

Guarantees: the same mix, tokenizer and settings give the same bytes, whatever the number of workers, interruptions and
the layout of the mix; `export.json` is written last, so a folder that has it is whole; what another export wrote is
never touched. Memory: that of the tasks (`job.py`), and here one record of a part at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cluster import storage
from cluster.credentials import check_place
from cluster.errors import RecipeError
from cluster.files.digesting import sha256_of
from cluster.files.sealed import commit_sealed, write_json, write_public_json
from cluster.seed import DEFAULT_SEED
from cluster.start import start
from pipelines.export.files import LITDATA_CODES, mds_columns
from pipelines.export.job import ExportJob, read_record, write_parts
from pipelines.export.record import PARTS, PartFile, is_whole, parts_path, read_about
from pipelines.export.settings import FORMATS, Settings, check_settings, dtype_of, one_of
from pipelines.export.source import open_source
from pipelines.export.tokens import (
    TokenizerFiles,
    end_token,
    fill_token,
    find_tokenizer,
    load_tokenizer,
    special_id,
    tokenizer_of,
    vocabulary_size,
)
from pipelines.run.progress import Progress, Silent
from pipelines.run.watched import Watched
from pipelines.run_state import only_one, reopen, working_at_home
from pipelines.runfolder import open_run
from pipelines.staleness import recipe_of_ledger
from stages.core.digests import DATA_FORMAT, digest

HF_CARD = """\
---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/part-*
---

Windows of tokens, made with winnow. `seq_lengths`: lengths of the documents in a window; what lies behind fills it.
`export.json` says which tokenizer and packing, `winnow trace` which documents.
"""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the user asks of an export; tokens that are None are the tokenizer's own."""

    format: str
    tokenizer: str
    sequence_length: int
    pack: str = "concat"
    eod: str | None = None
    bos: str | None = None
    pad: str | None = None
    split: str = "train"
    seed: int = DEFAULT_SEED
    shard_tokens: int | None = None
    mix: str | None = None
    dataset: str | None = None


def export(
    run_dir: str,
    out: str,
    wishes: Wishes,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Export a run's mix into the folder `out`; return what export.json says.

    Raises
    ------
    RecipeError
        A setting or the tokenizer is none, the run has no such mix, or `out` holds something else.
    """
    check_place(out, "the export")
    files = find_tokenizer(wishes.tokenizer)
    settings = _settings(wishes, files)
    target = storage.absolute(out.rstrip("/"))
    with working_at_home(run_dir) as root, _claimed(target):
        folder = open_run(root, warn=False)
        prepared = reopen(root, recipe_of_ledger(root))
        options = prepared.cluster if workers is None else replace(prepared.cluster, workers=workers)
        watched = Watched(start(options, root), progress or Silent())
        with contextlib.closing(watched) as engine:
            with engine.step("look at the mix"):
                source = open_source(engine, folder, wishes.split, mix=wishes.mix, dataset=wishes.dataset)
            address = digest("export", source.digest, settings, files.sha256)
            known = _finished(target, address)
            if known is None:
                job = ExportJob(
                    settings=settings,
                    source=source,
                    root=target,
                    work=storage.join(target, ".work", address),
                    tokenizer=files.name,
                    workers=engine.workers,
                )
                _begin(target, address, files)
                with engine.step("export", documents=None):
                    write_parts(engine, job)
                known = _finish(job, address, prepared.run.manifest_digest, wishes, files)
            _note_run(target, storage.absolute(root))
            storage.remove(storage.join(target, ".work"))
    return known


def _settings(wishes: Wishes, files: TokenizerFiles) -> Settings:
    """Return the settings that the wishes and the tokenizer make. Raises RecipeError."""
    one_of("--format", wishes.format, FORMATS)
    kind = FORMATS[wishes.format]
    tokenizer = tokenizer_of(files.json, files.name)
    eod = end_token(tokenizer, files, wishes.eod)
    settings = Settings(
        format=wishes.format,
        sequence_length=wishes.sequence_length,
        pack=wishes.pack,
        eod=eod,
        bos=special_id(tokenizer, "--bos", wishes.bos),
        pad=fill_token(tokenizer, files, wishes.pad, eod),
        dtype=dtype_of(vocabulary_size(tokenizer), kind),
        seed=wishes.seed,
        split=wishes.split,
        shard_tokens=wishes.shard_tokens or max(kind.shard_tokens, wishes.sequence_length + kind.extra),
    )
    check_settings(settings)
    return settings


@contextlib.contextmanager
def _claimed(target: str) -> Iterator[None]:
    """Hold the folder of the export; raise RecipeError where it holds something that is none."""
    have = storage.names(target) - {".lock", ".work"}
    if have and not have & {"export.json", "tokenizer.json"}:
        raise RecipeError(f"--out {target} holds {min(have)} and no export. Give a folder that is empty or missing.")
    with only_one(target):
        yield


def _finished(target: str, address: str) -> dict[str, Any] | None:
    """Return export.json where it is this export, whole; None where it is begun, new or lost a file.

    Raises RecipeError for another, DamagedError where export.json cannot tell.
    """
    path = storage.join(target, "export.json")
    if storage.exists(path):
        found = read_about(target)
        if found.get("address") != address:
            raise RecipeError(
                f"{target} holds another export ({found.get('format')}, pack {found.get('pack')}, or of another mix). "
                "Give another --out, or remove it first."
            )
        return found if is_whole(target, found) else None
    begun = storage.join(target, ".work", "address")
    if storage.exists(begun) and storage.read_bytes(begun).decode() != address:
        raise RecipeError(
            f"{target} holds another export that is not finished. Give another --out, or remove it first."
        )
    return None


def _begin(target: str, address: str, files: TokenizerFiles) -> None:
    storage.write_bytes(storage.join(target, ".work", "address"), address.encode())
    path = storage.join(target, "tokenizer.json")
    if not storage.exists(path) or storage.read_bytes(path) != files.json:
        storage.write_bytes(path, files.json)


def _note_run(target: str, root: str) -> None:
    """Write down where the run folder lies, apart from what others compare."""
    beside = os.path.relpath(root, target) if storage.is_local(root) and storage.is_local(target) else root
    write_json(storage.join(target, "trace", "run.json"), {"run": root, "beside": beside})


def _finish(
    job: ExportJob, address: str, manifest_digest: str, wishes: Wishes, files: TokenizerFiles
) -> dict[str, Any]:
    """Write the list of parts, the format's own index, then export.json; return that."""
    totals = _write_parts_list(job)
    _write_index(job)
    settings = job.settings
    filled = totals["filled"]
    found = {
        "winnow_export": DATA_FORMAT,
        **{name: value for name, value in asdict(settings).items() if name != "shard_tokens"},
        "window": settings.window,
        "shard_tokens": settings.shard_tokens,
        "tokenizer": {"name": files.name, "sha256": files.sha256},
        "vocab_size": vocabulary_size(load_tokenizer(job.tokenizer_path)),
        "mix": wishes.mix,
        "dataset": wishes.dataset,
        "manifest_digest": manifest_digest,
        "parts": job.parts,
        "documents": totals["documents"],
        "copies": totals["copies"],
        "documents_without_tokens": totals["empty"],
        "sequences": totals["sequences"],
        "tokens": totals["tokens"] - filled,
        "padding_tokens": filled,
        "padding_share": round(filled / max(1, totals["tokens"]), 6),
        "address": address,
        "files": _beside_parts(job.root),
    }
    write_public_json(storage.join(job.root, "export.json"), found)
    return found


def _beside_parts(root: str) -> list[PartFile]:
    """Return the files of an export that belong to no part."""
    found: list[PartFile] = []
    for name in ("README.md", "index.json", "tokenizer.json", "trace/parts.parquet"):
        path = storage.join(root, name)
        if storage.exists(path):
            size, mark = sha256_of(path)
            found.append({"path": name, "bytes": size, "sha256": mark})
    return found


def _write_parts_list(job: ExportJob) -> dict[str, int]:
    """Write trace/parts.parquet, one row for each part; return the sums of the records."""
    totals = dict.fromkeys(("sequences", "tokens", "filled", "copies", "documents", "empty"), 0)
    with (
        commit_sealed(parts_path(job.root)) as file,
        pq.ParquetWriter(file, PARTS, compression="zstd", write_page_checksum=True) as writer,
    ):
        rows = []
        for number in range(job.parts):
            record = read_record(job, number)
            rows.append(_part_row(job, number, record, totals["sequences"]))
            for name in totals:
                totals[name] += record[name] if name != "sequences" else rows[-1]["sequences"]
            if len(rows) == 1024 or number + 1 == job.parts:
                writer.write_table(pa.Table.from_pylist(rows, schema=PARTS))
                rows = []
    return totals


def _part_row(job: ExportJob, number: int, record: dict[str, Any], first: int) -> dict[str, Any]:
    settings = job.settings
    paths = [f["path"] for f in record["files"] if f["path"].endswith(f"part-{number:05d}{settings.kind.suffix}")]
    paths = [path for path in paths if not path.startswith(("trace/", "label_mask/"))]
    own = settings.whole_documents and settings.format != "megatron"  # the loader cuts, and leaves what is too short
    return {
        "part": number,
        "first_sequence": first,
        "sequences": record["tokens"] // settings.window if own else record["sequences"],
        "tokens": record["tokens"],
        "path": paths[0] if paths else None,
        "files": json.dumps(record["files"]),
    }


def _write_index(job: ExportJob) -> None:
    """Write what MosaicML Streaming, litdata and datasets find the files by."""
    if job.settings.format == "hf":
        storage.write_bytes(storage.join(job.root, "README.md"), HF_CARD.encode())
    if job.settings.format not in ("mds", "litdata"):
        return
    head, tail = _mds_ends() if job.settings.format == "mds" else _litdata_ends(job.settings)
    entry = _mds_entry if job.settings.format == "mds" else _litdata_entry
    with storage.commit(storage.join(job.root, "index.json")) as file:
        file.write(head.encode())
        first = True
        for number in range(job.parts):
            record = read_record(job, number)
            if record["sequences"]:
                text = json.dumps(entry(job.settings, record), sort_keys=True)
                file.write(f"{'' if first else ', '}{text}".encode())
                first = False
        file.write(tail.encode())


def _mds_ends() -> tuple[str, str]:
    return '{"shards": [', '], "version": 2}'


def _mds_entry(settings: Settings, record: dict[str, Any]) -> dict[str, Any]:
    (file,) = [f for f in record["files"] if f["path"].endswith(".mds")]
    raw = {"basename": file["path"], "bytes": file["bytes"], "hashes": {}}
    return {**mds_columns(settings), "raw_data": raw, "zip_data": None, "samples": record["sequences"]}


def _litdata_ends(settings: Settings) -> tuple[str, str]:
    config = {
        "chunk_bytes": settings.shard_tokens * np.dtype(settings.dtype).itemsize,
        "chunk_size": None,
        "compression": None,
        "data_format": [f"no_header_tensor:{LITDATA_CODES[settings.dtype]}"],
        "data_spec": json.dumps([1, {"type": None, "context": None, "children_spec": []}]),
        "encryption": None,
        "item_loader": "TokensLoader",
    }
    return '{"chunks": [', f'], "config": {json.dumps(config, sort_keys=True)}}}'


def _litdata_entry(settings: Settings, record: dict[str, Any]) -> dict[str, Any]:
    (file,) = [f for f in record["files"] if f["path"].endswith(".bin")]
    return {
        "chunk_bytes": record["tokens"] * np.dtype(settings.dtype).itemsize,
        "chunk_size": record["sequences"],
        "dim": record["tokens"],
        "filename": file["path"],
    }
