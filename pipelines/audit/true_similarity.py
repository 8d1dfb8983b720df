"""True similarity of pairs of documents, on their texts as a deduplication stage saw them.

Memory: the texts of CHUNK pairs, and of fewer where they are larger than CHUNK_BYTES together; the shingles of a pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.audit.judged_texts import judged_texts
from pipelines.runfolder import RunFolder
from stages.core.arrays import array
from stages.core.run import Run
from stages.core.view import View
from stages.kernels.hashes.hashing import buffers
from stages.kernels.similarity.jaccard import exact_pairs
from stages.kernels.text.normalise import normalise
from stages.near_dedup import NearDedup, near_job

CHUNK = 64  # pairs whose texts are held at a time
CHUNK_BYTES = 32 << 20  # of these texts


def true_similarities(folder: RunFolder, index: int, pairs: Sequence[tuple[int, int]]) -> list[float | None]:
    """Return the Jaccard similarity of the shingle sets of pairs of doc_ids; for exact_dedup 1 or 0."""
    found: list[float | None] = []
    for chunk in _chunks(folder.run, pairs):
        texts = judged_texts(folder, index, {doc for pair in chunk for doc in pair})
        found.extend(_jaccard(folder.run, index, [(texts.get(a), texts.get(b)) for a, b in chunk]))
    return found


def _chunks(run: Run, pairs: Sequence[tuple[int, int]]) -> Iterator[Sequence[tuple[int, int]]]:
    """Cut pairs into chunks of at most CHUNK pairs and, but for a pair that is larger alone, CHUNK_BYTES."""
    size = _sizes(run, {doc for pair in pairs for doc in pair})
    start = held = 0
    for end, (one, other) in enumerate(pairs):
        held += size[one] + size[other]
        if end > start and (end - start == CHUNK or held > CHUNK_BYTES):
            yield pairs[start:end]
            start, held = end, size[one] + size[other]
    if start < len(pairs):
        yield pairs[start:]


def _sizes(run: Run, docs: set[int]) -> dict[int, int]:
    """Return the bytes of the texts of these documents, as they were read."""
    order = np.array(sorted(docs), np.int64)
    position, row = run.manifest.locate(order)
    found: dict[int, int] = {}
    for here in np.unique(position).tolist():
        mine = np.flatnonzero(position == here)
        size = array(View.at(run, here).read.select(["num_bytes"]).take(pa.array(row[mine])), "num_bytes")
        found.update(zip(order[mine].tolist(), size.tolist(), strict=True))
    return found


def _jaccard(run: Run, index: int, pairs: Iterable[tuple[Any, Any]]) -> list[float | None]:
    pairs = list(pairs)
    known = [n for n, (a, b) in enumerate(pairs) if a is not None and b is not None]
    flat = pa.array([text for n in known for text in pairs[n]], pa.large_string())
    stage = run.stages[index]
    left = np.arange(0, len(flat), 2)
    if isinstance(stage, NearDedup):
        how = near_job(run, index).shingling
        data, offsets = buffers(normalise(flat, how.normalise))
        values = exact_pairs(data, offsets, left, left + 1, how.width, words=how.unit == "words").tolist()
    else:
        texts = normalise(flat, str(getattr(stage, "normalise", "none"))).to_pylist()
        values = [float(texts[n] == texts[n + 1]) for n in left]
    found: list[float | None] = [None] * len(pairs)
    for n, value in zip(known, values, strict=True):
        found[n] = value
    return found
