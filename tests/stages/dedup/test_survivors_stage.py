"""The stage, from files to ledger, decides as plain Python does: every subset of four datasets, mode and options."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from stages.kernels.similarity.jaccard import estimate
from stages.kernels.similarity.minhash import slots8
from stages.minhash import MinHash
from tests.support import corpora, oracles
from tests.support.small_runs import WIDTH, hashes, lsh_buckets, read_ledger

NAMES = ("a", "b", "c", "d")
SUBSETS = [s for n in range(1, 5) for s in itertools.combinations(NAMES, n)]
BANDS = {"bands": 32, "rows_per_band": 4}  # those of lsh_buckets
CHOICES: dict[str, list[Any]] = {
    "within_dataset": ["keep_one", "keep_all"],
    "protect": [[], ["b"], ["c", "d"]],
    "orphans": ["promote", "allow"],
    "further_tries": [0, 1, 3],
    "reference": [None, "a", "d"],
    "verify": ["exact", "every", "signature", "none"],
}


def options(subset: tuple[str, ...], mode: str) -> list[dict[str, Any]]:
    """Draw combinations for one case; over all cases every two choices meet (asserted below)."""
    rng = random.Random(f"{subset}{mode}")
    found = []
    for _ in range(2):
        one = {key: rng.choice(values) for key, values in CHOICES.items()}
        if mode == "representative" and one["verify"] == "none":
            one["verify"] = rng.choice(["exact", "signature"])
        one["protect"] = [name for name in one["protect"] if name in subset]
        one["reference"] = one["reference"] if one["reference"] in subset and len(subset) > 1 else None
        found.append({**one, "mode": mode})
    return found


CASES = [(s, o) for s in SUBSETS for mode in ("representative", "component") for o in options(s, mode)]


def test_the_cases_hold_every_choice_with_every_mode_and_both_kinds_of_each_option() -> None:
    seen = {(key, str(o[key]), by, o[by]) for _, o in CASES for key in CHOICES for by in ("mode", "orphans")}
    for key in ("within_dataset", "orphans", "further_tries", "verify", "reference"):
        for value in map(str, CHOICES[key]):
            assert (key, value, "mode", "component") in seen
            for orphans in ("promote", "allow"):
                assert key == "orphans" or (key, value, "orphans", orphans) in seen


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]], dict[str, str]]:
    folder = tmp_path_factory.mktemp("survivors")
    documents = [d for d in corpora.corpus(77, 130, NAMES) if d["text"] and d["text"].strip()]
    return folder, documents, corpora.write(folder / "in", documents, 1)


def similarity(texts: list[str], verify: str) -> Callable[[int, int], bool]:
    """Return what decides whether two documents are similar."""
    sets = [oracles.shingle_set(t, WIDTH) for t in texts]
    slots = slots8(MinHash(shingle_width=WIDTH).signatures(pa.array(texts, pa.large_string())))
    if verify == "signature":
        return lambda a, b: texts[a] == texts[b] or float(np.float32(estimate(slots[a], slots[b]))) >= 0.7
    return lambda a, b: verify == "none" or oracles.jaccard(sets[a], sets[b]) >= 0.7


def expected(documents: list[dict[str, Any]], subset: tuple[str, ...], o: dict[str, Any]) -> dict[str, str | None]:
    """Return whom each document loses to, by id, among those of a subset of the datasets."""
    mine = [d for d in documents if d["dataset"] in subset]
    digests = dict(zip([d["id"] for d in mine], hashes([d["text"] for d in mine]), strict=True))
    place = sorted(subset, key=lambda name: (name != o["reference"], name not in o["protect"], name))
    key = lambda d: oracles.order_key(place.index(d["dataset"]), [], *digests[d["id"]], d["id"], d["url"], "", 0)  # noqa: E731
    mine.sort(key=key)
    texts = [d["text"] for d in mine]
    oracle = oracles.representatives if o["mode"] == "representative" else oracles.component_survivors
    lost = oracle(
        lsh_buckets(texts),
        [place.index(d["dataset"]) for d in mine],
        [d["dataset"] in o["protect"] or d["dataset"] == o["reference"] for d in mine],
        [o["orphans"] == "allow" or d["score"] >= 0.3 for d in mine],
        o["within_dataset"] == "keep_all",
        o["further_tries"],
        similarity(texts, o["verify"]),
    )
    return {d["id"]: None if w is None else mine[w]["id"] for d, w in zip(mine, lost, strict=True)}


@pytest.mark.parametrize("subset", SUBSETS, ids="".join)
def test_the_stage_keeps_whom_plain_python_keeps(
    made: tuple[Path, list[dict[str, Any]], dict[str, str]], subset: tuple[str, ...]
) -> None:
    folder, documents, paths = made
    root = folder / "".join(subset)
    for o in [o for s, o in CASES if s == subset]:
        near = {k: v for k, v in o.items() if k != "reference"}
        columns = {"text": "text", "id": "id", "url": "url"}
        datasets: dict[str, Any] = {name: {"paths": paths[name], "columns": columns} for name in subset}
        if o["reference"]:
            datasets[o["reference"]]["role"] = "reference"
        stages = [
            {"use": "minhash", "shingle_width": WIDTH},
            {"use": "near_dedup", "jaccard_threshold": 0.7, **BANDS, **near},
            {"use": "quality", "model": "column:score", "min_score": 0.3},
        ]
        recipe = {"name": "t", "datasets": datasets, "priority": list(subset), "stages": stages}
        runner.run(load_data({**recipe, "cluster": {"kind": "inline"}}, "test"), str(root), with_report=False)
        rows = read_ledger(root).to_pylist()
        name = {row["doc_id"]: row["id"] for row in rows}
        found = {r["id"]: name[r["representative"]] if r["stage"] == "near_dedup" else None for r in rows}
        assert found == expected(documents, subset, o), o
