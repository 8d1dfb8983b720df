"""Language and domain of the documents that entered or left, where the run that keeps them can tell.

The language is that of its language_id stage, else the mix's; the URL is the mix's, so of documents that no mix was
drawn from it is not known. Memory: a part of `spill`, and the domains of one part.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.errors import WinnowError
from pipelines.diff import tree
from pipelines.diff.spill import KEY, key_of_numbers, key_of_texts, read_stream, together
from pipelines.diff.sums import ENTERED, LEFT
from pipelines.runfolder import RunFolder
from stages.core.arrays import array, whole
from stages.core.stage import ShardStage
from stages.core.view import View
from stages.detect.urls import host_of, registered_domain

DOMAINS = 50  # named, of all that are counted
KEYED = (KEY, pa.uint64())
LANGUAGE = pa.schema([("doc_id", pa.int64()), ("language", pa.string()), KEYED])
URL = pa.schema([("doc_id", pa.int64()), ("url", pa.string()), ("mix_language", pa.string()), KEYED])
FOUND = pa.schema([("language", pa.string()), ("domain", pa.string())])


def named(run: RunFolder, tables: Iterator[pa.Table], schema: pa.Schema, doc_id: str) -> Iterator[pa.Table]:
    """Yield documents that `run` keeps with the columns `language` and `domain` added, null where not known.

    doc_id : column of `tables` with the documents' number in this run.
    """
    keyed = schema.append(pa.field(*KEYED))
    mine = (t.append_column(KEY, key_of_numbers(array(t, doc_id))) for t in tables)
    for documents, languages, urls in together([mine, _languages(run), _urls(run)], [keyed, LANGUAGE, URL]):
        if documents.num_rows:
            rows = documents.select(schema.names)
            of_stage = _looked_up(rows.column(doc_id), languages, "language")
            of_mix = _looked_up(rows.column(doc_id), urls, "mix_language")
            rows = rows.append_column("language", pc.coalesce(of_stage, of_mix))
            domains = [_domain(url) for url in _looked_up(rows.column(doc_id), urls, "url").to_pylist()]
            yield rows.append_column("domain", pa.array(domains, pa.string()))


def _looked_up(doc_ids: pa.ChunkedArray, table: pa.Table, column: str) -> pa.Array:
    at = pc.index_in(whole(doc_ids), whole(table.column("doc_id")))  # the first of several copies
    return whole(table.column(column)).take(at)


def _domain(url: str | None) -> str | None:
    return registered_domain(host_of(url)) or None if url else None


def _languages(run: RunFolder) -> Iterator[pa.Table]:
    """Yield doc_id and language of the documents that a language_id stage judged; none where facts are gone."""
    with contextlib.suppress(WinnowError, OSError):
        stages = [s for s in run.run.stages if isinstance(s, ShardStage) and s.use == "language_id"]
        for stage, bundle in itertools.product(stages[:1], run.run.manifest.bundles):
            if not stage.applies_to(bundle.dataset):
                continue
            view = View(run.run, bundle)
            facts = run.run.facts(stage).read(bundle, view.reading)
            doc = view.doc_ids[array(facts, "row").astype(np.int64)]
            names = whole(facts.column("language")).cast(pa.string())
            yield pa.Table.from_arrays([pa.array(doc), names, key_of_numbers(doc)], schema=LANGUAGE)


def _urls(run: RunFolder) -> Iterator[pa.Table]:
    """Yield doc_id, URL and language of the mix; none where there is no mix."""
    with contextlib.suppress(WinnowError, OSError):
        for dataset in run.datasets:
            for table in run.mix(dataset, ["doc_id", "url", "language"]):
                columns = [
                    whole(table.column(name)).cast(URL.field(i).type) for i, name in enumerate(table.schema.names)
                ]
                yield pa.Table.from_arrays([*columns, key_of_numbers(array(table, "doc_id"))], schema=URL)


class Names:
    """Counts by language and by domain. Memory: the languages; domains lie on disk until they are counted."""

    def __init__(self, folder: str) -> None:
        self._path = Path(folder) / "domains.arrow"
        self._schema = pa.schema([("change", pa.string()), ("domain", pa.string()), ("tokens", pa.int64()), KEYED])
        self._file = pa.OSFile(str(self._path), "wb")
        self._writer = pa.ipc.new_stream(self._file, self._schema)
        self._languages: dict[str, Counter[str]] = defaultdict(Counter)

    def add(self, table: pa.Table) -> None:
        """Count documents with `change`, `tokens`, `language`, `domain`."""
        _count(self._languages, table, "language")
        rows = table.filter(pc.is_valid(table.column("domain"))).select(["change", "domain", "tokens"])
        sums = rows.append_column(KEY, key_of_texts(whole(rows.column("domain"))))
        self._writer.write_table(sums.cast(self._schema))

    def languages(self) -> list[tree.Named]:
        """Return the counts of every language, the largest first; "" is what is not known."""
        return sorted((_tree(name, c) for name, c in self._languages.items()), key=_rank)

    def domains(self) -> tuple[list[tree.Named], int]:
        """Return the counts of the DOMAINS largest domains, the largest first, and how many domains there are."""
        self._writer.close()
        self._file.close()
        best: list[tree.Named] = []
        number = 0
        for [part] in together([read_stream(self._path)], [self._schema]):
            counts: dict[str, Counter[str]] = defaultdict(Counter)
            _count(counts, part, "domain")
            number += len(counts)
            best = heapq.nsmallest(DOMAINS, [*best, *(_tree(name, c) for name, c in counts.items())], key=_rank)
        return best, number


def _count(counts: dict[str, Counter[str]], table: pa.Table, name: str) -> None:
    groups = table.group_by(["change", name]).aggregate([([], "count_all"), ("tokens", "sum")])
    for row in groups.to_pylist():
        change = row["change"]
        counts[row[name] or ""].update(
            {f"{change} documents": row["count_all"], f"{change} tokens": row["tokens_sum"] or 0}
        )


def _tree(name: str, count: Counter[str]) -> tree.Named:
    entered: tree.Count = {"documents": count[f"{ENTERED} documents"], "tokens": count[f"{ENTERED} tokens"]}
    left: tree.Count = {"documents": count[f"{LEFT} documents"], "tokens": count[f"{LEFT} tokens"]}
    return {"name": name, "entered": entered, "left": left}


def _rank(entry: tree.Named) -> tuple[int, str]:
    return -(entry["entered"]["tokens"] + entry["left"]["tokens"]), entry["name"]
