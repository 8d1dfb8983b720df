"""results.json as Markdown: one table per benchmark, and the machine they were measured on."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

Row = dict[str, Any]
Column = tuple[str, Callable[[Row], str]]
_PATH = re.compile(r"(?<![\w.:/])[~.]*/[^\s'\"`,;:]+")  # of this machine, in a message; not that of an address


def markdown(results: dict[str, Any]) -> str:
    """Return the whole page."""
    parts = ["# Benchmarks", machine(results), *(section(name, results) for name, _ in SECTIONS if name in results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def section(name: str, results: dict[str, Any]) -> str:
    """Return the table of one benchmark with its notes, and what could not be measured."""
    found = results[name]
    return "\n\n".join(part for part in (dict(SECTIONS)[name](found), _missing(found)) if part)


def machine(results: dict[str, Any]) -> str:
    """Return one paragraph: processor, versions, date, command."""
    found, source = results["machine"], results["settings"]["source"]
    simd = "AVX-512" if found["avx512"] else "without AVX-512"
    versions = found["versions"] | results.get("peers", {})
    listed = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"{found['date']}, {found['processor']}, {found['cores']} cores ({simd}), "
        f"{found['memory_bytes'] / 1e9:.0f} GB, {found['system']}, Python {found['python']}, load average "
        f"{found['load_before']:.1f} before the start. Text: {source}. Command: `{results['settings']['command']}`. "
        f"Versions: {listed}.\n\nEach figure is a median with (minimum-maximum) of all repetitions; tools take turns, "
        "and every run is bound to one core unless it says otherwise. Processor time tells more than wall time where "
        "others use the machine too."
    )


def signatures(found: Row) -> str:
    columns: list[Column] = [
        ("tool", lambda row: row["tool"]),
        ("shingles", lambda row: row["settings"]),
        ("MB", lambda row: f"{row['megabytes']:.1f}"),
        ("MB/s", lambda row: _spread(row["rate"])),
        ("MB/s of CPU time", lambda row: _spread(row["cpu_rate"])),
        ("documents/s", lambda row: f"{row['rate']['median'] * row['documents'] / row['megabytes']:,.0f}"),
        ("half the text", lambda row: _number(row.get("cpu_rate_of_half"))),
        ("winnow on characters", lambda row: _by_cpu(row, "winnow_characters_times")),
        ("winnow on words 5", lambda row: _by_cpu(row, "winnow_words_times")),
    ]
    note = (
        "128 permutations, one core, reading excluded. `half the text` is the rate (CPU time) on half of a subset: "
        "it shows that the rate does not depend on size. The last columns say how many times faster winnow is, by "
        "CPU time (by wall time)."
    )
    return _section("Signatures", note, columns, found["rows"])


def dedup(found: Row) -> str:
    whole = found["megabytes"]
    columns: list[Column] = [
        ("tool", lambda row: row["tool"]),
        ("settings", lambda row: row["settings"]),
        ("MB", lambda row: f"{row['megabytes']:.1f}"),
        ("runs", lambda row: str(row["runs"])),
        ("seconds", lambda row: _spread(row["seconds"])),
        ("CPU seconds", lambda row: _spread(row["cpu_seconds"])),
        (f"seconds for {whole:.0f} MB", lambda row: _whole(row, whole)),
        ("off the line", lambda row: _number(row.get("bend_seconds"))),
        ("peak MB", lambda row: f"{row['peak_bytes'] / 1e6:,.0f}"),
        ("documents kept", lambda row: f"{row['kept']:,}"),
        ("times winnow's", lambda row: _times(row, "times_winnow")),
    ]
    note = (
        "Parquet to deduplicated Parquet, whole process with its start, threshold 0.8, one worker on one core. "
        "Slow tools run on the first MBs in three sizes, each twice the one before; the time for the whole text is "
        "that of the straight line through all runs; `off the line` is the largest deviation from it, as share of its "
        "rise (0: growth is exactly linear). `times winnow's` is by wall time (by CPU time). "
        "Peak MB is proportional memory (PSS) over all processes."
    )
    return _section("Deduplication, end to end", note, columns, found["rows"])


def recipe(found: Row) -> str:
    """Return two tables: whole processes, and the stages one by one."""
    whole = found.get("megabytes", 0.0)
    columns: list[Column] = [
        ("tool", lambda row: row["tool"]),
        ("settings", lambda row: row["settings"]),
        ("MB", lambda row: f"{row['megabytes']:.1f}"),
        ("seconds", lambda row: _spread(row["seconds"])),
        ("CPU seconds", lambda row: _spread(row["cpu_seconds"])),
        ("MB/s of CPU time", lambda row: _number(whole / row["whole_cpu_seconds"])),
        ("off the line", lambda row: _number(row.get("bend_cpu_seconds"))),
        ("peak MB", lambda row: f"{row['peak_bytes'] / 1e6:,.0f}"),
        ("documents kept", lambda row: f"{row['kept']:,}"),
        ("times winnow's", lambda row: _times(row, "times_winnow")),
    ]
    note = (
        "Language, rules of Gopher and FineWeb, line rules of C4, exact and near deduplication, personal data: "
        "Parquet to Parquet, whole process with its start. datatrove runs on the first MBs in three sizes; its time "
        "for the whole text is that of the straight line through them. Times winnow's by wall time (by CPU time)."
    )
    stage: list[Column] = [
        ("stage", lambda row: row["tool"]),
        ("settings", lambda row: row["settings"]),
        ("MB", lambda row: f"{row['megabytes']:.1f}"),
        ("MB/s of CPU time", lambda row: _spread(row["cpu_rate"])),
        ("ms of CPU time per MB", lambda row: _number(1e3 / row["cpu_rate"]["median"])),
    ]
    alone = "Each stage on its own on so much of the text, on one core, models loaded, reading excluded."
    parts = [
        _section("A whole recipe", note, columns, found["rows"]),
        _section("Its stages", alone, stage, found["stages"]),
    ]
    return "\n\n".join(part for part in parts if part)


def accuracy(found: Row) -> str:
    columns: list[Column] = [
        ("tool", lambda row: row["tool"]),
        ("settings", lambda row: row["settings"]),
        ("removed", lambda row: f"{row['characters']['removed']:,}"),
    ]
    for kind, name in (("characters", "characters 25"), ("words", "words 5")):
        for figure in ("precision", "recall", "lost"):
            columns.append((f"{figure}, {name}", lambda row, k=kind, f=figure: f"{row[k][f]:.3f}"))  # type: ignore[misc]
    pairs = found["pairs_of_distinct"]
    note = (
        f"{found['documents']:,} documents ({found['megabytes']:.1f} MB), all pairs compared exactly at Jaccard >= 0.8 "
        f"on each kind of shingle: {pairs['characters']:,} similar pairs of distinct documents on characters 25, "
        f"{pairs['words']:,} on words 5. Precision: removed documents that have a similar one. Lost: removed documents "
        "without a similar one among those kept. Recall: removals made, of those that were due."
    )
    return _section("Accuracy of removals", note, columns, found["rows"])


def sketches(found: Row) -> str:
    columns: list[Column] = [
        ("pairs", lambda row: row["pairs"]),
        ("threshold", lambda row: f"{row['threshold']:g}"),
        ("sketch", lambda row: row["sketch"]),
        ("similar pairs", lambda row: f"{row['similar']:,}"),
        ("recall, verified", lambda row: f"{row['recall']:.4f}"),
        ("recall, not verified", lambda row: f"{row['recall_unverified']:.4f}"),
        ("precision, not verified", lambda row: f"{row['precision_unverified']:.4f}"),
        ("bias of the estimate", lambda row: f"{row['bias']:+.4f}"),
        ("its deviation", lambda row: f"{row['deviation']:.4f}"),
    ]
    rates = ", ".join(f"{name} {rate:.0f} MB/s" for name, rate in found["rates"].items())
    note = (
        "128 slots, 24 characters, the bands that near_dedup chooses for the threshold. Verified, precision is 1: "
        f"pairs near the threshold are compared by their texts. Signatures alone, by CPU time of one core: {rates}."
    )
    return _section("Sketches", note, columns, sorted(found["rows"], key=lambda row: (row["pairs"], row["threshold"])))


def scoring(title: str, note: str) -> Callable[[Row], str]:
    columns: list[Column] = [
        ("tool", lambda row: row["tool"]),
        ("settings", lambda row: row["settings"]),
        ("MB", lambda row: f"{row['megabytes']:.1f}"),
        ("MB/s", lambda row: _spread(row["rate"])),
        ("MB/s of CPU time", lambda row: _spread(row["cpu_rate"])),
        ("winnow is faster by", lambda row: _by_cpu(row, "winnow_times")),
    ]
    compared: Column = ("answers equal to winnow's", lambda row: _agreement(row))

    def write(found: Row) -> str:
        more = [compared] if any("agreement" in row for row in found["rows"]) else []
        return _section(title, note, [*columns, *more], found["rows"])

    return write


def startup(found: Row) -> str:
    columns: list[Column] = [
        ("command", lambda row: row["tool"]),
        ("which", lambda row: row["settings"]),
        ("seconds", lambda row: _spread(row["seconds"])),
        ("CPU seconds", lambda row: _spread(row["cpu_seconds"])),
        ("peak MB", lambda row: f"{row['peak_bytes'] / 1e6:,.0f}"),
    ]
    note = (
        f"60 documents on {found['cores']} cores: language, rules, line rules, exact and near deduplication, personal "
        "data, report; or `winnow dedup`. Kernels are compiled before, but for the last row."
    )
    return _section("Fixed costs", note, columns, found["rows"])


def alike(found: Row) -> str:
    columns: list[Column] = [
        ("documents", lambda row: row["kind"]),
        ("number", lambda row: f"{row['documents']:,}"),
        ("seconds", lambda row: _number(row["seconds"])),
        ("CPU seconds", lambda row: _number(row["cpu_seconds"])),
        ("peak MB", lambda row: f"{row['peak_bytes'] / 1e6:,.0f}"),
        ("kept", lambda row: f"{row['kept']:,}"),
    ]
    note = (
        "`winnow dedup` on made texts of 60 words: the same document over and over; one template with a number put in "
        "(any two about .85 alike); windows that move by one word along a long text, so that each is near the next."
    )
    return _section("Documents that are all alike", note, columns, found["rows"])


def cores(found: Row) -> str:
    """Return the simulations, which are Markdown already."""
    note = (
        f"## More cores, simulated\n\nA run on one core, whose tasks are {found['divisor']} times as small, gives the "
        f"processor time of every task, the least of all repetitions; times are multiplied by {found['divisor']}."
    )
    parts = [note, *(f"`{name}`:\n\n{text}" for name, text in found.items() if name.startswith("winnow"))]
    return "\n\n".join(parts)


SECTIONS: Sequence[tuple[str, Callable[[Row], str]]] = (
    ("signatures", signatures),
    ("dedup", dedup),
    ("recipe", recipe),
    ("cores", cores),
    ("startup", startup),
    ("alike", alike),
    ("accuracy", accuracy),
    ("sketches", sketches),
    ("filters", scoring("Heuristic filters", "Rules of Gopher and FineWeb on one core, reading excluded.")),
    ("language", scoring("Language identification", "One core, model loaded, reading excluded.")),
    ("quality", scoring("Quality scoring with a fastText model", "One core, model loaded, reading excluded.")),
)


def _section(title: str, note: str, columns: list[Column], rows: list[Row]) -> str:
    if not rows:
        return ""
    lines = [f"## {title}", "", note, "", "| " + " | ".join(name for name, _ in columns) + " |"]
    lines.append("|" + "---|" * len(columns))
    lines += ["| " + " | ".join(cell(row) for _, cell in columns) + " |" for row in rows]
    return "\n".join(lines)


def _missing(found: Row) -> str:
    lines = [f"- {key}: {_PATH.sub('PATH', reason.splitlines()[0])}" for key, reason in found["missing"].items()]
    return "Not measured:\n" + "\n".join(lines) if lines else ""


def _spread(found: dict[str, float]) -> str:
    low, median, high = (_number(found[name]) for name in ("low", "median", "high"))
    return f"{median} ({low}-{high})"


def _whole(row: Row, whole: float) -> str:
    return ("~" if row["megabytes"] < whole else "") + _number(row["whole_seconds"])


def _times(row: Row, key: str) -> str:
    return f"{_number(row[key])} ({_number(row[key + '_cpu'])})" if key in row else ""


def _by_cpu(row: Row, key: str) -> str:
    return f"{_number(row[key + '_cpu'])} ({_number(row[key])})" if key in row else ""


def _agreement(row: Row) -> str:
    found = row.get("agreement")
    return f"{found['labels']:.4%} of labels, scores within {found['score']:.2g}" if found else ""


def _number(value: float | None) -> str:
    """Return three significant digits, or nothing for None.

    >>> _number(0.4567), _number(12.345), _number(1234.5)
    ('0.457', '12.3', '1,234')
    """
    if value is None:
        return ""
    if math.isnan(value):
        return "too noisy"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
