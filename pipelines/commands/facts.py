"""`winnow facts`: a stage's facts (or, for deduplication, its verdicts) as one Parquet file for other tools.

Guarantees: one row per document the stage judged, bundle by bundle, in row order; doc_ids need not ascend.
Memory: one bundle.
"""

from __future__ import annotations

import shlex

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cluster import storage
from cluster.errors import LedgerError, RecipeError
from pipelines.run_state import from_home, reopen, stage_progress
from stages.core.arrays import array
from stages.core.exchange_stage import ExchangeStage
from stages.core.run import Run
from stages.core.shard import ROW_BITS
from stages.core.stage import ShardStage
from stages.core.view import View


def export_facts(run_dir: str, stage: str, out: str) -> int:
    """Write doc_id, row and the columns of `stage` to the Parquet file `out`; return the rows written.

    Raises RecipeError when the run has no such stage or the stage keeps no facts, LedgerError when it is not finished.
    """
    target = storage.absolute(out)
    with from_home(run_dir) as root:
        return _export(reopen(root).run, stage, target)


def _export(run: Run, stage: str, out: str) -> int:
    names = [s.name for s in run.stages]
    if stage not in names:
        raise RecipeError(f"no stage is called {stage!r} in {run.root}; there are {', '.join(names)}.")
    index = names.index(stage)
    done, bundles = stage_progress(run, index)
    if done < bundles:
        raise LedgerError(
            f"stage {stage} of {run.root} is not finished: {done:,} of {bundles:,} bundles are judged with the recipe "
            f"as it is in recipe.lock.yaml. Run `winnow materialize {shlex.quote(run.root)}` first."
        )
    rows = 0
    writer: pq.ParquetWriter | None = None
    with storage.commit(out) as file:
        for bundle in run.manifest.bundles:
            if not run.stages[index].applies_to(bundle.dataset):
                continue
            table = _facts(View(run, bundle), index)
            writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
            writer.write_table(table)
            rows += table.num_rows
        if writer is None:
            raise RecipeError(f"stage {stage} applies to no document of {run.root}, so there are no facts to export.")
        writer.close()
    return rows


def _facts(view: View, index: int) -> pa.Table:
    stage = view.run.stages[index]
    if isinstance(stage, ShardStage):
        table = view.run.facts(stage).read(view.bundle, view.reading)
    else:
        assert isinstance(stage, ExchangeStage)
        if not stage.keeps_verdicts:
            raise RecipeError(f"stage {stage.name} keeps no facts: what it does follows from those of other stages.")
        table = view.stored_decisions(index)
    doc = view.doc_ids[array(table, "row").astype(np.int64)]
    row = doc & ((1 << ROW_BITS) - 1)
    rest = [name for name in table.schema.names if name != "row"]
    columns = [pa.array(doc), pa.array(row), *(table.column(name) for name in rest)]
    return pa.table(columns, names=["doc_id", "row", *rest])
