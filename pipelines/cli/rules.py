"""`winnow rules`: limits of rules about texts, learned from reference text."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.app import app, say

rules_app = typer.Typer(help="Learn the limits of stage heuristics from good text of a language.", no_args_is_help=True)
app.add_typer(rules_app, name="rules")


@rules_app.command("fit")
def rules_fit(
    reference: Annotated[
        list[str],
        typer.Argument(metavar="[CODE=]PATH...", help="good text; without a code the language model names languages"),
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="LIMITS.yaml", help="file to write; a page lies beside it")
    ],
    english: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="English text to compare with; repeatable")
    ] = None,
    method: Annotated[str, typer.Option(help="tail, mean_std, quantile or median_ratio (docs/languages.md)")] = "tail",
    share: Annotated[float, typer.Option(help="of the reference beyond each cut (method tail)")] = 0.01,
    stop_word_share: Annotated[float, typer.Option(help="of all words, from which a word is a stop word")] = 0.008,
    preset: Annotated[
        list[str] | None, typer.Option(help="rules to learn limits for; repeatable (default: gopher, fineweb)")
    ] = None,
    words: Annotated[str, typer.Option(help="auto, icu or characters, as in stage heuristics")] = "auto",
    model: Annotated[str, typer.Option(metavar="SPEC", help="language model")] = "fasttext:lid.176.ftz",
    column: Annotated[str, typer.Option(help="column of the text")] = "text",
    documents: Annotated[int, typer.Option(help="of each language whose numbers are held")] = 100_000,
) -> None:
    """Learn stop words and limits per language, as FineWeb2 has them; `heuristics: {limits: LIMITS.yaml}` uses them."""
    from pipelines.commands.rules import Choices, fit_rules, page_of

    choices = Choices(
        presets=tuple(preset or ("gopher", "fineweb")),
        method=method,
        share=share,
        stop_word_share=stop_word_share,
        words=words,
        model=model,
        column=column,
        documents=documents,
    )
    fitted, notes = fit_rules(reference, out, choices, english or ())
    for one in fitted:
        score = "" if one.score is None else f", language score at least {one.score:g}"
        say(f"{one.tag}: {one.documents:,} documents, {len(one.words)} stop words, {len(one.cuts)} limits{score}")
    for note in notes:
        say(note)
    say(f"{out}, {page_of(out)}")
