"""Texts to those who ask, answers back to the bundles, as facts.

    bundles --texts by digest--> ranges of digests --(ask)--> replies --by document--> bundles: facts

Equal texts meet in one range, so each is asked once, wherever its documents lie. Guarantees: what was answered is kept
in the run folder (classifiers/endpoint/answers.py) and not asked again, whatever becomes of this hop; facts do not
depend on the order of answers. Memory: a task that asks holds the texts of `DOCUMENTS` documents, as far as shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifiers.endpoint.answers import Range, key_of
from classifiers.endpoint.ask import Manner, Question, Reply, ask
from classifiers.endpoint.asker import Asker
from cluster import storage
from cluster.engines import Engine, Growth
from cluster.exchange import Exchange, Written
from cluster.files.arrow_files import read_arrow, write_arrow
from cluster.outputs import Outputs
from cluster.scale import scaled
from stages.core.arrays import array, whole
from stages.core.costs import Quantity, per_bundle, per_destination, per_group
from stages.core.run import Run, StageRun
from stages.core.view import View
from stages.passes.annotate import check_texts, read_rows

I64 = npt.NDArray[np.int64]
QUESTIONS = pa.schema([("key", pa.uint64()), ("doc", pa.int64()), ("text", pa.large_string())])
DOCUMENTS = scaled(1024)  # whose texts one task asks about
MOST_LEVELS = 12  # 4,096 ranges
Source = tuple[int, str]  # position of a bundle, and a file that says which rows; empty for none
RowsOf = Callable[[StageRun[Any], Source], I64]  # bundle rows, ascending
Rest = Callable[[StageRun[Any], Source, I64], pa.Table]  # facts of rows without a reply

JUDGED = Growth(quantity=Quantity.JUDGED)
SEND = per_bundle("send texts", JUDGED, rare=True)
ASK = per_destination("ask", JUDGED)
RETURN = per_destination("return answers", JUDGED)
SORT = per_group("sort answers", JUDGED, rare=True)
WRITE = per_bundle("write answers", JUDGED, rare=True)


class Asks(Protocol):
    """What a stage that asks must have: who is asked, how, how often, and what replies mean."""

    @property
    def schema(self) -> pa.Schema: ...

    @property
    def votes(self) -> int: ...

    def askers(self) -> tuple[Asker, ...]:
        """Return the models that are asked about each text; all are shown the same part of it."""

    def manner(self, processes: int) -> Manner:
        """Return how one of so many processes asks."""

    def acceptor(self) -> Callable[[str], bool]:
        """Return what tells whether an answer has the asked form."""

    def facts_of(self, replies: Sequence[Sequence[Reply]]) -> pa.Table:
        """Return the facts of texts, a row for each; replies: those of each text, by asker, then by vote."""


@dataclass(frozen=True)
class AskJob:
    """Asking of one stage for one purpose, which names the folders of its hops."""

    stage_run: StageRun[Any]
    purpose: str

    @property
    def run(self) -> Run:
        return self.stage_run.run

    @property
    def stage(self) -> Any:
        """The stage, which has what `Asks` says."""
        return self.stage_run.stage

    def folder(self, hop: str) -> str:
        return self.stage_run.folder(f"{self.purpose}-{hop}")


def ask_rows(engine: Engine, job: AskJob, sources: Sequence[Source], rows_of: RowsOf, documents: int) -> list[str]:
    """Ask about these rows of bundles; return the files of replies. documents: how many rows there are."""
    level = level_of(documents)
    hop = Exchange(folder=job.folder("questions"), destinations=1 << level, schema=QUESTIONS, route="key")
    have = storage.names(job.folder("replies"))
    wanted = [d for d in range(1 << level) if f"{d}.arrow" not in have]
    if wanted:
        written = hop.scatter(engine, sources, partial(_texts, job, rows_of), cost=SEND)
        processes = max(1, min(engine.workers, len(wanted)))
        engine.map(partial(_ask, job, hop, written, level, processes), wanted, cost=ASK)
    return [_replies_path(job, d) for d in range(1 << level)]


def level_of(documents: int) -> int:
    """Return the number of leading bits by which keys are cut into ranges, by the number of documents alone."""
    ranges = max(1, -(-documents // DOCUMENTS))
    return min(MOST_LEVELS, (ranges - 1).bit_length())


def _replies_path(job: AskJob, destination: int) -> str:
    return storage.join(job.folder("replies"), f"{destination}.arrow")


def _texts(job: AskJob, rows_of: RowsOf, source: Source) -> Iterator[pa.Table]:
    """Yield the texts of a bundle's rows, cut to what is shown, with their digests."""
    view, rows = View.at(job.run, source[0]), rows_of(job.stage_run, source)
    for at, texts in shown_texts(job, view, rows):
        yield questions(view.doc_ids[rows[at]], texts)


def shown_texts(job: AskJob, view: View, rows: I64) -> Iterator[tuple[I64, list[str]]]:
    """Yield the texts of a bundle's rows as they are shown, batch by batch, with their places in `rows`."""
    run, index = job.run, job.stage_run.index
    cut = job.stage.askers()[0].prompt.cut
    for batch, at in read_rows(run, view.bundle, rows, ["text"]):
        check_texts(view, rows[at], batch.table)
        texts = view.as_judged(index, rows[at], whole(batch.table.column("text")))
        yield at, [cut(text) for text in texts.to_pylist()]


def questions(docs: I64, texts: Sequence[str]) -> pa.Table:
    """Return the rows of a hop of questions."""
    digests = np.frombuffer(b"".join(map(text_digest, texts)), ">u8").reshape(-1, 2).astype(np.uint64)
    columns = [pa.array(digests[:, 0].copy()), pa.array(docs), pa.array(texts, pa.large_string())]
    return pa.table(columns, schema=QUESTIONS)


def text_digest(text: str) -> bytes:
    """Return the 16 bytes by which a text is known among the answers."""
    return hashlib.sha256(text.encode()).digest()[:16]


def _ask(job: AskJob, hop: Exchange, written: Written, level: int, processes: int, destination: int) -> dict[str, Any]:
    """Ask about the texts of one range; write the facts of each document."""
    table = hop.gather(written, destination)
    stage, part = job.stage, Range(level, destination)
    facts, texts = ask_texts(job.run.root, stage, stage.manner(processes), part, table.column("text").to_pylist())
    taken = facts.take(pa.array(texts))
    write_arrow(
        _replies_path(job, destination),
        pa.table([whole(table.column("doc")), *taken.columns], schema=replies_schema(stage)),
        scratch=True,
    )
    return {"documents": table.num_rows}


def replies_schema(stage: Asks) -> pa.Schema:
    return pa.schema([("doc", pa.int64()), *stage.schema])


def ask_texts(root: str, stage: Asks, manner: Manner, part: Range, texts: Sequence[str]) -> tuple[pa.Table, I64]:
    """Return the facts of the distinct texts, and the place of each text's facts among them, (texts,).

    root : run folder that keeps the answers. part : range that the digests of all texts lie in.
    """
    place: dict[str, int] = {}
    at = np.array([place.setdefault(text, len(place)) for text in texts], np.int64)
    digests = [text_digest(text) for text in place]
    replies: list[list[Reply]] = [[] for _ in place]
    for asker in stage.askers():
        asked = [
            Question(key_of(digest, vote), text, vote)
            for text, digest in zip(place, digests, strict=True)
            for vote in range(stage.votes)
        ]
        found, _ = ask(root, asker, manner, part, asked, stage.acceptor())
        for i, reply in enumerate(found):
            replies[i // stage.votes].append(reply)
    return stage.facts_of(replies), at


def write_facts(
    engine: Engine, job: AskJob, files: Sequence[str], sources: Sequence[Source], rows_of: RowsOf, rest: Rest
) -> None:
    """Write the facts of these rows of bundles from files of replies. rest: facts of rows that have none."""
    stage_run = job.stage_run
    hop = Exchange(
        folder=job.folder("facts"),
        destinations=len(job.run.manifest.groups),
        schema=pa.schema([("destination", pa.int32()), *replies_schema(job.stage)]),
        route="destination",
    )
    emit = partial(_routed, job.run)
    by_group = hop.run(engine, list(files), emit, _by_document, emit_cost=RETURN, receive_cost=SORT)
    engine.map(partial(_write, stage_run, by_group, rows_of, rest), sources, cost=WRITE)


def _routed(run: Run, path: str) -> Iterable[pa.Table]:
    table = read_arrow(path)
    if table.num_rows:
        group = run.manifest.group_of(array(table, "doc").astype(np.int64)).astype(np.int32)
        yield table.add_column(0, "destination", pa.array(group))


def _by_document(_: int, table: pa.Table) -> pa.Table | None:
    return table.drop_columns(["destination"]).combine_chunks().sort_by("doc") if table.num_rows else None


def _write(stage_run: StageRun[Any], by_group: Outputs, rows_of: RowsOf, rest: Rest, source: Source) -> dict[str, Any]:
    """Write the facts of one bundle's rows."""
    run, stage = stage_run.run, stage_run.stage
    view = View.at(run, source[0])
    if not stage.applies_to(view.bundle.dataset):
        return {}
    rows = rows_of(stage_run, source)
    sidecars = run.facts(stage)
    if not len(rows) and sidecars.parts(view.bundle, view.reading):
        return {}
    path = by_group[run.manifest.group_at(source[0])]
    replies = replies_schema(stage).empty_table() if path is None else read_arrow(path)
    docs, known = view.doc_ids[rows], array(replies, "doc").astype(np.int64)
    at = np.minimum(np.searchsorted(known, docs), max(0, len(known) - 1))
    have = known[at] == docs if len(known) else np.zeros(len(docs), np.bool_)
    answered = replies.drop_columns(["doc"]).take(pa.array(at[have]))
    others = rest(stage_run, source, rows[~have])
    order = np.argsort(np.concatenate([np.flatnonzero(have), np.flatnonzero(~have)]), kind="stable")
    facts = pa.concat_tables([answered, others.cast(answered.schema)]).take(pa.array(order))
    with sidecars.writer(view.bundle, view.reading, stage.schema) as writer:
        writer.append(rows, facts)
    return {}
