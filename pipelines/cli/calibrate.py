"""`winnow calibrate`, `winnow classifier distil`: what a filter is worth by a judge; a classifier that copies one."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.app import AsJson, BadUsage, Overrides, RunArgument, Trust, app, say, say_json, trust_code
from pipelines.cli.files import classifier_app


@app.command("calibrate")
def calibrate_stage(
    run_dir: RunArgument,
    stage: Annotated[str, typer.Option(metavar="NAME", help="filter to calibrate, any stage with a score and a limit")],
    documents: Annotated[int, typer.Option(min=1, help="documents that are judged")] = 400,
    beta: Annotated[float, typer.Option(min=0.01, help="of F-beta: above 1 recall counts more")] = 1.0,
    judge: Annotated[str, typer.Option(metavar="NAME", help="stage llm_judge whose models are asked")] = "",
    prompt: Annotated[
        str, typer.Option(help="keep, language, or a .yaml file whose answer is a score or a label yes or no")
    ] = "",
    cut: Annotated[float | None, typer.Option(help="score from which the judge calls a document good")] = None,
    export: Annotated[str, typer.Option("--export", metavar="FILE.csv", help="write the sample for people")] = "",
    given: Annotated[str, typer.Option("--import", metavar="FILE.csv", help="the sample with labels of people")] = "",
    seed: Annotated[int, typer.Option(min=0, help="of the sample")] = 0,
    as_json: AsJson = False,
    trust: Trust = False,
) -> None:
    """Estimate precision and recall of a filter from documents near its threshold, and the best threshold."""
    from pipelines.calibrate.calibrate import Question, calibrate
    from pipelines.calibrate.view import render

    if export and given:
        raise BadUsage("give --export or --import, not both.")
    trust_code(trust)
    question = Question(stage=stage, documents=documents, seed=seed, beta=beta, judge=judge, prompt=prompt, cut=cut)
    found = calibrate(run_dir, question, export=export, given=given)
    if as_json:
        say_json(found)
    elif export:
        say(f"{export}: {found['documents']:,} documents. Fill in column good (yes or no), then give it to --import.")
    else:
        say(render(found))


@classifier_app.command("distil")
def classifier_distil(
    run_dir: RunArgument,
    out: Annotated[str, typer.Option("--out", "-o", metavar="MODEL", help="model to write")],
    judge: Annotated[str, typer.Option("--from", metavar="NAME", help="stage llm_judge to copy")] = "llm_judge",
    to: Annotated[str, typer.Option(help="fasttext, or onnx: a head on embeddings (extra semantic)")] = "fasttext",
    cut: Annotated[float | None, typer.Option(help="judge's score that is good (default: its min_score)")] = None,
    documents: Annotated[int, typer.Option(min=10, help="judged documents to learn from, at most")] = 200_000,
    embeddings: Annotated[str, typer.Option(metavar="onnx:FOLDER", help="embedding model of --to onnx")] = "",
    recipe: Annotated[str, typer.Option(metavar="RECIPE", help="run this recipe up to the judge first")] = "",
    overrides: Overrides = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Train a classifier on a judge's scores; measure their agreement; name the threshold of the judge's cut."""
    from pipelines.calibrate.distil import Wish, distil
    from pipelines.calibrate.distil_view import lines_of

    if recipe:
        from pipelines.cli.app import given_recipe
        from pipelines.run import runner

        runner.run(given_recipe(recipe, overrides), run_dir, until=judge)
    wish = Wish(judge=judge, to=to, cut=cut, documents=documents, embeddings=embeddings, seed=seed)
    found = distil(run_dir, out, wish)
    if as_json:
        say_json(found)
    else:
        for line in lines_of(found):
            say(line)
