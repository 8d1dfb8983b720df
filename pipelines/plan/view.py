"""A plan in the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipelines.plan.gpu import device, node
from pipelines.plan.scale import view as scale_view
from pipelines.plan.tree import LshPlan, Plan
from pipelines.plan.units import duration, size
from stages.kernels.similarity.banding import probability

WIDTH, HEIGHT = 61, 10  # characters of the S-curve's plot
BLOCKS = " ▁▂▃▄▅▆▇█"
ACTIONS = {"run": "runs", "rest": "runs the rest", "reuse": "is reused", "skip": "is skipped"}


def render(plan: Plan) -> Group:
    """Return a plan as tables, a plot for each near_dedup, and sentences."""
    mixes = [_mixes(plan)] if plan["mixes"] else []
    parts: list[RenderableType] = [_datasets(plan), *mixes, _stages(plan), _summary(plan)]
    for entry in plan["lsh"]:
        parts += [s_curve(entry["bands"], entry["rows_per_band"], entry["threshold"]), _misses(entry)]
    parts += [*scale_view.tables(plan), _sample(plan), *_warnings(plan), scale_view.wall(plan)]
    return Group(*parts)


def _datasets(plan: Plan) -> Table:
    where = f" in {plan['run']}" if plan["run"] else ""
    table = Table(title=f"plan of {plan['recipe']}{where}")
    table.add_column("dataset")
    for name in ("shards", "bytes", "documents", "text", "est. tokens", "kept", "in the mix", "epochs"):
        table.add_column(name, justify="right")
    for name, entry in plan["datasets"].items():
        about = "" if entry["documents_are"] == "counted" else "about "
        mixed = plan["mix"]["datasets"].get(name)
        table.add_row(
            name,
            f"{entry['shards']:,}",
            size(entry["bytes"]),
            f"{about}{entry['documents']:,}",
            size(entry["text_bytes"]),
            f"{entry['tokens']:,}",
            f"{plan['kept'][name]['share']:.0%}",
            f"{mixed['tokens']:,} tokens" if mixed else "reference",
            f"{mixed['epochs']:.3g}" if mixed else "",
        )
    return table


def _mixes(plan: Plan) -> Table:
    """Return what each of several mixes is expected to hold of each dataset."""
    table = Table()
    table.add_column("mix")
    table.add_column("dataset")
    for name in ("documents", "tokens", "epochs", "target", "short of it"):
        table.add_column(name, justify="right")
    for name, mix in plan["mixes"].items():
        for dataset, entry in mix["datasets"].items():
            target, short = entry["target_tokens"], entry["shortfall_tokens"]
            table.add_row(
                name,
                dataset,
                f"{entry['documents']:,}",
                f"{entry['tokens']:,}",
                f"{entry['epochs']:.3g}",
                "" if target is None else f"{target:,}",
                f"{short:,}" if short else "",
            )
            name = ""
        table.add_section()
    return table


def _stages(plan: Plan) -> Table:
    table = Table()
    table.add_column("step")
    for name in ("what happens", "bundles done", "documents before", "dropped", "bytes written", "time"):
        table.add_column(name, justify="right")
    steps = plan["time"]["steps"]
    for entry in plan["stages"]:
        flow = plan["flow"].get(entry["stage"], {})
        before, dropped = (sum(f[key] for f in flow.values()) for key in ("before", "dropped"))
        table.add_row(
            entry["stage"],
            ACTIONS[entry["action"]],
            f"{entry['done']:,} of {entry['of']:,}",
            f"{before:,}" if before else "",
            f"{dropped / before:.1%}" if before else "",
            size(entry["bytes_written"]) if entry["bytes_written"] else "",
            duration(steps[entry["stage"]]) if entry["stage"] in steps else "",
        )
    table.add_row("first read (all stages' facts)", "", "", "", "", "", duration(steps["annotate"]))
    return table


def _summary(plan: Plan) -> Text:
    machine, memory, time = plan["machine"], plan["memory"], plan["time"]
    lines = [
        f"time: about {duration(time['total'])}, of which {duration(time['start'] + time['warm_up'])} to start, "
        f"with {machine['workers']} worker(s) of {machine['threads']} thread(s) ({machine['kind']})",
        f"disk: about {size(plan['bytes_on_disk'])} in the run folder at most",
        f"memory: a worker holds {size(memory['worker'])} at most (in {memory['largest']}), of {size(memory['limit'])} "
        f"({memory['limit_is']})",
        *device.lines(plan),
        *node.lines(plan),
        *scale_view.lines(plan),
    ]
    rows = sum(entry["documents"] for entry in plan["datasets"].values())
    for name, judged in plan["judged"].items():
        lines.append(f"{name}: judges about {judged:,} of {rows:,} documents, those that earlier stages leave")
    if "cost" in plan:
        cost = plan["cost"]
        lines.append(
            f"cost: about {cost['total']:.2f} ({cost['count']} {cost['of']}(s) at {cost['price_per_hour']:g} an hour)"
        )
    return Text("\n".join(lines) + "\n")


def s_curve(bands: int, rows: int, threshold: float) -> Text:
    """Return P(found) over Jaccard similarity as a plot of WIDTH x HEIGHT characters; the threshold is marked."""
    values = [probability(i / (WIDTH - 1), bands, rows) for i in range(WIDTH)]
    mark = round(threshold * (WIDTH - 1))
    lines = [f"P(found) with {bands} bands x {rows} rows"]
    for level in range(HEIGHT, 0, -1):
        cells = [_cell(v, level) for v in values]
        label = {HEIGHT: "1.0", HEIGHT // 2: "0.5"}.get(level, "")
        cells[mark] = "│" if cells[mark] == " " else cells[mark]
        lines.append(f"{label:>4} ┤{''.join(cells)}")
    lines.append(f"{'0.0':>4} └" + "".join("┴" if i == mark else "─" for i in range(WIDTH)))
    axis = [" "] * (WIDTH + 8)
    for text, place in (("0", 0), ("0.5", WIDTH // 2 - 1), ("1", WIDTH - 1), (f"▲{threshold:.2f}", mark)):
        axis[place : place + len(text)] = text
    lines.append("      " + "".join(axis).rstrip() + "  Jaccard similarity")
    return Text("\n".join(lines))


def _cell(value: float, level: int) -> str:
    """Return the character at `level` (1: lowest) of a column that is `value` high."""
    eighths = round(value * HEIGHT * 8) - (level - 1) * 8
    return BLOCKS[max(0, min(8, eighths))]


def _misses(entry: LshPlan) -> Text:
    curve = "  ".join(f"{j.removeprefix('0')}: {p:.3f}" for j, p in entry["found"].items())
    seen = entry["missed_in_sample"]
    lines = [
        f"P(found) at J {curve}",
        f"{entry['stage']}: of the pairs from {entry['threshold']:.2f} on, {entry['missed_if_even']:.1%} are missed if "
        "similarities are even over that range"
        + (
            ""
            if seen is None
            else f", {seen:.1%} with those of the sample's {entry['similar_pairs_in_sample']:,} pairs"
        ),
    ]
    return Text("\n".join(lines) + "\n")


def _sample(plan: Plan) -> Text:
    return Text("\n".join(_sample_lines(plan)) + "\n")


def _sample_lines(plan: Plan) -> Iterator[str]:
    documents = plan["sample"]["documents"]
    yield f"sample: {sum(documents.values()):,} documents ({', '.join(f'{n} {k:,}' for n, k in documents.items())})"
    for stage, found in plan["duplicates"].items():
        whole = "cannot be told" if found["in_all"] is None else f"about {found['in_all']:.1%}"
        yield f"  {stage}: {found['in_sample']:.1%} of the sample are duplicates within it; in the whole {whole}"
    for stage, datasets in plan["sample"]["languages"].items():
        for name, shares in datasets.items():
            yield f"  {stage}, {name}: " + ", ".join(f"{code} {share:.1%}" for code, share in shares.items())
    for entry in plan["filters"]:
        points = ", ".join(f"{at} {value:.3g}" for at, value in entry["percentiles"].items())
        kept = f"; kept {entry['kept']:.1%} from {entry['min_score']}" if entry.get("kept") is not None else ""
        yield f"  {entry['stage']}, {entry['dataset']}: scores {points}{kept}"


def _warnings(plan: Plan) -> Iterator[Text]:
    for text in plan["warnings"]:
        yield Text(f"warning: {text}", style="yellow")
