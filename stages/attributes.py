"""Join attribute files that other tools wrote to documents by id: scores as limits, spans as cuts.

Guarantees: ids meet through the exchange, so neither side needs an order; of rows with one id the first counts, by file
and row; the outcome does not depend on files, order, partitioning or workers. Documents without attributes are counted.
Memory: the attributes and ids of one destination; the names of the attribute files in the process that starts the run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster import storage
from cluster.engines import Engine
from cluster.exchange import Exchange
from cluster.files.arrow_files import read_arrow
from cluster.files.records import read_record
from cluster.files.sealed import write_json
from stages.core.arrays import array, list_column, whole
from stages.core.costs import per_bundle, per_destination, per_group
from stages.core.edits import Edits, from_spans
from stages.core.exchange_stage import ExchangeStage, destinations_for, is_complete, mark_complete
from stages.core.run import Run, StageRun
from stages.core.stage import Decisions, param, parsed_limit
from stages.core.view import View
from stages.detect import attribute_files
from stages.detect.attribute_files import SPAN, Field
from stages.kernels.hashes.hashing import buffers, xxh64
from stages.passes.annotate import read_rows

I64 = npt.NDArray[np.int64]
CUT = pa.struct([("start", pa.int32()), ("stop", pa.int32())])
VALUES, SPANS = pa.list_(pa.float64()), pa.list_(SPAN)
ROWS = (
    pa.schema(  # what meets: documents (order -1) and attributes (order: file and row)
        [("key", pa.uint64()), ("id", pa.large_string()), ("doc", pa.int64()), ("order", pa.int64())]
    )
    .append(pa.field("values", VALUES))
    .append(pa.field("spans", SPANS))
)
HOME = pa.schema([("destination", pa.int32()), ("doc", pa.int64()), ("values", VALUES), ("spans", SPANS)])
ROW_BITS = 32
TOTALS = "totals.json"  # documents and missing ones of each dataset


@dataclass(frozen=True, kw_only=True)
class JoinedAttributes(ExchangeStage):
    """Keep documents by scores in attribute files, and cut spans that these name.

    Reads: the ids of the documents that live, attribute files (Dolma's, datatrove's metadata, any table with ids).
    Writes: a number per field, the spans to be cut. Drops: under the name of the field whose limit is broken first,
    with the value; `no_attributes`, where a limited field has none (`keep_missing`: they stay). Dolma's lists of
    [start, end, score] have the largest score as their number; their spans are characters of the text as it is read.
    """

    use: ClassVar[str] = "attributes"
    summary: ClassVar[str] = "Scores and spans of attribute files (Dolma, datatrove) joined by id"

    files: tuple[str, ...] = param((), "files, folders or globs of attributes; JSONL, Parquet …", fact=True)
    id: str = param("id", "field with the document's id, a dotted path", fact=True)
    fields: tuple[str, ...] = param((), "attributes: NAME=PATH, with a dotted path", fact=True)
    limits: tuple[str, ...] = param((), "limits of fields, for instance toxic<=0.5")
    cut: tuple[str, ...] = param((), "fields whose spans are cut")
    min_span_score: float = param(0.0, "cut only spans with at least this score")
    keep_missing: bool = param(False, "documents without a limited field stay")

    def validate(self) -> None:
        if not self.files:
            raise self.error("files", [], "at least one file or folder")
        names = [field.name for field in self.parsed]
        if not names or len(set(names)) < len(names) or not all(n.isidentifier() and p for n, p in self._pairs):
            raise self.error("fields", self.fields, "NAME=PATH each, with different names")
        for name in self.cut:
            if name not in names:
                raise self.error("cut", name, "one of the fields " + ", ".join(names))
        self.rules()

    @property
    def _pairs(self) -> list[tuple[str, str]]:
        return [(name, path) for name, _, path in (text.partition("=") for text in self.fields)]

    @property
    def parsed(self) -> tuple[Field, ...]:
        """The fields by name and path."""
        return tuple(Field(name=name, path=path) for name, path in self._pairs)

    def rules(self) -> list[tuple[int, float, float]]:
        """Return (field, low, high) of every limit."""
        names, found = [name for name, _ in self._pairs], []
        for text in self.limits:
            limit = parsed_limit(text)
            if limit is None or limit[0] not in names:
                raise self.error("limits", text, "FIELD>=NUMBER or FIELD<=NUMBER", f"Fields are {', '.join(names)}.")
            name, sign, bound = limit
            low, high = (bound, np.inf) if sign == ">=" else (-np.inf, bound)
            found.append((names.index(name), low, high))
        return found

    @property
    def drops(self) -> bool:
        return bool(self.limits)

    def model_digest(self) -> str:
        return attribute_files.digest_of(self.files)

    def resolve(self, engine: Engine, stage_run: StageRun[Self]) -> None:
        if is_complete(stage_run):
            return
        run, sources = stage_run.run, attribute_files.files_of(self.files)
        join = Exchange(
            folder=stage_run.folder("ids"), destinations=destinations_for(2 * run.manifest.rows()), schema=ROWS
        )
        both: list[int | tuple[int, str]] = [*stage_run.positions, *enumerate(sources)]
        found = join.run(engine, both, partial(_emit, stage_run), _join, emit_cost=EMIT, receive_cost=JOIN)
        home = Exchange(
            folder=stage_run.folder("home"), destinations=len(run.manifest.groups), schema=HOME, route="destination"
        )
        write, joined = partial(_write, stage_run), [path for path in found if path]
        home.run(engine, joined, partial(_route, run), write, emit_cost=ROUTE, receive_cost=WRITE)
        totals: dict[str, list[int]] = {}
        for dataset, live, missing in engine.map(partial(_count, stage_run), stage_run.positions, cost=COUNT):
            entry = totals.setdefault(dataset, [0, 0])
            entry[0], entry[1] = entry[0] + live, entry[1] + missing
        write_json(_totals(stage_run), totals)
        mark_complete(stage_run, beside=[TOTALS])

    def notes(self, stage_run: StageRun[Self]) -> list[str]:
        path = _totals(stage_run)
        totals = read_record(path, dict[str, tuple[int, int]]) if storage.exists(path) else {}
        return [
            f"{self.name}: {missing:,} of {live:,} documents of {dataset} have no attributes in the files."
            for dataset, (live, missing) in sorted(totals.items())
            if missing
        ]

    def verdicts(self, view: View, index: int) -> tuple[I64, Decisions]:
        table = view.stored_decisions(index)
        names = [name for name, _ in self._pairs]
        reason = np.full(table.num_rows, -1, np.int16)
        value, threshold = np.full(table.num_rows, np.nan), np.full(table.num_rows, np.nan)
        for field, low, high in self.rules():
            number = table.column(names[field]).to_numpy().astype(np.float64)
            broken = (reason < 0) & ((number < low) | (number > high))
            reason[broken], value[broken] = field, number[broken]
            threshold[broken] = np.where(number[broken] > high, high, low)
            if not self.keep_missing:
                reason[(reason < 0) & np.isnan(number)] = len(names)
        return array(table, "row").astype(np.int64), Decisions(reason, (*names, "no_attributes"), value, threshold)

    def edits_of(self, view: View, index: int, rows: I64) -> Edits:
        table = view.stored_decisions(index)
        spans = whole(table.column("spans"))
        flat = pc.list_flatten(spans)
        names = [name for name, _ in self._pairs]
        field = np.asarray(pc.struct_field(flat, "field").to_numpy(zero_copy_only=False))
        score = np.asarray(pc.struct_field(flat, "score").to_numpy(zero_copy_only=False))
        chosen = np.isin(field, [names.index(name) for name in self.cut]) & (score >= self.min_span_score)
        return from_spans(spans).take(chosen).numbered(array(table, "row").astype(np.int64)).among(rows)


EMIT = per_bundle("send ids and attributes")
JOIN = per_destination("join attributes by id")
ROUTE = per_destination("route attributes")
WRITE = per_group("write attributes")
COUNT = per_bundle("count documents without attributes")


def _totals(stage_run: StageRun[JoinedAttributes]) -> str:
    return storage.join(stage_run.decisions.folder, TOTALS)


def _emit(stage_run: StageRun[JoinedAttributes], source: int | tuple[int, str]) -> Iterable[pa.Table]:
    """Yield the ids of a bundle's documents that live, or the rows of an attribute file."""
    stage = stage_run.stage
    if isinstance(source, int):
        view = View.at(stage_run.run, source)
        rows = np.flatnonzero(view.live(stage_run.index)) if stage.applies_to(view.bundle.dataset) else np.empty(0, int)
        ids = whole(view.read.column("id")).take(pa.array(rows))
        nothing = np.full(len(rows), -1, np.int64)
        yield _rows(ids, view.doc_ids[rows], nothing, pa.nulls(len(rows), VALUES), pa.nulls(len(rows), SPANS))
        return
    ordinal, path = source
    number = ordinal << ROW_BITS
    for batch in attribute_files.batches(path, stage.id, stage.parsed):
        order = np.arange(number, number + len(batch), dtype=np.int64)
        number += len(batch)
        ids = pa.array([row.id for row in batch], pa.large_string())
        spans = [[dict(zip(SPAN.names, span, strict=True)) for span in row.spans] for row in batch]
        values = pa.array([row.values for row in batch], VALUES)
        yield _rows(ids, np.full(len(batch), -1, np.int64), order, values, pa.array(spans, SPANS))


def _rows(ids: pa.Array, doc: I64, order: I64, values: pa.Array, spans: pa.Array) -> pa.Table:
    ids = ids.cast(pa.large_string())
    has = pa.array(ids.is_valid())
    key = xxh64(*buffers(pc.fill_null(ids, "")))
    return pa.table([pa.array(key), ids, pa.array(doc), pa.array(order), values, spans], schema=ROWS).filter(has)


def _join(_: int, table: pa.Table) -> pa.Table | None:
    """Return the documents of a destination that have attributes, with those of the first row of their id."""
    code = whole(table.column("id")).dictionary_encode().indices.to_numpy().astype(np.int64)
    order = array(table, "order").astype(np.int64)
    given = np.flatnonzero(order >= 0)
    given = given[np.lexsort([order[given], code[given]])]
    known, first = np.unique(code[given], return_index=True)
    documents = np.flatnonzero(order < 0)
    at = np.searchsorted(known, code[documents])
    hit = at < len(known)
    hit[hit] = known[at[hit]] == code[documents[hit]]
    if not hit.any():
        return None
    found = table.select(["values", "spans"]).take(pa.array(given[first[at[hit]]]))
    doc = table.column("doc").take(pa.array(documents[hit]))
    return found.add_column(0, "doc", doc).combine_chunks()


def _route(run: Run, source: str) -> Iterable[pa.Table]:
    table = read_arrow(source)
    where = run.manifest.group_of(array(table, "doc").astype(np.int64))
    yield table.add_column(0, "destination", pa.array(where.astype(np.int32)))


def _write(stage_run: StageRun[JoinedAttributes], group: int, table: pa.Table) -> None:
    """Write the decisions sidecars of a group of bundles: every document that lives, with what is known of it."""
    run, stage = stage_run.run, stage_run.stage
    position, row = run.manifest.locate(array(table, "doc").astype(np.int64))
    for here in run.manifest.groups[group]:
        view = View.at(run, here)
        if stage.applies_to(view.bundle.dataset):
            mine = np.flatnonzero(position == here)
            mine = mine[np.argsort(row[mine])]
            part = table.take(pa.array(mine))
            stage_run.decisions.write(view.bundle, view.reading, _sidecar(stage_run, view, row[mine], part))


def _sidecar(stage_run: StageRun[JoinedAttributes], view: View, known: I64, part: pa.Table) -> pa.Table:
    """Return row, found, a column per field and the spans in bytes, of every document that lives."""
    rows = np.flatnonzero(view.live(stage_run.index))
    place = np.searchsorted(rows, known)
    at = np.full(len(rows), -1, np.int64)
    at[place] = np.arange(len(known))
    index = pa.array(at, mask=at < 0)
    lists = whole(part.column("values"))
    columns: dict[str, Any] = {"row": pa.array(rows.astype(np.uint32)), "found": pa.array(at >= 0)}
    for number, field in enumerate(stage_run.stage.parsed):
        column = pc.list_element(lists, number) if len(lists) else pa.array([], pa.float64())
        columns[field.name] = column.take(index)
    columns["spans"] = _in_bytes(view, rows, at, whole(part.column("spans")))
    return pa.table(columns)


def _in_bytes(view: View, rows: I64, at: I64, lists: pa.Array) -> pa.Array:
    """Return the spans of each row, bytes of the text instead of characters; ends beyond the text are its end."""
    kind = pa.struct([("field", pa.int32()), *CUT, ("score", pa.float64())])
    has = np.flatnonzero(at >= 0)
    has = has[np.asarray(pc.list_value_length(lists).fill_null(0))[at[has]] > 0] if len(has) else has
    place, flat = list[int](), list[dict[str, Any]]()
    for batch, where in read_rows(view.run, view.bundle, rows[has], ["text"]):
        for k, text in zip(has[where].tolist(), batch.table.column("text").to_pylist(), strict=True):
            for span in lists[at[k]].as_py():
                start, stop = (len(text[: max(0, span[end])].encode()) for end in ("start", "stop"))
                flat.append({"field": span["field"], "start": start, "stop": stop, "score": span["score"]})
                place.append(k)
    order = np.argsort(np.array(place, np.int64), kind="stable")
    values = pa.array([flat[i] for i in order.tolist()], kind)
    return list_column(len(rows), np.array(place, np.int64)[order], values)


def _count(stage_run: StageRun[JoinedAttributes], position: int) -> tuple[str, int, int]:
    view = View.at(stage_run.run, position)
    if not stage_run.stage.applies_to(view.bundle.dataset):
        return view.bundle.dataset, 0, 0
    found = array(view.stored_decisions(stage_run.index), "found").astype(np.bool_)
    return view.bundle.dataset, len(found), int((~found).sum())
