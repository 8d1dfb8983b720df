"""`winnow classifier score`: scores of files as one Parquet file."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from classifiers import quality
from cluster import storage
from stages.inputs.side_files import texts

SCHEMA = pa.schema([("path", pa.string()), ("row", pa.int64()), ("score", pa.float64()), ("label", pa.string())])


def score_files(model: str, paths: Sequence[str], out: str, column: str = "text", positive_label: str = "") -> int:
    """Write path, row, score and label of every text, null where there is none; return how many."""
    spec = quality.spec_of(model)
    classifier = quality.load(quality.Settings(spec=spec, positive_label=positive_label))
    total = 0
    with storage.commit(out) as file, pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        for batch in texts(list(paths), column):
            found = classifier.score(batch.texts)
            path = pa.repeat(pa.scalar(batch.path), len(batch.rows))
            score = pa.array(found.value, pa.float64(), from_pandas=True)  # NaN becomes null
            columns = [path, pa.array(batch.rows, pa.int64()), score, found.labels(classifier.labels)]
            writer.write_table(pa.table(columns, schema=SCHEMA))
            total += len(batch.rows)
    return total
