"""Write the texts of dropped documents with the stage and the reason, where `output.dropped` asks for them.

Guarantees: texts are as they would be written (personal data redacted, lines cut), never what a stage of the recipe
would change; each is checked against the content hash its verdict rests on; the same recipe and inputs give the same
bytes. Documents that stage `read` drops have no text to write. Memory: one batch of text; the names of the files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster import storage
from cluster.engines import Engine
from cluster.errors import DamagedError
from cluster.files.sealed import write_public_json
from pipelines.mix.files import MixFile, PartWriter, cut
from pipelines.recipe.to_run import Prepared
from pipelines.records import read_dropped
from pipelines.written_texts import Document, as_written
from stages.core.costs import per_bundle
from stages.core.digests import DATA_FORMAT, digest
from stages.core.run import Run
from stages.outcome.lineage import lineage_digest
from stages.outcome.verdicts import Outcome, outcome
from stages.passes.annotate import check_texts, read_rows

I64 = npt.NDArray[np.int64]
FOLDER, MANIFEST = "dropped", "manifest.json"
WRITE = per_bundle("write dropped documents")
SCHEMA = pa.schema(
    [
        ("text", pa.large_string()),
        ("id", pa.large_string()),
        ("doc_id", pa.int64()),
        ("source", pa.string()),
        ("url", pa.large_string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
    ]
)


def write_dropped(engine: Engine, prepared: Prepared) -> None:
    """Write dropped documents to RUN/dropped, a folder per dataset; remove what another recipe wrote there."""
    root = storage.join(prepared.run.root, FOLDER)
    wanted = _stages(prepared)
    address = digest("dropped", lineage_digest(prepared.run), wanted, prepared.output.format, _size(prepared))
    if _is_written(root, address):
        return
    storage.remove(root)
    if not wanted:
        return
    run = prepared.run
    written = {d.name for d in run.datasets if d.role != "reference"}
    positions = [p for p, bundle in enumerate(run.manifest.bundles) if bundle.dataset in written]
    files: dict[str, list[dict[str, Any]]] = {name: [] for name in sorted(written)}
    task = partial(_write_bundle, run, root, wanted, (prepared.output.format, _size(prepared)))
    for dataset, found in engine.map(task, positions, cost=WRITE):
        files[dataset] += found
    datasets = {name: sorted(found, key=lambda file: str(file["path"])) for name, found in files.items()}
    listed = {"format": DATA_FORMAT, "made_by": address, "stages": wanted, "datasets": datasets}
    write_public_json(storage.join(root, MANIFEST), listed)


def files_of(root: str) -> Iterator[dict[str, Any]]:
    """Yield path below the run folder, bytes and sha256 of each file of dropped documents. Raises DamagedError."""
    path = storage.join(root, FOLDER, MANIFEST)
    if storage.exists(path):
        for files in read_dropped(path)["datasets"].values():
            yield from ({**file, "path": f"{FOLDER}/{file['path']}"} for file in files)


def _stages(prepared: Prepared) -> list[str]:
    """Return the names of the stages whose drops are written, in recipe order."""
    named = prepared.dropped
    if isinstance(named, bool):
        return [stage.name for stage in prepared.run.stages[1:]] if named else []
    return [stage.name for stage in prepared.run.stages if stage.name in named]


def _size(prepared: Prepared) -> int:
    return prepared.output.shard_bytes


def _is_written(root: str, address: str) -> bool:
    """Tell whether the files of this address are all there, with their sizes."""
    path = storage.join(root, MANIFEST)
    if not storage.exists(path):
        return False
    try:
        known = read_dropped(path)
        files = [(file["path"], file["bytes"]) for found in known["datasets"].values() for file in found]
        return bool(known["made_by"] == address) and storage.have_sizes(root, files)
    except DamagedError:
        return False


def _write_bundle(
    run: Run, root: str, wanted: list[str], how: tuple[str, int], position: int
) -> tuple[str, list[dict[str, Any]]]:
    """Write the dropped documents of one bundle; return its dataset and the files."""
    dataset = run.manifest.bundles[position].dataset
    stem, (format_, size) = f"part-{position:06d}", how
    with PartWriter(root=root, folder=dataset, stem=stem, schema=SCHEMA, target_bytes=size, format=format_) as writer:
        for table in _documents(run, wanted, position):
            for piece in cut(table):
                writer.write(piece, piece.num_rows, 0)
    return dataset, [_entry(file) for file in writer.files]


def _entry(file: MixFile) -> dict[str, Any]:
    return {name: value for name, value in asdict(file).items() if name in ("path", "rows", "bytes", "sha256")}


def _documents(run: Run, wanted: list[str], position: int) -> Iterator[pa.Table]:
    """Yield the documents of a bundle that these stages dropped, batch by batch, in `SCHEMA`."""
    found = outcome(run, position)
    rows = np.flatnonzero(np.isin(found.stage, [run.index(name) for name in wanted]))
    if not len(rows):
        return
    names = found.view.read.select(["id", "url"]).take(pa.array(rows))
    for batch, at in read_rows(run, found.view.bundle, rows, ["text"]):
        check_texts(found.view, rows[at], batch.table)
        some = names.take(pa.array(at))
        columns = (batch.table.column("text"), some.column("id"), some.column("url"))
        yield _table(run, found, rows[at], *(column.to_pylist() for column in columns))


def _table(
    run: Run, found: Outcome, rows: I64, texts: list[str], ids: list[str | None], urls: list[str | None]
) -> pa.Table:
    """Return documents as they would be written, with what dropped them."""
    doc = found.view.doc_ids[rows].tolist()
    given = zip(doc, texts, ids, urls, strict=True)
    shown = as_written(run, {d: Document(doc_id=d, text=text, id=name, url=url) for d, text, name, url in given})
    stages = found.stage[rows].tolist()
    reasons = [found.reasons[stage][code] for stage, code in zip(stages, found.reason[rows].tolist(), strict=True)]
    columns = {
        "text": [shown[d].text for d in doc],
        "id": [shown[d].id for d in doc],
        "doc_id": doc,
        "source": [found.view.bundle.dataset] * len(doc),
        "url": [shown[d].url for d in doc],
        "stage": [run.stages[stage].name for stage in stages],
        "reason": reasons,
        "value": pa.array(found.value[rows], from_pandas=True),
        "threshold": pa.array(found.threshold[rows], from_pandas=True),
    }
    return pa.table(columns, schema=SCHEMA)
