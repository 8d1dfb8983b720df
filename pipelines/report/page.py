"""The report as one HTML page: no network, no foreign code, every text escaped.

Guarantees: the page is a function of the report alone; its Content-Security-Policy allows nothing but its own
style sheet and script, by hash; whatever comes from documents is shown through `visible` and escaped.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
from importlib import resources
from typing import Any, Literal

import jinja2
from markupsafe import Markup

from cluster.device import kernel_cache
from pipelines.report import charts, tree
from pipelines.report.advice import advice
from pipelines.report.charts import Part, Series, number
from pipelines.shown_text import visible
from pipelines.step_words import step_words

COLOURS = 8  # classes c0 … c7 of the style sheet
HEAT = 9  # classes h0 … h9
NOTHING = "\u2013"  # an en dash: what does not apply
Unit = Literal["documents", "tokens"]


def render_page(report: tree.Report) -> str:
    """Return the page of a report made by `build_report`."""
    style, script = _resource("report.css"), _resource("report.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    made = environment()
    made.globals.update(
        stage_colour=_colours(report),
        funnel_bar=lambda entry, unit, total: _funnel_bar(report, entry, unit, total),
        score_chart=_score_chart,
        share_curve=_share_curve,
        similarity_chart=_similarity_chart,
        dataset_chart=_dataset_chart,
        length_chart=_length_chart,
        step_words=step_words,
        next_steps=advice(report),
        uses={stage["name"]: stage["use"] for stage in report["stages"]},
        bar=_bar,
        two_bars=_two_bars,
        has_memory=any(s.get("peak_memory_bytes") for s in (report["timings"]["stages"] if report["timings"] else [])),
        heat=_heat,
    )
    template = made.get_template("template.html")
    return template.render(
        r=report,
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        findings=findings(report),
    )


def findings(report: tree.Report) -> list[str]:
    """Return what a reader should know first, as sentences."""
    total = report["total"]
    rows, kept = total["rows"], total["kept"]
    found = [f"Stale: {part['what']}: {part['why']}." for part in report.get("stale", [])]
    found += [f"Warning: {text}" for text in report.get("warnings", [])]
    found += [
        f"{kept['documents']:,} of {rows['documents']:,} documents survive "
        f"({_percent(kept['documents'], rows['documents'])}), with "
        f"{_percent(kept['tokens'], rows['tokens'])} of the tokens. Tokens are {report['tokens_are']}."
    ]
    drops = [(s["stage"], r, a["documents"]) for s in total["stages"] for r, a in s["dropped"].items()]
    if drops:
        stage, reason, documents = max(drops, key=lambda d: d[2])
        found.append(
            f"Most documents go at {stage} ({reason}): {documents:,}, {_percent(documents, rows['documents'])} of all."
        )
    found += _overlap_finding(report)
    mix = report["mix"]
    found.append(f"The mix holds {mix['tokens']:,} tokens in {mix['documents']:,} documents.")
    found += [text for name, entry in mix["datasets"].items() for text in _target_finding(name, entry)]
    held = sum(entry["holdout_documents"] or 0 for entry in mix["datasets"].values())
    if held:
        tokens = sum(entry["holdout_tokens"] or 0 for entry in mix["datasets"].values())
        found.append(f"{held:,} documents ({tokens:,} tokens) are held out of it.")
    if report["quarantine"]["problems"]:
        found.append(f"{report['quarantine']['problems']:,} problems of unreadable input were set aside.")
    return found


def _target_finding(name: str, entry: tree.MixShare) -> list[str]:
    """Return by how much a dataset misses its target, where it does by more than a hundredth."""
    target = entry["target_tokens"]
    if not target or abs(entry["tokens"] - target) <= 0.01 * target:
        return []
    off = abs(entry["tokens"] - target)
    by = f"{off:,} tokens ({off / target:.1%})"
    if entry["tokens"] > target:
        return [f"{name} gives {by} more than its target of {target:,}: an error of sampling documents."]
    capped = entry["epochs"] is not None and entry["epochs"] >= entry["max_epochs"]
    why = f"max_epochs allows {entry['max_epochs']:g}." if capped else "an error of sampling documents."
    return [f"{name} falls {by} short of its target of {target:,}: {why}"]


def _overlap_finding(report: tree.Report) -> list[str]:
    names = report["overlap"]["datasets"]
    cells = [
        (documents, loser, winner)
        for loser, row in zip(names, report["overlap"]["all"]["documents"], strict=True)
        for winner, documents in zip(names, row, strict=True)
        if loser != winner and documents
    ]
    if not cells:
        return []
    documents, loser, winner = max(cells)
    share = _percent(documents, report["funnel"][loser]["rows"]["documents"])
    return [f"The largest overlap: {loser} lost {documents:,} documents ({share} of it) to {winner}."]


def environment() -> jinja2.Environment:
    """Return what pages are made with: escaping on, undefined names an error, filters for numbers."""
    found = jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource),
        bytecode_cache=_compiled_pages(),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
    )
    found.filters.update(
        n=lambda v: NOTHING if v is None else f"{v:,}",
        short=_short,
        plain=_plain,
        num=lambda v: NOTHING if v is None else number(float(v)),
        size=_size,
        seconds=_seconds,
    )
    found.globals.update(percent=_percent)
    return found


def _compiled_pages() -> jinja2.BytecodeCache | None:
    """Return the cache of compiled templates, beside that of kernels; None where it cannot be made. Saves 0.1 s."""
    made_by = hashlib.sha256(f"{jinja2.__version__} {_resource('page.py')}".encode()).hexdigest()[:16]
    folder = kernel_cache.folder() / f"pages-{made_by}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return _CompiledPages(str(folder))


class _CompiledPages(jinja2.FileSystemBytecodeCache):
    """Cache of compiled templates that a full or failing disk does not stop."""

    def load_bytecode(self, bucket: Any) -> None:
        with contextlib.suppress(OSError):
            super().load_bytecode(bucket)

    def dump_bytecode(self, bucket: Any) -> None:
        with contextlib.suppress(OSError):
            super().dump_bytecode(bucket)


def stylesheet() -> Markup:
    """Return the style sheet that all pages share."""
    return Markup(_resource("report.css"))


def only_style(style: str) -> str:
    """Return the Content-Security-Policy of a page that has this style sheet and nothing else."""
    return f"default-src 'none'; style-src '{_hash(style)}'; base-uri 'none'; form-action 'none'"


def _finalize(value: object) -> object:
    """Make every text that enters the page fit to be shown; escaping follows."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _resource(name: str) -> str:
    return (resources.files("pipelines") / "report" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _colours(report: tree.Report) -> dict[str, str]:
    """Return the colour class of every stage that drops something."""
    names = [s["stage"] for s in report["total"]["stages"] if s["dropped"]]
    return {name: f"c{i % COLOURS}" for i, name in enumerate(names)}


def _funnel_bar(report: tree.Report, entry: tree.Funnel, unit: Unit, total: float | None) -> Markup:
    colours = _colours(report)
    rows = entry["rows"][unit]
    parts = [Part("kept", entry["kept"][unit], f"kept: {entry['kept'][unit]:,} {unit}")]
    for step in entry["stages"]:
        lost = sum(a[unit] for a in step["dropped"].values())
        if lost:
            title = f"dropped by {step['stage']}: {lost:,} {unit} ({_percent(lost, rows)})"
            parts.append(Part(colours[step["stage"]], lost, title))
    label = f"{rows:,} {unit}: " + "; ".join(p.title for p in parts)
    return charts.bar(parts, total or rows, label)


def _bar(value: float, total: float, kind: str, title: str) -> Markup:
    return charts.bar([Part(kind, value, title)], total, title)


def _two_bars(kept: float, dropped: float, total: float) -> Markup:
    parts = [Part("kept", kept, f"kept: {kept:,}"), Part("lost", dropped, f"dropped: {dropped:,}")]
    return charts.bar(parts, total, "; ".join(p.title for p in parts))


def _score_chart(entry: tree.Scores) -> Markup:
    limits = (("min_score", entry["min_score"]), ("max_score", entry["max_score"]))
    markers = [(limit, f"{name} {number(limit)}") for name, limit in limits if limit is not None]
    layers = [Series("kept", "kept", entry["kept"]), Series("lost", "dropped", entry["dropped"])]
    label = f"scores of stage {entry['stage']}"
    return charts.histogram(entry["edges"], layers, markers, label, whole_numbers=entry["whole_numbers"])


def _share_curve(entry: tree.Scores) -> Markup:
    points = [(t["threshold"], t["share"]) for t in entry["thresholds"]]
    markers = [] if entry["min_score"] is None else [(entry["min_score"], f"min_score {number(entry['min_score'])}")]
    label = f"share kept at other thresholds of stage {entry['stage']}"
    return charts.curve(points, markers, label, entry["edges"], whole_numbers=entry["whole_numbers"])


def _dataset_chart(entry: tree.Scores, name: str) -> Markup:
    """Return the scores of one dataset at a stage."""
    limits = (("min_score", entry["min_score"]), ("max_score", entry["max_score"]))
    markers = [(limit, f"{key} {number(limit)}") for key, limit in limits if limit is not None]
    counts = entry["datasets"][name]
    layers = [Series("kept", "kept", counts["kept"]), Series("lost", "dropped", counts["dropped"])]
    label = f"scores of dataset {name} at stage {entry['stage']}"
    return charts.histogram(entry["edges"], layers, markers, label, whole_numbers=entry["whole_numbers"])


def _length_chart(lengths: tree.Lengths, name: str) -> Markup:
    """Return the lengths of one dataset's documents, in bins of equal width on a scale of powers of two."""
    counts, edges = lengths["datasets"][name], lengths["edges"]
    lost = [read - kept for read, kept in zip(counts["read"], counts["kept"], strict=True)]
    layers = [Series("kept", "kept", counts["kept"]), Series("lost", "dropped", lost)]
    step = max(1, len(edges) // 4)
    ticks = [(float(i), number(edge)) for i, edge in enumerate(edges) if i % step == 0 and i + step // 2 < len(edges)]
    return charts.histogram(
        [float(i) for i in range(len(edges))],
        layers,
        [],
        f"tokens per document of {name}, before and after",
        ticks=ticks,
        bins=[f"{a:,} to {b - 1:,} tokens" for a, b in itertools.pairwise(edges)],
    )


def _similarity_chart(entry: tree.Similarities) -> Markup:
    """Return the similarities of what one stage dropped, from the first bin that holds something."""
    first = next((i for i, n in enumerate(entry["dropped"]) if n), 0)
    limits = [t for t in entry["thresholds"] if 0 <= t <= 1]
    start = min([first, *(int(t * len(entry["dropped"])) for t in limits)])
    start = max(0, min(start, len(entry["dropped"]) - 5) - 1)
    markers = [(t, f"threshold {number(t)}") for t in limits]
    layers = [Series("lost", "dropped", entry["dropped"][start:])]
    label = f"similarity of dropped documents to the kept one, stage {entry['stage']}"
    return charts.histogram(entry["edges"][start:], layers, markers, label)


def _heat(share: float) -> str:
    """Return the class of a cell: none, then darker with the share."""
    return "" if share <= 0 else f"h{min(HEAT, int(share * (HEAT + 1) * 2))}"


def _plain(value: object) -> str:
    """Return a recipe value as one would write it."""
    if isinstance(value, dict):
        return ", ".join(f"{k}: {v}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _percent(part: float, whole: float) -> str:
    if not whole:
        return NOTHING
    share = 100 * part / whole
    if part and share < 0.05:
        return "< 0.1 %"
    return f"{share:.1f} %"


def _short(value: float | None) -> str:
    """Return a large number with its unit: 12.3 M."""
    if value is None:
        return NOTHING
    for limit, unit in ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if unit == ' k' else limit):.1f}{unit}"
    return number(value)


def _size(value: float | None) -> str:
    if value is None:
        return NOTHING
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= limit:
            return f"{value / limit:.1f} {unit}"
    return f"{int(value)} B"


def _seconds(value: float | None) -> str:
    if value is None:
        return NOTHING
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"
