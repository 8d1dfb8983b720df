"""Commands that tell beforehand and check afterwards: plan, audit."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.seed import DEFAULT_SEED
from pipelines.cli.app import (
    AsJson,
    BadUsage,
    Overrides,
    RecipeArgument,
    RunArgument,
    Trust,
    Workers,
    app,
    given_recipe,
    passing_display,
    say,
    say_json,
    trust_code,
    warn_stale,
)


@app.command()
def plan(
    recipe: RecipeArgument,
    run_dir: Annotated[
        str | None, typer.Option("--run-dir", "-r", metavar="RUN", help="run folder, whose finished work is reused")
    ] = None,
    overrides: Overrides = None,
    workers: Workers = None,
    gpus: Annotated[
        int | None, typer.Option(min=1, help="plan for one worker on each of N GPUs, and simulate one node of them")
    ] = None,
    gpu_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="memory of one GPU, such as 80GB (default: of this machine's)")
    ] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="cores of that node (default: of this machine)")] = None,
    price_per_hour: Annotated[float | None, typer.Option(min=0.0, help="of one worker, or GPU, for the cost")] = None,
    sample_documents: Annotated[
        int, typer.Option(min=1, help="documents that are drawn and run to measure rates")
    ] = 4000,
    duplicate_documents: Annotated[
        int | None, typer.Option(min=0, help="documents in which duplicates are looked for (default: ten times more)")
    ] = None,
    store: Annotated[
        str | None, typer.Option(metavar="KIND", help="s3, gcs, lustre or local (default: by the run folder's URL)")
    ] = None,
    prices: Annotated[
        str | None, typer.Option(metavar="LIST", help="of storage, instead of list prices: put=0.004,tb-month=18")
    ] = None,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="run samples of three sizes and show how their requests grow")
    ] = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Tell what a run would do, take and give: documents, reuse, time, memory, bytes, misses, warnings."""
    if cores and not gpus:
        raise BadUsage("--cores is of a node of GPUs: give --gpus as well, or --workers for the workers of a run.")
    trust_code(trust)
    from pipelines.recipe.code_named import check_code, is_lock

    if is_lock(recipe):
        check_code(recipe)
    parsed = given_recipe(recipe, overrides)

    from pipelines.plan import plan as planner
    from pipelines.plan import view

    with passing_display().step("plan"):
        found = planner.plan(
            parsed,
            run_dir,
            workers=workers,
            gpus=gpus,
            gpu_memory=_size(gpu_memory),
            cores=cores,
            price_per_hour=price_per_hour,
            sample_documents=sample_documents,
            duplicate_documents=duplicate_documents,
            store=store,
            prices=prices,
            rehearse=rehearse,
        )
    if as_json:
        say_json(found)
    else:
        say(view.render(found))


def _size(given: str | None) -> int | None:
    from pipelines.recipe.sections import parse_bytes

    try:
        return None if given is None else parse_bytes(given)
    except ValueError as error:
        raise BadUsage(f"--gpu-memory: {error}") from None


@app.command("audit")
def audit_run(
    run_dir: RunArgument,
    pairs: Annotated[int, typer.Option(min=1, help="pairs whose true similarity is computed, of each kind")] = 400,
    threshold: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="also tell what this jaccard_threshold would keep")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="seed of the sample")] = DEFAULT_SEED,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Compare removed and kept pairs by true similarity: precision and recall of the deduplication."""
    trust_code(trust)
    if threshold == 0:
        raise BadUsage("--threshold must be above 0 and at most 1, got 0.")

    from pipelines.audit.audit import audit
    from pipelines.audit.kept_audit import keep_audit
    from pipelines.audit.view import render_audit

    with passing_display().step("audit"):
        found = audit(run_dir, pairs=pairs, threshold=threshold, seed=seed)
    warn_stale(found.get("stale", []))
    kept = keep_audit(run_dir, found)
    if as_json:
        say_json(found)
    else:
        say(render_audit(found))
        if kept:
            say(f"kept in {run_dir.rstrip('/')}/audit.json for the report: `winnow report {run_dir}` shows it")
