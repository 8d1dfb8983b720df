"""What decided about a sampled document, in words: the language that was found and its score, a score and its limit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from cluster.errors import WinnowError
from pipelines.artefacts import LedgerRow
from pipelines.report.charts import number
from pipelines.runfolder import RunFolder, StageInfo


def deciding_words(folder: RunFolder, rows: Mapping[int, LedgerRow]) -> dict[int, str]:
    """Return for documents, by doc_id, what decided about them; nothing about those that no number decided about."""
    stages = {stage.name: stage for stage in folder.stages}
    languages = _languages(folder, [row for row in rows.values() if _use(stages, row) == "language_id"])
    found = {}
    for doc, row in rows.items():
        if row["stage"] is None or row["value"] is None:
            continue
        if _use(stages, row) == "language_id":
            found[doc] = _of_language(stages[row["stage"]], row, languages.get(doc))
        else:
            found[doc] = _of_score(stages.get(row["stage"]), row)
    return found


def _use(stages: Mapping[str, StageInfo], row: LedgerRow) -> str:
    stage = stages.get(row["stage"] or "")
    return stage.use if stage else ""


def _of_language(stage: StageInfo, row: LedgerRow, language: str | None) -> str:
    score = "no score" if row["value"] is None else f"score {number(row['value'])}"
    wanted = ", ".join(stage.parameters.get("languages") or [])
    if row["reason"] == "language":
        kept = f"; kept are {wanted}" if wanted else ""
        return f"language {language or 'not recorded'} with {score}{kept}"
    limit = "" if row["threshold"] is None else f", below {number(row['threshold'])}"
    return f"language {language or wanted or 'not recorded'} with {score}{limit}"


def _of_score(stage: StageInfo | None, row: LedgerRow) -> str:
    value, threshold = row["value"], row["threshold"]
    name = "score" if stage is not None and stage.use in ("quality", "label", "perplexity", "score_cut") else "value"
    if row["similarity"] is not None:
        name = "similarity"
    said = f"{name} {number(value)}" if value is not None else name
    return said if threshold is None else f"{said}, threshold {number(threshold)}"


def _languages(folder: RunFolder, rows: Iterable[LedgerRow]) -> dict[int, str]:
    """Return the languages that stages found, by doc_id; none where the facts are gone. Memory: facts of one bundle."""
    from stages.core.stage import ShardStage
    from stages.core.view import View

    found: dict[int, str] = {}
    try:
        run = folder.run
        for row in rows:
            position, at = (int(a[0]) for a in run.manifest.locate(np.array([row["doc_id"]], np.int64)))
            stage = run.stages[run.index(row["stage"] or "")]
            assert isinstance(stage, ShardStage)
            view = View.at(run, position)
            table = run.facts(stage).read(view.bundle, view.reading)
            if table is None:
                continue
            for place in np.flatnonzero(table.column("row").to_numpy() == at).tolist():
                found[row["doc_id"]] = str(table.column("language")[place].as_py())
    except (WinnowError, OSError, KeyError):
        return found
    return found
