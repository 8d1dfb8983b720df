"""`winnow lists`: bad words, block lists and benchmark suites by name."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.app import BadUsage, app, say

lists_app = typer.Typer(help="List and fetch lists of bad words, block lists and benchmarks.", no_args_is_help=True)
app.add_typer(lists_app, name="lists")


@lists_app.command("list")
def lists_list() -> None:
    """List what can be fetched, with licences; of suites, the columns that an item's text is made of."""
    from pipelines.commands.list_sources import LISTS, SUITES

    for entry in LISTS.values():
        say(f"{entry.name}  {entry.licence}  {entry.source}")
    for suite in SUITES.values():
        say(f"{suite.name}  {suite.licence}  {suite.repository}: {', '.join(suite.columns)}")


@lists_app.command("fetch")
def lists_fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="lists or suites")],
    source: Annotated[
        str,
        typer.Option("--from", metavar="PATH", help="file of a list or folder of a suite, instead of the network"),
    ] = "",
) -> None:
    """Fetch lists, checked against their digests, and the items of suites from the Hub cache or a folder."""
    from pipelines.commands.lists import fetch_list

    if source and len(names) > 1:
        raise BadUsage("--from goes with one name.")
    for name in names:
        found = fetch_list(name, source=source or None)
        say(f"{found.path}  {found.entries:,} entries  sha256 {found.sha256}  licence {found.licence}")
        say(f"  {found.use}")
