"""Drive Daft's `minhash` expression on word shingles, over an Arrow table that is in memory already."""

from __future__ import annotations

from typing import Any

import daft
import protocol
import pyarrow as pa


def sketch(table: Any, width: int) -> int:
    column = daft.col("text").minhash(num_hashes=128, ngram_size=width, seed=1)
    return daft.from_arrow(table).select(column).to_arrow().num_rows


if __name__ == "__main__":
    given = protocol.arguments()
    protocol.measure(
        given,
        lambda table: sketch(table, given.width),
        prepare=lambda texts: pa.table({"text": pa.array(texts, pa.large_string())}),
    )
