"""What a deduplication stage keeps of its keys and verdicts, so that the next run decides again only what is touched.

Kept are the keys, sorted, of every destination of the exchange of keys (a layer for each run that added some), named
by the numbering of shards that they speak by; the verdicts lie where they always do. Where datasets or shards are
added, the keys of new documents, and of those that came or went before this stage, are looked up in the layers:
documents that share a key with none of them keep their verdicts. Guarantees: what is kept serves only a stage whose
every parameter, fact and dataset is as it was, with files added and none gone; else all is decided anew. It lies in
`exchange/`, unsynced, and may be removed at any time. Memory: of a lookup, what `cluster/files/sorted_keys.py` says of
one destination of one layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
from typing_extensions import TypedDict  # pydantic reads it, and needs this one before Python 3.12

from cluster import storage
from cluster.engines import Engine, TaskCost
from cluster.errors import DamagedError
from cluster.exchange import Exchange
from cluster.files.records import read_record
from cluster.files.sealed import write_json
from cluster.files.sorted_keys import find_sorted_keys, write_sorted_keys
from cluster.outputs import folders_of, numbered_path
from stages.core.arrays import BoolArray, array
from stages.core.costs import ONCE, per_bundle
from stages.core.digests import digest
from stages.core.numbering import NONE, covers, note_numbering, numbering_of, todays_ordinals, translated
from stages.core.run import Run, StageRun
from stages.core.sidecar import Sidecars
from stages.core.stage import ShardStage, Stage
from stages.core.view import View
from stages.dedup import promotion
from stages.dedup.dedup_stage import DedupStage, OldVerdicts, ranks

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
KEPT = "exchange/kept-"  # what the folders of stages begin with, below the run folder
VERSION = 2  # 1 kept the slices that the sources of the exchange wrote
MOST_LAYERS = 8  # each is read by every lookup
MOST_GROWN = 1.5  # times the documents of the first layer: beyond, to begin anew costs little more
COUNT = per_bundle("count verdicts", rare=True)
REMOVE = TaskCost(name="remove what is not kept", tasks=ONCE, work=ONCE, rare=True)
STATE, WAY = "kept.json", "way"
REMOVED_AT_ONCE = 1000  # files of one task


@dataclass(frozen=True)
class Layer:
    """The keys of some documents, sorted, a file for each destination of a hop of the exchange.

    hop: which of the stage's. folder: below the run folder. numbering: what their doc_ids mean.
    """

    hop: str
    folder: str
    destinations: int
    numbering: str


class More(TypedDict, total=False):
    """What near_dedup adds. labels: a file below the run folder; largest: documents of the largest component."""

    labels: str
    largest: int


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What the last finished run of a stage left. rule: digest of all but the inputs that verdicts depend on.

    datasets: (name, role, reading) in order of rank; decisions: digest that names its verdicts; before: digests of the
    verdicts of earlier stages; verdicts: how many each of them gave, and this one; rows: documents of the run that made
    the first layer; more: what the stage adds.
    """

    rule: str
    datasets: tuple[tuple[str, str, str], ...]
    numbering: str
    decisions: str
    before: tuple[str, ...]
    verdicts: tuple[int, ...]
    rows: int
    layers: tuple[Layer, ...]
    more: More = field(default_factory=lambda: More())

    def of(self, hop: str) -> tuple[Layer, ...]:
        """Return the layers of one hop, in the order in which they came."""
        return tuple(layer for layer in self.layers if layer.hop == hop)


def folder_of(run: Run, stage: Stage) -> str:
    """Return where lies what a stage keeps."""
    return storage.join(run.root, f"{KEPT}{stage.name}")


def layer_folder(stage_run: StageRun[Stage], way: str, hop: str) -> str:
    """Return the folder of a hop whose slices this run keeps. way: see `begin`."""
    return storage.join(folder_of(stage_run.run, stage_run.stage), _address(stage_run, way), hop)


def _address(stage_run: StageRun[Stage], way: str) -> str:
    return f"{stage_run.run.decision_digest(stage_run.index)}-{way}.{stage_run.run.code}"


def begin(stage_run: StageRun[Stage], kept: Kept | None) -> str:
    """Return the name of the way in which verdicts are found: anew, or from what is kept.

    Hops of a run that began in another way are removed.
    """
    way = "anew" if kept is None else digest(VERSION, kept.decisions, [asdict(layer) for layer in kept.layers])
    mark = storage.join(stage_run.folder(""), WAY)
    try:
        before = storage.read_bytes(mark).decode("utf-8", "replace")
    except FileNotFoundError:
        before = ""
    if before != way:
        storage.remove(stage_run.folder("").rstrip("/"))
        storage.write_bytes(mark, way.encode(), scratch=True)
    return way


def find(engine: Engine, stage_run: StageRun[DedupStage]) -> Kept | None:
    """Return what is kept of an earlier run of this stage, if this one may go on from it."""
    run, stage = stage_run.run, stage_run.stage
    kept = _read(storage.join(folder_of(run, stage), STATE))
    if kept is None or promotion.is_needed(stage_run) or kept.rule != _rule(stage_run):
        return None
    if kept.numbering == numbering_of(run) or not covers(run, kept.numbering):
        return None
    if not _is_usable(stage_run, kept, run.manifest.rows()) or not _has_verdicts(engine, stage_run, kept):
        return None
    return kept


def may_go_on(stage_run: StageRun[DedupStage], rows: float) -> bool:
    """Tell whether a stage is going to go on from what is kept once files are added, for a planner that freezes none.

    rows : of the run then.
    """
    kept = _read(storage.join(folder_of(stage_run.run, stage_run.stage), STATE))
    if kept is None or promotion.is_needed(stage_run) or kept.rule != _rule(stage_run):
        return False
    return _is_usable(stage_run, kept, rows)


def _is_usable(stage_run: StageRun[DedupStage], kept: Kept, rows: float) -> bool:
    """Tell whether datasets are as they were, the layers are few and there, and `rows` are not many more."""
    names = {name for name, _, _ in kept.datasets}
    if tuple(entry for entry in _datasets(stage_run) if entry[0] in names) != kept.datasets:
        return False
    if rows > MOST_GROWN * kept.rows or len(kept.layers) >= MOST_LAYERS * _hops(kept):
        return False
    return all(_is_there(stage_run.run, layer) for layer in kept.layers)


def keeps_keys(stage_run: StageRun[Stage]) -> bool:
    """Tell whether a stage is to keep its keys: a later run could go on from them."""
    return stage_run.run.stays and _comparable(stage_run) and not promotion.is_needed(stage_run)


def keep_keys(hop: Exchange, destination: int, keys: U64, docs: I64) -> None:
    """Write the keys that a destination of a hop received, which ascend, with their documents."""
    write_sorted_keys(_keys_path(hop.folder, hop.destinations, destination), keys, docs)


def keep(
    engine: Engine,
    stage_run: StageRun[DedupStage],
    way: str,
    kept: Kept | None,
    hops: dict[str, tuple[Exchange, int]],
    more: More | None = None,
) -> None:
    """Write down what a finished run leaves: the layers it went on from and its own; remove all else.

    hops : of keys, each with the number of its sources.
    """
    run, folder = stage_run.run, folder_of(stage_run.run, stage_run.stage)
    if not keeps_keys(stage_run):
        forget(stage_run)
        return
    name = note_numbering(run)
    layers = list(kept.layers if kept else ())
    for hop, (exchange, sources) in hops.items():
        place = exchange.folder.removeprefix(f"{run.root}/")
        layers.append(Layer(hop, place, exchange.destinations, name))
        gone = [*exchange.outputs_so_far().present, *exchange.source_files(sources)]
        chunks = [gone[first : first + REMOVED_AT_ONCE] for first in range(0, len(gone), REMOVED_AT_ONCE)]
        engine.map(partial(storage.remove_files, scratch=True), chunks, cost=REMOVE)
    state = Kept(
        rule=_rule(stage_run),
        datasets=_datasets(stage_run),
        numbering=name,
        decisions=run.decision_digest(stage_run.index),
        before=_before(stage_run),
        verdicts=_counts(engine, stage_run, (*_before(stage_run), run.decision_digest(stage_run.index))),
        rows=kept.rows if kept else run.manifest.rows(),
        layers=tuple(layers),
        more=more or More(),
    )
    write_json(storage.join(folder, STATE), asdict(state), scratch=True)
    wanted = {layer.folder.rpartition("/")[0].rpartition("/")[2] for layer in layers}
    for other in sorted(storage.names(folder) - {STATE, _address(stage_run, way), *wanted}):
        storage.remove(storage.join(folder, other))


def old_verdicts(stage_run: StageRun[Stage], kept: Kept) -> OldVerdicts:
    """Return the verdicts of the run that left this."""
    return OldVerdicts(verdicts_of(stage_run.run, stage_run.index, kept.decisions).folder, kept.numbering)


def forget(stage_run: StageRun[Stage]) -> None:
    """Remove what is kept of a stage."""
    storage.remove(folder_of(stage_run.run, stage_run.stage))


def _read(path: str) -> Kept | None:
    try:
        found = read_record(path, Kept)
    except (FileNotFoundError, DamagedError):
        return None
    places = [*(layer.folder for layer in found.layers), found.more.get("labels", KEPT)]
    return found if all(place.startswith(KEPT) and ".." not in place.split("/") for place in places) else None


def _rule(stage_run: StageRun[DedupStage]) -> str:
    """Return the digest of everything that verdicts depend on besides the datasets and their files."""
    run, index = stage_run.run, stage_run.index
    later = run.stages[index + 1 :] if stage_run.stage.orphans == "promote" else ()
    filters = [s for s in later if isinstance(s, ShardStage) and (s.drops or s.hands_on_text)]
    facts = [
        run.facts(s).folder.removeprefix(run.root)
        for s in (*run.stages[: index + 1], *filters)
        if isinstance(s, ShardStage)
    ]
    stages = [s.digest() for s in (*run.stages[: index + 1], *filters)]
    return digest(VERSION, stages, facts, run.prefer, run.on_error)


def _datasets(stage_run: StageRun[DedupStage]) -> tuple[tuple[str, str, str], ...]:
    run = stage_run.run
    roles = {d.name: d.role for d in run.datasets}
    return tuple((name, roles[name], run.reading(name)) for name in ranks(run, stage_run.stage))


def _before(stage_run: StageRun[Stage]) -> tuple[str, ...]:
    run = stage_run.run
    return tuple(run.decision_digest(i) for i in _earlier(stage_run))


def _earlier(stage_run: StageRun[Stage]) -> list[int]:
    return [i for i, s in enumerate(stage_run.run.stages[: stage_run.index]) if s.exchanges]


def _comparable(stage_run: StageRun[Stage]) -> bool:
    """Tell whether the verdicts of all earlier exchange stages can be compared with those of another run."""
    return all(isinstance(stage_run.run.stages[i], DedupStage) for i in _earlier(stage_run))


def _hops(kept: Kept) -> int:
    return max(1, len({layer.hop for layer in kept.layers}))


def _is_there(run: Run, layer: Layer) -> bool:
    folder = storage.join(run.root, layer.folder)
    have = set().union(*map(storage.names, folders_of(folder, layer.destinations)))
    return all(_keys_name(destination) in have for destination in range(layer.destinations))


def _keys_name(destination: int) -> str:
    return f"keys-{destination}.slices"


def _keys_path(folder: str, destinations: int, destination: int) -> str:
    return numbered_path(folder, _keys_name(destination), destination, destinations)


def _has_verdicts(engine: Engine, stage_run: StageRun[DedupStage], kept: Kept) -> bool:
    """Tell whether the verdicts of the run that left this are all there, and those of the stages before it."""
    if len(kept.before) != len(_earlier(stage_run)) or not _comparable(stage_run):
        return False
    return _counts(engine, stage_run, (*kept.before, kept.decisions)) == kept.verdicts


def _counts(engine: Engine, stage_run: StageRun[DedupStage], addresses: Sequence[str]) -> tuple[int, ...]:
    """Return how many verdicts each earlier exchange stage, and this one, gave under these addresses."""
    stages = [*_earlier(stage_run), stage_run.index]
    count = partial(_count, stage_run.run, list(zip(stages, addresses, strict=True)))
    found = np.sum(engine.map(count, stage_run.positions, cost=COUNT), axis=0)
    return tuple(np.broadcast_to(found, len(stages)).astype(int).tolist())


def _count(run: Run, wanted: Sequence[tuple[int, str]], position: int) -> list[int]:
    bundle = run.manifest.bundles[position]
    found: list[int] = []
    for index, address in wanted:
        table = None
        if run.stages[index].applies_to(bundle.dataset):
            table = verdicts_of(run, index, address).read_if_there(bundle, run.reading(bundle.dataset), [])
        found.append(0 if table is None else table.num_rows)
    return found


def verdicts_of(run: Run, index: int, address: str) -> Sidecars:
    """Return where the verdicts of a stage lie that a digest names; freeze has cut them as today's bundles are."""
    return Sidecars(storage.join(run.root, "decisions", run.stages[index].name, address))


# --- what is to be looked up -----------------------------------------------------------------------------


def rows_to_look_up(stage_run: StageRun[Stage], kept: Kept, view: View) -> tuple[I64, BoolArray, BoolArray]:
    """Return (rows, new, live): new rows of a bundle and those that came or went before this stage, ascending.

    new: (rows,) whether a document was not there before. live: (rows,) whether it reaches the stage.
    """
    if not stage_run.stage.applies_to(view.bundle.dataset):
        return np.empty(0, np.int64), np.empty(0, np.bool_), np.empty(0, np.bool_)
    known = todays_ordinals(stage_run.run, kept.numbering)
    new = np.concatenate([np.full(p.rows, p.shard.ordinal not in known) for p in view.bundle.pieces])
    wanted = new.copy()
    for index, address in zip(_earlier(stage_run), kept.before, strict=True):
        if stage_run.run.stages[index].applies_to(view.bundle.dataset):
            wanted[_changed(view, index, address)] = True
    rows = np.flatnonzero(wanted)
    live = view.live(stage_run.index)[rows] if len(rows) else np.empty(0, np.bool_)
    return rows, new[rows], live


def _changed(view: View, index: int, address: str) -> I64:
    """Return the rows that an earlier stage dropped in one of two runs only."""
    old = verdicts_of(view.run, index, address).read_if_there(view.bundle, view.reading, [])
    before = array(old, "row") if old is not None else np.empty(0, np.uint32)
    return np.setxor1d(before, array(view.stored_decisions(index), "row"), assume_unique=True).astype(np.int64)


def found_with(run: Run, layers: Sequence[Layer], destination: int, key: U64, doc: I64) -> I64:
    """Return the documents whose key is that of another one, among these and those in the layers, ascending.

    key : of each document, (docs,), ascending.
    """
    if not len(key):
        return doc
    wanted = key[np.r_[True, key[1:] != key[:-1]]]
    keys, docs = [key], [doc]
    for layer in layers:
        path = _keys_path(storage.join(run.root, layer.folder), layer.destinations, destination)
        others, there = find_sorted_keys(path, wanted)
        keys.append(others)
        docs.append(translated(run, layer.numbering, there))
    key, doc = np.concatenate(keys), np.concatenate(docs)
    key, doc = key[doc != NONE], doc[doc != NONE]
    place = np.searchsorted(wanted, key)
    return np.unique(doc[np.bincount(place, minlength=len(wanted))[place] > 1])
