"""The report: every number in it can be counted again in the ledger, or there is no report."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.errors import LedgerError
from cluster.files.sealed import write_public_json
from pipelines.report.report import check_dataset, count_ledger, write_report
from pipelines.runfolder import open_run
from tests.support import run_folders


def test_the_funnel_is_the_ledger_counted(run: Path, found: dict[str, Any]) -> None:
    rows = run_folders.ledger(run)
    for name, entry in {**found["funnel"], None: found["total"]}.items():
        mine = [r for r in rows if name in (None, r["dataset"])]
        assert entry["rows"] == run_folders.amount(mine)
        assert entry["kept"] == run_folders.amount([r for r in mine if r["kept"]])
        left = mine
        assert [s["stage"] for s in entry["stages"]] == ["read", "exact_dedup", "minhash", "near_dedup", "quality"]
        for step in entry["stages"]:
            assert step["before"] == run_folders.amount(left)
            gone = [r for r in left if r["stage"] == step["stage"]]
            left = [r for r in left if r["stage"] != step["stage"]]
            reasons = {r["reason"] for r in gone}
            assert step["dropped"] == {w: run_folders.amount([r for r in gone if r["reason"] == w]) for w in reasons}
            assert step["after"] == run_folders.amount(left)
        assert left == [r for r in mine if r["kept"]]
        assert entry["mix"]["documents"] == sum(r["copies"] > 0 for r in mine)
        assert entry["mix"]["copies"] == sum(r["copies"] for r in mine)
        assert entry["mix"]["tokens"] == sum(r["copies"] * r["num_tokens"] for r in mine)


def test_overlap_groups_and_similarities_are_the_ledger_counted(run: Path, found: dict[str, Any]) -> None:
    rows = run_folders.ledger(run)
    names = found["overlap"]["datasets"]
    for stage, matrix in {**found["overlap"]["stages"], None: found["overlap"]["all"]}.items():
        lost = [r for r in rows if r["representative"] is not None and stage in (None, r["stage"])]
        for i, loser in enumerate(names):
            for j, winner in enumerate(names):
                mine = [r for r in lost if (r["dataset"], r["representative_dataset"]) == (loser, winner)]
                assert {key: matrix[key][i][j] for key in matrix} == run_folders.amount(mine)
    sizes = Counter(r["group_size"] for r in rows if r["kept"])
    for entry in found["groups"]["sizes"]:
        inside = {n: c for n, c in sizes.items() if n >= entry["from"] and (entry["to"] is None or n <= entry["to"])}
        assert entry["groups"] == sum(inside.values())
        assert entry["documents"] == sum(n * c for n, c in inside.items())
    assert [g["group_size"] for g in found["groups"]["largest"]] == sorted(sizes.elements(), reverse=True)[:10]
    shared = Counter(
        (a, b)
        for r in rows
        if r["kept"] and r["group_size"] > 1
        for a in json.loads(r["group_datasets"])
        for b in json.loads(r["group_datasets"])
        if a < b
    )
    assert {tuple(g["datasets"]): g["groups"] for g in found["overlap"]["shared_groups"]} == shared
    near = next(d for d in found["dedup"] if d["stage"] == "near_dedup")
    similar = [r["similarity"] for r in rows if r["stage"] == "near_dedup"]
    assert near["dropped"] == np.histogram(np.array(similar, np.float64), near["edges"])[0].tolist()


def test_every_step_tells_its_time_rate_and_memory(run: Path, found: dict[str, Any]) -> None:
    kept = json.loads((run / "timings.json").read_text())["stages"]
    reached = {step["stage"]: step["before"]["documents"] for step in found["total"]["stages"]}
    steps = {step["name"]: step for step in found["timings"]["stages"]}
    assert [s["name"] for s in kept] == list(steps)
    assert steps["near_dedup"]["documents"] == reached["near_dedup"] > 0
    parts = {part["name"]: part for part in steps["annotate"]["parts"]}
    assert list(parts) == ["read", "minhash", "quality"]
    assert parts["read"]["documents"] == found["total"]["rows"]["documents"]
    assert parts["quality"]["documents"] >= found["scores"][0]["judged"]
    for step in (*steps.values(), *parts.values()):
        if step["documents_per_second"] is not None:
            assert step["documents_per_second"] * step["seconds"] == pytest.approx(step["documents"])
    if sys.platform == "linux":
        assert all(steps[name]["peak_memory_bytes"] > 1 << 20 for name in ("annotate", "near_dedup", "materialize"))


def test_reasons_and_samples_begin_with_the_commonest(found: dict[str, Any]) -> None:
    totals = {(s["stage"], r): a["documents"] for s in found["total"]["stages"] for r, a in s["dropped"].items()}
    for step in found["total"]["stages"]:
        counts = [a["documents"] for a in step["dropped"].values()]
        assert counts == sorted(counts, reverse=True)
    assert {(g["stage"], g["reason"]): g["of"] for g in found["samples"] if g["stage"]} == totals
    near = next(d for d in found["dedup"] if d["stage"] == "near_dedup")
    for entry in near["at_least"]:
        at = near["edges"].index(entry["similarity"])
        assert entry["documents"] == sum(near["dropped"][at:])


def test_the_mix_is_set_against_its_targets(run: Path, found: dict[str, Any]) -> None:
    rows = run_folders.ledger(run)
    for name, entry in found["mix"]["datasets"].items():
        mine = [r for r in rows if r["dataset"] == name]
        assert entry["tokens"] == sum(r["copies"] * r["num_tokens"] for r in mine)
        assert entry["shortfall_tokens"] == max(0, entry["target_tokens"] - entry["tokens"])
        assert entry["max_epochs"] == {"a": 1, "b": 2, "c": 1}[name]
        assert entry["weight_share"] == {"a": 1, "b": 3, "c": 1}[name] / 5
        assert entry["available"] == run_folders.amount([r for r in mine if r["kept"]])
    assert sum(e["share"] for e in found["mix"]["datasets"].values()) == pytest.approx(1)


def test_samples_are_of_their_reason_and_pairs_lost_to_each_other(run: Path, found: dict[str, Any]) -> None:
    rows = {r["doc_id"]: r for r in run_folders.ledger(run)}
    reasons = {(g["stage"], g["reason"], g["dataset"]) for g in found["samples"]}
    dropped = {(r["stage"], r["reason"], None) for r in rows.values() if not r["kept"]}
    assert reasons == dropped | {(None, None, name) for name in "abc"}
    for group in found["samples"]:
        for d in group["documents"]:
            assert (rows[d["doc_id"]]["stage"], rows[d["doc_id"]]["reason"]) == (group["stage"], group["reason"])
    assert found["pairs"]
    for pair in found["pairs"]:
        assert rows[pair["dropped"]["doc_id"]]["representative"] == pair["kept"]["doc_id"]
        assert pair["difference"]["same_words"] < pair["difference"]["left_words"] + pair["difference"]["right_words"]


def test_a_funnel_that_does_not_close_stops_the_report(run: Path, tmp_path: Path) -> None:
    rows = run_folders.ledger(run)
    kept = next(r["doc_id"] for r in rows if r["kept"] and r["copies"])
    both = run_folders.copy(run, tmp_path / "both")
    run_folders.change_ledger(both, kept, stage="quality", reason="low_quality")
    with pytest.raises(LedgerError, match=f"ledger of a contradicts itself about 1 documents.*doc_id {kept}"):
        write_report(str(both))
    copies = run_folders.copy(run, tmp_path / "copies")
    run_folders.change_ledger(copies, kept, copies=9)
    with pytest.raises(LedgerError, match="the mix of a is not what the ledger says"):
        write_report(str(copies))


def test_rows_that_the_ledger_lost_are_named_with_numbers(run: Path) -> None:
    opened = open_run(str(run))
    found = count_ledger(opened).datasets["b"]
    found.kept.add(2, 10)
    rows = found.rows.documents
    with pytest.raises(LedgerError, match=f"funnel of b does not close: {rows} rows in the manifest, {rows} in the"):
        check_dataset(opened, "b", found)


def test_the_report_is_the_same_twice_and_without_the_facts(run: Path, found: dict[str, Any], tmp_path: Path) -> None:
    before = (run / "report.json").read_bytes(), (run / "report.html").read_bytes()
    write_report(str(run))
    assert before == ((run / "report.json").read_bytes(), (run / "report.html").read_bytes())
    bare = run_folders.copy(run, tmp_path / "bare", without=("facts", "decisions"))
    (bare / "timings.json").unlink()
    write_report(str(bare))
    again = json.loads((bare / "report.json").read_text())
    assert again["scores_from"] == "ledger and mix"
    assert again["timings"] is None
    for key in ("funnel", "total", "overlap", "mix", "dedup", "digests"):
        assert again[key] == found[key]


def test_a_mix_manifest_with_few_keys_is_enough(run: Path, tmp_path: Path) -> None:
    bare = run_folders.copy(run, tmp_path / "bare")
    manifest = bare / "mix" / "manifest.json"
    whole = json.loads(manifest.read_text())["datasets"]["a"]
    few = {name: whole[name] for name in ("documents", "tokens", "bytes")}
    write_public_json(str(manifest), {"format": 1, "datasets": {"a": few}})
    write_report(str(bare))
    assert json.loads((bare / "report.json").read_text())["mix"]["datasets"]["a"]["epochs"] is None
