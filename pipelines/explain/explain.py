"""Say what became of a document, and why: its facts, every stage's verdict, its group, what it lost to.

Guarantees: verdicts are those of the ledger; values that let a document pass are computed again from the
stored facts, without reading or scoring text. Memory: the facts of one bundle, two texts, one ledger batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.errors import LedgerError, RecipeError, WinnowError
from pipelines.artefacts import LedgerRow
from pipelines.explain.find import Match, find_documents
from pipelines.explain.tree import Decision, ExplainedDocument, Explanation, Group, LostTo, Member, Resemblance
from pipelines.records import datasets_of_group
from pipelines.report.samples import PAIR_CHARS, compare_documents, show_document
from pipelines.run_state import from_home
from pipelines.runfolder import RunFolder, StageInfo, open_run
from pipelines.shown_text import word_diff
from pipelines.staleness import check_readable
from pipelines.synthesise.lineage import lineage_of
from stages.core.digests import DATA_FORMAT
from stages.inputs.presets import SYNTHETIC

if TYPE_CHECKING:
    from stages.core.stage import Stage
    from stages.core.view import View

SHOWN = 20  # documents explained in full when several match, and members listed of a group
EXCERPT = 1000
Facts = dict[str, dict[str, Any]]  # stage -> column -> value


def explain(
    run_dir: str,
    *,
    doc_id: int | None = None,
    id: str | None = None,
    url: str | None = None,
    text: str | None = None,
    trust: bool = False,
    show_original: bool = False,
) -> Explanation:
    """Explain every document that matches; exactly one of the keys is given. More than 20 are listed by doc_id only.

    Parameters
    ----------
    doc_id : the document's handle inside the run.
    id : the user's own id.
    url : as the input states it; else those that differ in scheme, case, fragment or final slash only.
    text : the whole text; white space at its ends may be missing or added. Else its near duplicates.
    trust : see `open_run`.
    show_original : show texts as the input has them, not as they are written.

    Raises
    ------
    RecipeError
        Not exactly one key, nothing matches, it is no run folder, or one that names code that is not trusted.
    """
    with from_home(run_dir) as root:
        folder = replace(open_run(root, trust=trust, warn=False), originals=show_original)
        folder.check_code()
        found = _explain(folder, {"doc_id": doc_id, "id": id, "url": url, "text": text})
    found["run"] = run_dir.rstrip("/")
    return found


def explain_documents(
    folder: RunFolder, docs: Iterable[int], *, show_original: bool = False
) -> dict[int, ExplainedDocument]:
    """Explain documents of an open run folder, by doc_id. Raises RecipeError for one that is not there."""
    shown = replace(folder, originals=show_original)
    shown.check_code()
    check_readable(shown.root)
    wanted = list(docs)
    unknown = sorted(set(wanted) - shown.rows(wanted).keys())
    if unknown:
        raise RecipeError(_nothing(shown, "doc_id", unknown[0]))
    return {doc: _explain_document(shown, doc, None) for doc in wanted}


def _explain(folder: RunFolder, given: dict[str, Any]) -> Explanation:
    keys = [name for name, value in given.items() if value is not None]
    if len(keys) != 1:
        raise RecipeError(f"give exactly one of doc_id, id, url and text, got {', '.join(keys) or 'none'}.")
    value, text = given[keys[0]], given["text"]
    check_readable(folder.root)
    match = find_documents(folder, keys[0], value)
    found = match.docs
    if not found:
        raise RecipeError(_nothing(folder, keys[0], value))
    return {
        "format": DATA_FORMAT,
        "run": folder.root,
        "query": {keys[0]: value},
        "match": match.how,
        "found": len(found),
        "documents": [_explain_document(folder, doc, _resemblance(folder, doc, match, text)) for doc in found[:SHOWN]],
        "more": found[SHOWN:],
        "stale": folder.stale,
    }


def _nothing(folder: RunFolder, key: str, value: object) -> str:
    """Return the sentence for a query without a match."""
    rows = sum(folder.manifest.column("rows").to_pylist())
    remedy = {
        "doc_id": "A doc_id is ordinal << 32 | row; the ledger and the mix have a column with it.",
        "id": "Ids are compared as they stand in the input; look into the column id of the ledger.",
        "url": "Scheme, case, fragment and a final slash may differ; everything else must be as in the input.",
        "text": "Near duplicates are found too where the recipe has a minhash stage; part of a text is not found.",
    }
    shown = repr(value if not isinstance(value, str) or len(value) < 60 else value[:57] + "...")
    return f"no document with {key} {shown} among the {rows:,} of {folder.root}. {remedy[key]}"


def _resemblance(folder: RunFolder, doc: int, match: Match, text: str | None) -> Resemblance | None:
    """Return how similar a near duplicate is to the text that was asked about; with the difference for the best one."""
    if text is None or doc not in match.similarity:
        return None
    found: Resemblance = {"similarity": match.similarity[doc], "similarity_kind": "estimated", "difference": None}
    mine = folder.shown_texts([doc]).get(doc) if doc == match.docs[0] else None
    if mine is not None:
        found["difference"] = word_diff(text[:PAIR_CHARS], mine.text[:PAIR_CHARS]).as_tree()
    return found


def _explain_document(folder: RunFolder, doc: int, resemblance: Resemblance | None) -> ExplainedDocument:
    row = folder.rows([doc])[doc]
    chain = _chain(folder, row)
    survivor = folder.row(row["survivor"])
    texts = folder.shown_texts([doc, *(link["doc_id"] for link in chain), *([survivor["doc_id"]] if survivor else [])])
    facts, decisions, missing = _decisions(folder, row)
    if "read" in facts and doc in texts:
        facts["read"].update(id=texts[doc].id, url=texts[doc].url)  # as they are shown
    winner = folder.row(row["representative"])
    return {
        **show_document(row, texts.get(doc), EXCERPT),
        "kept": row["kept"],
        "copies": row["copies"],
        "verdict": _verdict(row, facts),
        "facts": facts,
        "facts_missing": missing,
        "decisions": decisions,
        "lost_to": [{**link, "url": texts[link["doc_id"]].url if link["doc_id"] in texts else None} for link in chain],
        "survivor": show_document(survivor, texts.get(survivor["doc_id"]), EXCERPT) if survivor else None,
        "group": _group(folder, survivor),
        "comparison": compare_documents(row, winner, texts) if winner else None,
        "resemblance": resemblance,
        "made_from": _made_from(folder, row),
    }


def _made_from(folder: RunFolder, row: LedgerRow) -> dict[str, Any] | None:
    """Return the lineage of a synthetic document; None for others."""
    entry = folder.recipe["datasets"].get(row["dataset"]) or {}
    return lineage_of(row["path"], row["row"]) if entry.get("preset") == SYNTHETIC else None


def _verdict(row: LedgerRow, facts: Facts | None = None) -> str:
    """Return what became of a document in one sentence."""
    if row["kept"]:
        copies = row["copies"]
        times = {0: "not in the mix: sampled or held out, or reference data", 1: "once in the mix"}
        return f"kept, {times.get(copies, f'{copies} times in the mix')}"
    reason = f"dropped by {row['stage']}: {row['reason']}"
    if row["representative"] is not None:
        near = "" if row["similarity"] is None else f", similarity {row['similarity']:.4g} ({row['similarity_kind']})"
        against = "" if row["threshold"] is None else f", threshold {row['threshold']:g}"
        return f"{reason} of {row['representative']} in {row['representative_dataset']}{near}{against}"
    language = ((facts or {}).get(row["stage"] or "") or {}).get("language")
    if language and row["reason"] == "language":
        return f"{reason} is {language}"
    if row["value"] is not None and row["threshold"] is not None:
        return f"{reason}, value {row['value']:.6g}, threshold {row['threshold']:g}"
    return reason


def _chain(folder: RunFolder, row: LedgerRow) -> list[LostTo]:
    """Return the documents it lost to, one after the other, until one lives or was filtered out."""
    chain: list[LostTo] = []
    seen = {row["doc_id"]}
    while (winner := folder.row(row["representative"])) is not None:
        if winner["doc_id"] in seen:
            raise LedgerError(
                f"in the ledger of {folder.root} documents represent each other in a circle. Make it anew."
            )
        seen.add(winner["doc_id"])
        chain.append(
            {
                "stage": row["stage"],
                "doc_id": winner["doc_id"],
                "dataset": winner["dataset"],
                "id": winner["id"],
                "similarity": row["similarity"],
                "similarity_kind": row["similarity_kind"],
                "verdict": _verdict(winner),
                "url": None,
            }
        )
        row = winner
    return chain


def _group(folder: RunFolder, survivor: LedgerRow | None) -> Group | None:
    """Return the survivor's group: size, documents per dataset, the first members."""

    if survivor is None:
        return None
    members: list[Member] = []
    wanted = survivor["doc_id"]
    for table in folder.ledger(columns=["doc_id", "dataset", "id", "stage", "similarity", "survivor", "kept"]):
        mine = pc.and_(pc.equal(table.column("survivor"), wanted), pc.invert(table.column("kept")))
        for member in table.filter(mine).to_pylist()[: SHOWN - len(members)]:
            members.append(cast("Member", {name: member[name] for name in Member.__annotations__}))
        if len(members) >= min(SHOWN, (survivor["group_size"] or 1) - 1):
            break
    return {
        "size": survivor["group_size"],
        "datasets": datasets_of_group(survivor["group_datasets"]),
        "members": members,
    }


@dataclass(frozen=True)
class _Step:
    """What one stage made of the document."""

    stage: StageInfo
    verdict: str
    reason: str | None = None
    value: float | None = None
    threshold: float | None = None

    def as_tree(self) -> Decision:
        """Return the decision as JSON has it."""
        return {
            "stage": self.stage.name,
            "use": self.stage.use,
            "verdict": self.verdict,
            "reason": self.reason,
            "value": self.value,
            "threshold": self.threshold,
        }


def _decisions(folder: RunFolder, row: LedgerRow) -> tuple[Facts, list[Decision], str | None]:
    """Return (facts per stage, decisions in order, why there are no facts).

    Without the run's facts the decisions are what the ledger alone tells.
    """
    missing = None
    try:
        facts, values = _from_facts(folder, row)
    except (WinnowError, OSError) as error:
        facts, values, missing = {}, {}, str(error)
    steps, dropped = [], False
    for stage in folder.stages:
        if dropped:
            unseen = missing is None and stage.name in _deferred(folder) and stage.name not in facts
            steps.append(_Step(stage, "not reached, never judged" if unseen else "not reached"))
        elif not stage.applies_to(row["dataset"]):
            steps.append(_Step(stage, "not for this dataset"))
        elif stage.name == row["stage"]:
            dropped = True
            steps.append(_Step(stage, "dropped", row["reason"], row["value"], row["threshold"]))
        else:
            steps.append(_Step(stage, "passed", None, *values.get(stage.name, (None, None))))
    return facts, [step.as_tree() for step in steps], missing


def _deferred(folder: RunFolder) -> set[str]:
    """Return the stages that judge only what deduplication leaves, and what it has to ask about."""
    return {stage.name for index, stage in enumerate(folder.run.stages) if folder.run.deferred(index)}


def _from_facts(folder: RunFolder, row: LedgerRow) -> tuple[Facts, dict[str, tuple[float | None, float | None]]]:
    """Return facts per stage, and (value, threshold) of every stage that judged the document."""
    from stages.core.view import View
    from stages.dedup.dedup_stage import DedupStage

    run = folder.run
    position, at = (int(a[0]) for a in run.manifest.locate(np.array([row["doc_id"]], np.int64)))
    view = View(run, run.manifest.bundles[position])
    facts: Facts = {}
    values: dict[str, tuple[float | None, float | None]] = {}
    for index, stage in enumerate(run.stages):
        if not stage.applies_to(row["dataset"]) or isinstance(stage, DedupStage):
            continue
        table = _stored_facts(view, stage, index)
        mine = np.flatnonzero(table.column("row").to_numpy() == at) if table is not None else np.empty(0, np.int64)
        if table is not None and len(mine):
            found = table.slice(int(mine[0]), 1).to_pylist()[0]
            facts[stage.name] = {name: _short(value) for name, value in found.items() if name != "row"}
        judged, decisions = view.decided(index)
        place = int(np.searchsorted(judged, at))
        if place < len(judged) and judged[place] == at:
            values[stage.name] = _number(decisions.value[place]), _number(decisions.threshold[place])
    return facts, values


def _stored_facts(view: View, stage: Stage, index: int) -> pa.Table | None:
    """Return what a stage keeps about single documents, None if nothing."""
    from stages.core.exchange_stage import ExchangeStage
    from stages.core.stage import ShardStage

    if isinstance(stage, ShardStage):
        return view.run.facts(stage).read(view.bundle, view.reading)
    return view.stored_decisions(index) if isinstance(stage, ExchangeStage) and stage.keeps_verdicts else None


def _short(value: Any) -> Any:
    """Return a fact as JSON has it; long lists (signatures) by length and first values."""
    if isinstance(value, list) and len(value) > 8:
        return f"{len(value)} values: {', '.join(map(str, value[:4]))} …"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return _number(value) if isinstance(value, float) else value


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
