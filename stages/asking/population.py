"""Which documents are asked about where a sample or a budget does not reach for all, and in which order.

A document's place is a hash of its content. A sample takes the first places of every stratum, equally many of each; a
budget takes places in order until the most that the next document could cost goes beyond what is left. What questions
really took is then known, and the rest of the budget is planned again, round by round. So who is asked about depends on
the documents and the answers alone. Guarantees: what is planned never goes beyond the budget, whatever fails; places
reached are written down before a question is sent, and a run that was killed goes on with the same ones. Memory: the
places of one bundle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.endpoint import answers
from classifiers.endpoint.answers import Spent
from classifiers.endpoint.asker import Asker
from cluster import storage
from cluster.engines import Engine
from cluster.files.arrow_files import read_arrow, write_arrow
from cluster.files.records import read_record
from cluster.files.sealed import write_json
from stages.asking.prefix import TOP, bounds
from stages.asking.settled import first_open
from stages.asking.texts import AskJob, Source, ask_rows, write_facts
from stages.core.arrays import array, whole
from stages.core.costs import per_bundle
from stages.core.run import StageRun
from stages.core.view import View
from stages.kernels.hashes.hashing import mix64

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
SALT = 0x5A3917
PLACES = pa.schema([("row", pa.uint32()), ("place", pa.uint64()), ("bytes", pa.uint32()), ("stratum", pa.string())])
MOST_ROUNDS = 64
FIRST = 8  # documents that a budget's first round asks about
GROWTH = 3  # times the bytes that a repaired text may have
ALL = ""
LIST = per_bundle("list places")
SPENT = per_bundle("add up what was spent", rare=True)
PLAN = per_bundle("plan questions")
NOT_SAMPLED, NO_BUDGET = "not_sampled", "no_budget"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What may be asked. sample: documents; requests, tokens, dollars: None for any number. Prices in dollars a token.

    by: what has a stratum of its own: dataset, language (and dataset), or nothing.
    """

    sample: int | None = None
    by: str = "dataset"
    seed: int = 0
    requests: int | None = None
    tokens: int | None = None
    dollars: float | None = None
    price_asked: float = 0.0  # dollars for a million tokens of questions
    price_answered: float = 0.0

    @property
    def any(self) -> bool:
        return self.sample is not None or self.budget

    @property
    def budget(self) -> bool:
        return any(limit is not None for limit in (self.requests, self.tokens, self.dollars))

    def cost(self, requests: Any, asked: Any, answered: Any) -> list[Any]:
        """Return requests, tokens and millionths of a millionth of a dollar, of numbers or arrays of whole numbers."""
        price = round(self.price_asked * 1e6), round(self.price_answered * 1e6)
        return [requests, asked + answered, asked * price[0] + answered * price[1]]

    def left(self, spent: Spent) -> list[int]:
        """Return what is left of each limit."""
        most = (self.requests, self.tokens, None if self.dollars is None else int(self.dollars * 1e12))
        used = self.cost(spent.requests, spent.tokens.asked, spent.tokens.answered)
        return [TOP if limit is None else limit - u for limit, u in zip(most, used, strict=True)]


def ask_population(engine: Engine, job: AskJob) -> None:
    """Ask about the live documents that sample and budget reach; write the facts of all live documents."""
    limits: Limits = job.stage.limits
    positions = list(job.stage_run.positions)
    _choose(engine, job, limits, positions)
    sources: list[Source] = [(position, "") for position in positions]
    files: list[str] = []
    low = _settled(engine, job, positions) if limits.budget else -1
    if low >= 0:
        documents = sum(engine.map(partial(_count, job, -1, low), positions, cost=PLAN))
        this = AskJob(job.stage_run, f"{job.purpose}-known")
        files += ask_rows(engine, this, sources, partial(chosen_rows, job, -1, low), documents)
    for number in range(MOST_ROUNDS if limits.budget else 1):
        high = _reach(engine, job, limits, positions, number, low)
        documents = sum(engine.map(partial(_count, job, low, high), positions, cost=PLAN))
        if not documents:
            break
        this = AskJob(job.stage_run, f"{job.purpose}-{number}")
        files += ask_rows(engine, this, sources, partial(chosen_rows, job, low, high), documents)
        low = high
    write_facts(engine, job, files, sources, _uncovered, partial(_rest, job))


# --- places and sample --------------------------------------------------------------------------------------


def _path(job: AskJob, kind: str, position: int) -> str:
    return storage.join(job.folder(kind), f"{position}.arrow")


def _choose(engine: Engine, job: AskJob, limits: Limits, positions: list[int]) -> None:
    """Write the places of the documents that the sample has, bundle by bundle."""
    sizes: dict[str, int] = {}
    for part in engine.map(partial(_list, job, limits), positions, cost=LIST):
        for stratum, rows in part.items():
            sizes[stratum] = sizes.get(stratum, 0) + rows
    wanted = sizes if limits.sample is None else allot(sizes, limits.sample)
    full = {stratum: rows == sizes[stratum] for stratum, rows in wanted.items()}
    emit = partial(_ones, job)
    open_ = {stratum: (rows,) for stratum, rows in wanted.items() if not full[stratum]}
    reach = {**dict.fromkeys(wanted, TOP), **(bounds(engine, emit, positions, open_, PLAN) if open_ else {})}
    engine.map(partial(_keep, job, reach), positions, cost=PLAN)


def allot(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """Return how many of each stratum a sample has: equally many, of small strata all, those by name first the rest.

    >>> allot({"a": 2, "b": 50, "c": 60}, 21)
    {'a': 2, 'b': 10, 'c': 9}
    """
    found: dict[str, int] = {}
    left = total
    order = sorted(sizes, key=lambda name: (sizes[name], name))
    for place, name in enumerate(order):
        found[name] = min(sizes[name], -(-left // (len(order) - place)))
        left -= found[name]
    return {name: found[name] for name in sizes}


def _list(job: AskJob, limits: Limits, position: int) -> dict[str, int]:
    """Write the places of a bundle's live documents; return how many there are of each stratum."""
    view = View.at(job.run, position)
    rows = live_rows(job.stage_run, view)
    place = mix64(array(view.read, "h1").astype(np.uint64)[rows], limits.seed ^ SALT)
    size = array(view.read, "num_bytes").astype(np.uint32)[rows]
    names = strata(job.stage_run, view, rows, limits.by)
    write_arrow(
        _path(job, "places", position),
        pa.table([pa.array(rows.astype(np.uint32)), pa.array(place), pa.array(size), names], schema=PLACES),
        scratch=True,
    )
    return {one["values"]: one["counts"] for one in pc.value_counts(names).to_pylist()}


def strata(stage_run: StageRun[Any], view: View, rows: I64, by: str) -> pa.Array:
    """Return the stratum of these bundle rows, string: the dataset, with the language where it is asked for."""
    name = {"none": ALL}.get(by, view.bundle.dataset)
    found = pa.repeat(pa.scalar(name, pa.string()), len(rows))
    languages = languages_of(stage_run, view, rows) if by == "language" else None
    return found if languages is None else pc.binary_join_element_wise(found, languages, " ")


def languages_of(stage_run: StageRun[Any], view: View, rows: I64) -> pa.Array | None:
    """Return the language of bundle rows by the last stage language_id before a stage; None where there is none."""
    for place in range(stage_run.index - 1, -1, -1):
        other = view.run.stages[place]
        if other.use == "language_id" and other.applies_to(view.bundle.dataset):
            column = whole(view.facts(place, rows, ["language"]).column("language"))
            return pc.fill_null(column.cast(pa.string()), "")
    return None


def live_rows(stage_run: StageRun[Any], view: View) -> I64:
    """Return the live rows of a bundle that the stage applies to."""
    if not stage_run.stage.applies_to(view.bundle.dataset):
        return np.empty(0, np.int64)
    return np.flatnonzero(view.live(stage_run.index)).astype(np.int64)


def _ones(job: AskJob, position: int) -> dict[str, tuple[U64, I64]]:
    """Return the places of a bundle by stratum, each of weight 1."""
    table = read_arrow(_path(job, "places", position))
    place, names = array(table, "place").astype(np.uint64), whole(table.column("stratum"))
    found = {}
    for name in names.unique().to_pylist():
        mine = place[pc.equal(names, name).to_numpy(zero_copy_only=False)]
        found[name] = (mine, np.ones((len(mine), 1), np.int64))
    return found


def _keep(job: AskJob, reach: Mapping[str, int], position: int) -> None:
    """Write the documents of a bundle that are in the sample, their places spread anew over all numbers.

    So a budget that ends early takes as large a part of every stratum.
    """
    table = read_arrow(_path(job, "places", position))
    names = whole(table.column("stratum")).dictionary_encode()
    limit = [reach[name] for name in names.dictionary.to_pylist()]
    mine = names.indices.to_numpy()
    place = array(table, "place").astype(np.uint64)
    most = np.array([max(0, bound) for bound in limit], np.uint64)
    inside = (place <= most[mine]) & (np.array(limit, np.float64) >= 0)[mine] if len(limit) else np.zeros(0, np.bool_)
    scale = np.array([1.0 if bound == TOP else 2.0**64 / (max(0, bound) + 1.0) for bound in limit])
    if len(limit):
        spread = np.minimum(place.astype(np.float64) * scale[mine], 2.0**64 - 2048).astype(np.uint64)
        place = np.where(scale[mine] == 1.0, place, spread)
    column = table.schema.get_field_index("place")
    kept = table.set_column(column, "place", pa.array(place)).filter(pa.array(inside))
    write_arrow(_path(job, "chosen", position), kept, scratch=True)


# --- budget ---------------------------------------------------------------------------------------------------


def _reach(engine: Engine, job: AskJob, limits: Limits, positions: list[int], number: int, low: int) -> int:
    """Return up to which place documents are asked about in a round; written down by the first run that gets there."""
    if not limits.budget:
        return TOP
    path = storage.join(job.folder("reach"), f"{number}.json")
    if storage.exists(path):
        return read_record(path, int)
    before = spent(engine, job)
    left, costs = limits.left(before), partial(_costs, job, limits, low, before.excess)
    if not before.requests:  # a few, to see whether the server counts as many tokens as it may
        left[0] = min(left[0], FIRST * job.stage.tries * job.stage.votes * len(job.stage.askers()))
    high = bounds(engine, costs, positions, {ALL: left}, PLAN)[ALL] if min(left) >= 0 else -1
    write_json(path, max(low, high), scratch=True)
    return max(low, high)


def _settled(engine: Engine, job: AskJob, positions: list[int]) -> int:
    """Return up to which place every question has its replies, of earlier runs; written down by the first that looks.

    These cost nothing, so no budget is planned for them. As many documents are looked at as requests were made, and as
    many again while all of them are settled.
    """
    path = storage.join(job.folder("reach"), "settled.json")
    if storage.exists(path):
        return read_record(path, int)
    low, step, number = -1, spent(engine, job).requests, 0
    while step:
        high = bounds(engine, partial(_ones_behind, job, low), positions, {ALL: (step,)}, PLAN)[ALL]
        documents = sum(engine.map(partial(_count, job, low, high), positions, cost=PLAN))
        this = AskJob(job.stage_run, f"{job.purpose}-settled-{number}")
        open_ = first_open(engine, this, positions, partial(_placed, job, low, high), documents) if documents else 0
        low = high if open_ is None else max(low, open_ - 1)
        number += 1
        if open_ is not None or high == TOP:
            break
    write_json(path, low, scratch=True)
    return low


def _placed(job: AskJob, low: int, high: int, position: int) -> tuple[I64, U64]:
    """Return the chosen rows of a bundle whose places lie behind `low`, up to `high`, and the places."""
    table = read_arrow(_path(job, "chosen", position))
    place = array(table, "place").astype(np.uint64)
    mine = _between(place, low, high)
    return array(table, "row").astype(np.int64)[mine], place[mine]


def _ones_behind(job: AskJob, low: int, position: int) -> dict[str, tuple[U64, I64]]:
    place = _placed(job, low, TOP, position)[1]
    return {ALL: (place, np.ones((len(place), 1), np.int64))}


def spent(engine: Engine, job: AskJob) -> Spent:
    """Return what the questions of a stage have cost in this run folder, by whatever run."""
    folders = [answers.folder_of(job.run.root, asker.digest()) for asker in job.stage.askers()]
    total = Spent()
    paths = [path for folder in folders for path in answers.files(folder)]
    for one in engine.map(answers.spent, paths, cost=SPENT):
        total = total.plus(one)
    return total


def _costs(job: AskJob, limits: Limits, low: int, excess: float, position: int) -> dict[str, tuple[U64, I64]]:
    """Return the places of a bundle behind `low` with the most that asking about each document may cost."""
    table = read_arrow(_path(job, "chosen", position))
    place, size = array(table, "place").astype(np.uint64), array(table, "bytes").astype(np.int64)
    behind = _between(place, low, TOP)
    repaired = job.run.text_from(job.stage_run.index) is not None
    return {ALL: (place[behind], most_cost(job.stage, limits, size[behind] * (GROWTH if repaired else 1), excess))}


def most_cost(stage: Any, limits: Limits, size: I64, excess: float = 1.0) -> I64:
    """Return the most that asking about texts of so many bytes costs, (texts, 3): every try of every vote in full.

    excess : how many times the tokens that were reserved the server has counted at most.
    """
    askers: tuple[Asker, ...] = stage.askers()
    shown = np.minimum(size, 4 * askers[0].prompt.max_chars)
    times = stage.votes * stage.tries
    total = np.zeros((len(size), 3), np.int64)
    for asker in askers:
        asked = np.ceil((asker.most_tokens(0) + shown) * excess).astype(np.int64)
        answered = np.full(len(size), math.ceil(asker.max_tokens * excess), np.int64)
        total += times * np.stack(limits.cost(np.ones(len(size), np.int64), asked, answered), axis=1)
    return total


def _between(place: U64, low: int, high: int) -> npt.NDArray[np.bool_]:
    above = place > np.uint64(low) if low >= 0 else np.ones(len(place), np.bool_)
    found: npt.NDArray[np.bool_] = above & (place <= np.uint64(high)) if high >= 0 else np.zeros(len(place), np.bool_)
    return found


def _count(job: AskJob, low: int, high: int, position: int) -> int:
    return len(chosen_rows(job, low, high, job.stage_run, (position, "")))


def chosen_rows(job: AskJob, low: int, high: int, stage_run: StageRun[Any], source: Source) -> I64:
    """Return the rows of a bundle whose places lie behind `low`, up to `high`."""
    return _placed(job, low, high, source[0])[0]


# --- facts ----------------------------------------------------------------------------------------------------


def _uncovered(stage_run: StageRun[Any], source: Source) -> I64:
    view = View.at(stage_run.run, source[0])
    rows = live_rows(stage_run, view)
    return rows[~view.covered(stage_run.index)[rows]]


def _rest(job: AskJob, stage_run: StageRun[Any], source: Source, rows: I64) -> pa.Table:
    """Return the facts of documents that were not asked about."""
    sampled = np.isin(rows, array(read_arrow(_path(job, "chosen", source[0])), "row").astype(np.int64))
    return stage_run.stage.facts_without(np.where(sampled, NO_BUDGET, NOT_SAMPLED).tolist())
