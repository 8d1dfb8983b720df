"""A stage's facts, or a deduplication's verdicts, as tables with doc_ids: one for each bundle.

Guarantees: one row per document the stage judged, in row order; doc_ids need not ascend. Memory: one bundle.
"""

from __future__ import annotations

import shlex

import numpy as np
import pyarrow as pa

from cluster.errors import LedgerError, RecipeError
from pipelines.run_state import stage_progress
from stages.core.arrays import array
from stages.core.exchange_stage import ExchangeStage
from stages.core.run import Run
from stages.core.shard import ROW_BITS, Bundle
from stages.core.stage import ShardStage
from stages.core.view import View


def bundles_with_facts(run: Run, stage: str) -> list[Bundle]:
    """Return the bundles that a stage judged. Raises RecipeError, LedgerError where it is not finished."""
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
    return [bundle for bundle in run.manifest.bundles if run.stages[index].applies_to(bundle.dataset)]


def facts_of_bundle(run: Run, stage: str, bundle: Bundle) -> pa.Table:
    """Return doc_id, row and the columns of a stage for one bundle. Raises RecipeError where it keeps no facts."""
    view, index = View(run, bundle), run.index(stage)
    found = run.stages[index]
    if isinstance(found, ShardStage):
        table = run.facts(found).read(view.bundle, view.reading)
    else:
        assert isinstance(found, ExchangeStage)
        if not found.keeps_verdicts:
            raise RecipeError(f"stage {found.name} keeps no facts: what it does follows from those of other stages.")
        table = view.stored_decisions(index)
    doc = view.doc_ids[array(table, "row").astype(np.int64)]
    row = doc & ((1 << ROW_BITS) - 1)
    rest = [name for name in table.schema.names if name != "row"]
    columns = [pa.array(doc), pa.array(row), *(table.column(name) for name in rest)]
    return pa.table(columns, names=["doc_id", "row", *rest])
