"""The whole run against a slow oracle, and the promises about partitioning, resuming and changing parameters."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from cluster.errors import RecipeError, ShardError
from pipelines.run import runner
from tests.support import corpora
from tests.support.small_runs import NEAR, STAGES, expected, mix, recipe_of, run

OPTIONS: list[dict[str, Any]] = [
    {},
    {"orphans": "allow"},
    {"within_dataset": "keep_all"},
    {"further_tries": 0},
    {"within_dataset": "keep_all", "orphans": "allow", "further_tries": 1},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_run_decides_as_the_oracle_does(tmp_path: Path, options: dict[str, Any], seed: int) -> None:
    documents = corpora.corpus(seed, 250)
    paths = corpora.write(tmp_path / "in", documents, 3, ("parquet", "jsonl", "jsonl.gz"))
    stages = [
        {**s, **{k: v for k, v in options.items() if s["use"] == "near_dedup" or k != "further_tries"}}
        if s["use"] in ("exact_dedup", "near_dedup")
        else s
        for s in STAGES
    ]
    ledger = run(tmp_path / "run", paths, stages).to_pylist()
    place = {row["id"]: row for row in ledger if row["id"] is not None}
    within = {n: (Path(place[d["id"]]["path"]).name, place[d["id"]]["row"]) for n, d in enumerate(documents)}
    want = expected(documents, within, stages)
    by_doc = {row["doc_id"]: row["id"] for row in ledger}
    got = {row["id"]: (row["stage"], by_doc.get(row["representative"])) for row in ledger}
    assert got == {
        documents[n]["id"]: (stage, None if winner is None else documents[winner]["id"])
        for n, (stage, winner) in want.items()
    }


def test_the_ledger_tells_the_survivor_and_its_group(tmp_path: Path) -> None:
    documents = corpora.corpus(3, 300)
    paths = corpora.write(tmp_path / "in", documents, 2)
    rows = {row["doc_id"]: row for row in run(tmp_path / "run", paths).to_pylist()}
    groups: Counter[int] = Counter()
    for doc, row in rows.items():
        end: int | None = doc
        while end is not None and not rows[end]["kept"]:
            end = rows[end]["representative"]
        assert row["survivor"] == end
        if end is not None:
            groups[end] += 1
        if row["representative"] is not None:
            assert row["representative_dataset"] == rows[row["representative"]]["dataset"]
            assert row["similarity"] >= np.float32(0.7) or row["similarity_kind"] == "estimated"
    for doc, row in rows.items():
        assert row["group_size"] == (groups[doc] if row["kept"] else None)
        assert row["copies"] == int(row["kept"])


def test_survivors_do_not_depend_on_files_order_formats_or_workers(tmp_path: Path) -> None:
    documents = corpora.corpus(4, 200)
    seen = []
    for turn, (files, formats, cluster) in enumerate(
        [
            (1, ("parquet",), {"kind": "inline"}),
            (5, ("jsonl.zst", "parquet"), {"kind": "inline"}),
            (3, ("jsonl",), {"kind": "local", "workers": 2}),
        ]
    ):
        random.Random(turn).shuffle(documents)
        paths = corpora.write(tmp_path / f"in-{turn}", documents, files, formats)
        run(tmp_path / f"run-{turn}", paths, cluster=cluster)
        seen.append(mix(tmp_path / f"run-{turn}"))
    assert seen[0] == seen[1] == seen[2]
    assert 0 < len(seen[0]) < len(documents)


def test_another_threshold_hashes_nothing_again_and_equals_a_new_run(tmp_path: Path) -> None:
    documents = corpora.corpus(5, 200)
    paths = corpora.write(tmp_path / "in", documents, 2)
    run(tmp_path / "run", paths)
    facts = {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / "facts" / "minhash").rglob("*.arrow")}
    other = [{**s, "jaccard_threshold": 0.5} if s is NEAR else s for s in STAGES]
    again = run(tmp_path / "run", paths, other)
    assert facts == {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / "facts" / "minhash").rglob("*.arrow")}
    assert again.equals(run(tmp_path / "new", paths, other))


def test_adding_a_dataset_later_equals_a_run_from_scratch(tmp_path: Path) -> None:
    documents = corpora.corpus(6, 250)
    paths = corpora.write(tmp_path / "in", documents, 2)
    run(tmp_path / "run", {k: v for k, v in paths.items() if k != "b"})
    run(tmp_path / "run", paths)
    run(tmp_path / "new", paths)
    assert mix(tmp_path / "run") == mix(tmp_path / "new")


def test_protected_and_reference_data_lose_nothing(tmp_path: Path) -> None:
    documents = corpora.corpus(7, 250)
    paths = corpora.write(tmp_path / "in", documents, 2)
    stages = [{**s, "protect": ["c"]} if s["use"] in ("exact_dedup", "near_dedup") else s for s in STAGES]
    ledger = run(tmp_path / "run", paths, stages).to_pylist()
    assert not [r for r in ledger if r["dataset"] == "c" and r["stage"] in ("exact_dedup", "near_dedup")]
    assert [r for r in ledger if r["representative_dataset"] == "c"]
    datasets = {n: {"paths": p, "columns": {"id": "id", "url": "url"}} for n, p in paths.items()}
    datasets["b"]["role"] = "reference"  # type: ignore[assignment]
    reference = run(tmp_path / "ref", paths, STAGES, datasets=datasets).to_pylist()
    assert not [r for r in reference if r["dataset"] == "b" and r["representative"] is not None]
    assert not (tmp_path / "ref" / "mix" / "b").exists()


def test_a_changed_file_stops_the_run_until_it_is_refreshed(tmp_path: Path) -> None:
    documents = corpora.corpus(8, 60, ("a",))
    paths = corpora.write(tmp_path / "in", documents, 2)
    run(tmp_path / "run", paths)
    changed = sorted((tmp_path / "in" / "a").iterdir())[0]
    corpora.write_file(changed, [{"text": "something else entirely", "id": "new", "url": None, "score": 1.0}])
    with pytest.raises(ShardError, match="changed since it was frozen"):
        run(tmp_path / "run", paths)
    runner.run(recipe_of(paths), str(tmp_path / "run"), refresh=True, with_report=False)
    runner.run(recipe_of(paths), str(tmp_path / "new"), with_report=False)
    assert mix(tmp_path / "run") == mix(tmp_path / "new")


def test_sampled_mixes_hit_their_targets_and_say_what_is_missing(tmp_path: Path) -> None:
    documents = corpora.corpus(9, 600)
    paths = corpora.write(tmp_path / "in", documents, 1)
    wish = {
        "mode": "sample",
        "target_tokens": 6000,
        "weights": {"a": 1, "b": 3},
        "max_epochs": {"a": 1, "b": 2},
    }
    ledger = run(tmp_path / "run", paths, mix=wish).to_pylist()
    tokens = Counter[str]()
    for row in ledger:
        tokens[row["dataset"]] += row["copies"] * row["num_tokens"]
        assert row["kept"] or row["copies"] == 0
    assert tokens["c"] == 0
    assert abs(tokens["a"] - 1500) < 600
    assert abs(tokens["b"] - 4500) < 900


def test_a_sidecar_that_was_cut_is_told_and_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    documents = corpora.corpus(10, 60, ("a",))
    paths = corpora.write(tmp_path / "in", documents, 1)
    before = run(tmp_path / "run", paths)
    [sidecar] = (tmp_path / "run" / "facts" / "read").rglob("*.arrow")
    whole = sidecar.read_bytes()
    sidecar.write_bytes(whole[:100])
    assert run(tmp_path / "run", paths).equals(before)
    assert sidecar.read_bytes() == whole
    assert f"{sidecar} is damaged: its end is cut off or overwritten" in caplog.text


def test_too_much_removed_stops_with_who_lost_to_whom(tmp_path: Path) -> None:
    documents = corpora.corpus(11, 60, ("a",))
    copies = [{**d, "dataset": "b"} for d in documents]
    paths = corpora.write(tmp_path / "in", documents + copies, 1)
    stages = [{"use": "exact_dedup", "max_removed": 0.9}]
    with pytest.raises(RecipeError, match=r"b lost [0-9]+ to a"):
        run(tmp_path / "run", paths, stages)


def test_inputs_and_run_folder_may_lie_in_an_object_store(tmp_path: Path) -> None:
    import fsspec

    documents = corpora.corpus(12, 150)
    paths = corpora.write(tmp_path / "in", documents, 2, ("parquet", "jsonl", "jsonl.gz"))
    here = run(tmp_path / "run", paths).to_pylist()
    store, name = fsspec.filesystem("memory"), tmp_path.name
    for dataset, folder in paths.items():
        for file in Path(folder).iterdir():
            store.pipe_file(f"/{name}/in/{dataset}/{file.name}", file.read_bytes())
    there_paths = {dataset: f"memory://{name}/in/{dataset}" for dataset in paths}
    runner.run(recipe_of(there_paths), f"memory://{name}/run", with_report=False)
    there: list[dict[str, Any]] = []
    for file in store.glob(f"/{name}/run/ledger/*.parquet"):
        with store.open(file) as handle:
            there += pq.read_table(handle).to_pylist()
    facts = ("id", "kept", "stage", "reason", "value", "similarity", "group_size")
    keys = [sorted(repr([row[f] for f in facts]) for row in rows) for rows in (here, there)]
    assert keys[0] == keys[1]
