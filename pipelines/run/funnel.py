"""The funnel of a run as a table: one column per dataset, one line per stage, on a terminal as wide as it is.

Guarantees: tokens stand below the documents that they are of; a table that is too wide for the terminal is cut
between datasets and goes on below, so that no number is cut.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pipelines.run.tallies import DatasetTally, MixTally, sums

if TYPE_CHECKING:
    from rich.table import Table

EDGES = 3  # columns of a border and the blanks beside it
LEAST_WIDTH = 40


class Counted(Protocol):
    """A result with counts per dataset."""

    @property
    def name(self) -> str: ...

    @property
    def stages(self) -> Sequence[str]: ...

    @property
    def tallies(self) -> Mapping[str, DatasetTally]: ...


@dataclass(frozen=True)
class Line:
    """One line of the funnel. cells: one for each dataset, then for their sum; section: a border follows."""

    label: str
    cells: Sequence[str]
    section: bool = False


def funnel_table(result: Counted) -> Table:
    """Return the whole funnel as one table."""
    names = _columns(result)
    return _table(f"{result.name}: documents and tokens", names, funnel_lines(result))


def funnel_tables(result: Counted, width: int) -> list[Table]:
    """Return the funnel as tables that fit a terminal of so many columns, datasets in order."""
    names, lines = _columns(result), funnel_lines(result)
    widths = [max(len(names[i]), *(len(line.cells[i]) for line in lines)) + EDGES for i in range(len(names))]
    room = max(LEAST_WIDTH, width) - max(len(line.label) for line in lines) - EDGES - 1
    groups: list[list[int]] = []
    for i, wide in enumerate(widths):
        if groups and sum(widths[j] for j in groups[-1]) + wide <= room:
            groups[-1].append(i)
        else:
            groups.append([i])
    title = f"{result.name}: documents and tokens"
    return [_table(title if n == 0 else "", [names[i] for i in g], _only(lines, g)) for n, g in enumerate(groups)]


def _only(lines: Sequence[Line], columns: Sequence[int]) -> list[Line]:
    return [Line(line.label, [line.cells[i] for i in columns], line.section) for line in lines]


def _table(title: str, names: Sequence[str], lines: Sequence[Line]) -> Table:
    from rich.table import Table

    table = Table(title=title or None)
    table.add_column("", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(line.label, *line.cells, end_section=line.section)
    return table


def _columns(result: Counted) -> list[str]:
    return [*result.tallies, *(["all"] if len(result.tallies) > 1 else [])]


def funnel_lines(result: Counted) -> list[Line]:
    """Return rows, documents dropped per stage, kept, held out, and what each mix has, of every dataset and in sum."""
    tallies = list(result.tallies.values())
    both = [*tallies, *([sums(tallies)] if len(tallies) > 1 else [])]
    dropping = [stage for stage in result.stages if any(t["dropped"].get(stage) for t in both)]
    lines = [Line("rows", [f"{t['rows']:,}" for t in both])]
    lines += [Line(f"- {stage}", [_number(t["dropped"].get(stage, 0)) for t in both]) for stage in dropping]
    lines[-1] = Line(lines[-1].label, lines[-1].cells, section=True)
    lines.append(Line("kept", [f"{t['kept']:,}" for t in both]))
    lines.append(Line("", [f"{t['kept'] / t['rows']:.1%}" if t["rows"] else "" for t in both]))
    lines.append(Line("  tokens", [f"{t.get('kept_tokens', t['tokens']):,}" for t in both]))
    if any(t.get("held_out") for t in both):
        lines.append(Line("- held out", [_number(t.get("held_out", 0)) for t in both]))
        lines.append(Line("  tokens", [_number(t.get("held_out_tokens", 0)) for t in both]))
    lines[-1] = Line(lines[-1].label, lines[-1].cells, section=True)
    mixes = dict.fromkeys(mix for t in tallies for mix in t.get("mixes", {}))
    for mix in mixes:
        lines += _mix_lines(mix, [t.get("mixes", {}).get(mix) for t in both])
    if any(t["epochs"] != 1 for t in tallies) or not mixes:
        lines.append(Line("epochs", [*(f"{t['epochs']:.3g}" for t in tallies), *("" for _ in both[len(tallies) :])]))
    return lines


def _mix_lines(mix: str, taken: Sequence[MixTally | None]) -> Iterator[Line]:
    yield Line(f"in {mix or 'the mix'}", [f"{t['documents']:,}" if t else "" for t in taken])
    yield Line("  tokens", [f"{t['tokens']:,}" if t else "" for t in taken])
    if any(t and t["rows"] != t["documents"] for t in taken):
        yield Line("  rows", [f"{t['rows']:,}" if t else "" for t in taken])
    if sum(t is not None for t in taken) > 1:
        yield Line("  share", [f"{t['share']:.1%}" if t else "" for t in taken])
    if any(t and t["wanted"] is not None for t in taken):
        yield Line("  wanted", [f"{t['wanted']:.1%}" if t and t["wanted"] is not None else "" for t in taken])


def _number(count: int) -> str:
    return f"{count:,}" if count else ""


def funnel_html(result: Counted, said: Sequence[str], where: str) -> str:
    """Return the funnel as a table of a page, for notebooks, with sentences and the place of the report below it."""
    head = "".join(f"<th scope='col' style='text-align:right'>{html.escape(name)}</th>" for name in _columns(result))
    rows = "".join(
        f"<tr><th scope='row' style='text-align:left'>{html.escape(line.label)}</th>"
        + "".join(f"<td style='text-align:right'>{html.escape(cell)}</td>" for cell in line.cells)
        + "</tr>"
        for line in funnel_lines(result)
    )
    listed = "".join(f"<li>{html.escape(text)}</li>" for text in said)
    return (
        f"<table><caption>{html.escape(result.name)}: documents and tokens</caption><thead><tr><td></td>{head}</tr>"
        f"</thead><tbody>{rows}</tbody></table>{f'<ul>{listed}</ul>' if said else ''}"
        f"<p><code>{html.escape(where)}</code></p>"
    )
