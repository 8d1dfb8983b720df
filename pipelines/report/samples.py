"""Documents to look at: samples of what was kept and dropped, and near duplicates side by side.

Guarantees: which documents are shown depends on their doc_ids (and similarities) alone; a document whose text
cannot be had any more is shown by its names. Memory: the texts of the documents shown.
"""

from __future__ import annotations

from pipelines.artefacts import LedgerRow
from pipelines.report import tree
from pipelines.report.deciding import deciding_words
from pipelines.report.ledger_sums import PAIRS, LedgerSums
from pipelines.report.shown import Shown
from pipelines.runfolder import Document, RunFolder
from pipelines.shown_text import excerpt, word_diff

EXCERPT = 500  # characters of a sample
PAIR_CHARS = 20_000  # of each text that are compared


def show_document(row: LedgerRow, document: Document | None, chars: int = EXCERPT) -> tree.ShownDocument:
    """Return what identifies a document, with the beginning of its text (None: not to be had)."""
    return {
        "doc_id": row["doc_id"],
        "dataset": row["dataset"],
        "path": row["path"],
        "row": row["row"],
        "id": document.id if document else row["id"],
        "url": document.url if document else None,
        "tokens": row["num_tokens"],
        "text": excerpt(document.text, chars) if document else None,
        "chars": len(document.text) if document else None,
    }


_Kind = tuple[str | None, str | None, str | None, list[int]]  # stage and reason, or dataset of kept ones; documents


def _kinds(folder: RunFolder, sums: LedgerSums) -> list[_Kind]:
    """Return the documents to be shown of each stage and reason, the commonest first, then of each dataset."""
    order = {stage.name: place for place, stage in enumerate(folder.stages)}
    totals = _totals(sums)
    dropped = sorted(sums.samples, key=lambda key: (order.get(key[0], len(order)), -totals[key], key))
    kinds: list[_Kind] = [(stage, reason, None, sums.samples[stage, reason].docs) for stage, reason in dropped]
    return [*kinds, *((None, None, name, sums.datasets[name].kept_samples.docs) for name in folder.datasets)]


def _totals(sums: LedgerSums) -> dict[tuple[str, str], int]:
    return {key: sum(part.dropped[key].documents for part in sums.datasets.values()) for key in sums.samples}


def sampled(folder: RunFolder, sums: LedgerSums) -> list[int]:
    """Return the documents that `samples_of_documents` shows."""
    return [doc for *_, docs in _kinds(folder, sums) for doc in docs]


def samples_of_documents(folder: RunFolder, sums: LedgerSums, shown: Shown) -> list[tree.Samples]:
    """Return a few documents per stage and reason, then a few kept ones per dataset."""
    rows, texts, totals = shown.rows, shown.texts, _totals(sums)
    decided = deciding_words(folder, {doc: rows[doc] for doc in dict.fromkeys(sampled(folder, sums)) if doc in rows})
    result: list[tree.Samples] = []
    for stage, reason, dataset, found in _kinds(folder, sums):
        documents: list[tree.SampledDocument] = [
            {
                **show_document(rows[doc], texts.get(doc)),
                "value": rows[doc]["value"],
                "threshold": rows[doc]["threshold"],
                "decided": decided.get(doc),
            }
            for doc in found
        ]
        of = totals[stage, reason] if stage and reason else sums.datasets[dataset or ""].kept.documents
        result.append({"stage": stage, "reason": reason, "dataset": dataset, "of": of, "documents": documents})
    return [kind for kind in result if kind["documents"]]


def paired(folder: RunFolder, sums: LedgerSums) -> list[tuple[str, int]]:
    """Return (stage, dropped document) of the pairs that `pairs_side_by_side` shows."""
    chosen: list[tuple[str, int]] = []
    for stage in (s.name for s in folder.stages if s.name in sums.dedup):
        near = sums.dedup[stage].nearest.docs
        others = [doc for doc in sums.dedup[stage].any.docs if doc not in near]
        chosen += [(stage, doc) for doc in [*near, *others[: PAIRS - len(near)]]]
    return chosen


def pairs_side_by_side(folder: RunFolder, sums: LedgerSums, shown: Shown) -> list[tree.Pair]:
    """Return dropped documents beside the one they lost to: those nearest the threshold, and a few others."""
    found: list[tree.Pair] = []
    for stage, doc in paired(folder, sums):
        row = shown.rows[doc]
        winner = shown.rows.get(-1 if row["representative"] is None else row["representative"])
        if winner is not None:
            found.append({"stage": stage, **compare_documents(row, winner, shown.texts)})
    return found


def compare_documents(row: LedgerRow, winner: LedgerRow, texts: dict[int, Document]) -> tree.Comparison:
    """Return a dropped document beside its winner, with the differences where both texts are to be had."""
    mine, other = texts.get(row["doc_id"]), texts.get(winner["doc_id"])
    difference = None
    if mine is not None and other is not None:
        difference = word_diff(mine.text[:PAIR_CHARS], other.text[:PAIR_CHARS]).as_tree()
        difference["complete"] = difference["complete"] and max(len(mine.text), len(other.text)) <= PAIR_CHARS
    return {
        "dropped": show_document(row, mine),
        "kept": show_document(winner, other),
        "similarity": row["similarity"],
        "similarity_kind": row["similarity_kind"],
        "threshold": row["threshold"],
        "difference": difference,
    }
