"""Repair what is broken in texts (encoding, entities, control characters, line ends, NFC) in what is written.

Guarantees: the input is never changed; spans are bytes of the original text; applying them is what the references give
(kernels/text/repairs.py); a repaired text is repaired no further. With `judge: repaired` the stages after this one
judge the repaired text, and what they cut or replace is still written as spans of the original.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.core.arrays import whole
from stages.core.edits import Edits, from_spans
from stages.core.stage import ShardStage, param
from stages.detect.spans import with_white_space
from stages.kernels.dispatch.resident import texts_at
from stages.kernels.text import repairs

SPAN = pa.struct([*((name, pa.int32()) for name in ("start", "stop", "left", "right")), ("text", pa.large_string())])


@dataclass(frozen=True, kw_only=True)
class Repair(ShardStage):
    """Repair texts in what is written.

    Reads: text. Writes: spans (bytes of the original text, what stands there instead) and how many repairs of each kind
    were made. Drops: nothing. `judge: repaired` shows the stages after this one the repaired text; those before it
    judge the text as it was read.
    """

    use: ClassVar[str] = "repair"
    summary: ClassVar[str] = "repair mojibake, entities, control characters, line ends and NFC in what is written"
    schema: ClassVar[pa.Schema] = pa.schema(
        [("spans", pa.list_(SPAN)), *((kind, pa.int32()) for kind in repairs.KINDS)]
    )
    expansion: ClassVar[float] = 6.0
    device_expansion: ClassVar[float] = 1.5  # where texts begin, and those to be repaired

    mojibake: bool = param(True, "UTF-8 that was read as another encoding (ftfy)", fact=True)
    entities: bool = param(True, "HTML entities that end in a semicolon", fact=True)
    controls: bool = param(True, "control and zero-width characters, joiners and tabs aside", fact=True)
    line_ends: bool = param(True, "carriage returns and Unicode's line ends become line feeds", fact=True)
    nfc: bool = param(True, "Unicode's composed form", fact=True)
    judge: str = param(
        "original", "which text the stages after this one judge: original or repaired", choices=("original", "repaired")
    )

    def validate(self) -> None:
        if not self._wanted:
            raise self.error("nfc", False, "true, or another repair switched on")

    @property
    def _wanted(self) -> tuple[str, ...]:
        return tuple(kind for kind in repairs.KINDS if getattr(self, kind))

    @property
    def hands_on_text(self) -> bool:
        return self.judge == "repaired"

    @property
    def host_text(self) -> bool:  # repaired texts are made there
        return self.hands_on_text

    def model_digest(self) -> str:
        import unicodedata

        import ftfy

        return f"{ftfy.__version__ if self.mojibake else ''} {unicodedata.unidata_version if self.nfc else ''}"

    def annotate(self, documents: pa.Table) -> pa.Table:
        from stages.kernels.text.repair_signs import may_need_repair

        texts = whole(documents.column("text"))
        sizes = np.zeros(len(texts) + 1, np.int32)
        counts = {kind: np.zeros(len(texts), np.int32) for kind in repairs.KINDS}
        spans: list[dict[str, Any]] = []
        rows = np.flatnonzero(may_need_repair(texts, self._wanted))
        for row, found in zip(rows.tolist(), texts_at(texts, rows), strict=True):
            text = found.as_py()
            edits, made = repairs.repairs(text, self._wanted)
            sizes[row + 1] = len(edits)
            spans.extend(_in_bytes(text, edits))
            for kind, number in made.items():
                counts[kind][row] = number
        column = pa.ListArray.from_arrays(pa.array(np.cumsum(sizes, dtype=np.int32)), pa.array(spans, SPAN))
        return pa.table([column, *(pa.array(counts[kind]) for kind in repairs.KINDS)], schema=self.schema)

    def edits(self, facts: pa.Table) -> Edits:
        lists = whole(facts.column("spans"))
        return from_spans(lists, pc.struct_field(pc.list_flatten(lists), "text"))

    def figures(self, facts: pa.Table) -> dict[str, int]:
        return {kind: int(pc.sum(facts.column(kind)).as_py() or 0) for kind in self._wanted}


def _in_bytes(text: str, edits: repairs.Edits) -> Iterator[dict[str, Any]]:
    """Yield edits of characters as spans of bytes, with the white space around them."""
    data, at, place = text.encode() if edits else b"", 0, 0
    for start, stop, new in edits:
        begin = place + len(text[at:start].encode())
        at, place = stop, begin + len(text[start:stop].encode())
        left, right = with_white_space(data, begin, place)
        yield {"start": begin, "stop": place, "left": left, "right": right, "text": new}
