"""Seconds, bytes written and memory of a run, from what a sample took on this machine.

Every kind of task is timed twice, on a few documents and on the sample: the first gives the cost of a task
whatever its size, the difference the cost of a document. The constants are what a cluster adds; they were
measured where the comment says.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.options import available_cores, free_memory_per_worker, processes_and_threads
from pipelines.plan import near as plan_near
from pipelines.plan.growth import Flow, total
from pipelines.plan.sample import Measured
from pipelines.recipe.recipe import Recipe
from stages.core.exchange_stage import ExchangeStage, destinations_for
from stages.core.shard import Bundle
from stages.core.stage import ShardStage
from stages.dedup.dedup_stage import DedupStage
from stages.dedup.near.buckets import DOCUMENTS_PER_DESTINATION, MAX_DESTINATIONS, RECORDS_PER_DESTINATION
from stages.dedup.near.components import AT_ONCE, EDGES_PER_DESTINATION
from stages.inputs.reader import BATCH_BYTES
from stages.near_dedup import NearDedup, near_job

COMMAND_SECONDS = 1.0  # interpreter and imports of `winnow run`
CLUSTER_SECONDS = {"inline": 0.0, "local": 3.0}  # until the first task can start, and to close
REMOTE_SECONDS = 60.0  # of any other kind; a queue may take longer
USUAL_BANDS = 16  # to tell how many tasks bring band keys together
TASK_SECONDS = 0.004  # scheduling one task
HASHED_PER_SECOND = 500e6  # bytes that are fingerprinted
GATHER = 3.0  # times slower than the sample's: sorting documents out of files that no cache holds (2026-11)
JUDGING = "stages.dedup.promotion._judge"  # counts for the stage that judges, see deferred.py
EDGE_BYTES, RECORD_BYTES, LABEL_BYTES = 100, 60, 45  # held per edge, band record, labelled document


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where the run works. speed_up: how many times one thread's work the threads of a process do together."""

    kind: str
    workers: int
    threads: int
    gpus: int
    cores: int
    memory: int  # of one worker
    memory_is: str
    speed_up: float = 1.0

    @property
    def slots(self) -> float:
        """Tasks at the same time, in units of one thread alone."""
        every = self.workers * self.speed_up
        return min(every, float(self.cores)) if self.kind == "local" else every


def machine(recipe: Recipe, workers: int | None, gpus: int | None) -> Machine:
    """Return where the recipe, or the command line, wants the work done."""
    from pipelines.recipe.sections import parse_bytes
    from pipelines.recipe.to_run import cluster_of

    options = cluster_of(recipe, workers if workers is not None else gpus)
    processes, threads = (1, 1) if options.kind == "inline" else processes_and_threads(options)
    given = options.memory_limit
    memory = parse_bytes(given) if given else free_memory_per_worker(processes)
    return Machine(
        kind=options.kind,
        workers=processes,
        threads=threads,
        gpus=gpus or 0,
        cores=available_cores(),
        memory=memory,
        memory_is="cluster.memory_limit" if given else "free memory of this machine / workers",
    )


@dataclass(frozen=True, kw_only=True)
class Whole:
    """The whole that is to be run, as far as it is known."""

    documents: Mapping[str, int]
    text_bytes: Mapping[str, int]
    hashed_bytes: Mapping[str, int]  # of the files that are fingerprinted
    compressed_bytes: int  # of files that are staged
    files: int
    bundles: Sequence[Bundle]
    missing: Mapping[str, Sequence[bool]]  # shard stage -> per bundle, whether its facts are missing
    flow: Flow

    @property
    def rows(self) -> int:
        return sum(self.documents.values())


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Seconds of one kind of task: each + document * documents."""

    step: str
    what: str
    each: float
    document: float


class Rates:
    """What a pilot of a few documents and the sample took."""

    def __init__(self, pilot: Measured, sample: Measured) -> None:
        self.pilot, self.sample = pilot, sample
        self._before, self._after = _sums(pilot), _sums(sample)

    def of(self, step: str) -> list[Rate]:
        """Return the rates of a step's kinds of task."""
        found = []
        for (name, what), (tasks, seconds) in self._after.items():
            if name == step:
                few, least = self._before.get((name, what), (tasks, 0.0))
                each = min(least / max(1, few), seconds / max(1, tasks))
                more = self.sample.rows - self.pilot.rows * tasks / max(1, few)
                document = max(0.0, seconds - each * tasks) / more if more > 0 else seconds / max(1, self.sample.rows)
                found.append(Rate(step=step, what=what, each=each, document=document))
        return found

    def annotate(self, stage: str, dataset: str) -> float:
        """Return seconds per byte of a dataset's text that a stage takes in the first read."""
        after, before = (m.annotate.get((stage, dataset), 0.0) for m in (self.sample, self.pilot))
        size, little = self.sample.text_bytes[dataset], self.pilot.text_bytes[dataset]
        if size > 4 * little and after > before:
            return (after - before) / (size - little)
        return after / max(1, size)

    def written(self, key: str) -> float:
        """Return bytes on disk per document of the sample; what any file costs is left out."""
        after, before = self.sample.written.get(key, 0), self.pilot.written.get(key, 0)
        more = self.sample.rows - self.pilot.rows
        return max(0, after - before) / more if more > 0 else after / max(1, self.sample.rows)


def _sums(measured: Measured) -> dict[tuple[str, str], tuple[int, float]]:
    found: dict[tuple[str, str], tuple[int, float]] = {}
    for call in measured.calls:
        tasks, seconds = found.get((call.step, call.what), (0, 0.0))
        found[call.step, call.what] = tasks + len(call.seconds), seconds + sum(call.seconds)
    return found


def makespan(seconds: Sequence[float], slots: float) -> float:
    """Return when the last task ends if each goes, in order, to the first free of `slots` workers.

    A fraction of a slot makes all of them slower: 1.9 slots are two at .95 of the speed.

    Examples
    --------
    >>> makespan([3, 1, 1, 1], 2)
    3.0
    """
    count = max(1, math.ceil(slots))
    ends = [0.0] * min(count, max(1, len(seconds)))
    for task in seconds:
        heapq.heappush(ends, heapq.heappop(ends) + task)
    alone = len(seconds) < 2
    return max(ends) * (1.0 if alone else count / slots)


def annotate_seconds(rates: Rates, whole: Whole, where: Machine) -> float:
    """Return the seconds of the first read: only bundles and stages whose facts are missing."""
    tasks = []
    size, run = bundle_bytes(whole), rates.sample.run
    later = {stage.name for index, stage in enumerate(run.stages) if run.deferred(index)}
    for position, bundle in enumerate(whole.bundles):
        todo = [s for s, missing in whole.missing.items() if missing[position] and s not in later]
        if todo:
            rate = sum(rates.annotate(s, bundle.dataset) for s in {"read", *todo})
            tasks.append(rate * size[position] + TASK_SECONDS)
    return makespan(tasks, where.slots) if tasks else 0.0


def bundle_bytes(whole: Whole) -> list[float]:
    """Return the bytes of text in every bundle: its dataset's, by rows."""
    rows = {name: sum(b.rows for b in whole.bundles if b.dataset == name) for name in whole.documents}
    return [whole.text_bytes[b.dataset] * b.rows / max(1, rows[b.dataset]) for b in whole.bundles]


def freeze_seconds(rates: Rates, whole: Whole, where: Machine) -> float:
    """Return the seconds of freezing: a price per file, and one per compressed byte that is staged."""
    pilot, sample = (sum(sum(c.seconds) for c in m.calls if c.step == "freeze") for m in (rates.pilot, rates.sample))
    few, many = (len(m.run.manifest.shards) for m in (rates.pilot, rates.sample))
    size, little = (sum(s.bytes for s in m.run.manifest.shards) for m in (rates.sample, rates.pilot))
    each = min(pilot / max(1, few), sample / max(1, many))
    byte = max(0.0, sample - each * many) / max(1, size - little)
    compressed = whole.compressed_bytes > 0
    work = each * whole.files + byte * (whole.compressed_bytes if compressed else 0)
    work += sum(whole.hashed_bytes.values()) / HASHED_PER_SECOND
    return work / min(where.slots, max(1.0, whole.files))


def step_seconds(rates: Rates, whole: Whole, where: Machine, step: str, documents: float) -> float:
    """Return the seconds of a step whose work grows with `documents` (as many as the sample's rows stand for)."""
    seconds = 0.0
    index = next((i for i, s in enumerate(rates.sample.run.stages) if s.name == step), -1)
    near = isinstance(rates.sample.run.stages[index], NearDedup) and index >= 0
    for rate in rates.of(step):
        if rate.what == JUDGING:
            continue
        tasks = _tasks(rate.what, whole, step)
        work = tasks * (rate.each + TASK_SECONDS)
        if not (near and rate.what in plan_near.OF_CANDIDATES):
            work += rate.document * documents * _slower(rate.what, rates.sample.rows, documents)
        seconds += work / max(1.0, min(where.slots, tasks))
    if near:
        candidates = candidates_of(rates, whole, step)
        seconds += plan_near.seconds(rates.sample, index, candidates, reading_seconds(rates, whole)) / where.slots
    return seconds


def candidates_of(rates: Rates, whole: Whole, step: str) -> float:
    """Return how many documents share a bucket in a near_dedup of the whole."""
    live = total(whole.flow.before[step])
    return plan_near.in_all(rates.sample, step, whole.flow.duplicates[step], live)


def reading_seconds(rates: Rates, whole: Whole) -> float:
    """Return the seconds that one core needs to read the whole text."""
    return sum(rates.annotate("read", name) * size for name, size in whole.text_bytes.items())


def _slower(what: str, sample: int, documents: float) -> float:
    """Return how much more a document costs in the whole: sorts grow with the logarithm, gathers leave the caches."""
    if what.endswith("._sorted"):
        return GATHER if documents > 10 * sample else 1.0
    if what.endswith("._receive_keys"):
        return max(1.0, math.log(max(2.0, documents)) / math.log(max(2, sample)))
    return 1.0


def report_seconds(rates: Rates, whole: Whole) -> float:
    """Return the seconds of the report: its samples and charts do not grow, reading the ledger does."""
    fixed = sum(sum(c.seconds) for c in rates.sample.calls if c.step == "report")
    return fixed + whole.rows * sum(rate.document for rate in rates.of("tally"))


def _tasks(what: str, whole: Whole, step: str) -> int:
    """Return how many tasks of a kind the whole has."""
    name = what.rsplit(".", 1)[-1]
    if name in ("_components", "write"):
        return 1
    live = round(total(whole.flow.before.get(step, {}))) or whole.rows
    if what.startswith(("stages.exact_dedup._resolve", "stages.dedup.dedup_stage._route")):
        return destinations_for(live)
    if name == "_receive_keys":
        return 1 if live * USUAL_BANDS < 100_000 else max(4, -(-live * USUAL_BANDS // RECORDS_PER_DESTINATION))
    if what in plan_near.OF_CANDIDATES and name not in ("_emit_documents", "_emit_texts", "_receive_wanted"):
        return min(MAX_DESTINATIONS, max(4, live // DOCUMENTS_PER_DESTINATION))
    if name == "_sorted":
        return len(whole.documents)
    return len(whole.bundles)


# --- bytes -----------------------------------------------------------------------------------------------


def bytes_written(rates: Rates, whole: Whole, mixed_bytes: float) -> dict[str, float]:
    """Return bytes on disk per step: facts of shard stages, exchange and decisions of dedup, ledger, mix."""
    run, growth = rates.sample.run, whole.rows
    found = {"staged": _staged(rates, whole)}
    for index, stage in enumerate(run.stages):
        share = 1.0
        if isinstance(stage, ShardStage):
            missing = whole.missing.get(stage.name, ())
            rows = sum(b.rows for b, gone in zip(whole.bundles, missing, strict=False) if gone)
            share = rows / max(1, sum(b.rows for b, _ in zip(whole.bundles, missing, strict=False)))
            if run.deferred(index):  # others are made before any deduplication: their share is the sample's
                share *= growth_of(rates.sample, whole, stage.name)
        elif isinstance(stage, ExchangeStage):
            share = growth_of(rates.sample, whole, stage.name)
        found[stage.name] = rates.written(stage.name) * growth * share
        if isinstance(stage, NearDedup):
            more = candidates_of(rates, whole, stage.name)
            more -= plan_near.in_sample(rates.sample, stage.name) * growth * share / max(1, rates.sample.rows)
            size = sum(whole.text_bytes.values()) / max(1, whole.rows)
            found[stage.name] += plan_near.extra_bytes(rates.sample, index, max(0.0, more), size)
    shards = len({piece.shard.ordinal for bundle in whole.bundles for piece in bundle.pieces})
    found["ledger"] = rates.written("ledger") * growth + _file_bytes(rates, "ledger") * shards
    text = max(1, rates.sample.mixed_bytes)
    found["mix"] = rates.sample.written["materialize"] / text * mixed_bytes
    found["shuffle"] = rates.sample.written["shuffle"] / text * mixed_bytes
    return found


def growth_of(sample: Measured, whole: Whole, stage: str) -> float:
    """Return how much larger the share of documents that reach a stage is in the whole than in the sample."""
    if not whole.flow.before.get(stage):
        return 1.0
    seen = reaching(sample, stage)
    share = total(whole.flow.before[stage]) / max(1, whole.rows)
    return share / (seen / max(1, sample.rows)) if seen else 1.0


def reaching(sample: Measured, stage: str) -> float:
    """Return how many of the sample's documents reach a stage."""
    index = next(i for i, s in enumerate(sample.run.stages) if s.name == stage)
    earlier = [s.name for s in sample.run.stages[:index]]
    mine = [t for t in sample.tallies if sample.run.stages[index].applies_to(t.dataset)]
    return float(sum(t.rows - sum(n for (s, _), n in t.dropped.items() if s in earlier) for t in mine))


def _file_bytes(rates: Rates, key: str) -> float:
    """Return the bytes that a file has whatever it holds."""
    pilot = rates.pilot
    rest = pilot.written.get(key, 0) - rates.written(key) * pilot.rows
    return max(0.0, rest) / max(1, len(pilot.run.manifest.shards))


def _staged(rates: Rates, whole: Whole) -> float:
    made = rates.sample.written.get("staged", 0)
    shards = rates.sample.run.manifest.shards
    size = sum(s.bytes for s in shards if rates.sample.run.staged_path(s))
    return made / size * whole.compressed_bytes if size else 0.0


# --- memory ----------------------------------------------------------------------------------------------


def memory(rates: Rates, whole: Whole, where: Machine, base: int) -> dict[str, int]:
    """Return the bytes that one task of each kind holds at most (docs/design.md, What is held in memory)."""
    run = rates.sample.run
    shard_stages = [s for s in run.stages if isinstance(s, ShardStage)]
    rows = max((b.rows for b in whole.bundles), default=0)
    facts = sum(rates.written(s.name) for s in shard_stages)
    expansion = max((s.expansion for s in shard_stages), default=2.0)
    live = max((total(v) for v in whole.flow.before.values()), default=0.0)
    found = {"annotate": (1 + expansion) * BATCH_BYTES + facts * rows, "ledger": 2 * facts * rows}
    for index, stage in enumerate(run.stages):
        if isinstance(stage, NearDedup):
            found |= _near(rates, index, stage, whole, rows)
        elif isinstance(stage, DedupStage):
            found[stage.name] = 3 * rates.written("read") * live / destinations_for(round(live))
    found["materialize"] = 3 * BATCH_BYTES + facts * rows
    return {name: round(size) for name, size in found.items()}


def _near(rates: Rates, index: int, stage: NearDedup, whole: Whole, rows: int) -> dict[str, float]:
    near = near_job(rates.sample.run, index)
    live = total(whole.flow.before[stage.name])
    members = candidates_of(rates, whole, stage.name)
    records = min(live * near.bands, float(RECORDS_PER_DESTINATION) * 1.25)
    one = members / max(1, min(MAX_DESTINATIONS, members // DOCUMENTS_PER_DESTINATION))
    size = sum(whole.text_bytes.values()) / max(1, whole.rows)
    return {
        f"{stage.name}: band keys": min(rows, live) * (near.num_permutations * 4 + near.bands * 32.0),
        f"{stage.name}: buckets": records * 16 * 4,
        f"{stage.name}: components": _components(live, members, records),
        f"{stage.name}: verify": min(one, members) * (near.num_permutations + 150 + size),
    }


def _components(live: float, members: float, records: float) -> float:
    """Return the bytes of joining components: all in one task, or one destination's edges (measured 2026-11)."""
    if live > AT_ONCE and members > AT_ONCE:
        return max(EDGES_PER_DESTINATION * EDGE_BYTES, records * RECORD_BYTES)
    return min(members, AT_ONCE) * LABEL_BYTES + records * RECORD_BYTES
