"""A diff of two runs in the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipelines.diff import tree
from pipelines.shown_text import visible

SHOWN = 20  # rows of a table; --json has all
ABSENT = "no such document in the other run"


def render(found: tree.Diff) -> Group:
    """Return a diff as tables and sentences."""
    parts: list[RenderableType] = [Text(visible(f"{found['old']} -> {found['new']}"), style="bold")]
    parts += [Text(visible(text), style="yellow") for text in found["stale"]]
    parts += [Text(sentence) for sentence in sentences(found)]
    parts.append(_datasets(found))
    parts += [table for table in (_recipe(found), _causes(found), _moved(found)) if table.rows]
    parts += [table for table in (_named(found, "languages"), _named(found, "domains")) if table.rows]
    return Group(*parts)


def sentences(found: tree.Diff) -> Iterator[str]:
    """Yield how the documents were matched, in sentences."""
    match = found["matching"]
    yield (
        f"{match['files_in_both']:,} files are the same in both runs, {match['files_only_old']:,} are in the old run "
        f"alone, {match['files_only_new']:,} in the new one alone."
    )
    yield f"{match['by_row']:,} documents matched by row, {match['by_id']:,} by id."
    if match["unmatched_old"] or match["unmatched_new"]:
        yield (
            f"{match['unmatched_old']:,} documents are in the old run alone, {match['unmatched_new']:,} in the new one "
            "(or have no id that tells)."
        )


def cause(entry: tree.Cause) -> str:
    """Return the stage and reason of a cause, in words."""
    return f"{entry['stage']} ({entry['reason']})" if entry["stage"] else ABSENT


def _table(title: str, words: tuple[str, ...], numbers: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in words:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _datasets(found: tree.Diff) -> Table:
    numbers = ("kept before", "kept now", "entered", "left", "tokens before", "tokens now", "in the mix now")
    table = _table("documents and tokens", ("dataset",), numbers)
    for name, entry in found["datasets"].items():
        old, new = entry["old"], entry["new"]
        counts = (old["kept"]["documents"], new["kept"]["documents"])
        moves = (entry["entered"]["documents"], entry["left"]["documents"])
        tokens = (old["kept"]["tokens"], new["kept"]["tokens"], new["mix_tokens"])
        table.add_row(visible(name), *(f"{number:,}" for number in (*counts, *moves, *tokens)))
    return table


def _recipe(found: tree.Diff) -> Table:
    table = _table("recipe", ("key", "before", "now"), ())
    for entry in found["recipe"][:SHOWN]:
        table.add_row(*(visible(v) if v is not None else "-" for v in (entry["key"], entry["old"], entry["new"])))
    return table


def _causes(found: tree.Diff) -> Table:
    table = _table("why documents entered or left", ("change", "dataset", "because of"), ("documents", "tokens"))
    for entry in found["causes"][:SHOWN]:
        why = f"dropped before by {cause(entry)}" if entry["change"] == "entered" else f"dropped now by {cause(entry)}"
        why = ABSENT if not entry["stage"] else why
        names = (entry["change"], visible(entry["dataset"]), visible(why))
        table.add_row(*names, f"{entry['documents']:,}", f"{entry['tokens']:,}")
    return table


def _moved(found: tree.Diff) -> Table:
    table = _table("dropped in both, but not alike", ("dataset", "before", "now"), ("documents",))
    for entry in found["moved"][:SHOWN]:
        before, now = (f"{entry['old_stage']} ({entry['old_reason']})", f"{entry['new_stage']} ({entry['new_reason']})")
        table.add_row(visible(entry["dataset"]), visible(before), visible(now), f"{entry['documents']:,}")
    return table


def _named(found: tree.Diff, what: str) -> Table:
    entries = found["languages"] if what == "languages" else found["domains"]
    table = _table(what, ("name",), ("entered", "left", "tokens entered", "tokens left"))
    for entry in entries[:SHOWN]:
        counts = [entry["entered"]["documents"], entry["left"]["documents"]]
        counts += [entry["entered"]["tokens"], entry["left"]["tokens"]]
        table.add_row(visible(entry["name"] or "not known"), *(f"{n:,}" for n in counts))
    return table
