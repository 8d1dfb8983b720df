"""A finished run with every kind of record, damaged file by file, and what each command that reads it says then.

Run as a module it takes lines of JSON, a case each, damages a copy of the folder for it and prints what came of every
command: in a process of its own, so that a segmentation fault is seen.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import random
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.recipe.marked_yaml import dump_yaml
from tests.support import corpora

DAMAGES = ("removed", "empty", "cut", "flipped", "replaced", "forged")
OTHER_JSON = (
    b"{}",
    b"[]",
    b'"text"',
    b"7",
    b'{"data": {}, "checksum": "0"}',
    b'{"files": 3, "datasets": [1]}',
    b"null",
)
SMALL = re.compile(r"^$|manifest|lock|options|inputs|types|made-by|score_cut")  # what a plan reads of a run

STAGES: list[dict[str, Any]] = [
    {"use": "exact_dedup"},
    {"use": "minhash", "shingle_width": 8, "num_permutations": 32},
    {"use": "near_dedup", "jaccard_threshold": 0.7, "bands": 8, "rows_per_band": 4},
    {"use": "semantic_dedup", "model": "column:vector"},
    {"use": "line_dedup"},
    {"use": "pii", "redact_columns": ["url"]},
    {"use": "quality", "name": "hq", "model": "column:score", "min_score": 0.2},
    {"use": "score_cut", "of": "hq", "min_quantile": 0.1},
]
CELLS = [
    {"name": "best", "where": {"hq.score": {"min_quantile": 0.8}}, "weight": 3},
    {"name": "rest", "tokens": 500, "upsample": {"by": "group_size", "table": {1: 1, 2: 2, 3: 3}}},
]


def recipe_of(folder: Path) -> dict[str, Any]:
    """Return a recipe of many stages, named mixes, quarantine and dropped documents, as plain data."""
    columns = {"text": "text", "id": "id", "url": "url"}
    stages = [
        *STAGES[:4],
        {"use": "decontaminate", "benchmarks": [f"toy={folder / 'items.jsonl'}"], "ngram": 8, "common_share": 0.01},
        {"use": "attributes", "files": [str(folder / "attributes.jsonl")], "fields": ["words=words"]},
        *STAGES[4:],
    ]
    return {
        "name": "damaged",
        "seed": 5,
        "datasets": {name: {"paths": str(folder / "in" / name), "columns": columns} for name in "ab"},
        "on_error": "quarantine",
        "stages": stages,
        "mix": {"mode": "sample", "max_epochs": 4, "cells": CELLS},
        "mixes": {"stable": {"target_tokens": 2000}, "anneal": {"target_tokens": 1500, "exclude": ["stable"]}},
        "output": {
            "columns": ["fact:hq.score"],
            "shuffle": "global",
            "shard_bytes": 20_000,
            "holdout": {"share": 0.2, "by": "group"},
            "dropped": True,
        },
        "cluster": {"kind": "inline"},
    }


def write_inputs(folder: Path) -> None:
    """Write two datasets, one of them compressed with lines that cannot be read, a benchmark and attributes."""
    draw = random.Random(3)
    found = [d for d in corpora.corpus(11, 90) if d["dataset"] in "ab"]
    common = corpora.text(draw, 12)
    for number, document in enumerate(found):
        document["vector"] = [draw.random() - 0.5 for _ in range(4)]
        if number % 3 == 0 and document["text"]:
            document["text"] += f"\n{common}\nwrite to me{number}@mail.example today"
    (folder / "in" / "a").mkdir(parents=True)
    (folder / "in" / "b").mkdir()
    for dataset in "ab":
        rows = [{k: v for k, v in d.items() if k != "dataset"} for d in found if d["dataset"] == dataset]
        for part in range(2):
            path = folder / "in" / dataset / f"part-{part}"
            if dataset == "a":
                pq.write_table(pa.Table.from_pylist(rows[part::2]), f"{path}.parquet")
            else:
                lines = [json.dumps(row) for row in rows[part::2]]
                lines.insert(3, '{"text": "half')
                Path(f"{path}.jsonl.gz").write_bytes(gzip.compress("\n".join([*lines, ""]).encode(), mtime=0))
    (folder / "more").mkdir()
    new = [{**d, "id": f"new-{d['id']}", "text": f"{d['text']} more"} for d in found[:8] if d["text"]]
    rows = [{k: v for k, v in d.items() if k != "dataset"} for d in (*new, *found[8:16])]
    (folder / "more" / "part-0.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "items.jsonl").write_text(json.dumps({"text": f"{common} and more"}) + "\n")
    names = [d["id"] for d in found if int(d["id"][3:]) % 5]
    (folder / "attributes.jsonl").write_text("".join(json.dumps({"id": n, "words": 7.0}) + "\n" for n in names))


def grown_recipe(folder: Path) -> dict[str, Any]:
    """Return the recipe with files added to a dataset, so that what deduplication kept of its keys is read."""
    data = recipe_of(folder)
    data["datasets"]["b"]["paths"] = [str(folder / "in" / "b"), str(folder / "more")]
    return data


def make(folder: Path) -> None:
    """Make the run, a copy to compare with, exports of a mix, and a run of `winnow dedup`, all in `folder`."""
    from tests.support.exports import tokenizer

    write_inputs(folder)
    (folder / "recipe.yaml").write_text(dump_yaml(recipe_of(folder)))
    (folder / "grown.yaml").write_text(dump_yaml(grown_recipe(folder)))
    tokenizer(folder)
    for arguments in (
        ["run", str(folder / "recipe.yaml"), "--run-dir", str(folder / "run"), "--quiet"],
        ["audit", str(folder / "run"), "--pairs", "20", "--json"],
        ["dedup", str(folder / "in" / "a"), "--out", str(folder / "dedup"), "--quiet", "--workers", "1"],
        *(export_of(folder, folder / "run", folder / f"export-{kind}", kind) for kind in ("megatron", "hf")),
    ):
        code, _, said = called(arguments)
        assert code == 0, (arguments, said)
    shutil.copytree(folder / "run", folder / "other", symlinks=True)


def export_of(folder: Path, run: Path, out: Path, kind: str) -> list[str]:
    """Return the command that exports a mix."""
    flags = ["--tokenizer", str(folder / "tokenizer-0.json"), "--sequence-length", "64", "--shard-tokens", "4096"]
    return ["export", str(run), "--format", kind, *flags, "--mix", "stable", "--out", str(out), "--quiet"]


def files_of(root: Path) -> list[str]:
    """Return every file below a folder but its lock and the page for people, which nothing reads."""
    found = (str(path.relative_to(root)) for path in sorted(root.rglob("*")) if path.is_file())
    return [name for name in found if name not in (".lock", "report.html")]


def kind_of(name: str) -> str:
    """Return a path without what differs among files of one kind: digests, numbers, datasets."""
    parts = []
    for part in name.split("/"):
        stem, dot, ending = part.partition(".")
        plain = re.sub(r"[0-9]+", "#", re.sub(r"(?=[a-f]*[0-9])[0-9a-f]{12,}", "*", stem))
        parts.append(("#" if plain in ("a", "b") else plain) + dot + ending)
    return "/".join(parts)


def damage(path: Path, how: str, draw: random.Random) -> None:
    """Damage a file; a hard link's other names keep what they hold."""
    data = bytearray(path.read_bytes())
    path.unlink()
    if how == "removed":
        return
    if how == "flipped":
        if not data:
            data = bytearray(b"\x01")
        else:
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif how == "cut":
        del data[len(data) // 2 :]
    elif how == "empty":
        del data[:]
    elif how == "replaced":
        data = bytearray(replacement(path, bytes(data), draw))
    elif how == "forged":
        data = bytearray(without_one(path, bytes(data), draw))
    path.write_bytes(bytes(data))


def replacement(path: Path, data: bytes, draw: random.Random) -> bytes:
    """Return another valid file of the same format: JSON, Parquet, Arrow, YAML, or text."""
    table = pa.table({"n": [1, 2, 3]})
    sink = io.BytesIO()
    if data.startswith(b"PAR1"):
        pq.write_table(table, sink)
    elif data.startswith(b"ARROW1"):
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    elif path.name.endswith(".yaml"):
        sink.write(draw.choice([b"{}\n", b"[1, 2]\n", b"name: other\n", b"stages: 7\n"]))
    else:
        sink.write(draw.choice(OTHER_JSON))
    return sink.getvalue()


def without_one(path: Path, data: bytes, draw: random.Random) -> bytes:
    """Return JSON with one value changed or one key less, its checksum as a forger would write it; else the file."""
    from cluster.files.sealed import _mark

    try:
        found = json.loads(data)
    except ValueError:
        return replacement(path, data, draw)
    wrapped = isinstance(found, dict) and found.keys() == {"checksum", "data"}
    inner = found["data"] if wrapped else found
    if isinstance(inner, dict):
        inner.pop("checksum", None)
    change(inner, draw)
    if wrapped:
        return json.dumps({"checksum": _mark(inner), "data": inner}).encode()
    return json.dumps({**inner, "checksum": _mark(inner)} if isinstance(inner, dict) else inner).encode()


def change(value: Any, draw: random.Random) -> None:
    """Take a key out of plain data, at any depth, or put another kind of value in its place."""
    places: list[tuple[Any, Any]] = []

    def walk(here: Any) -> None:
        for key in here if isinstance(here, dict) else range(len(here)) if isinstance(here, list) else ():
            places.append((here, key))
            walk(here[key])

    walk(value)
    if not places:
        return
    holder, key = draw.choice(places)
    if draw.random() < 0.5 and isinstance(holder, dict):
        del holder[key]
    else:
        holder[key] = draw.choice([None, [], {}, "x", -1, 1e300, [[1]], {"a": {"b": 1}}, True])


def called(arguments: list[str]) -> tuple[int | str, str, str]:
    """Run the command line; return exit code (what was raised, where it was a traceback), output and errors."""
    import warnings

    from pipelines.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            code: int | str = main(arguments)
        except BaseException as error:
            import traceback

            own = [f for f in traceback.extract_tb(error.__traceback__) if "site-packages" not in f.filename]
            code = f"{type(error).__name__}: {error} at " + " < ".join(
                f"{os.path.basename(f.filename)}:{f.lineno}" for f in reversed(own[-4:])
            )
    return code, out.getvalue(), err.getvalue()


def reading(folder: Path, root: Path, work: Path) -> dict[str, list[str]]:
    """Return the commands that read a run folder and change nothing of it, by name."""
    return {
        "status": ["status", str(root), "--json"],
        "explain": ["explain", str(root), "--id", "id-3", "--json"],
        "facts": ["facts", str(root), "hq", "--out", str(work / "facts.parquet")],
        "facts of a decision": ["facts", str(root), "near_dedup", "--out", str(work / "near.parquet")],
        "audit": ["audit", str(root), "--json", "--pairs", "20"],
        "diff": ["diff", str(folder / "other"), str(root), "--json", "--out", str(work / "diff.parquet")],
        "diff back": ["diff", str(root), str(folder / "other"), "--json"],
        "plan": ["plan", str(root / "recipe.lock.yaml"), "--run-dir", str(root), "--json"],
        "clean": ["clean", str(root), "--dry-run"],
        "export": export_of(folder, root, work / "export", "hf"),
        "push": ["push", str(root), "me/mix", "--mix", "stable", "--quiet"],
    }


def result(root: Path) -> dict[str, str]:
    """Return the digest of every file of ledger, mixes and dropped documents that was written for others."""
    found = {}
    for place in ("ledger", "mix", "mixes", "dropped"):
        for path in sorted((root / place).rglob("*")):
            if path.is_file() and path.suffix != ".md" and not path.name.startswith("."):
                found[str(path.relative_to(root))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def written(work: Path) -> dict[str, str]:
    """Return the digest of every file that reading commands wrote, but for where they lay."""
    found = {}
    for path in sorted(work.rglob("*")):
        if path.is_file() and path.name not in ("run.json", ".lock"):
            found[str(path.relative_to(work))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def linked(source: Path, target: Path) -> Path:
    """Copy a folder by hard links; commands replace files, so the source keeps its own."""
    made = Path(shutil.copytree(source, target, copy_function=os.link))
    (made / ".lock").unlink(missing_ok=True)  # no lock has two names
    return made


def damaged_copy(source: Path, target: Path, case: dict[str, Any]) -> Path:
    """Return a copy of a folder with the damage of a case."""
    root = linked(source, target)
    if "path" in case:
        damage(root / case["path"], case["how"], random.Random(repr(sorted(case.items()))))
    return root


def answers_of_readers(folder: Path, case: dict[str, Any], work: Path) -> Iterator[tuple[str, Any]]:
    """Yield what each command that reads says about a damaged run folder, and what they wrote."""
    root = damaged_copy(folder / "run", work / "run", case)
    out = work / "out"
    out.mkdir()
    for name, arguments in reading(folder, root, out).items():
        if name != "plan" or SMALL.search(case.get("path", "")):  # where it has to sample it takes seconds
            yield name, called(arguments)
    yield "wrote", written(out)
    yield "trace", called(["trace", str(folder / "export-hf"), "--sequence", "0", "--run", str(root), "--json"])
    yield "verify", called(["verify", str(root)])
    yield "report", called(["report", str(root)])
    yield "report.json", json.loads((root / "report.json").read_text()) if (root / "report.json").exists() else None


def answers_of_run(folder: Path, case: dict[str, Any], work: Path) -> Iterator[tuple[str, Any]]:
    """Yield what a run says about a damaged run folder, what it makes of it, and what is said of that."""
    root = damaged_copy(folder / "run", work / "run", case)
    yield "run", called(["run", str(folder / "recipe.yaml"), "--run-dir", str(root), "--quiet"])
    yield "result", result(root)
    yield "verified", called(["verify", str(root)])


def answers_of_grown(folder: Path, case: dict[str, Any], work: Path) -> Iterator[tuple[str, Any]]:
    """Yield what a run with a file more says about a damaged run folder, and what it makes of it."""
    root = damaged_copy(folder / "run", work / "run", case)
    yield "grown", called(["run", str(folder / "grown.yaml"), "--run-dir", str(root), "--quiet"])
    yield "result", result(root)
    yield "verified", called(["verify", str(root)])


def answers_of_export(folder: Path, case: dict[str, Any], work: Path) -> Iterator[tuple[str, Any]]:
    """Yield what each command says about a damaged export, and what exporting again makes of it."""
    kind = case.get("kind", "hf")
    root = damaged_copy(folder / f"export-{kind}", work / "export", case)
    yield "trace", called(["trace", str(root), "--sequence", "1", "--json"])
    yield "trace of a step", called(["trace", str(root), "--step", "0", "--batch-size", "2", "--json"])
    yield "verify", called(["verify", str(root)])
    yield "export", called(export_of(folder, folder / "run", root, kind))
    yield "result", written(root)
    yield "verified", called(["verify", str(root)])


def answers_of_dedup(folder: Path, case: dict[str, Any], work: Path) -> Iterator[tuple[str, Any]]:
    """Yield what each command says about a damaged folder of `winnow dedup`, and what the command makes of it."""
    root = damaged_copy(folder / "dedup", work / "dedup", case)
    again = ["dedup", str(folder / "in" / "a"), "--out", str(root), "--quiet", "--workers", "1"]
    yield "verify", called(["verify", str(root)])
    yield "dedup", called(again)
    yield "result", written(root)
    yield "verified", called(["verify", str(root)])


ANSWERS: dict[str, Callable[[Path, dict[str, Any], Path], Iterator[tuple[str, Any]]]] = {
    "readers": answers_of_readers,
    "run": answers_of_run,
    "grown": answers_of_grown,
    "export": answers_of_export,
    "dedup": answers_of_dedup,
}


def serve(folder: Path, work: Path) -> None:
    """Answer the cases on standard input, a line each: {"of": a key of ANSWERS, "path": …, "how": …, "seed": …}."""
    from huggingface_hub import constants

    from tests.support.hub import TOKEN, hub

    constants.HF_HUB_DISABLE_XET = True
    os.environ["HF_TOKEN"] = TOKEN
    for number, line in enumerate(sys.stdin):
        case = json.loads(line)
        about = {name: value for name, value in case.items() if name != "of"}
        place = work / str(number)
        place.mkdir()
        print(json.dumps({"begin": case}), flush=True)
        with hub() as there:
            os.environ["HF_ENDPOINT"] = constants.ENDPOINT = there.address
            found = dict(ANSWERS[case["of"]](folder, about, place))
        found["pushed"] = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(there.files.items())}
        text = json.dumps({"case": case, "found": found}, default=str).replace(str(place), "WORK")
        print(text, flush=True)
        shutil.rmtree(place)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]))
