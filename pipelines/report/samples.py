"""Documents to look at: samples of what was kept and dropped, and near duplicates side by side.

Guarantees: which documents are shown depends on their doc_ids (and similarities) alone; a document whose text
cannot be had any more is shown by its names. Memory: the texts of the documents shown.
"""

from __future__ import annotations

from typing import Any

from pipelines.report.tally import PAIRS, Tally
from pipelines.runfolder import Document, RunFolder
from pipelines.shown_text import excerpt, word_diff

EXCERPT = 500  # characters of a sample
PAIR_CHARS = 20_000  # of each text that are compared


def card(row: dict[str, Any], document: Document | None, chars: int = EXCERPT) -> dict[str, Any]:
    """Return what identifies a document, with the beginning of its text (None: not to be had)."""
    return {
        "doc_id": row["doc_id"],
        "dataset": row["dataset"],
        "path": row["path"],
        "row": row["row"],
        "id": row["id"],
        "url": document.url if document else None,
        "tokens": row["num_tokens"],
        "text": excerpt(document.text, chars) if document else None,
        "chars": len(document.text) if document else None,
    }


def samples(run: RunFolder, tally: Tally) -> list[dict[str, Any]]:
    """Return a few documents per stage and reason, then a few kept ones per dataset."""
    order = {stage.name: place for place, stage in enumerate(run.stages)}
    totals = {key: sum(t.dropped[key].documents for t in tally.datasets.values()) for key in tally.samples}
    dropped = sorted(tally.samples, key=lambda key: (order.get(key[0], len(order)), -totals[key], key))
    groups: list[tuple[str | None, str | None, str | None, list[int]]]
    groups = [(stage, reason, None, tally.samples[stage, reason].docs) for stage, reason in dropped]
    groups += [(None, None, name, tally.datasets[name].kept_samples.docs) for name in run.datasets]
    docs = [doc for *_, found in groups for doc in found]
    rows, texts = run.rows(docs), run.texts(docs)
    result = []
    for stage, reason, dataset, found in groups:
        documents = [
            {
                **card(rows[doc], texts.get(doc)),
                "value": rows[doc]["value"],
                "threshold": rows[doc]["threshold"],
            }
            for doc in found
        ]
        of = totals[stage, reason] if stage and reason else tally.datasets[dataset or ""].kept.documents
        result.append({"stage": stage, "reason": reason, "dataset": dataset, "of": of, "documents": documents})
    return [group for group in result if group["documents"]]


def pairs(run: RunFolder, tally: Tally) -> list[dict[str, Any]]:
    """Return dropped documents beside the one they lost to: those nearest the threshold, and a few others."""
    chosen: list[tuple[str, int]] = []
    for stage in (s.name for s in run.stages if s.name in tally.dedup):
        near = tally.dedup[stage].nearest.docs
        others = [doc for doc in tally.dedup[stage].any.docs if doc not in near]
        chosen += [(stage, doc) for doc in [*near, *others[: PAIRS - len(near)]]]
    rows = run.rows(doc for _, doc in chosen)
    winners = run.rows(row["representative"] for row in rows.values() if row["representative"] is not None)
    texts = run.texts([*rows, *winners])
    found = []
    for stage, doc in chosen:
        row = rows[doc]
        winner = winners.get(row["representative"])
        if winner is not None:
            found.append({"stage": stage, **compare(row, winner, texts)})
    return found


def compare(row: dict[str, Any], winner: dict[str, Any], texts: dict[int, Document]) -> dict[str, Any]:
    """Return a dropped document beside its winner, with the differences where both texts are to be had."""
    mine, other = texts.get(row["doc_id"]), texts.get(winner["doc_id"])
    difference = None
    if mine is not None and other is not None:
        difference = word_diff(mine.text[:PAIR_CHARS], other.text[:PAIR_CHARS]).to_json()
        difference["complete"] &= max(len(mine.text), len(other.text)) <= PAIR_CHARS
    return {
        "dropped": card(row, mine),
        "kept": card(winner, other),
        "similarity": row["similarity"],
        "similarity_kind": row["similarity_kind"],
        "threshold": row["threshold"],
        "difference": difference,
    }
