"""`winnow classifier score`: scores of files as one Parquet file."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from classifiers import quality
from classifiers.labelled import read_texts
from cluster import storage

SCHEMA = pa.schema([("path", pa.string()), ("row", pa.int64()), ("score", pa.float64())])


def score_files(model: str, paths: Sequence[str], out: str, column: str = "text") -> int:
    """Write path, row and score of every text; return how many."""
    spec = model if model.partition(":")[0] in quality.KINDS else f"fasttext:{model}"
    classifier = quality.load(quality.Settings(spec=spec))
    total = 0
    with storage.commit(out) as file, pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        for batch in read_texts(list(paths), column):
            score = classifier.score(batch.texts).value
            columns = [pa.repeat(pa.scalar(batch.path), len(score)), pa.array(batch.rows), pa.array(score)]
            writer.write_table(pa.table(columns, schema=SCHEMA))
            total += len(score)
    return total
