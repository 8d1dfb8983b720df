"""The part of a plan that tells whether a run of this size can be: hops, storage, width, limits, bounds, walls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.foreseen import ForeseenHop
from cluster.requests import Requests
from pipelines.plan.machine import Machine
from pipelines.plan.rates import Rates
from pipelines.plan.scale import demands
from pipelines.plan.scale.bounds import bounds_of_seconds, describe_width, kinds_of
from pipelines.plan.scale.hops import Hop, hops_of
from pipelines.plan.scale.prices import Store
from pipelines.plan.scale.rehearse import Rehearsal
from pipelines.plan.scale.walls import first_sentence, walls
from pipelines.plan.tree import Plan
from pipelines.plan.whole import Whole
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.to_run import cluster_of_recipe, output_of_recipe

HELD = 3  # times the rows of a destination that its task holds: as they came, in order, and what it makes of them


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a plan knows when it tells of the whole. input_bytes: of all input files."""

    recipe: Recipe
    rates: Rates
    whole: Whole
    where: Machine
    store: Store
    rehearsal: Rehearsal | None
    input_bytes: int


def running(seconds: Mapping[str, float]) -> list[str]:
    """Return the steps that have something to do."""
    return [step for step, took in seconds.items() if took > 0 or step in ("ledger", "materialize", "tally")]


def hops_in(known: Known, steps: Sequence[str]) -> list[Hop]:
    """Return the hops of the steps that run."""
    return hops_of(known.rates, known.whole, steps)


def memory_of_hops(hops: Sequence[Hop]) -> dict[str, int]:
    """Return the bytes that a destination task of each hop holds: a destination, and what is read together with it."""
    return {f"{h.step}: {h.receive}": round(_held(h.foreseen)) for h in hops}


def _held(hop: ForeseenHop) -> float:
    return HELD * hop.destination_bytes + hop.window


def fill(plan: Plan, known: Known, hops: Sequence[Hop], price_per_hour: float | None) -> None:
    """Add to a plan what its size asks of storage and machines, and the walls that it would hit."""
    steps, where, store = running(plan["time"]["steps"]), known.where, known.store
    requests: dict[str, Requests] = {}
    if known.rehearsal is not None:
        requests = demands.requests_of_steps(known.rates, known.whole, hops, known.rehearsal, steps, known.input_bytes)
    kinds = kinds_of(known.rates, known.whole, hops, steps)
    plan["hops"] = demands.describe_hops(hops)
    plan["width"] = describe_width(kinds, plan["time"]["steps"], where)
    seconds = bounds_of_seconds(plan["time"]["total"], plan["width"], requests, store, where)
    scratch = max((h.foreseen.bytes_written for h in hops), default=0.0) + plan["bytes_written"].get("staged", 0)
    plan["store"] = demands.describe_store(store, requests, hops, scratch, seconds)
    output = output_of_recipe(known.recipe)
    plan["limits"] = demands.describe_limits(store, where, known.whole, hops, output.shard_bytes)
    plan["bounds"] = {"seconds": seconds, "cost": _cost(plan, seconds, where, price_per_hour)}
    found = walls(plan, requests, store, cluster_of_recipe(known.recipe, None).task_timeout)
    plan["walls"], plan["first_wall"] = found, first_sentence(found, plan)


def _cost(plan: Plan, seconds: tuple[float, float], where: Machine, price: float | None) -> tuple[float, float]:
    """Return the least and the most dollars: of machines, where their price is given, of requests and of scratch."""
    hours = (price or 0.0) * (where.gpus or where.workers) / 3600
    scratch, requests = plan["store"]["scratch_cost"], plan["store"]["requests_cost"]
    return seconds[0] * hours + scratch[0] + requests, seconds[1] * hours + scratch[1] + requests
