"""The part of a plan in the terminal that tells of its size: requests, hops, rehearsal, bounds, the first wall."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cluster.requests import KINDS
from pipelines.plan.tree import Plan
from pipelines.plan.units import duration, size


def tables(plan: Plan) -> Iterator[RenderableType]:
    """Yield the tables of a plan that counted requests, and of a rehearsal."""
    if plan["store"]["steps"]:
        yield _requests(plan)
        yield _hops(plan)
    if "rehearsal" in plan:
        yield _rehearsal(plan)


def lines(plan: Plan) -> Iterator[str]:
    """Yield sentences on bounds, storage, limits, and the first wall."""
    low, high = plan["bounds"]["seconds"]
    least, most = plan["bounds"]["cost"]
    price = f", for {least:,.2f} to {most:,.2f} dollars" if most else ""
    yield f"bounds: between {duration(low)} and {duration(high)}{price}"
    store, limits = plan["store"], plan["limits"]
    if store["requests"]:
        days = store["scratch_tb_days"]
        yield (
            f"storage ({store['kind']}): {sum(store['requests'].values()):,} requests, {store['requests_cost']:,.2f} "
            f"dollars at list prices of {store['prices_as_of']}; scratch {days[0]:.3g} to {days[1]:.3g} TB-days; "
            f"{store['prefixes']} prefix(es)"
        )
    held = f"{size(limits['tmp'])} in {limits['tmp_is']}"
    yield (
        f"processes: the client holds {size(limits['client'])}, the scheduler {size(limits['scheduler'])}; a worker "
        f"has {held}, {limits['maps']:,} maps, {limits['descriptors']:,} open files"
    )
    if plan["width"]:
        worst = max(plan["width"], key=lambda w: w["longest_seconds"])
        yield f"longest task: {worst['task']!r} of {worst['step']}, {duration(worst['longest_seconds'])}"
        alone = [f"{w['step']} ({', '.join(w['in_one_process'])})" for w in plan["width"] if w["in_one_process"]]
        if alone:
            yield f"in one process: {'; '.join(alone)}"


def wall(plan: Plan) -> Text:
    """Return the sentence on the first wall."""
    return Text(plan["first_wall"] + "\n", style="yellow" if plan["walls"] else "")


def _requests(plan: Plan) -> Table:
    table = Table(title=f"requests ({plan['store']['kind']})")
    table.add_column("step")
    for kind in KINDS:
        table.add_column(kind.upper(), justify="right")
    for step, found in [*plan["store"]["steps"].items(), ("all", plan["store"]["requests"])]:
        table.add_row(step, *(f"{found[kind]:,}" for kind in KINDS))
    return table


def _hops(plan: Plan) -> Table:
    table = Table(title="exchange")
    table.add_column("hop")
    for name in ("times", "sources", "destinations", "merged by", "read by", "requests", "written", "a destination"):
        table.add_column(name, justify="right")
    for hop in plan["hops"]:
        table.add_row(
            f"{hop['step']}: {hop['sends']}",
            f"{hop['times']}",
            f"{hop['sources']:,}",
            f"{hop['destinations']:,}",
            f"{hop['merged']:,}" if hop["merged"] > 1 else "",
            f"{hop['together']:,}" if hop["together"] > 1 else "",
            f"{hop['requests']:,}",
            size(hop["bytes_written"]),
            size(hop["destination_bytes"]),
        )
    return table


def _rehearsal(plan: Plan) -> Table:
    found = plan["rehearsal"]
    sizes = " / ".join(f"{n:,}" for n in found["bundles"])
    table = Table(title=f"rehearsal: requests of {sizes} bundles, sizes divided by {found['divisor']:.0f}")
    table.add_column("step")
    for name in ("of tasks", "exponent", "r2", "of the exchange", "foreseen", "whole, by the fit", "whole, by tasks"):
        table.add_column(name, justify="right")
    for step, entry in found["steps"].items():
        table.add_row(
            step,
            " / ".join(f"{n:,}" for n in entry["counted"]),
            f"{entry['exponent']:.2f}",
            f"{entry['r2']:.3f}",
            " / ".join(f"{n:,}" for n in entry["of_exchange"]),
            " / ".join(f"{n:,}" for n in entry["foreseen"]),
            f"{entry['by_fit']:,}",
            f"{entry['by_tasks']:,}",
        )
    return table
