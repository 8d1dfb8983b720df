"""Texts as a deduplication stage saw them: repaired, where a stage before it handed repaired texts on.

Memory: the texts asked for; the facts of one bundle.
"""

from __future__ import annotations

from pipelines.runfolder import RunFolder
from pipelines.texts_as_judged import texts_as_judged
from stages.core.run import Run
from stages.near_dedup import NearDedup, near_job


def judged_texts(folder: RunFolder, index: int, docs: set[int]) -> dict[int, str]:
    """Return the texts of documents as deduplication stage `index` compared them, the unreadable left out."""
    return texts_as_judged(folder, _seen_by(folder.run, index), docs)


def _seen_by(run: Run, index: int) -> int:
    """Return the place of the stage that saw the texts which a deduplication stage compares."""
    return near_job(run, index).signatures_at if isinstance(run.stages[index], NearDedup) else index
