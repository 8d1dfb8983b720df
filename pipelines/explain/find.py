"""Find the documents that a question is about: by doc_id, the user's id, URL or text.

Guarantees: what matches exactly is found first and alone; only where nothing does, URLs are compared without
scheme, case, fragment and final slashes, and texts by MinHash signatures, and the answer says so. Memory: the
facts of one bundle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.runfolder import RunFolder
from stages.inputs.ids import spellings

EXACT, ALIKE, NEAR = "exact", "alike", "near"
LEAST = 0.5  # estimated similarity from which a text counts as a near duplicate of the one given
MOST = 20  # near duplicates that are told


@dataclass(frozen=True)
class Match:
    """Documents that match, in order, and how: exact, alike (URLs) or near (texts, with estimated similarities)."""

    docs: list[int]
    how: str = EXACT
    similarity: dict[int, float] = field(default_factory=dict)


def find_documents(folder: RunFolder, key: str, value: Any) -> Match:
    """Return the documents that `key` (doc_id, id, url or text) finds; none where nothing comes near."""
    if key == "doc_id":
        return Match(list(folder.rows([int(value)])))
    if key == "id":
        first, *others = spellings(value)
        exact = list(_by_id(folder, [first]))
        return Match(exact or (list(_by_id(folder, others)) if others else []))
    if key == "url":
        exact = list(_by_url(folder, pa.chunked_array([pa.array([value], pa.large_string())]), bare=False))
        return Match(exact) if exact else Match(list(_by_url(folder, _bare(value), bare=True)), ALIKE)
    same = list(_by_text(folder, value))
    return Match(same) if same else _near(folder, value)


def _by_id(folder: RunFolder, wanted: list[str]) -> Iterator[int]:
    for table in folder.ledger(columns=["doc_id", "id"]):
        yield from table.filter(pc.is_in(table.column("id"), pa.array(wanted, pa.large_string()))).column(0).to_pylist()


def _by_url(folder: RunFolder, wanted: pa.ChunkedArray, *, bare: bool) -> Iterator[int]:
    for docs, facts in _read_facts(folder):
        urls = facts.column("url")
        yield from docs[_hits(_bare(urls) if bare else urls, wanted.combine_chunks())].tolist()


def _bare(urls: Any) -> pa.ChunkedArray:
    """Return URLs in lower case, without scheme, fragment and final slashes."""
    if isinstance(urls, str):
        urls = pa.chunked_array([pa.array([urls], pa.large_string())])
    for pattern in (r"^\s*[A-Za-z][A-Za-z0-9+.-]*://", r"#.*$", r"[/\s]+$"):
        urls = pc.replace_substring_regex(urls, pattern, "")
    return pc.utf8_lower(urls)


def _by_text(folder: RunFolder, text: str) -> Iterator[int]:
    from stages.kernels.hashes.hashing import buffers, content_hash

    bare = text.strip()
    forms = {text, text.rstrip("\r\n"), text.rstrip(), bare, bare + "\n"}
    h1, h2 = content_hash(*buffers(pa.array(sorted(forms), pa.large_string())))
    pairs = set(zip(h1.tolist(), h2.tolist(), strict=True))
    for docs, facts in _read_facts(folder):
        for at in np.flatnonzero(_hits(facts.column("h1"), pa.array(h1))):
            if (facts.column("h1")[int(at)].as_py(), facts.column("h2")[int(at)].as_py()) in pairs:
                yield int(docs[at])


def _near(folder: RunFolder, text: str) -> Match:
    """Return the documents most similar to a text by the run's first minhash stage, the most similar first."""
    from stages.dedup.near.signatures import signature_matrix
    from stages.kernels.similarity.jaccard import estimate
    from stages.kernels.similarity.minhash import slots8
    from stages.minhash import MinHash

    stage = next((s for s in folder.run.stages if isinstance(s, MinHash)), None)
    if stage is None or not text.strip():
        return Match([], NEAR)
    mine = slots8(signature_matrix(stage.annotate(pa.table({"text": pa.array([text], pa.large_string())}))))
    found: dict[int, float] = {}
    for bundle in folder.run.manifest.bundles:
        if not stage.applies_to(bundle.dataset):
            continue
        facts = folder.run.facts(stage).read(bundle, folder.run.reading(bundle.dataset))
        value = estimate(slots8(signature_matrix(facts)), mine) if facts.num_rows else np.empty(0)
        docs: npt.NDArray[np.int64] = bundle.doc_ids()[facts.column("row").to_numpy()]
        at = np.flatnonzero(value >= LEAST)
        found.update(zip(docs[at].tolist(), value[at].tolist(), strict=True))
        best = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:MOST]
        found = dict(best)
    return Match(list(found), NEAR, found)


def _hits(column: pa.ChunkedArray, values: pa.Array) -> npt.NDArray[np.bool_]:
    """Return which rows hold one of the values, (rows,) bool."""
    return np.asarray(pc.is_in(column, values).to_numpy()).astype(np.bool_)


def _read_facts(folder: RunFolder) -> Iterator[tuple[Any, pa.Table]]:
    """Yield (doc_ids, facts of stage read) bundle by bundle."""
    from stages.core.view import View

    for bundle in folder.run.manifest.bundles:
        view = View(folder.run, bundle)
        yield view.doc_ids, view.read
