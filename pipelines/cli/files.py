"""Commands that need no recipe: init, dedup, minhash, models, classifier."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.seed import DEFAULT_SEED
from pipelines.cli.app import (
    BadUsage,
    JsonLog,
    Quiet,
    Workers,
    app,
    compile_kernels,
    display,
    passing_display,
    say,
    say_json,
)
from pipelines.shown_text import visible

if TYPE_CHECKING:
    from classifiers.classes import TrainedClasses
    from classifiers.train import Trained

models_app = typer.Typer(help="List and fetch model files.", no_args_is_help=True)
classifier_app = typer.Typer(help="Train, evaluate and apply quality classifiers.", no_args_is_help=True)
app.add_typer(models_app, name="models")
app.add_typer(classifier_app, name="classifier")

Files = Annotated[list[str], typer.Argument(metavar="PATH...", help="files, folders or globs")]
TextColumn = Annotated[str, typer.Option("--text-column", help="column of the text")]
PositiveLabel = Annotated[
    str, typer.Option(metavar="LABEL", help="label whose probability is the score (default: the one named hq, high …)")
]
Sketch = Annotated[
    str,
    typer.Option(metavar="permutations|oph", help="cuDF's bits, or one-permutation hashing: one hash a shingle"),
]
IdColumn = Annotated[str, typer.Option(help="column of the id")]


@app.command("init")
def first_recipe(
    paths: Files,
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="recipe to write; - prints it")] = "mix.yaml",
    name: Annotated[str, typer.Option(help="name of the mix")] = "mix",
) -> None:
    """Write a first recipe from the files that are there: formats, columns, presets, languages, scores."""
    from pipelines.commands import first_recipe as page

    text, doubts = page.first_recipe(paths, name)
    if out == "-":
        print(text, end="")
    else:
        page.write_recipe(out, text)
    for doubt in doubts:
        print(visible(f"look at: {doubt}"), file=sys.stderr)
    if out != "-":
        say(f"{out} written. Next: winnow check {out}; winnow run {out} --run-dir RUN --limit 10000")


@app.command("dedup")
def dedup_files(
    paths: Files,
    out: Annotated[str, typer.Option("--out", "-o", metavar="OUT", help="folder to write to")],
    jaccard_threshold: Annotated[float, typer.Option(min=0.0, max=1.0, help="similarity of duplicates")] = 0.8,
    shingle_width: Annotated[int, typer.Option(min=2, help="characters in a shingle")] = 24,
    sketch: Sketch = "oph",
    text_column: TextColumn = "text",
    id_column: IdColumn = "id",
    workers: Workers = None,
    quiet: Quiet = False,
    json_log: JsonLog = False,
) -> None:
    """Remove near duplicates from one dataset: the longer text stays, every input column is kept."""
    from cluster.startup import keep_freed_memory, not_installed

    keep_freed_memory()
    from pipelines.commands.dedup import dedup

    compile_kernels(["near_dedup"], "threads", quiet=quiet or json_log)
    with not_installed("pandas"):  # pyarrow would load it to tell arrays from series, of which there are none
        found = dedup(
            paths,
            out,
            jaccard_threshold=jaccard_threshold,
            shingle_width=shingle_width,
            sketch=sketch,
            text_column=text_column,
            id_column=id_column,
            workers=workers,
            progress=display(quiet=quiet, json_log=json_log),
        )
    for line in found.get("passed_over", []):
        say(line)
    say(f"{found['rows']:,} documents in, {found['kept']:,} kept, {found['dropped']:,} dropped: {out}")


@app.command("minhash")
def minhash_files(
    path: Annotated[str, typer.Argument(metavar="PATH", help="file, folder or glob")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="OUT", help="folder to write to")],
    shingle_width: Annotated[int, typer.Option(min=2, help="characters in a shingle")] = 24,
    num_permutations: Annotated[int, typer.Option(min=1, help="slots of a signature")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="seed of NeMo's parameters")] = DEFAULT_SEED,
    hash_seed: Annotated[int | None, typer.Option(min=0, help="Murmur seed, with --a and --b")] = None,
    hash_bits: Annotated[int, typer.Option(help="32 or 64")] = 32,
    sketch: Sketch = "permutations",
    a: Annotated[str, typer.Option(help="multipliers, comma-separated")] = "",
    b: Annotated[str, typer.Option(help="addends, comma-separated")] = "",
    text_column: TextColumn = "text",
    id_column: IdColumn = "id",
) -> None:
    """Write MinHash signatures (the bits of cuDF) for other tools."""
    from pipelines.commands.minhash import minhash

    with passing_display().step("minhash"):
        total, without = minhash(
            path,
            out,
            shingle_width=shingle_width,
            num_permutations=num_permutations,
            seed=seed,
            hash_seed=hash_seed,
            hash_bits=hash_bits,
            sketch=sketch,
            a=_numbers("--a", a),
            b=_numbers("--b", b),
            text_column=text_column,
            id_column=id_column,
        )
    rest = f"; {without:,} documents have none, their text is null or cannot be read" if without else ""
    say(f"{total - without:,} signatures written to {out}{rest}")


def _numbers(flag: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise BadUsage(f"{flag} must be whole numbers separated by commas, got {text!r}.") from None


@models_app.command("list")
def models_list() -> None:
    """List published models and those in the models folder."""
    from classifiers.models import list_models

    for model in list_models():
        where = model.path or "not fetched"
        say(f"{model.name}  {model.bytes:,} bytes  {model.licence or 'licence unknown'}  {where}")


@models_app.command("fetch")
def models_fetch(name: Annotated[str, typer.Argument(help="published model")] = "lid.176.ftz") -> None:
    """Fetch a published model, check its digest and state its licence."""
    from classifiers.models import PUBLISHED, fetch, file_digest

    path = fetch(name)
    model = PUBLISHED[name]
    say(f"{path}  sha256 {file_digest(str(path))}  licence {model.licence}  {model.source}")


@classifier_app.command("train")
def classifier_train(
    out: Annotated[str, typer.Option("--out", "-o", metavar="MODEL.bin", help="model to write")],
    positive: Annotated[list[str] | None, typer.Option(help="files of texts to keep")] = None,
    negative: Annotated[list[str] | None, typer.Option(help="files of texts to drop")] = None,
    data: Annotated[list[str] | None, typer.Option(help="files of texts with a label or a score each")] = None,
    label_column: Annotated[str, typer.Option(help="column of the label: a model of several labels")] = "",
    score_column: Annotated[str, typer.Option(help="column of the score: a model whose score is such a number")] = "",
    bins: Annotated[int, typer.Option(min=2, help="classes that scores with fractions are put into")] = 10,
    column: TextColumn = "text",
    seed: Annotated[int, typer.Option(min=0)] = DEFAULT_SEED,
    autotune: Annotated[int, typer.Option(min=0, help="trials of other learning rates, epochs and n-grams")] = 0,
) -> None:
    """Train a fastText classifier: of two sides (DCLM's way), of labels, or of a number; writes model and card."""
    from pipelines.commands import classifier

    more: dict[str, Any] = {"column": column, "seed": seed, "autotune": autotune}
    if positive and negative and not (data or label_column or score_column):
        _say_sides(classifier.train(positive, negative, out, **more))
    elif data and bool(label_column) != bool(score_column) and not (positive or negative):
        if label_column:
            _say_classes(classifier.train_labels(data, out, label_column=label_column, **more))
        else:
            _say_classes(classifier.train_scores(data, out, score_column=score_column, bins=bins, **more))
    else:
        raise BadUsage("give --positive and --negative, or --data with either --label-column or --score-column.")


def _say_sides(trained: Trained) -> None:
    trained_on, held_out = (dict(sorted(c.items())) for c in (trained.counts.trained, trained.counts.held_out))
    say(f"{trained.path}: {trained_on} trained, {held_out} held out")
    if trained.evaluation:
        at = trained.evaluation.at
        say(
            f"held out: AUC {trained.evaluation.auc:.3f}, "
            f"at {at.threshold:g} precision {at.precision:.3f}, recall {at.recall:.3f}"
        )
    say(f"card: {trained.card}")


def _say_classes(trained: TrainedClasses) -> None:
    counts = trained.counts
    say(f"{trained.path}: {sum(counts.trained.values()):,} texts of {len(counts.trained)} labels trained")
    if trained.results:
        found = trained.results
        error = "" if found.error is None else f", mean absolute error {found.error:.3f}"
        say(f"held out, {found.texts:,} texts: accuracy {found.accuracy:.3f}, macro F1 {found.macro_f1:.3f}{error}")
    say(f"card: {trained.card}")


@classifier_app.command("evaluate")
def classifier_evaluate(
    model: Annotated[str, typer.Argument(help="model file, or a spec such as hf:PATH")],
    positive: Annotated[list[str], typer.Option(help="files of texts to keep")],
    negative: Annotated[list[str], typer.Option(help="files of texts to drop")],
    column: TextColumn = "text",
    threshold: Annotated[float, typer.Option(help="score from which a text is kept")] = 0.5,
    positive_label: PositiveLabel = "",
    plot: Annotated[str, typer.Option(metavar="FILE.svg", help="picture of the threshold table to write")] = "",
) -> None:
    """Measure a classifier on labelled files: precision, recall, F1, AUC, calibration, thresholds."""
    from classifiers import evaluation
    from cluster import storage
    from pipelines.commands.classifier import evaluate

    found = evaluate(model, positive, negative, column=column, threshold=threshold, positive_label=positive_label)
    if plot:
        storage.write_bytes(plot, evaluation.plot(found, model).encode())
    say_json(found.as_dict())


@classifier_app.command("score")
def classifier_score(
    model: Annotated[str, typer.Argument(help="model file, or a spec such as hf:PATH")],
    paths: Files,
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE.parquet", help="Parquet file to write")],
    column: TextColumn = "text",
    positive_label: PositiveLabel = "",
) -> None:
    """Score the texts of files; writes path, row, score and label."""
    from pipelines.commands.score import score_files

    say(f"{score_files(model, paths, out, column, positive_label):,} texts scored: {out}")
