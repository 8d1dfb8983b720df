"""What to change next, from the figures of a run: each sentence names a key of the recipe or a command, and why.

Guarantees: a function of the report alone; the most telling comes first, eight at most.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from pipelines.report import tree
from pipelines.report.charts import number
from pipelines.report.scores import UNNAMED

MOST = 8
OFF = 0.05  # of a target: a dataset that misses it by more is named
COMMON = 0.03  # of the documents that a language stage judged
GAIN = 0.02  # of the documents that a stage judged, for another threshold
LARGE = 0.01  # of all documents, in one group of duplicates
RECALL = 0.95
SLOW = 0.5  # of the time


def advice(report: tree.Report) -> list[str]:
    """Return what to change next, in sentences."""
    parts = (_stale, _quarantine, _mix, _accuracy, _languages, _thresholds, _groups, _time)
    return [sentence for part in parts for sentence in part(report)][:MOST]


def _stale(report: tree.Report) -> Iterator[str]:
    for part in report.get("stale", [])[:1]:
        yield f"{part['command']}: {part['what']} is not up to date."


def _quarantine(report: tree.Report) -> Iterator[str]:
    problems = report["quarantine"]["problems"]
    if problems:
        first = report["quarantine"]["first"][0]
        yield f"Look at {problems:,} unreadable places of the input, first {first['path']}: {first['error']}."


def _mix(report: tree.Report) -> Iterator[str]:
    for name, m in report["mix"]["datasets"].items():
        target, epochs = m["target_tokens"], m["epochs"]
        if not target or epochs is None or abs(m["tokens"] - target) <= OFF * target:
            continue
        off = (m["tokens"] - target) / target
        if off < 0 and epochs >= m["max_epochs"] and m["available"]["tokens"]:
            needed = math.ceil(10 * target / max(1, m["available"]["tokens"])) / 10
            yield (
                f"mix.max_epochs.{name}: {needed:g} instead of {m['max_epochs']:g} would give the {target:,} tokens "
                f"that its weight asks for ({-off:.0%} are missing); or lower mix.weights.{name}."
            )
        else:
            yield (
                f"{name} gives {abs(off):.0%} {'more' if off > 0 else 'less'} than its target, an error of drawing "
                f"{m['documents']:,} whole documents: a larger mix.target_tokens makes it smaller."
            )
    for name, entry in report["funnel"].items():
        if entry["rows"]["documents"] and not entry["kept"]["documents"]:
            worst = max(entry["stages"], key=lambda s: sum(a["documents"] for a in s["dropped"].values()))
            yield f"Nothing of {name} survives; most of it goes at {worst['stage']}: look there for this dataset."


def _accuracy(report: tree.Report) -> Iterator[str]:
    found = report["accuracy"]
    if found is None:
        if report["dedup"]:
            yield "winnow audit RUN: precision and recall of the deduplication are not measured yet."
        return
    for name, stage in found["stages"].items():
        recall, precision = stage["recall"], stage["precision"]
        if recall is not None and recall["estimate"] is not None and recall["high"] < RECALL:
            yield (
                f"{name}.min_recall: {recall['estimate']:.1%} of the duplicates were found, {recall['left_over']:,.0f} "
                "are left over, by estimate. More bands find more."
            )
        if precision["estimate"] is not None and precision["high"] < RECALL:
            yield (
                f"{name}.verify: {1 - precision['estimate']:.1%} of what was removed is less similar than the "
                "threshold. verify: true compares texts."
            )


def _languages(report: tree.Report) -> Iterator[str]:
    for found in report["languages"]:
        judged = found["judged"]["documents"]
        others = [row for row in found["rows"] if row["language"] not in (*found["wanted"], UNNAMED)]
        rows = [row for row in others if not row["language"].endswith(" others")]
        if not found["wanted"] or not judged or not rows:
            continue
        row = max(rows, key=lambda r: r["dropped"]["documents"])
        lost = row["dropped"]
        if lost["documents"] >= COMMON * judged:
            yield (
                f"{found['stage']}.languages: {row['language']} is {lost['documents'] / judged:.1%} of the documents "
                f"({lost['documents']:,}, {lost['tokens']:,} tokens); add it if it is wanted."
            )


def _thresholds(report: tree.Report) -> Iterator[str]:
    entries = [*report["scores"], *(found["scores"] for found in report["languages"] if found["scores"])]
    for s in entries:
        limit = s["min_score"]
        below = [t for t in s["thresholds"] if limit is not None and t["threshold"] < limit]
        here = next((t for t in s["thresholds"] if t["threshold"] == limit), None)
        if limit is None or here is None or not below:
            continue
        other = next((t for t in reversed(below) if t["share"] - here["share"] >= GAIN), None)
        if other is not None:
            more = other["documents"] - here["documents"]
            yield (
                f"{s['stage']}.min_score: {number(other['threshold'])} instead of {number(limit)} keeps {more:,} "
                f"documents more ({other['share'] - here['share']:.1%} of those judged)."
            )


def _groups(report: tree.Report) -> Iterator[str]:
    rows = report["total"]["rows"]["documents"]
    for group in report["groups"]["largest"][:1]:
        size = group["group_size"] or 0
        if size > 10 and size >= LARGE * rows:
            yield f"One text stands {size:,} times in the input: see the largest groups; line_dedup cuts templates."


def _time(report: tree.Report) -> Iterator[str]:
    timings = report["timings"]
    steps = timings["stages"] if timings else []
    whole = sum(step["seconds"] for step in steps)
    if whole < 60:
        return
    slowest = max(steps, key=lambda step: step["seconds"])
    parts = sorted(slowest["parts"], key=lambda part: -part["seconds"])
    if slowest["seconds"] >= SLOW * whole and parts:
        share = parts[0]["seconds"] / (sum(part["seconds"] for part in parts) or 1)
        yield (
            f"{parts[0]['name']} takes {share:.0%} of the first read, which is {slowest['seconds'] / whole:.0%} of the "
            "time: behind a deduplication it would score fewer documents (costly models only)."
        )
