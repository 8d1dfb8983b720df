"""Labels of any classifier as facts: topic, domain, format, toxicity; keeps documents with the wanted ones.

Facts are the label and the model's certainty, so what is kept changes without reading text. For the probability of one
label (`toxic` above 0.3) there is stage `quality` with `positive_label` and `max_score`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers import quality
from stages.classified import Classified
from stages.core.arrays import whole
from stages.core.stage import Decisions, param
from stages.inputs.ids import scalar_texts

REASONS = ("no_label", "label", "low_label_score", "high_label_score")


@dataclass(frozen=True, kw_only=True)
class Label(Classified):
    """Name each document's label by a classifier or a column; keep the wanted ones.

    Reads: text, or the column that `model: column:NAME` names. Writes: label (null where the model names none),
    label_score (the label's probability by a fastText model, any other model's own score, null of a column). Drops:
    `label` where it is none of `keep_labels` or one of `drop_labels`, `low_label_score` and `high_label_score` beyond
    `min_score` and `max_score`, `no_label` where the recipe keeps some labels and the document has none
    (`keep_missing` keeps those).
    """

    use: ClassVar[str] = "label"
    summary: ClassVar[str] = "Name topic, domain or format by a classifier; keep the wanted labels"
    schema: ClassVar[pa.Schema] = pa.schema([("label", pa.string()), ("label_score", pa.float64())])
    device_expansion: ClassVar[float] = 17.0  # slots of fasttext.h for a batch; of a chunk at most SCRATCH bytes

    model: str = param("", quality.SPECS, fact=True, metavar="SPEC")
    keep_labels: tuple[str, ...] = param((), "keep only documents with one of these labels")
    drop_labels: tuple[str, ...] = param((), "drop documents with one of these labels")
    min_score: float | None = param(None, "drop documents whose label is less certain")
    max_score: float | None = param(None, "drop documents whose label is more certain")
    keep_missing: bool = param(False, "documents without a label stay, whatever keep_labels names")
    max_chars: int | None = param(
        None, "judge a longer text by its first characters", fact=True, ge=1, le=(1 << 31) - 1
    )

    def validate(self) -> None:
        super().validate()
        both = sorted(set(self.keep_labels) & set(self.drop_labels))
        if both:
            raise self.error("drop_labels", both[0], "none of keep_labels")

    @property
    def drops(self) -> bool:
        limits = (self.min_score, self.max_score)
        return bool(self.keep_labels or self.drop_labels) or any(limit is not None for limit in limits)

    def annotate(self, documents: pa.Table) -> pa.Table:
        if not documents.num_rows:
            return self.schema.empty_table()
        if self._column:
            labels = scalar_texts(whole(documents.column(self.model))).cast(pa.string())
            return pa.table([labels, pa.nulls(len(labels), pa.float64())], schema=self.schema)
        model = quality.load(quality.Settings(spec=self.model, max_chars=self.max_chars, best_label=True))
        scores = model.score(whole(documents.column("text")))
        value = pa.array(scores.value, pa.float64(), from_pandas=True)  # NaN becomes null
        return pa.table([scores.labels(model.labels), value], schema=self.schema)

    def decide(self, facts: pa.Table) -> Decisions:
        rows = facts.num_rows
        label = whole(facts.column("label"))
        score = facts.column("label_score").to_numpy().astype(np.float64)  # null becomes NaN
        reason, threshold = np.full(rows, -1, np.int16), np.full(rows, np.nan)
        for limit, code in ((self.max_score, 3), (self.min_score, 2)):
            if limit is not None:
                beyond = score > limit if code == 3 else score < limit
                reason[beyond], threshold[beyond] = code, limit
        if self.keep_labels:
            reason[~self._is_in(label, self.keep_labels)] = 1
            reason[label.is_null().to_numpy(zero_copy_only=False)] = -1 if self.keep_missing else 0
        reason[self._is_in(label, self.drop_labels)] = 1
        return Decisions(reason, REASONS, score, threshold)

    @staticmethod
    def _is_in(label: pa.Array, wanted: tuple[str, ...]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        found = pc.is_in(label, pa.array(wanted, pa.string()))
        return np.asarray(found.to_numpy(zero_copy_only=False), np.bool_)
