"""Small runs of a whole recipe, and a slow oracle that says how each of their documents must fare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from stages.kernels.hashes.hashing import buffers, content_hash
from stages.kernels.similarity.bands import band_keys
from stages.minhash import MinHash
from tests.support import oracles

WIDTH = 8


NEAR = {"use": "near_dedup", "jaccard_threshold": 0.7, "bands": 32, "rows_per_band": 4}


STAGES: list[dict[str, Any]] = [
    {"use": "exact_dedup"},
    {"use": "minhash", "shingle_width": WIDTH},
    NEAR,
    {"use": "quality", "model": "column:score", "min_score": 0.3},
]


def recipe_of(paths: dict[str, str], stages: list[dict[str, Any]] = STAGES, **more: Any) -> Any:
    columns = {"text": "text", "id": "id", "url": "url"}
    datasets = {name: {"paths": path, "columns": columns} for name, path in sorted(paths.items())}
    data = {"name": "test", "seed": 5, "datasets": datasets, "stages": stages, "cluster": {"kind": "inline"}}
    return load_data({**data, **more}, "test")


def run(root: Path, paths: dict[str, str], stages: list[dict[str, Any]] = STAGES, **more: Any) -> pa.Table:
    recipe = recipe_of(paths, stages, **more)
    runner.run(recipe, str(root), with_report=False)
    return read_ledger(root)


def read_ledger(root: Path) -> pa.Table:
    files = sorted((root / "ledger").glob("*.parquet"), key=lambda p: int(p.stem))
    return pa.concat_tables([pq.read_table(f) for f in files])


def mix(root: Path) -> list[tuple[Any, ...]]:
    names = ["source", "text", "id", "url"]
    table = pads.dataset([str(p) for p in sorted(root.glob("mix/*/part-*.parquet"))]).to_table(columns=names)
    return sorted(map(tuple, (row.values() for row in table.to_pylist())), key=repr)


def hashes(texts: list[str]) -> list[tuple[int, int]]:
    h1, h2 = content_hash(*buffers(pa.array(texts, pa.large_string())))
    return list(zip(h1.tolist(), h2.tolist(), strict=True))


def expected(
    documents: list[dict[str, Any]], within: dict[int, tuple[str, int]], stages: list[dict[str, Any]]
) -> dict[int, tuple[str | None, int | None]]:
    """Return (stage, representative) per document; documents are numbered as in the list."""
    options = {s["use"]: s for s in stages}
    fate: dict[int, tuple[str | None, int | None]] = {}
    for n, d in enumerate(documents):
        usable = d["text"] is not None and d["text"].strip() != ""
        fate[n] = (None, None) if usable else ("read", None)
    live = [n for n in fate if fate[n][0] is None]
    priority = sorted({d["dataset"] for d in documents})
    digests = dict(zip(live, hashes([documents[n]["text"] for n in live]), strict=True))

    def key(n: int) -> tuple[object, ...]:
        d = documents[n]
        return oracles.order_key(priority.index(d["dataset"]), [], *digests[n], d["id"], d["url"], *within[n])

    live.sort(key=key)
    passes = {n: documents[n]["score"] >= options["quality"]["min_score"] for n in live}
    for use in ("exact_dedup", "near_dedup"):
        if use not in options:
            continue
        option = options[use]
        eligible = [passes[n] or option.get("orphans") == "allow" for n in live]
        if use == "exact_dedup":
            groups: dict[str, list[int]] = {}
            for i, n in enumerate(live):
                groups.setdefault(documents[n]["text"], []).append(i)
            buckets, tries = list(groups.values()), 0
            similar = lambda a, b: True  # noqa: E731
        else:
            buckets, tries = lsh_buckets([documents[n]["text"] for n in live]), option.get("further_tries", 3)
            sets = [oracles.shingle_set(documents[n]["text"], WIDTH) for n in live]
            similar = lambda a, b: oracles.jaccard(sets[a], sets[b]) >= option["jaccard_threshold"]  # noqa: E731, B023
        lost = oracles.representatives(
            buckets,
            [priority.index(documents[n]["dataset"]) for n in live],
            [documents[n]["dataset"] in option.get("protect", []) for n in live],
            eligible,
            option.get("within_dataset") == "keep_all",
            tries,
            similar,
        )
        for i, winner in enumerate(lost):
            if winner is not None:
                fate[live[i]] = (use, live[winner])
        live = [n for n in live if fate[n][0] is None]
    for n in live:
        if not passes[n]:
            fate[n] = ("quality", None)
    return fate


def lsh_buckets(texts: list[str]) -> list[list[int]]:
    signatures = MinHash(shingle_width=WIDTH).signatures(pa.array(texts, pa.large_string()))
    buckets: dict[int, list[int]] = {}
    for n, keys in enumerate(band_keys(signatures, NEAR["bands"], NEAR["rows_per_band"], 0, NEAR["bands"])):  # type: ignore[arg-type]
        for key in keys.tolist():
            buckets.setdefault(key, []).append(n)
    return [members for members in buckets.values() if len(members) > 1]
