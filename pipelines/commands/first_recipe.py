"""`winnow init`: a first recipe from the files that are there, with comments, that runs as it is.

Guarantees: the text is a valid recipe of the datasets found; whatever is a guess or a matter of taste is said in a
comment. Nothing but the recipe is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from cluster import storage
from cluster.errors import RecipeError
from cluster.seed import DEFAULT_SEED
from pipelines.commands.check import identifier
from pipelines.commands.first_look import Guess, look
from pipelines.recipe.recipe import load_data
from pipelines.recipe.to_run import prepare
from stages.implicit.read import FAULTS
from stages.inputs.check import check_dataset
from stages.inputs.check_report import DatasetCheck

SAMPLE = 400  # rows of each dataset that are profiled
SHOWN = 6  # languages, columns
MANY = 0.005  # share of unreadable rows, from which on more of them are allowed
LEAST = 0.01  # share of a language that is named


def first_recipe(paths: Sequence[str], name: str = "mix") -> tuple[str, list[str]]:
    """Return (the recipe as text, what somebody should look at) for files, folders and globs.

    Raises RecipeError where they hold nothing that can be read.
    """
    if not paths:
        raise RecipeError("name the files, folders or globs that hold your data.")
    guesses, left_out = look(paths)
    reports = _checked(guesses, name)
    text = "\n".join(_lines(guesses, reports, name)) + "\n"
    load_text(text)
    doubts = left_out + [f"{g.name}: {doubt}." for g in guesses for doubt in g.doubts]
    doubts += [f"{r.dataset}: {problem}" for r in reports for problem in (*r.problems, *r.warnings)]
    doubts += [f"{r.dataset}: {left}" for r in reports for left in r.passed_over]
    return text, doubts


def load_text(text: str) -> None:
    """Raise RecipeError unless a text is a recipe."""
    from pipelines.recipe.marked_yaml import parse_yaml

    load_data(parse_yaml(text, "winnow init").value, "winnow init")


def write_recipe(path: str, text: str) -> None:
    """Write a recipe where there is none yet. Raises RecipeError."""
    if storage.exists(path):
        raise RecipeError(f"{path} is there already. Give another name with -o, or remove it.")
    storage.write_bytes(path, text.encode())


def _data(guesses: list[Guess], name: str) -> dict[str, object]:
    datasets = {}
    for guess in guesses:
        how: dict[str, object] = {"preset": guess.preset} if guess.preset else {"columns": guess.columns}
        datasets[guess.name] = {**how, "paths": guess.paths}
    return {"name": name, "datasets": datasets, "stages": [{"use": "exact_dedup"}]}


def _checked(guesses: list[Guess], name: str) -> list[DatasetCheck]:
    run = prepare(load_data(_data(guesses, name), "winnow init"), "").run
    identify = identifier()
    return [check_dataset(d, sample_rows=SAMPLE, identify=identify) for d in run.datasets]


def _lines(guesses: list[Guess], reports: list[DatasetCheck], name: str) -> Iterator[str]:
    yield "# Written by `winnow init` from what it found; every line may be changed. `winnow check` looks at the files,"
    yield "# `winnow plan` foresees time and size, `winnow run FILE --run-dir RUN --limit 10000` tries it on some rows."
    yield f"name: {name}"
    yield f"seed: {DEFAULT_SEED}"
    yield "on_error: quarantine   # rows that cannot be read are counted and listed; `stop` ends the run at the first"
    bad = max((sum(r.statuses.get(reason, 0.0) for reason in FAULTS) for r in reports), default=0.0)
    if bad > MANY:
        yield f"max_quarantined: {min(1.0, round(2 * bad + 0.005, 2)):g}   # in a sample {bad:.1%} could not be read"
    yield "datasets:"
    for guess, report in zip(guesses, reports, strict=True):
        yield from _dataset(guess, report)
    yield f"priority: [{', '.join(g.name for g in guesses)}]  # of two copies, the one in the dataset named first stays"
    yield "stages:"
    yield from _languages(reports)
    yield "  - {use: exact_dedup}"
    yield "  - {use: minhash}"
    yield "  - {use: near_dedup, jaccard_threshold: 0.8}"
    yield "  # - {use: heuristics, presets: [gopher, fineweb]}   # rules about words, lines and repetition, for English"
    for guess in guesses:
        yield from _scores(guess)
    yield from _mix(guesses)


def _dataset(guess: Guess, report: DatasetCheck) -> Iterator[str]:
    formats = ", ".join(f"{count:,} {kind}" for kind, count in sorted(report.formats.items()))
    rows = f", about {report.rows_estimate:,} documents" if report.rows_estimate else ""
    middle = f", half of them of at most {report.lengths['p50']:,} characters" if report.lengths else ""
    yield f"  # {formats}; {report.bytes:,} bytes{rows}{middle}"
    paths = json.dumps(guess.paths[0] if len(guess.paths) == 1 else guess.paths, ensure_ascii=False)
    if guess.preset:
        yield f"  {guess.name}: {{preset: {guess.preset}, paths: {paths}}}"
        return
    columns = ", ".join(f"{role}: {json.dumps(path, ensure_ascii=False)}" for role, path in guess.columns.items())
    yield f"  {guess.name}: {{paths: {paths}, columns: {{{columns}}}}}"
    for doubt in guess.doubts:
        yield f"  # look at this: {doubt}"


def _languages(reports: list[DatasetCheck]) -> Iterator[str]:
    rows = sum(r.sampled_rows for r in reports if r.languages)
    if not rows:
        yield "  # - {use: language_id, languages: [en], min_score: 0.5}   # after `winnow models fetch`"
        return
    shares: dict[str, float] = {}
    for report in reports:
        for label, share in report.languages.items():
            shares[label] = shares.get(label, 0.0) + share * report.sampled_rows / rows
    most = sorted((label for label in shares if shares[label] >= LEAST), key=lambda label: -shares[label])[:SHOWN]
    seen = ", ".join(f"{label} {shares[label]:.0%}" for label in most)
    yield f"  # - {{use: language_id, languages: [{', '.join(most[:1])}], min_score: 0.5}}   # in a sample: {seen}"


def _scores(guess: Guess) -> Iterator[str]:
    for score in guess.scores[:SHOWN]:
        stage = f"{guess.name}_{score.column}".replace(".", "_")
        model = json.dumps(f"column:{score.column}", ensure_ascii=False)
        yield (
            f"  # - {{use: quality, name: {json.dumps(stage)}, datasets: [{guess.name}], model: {model}, "
            f"min_score: {score.median:g}}}   # values seen: {score.low:g} to {score.high:g}"
        )


def _mix(guesses: list[Guess]) -> Iterator[str]:
    weights = ", ".join(f"{g.name}: 1" for g in guesses)
    yield "# Without a mix section everything that is kept is written once. To draw tokens by weight:"
    yield f"# mix: {{mode: sample, target_tokens: 10B, weights: {{{weights}}}, max_epochs: 2}}"
    others = sorted({name for g in guesses for name in g.others})[:SHOWN]
    if others:
        names = ", ".join(json.dumps(name, ensure_ascii=False) for name in others)
        yield f"# More columns for output.columns: {names}"
    yield "output: {shard_bytes: 512MB, shuffle: global}"
