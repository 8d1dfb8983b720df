"""Parquet row groups that would swell when they are decoded, told from the footer alone.

A page of text that compresses a thousandfold and more holds no text. Guarantees: a function of the footer, so that
every reader of a file loses the same rows, whatever columns it asks for. Not seen are footers that lie about their
pages, and a few long values that a dictionary repeats (docs/security.md).
"""

from __future__ import annotations

import pyarrow.parquet as pq

from cluster.bounds import LONGEST

RATIO = 1000  # decoded bytes for each stored one; real text stays below 100


def swollen(group: pq.RowGroupMetaData) -> str:
    """Return what is wrong with a row group's sizes; empty where nothing is."""
    for index in range(group.num_columns):
        column = group.column(index)
        stored, decoded = int(column.total_compressed_size), int(column.total_uncompressed_size)
        if column.physical_type != "BYTE_ARRAY" or decoded <= LONGEST:
            continue
        if decoded // max(1, int(column.num_values)) > LONGEST:
            return f"column {column.path_in_schema} has values of more than {LONGEST:,} bytes"
        if decoded > RATIO * max(1, stored):
            return f"column {column.path_in_schema} decodes from {stored:,} to {decoded:,} bytes, which is no text"
    return ""
