"""What all deduplication stages share: parameters, the total order of candidates, routing of verdicts to bundles.

Guarantees: verdicts are the same for every partitioning and order of arrival; each bundle that a stage
applies to has one decisions sidecar, empty where nothing was dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.engines import Engine, TaskCost
from cluster.errors import LedgerError, RecipeError
from cluster.exchange import Exchange
from cluster.files.arrow_files import read_arrow
from stages.core.arrays import array, rows_of
from stages.core.costs import per_bundle, per_destination, per_group
from stages.core.exchange_stage import ExchangeStage
from stages.core.numbering import NONE, translated
from stages.core.run import Run, StageRun
from stages.core.shard import ROW_BITS, Bundle
from stages.core.sidecar import Sidecars
from stages.core.stage import Stage, param
from stages.core.view import View
from stages.kernels.survivors.candidates import Buckets, Candidates
from stages.kernels.survivors.pair_answers import YES
from stages.kernels.survivors.total_order import order_words, sort_order, tie_ranks

I64 = npt.NDArray[np.int64]

UNDECIDED = -1  # in place of the representative of a document whose old verdict does not count
# similarity_kind in a decisions sidecar, by position
KINDS = ("exact", "estimated")
EXACT, ESTIMATED = 0, 1

VERDICTS = pa.schema(
    [
        ("doc", pa.int64()),
        ("representative", pa.int64()),
        ("similarity", pa.float64()),
        ("similarity_kind", pa.uint8()),
    ]
)
ROUTED = pa.schema([("destination", pa.int32()), *VERDICTS])
DECISIONS = pa.schema([("row", pa.uint32()), *list(VERDICTS)[1:]])


@dataclass(frozen=True)
class OldVerdicts:
    """Verdicts of an earlier run on the documents there were. folder: their sidecars; numbering: of their doc_ids."""

    folder: str
    numbering: str


@dataclass(frozen=True, kw_only=True)
class DedupStage(ExchangeStage):
    """Base class of deduplication stages: of each group of duplicates one document, the survivor, is kept."""

    within_dataset: str = param(
        "keep_one",
        "keep_all: only a document of a better-ranked dataset can drop one",
        choices=("keep_one", "keep_all"),
    )
    protect: tuple[str, ...] = param((), "datasets that sort first and lose nothing to deduplication")
    orphans: str = param(
        "promote",
        "promote: survivors are chosen among documents that pass every later filter; allow: among all",
        choices=("promote", "allow"),
    )
    max_removed: float | None = param(
        None, "stop if a dataset loses a larger share than this here", ge=0, le=1, guard=True
    )

    @property
    def keeps_all_within(self) -> bool:
        """Whether documents of one dataset never drop each other."""
        return self.within_dataset == "keep_all"


def ranks(run: Run, stage: DedupStage) -> dict[str, int]:
    """Return the rank of each dataset in the total order, 0 first: reference data, protected data, then priority."""
    roles = {d.name: d.role for d in run.datasets}

    def key(name: str) -> tuple[bool, bool, int]:
        return roles[name] != "reference", name not in stage.protect, run.priority.index(name)

    return {name: place for place, name in enumerate(sorted(run.priority, key=key))}


def is_protected(run: Run, stage: DedupStage, dataset: str) -> bool:
    """Tell whether a dataset is protected from deduplication: named in `protect`, or reference data."""
    return dataset in stage.protect or run.dataset(dataset).role == "reference"


def candidate_schema(run: Run) -> pa.Schema:
    """Return the schema of candidates: doc_id, rank, protection, eligibility, and the keys of the total order."""
    criteria = [(f"criterion_{i}", pa.float64()) for i in range(len(run.prefer))]
    return pa.schema(
        [
            ("doc", pa.int64()),
            ("rank", pa.uint16()),
            ("protected", pa.bool_()),
            ("eligible", pa.uint8()),  # NO, YES or UNKNOWN (pair_answers.py); UNKNOWN (unscored) counts as YES
            ("h1", pa.uint64()),
            ("h2", pa.uint64()),
            *criteria,
            ("id", pa.large_string()),
            ("url", pa.large_string()),
        ]
    )


def candidates(stage_run: StageRun[DedupStage], view: View, rows: I64) -> pa.Table:
    """Return rows of a bundle as candidates, a table of (rows,) in `candidate_schema`."""
    run, stage, dataset = stage_run.run, stage_run.stage, view.bundle.dataset
    eligible = view.eligible(stage_run.index)[rows] if stage.orphans == "promote" else np.full(len(rows), YES, np.uint8)
    facts = rows_of(view.read.select(["h1", "h2", "id", "url"]), rows)
    columns = [
        pa.array(view.doc_ids[rows]),
        pa.array(np.full(len(rows), ranks(run, stage)[dataset], np.uint16)),
        pa.array(np.full(len(rows), is_protected(run, stage, dataset))),
        pa.array(eligible),
        facts.column("h1"),
        facts.column("h2"),
        *(pa.array(c) for c in view.criteria(rows)),
        facts.column("id"),
        facts.column("url"),
    ]
    return pa.table(columns, schema=candidate_schema(run))


def chosen_among(run: Run, table: pa.Table) -> Candidates:
    """Return a table in `candidate_schema` as `Candidates`, the arrays of the survivor kernels, (rows,)."""
    return Candidates(**_candidate_arrays(run, table))


def chosen_in_buckets(run: Run, table: pa.Table, start: I64, member: I64) -> Buckets:
    """Return a table in `candidate_schema` as `Buckets` of the survivor kernels; `member` holds rows of the table."""
    return Buckets(start=start, member=member, **_candidate_arrays(run, table))


def _candidate_arrays(run: Run, table: pa.Table) -> dict[str, Any]:
    return {
        "rank": survivor_order(run, table),
        "dataset": array(table, "rank").astype(np.int32),  # one rank in the order, one dataset
        "protected": array(table, "protected").astype(np.bool_),
        "eligible": array(table, "eligible").astype(np.bool_),  # UNKNOWN counts as YES
    }


def survivor_order(run: Run, table: pa.Table) -> I64:
    """Return the position of each candidate in the total order, (rows,) int64; of two duplicates the lower is kept."""
    h1, h2 = array(table, "h1").astype(np.uint64), array(table, "h2").astype(np.uint64)
    doc, place = array(table, "doc").astype(np.int64), array(table, "rank")
    row = doc & ((1 << ROW_BITS) - 1)
    tie = tie_ranks(h1, h2 >> np.uint64(48), table.column("id"), table.column("url"), _relative_paths(run, doc), row)
    criteria = [array(table, f"criterion_{i}").astype(np.float64) for i in range(len(run.prefer))]
    words: npt.NDArray[np.uint64] | None = None
    for value in np.unique(place):
        at = np.flatnonzero(place == value)
        part = order_words(int(value), [c[at] for c in criteria], h1[at], h2[at], tie[at])
        if words is None:
            words = np.empty((len(doc), part.shape[1]), np.uint64)
        words[at] = part
    position = np.empty(len(doc), np.int64)
    if words is not None:
        position[sort_order(words)] = np.arange(len(doc))
    return position


def _relative_paths(run: Run, doc: I64) -> pa.Array:
    """Return the path of each document's shard within its dataset, (docs,) large_string."""
    ordinals, inverse = np.unique(doc >> ROW_BITS, return_inverse=True)
    names = pa.array([run.manifest.shard(int(o)).relative_path for o in ordinals], pa.large_string())
    return pa.DictionaryArray.from_arrays(pa.array(inverse.astype(np.int32)), names).dictionary_decode()


def verdicts(doc: I64, representative: I64, similarity: npt.ArrayLike, kind: npt.ArrayLike) -> pa.Table:
    """Return dropped documents as a table in the schema `VERDICTS`."""
    columns = [
        pa.array(doc),
        pa.array(representative),
        pa.array(np.asarray(similarity, np.float64)),
        pa.array(np.asarray(kind, np.uint8)),
    ]
    return pa.table(columns, schema=VERDICTS)


def write_decisions(
    engine: Engine, stage_run: StageRun[Stage], sources: Sequence[str | None], cost: TaskCost | None = None
) -> None:
    """Route the verdicts of these files to their bundles by an exchange, and write the decisions sidecars.

    cost : of routing them; None: there are as many files as destinations for all documents.
    """
    run = stage_run.run
    hop = _to_bundles(stage_run)
    route, write = partial(_route, run), partial(_write_group, stage_run)
    hop.run(engine, [s for s in sources if s], route, write, emit_cost=cost or ROUTE, receive_cost=WRITE)


def _to_bundles(stage_run: StageRun[Stage]) -> Exchange:
    """Return the exchange that routes verdicts to the bundles of their documents."""
    return Exchange(
        folder=stage_run.folder("decisions"),
        destinations=len(stage_run.run.manifest.groups),
        schema=ROUTED,
        route="destination",
    )


ROUTE = per_destination("route verdicts")
WRITE = per_group("write verdicts")


def _route(run: Run, source: str) -> Iterable[pa.Table]:
    table = read_arrow(source)
    where = run.manifest.group_of(array(table, "doc").astype(np.int64))
    yield table.add_column(0, "destination", pa.array(where.astype(np.int32)))


def _write_group(stage_run: StageRun[Stage], group: int, table: pa.Table) -> None:
    run, stage = stage_run.run, stage_run.stage
    doc = array(table, "doc").astype(np.int64)
    position, row = run.manifest.locate(doc)
    order = np.lexsort([row, position])
    table, position, row = table.take(pa.array(order)), position[order], row[order]
    for here in run.manifest.groups[group]:
        bundle = run.manifest.bundles[here]
        if stage.applies_to(bundle.dataset):
            first, last = np.searchsorted(position, [here, here + 1])
            part = table.slice(first, last - first)
            columns = [
                pa.array(row[first:last].astype(np.uint32)),
                *(part.column(n) for n in DECISIONS.names[1:]),
            ]
            stage_run.decisions.write(bundle, run.reading(bundle.dataset), pa.table(columns, schema=DECISIONS))


def write_decisions_anew(
    engine: Engine,
    stage_run: StageRun[Stage],
    old: OldVerdicts,
    sources: Sequence[str | None],
    touched: Sequence[str],
    cost: TaskCost | None = None,
) -> None:
    """Write the decisions sidecars where only some documents were decided: the others have the verdicts they had.

    sources : files of verdicts. touched : files of the documents whose old verdicts do not count, in a column `doc`.
    """
    run = stage_run.run
    hop = _to_bundles(stage_run)
    items = [*((source, True) for source in sources if source), *((path, False) for path in touched)]
    route, write = partial(_route_anew, run), partial(_write_group_anew, stage_run, old)
    hop.run(engine, items, route, write, emit_cost=cost or ROUTE, receive_cost=WRITE)


def _route_anew(run: Run, source: tuple[str, bool]) -> Iterable[pa.Table]:
    path, decided = source
    if decided:
        yield from _route(run, path)
        return
    doc = array(read_arrow(path), "doc").astype(np.int64)
    nothing = verdicts(doc, np.full(len(doc), UNDECIDED), np.zeros(len(doc)), np.zeros(len(doc)))
    yield nothing.add_column(0, "destination", pa.array(run.manifest.group_of(doc).astype(np.int32)))


def _write_group_anew(stage_run: StageRun[Stage], old: OldVerdicts, group: int, table: pa.Table) -> None:
    run, stage = stage_run.run, stage_run.stage
    position, row = run.manifest.locate(array(table, "doc").astype(np.int64))
    new = pa.table([pa.array(row.astype(np.uint32)), *(table.column(n) for n in DECISIONS.names[1:])], DECISIONS)
    decided = array(table, "representative") != UNDECIDED
    for here in run.manifest.groups[group]:
        bundle = run.manifest.bundles[here]
        if stage.applies_to(bundle.dataset):
            mine = position == here
            kept = _old_verdicts(run, old, bundle, row[mine])
            both = pa.concat_tables([kept, new.filter(pa.array(mine & decided))])
            order = np.argsort(array(both, "row"), kind="stable")
            stage_run.decisions.write(bundle, run.reading(bundle.dataset), both.take(pa.array(order)).combine_chunks())


def _old_verdicts(run: Run, old: OldVerdicts, bundle: Bundle, touched: I64) -> pa.Table:
    """Return the old verdicts on the documents of a bundle that are not touched, with today's representatives."""
    table = Sidecars(old.folder).read_if_there(bundle, run.reading(bundle.dataset))
    if table is None:
        return DECISIONS.empty_table()
    table = table.filter(pa.array(~np.isin(array(table, "row"), touched)))
    representative = translated(run, old.numbering, array(table, "representative").astype(np.int64))
    if (representative == NONE).any():
        raise LedgerError(
            f"verdicts in {old.folder} name documents that are not in the manifest. Remove the folder exchange from "
            "the run folder and run again; if that does not help, report this with the run folder."
        )
    column = table.schema.get_field_index("representative")
    return table.set_column(column, DECISIONS.field("representative"), pa.array(representative)).cast(DECISIONS)


def check_removed(engine: Engine, stage_run: StageRun[DedupStage]) -> None:
    """Raise RecipeError when this stage dropped a larger share of a dataset than `max_removed`."""
    stage = stage_run.stage
    if stage.max_removed is None:
        return
    totals: dict[str, list[int]] = {}
    lost: dict[str, dict[str, int]] = {}
    for dataset, live, winners in engine.map(partial(_count_removed, stage_run), stage_run.positions, cost=COUNT):
        total = totals.setdefault(dataset, [0, 0])
        total[0] += live
        total[1] += sum(winners.values())
        row = lost.setdefault(dataset, {})
        for winner, count in winners.items():
            row[winner] = row.get(winner, 0) + count
    for dataset, (live, removed) in totals.items():
        if live and removed / live > stage.max_removed:
            raise RecipeError(
                f"{stage.name} removed {removed:,} of {live:,} documents of {dataset} ({removed / live:.1%}), more "
                f"than max_removed {stage.max_removed:.1%}. Who lost to whom: {_matrix(lost)}. If that is right, "
                f"raise max_removed of stage {stage.name} and run again; nothing is computed twice."
            )


COUNT = per_bundle("count removed documents")


def _count_removed(stage_run: StageRun[DedupStage], position: int) -> tuple[str, int, dict[str, int]]:
    run, index = stage_run.run, stage_run.index
    view = View.at(run, position)
    if not stage_run.stage.applies_to(view.bundle.dataset):
        return view.bundle.dataset, 0, {}
    ordinals, counts = np.unique(
        array(view.stored_decisions(index), "representative").astype(np.int64) >> ROW_BITS, return_counts=True
    )
    winners: dict[str, int] = {}
    for ordinal, count in zip(ordinals.tolist(), counts.tolist(), strict=True):
        name = run.manifest.shard(ordinal).dataset
        winners[name] = winners.get(name, 0) + count
    return view.bundle.dataset, int(view.live(index).sum()), winners


def _matrix(lost: dict[str, dict[str, int]]) -> str:
    return "; ".join(
        f"{loser} lost " + ", ".join(f"{n:,} to {winner}" for winner, n in sorted(row.items()))
        for loser, row in sorted(lost.items())
        if row
    )
