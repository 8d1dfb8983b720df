"""`python -m benchmarks [NAME …]`: the benchmarks of docs/benchmarks.md, all by default, on small sizes.

Writes results.json and results.md below --out, and with --page the tables of docs/benchmarks.md. Peers are installed
into environments of their own on first use.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import (
    accuracy,
    alike,
    cores,
    dedup,
    inputs,
    machine,
    page,
    recipe,
    scoring,
    signatures,
    sketches,
    startup,
    tables,
)
from benchmarks.environments import PEERS, Environments
from cluster.options import available_cores

TASKS = tuple(name for name, _ in tables.SECTIONS)


def parser() -> argparse.ArgumentParser:
    """Return the command line; sizes are small so that a whole pass takes minutes."""
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    made.add_argument("task", nargs="*", help=f"any of {', '.join(TASKS)}; all by default")
    made.add_argument(
        "--data", type=Path, help="folder of Parquet files with a column text (default: installed packages)"
    )
    made.add_argument("--corpus", type=Path, help="folder of Parquet files with text and id, used as it is for dedup")
    made.add_argument("--megabytes", type=float, default=100, help="text of the benchmarks dedup and recipe")
    made.add_argument("--signature-megabytes", type=float, default=20, help="text of kernels and stages")
    made.add_argument("--caps", type=float, default=0.5, help="scales the text that slow tools get in dedup")
    made.add_argument("--documents", type=int, default=10_000, help="documents of the benchmarks accuracy and sketches")
    made.add_argument("--rounds", type=int, default=2, help="how often each tool has its turn")
    made.add_argument("--only", action="append", default=[], metavar="NAME", help="only this peer or row; repeatable")
    made.add_argument("--env", action="append", default=[], metavar="NAME=PATH", help="use this environment of a peer")
    made.add_argument(
        "--alike-documents", type=int, default=20_000, help="documents of each kind in the benchmark alike"
    )
    made.add_argument("--divided-by", type=int, default=10, help="sizes of tasks in the simulation of cores")
    made.add_argument("--out", type=Path, default=Path("bench-out"))
    made.add_argument("--page", type=Path, help="page whose tables are written, between their marks")
    return made


def given_environments(pairs: list[str]) -> dict[str, Path]:
    """Return the environments of --env; exit with a message when one is not known."""
    found = {}
    for pair in pairs:
        name, _, path = pair.partition("=")
        if name not in PEERS or not (Path(path) / "bin" / "python").exists():
            raise SystemExit(f"--env takes NAME=FOLDER with NAME one of {', '.join(PEERS)}, got {pair!r}")
        found[name] = Path(path).absolute()
    return found


def command(options: argparse.Namespace) -> str:
    """Return the command line as others may repeat it: without where packages, data, results and pages lie.

    Made of the values, not of the words that were given: those may be spelt in many ways.
    """
    shown, given, made = ["python", "-m", "benchmarks", *options.task], vars(options), parser()
    for name in sorted(given.keys() - {"task", "env", "page", "out"}):
        value = given[name]
        if value != made.get_default(name):
            for one in value if isinstance(value, list) else [value]:
                word = "FOLDER" if isinstance(one, Path) else f"{one:.12g}" if isinstance(one, float) else str(one)
                shown += [f"--{name.replace('_', '-')}", word]
    return shlex.join(shown)


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmarks asked for, write results.json and results.md, print the tables."""
    options = parser().parse_args(arguments)
    wrong = set(options.task) - set(TASKS)
    if wrong:
        raise SystemExit(f"no benchmark {', '.join(sorted(wrong))}; there are {', '.join(TASKS)}")
    start = time.perf_counter()
    environments = Environments(options.out / "envs", given_environments(options.env))
    results: dict[str, Any] = {
        "machine": machine.describe(),
        "settings": {
            "command": command(options),
            "source": "given files"
            if options.data or options.corpus
            else "docstrings and documents of installed packages",
        },
    }
    tasks = [task for task in TASKS if not options.task or task in options.task]
    texts = inputs.source(options.data, options.out) if set(tasks) != {"dedup"} or not options.corpus else []
    options.out.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        sys.stderr.write(f"{task} …\n")
        results[task] = measured(task, options, texts, environments)
        results["peers"] = environments.versions
        results["minutes"] = (time.perf_counter() - start) / 60
        (options.out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
        (options.out / "results.md").write_text(tables.markdown(results))
        if options.page:
            page.write(options.page, results)
    sys.stdout.write(tables.markdown(results))


def measured(task: str, options: argparse.Namespace, texts: list[str], environments: Environments) -> dict[str, Any]:
    """Return the results of one benchmark."""
    work = options.out / "work"
    if task == "dedup":
        corpus = options.corpus or inputs.built(texts, options.out, options.megabytes)
        return dedup.benchmark(corpus, work, environments, options.only, options.rounds, options.caps)
    if task == "accuracy":
        return accuracy.benchmark(texts, work, environments, options.only, options.documents)
    if task == "sketches":
        return sketches.benchmark(texts, options.documents)
    if task == "startup":
        return startup.benchmark(texts, work, options.only, options.rounds, available_cores())
    if task == "alike":
        return alike.benchmark(work, options.alike_documents, available_cores())
    # Copy 0 of the text is real language, which filters and identifiers want.
    corpus = inputs.built(texts, options.out, options.signature_megabytes)
    if task == "cores":
        return cores.benchmark(corpus, options.rounds + 1, options.divided_by)
    if task == "recipe":
        whole = inputs.built(texts, options.out, options.megabytes)
        return recipe.benchmark(whole, corpus, work, environments, options.only, options.rounds, options.caps)
    if task == "signatures":
        return signatures.benchmark(corpus, work, environments, options.only, options.rounds)
    benchmarks = {"filters": scoring.filters, "language": scoring.language, "quality": scoring.quality}
    return benchmarks[task](corpus, work, environments, options.rounds)


if __name__ == "__main__":
    main()
