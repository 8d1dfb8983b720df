"""An audit in the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipelines.audit import tree


def render_audit(audit: tree.Audit) -> Group:
    """Return an audit as tables and sentences."""
    parts: list[RenderableType] = []
    for name, entry in audit["stages"].items():
        parts += [_strata(name, entry), *_sentences(name, entry)]
    if "threshold" in audit:
        parts += [_threshold(audit["threshold"]), *_guesses(audit["threshold"])]
    return Group(*parts)


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"


def _interval(entry: tree.Precision | tree.Recall) -> str:
    return f"{_share(entry['estimate'])} (95 %: {entry['low']:.1%} to {entry['high']:.1%})"


def _strata(name: str, entry: tree.StageAudit) -> Table:
    table = Table(title=f"{name}: removed pairs, true similarity at least {entry['threshold']:.3g}")
    for column in ("removed from", "lost to"):
        table.add_column(column)
    for column in ("similarity from", "removed", "compared", "right", "95 %"):
        table.add_column(column, justify="right")
    for row in entry["strata"]:
        table.add_row(
            row["dataset"],
            row["representative_dataset"],
            f"{row['similarity_from']:.2f}",
            f"{row['removed']:,}",
            f"{row['sampled']:,}",
            f"{row['right']:,}",
            f"{row['low']:.0%} to {row['high']:.0%}",
        )
    return table


def _sentences(name: str, entry: tree.StageAudit) -> Iterator[Text]:
    pairs = entry["precision"]["pairs"]
    yield Text(
        f"{name}: precision {_interval(entry['precision'])}, from {pairs:,} of {entry['removed']:,} removed pairs"
    )
    if "recall" not in entry:
        return
    kept, recall = entry["kept"], entry["recall"]
    yield Text(
        f"{name}: recall {_interval(recall)}; about {recall['left_over']:,.0f} of {kept['documents']:,} kept documents "
        f"(at most {recall['left_over_high']:,.0f}) should have gone"
    )
    yield Text(
        f"  {kept['seeds']:,} kept documents compared with {kept['compared_with']:,}: {kept['pairs']:,} pairs near the "
        f"threshold, {kept['alike']:,} reach it, {kept['alike_sharing_a_bucket']:,} of these shared a bucket"
    )
    if kept["seeds_sampled"]:
        yield Text(
            f"  {kept['seeds_sampled']:,} of these documents have {kept['pairs_of_sampled']:,} such pairs, too many to "
            "compare: a random part of each stands for the rest"
        )
    if kept["bands"]:
        bands = ", ".join(f"{b['estimate_from']:.2f}: {b['alike']} of {b['pairs']}" for b in kept["bands"])
        yield Text(f"  by estimated similarity from: {bands}")


def _threshold(entry: tree.ThresholdAudit) -> Table:
    table = Table(
        title=f"{entry['stage']}: kept with jaccard_threshold {entry['threshold']} instead of {entry['present']}"
    )
    table.add_column("dataset")
    for column in ("kept now", "kept then", "change", "tokens now", "tokens then"):
        table.add_column(column, justify="right")
    for name, row in entry["datasets"].items():
        now, then = row["now"], row["then"]
        table.add_row(
            name,
            f"{now['documents']:,}",
            f"{then['documents']:,}",
            f"{then['documents'] - now['documents']:+,}",
            f"{now['tokens']:,}",
            f"{then['tokens']:,}",
        )
    return table


def _guesses(entry: tree.ThresholdAudit) -> Iterator[Text]:
    yield Text(
        f"from stored facts: {entry['pairs_known']:,} similarities known exactly, {entry['pairs_guessed']:,} near the "
        "threshold decided by their estimate; a run would read those texts"
    )
    if entry["not_judged"]:
        yield Text(
            f"{entry['not_judged']:,} documents that no filter has judged yet count as passing; a run would judge"
        )
