"""Texts of documents as a stage reads them: repaired, where a stage before it hands repaired texts on.

Memory: the texts asked for; the facts of one bundle.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from pipelines.runfolder import RunFolder
from stages.core.view import View


def texts_as_judged(folder: RunFolder, index: int, docs: Iterable[int]) -> dict[int, str]:
    """Return the texts of documents as stage `index` reads them; what cannot be read any more is left out."""
    found = {doc: document.text for doc, document in folder.texts(set(docs)).items()}
    run, order = folder.run, np.array(sorted(found), np.int64)
    if run.text_from(index) is None or not len(order):
        return found
    position, row = run.manifest.locate(order)
    for here in np.unique(position).tolist():
        mine = np.flatnonzero(position == here)
        mine = mine[np.argsort(row[mine])]
        texts = pa.array([found[doc] for doc in order[mine].tolist()], pa.large_string())
        judged = View.at(run, here).as_judged(index, row[mine], texts)
        found.update(zip(order[mine].tolist(), judged.to_pylist(), strict=True))
    return found
