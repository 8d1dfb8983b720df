"""Decontamination: documents that share word n-grams with benchmark items are dropped, or the passages cut.

Guarantees: an n-gram counts as evidence unless it is common: in more than `max_items` benchmark items, or in more
than `common_share` of the input's documents (and in more than 20). N-grams that only documents make common count
all the same in one that holds half of an item's n-grams and at least 8 of them, so that an item is found however often
it was copied. What was set aside as common is told per benchmark (`notes`). What is dropped does not depend on files,
order, partitioning or workers. Memory: the benchmarks' n-grams, one batch of text.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster.engines import Engine
from stages.core import key_counts
from stages.core.arrays import array, list_column, whole
from stages.core.edits import Edits, from_spans, none
from stages.core.exchange_stage import ExchangeStage
from stages.core.run import Run, StageRun
from stages.core.stage import Decisions, ShardStage, Stage, param
from stages.core.view import View
from stages.detect import set_aside
from stages.detect.benchmark_items import digest_of, load
from stages.detect.spans import with_white_space

I64 = npt.NDArray[np.int64]
WHOLE, MANY = 0.5, 8  # share of an item's n-grams, and their number (20 words in a row), that are no common phrase
RARE = 20  # documents; an n-gram in no more of them is never called common
MATCH = pa.struct(
    [
        ("hash", pa.uint64()),
        ("benchmark", pa.string()),
        ("item", pa.string()),  # number of the item in its file
        ("of", pa.int32()),  # n-grams that the item has
        *((name, pa.int32()) for name in ("start", "stop", "left", "right")),
    ]
)
SPAN = pa.struct([(name, pa.int32()) for name in ("start", "stop", "left", "right")])
VERDICTS = pa.schema(
    [
        ("row", pa.uint32()),
        ("benchmark", pa.string()),  # of the item with most n-grams in the document
        ("item", pa.string()),
        ("ngrams", pa.int32()),  # different n-grams of any item
        ("share", pa.float64()),  # of that item's n-grams
        ("spans", pa.list_(SPAN)),
        ("document_share", pa.float64()),  # bytes of the document that its n-grams cover
    ]
)
_BEFORE, _AFTER = re.compile(rb"[\"'(\[{<*_]*$"), re.compile(rb"[!-/:-@\[-`{-~]*")
_WIDE_MARKS = "|".join("\u3002\uff01\uff1f\u0964\u061f\u06d4")
_END = re.compile(rf"[.!?][\"')\]]*(?=\s|\Z)|{_WIDE_MARKS}|\n".encode())  # of a sentence


@dataclass(frozen=True, kw_only=True)
class BenchmarkMatches(ShardStage):
    """Reads text / Writes the n-grams of benchmark items that stand in it / Drops nothing."""

    benchmarks: tuple[str, ...] = param((), "files of items", fact=True)
    ngram: int = param(13, "words", fact=True)
    short_ngram: int = param(8, "words", fact=True)
    max_items: int = param(50, "items", fact=True)
    find_query: bool = param(True, "n-grams of queries", fact=True)
    find_overlap: bool = param(True, "n-grams of query and label", fact=True)
    cut: str = param("ngrams", "how far spans reach", fact=True)

    use: ClassVar[str] = "benchmark_matches"
    version: ClassVar[int] = 2  # 1 took a line of a script without spaces for one word
    hidden: ClassVar[bool] = True
    schema: ClassVar[pa.Schema] = pa.schema([("matches", pa.list_(MATCH))])

    def model_digest(self) -> str:
        return hashlib.blake2b(digest_of(self.benchmarks).encode(), digest_size=8).hexdigest()

    def annotate(self, documents: pa.Table) -> pa.Table:
        from stages.kernels.text.ngrams import search

        texts = whole(documents.column("text"))
        chosen = {"query": self.find_query, "overlap": self.find_overlap}
        known = load(self.benchmarks, self.ngram, self.short_ngram, self.max_items, **chosen)
        found = search(texts, known.keys, self.ngram, known.lengths, known.bits)
        bounds = _widened(texts, found, self.cut == "sentences")
        item = known.item[found[:, 1]]
        columns = [
            pa.array(known.keys[found[:, 1]]),
            pa.array([known.benchmarks[i] for i in item], pa.string()),
            pa.array([known.numbers[i] for i in item], pa.string()),
            pa.array(known.counts[item].astype(np.int32)),
            *(pa.array(bounds[:, i]) for i in range(4)),
        ]
        values = pa.StructArray.from_arrays(columns, fields=list(MATCH))
        return pa.table([list_column(len(texts), found[:, 0], values)], schema=self.schema)


def _widened(texts: pa.Array, found: I64, sentences: bool) -> npt.NDArray[np.int32]:
    """Return start, stop, left, right of each match: with the punctuation at its ends, then with white space.

    sentences: a match reaches to the start and the end of the sentences that hold its ends.
    """
    bounds = np.empty((len(found), 4), np.int32)
    row, text = -1, b""
    for n, (at, start, stop) in enumerate(found[:, [0, 2, 3]].tolist()):
        if at != row:
            row, text = at, texts[at].as_buffer().to_pybytes()
        before = _BEFORE.search(text[max(0, start - 8) : start])
        after = _AFTER.match(text[stop : stop + 8])
        start -= len(before[0]) if before else 0
        stop += len(after[0]) if after else 0
        if sentences:
            start, stop = _sentences(text, start, stop)
        bounds[n] = (start, stop, *with_white_space(text, start, stop))
    return bounds


def _sentences(text: bytes, start: int, stop: int) -> tuple[int, int]:
    """Return where the sentences that hold a span start and stop, blanks after them too; lines end sentences."""
    begin = 0
    for m in _END.finditer(text, 0, start):
        begin = m.end()
    while begin < start and text[begin : begin + 1].isspace():
        begin += 1
    ended = _END.search(text[:stop], max(0, stop - 4))
    if not ended or ended.end() < stop:
        end = _END.search(text, stop)
        stop = len((text[: end.end()] if end else text).rstrip())
    while text[stop : stop + 1] in (b" ", b"\t"):
        stop += 1
    return begin, stop


@dataclass(frozen=True, kw_only=True)
class Decontaminate(ExchangeStage):
    """Drop documents that hold n-grams of benchmark items, or cut those out.

    Reads: text, benchmark files. Writes: the item that a document shares most n-grams with, how many, where; the ledger
    names it (`evidence`). Drops: `contaminated`, with the number of different n-grams found as the value (`action:
    drop`). Words are compared without case, accents and punctuation; a field of fewer than `ngram` words, and at least
    `short_ngram`, counts as one n-gram.
    """

    use: ClassVar[str] = "decontaminate"
    version: ClassVar[int] = 3  # 2 had no document_share; 1 passed over whole items that many documents hold
    summary: ClassVar[str] = "drop or cut what benchmarks' items share n-grams with"

    benchmarks: tuple[str, ...] = param(
        (),
        "files or folders of items, [NAME=]PATH[#FIELD,QUERY+LABEL]; JSONL, Parquet or CSV",
        fact=True,
        metavar="SPEC",
    )
    ngram: int = param(13, "words of an n-gram", fact=True, ge=1, le=10_000)
    short_ngram: int = param(8, "fields of fewer words are not looked for", fact=True, ge=1, le=10_000)
    max_items: int = param(50, "ignore n-grams that stand in more benchmark items than this", fact=True, ge=1)
    common_share: float = param(
        0.001,
        "ignore n-grams that stand in a larger share of the documents, except in copies of whole items",
        ge=0,
        le=1,
    )
    common_floor: int = param(RARE, "n-grams that stand in no more documents than this are never ignored", ge=0)
    find_query: bool = param(True, "of fields QUERY+LABEL, look for n-grams of the query alone", fact=True)
    find_overlap: bool = param(True, "of fields QUERY+LABEL, look for n-grams that hold words of both", fact=True)
    min_ngrams: int = param(1, "different n-grams that make a document contaminated", ge=1)
    min_share: float = param(0.0, "and the share of one item's n-grams that they must make up", ge=0, le=1)
    min_document_share: float = param(0.0, "and the share of the document's bytes that they must cover", ge=0, le=1)
    cut: str = param(
        "ngrams", "what action cut takes out: n-grams, or the sentences they touch", choices=("ngrams", "sentences")
    )
    action: str = param("drop", "drop the document, or cut the spans", choices=("drop", "cut"))

    def validate(self) -> None:
        if not self.benchmarks:
            raise self.error("benchmarks", [], "at least one file", "For instance gsm8k=gsm8k/test.jsonl#question.")
        if self.short_ngram > self.ngram:
            raise self.error("short_ngram", self.short_ngram, f"at most ngram ({self.ngram})")
        if self.cut != "ngrams" and self.action != "cut":
            raise self.error("cut", self.cut, "ngrams, or used with action cut")
        if not (self.find_query and self.find_overlap) and not any("+" in s.partition("#")[2] for s in self.benchmarks):
            key = "find_overlap" if self.find_query else "find_query"
            raise self.error(key, False, "used with benchmarks whose fields are QUERY+LABEL", "PATH#question+answer.")

    def companions(self) -> tuple[Stage, ...]:
        matches = BenchmarkMatches(
            name=f"{self.name}.matches",
            datasets=self.datasets,
            benchmarks=self.benchmarks,
            ngram=self.ngram,
            short_ngram=self.short_ngram,
            max_items=self.max_items,
            find_query=self.find_query,
            find_overlap=self.find_overlap,
            cut=self.cut,
        )
        return (matches,)

    def model_digest(self) -> str:
        return hashlib.blake2b(digest_of(self.benchmarks).encode(), digest_size=8).hexdigest()

    @property
    def drops(self) -> bool:
        return self.action == "drop"

    def resolve(self, engine: Engine, stage_run: StageRun[Self]) -> None:
        lists = partial(key_counts.fact_lists, stage_run, f"{self.name}.matches", "matches")
        over, write = self.common_from(stage_run.run), partial(_evidence, stage_run, lists)
        key_counts.decide_by_frequent_keys(engine, stage_run, lists, over, write, set_aside.FOLDER)

    def common_from(self, run: Run) -> int:
        """Return the number of documents beyond which an n-gram is common."""
        documents = sum(run.manifest.rows(d.name) for d in run.datasets if self.applies_to(d.name))
        return max(self.common_floor, int(documents * self.common_share))

    def notes(self, stage_run: StageRun[Self]) -> list[str]:
        over, number = self.common_from(stage_run.run), set_aside.number
        return [
            f"{self.name}: n-grams of {number(len(items), 'item')} of benchmark {name} stand in more than {over:,} "
            f"documents and did not count in {number(documents, 'document')}; these stay unless something else was "
            "found there. common_share: 1.0 counts them."
            for name, (items, documents) in sorted(set_aside.read(stage_run).items())
        ]

    def verdicts(self, view: View, index: int) -> tuple[I64, Decisions]:
        if self.action == "cut":
            return np.empty(0, np.int64), Decisions.keep_all(0)
        table = view.stored_decisions(index)
        reason = np.where(self._contaminated(table), 0, -1).astype(np.int16)
        count = array(table, "ngrams").astype(np.float64)
        rows = array(table, "row").astype(np.int64)
        return rows, Decisions(reason, ("contaminated",), count, np.full(len(rows), float(self.min_ngrams)))

    def evidence(self, view: View, index: int) -> tuple[I64, list[str]]:
        table = view.stored_decisions(index)
        table = table.filter(pa.array(self._contaminated(table)))
        items = zip(table["benchmark"].to_pylist(), table["item"].to_pylist(), strict=True)
        return array(table, "row").astype(np.int64), [f"{benchmark}#{item}" for benchmark, item in items]

    def _contaminated(self, table: pa.Table) -> npt.NDArray[np.bool_]:
        enough = array(table, "ngrams") >= self.min_ngrams
        found: npt.NDArray[np.bool_] = enough & (array(table, "share") >= self.min_share)
        return found & (array(table, "document_share") >= self.min_document_share)

    def edits_of(self, view: View, index: int, rows: I64) -> Edits:
        if self.action == "drop":
            return none()
        table = view.stored_decisions(index)
        table = table.filter(pa.array(self._contaminated(table)))
        return from_spans(table.column("spans")).numbered(array(table, "row").astype(np.int64)).among(rows)


def _evidence(
    stage_run: StageRun[Decontaminate], lists: key_counts.Lists, view: View, common: key_counts.U64
) -> pa.Table:
    """Return the contaminated rows of a bundle in `VERDICTS`; write the common n-grams, which are set aside."""
    rows, matches = lists(view)
    place, hashes = key_counts.hashes_of(matches)
    flat = pc.list_flatten(matches)
    counts = ~key_counts.is_in(hashes, common)
    if not counts.all():
        counts |= _of_whole_items(place, hashes, flat)
        set_aside.write(stage_run, view.bundle.number, place[~counts], flat.filter(pa.array(~counts)))
    kept = np.flatnonzero(counts)
    flat = flat.take(pa.array(kept))
    touched, first = np.unique(place[kept], return_index=True)
    sizes, found = array(view.read, "num_bytes"), []
    for at, values in zip(touched.tolist(), np.split(np.arange(len(kept)), first[1:]), strict=False):
        matched = flat.take(pa.array(values)).to_pylist()
        share = _covered(matched) / max(int(sizes[rows[at]]), 1)
        found.append({"row": int(rows[at]), **_summary(matched), "document_share": min(share, 1.0)})
    return pa.Table.from_pylist(found, schema=VERDICTS)


def _of_whole_items(place: I64, hashes: key_counts.U64, matches: pa.Array) -> npt.NDArray[np.bool_]:
    """Tell which matches are of an item of which the document holds most, (matches,)."""
    names = (pc.struct_field(matches, name).dictionary_encode().indices.to_numpy() for name in ("benchmark", "item"))
    owner = np.unique(np.stack([place, *names]), axis=1, return_inverse=True)[1].reshape(-1)
    different = np.unique(np.stack([owner.astype(np.uint64), hashes]), axis=1)[0].astype(np.int64)
    held = np.bincount(different, minlength=int(owner.max()) + 1)[owner]
    found: npt.NDArray[np.bool_] = (held >= MANY) & (held >= WHOLE * np.asarray(pc.struct_field(matches, "of")))
    return found


def _covered(matches: list[dict[str, Any]]) -> int:
    """Return how many bytes the spans of matches cover, each once."""
    covered = reach = 0
    for start, stop in sorted((match["start"], match["stop"]) for match in matches):
        covered += max(0, stop - max(start, reach))
        reach = max(reach, stop)
    return covered


def _summary(matches: list[dict[str, object]]) -> dict[str, object]:
    """Return one row's columns: best item (most n-grams, then first by name and number), counts, spans."""
    items: dict[tuple[object, object, object], set[object]] = {}
    for match in matches:
        items.setdefault((match["benchmark"], match["item"], match["of"]), set()).add(match["hash"])
    benchmark, item, of = min(items, key=lambda i: (-len(items[i]), str(i[0]), str(i[1])))
    spans = [{name: match[name] for name in ("start", "stop", "left", "right")} for match in matches]
    return {
        "benchmark": benchmark,
        "item": item,
        "ngrams": len(set().union(*items.values())),
        "share": len(items[benchmark, item, of]) / max(1, int(str(of))),
        "spans": spans,
    }
