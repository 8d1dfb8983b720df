"""Quality filter: scores documents by a classifier, or by a column of the input.

Facts are the score and the label, so thresholds change without reading text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers import quality
from cluster.errors import ShardError
from stages.classified import Classified
from stages.core.arrays import whole
from stages.core.stage import Decisions, param
from stages.inputs.ids import NUMBERS, numbers_in, scalar_texts

REASONS = ("no_score", "low_quality", "high_quality", "quality_label")


@dataclass(frozen=True, kw_only=True)
class Quality(Classified):
    """Score each document; keep scores within limits and wanted labels.

    Reads: text, or the column that `model: column:NAME` names. Writes: quality_score (on the model's own
    scale, null where there is none), quality_label. Drops, where the recipe sets a limit: `no_score` (the
    column is null, or the text has no word), `low_quality` (below `min_score`), `high_quality` (above
    `max_score`), `quality_label` (none of `keep_labels`).
    """

    use: ClassVar[str] = "quality"
    version: ClassVar[int] = 3
    summary: ClassVar[str] = "Score quality by a classifier or a column; keep what is good enough"
    schema: ClassVar[pa.Schema] = pa.schema([("quality_score", pa.float64()), ("quality_label", pa.string())])
    device_expansion: ClassVar[float] = 17.0  # slots of fasttext.h for a batch; of a chunk at most SCRATCH bytes

    model: str = param("", quality.SPECS, fact=True, metavar="SPEC")
    min_score: float | None = param(None, "drop documents with a lower score")
    max_score: float | None = param(None, "drop documents with a higher score")
    keep_labels: tuple[str, ...] = param((), "keep only documents with one of these labels")
    keep_missing: bool = param(False, "documents without score or label stay")
    positive_label: str = param(
        "", "label whose probability is the score (default: the one named hq, high …)", fact=True
    )
    max_chars: int | None = param(
        None, "judge a longer text by its first characters", fact=True, ge=1, le=(1 << 31) - 1
    )

    @property
    def drops(self) -> bool:
        return self.min_score is not None or self.max_score is not None or bool(self.keep_labels)

    def annotate(self, documents: pa.Table) -> pa.Table:
        if not documents.num_rows:
            return self.schema.empty_table()
        if self._column:
            return self._from_column(documents.column(self.model))
        settings = quality.Settings(spec=self.model, positive_label=self.positive_label, max_chars=self.max_chars)
        model = quality.load(settings)
        scores = model.score(whole(documents.column("text")))
        value = pa.array(scores.value, pa.float64(), from_pandas=True)  # NaN becomes null
        return pa.table([value, scores.labels(model.labels)], schema=self.schema)

    def _from_column(self, values: pa.ChunkedArray) -> pa.Table:
        """Numbers are scores, strings labels and, where they read as a number, scores too; of the rest the text is."""
        kind = values.type
        if pa.types.is_dictionary(kind):
            values = values.cast(kind.value_type)
            kind = values.type
        rows = len(values)
        if any(test(kind) for test in NUMBERS):
            score, label = values.cast(pa.float64(), safe=False), pa.nulls(rows, pa.string())
        elif pa.types.is_null(kind):
            score, label = pa.nulls(rows, pa.float64()), pa.nulls(rows, pa.string())
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            label = values.cast(pa.string())
            score = numbers_in(label)
        elif not pa.types.is_nested(kind):
            score, label = pa.nulls(rows, pa.float64()), scalar_texts(whole(values)).cast(pa.string())
        else:
            raise ShardError(
                f"{self.model} holds {kind}, a number or a string was expected (stage {self.name}). Name the "
                "number inside it with a dotted path, for instance column:metadata.score."
            )
        return pa.table([score, label], schema=self.schema)

    def decide(self, facts: pa.Table) -> Decisions:
        rows = facts.num_rows
        score = facts.column("quality_score").to_numpy().astype(np.float64)  # null becomes NaN
        reason = np.full(rows, -1, np.int16)
        threshold = np.full(rows, np.nan)
        if self.keep_labels:
            wanted = pc.is_in(facts.column("quality_label"), pa.array(self.keep_labels, pa.string()))
            unwanted = ~wanted.to_numpy().astype(np.bool_)
            if self.keep_missing:
                unwanted &= facts.column("quality_label").is_valid().to_numpy()
            reason[unwanted] = 3
        for limit, code in ((self.max_score, 2), (self.min_score, 1)):
            if limit is not None:
                beyond = score > limit if code == 2 else score < limit
                reason[beyond] = code
                threshold[beyond | (np.isnan(threshold) & (reason < 0))] = limit
        if (self.min_score is not None or self.max_score is not None) and not self.keep_missing:
            reason[np.isnan(score)] = 0
        return Decisions(reason, REASONS, score, threshold)
