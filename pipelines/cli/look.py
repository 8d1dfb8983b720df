"""Commands that look at a run folder: status, verify, facts, report, explain, diff."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pipelines.cli.app import (
    AsJson,
    BadUsage,
    RunArgument,
    Trust,
    app,
    passing_display,
    say,
    say_json,
    trust_code,
    warn_stale,
)

Original = Annotated[
    bool, typer.Option("--show-original", help="show texts as the input has them, not redacted as they are written")
]


@app.command()
def status(run_dir: RunArgument, as_json: AsJson = False, trust: Trust = False) -> None:
    """Show what of a run is done."""
    trust_code(trust)
    from pipelines.commands.status import render_status, status_of_run

    found = status_of_run(run_dir)
    warn_stale(found["stale"])
    if as_json:
        say_json(found)
    else:
        say(render_status(found))


@app.command()
def verify(
    run_dir: RunArgument,
    remove: Annotated[
        bool, typer.Option("--remove", help="remove what is damaged; `winnow run` then makes it again")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read every file of a run folder and name those that are not what was written; exit code 1 if there are any."""
    from pipelines.commands import verify as page

    with passing_display().step("verify"):
        found = page.verify(run_dir, remove)
    if as_json:
        say_json(found)
    else:
        say(page.render(found))
    if found["faults"]:
        raise typer.Exit(1)


@app.command()
def facts(
    run_dir: RunArgument,
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="name of the stage")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE.parquet", help="Parquet file to write")],
    trust: Trust = False,
) -> None:
    """Export a stage's facts: doc_id, row and the stage's columns."""
    trust_code(trust)
    from pipelines.commands.facts import export_facts
    from pipelines.staleness import stale_parts

    warn_stale(stale_parts(run_dir))
    with passing_display().step("facts"):
        rows = export_facts(run_dir, stage, out)
    say(f"{rows:,} rows written to {out}")


@app.command()
def report(run_dir: RunArgument, trust: Trust = False, show_original: Original = False) -> None:
    """Write report.html and report.json anew from the ledger."""
    trust_code(trust)
    from cluster.engines import InlineEngine
    from pipelines.report.report import write_report
    from pipelines.run.watched import Watched
    from pipelines.staleness import stale_parts

    watched = Watched(InlineEngine(), passing_display())
    with watched.step("report"):
        page = write_report(run_dir, watched, show_original=show_original)
    warn_stale(stale_parts(run_dir))
    say(page)


@app.command("explain")
def explain_documents(
    run_dir: RunArgument,
    doc_id: Annotated[int | None, typer.Option("--doc-id", help="the ledger's doc_id")] = None,
    native_id: Annotated[str | None, typer.Option("--id", help="the dataset's own id")] = None,
    url: Annotated[str | None, typer.Option(help="the document's URL")] = None,
    text: Annotated[str | None, typer.Option(help="the document's text; - reads standard input")] = None,
    trust: Trust = False,
    show_original: Original = False,
    as_json: AsJson = False,
) -> None:
    """Tell what became of a document and why: facts, decisions, what it lost to, the difference."""
    trust_code(trust)
    if sum(x is not None for x in (doc_id, native_id, url, text)) != 1:
        raise BadUsage("give one of --doc-id, --id, --url and --text.")
    text = sys.stdin.read() if text == "-" else text

    from pipelines.explain.explain import explain
    from pipelines.explain.view import render_explanation

    with passing_display().step("explain"):
        found = explain(run_dir, doc_id=doc_id, id=native_id, url=url, text=text, show_original=show_original)
    warn_stale(found["stale"])
    if as_json:
        say_json(found)
    else:
        say(render_explanation(found))


@app.command("diff")
def diff_runs(
    old: Annotated[str, typer.Argument(metavar="RUN1", help="run folder before")],
    new: Annotated[str, typer.Argument(metavar="RUN2", help="run folder after")],
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="FILE.parquet", help="write every document that entered or left"),
    ] = None,
    page: Annotated[str | None, typer.Option(metavar="FILE.html", help="write a page")] = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Tell what changed between two runs: documents that entered or left, by stage, reason, language, domain."""
    trust_code(trust)
    from cluster import storage
    from pipelines.diff.diff import diff
    from pipelines.diff.page import render_page
    from pipelines.diff.view import render

    with passing_display().step("diff"):
        found = diff(old, new, out=out, trust=trust)
    if page is not None:
        storage.write_bytes(page, render_page(found).encode())
    if as_json:
        say_json(found)
    else:
        say(render(found))
