"""Charts of the report as inline SVG: stacked bars, histograms, curves.

Drawn here and not by a plotting library because the page must live under a Content-Security-Policy without
inline styles or foreign script, follow light and dark, and reflow on a phone: positions are percentages,
so text keeps its size. Guarantees: every label is escaped; every mark has a title that says its number.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from pipelines.shown_text import visible

HEIGHT = 150  # pixels of a plot
BAR = 16
AXIS = 34
TOP = 34  # above a plot: a line for the labels of markers, one for what the height stands for


@dataclass(frozen=True)
class Part:
    """One segment of a stacked bar. kind is a CSS class."""

    kind: str
    value: float
    title: str


@dataclass(frozen=True)
class Series:
    """One layer of a histogram."""

    kind: str
    name: str
    counts: Sequence[int]


def number(value: float) -> str:
    """Return a number as short as it stays readable.

    >>> number(1234567), number(0.25), number(12.0)
    ('1,234,567', '0.25', '12')
    """
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.1f}"


def bar(parts: Sequence[Part], total: float, label: str) -> Markup:
    """Return a stacked horizontal bar whose full width stands for `total`."""
    marks, x = [], 0.0
    for part in parts:
        width = 100 * part.value / total if total else 0.0
        if width > 0:
            marks.append(_rect(part.kind, x, 0, max(width, 0.15), BAR, part.title))
        x += width
    return _svg("bar", BAR, label, marks)


def histogram(
    edges: Sequence[float],
    series: Sequence[Series],
    markers: Sequence[tuple[float, str]],
    label: str,
    *,
    whole_numbers: bool = False,
    unit: str = "documents",
    ticks: Sequence[tuple[float, str]] | None = None,
    bins: Sequence[str] | None = None,
) -> Markup:
    """Return a stacked histogram.

    Parameters
    ----------
    edges : of the bins, (bins + 1,), ascending.
    series : layers, counts of shape (bins,).
    markers : (position, label), such as thresholds.
    whole_numbers : each bin stands for the number at its lower edge.
    unit : what the height counts.
    ticks : (position, label) below the axis; None: about five round numbers.
    bins : what each bin stands for; None: its edges.
    """
    low, high = float(edges[0]), float(edges[-1])
    span = (high - low) or 1.0
    top = max((sum(s.counts[i] for s in series) for i in range(len(edges) - 1)), default=0) or 1
    marks = _grid(number(top), unit, [100 * (position - low) / span for position, _ in markers])
    for i, (a, b) in enumerate(itertools.pairwise(edges)):
        y = float(HEIGHT)
        where = bins[i] if bins else number(a) if whole_numbers else f"{number(a)} to {number(b)}"
        for layer in series:
            height = HEIGHT * layer.counts[i] / top
            if height:
                title = f"{where}: {layer.counts[i]:,} {layer.name}"
                y -= height
                marks.append(_rect(layer.kind, 100 * (a - low) / span, y, 100 * (b - a) / span, height, title))
    for position, text in markers:
        marks.append(_marker(100 * (position - low) / span, text))
    if ticks is None:
        marks += _ticks(edges, low, span, whole_numbers=whole_numbers)
    else:
        marks += [_tick(100 * (at - low) / span, text) for at, text in ticks]
    return _plot(label, marks)


def curve(
    points: Sequence[tuple[float, float]],
    markers: Sequence[tuple[float, str]],
    label: str,
    edges: Sequence[float],
    *,
    whole_numbers: bool = False,
) -> Markup:
    """Return a curve of shares (0 to 1) with a point at each given value, on the scale of the histogram above it.

    edges, whole_numbers : of that histogram; with whole numbers a point stands below the middle of its bin.
    """
    low, high = float(edges[0]), float(edges[-1])
    span = (high - low) or 1.0
    shift = 0.5 if whole_numbers else 0.0
    places = [(100 * (x + shift - low) / span, HEIGHT * (1 - y)) for x, y in points]
    line = " ".join(f"{x:.2f},{y:.2f}" for x, y in places)
    marks = _grid("100 %", "kept", [100 * (position + shift - low) / span for position, _ in markers])
    marks.append(
        f'<svg width="100%" height="{HEIGHT}" viewBox="0 0 100 {HEIGHT}" preserveAspectRatio="none">'
        f'<polyline class="line" points="{line}" vector-effect="non-scaling-stroke"/></svg>'
    )
    for (x, y), (value, share) in zip(places, points, strict=True):
        title = f"at {number(value)}: {share:.1%} kept"
        marks.append(f'<circle class="dot" cx="{x:.2f}%" cy="{y:.2f}" r="4">{_title(title)}</circle>')
    for position, text in markers:
        if low <= position <= high:
            marks.append(_marker(100 * (position + shift - low) / span, text))
    marks += _ticks(edges, low, span, whole_numbers=whole_numbers)
    return _plot(label, marks)


def _plot(label: str, marks: Sequence[str]) -> Markup:
    """Return a plot with room for labels above it, so that none lies behind or before a bar."""
    inner = f'<svg y="{TOP}" width="100%" height="{HEIGHT + AXIS}" overflow="visible">{"".join(marks)}</svg>'
    return _svg("plot", TOP + HEIGHT + AXIS, label, [inner])


def _svg(kind: str, height: int, label: str, marks: Sequence[str]) -> Markup:
    body = "".join(marks)
    head = f'<svg class="{kind}" width="100%" height="{height}" role="img" aria-label="{_text(label)}">'
    return Markup(f"{head}{body}</svg>")  # every text in it went through _text


def _text(text: str) -> str:
    return str(escape(visible(text)))


def _title(text: str) -> str:
    return f"<title>{_text(text)}</title>"


def _rect(kind: str, x: float, y: float, width: float, height: float, title: str) -> str:
    return (
        f'<rect class="{kind}" x="{x:.3f}%" y="{y:.2f}" width="{width:.3f}%" height="{height:.2f}">'
        f"{_title(title)}</rect>"
    )


def _grid(top: str, unit: str, markers: Sequence[float]) -> list[str]:
    """Return lines at top, middle and bottom, and above them, where no marker is, what the top stands for."""
    lines = [f'<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>' for y in (0.5, HEIGHT / 2, HEIGHT - 0.5)]
    place = 'x="100%" text-anchor="end"' if any(x < 40 for x in markers) else 'x="0"'
    return [*lines, f'<text class="tick" {place} y="-5">{_text(f"{top} {unit}")}</text>']


def _marker(x: float, label: str) -> str:
    """Return a dashed line with its label above the plot, on the side that has room."""
    anchor, shift = ("end", -5) if x > 55 else ("start", 5)
    return (
        f'<line class="mark" x1="{x:.2f}%" x2="{x:.2f}%" y1="-32" y2="{HEIGHT}"/>'
        f'<text class="marklabel" x="{x:.2f}%" dx="{shift}" y="-21" text-anchor="{anchor}">'
        f"{_text(label)}</text>"
    )


def _tick(x: float, text: str) -> str:
    anchor = "start" if x < 3 else "end" if x > 97 else "middle"
    return f'<text class="tick" x="{x:.2f}%" y="{HEIGHT + 16}" text-anchor="{anchor}">{_text(text)}</text>'


def _ticks(edges: Sequence[float], low: float, span: float, *, whole_numbers: bool = False) -> list[str]:
    """Return about five labels below the axis; below the middle of the bin for whole numbers."""
    step = _step(span)
    first = math.ceil(low / step - 1e-9)
    values = [round((first + i) * step, 10) for i in range(int((low + span) / step + 1e-9) - first + 1)]
    if whole_numbers:
        values = [v for v in values if v == int(v) and v < edges[-1]]
    shift = 0.5 if whole_numbers else 0.0
    return [_tick(100 * (value + shift - low) / span, number(value)) for value in values]


def _step(span: float) -> float:
    """Return 1, 2 or 5 times a power of ten that divides the span into four to ten."""
    power = 10.0 ** math.floor(math.log10(span / 4))
    return max(power * factor for factor in (1, 2, 5) if power * factor <= span / 4 * (1 + 1e-9))
