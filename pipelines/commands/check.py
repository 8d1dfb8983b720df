"""`winnow check`: look at real shards of every dataset before any work is done."""

from __future__ import annotations

from rich.table import Table

from cluster.errors import RecipeError
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.to_run import prepare
from stages.inputs.check import check_dataset
from stages.inputs.check_report import DatasetCheck, Identify
from stages.inputs.reader import ReadStatus
from stages.passes.quarantine_limit import allowed


def check_recipe(recipe: Recipe) -> list[DatasetCheck]:
    """Return one report per dataset; without the language model there is no language profile."""
    identify = identifier()
    run = prepare(recipe, "").run
    columns = run.extra_columns
    reports = [check_dataset(d, seed=recipe.seed, identify=identify, columns=columns) for d in run.datasets]
    if recipe.on_error == "quarantine":
        for report in reports:
            _set_aside(report, recipe.max_quarantined)
    return reports


def _set_aside(report: DatasetCheck, limit: float) -> None:
    """Turn problems that the run would count and pass over into warnings, unless they are more than `limit` allows."""
    if not report.problems or not report.looked_at:
        return
    files, gone = len(report.looked_at), len(report.unread)
    bad = sum(report.statuses.get(status.reason, 0.0) for status in ReadStatus if status.bad)
    share = gone / files + bad * (files - gone) / files
    rows = report.rows_estimate or report.sampled_rows
    if gone < files and (limit >= 1 or share * rows <= allowed(rows, limit)):
        report.warnings += [f"would be set aside (on_error: quarantine): {text}" for text in report.problems]
        report.problems = []
    else:
        report.problems.append(
            f"{share:.1%} of what was looked at cannot be read, more than max_quarantined {limit:g} allows; a run "
            "would stop."
        )


def identifier() -> Identify | None:
    """Return what tells the language of texts; None where the language model is not there."""
    from classifiers import language, models

    try:
        models.resolve("fasttext:lid.176.ftz")
    except RecipeError:
        return None
    model = language.LanguageIdentifier("fasttext:lid.176.ftz")

    def identify(texts: list[str]) -> list[str]:
        import pyarrow as pa

        return [str(name) for name in model.names(model.identify(pa.array(texts, pa.large_string()))).to_pylist()]

    return identify


def render_check(report: DatasetCheck) -> Table:
    """Return what was found in one dataset as a table for the terminal."""
    state = "ok" if report.ok else "NOT USABLE"
    table = Table(title=f"{report.dataset}: {state}", show_header=False, title_justify="left")
    table.add_column()
    table.add_column(overflow="fold")
    formats = ", ".join(f"{n} {kind}" for kind, n in report.formats.items())
    table.add_row("shards", f"{report.shards:,} ({formats}), {report.bytes:,} bytes")
    if report.rows_estimate is not None:
        table.add_row("documents", f"about {report.rows_estimate:,}; {report.sampled_rows:,} looked at")
    for column in report.mapped:
        table.add_row(column.role, f"{column.path}: {column.type or 'not found'}")
    for title, shares in (("rows", report.statuses), ("languages", report.languages)):
        if shares:
            table.add_row(title, ", ".join(f"{name} {share:.1%}" for name, share in shares.items()))
    if report.lengths:
        table.add_row("characters", ", ".join(f"{at}: {n:,}" for at, n in report.lengths.items()))
    if report.ids_sampled:
        table.add_row(
            "ids",
            f"{report.ids_sampled:,} looked at, {report.ids_repeated:,} repeated, {report.ids_null:,} null",
        )
    for passed in report.passed_over:
        table.add_row("passed over", str(passed).replace(" passed over:", ":"))
    for problem in report.problems:
        table.add_row("problem", problem)
    for warning in report.warnings:
        table.add_row("warning", warning)
    return table
