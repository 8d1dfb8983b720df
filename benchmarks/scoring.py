"""Text per second and core of what judges each document: heuristic filters, language and quality models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from benchmarks.environments import Environments, Unavailable
from benchmarks.measure import Failed, run
from benchmarks.signatures import SAMPLES, last_line, row
from benchmarks.tools import FILTERS, LANGUAGE, QUALITY, Tool

MODEL = "fasttext:lid.176.ftz"
ANSWERING = ("language", "quality")  # tasks whose answers are compared


def filters(corpus: Path, work: Path, environments: Environments, rounds: int) -> dict[str, Any]:
    """Measure the rules of Gopher and FineWeb: winnow measures all of them, datatrove stops at the first broken."""
    return _benchmark(FILTERS, "filters", corpus, work, environments, rounds, [])


def language(corpus: Path, work: Path, environments: Environments, rounds: int) -> dict[str, Any]:
    """Measure language identification with the published lid.176.ftz, if it has been fetched."""
    path = lid_model()
    if path is None:
        return {"rows": [], "missing": {"language": f"{MODEL} is not there: winnow models fetch"}}
    return _benchmark(LANGUAGE, "language", corpus, work, environments, rounds, ["--model", path])


def lid_model() -> str | None:
    """Return the path of the published lid.176.ftz; None if it has not been fetched."""
    from classifiers import models
    from cluster.errors import RecipeError

    try:
        return models.resolve(MODEL)
    except RecipeError:
        return None


def quality(corpus: Path, work: Path, environments: Environments, rounds: int) -> dict[str, Any]:
    """Measure a quality model of DCLM's shape: words and their pairs, 2 million buckets, 100 dimensions, two labels."""
    path = quality_model(corpus, work)
    return _benchmark(QUALITY, "quality", corpus, work, environments, rounds, ["--model", str(path)])


def quality_model(corpus: Path, work: Path, **parameters: int) -> Path:
    """Train a model that tells every other document from the rest: its size and words matter here, not its verdicts."""
    from classifiers.train import MOST_BUCKETS
    from pipelines.commands.classifier import train

    work.mkdir(parents=True, exist_ok=True)
    texts = pads.dataset(corpus, format="parquet").to_table(columns=["text"])
    sides = [work / f"quality-{name}.parquet" for name in ("positive", "negative")]
    for side, path in enumerate(sides):
        pq.write_table(texts.take(pa.array(range(side, len(texts), 2))), path)
    chosen = {"epoch": 5, "bucket": MOST_BUCKETS, "holdout": 0, **parameters}
    return Path(train(sides[0], sides[1], work / "quality.bin", **chosen).path)


def _benchmark(
    tools: tuple[Tool, ...],
    task: str,
    corpus: Path,
    work: Path,
    environments: Environments,
    rounds: int,
    more: list[str],
) -> dict[str, Any]:
    work.mkdir(parents=True, exist_ok=True)
    timings: dict[str, list[dict[str, Any]]] = {}
    missing: dict[str, str] = {}
    answers = {tool.key: work / f"{task}-{tool.key}.parquet" for tool in tools}
    for _ in range(rounds):
        for tool in tools:
            arguments = ["--input", str(corpus), "--megabytes", str(tool.cap), *more]
            arguments += ["--repetitions", str(1 if tool.cap else SAMPLES)]
            arguments += ["--answers", str(answers[tool.key])] if task in ANSWERING else []
            log = work / f"{task}-{tool.key}.log"
            try:
                run(tool.command(environments, task, *arguments), log)
            except (Unavailable, Failed) as error:
                missing[tool.key] = str(error)
                continue
            timings.setdefault(tool.key, []).append(last_line(log))
    rows = [row(tool, timings[tool.key]) for tool in tools if tool.key in timings]
    ours = next((found for found in rows if found["tool"] == "winnow"), None)
    for found in rows if ours else []:
        assert ours is not None
        found["winnow_times"] = ours["rate"]["median"] / found["rate"]["median"]
        found["winnow_times_cpu"] = ours["cpu_rate"]["median"] / found["cpu_rate"]["median"]
        if task in ANSWERING and found is not ours:
            found["agreement"] = agreement(answers["winnow"], answers[found["key"]])
    return {"rows": rows, "missing": missing}


def agreement(ours: Path, theirs: Path) -> dict[str, float]:
    """Return the share of equal labels and the largest difference of scores; winnow clips scores to 1."""
    one, other = pq.read_table(ours), pq.read_table(theirs)
    same = np.array(one["label"].to_pylist()) == np.array(other["label"].to_pylist())
    scores = [np.nan_to_num(table["score"].to_numpy()) for table in (one, other)]
    return {"labels": float(same.mean()), "score": float(np.abs(scores[0] - np.minimum(scores[1], 1)).max())}
