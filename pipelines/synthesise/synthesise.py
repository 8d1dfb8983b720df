"""`winnow synthesise RUN wiki.yaml`: kept documents of a run, rewritten, as the dataset RUN/synthetic/NAME.

Chunks of texts, as the mix has them, go to ranges of their digests, where equal ones meet, are rewritten there, and
each range becomes one file. Guarantees: every row names its source document, chunk, prompt and model; the same run,
settings and answers give the same files; what is finished is not done again. Memory: the chunks of one range and their
outputs.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from typing_extensions import TypedDict  # pydantic reads them, and needs this one before Python 3.12

from classifiers.endpoint.answers import Range
from cluster import storage
from cluster.engines import Engine
from cluster.errors import RecipeError
from cluster.exchange import Exchange, Written
from cluster.files.records import read_public_record, read_record
from cluster.files.sealed import commit_sealed, write_json, write_public_json
from pipelines.runfolder import RunFolder
from pipelines.synthesise.choose import Choice, choose
from pipelines.synthesise.chunks import chunks, estimated
from pipelines.synthesise.rewrite import Draft, rewrite
from pipelines.synthesise.settings import Synthesis
from stages.asking.texts import level_of, text_digest
from stages.core.arrays import whole
from stages.core.digests import digest
from stages.core.edits import apply
from stages.core.run import Run
from stages.core.view import View
from stages.implicit.count_tokens import counts
from stages.language_id import LanguageId
from stages.passes.annotate import check_texts, read_rows

FOLDER = "synthetic"
CARD = "card.json"
CHUNKS = pa.schema([("key", pa.uint64()), ("doc", pa.int64()), ("chunk", pa.int32()), ("text", pa.large_string())])
ROWS = pa.schema(
    [
        ("text", pa.large_string()),
        ("id", pa.string()),
        ("url", pa.string()),  # null: it is nobody's page
        ("source_doc_id", pa.int64()),
        ("source_dataset", pa.string()),
        ("source_path", pa.string()),
        ("source_row", pa.int64()),
        ("source_id", pa.large_string()),
        ("source_url", pa.large_string()),
        ("source_hash", pa.string()),  # of the text as it was read
        ("chunk", pa.int32()),
        ("chunk_text", pa.large_string()),
        ("prompt", pa.string()),
        ("model", pa.string()),
        ("critiques", pa.list_(pa.large_string())),
    ]
)
LINEAGE = tuple(ROWS.names[3:])
KEPT = "kept"


@dataclass(frozen=True)
class Job:
    """Rewriting in one run folder. made: digest of settings and run, which names the scratch that is gone on with."""

    run: Run
    settings: Synthesis
    scratch: str
    language_model: str
    made: str

    @property
    def folder(self) -> str:
        return storage.join(self.run.root, FOLDER, self.settings.name)


class _CardOnDisk(TypedDict):
    """What is asked of card.json of a dataset that is there."""

    settings: str
    made_of: str
    name: str
    licence: str
    weight: float | None
    documents: int
    chunks: int
    outputs: int
    prompts: dict[str, dict[str, int]]


class _PartNote(TypedDict):
    """What is written down of a range."""

    documents: int
    chunks: int
    outputs: int
    prompts: dict[str, dict[str, int]]


def synthesise(engine: Engine, folder: RunFolder, settings: Synthesis) -> dict[str, Any]:
    """Write the synthetic dataset of a finished run; return its card.

    Raises
    ------
    RecipeError
        the dataset is there, made otherwise; a condition names no field of the run; nothing meets the conditions.
    """
    job = job_of(folder, settings)
    card_path = storage.join(job.folder, CARD)
    if storage.exists(card_path):
        card = read_public_record(card_path, _CardOnDisk)
        again = settings.name in {dataset.name for dataset in job.run.datasets}  # the run has it already
        if card["settings"] != settings.digest() or (card["made_of"] != job.made and not again):
            raise RecipeError(
                f"{job.folder} was made of other settings or another run. Remove it to make it anew; answers are kept."
            )
        return card
    _drop_other_attempts(job)
    reach, documents = _chosen(engine, job)
    level = level_of(documents)
    hop = Exchange(folder=storage.join(job.scratch, "chunks"), destinations=1 << level, schema=CHUNKS, route="key")
    choice = Choice(job.run, settings, job.scratch)
    positions = range(len(job.run.manifest.bundles))
    written = hop.scatter(engine, list(positions), partial(_chunks, job, choice, reach))
    processes = max(1, min(engine.workers, 1 << level))
    parts = engine.map(partial(_rewrite, job, hop, written, level, processes), range(1 << level))
    _drop_other_parts(job, parts)
    card = _card(folder, job, job.made, documents, parts)
    write_public_json(card_path, card)
    storage.remove(job.scratch)
    return card


def job_of(folder: RunFolder, settings: Synthesis) -> Job:
    run = folder.run
    if settings.name in {dataset.name for dataset in run.datasets}:
        known = (folder.recipe["datasets"][settings.name] or {}).get("preset")
        if known != "synthetic":
            raise RecipeError(f"name {settings.name} is a dataset of the run. Choose another name.")
    models = [stage.model for stage in run.stages if isinstance(stage, LanguageId)]
    made = digest(settings.digest(), run.manifest_digest, [stage.digest() for stage in run.stages])
    scratch = storage.join(run.root, "exchange", f"synthesise-{settings.name}-{made}.{run.code}")
    return Job(run, settings, scratch, models[-1] if models and settings.checks.language else "", made)


def _drop_other_attempts(job: Job) -> None:
    """Remove what was begun with other settings, of another run or by other code."""
    exchange, own = storage.join(job.run.root, "exchange"), job.scratch.rpartition("/")[2]
    begun = re.compile(rf"synthesise-{re.escape(job.settings.name)}-[0-9a-f]{{16}}(\.[0-9a-f]*)?")
    for name in sorted(storage.names(exchange) - {own}):
        if begun.fullmatch(name):
            storage.remove(storage.join(exchange, name))


def _drop_other_parts(job: Job, parts: Sequence[dict[str, Any]]) -> None:
    """Remove the parts that another attempt left."""
    mine = {_part_name(number) for number, part in enumerate(parts) if part["outputs"]}
    for name in sorted(storage.names(job.folder) - mine):
        if name.startswith("part-"):
            storage.remove(storage.join(job.folder, name))


def _part_name(destination: int) -> str:
    return f"part-{destination:05d}.parquet"


def _chosen(engine: Engine, job: Job) -> tuple[int, int]:
    """Return up to which place documents are rewritten, and how many these are."""
    choice = Choice(job.run, job.settings, job.scratch)
    reach = choose(engine, choice)
    positions = range(len(job.run.manifest.bundles))
    documents = sum(engine.map(partial(_count, choice, reach), positions))
    if not documents:
        why = "the budget reaches none" if reach < 0 or job.settings.limits.any else "none meets `where`"
        raise RecipeError(f"no document of {job.run.root} is to be rewritten: {why}.")
    return reach, documents


def _count(choice: Choice, reach: int, position: int) -> int:
    return len(choice.rows(reach, position))


def _chunks(job: Job, choice: Choice, reach: int, position: int) -> Iterator[pa.Table]:
    """Yield the chunks of a bundle's documents, as the mix has their texts."""
    settings, view = job.settings, View.at(job.run, position)
    rows = choice.rows(reach, position)
    count = partial(_counted, settings.tokenizer) if settings.tokenizer else estimated
    for batch, at in read_rows(job.run, view.bundle, rows, ["text"]):
        here = rows[at]
        check_texts(view, here, batch.table)
        texts = apply(whole(batch.table.column("text")), view.edits.among(here))
        found = [
            (int(doc), number, chunk)
            for doc, text in zip(view.doc_ids[here].tolist(), texts.to_pylist(), strict=True)
            for number, chunk in enumerate(chunks(text, settings.chunk_tokens, settings.min_chunk_tokens, count))
        ]
        keys = np.array([int.from_bytes(text_digest(chunk)[:8]) for _, _, chunk in found], np.uint64)
        columns = [list(column) for column in zip(*found, strict=True)] or [[], [], []]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, list(CHUNKS)[1:], strict=True)]
        yield pa.table([pa.array(keys), *arrays], schema=CHUNKS)


def _counted(tokenizer: str, texts: Sequence[str]) -> list[int]:
    found: list[int] = counts(tokenizer, list(texts)).tolist()
    return found


def _rewrite(job: Job, hop: Exchange, written: Written, level: int, processes: int, destination: int) -> dict[str, Any]:
    """Write the outputs of one range; return how many were kept, and lost by which reason, by prompt."""
    note = storage.join(job.scratch, "parts", f"{destination}.json")
    if storage.exists(note):
        return dict(read_record(note, _PartNote))
    table = hop.gather(written, destination).sort_by([("doc", "ascending"), ("chunk", "ascending")])
    texts = list(dict.fromkeys(table.column("text").to_pylist()))
    drafts = rewrite(job.run.root, job.settings, processes, Range(level, destination), texts, job.language_model)
    counted: dict[str, Counter[str]] = {prompt.name: Counter() for prompt in job.settings.loaded()}
    for draft in drafts:
        counted[draft.prompt][draft.reason or KEPT] += 1
    rows = _rows(job, table, drafts)
    if rows.num_rows:
        path = storage.join(job.folder, _part_name(destination))
        with commit_sealed(path) as file, pq.ParquetWriter(file, ROWS, write_page_checksum=True) as writer:
            writer.write_table(rows)
    found = {
        "documents": len(set(table.column("doc").to_pylist())),
        "chunks": len(texts),
        "outputs": rows.num_rows,
        "prompts": {name: dict(sorted(counter.items())) for name, counter in counted.items()},
    }
    write_json(note, found)
    return found


def _rows(job: Job, table: pa.Table, drafts: Sequence[Draft]) -> pa.Table:
    """Return a row for each usable output: once for the first document that holds its chunk."""
    first: dict[str, tuple[int, int]] = {}
    for row in table.select(["doc", "chunk", "text"]).to_pylist():
        first.setdefault(row["text"], (row["doc"], row["chunk"]))
    usable = [draft for draft in drafts if not draft.reason]
    sources = _sources(job.run, sorted({first[draft.chunk][0] for draft in usable}))
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    for draft in usable:
        if draft.text in seen:  # two prompts or models may say the same
            continue
        seen.add(draft.text)
        doc, chunk = first[draft.chunk]
        source = sources[doc]
        told = (source["source_hash"], chunk, draft.prompt, draft.model, job.settings.digest())
        rows.append(
            {
                "text": draft.text,
                "id": f"{job.settings.name}-{hashlib.sha256(repr(told).encode()).hexdigest()[:24]}",
                "url": None,
                "source_doc_id": doc,
                **source,
                "chunk": chunk,
                "chunk_text": draft.chunk,
                "prompt": draft.prompt,
                "model": draft.model,
                "critiques": draft.critiques,
            }
        )
    return pa.Table.from_pylist(rows, schema=ROWS).sort_by([("source_hash", "ascending"), ("id", "ascending")])


def _sources(run: Run, docs: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return what is known of source documents, by doc_id."""
    found: dict[int, dict[str, Any]] = {}
    if not docs:
        return found
    order = np.array(docs, np.int64)
    position, row = run.manifest.locate(order)
    for here in np.unique(position).tolist():
        view = View.at(run, here)
        mine = np.flatnonzero(position == here)
        read = view.read.select(["d1", "d2", "id", "url"]).take(pa.array(row[mine]))
        for doc, one in zip(order[mine].tolist(), read.to_pylist(), strict=True):
            found[doc] = {
                "source_dataset": view.bundle.dataset,
                "source_path": run.manifest.shard(doc >> 32).path,
                "source_row": doc & 0xFFFFFFFF,
                "source_id": one["id"],
                "source_url": one["url"],
                "source_hash": f"{one['d1']:016x}{one['d2']:016x}",
            }
    return found


def _card(folder: RunFolder, job: Job, made: str, documents: int, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what is known of the dataset: settings, licence, counts by prompt and reason."""
    settings = job.settings
    total: dict[str, Counter[str]] = {}
    for part in parts:
        for name, reasons in part["prompts"].items():
            total.setdefault(name, Counter()).update(reasons)
    sources = [d.name for d in job.run.datasets if d.role != "reference"]
    licences = sorted({folder.licence(name) or "" for name in sources})
    return {
        "name": settings.name,
        "synthetic": True,
        "made_of": made,
        "settings": settings.digest(),
        "licence": settings.licence or (licences[0] if len(licences) == 1 and licences[0] else "other"),
        "licences_of_sources": [licence or "not given" for licence in licences],
        "models": list(settings.models),
        "prompts": {name: dict(sorted(counter.items())) for name, counter in sorted(total.items())},
        "rounds": settings.rounds,
        "weight": settings.weight,
        "documents": documents,
        "chunks": sum(part["chunks"] for part in parts),
        "outputs": sum(part["outputs"] for part in parts),
    }
