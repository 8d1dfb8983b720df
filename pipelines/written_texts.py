"""Documents as they are written: personal data redacted, lines cut, repairs made; what pages show instead of originals.

Of a document that lives the edits are those of its facts. One that was dropped may have none: what stages would edit is
found again in its text, with hashes replaced by plain names (their key is not in the run folder). Guarantees: a text is
shown unredacted only where no stage of the recipe would change it. Memory: the texts given.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.errors import WinnowError

if TYPE_CHECKING:
    from stages.core.run import Run
    from stages.core.stage import ShardStage
    from stages.core.view import View

WITHHELD = "[not shown: what the recipe redacts in this text cannot be found now]"
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Document:
    """A document's text and names, as they stand in the input (or in the mix, where that is gone)."""

    doc_id: int
    text: str
    id: str | None = None
    url: str | None = None


def as_written(run: Run, documents: Mapping[int, Document]) -> dict[int, Document]:
    """Return documents that were read from the input as the mix has them, or would have them."""
    if not any(stage.rewrites() for stage in run.stages) or not documents:
        return dict(documents)
    doc = np.array(sorted(documents), np.int64)
    position, row = run.manifest.locate(doc)
    found: dict[int, Document] = {}
    for here in np.unique(position).tolist():
        mine = np.flatnonzero(position == here)
        mine = mine[np.argsort(row[mine])]
        given = {int(row[i]): documents[int(doc[i])] for i in mine}
        written = _of_bundle(run, here, given)
        found.update({int(doc[i]): written[int(row[i])] for i in mine})
    return found


def _of_bundle(run: Run, position: int, documents: dict[int, Document]) -> dict[int, Document]:
    """Return documents of one bundle, by bundle row."""
    from stages.core.view import View

    view = View.at(run, position)
    rows = np.array(sorted(documents), np.int64)
    texts = pa.array([documents[int(row)].text for row in rows], pa.large_string())
    known = _with_facts(view, rows, texts)
    again = [i for i in range(len(rows)) if i not in known]
    shown = dict(known)
    if again:
        dataset = view.bundle.dataset
        shown.update(zip(again, _found_again(run, dataset, texts.take(pa.array(again))), strict=True))
    return {
        int(row): dataclasses.replace(
            documents[int(row)],
            text=shown[i],
            url=_masked(run, view.bundle.dataset, "url", documents[int(row)].url),
            id=_masked(run, view.bundle.dataset, "id", documents[int(row)].id),
        )
        for i, row in enumerate(rows)
    }


def _with_facts(view: View, rows: I64, texts: pa.Array) -> dict[int, str]:
    """Return texts by place, of documents that live and are what was judged, with the edits of their facts."""
    from stages.core.arrays import array
    from stages.core.edits import apply
    from stages.kernels.hashes.hashing import buffers
    from stages.kernels.hashes.text_digest import text_digest

    with contextlib.suppress(WinnowError, OSError):  # a run that is not finished, or damaged
        live = view.live(len(view.run.stages) - 1)[rows]
        first, second = text_digest(*buffers(texts))
        same = (array(view.read, "d1")[rows] == first) & (array(view.read, "d2")[rows] == second)
        at = np.flatnonzero(live & same)
        written = apply(texts.take(pa.array(at)), view.edits.among(rows[at]))
        return dict(zip(at.tolist(), written.to_pylist(), strict=True))
    return {}


def _found_again(run: Run, dataset: str, texts: pa.Array) -> list[str]:
    """Return texts with what each stage would edit in them, one stage after the other."""
    from stages.core.edits import apply, merge
    from stages.core.stage import ShardStage

    for stage in run.stages:
        if not (isinstance(stage, ShardStage) and stage.rewrites() and stage.applies_to(dataset)):
            continue
        try:
            shown = _without_secret(stage)
            texts = apply(texts, merge([shown.edits(shown.annotate(pa.table({"text": texts})))]))
        except (WinnowError, ImportError, OSError):
            return [WITHHELD] * len(texts)
    return [str(text) for text in texts.to_pylist()]


def _without_secret(stage: ShardStage) -> ShardStage:
    """Return a stage that needs no key: `hash` becomes `replace`."""
    fields = dataclasses.fields(stage)
    if not any(f.metadata.get("secret") for f in fields):
        return stage
    changed: dict[str, Any] = {f.name: "" for f in fields if f.metadata.get("secret")}
    hashed = [f.name for f in fields if f.metadata.get("choices") and getattr(stage, f.name) == "hash"]
    changed.update(dict.fromkeys(hashed, "replace"))
    return dataclasses.replace(stage, **changed)


def _masked(run: Run, dataset: str, column: str, value: str | None) -> str | None:
    """Return an id or a URL with what the stages redact in that column."""
    from stages.pii import Pii

    for stage in run.stages:
        if value and isinstance(stage, Pii) and column in stage.redact_columns and stage.applies_to(dataset):
            shown = _without_secret(stage)
            assert isinstance(shown, Pii)
            value = shown.masked(pa.array([value], pa.large_string()))[0].as_py()
    return value
