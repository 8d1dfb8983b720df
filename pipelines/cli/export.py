"""Commands for training: export a mix as tokens, trace tokens back to their documents."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cluster.seed import DEFAULT_SEED
from pipelines.cli.app import (
    AsJson,
    BadUsage,
    JsonLog,
    Quiet,
    RunArgument,
    Trust,
    Workers,
    app,
    display,
    say,
    say_json,
    trust_code,
    warn_stale,
)
from pipelines.cli.look import Original


class ExportFormat(StrEnum):
    """Whose files are written."""

    megatron = "megatron"
    nanotron = "nanotron"
    olmo = "olmo"
    mds = "mds"
    litdata = "litdata"
    hf = "hf"


class Pack(StrEnum):
    """How documents fill windows."""

    concat = "concat"
    best_fit = "best_fit"
    none = "none"


class Split(StrEnum):
    """Which documents."""

    train = "train"
    holdout = "holdout"


Tokenizer = Annotated[str, typer.Option(metavar="FILE_OR_ID", help="tokenizer.json, a folder with one, or a Hub id")]
Packing = Annotated[
    Pack,
    typer.Option(
        help="concat: one stream, cut at windows; best_fit: cut only what is longer; none: document by document"
    ),
]
Eod = Annotated[
    str, typer.Option(metavar="TOKEN", help="token that ends a document: one of the tokenizer's, an id, or none")
]
Bos = Annotated[
    str, typer.Option(metavar="TOKEN", help="token that begins a document: one of the tokenizer's, an id, or none")
]
Mix = Annotated[str | None, typer.Option(metavar="NAME", help="one of several mixes of the recipe")]
Dataset = Annotated[str | None, typer.Option(metavar="NAME", help="only the documents of this dataset")]
ShardTokens = Annotated[int | None, typer.Option(min=1, help="tokens to a file (default: the format's)")]


@app.command("export")
def export_mix(
    run_dir: RunArgument,
    format: Annotated[ExportFormat, typer.Option(help="whose files to write")],
    tokenizer: Tokenizer,
    sequence_length: Annotated[int, typer.Option(min=1, help="tokens that a model is trained on at once")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="EXPORT", help="folder to write to")],
    pack: Packing = Pack.concat,
    eod: Eod = "auto",
    bos: Bos = "none",
    pad: Annotated[str, typer.Option(metavar="TOKEN", help="token that fills a window")] = "auto",
    split: Annotated[Split, typer.Option(help="training or held-out documents")] = Split.train,
    mix: Mix = None,
    dataset: Dataset = None,
    seed: Annotated[int, typer.Option(min=0, help="of the order of documents and windows")] = DEFAULT_SEED,
    shard_tokens: ShardTokens = None,
    workers: Workers = None,
    quiet: Quiet = False,
    json_log: JsonLog = False,
    as_json: AsJson = False,
    trust: Trust = False,
) -> None:
    """Tokenise a run's mix into the native files of a training loader."""
    from cluster.startup import keep_freed_memory

    keep_freed_memory()
    trust_code(trust)
    from pipelines.export.export import Wishes, export
    from pipelines.export.view import export_sentence
    from pipelines.staleness import stale_sources

    warn_stale(stale_sources(run_dir))
    wishes = Wishes(
        format=format.value,
        tokenizer=tokenizer,
        sequence_length=sequence_length,
        pack=pack.value,
        eod=eod,
        bos=bos,
        pad=pad,
        split=split.value,
        mix=mix,
        dataset=dataset,
        seed=seed,
        shard_tokens=shard_tokens,
    )
    found = export(run_dir, out, wishes, workers=workers, progress=display(quiet=quiet, json_log=json_log))
    if as_json or json_log:
        say_json(found, indent=not json_log)
    else:
        say(export_sentence(out, found))


@app.command("trace")
def trace_tokens(
    export_dir: Annotated[str, typer.Argument(metavar="EXPORT", help="folder that `winnow export` wrote")],
    sequence: Annotated[int | None, typer.Option(min=0, help="number of a sequence in the files, from 0")] = None,
    step: Annotated[
        int | None, typer.Option(min=0, help="training step, from 0; of Megatron in its shuffled order")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="samples of a step, over all devices")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Megatron's --train-samples (default: one epoch)")] = None,
    seed: Annotated[int, typer.Option(help="Megatron's --seed")] = 1234,
    run_dir: Annotated[str | None, typer.Option("--run", metavar="RUN", help="run folder, where it was moved")] = None,
    trust: Trust = False,
    show_original: Original = False,
    as_json: AsJson = False,
) -> None:
    """Name the documents that a sequence or a training step is made of: where they lie, why they are in, for whom."""
    trust_code(trust)
    if (sequence is None) == (step is None) or (step is None) != (batch_size is None):
        raise BadUsage("give --sequence, or --step with --batch-size.")
    from pipelines.export.trace import trace
    from pipelines.export.view import render_trace

    found = trace(
        export_dir,
        sequence=sequence,
        step=step,
        batch_size=batch_size,
        samples=samples,
        seed=seed,
        run_dir=run_dir,
        trust=trust,
        show_original=show_original,
    )
    if as_json:
        say_json(found)
    else:
        say(render_trace(found))


@app.command("push")
def push_mix(
    run_dir: RunArgument,
    repository: Annotated[str, typer.Argument(metavar="REPO", help="OWNER/NAME on the Hub; made if missing, private")],
    mix: Mix = None,
    ledger: Annotated[bool, typer.Option(help="upload the ledger too, which names the input files")] = True,
    public: Annotated[bool, typer.Option("--public", help="make a new repository public")] = False,
    quiet: Quiet = False,
    trust: Trust = False,
) -> None:
    """Upload a run's mix, card and ledger to the Hub, with the token in HF_TOKEN; the same command goes on."""
    trust_code(trust)
    from pipelines.commands.push import push

    def tell(sentence: str) -> None:
        if not quiet:
            say(sentence)

    found = push(run_dir, repository, mix=mix, ledger=ledger, public=public, say=tell)
    say(
        f"{found.sent:,} files sent, {found.there:,} were there, {found.removed:,} removed, "
        f"in {found.commits:,} commits: {repository}"
    )
