"""`winnow facts`: a stage's facts (or, for deduplication, its verdicts) as one Parquet file for other tools.

Guarantees: those of stage_facts.py; the file appears when it is whole. Memory: one bundle.
"""

from __future__ import annotations

import pyarrow.parquet as pq

from cluster import storage
from cluster.errors import RecipeError
from pipelines.run_state import from_home, reopen
from pipelines.stage_facts import bundles_with_facts, facts_of_bundle
from stages.core.run import Run


def export_facts(run_dir: str, stage: str, out: str) -> int:
    """Write doc_id, row and the columns of `stage` to the Parquet file `out`; return the rows written.

    Raises RecipeError when the run has no such stage or the stage keeps no facts, LedgerError when it is not finished.
    """
    target = storage.absolute(out)
    with from_home(run_dir) as root:
        return _export(reopen(root).run, stage, target)


def _export(run: Run, stage: str, out: str) -> int:
    rows = 0
    writer: pq.ParquetWriter | None = None
    bundles = bundles_with_facts(run, stage)
    with storage.commit(out) as file:
        for bundle in bundles:
            table = facts_of_bundle(run, stage, bundle)
            writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
            writer.write_table(table)
            rows += table.num_rows
        if writer is None:
            raise RecipeError(f"stage {stage} applies to no document of {run.root}, so there are no facts to export.")
        writer.close()
    return rows
