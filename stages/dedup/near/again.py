"""Near duplicates where documents were added: only the components that they touch are decided again.

Band keys of new documents are looked up among those that are kept (`kept.py`). Whoever shares a bucket with one, and
the whole component of each that does or that came or went before this stage, is decided again, by the same hops as all
documents are; nobody else's buckets changed. Guarantees: a set of whole components, so that verdicts are those of
deciding all. Memory: 16 bytes for each document that shares a bucket, in one task; beyond what one task joins, nothing
is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster import storage
from cluster.engines import Engine, TaskCost
from cluster.exchange import Exchange
from cluster.files.arrow_files import read_arrow, write_arrow
from stages.core.arrays import array, places_in
from stages.core.costs import CANDIDATES, ONCE, per_bundle, per_group
from stages.core.exchange_stage import mark_complete
from stages.core.numbering import NONE, translated
from stages.core.run import Run, StageRun
from stages.core.view import View
from stages.dedup import dedup_stage, kept
from stages.dedup.dedup_stage import DedupStage
from stages.dedup.kept import Kept
from stages.dedup.near import buckets
from stages.dedup.near.buckets import RECORDS, Groups, band_hops, band_tables, bands_name, record_destinations
from stages.dedup.near.components import LABELS, Labels, all_fit_one_task, join_buckets
from stages.dedup.near.job import NearJob
from stages.kernels.similarity.bands import sorted_records

I64 = npt.NDArray[np.int64]
AGAIN = pa.schema([("destination", pa.int32()), ("doc", pa.int64())])
LOOK_UP = TaskCost(name="look up band keys", tasks=buckets.RECORD_TASKS, work=CANDIDATES, rare=True)
SEND = per_bundle("send new band keys", rare=True)
CHANGED = per_bundle("find what came and went", rare=True)
CLOSE = TaskCost(name="find touched components", tasks=ONCE, work=CANDIDATES, rare=True)
SORT = per_group("sort what is decided again", CANDIDATES, rare=True)
KEEP = TaskCost(name="keep components", tasks=ONCE, work=CANDIDATES, rare=True)
ROUTE = TaskCost(name="route what is decided again", tasks=ONCE, work=CANDIDATES, rare=True)


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a near_dedup decides. near: the job on it; old: what is kept, None where all is decided anew."""

    near: NearJob
    way: str
    old: Kept | None
    touched: str | None = None  # file of the documents whose old verdicts do not count

    @property
    def stage_run(self) -> StageRun[DedupStage]:
        """The stage in its run."""
        return self.near.stage_run

    def folder(self, hop: str) -> str:
        """Return where a hop of band keys lies that is kept."""
        return kept.layer_folder(self.stage_run, self.way, hop)

    def hop(self, first: int, count: int) -> Exchange:
        """Return the hop of band keys of the bands from `first` on, of all documents or of those looked up."""
        name = bands_name(first)
        many = record_destinations(self.near.run.manifest.rows() * count)
        many = self.old.of(name)[0].destinations if self.old else many
        return Exchange(folder=self.folder(name), destinations=many, schema=RECORDS)


def begin(engine: Engine, near: NearJob) -> Part:
    """Return which documents are to be decided: all, or those that new ones touch."""
    old = kept.find(engine, near.stage_run)
    if old is not None and not _is_usable(near, old):
        old = None
    part = Part(near=near, way=kept.begin(near.stage_run, old), old=old)
    return part if old is None else _touched(engine, part, old)


def _is_usable(near: NearJob, old: kept.Kept) -> bool:
    """Tell whether it is known what belongs together, and none of it is more than is compared."""
    known = {"labels", "largest"} <= old.more.keys()
    return known and (near.max_component is None or old.more["largest"] <= near.max_component)


def group_candidates(engine: Engine, part: Part) -> Groups | None:
    """Find buckets and components of what is to be decided; return the files of candidates, None if there are none."""
    near, stage_run = part.near, part.stage_run
    anew = part.old is None
    keep = kept.keeps_keys(stage_run)
    at_once = anew and keep and all_fit_one_task(near.run)
    found = buckets.find_buckets(engine, near, part.folder if anew else near.folder, keep=at_once)
    labels = join_buckets(engine, stage_run, found)
    if keep and not labels.by_group:  # labels of groups are not kept, and keys are of no use without
        if anew and not at_once:
            buckets.keep_all_keys(engine, near, part.folder)
        engine.map(partial(_keep_labels, part, labels), [_labels_path(part)], cost=KEEP)
    return buckets.groups_of(engine, near, labels, found)


def write_decisions(engine: Engine, part: Part, found: Sequence[str | None]) -> None:
    """Write the decisions sidecars from these files of verdicts; of documents not decided again, their old ones."""
    if part.old is None:
        dedup_stage.write_decisions(engine, part.stage_run, found)
    else:
        before, touched = kept.old_verdicts(part.stage_run, part.old), [part.touched] if part.touched else []
        dedup_stage.write_decisions_anew(engine, part.stage_run, before, found, touched)


def keep(engine: Engine, part: Part) -> None:
    """Mark the decisions complete, and keep what the next run may go on from."""
    mark_complete(part.stage_run, engine)
    if not storage.exists(_labels_path(part)):
        kept.forget(part.stage_run)
        return
    sources = len(part.stage_run.positions)
    hops = {bands_name(first): (part.hop(first, count), sources) for first, count in band_hops(part.near.bands)}
    [largest] = engine.map(_largest, [_labels_path(part)], cost=KEEP)
    kept.keep(
        engine,
        part.stage_run,
        part.way,
        part.old,
        hops,
        {"labels": _labels_path(part).removeprefix(f"{part.near.run.root}/"), "largest": largest},
    )


def _labels_path(part: Part) -> str:
    return part.folder("labels.arrow")


# --- what is touched -------------------------------------------------------------------------------------


def _touched(engine: Engine, part: Part, old: Kept) -> Part:
    """Return the part with the documents that are to be decided again, routed to groups of bundles."""
    near, stage_run = part.near, part.stage_run
    found: list[str] = []
    for first, count in band_hops(near.bands):
        hop = part.hop(first, count)
        send, receive = partial(_emit_new, near, old, first, count), partial(_look_up, near.run, old, hop, first)
        out = hop.run(engine, stage_run.positions, send, receive, emit_cost=SEND, receive_cost=LOOK_UP)
        found += out.present
    paths = [storage.join(near.folder("changed"), f"{position}.arrow") for position in stage_run.positions]
    tasks = list(enumerate(paths))
    changed = [
        path
        for path, many in zip(paths, engine.map(partial(_changed, near, old), tasks, cost=CHANGED), strict=True)
        if many
    ]
    path = storage.join(near.folder("again"), "documents.arrow")
    [documents] = engine.map(partial(_close, near.run, old, found, changed), [path], cost=CLOSE)
    groups = len(near.run.manifest.groups)
    home = Exchange(folder=near.folder("again-home"), destinations=groups, schema=AGAIN, route="destination")
    lists = home.run(engine, [path], partial(_emit_home, near.run), _receive_home, emit_cost=ROUTE, receive_cost=SORT)
    return replace(part, near=replace(near, again=lists, documents=documents), touched=path)


def _emit_new(near: NearJob, old: Kept, first: int, count: int, position: int) -> Iterable[pa.Table]:
    """Yield the band records of a bundle's documents that are new, or have come since, and reach the stage."""
    view = View.at(near.run, position)
    rows, _, live = kept.rows_to_look_up(near.stage_run, old, view)
    yield from band_tables(near, view, rows[live], first, count)


def _look_up(run: Run, old: Kept, hop: Exchange, first: int, destination: int, table: pa.Table) -> pa.Table | None:
    """Return the documents that share a band key with those that came; keep the keys of these."""
    key, doc = sorted_records(array(table, "key").astype(np.uint64, copy=False), array(table, "doc").astype(np.int64))
    kept.keep_keys(hop, destination, key, doc)
    doc = kept.found_with(run, old.of(bands_name(first)), destination, key, doc)
    return pa.table([pa.array(doc)], names=["doc"]) if len(doc) else None


def _changed(near: NearJob, old: Kept, task: tuple[int, str]) -> int:
    """Write the documents of a bundle that were there and came or went before this stage; return how many."""
    position, path = task
    view = View.at(near.run, position)
    rows, new, _ = kept.rows_to_look_up(near.stage_run, old, view)
    doc = view.doc_ids[rows[~new]]
    if len(doc):
        write_arrow(path, pa.table([pa.array(doc)], names=["doc"]), scratch=True)
    return len(doc)


def _close(run: Run, old: Kept, found: Sequence[str], changed: Sequence[str], path: str) -> int:
    """Write, ascending, these documents and all of their components as they were; return how many."""
    if not storage.exists(path):
        docs = [array(read_arrow(source), "doc").astype(np.int64) for source in (*found, *changed)]
        doc = np.unique(np.concatenate([np.empty(0, np.int64), *docs]))
        known, label = _todays_labels(run, old)
        mine = np.unique(label[places_in(doc, known) >= 0])
        doc = np.union1d(doc, known[places_in(mine, label) >= 0])
        write_arrow(path, pa.table([pa.array(doc)], names=["doc"]), scratch=True)
    return int(read_arrow(path).num_rows)


def _todays_labels(run: Run, old: Kept) -> tuple[I64, I64]:
    """Return (documents, labels) as they are kept, with today's doc_ids, in any order."""
    table = read_arrow(storage.join(run.root, old.more["labels"]))
    doc, label = (translated(run, old.numbering, array(table, name).astype(np.int64)) for name in LABELS.names)
    here = (doc != NONE) & (label != NONE)
    return doc[here], label[here]


def _emit_home(run: Run, path: str) -> Iterable[pa.Table]:
    doc = array(read_arrow(path), "doc").astype(np.int64)
    yield pa.table([pa.array(run.manifest.group_of(doc).astype(np.int32)), pa.array(doc)], schema=AGAIN)


def _receive_home(_: int, table: pa.Table) -> pa.Table | None:
    return table.select(["doc"]).combine_chunks() if table.num_rows else None


def _keep_labels(part: Part, labels: Labels, path: str) -> None:
    """Write the labels of all documents that share a bucket: those joined now, the others as they were."""
    if storage.exists(path):
        return
    table = labels.of_group(0)
    if part.old is not None and part.touched is not None:
        doc, label = _todays_labels(part.near.run, part.old)
        stays = places_in(array(read_arrow(part.touched), "doc").astype(np.int64), doc) < 0
        rest = pa.table([pa.array(doc[stays]), pa.array(label[stays])], schema=LABELS)
        table = pa.concat_tables([table, rest])
    write_arrow(path, table.combine_chunks(), scratch=True)


def _largest(path: str) -> int:
    """Return the size of the largest component of a file of labels."""
    return int(np.unique(array(read_arrow(path), "label"), return_counts=True)[1].max(initial=0))
