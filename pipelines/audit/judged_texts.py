"""Texts as a deduplication stage saw them: repaired, where a stage before it handed repaired texts on.

Memory: the texts asked for; the facts of one bundle.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipelines.runfolder import RunFolder
from stages.core.run import Run
from stages.core.view import View
from stages.near_dedup import NearDedup, near_job


def judged_texts(folder: RunFolder, index: int, docs: set[int]) -> dict[int, str]:
    """Return the texts of documents as stage `index` judged them; what cannot be read any more is left out."""
    found = {doc: document.text for doc, document in folder.texts(docs).items()}
    run, order = folder.run, np.array(sorted(found), np.int64)
    seen_by = _seen_by(run, index)
    if run.text_from(seen_by) is None or not len(order):
        return found
    position, row = run.manifest.locate(order)
    for here in np.unique(position).tolist():
        mine = np.flatnonzero(position == here)
        mine = mine[np.argsort(row[mine])]
        texts = pa.array([found[doc] for doc in order[mine].tolist()], pa.large_string())
        judged = View.at(run, here).as_judged(seen_by, row[mine], texts)
        found.update(zip(order[mine].tolist(), judged.to_pylist(), strict=True))
    return found


def _seen_by(run: Run, index: int) -> int:
    """Return the place of the stage that saw the texts which a deduplication stage compares."""
    return near_job(run, index).signatures_at if isinstance(run.stages[index], NearDedup) else index
