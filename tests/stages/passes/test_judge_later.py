"""Costly filters behind deduplication judge few documents, and the result is that of judging everybody first."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster import storage
from cluster.errors import LedgerError
from cluster.files.arrow_files import read_arrow
from pipelines.audit.audit import audit
from pipelines.commands import facts
from pipelines.commands.clean import clean_run
from pipelines.commands.status import status_of_run
from pipelines.explain.explain import explain
from pipelines.plan.plan import plan
from pipelines.run import runner
from pipelines.run_state import reopen
from stages.core.view import View
from stages.dedup import promotion
from stages.quality import Quality
from stages.semantic_dedup import Embedding
from tests.support import corpora, judges
from tests.support.small_runs import expected, mix, read_ledger, recipe_of

MINHASH = {"use": "minhash", "shingle_width": 8}
NEAR = {"use": "near_dedup", "jaccard_threshold": 0.7, "bands": 32, "rows_per_band": 4}
FIRST = {"use": "quality", "name": "first", "model": "python:tests.support.judges:first"}
SECOND = {"use": "quality", "name": "second", "model": "python:tests.support.judges:second"}
CHEAP = {"use": "quality", "name": "cheap", "model": "column:score", "min_score": 0.2}
EXACT = {"use": "exact_dedup"}


def families(seed: int, documents: int, groups: int) -> list[corpora.Document]:
    """Return documents of a few groups of copies and near copies, spread over three datasets."""
    random_ = random.Random(seed)
    bases = [corpora.text(random_, random_.randint(10, 40)) for _ in range(groups)]
    made = []
    for number in range(documents):
        body = corpora.edited(random_, random_.choice(bases), random_.choice([0, 0, 1, 2, 3]))
        angle = random_.choice(range(12))
        vector = [[1, 0], [0.98, 0.2], [0.9, 0.43], [0.7, 0.71], [0.3, 0.95], [0, 1]][angle % 6]
        made.append(
            {
                "dataset": "abc"[number] if number < 3 else random_.choice("abc"),
                "text": body,
                "id": f"id-{number}",
                "url": None,
                "score": random_.random(),
                "vector": json.dumps(vector),
            }
        )
    return made


def decide(root: Path, paths: dict[str, str], stages: list[dict[str, Any]], **more: Any) -> pa.Table:
    runner.run(recipe_of(paths, stages, **more), str(root), with_report=False)
    return read_ledger(root)


def eagerly(root: Path, paths: dict[str, str], stages: list[dict[str, Any]], **more: Any) -> pa.Table:
    """Run with every classifier in the first read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Quality, "costly", False)
        return decide(root, paths, stages, **more)


def written(root: Path) -> bytes:
    """Return the mix's manifest, which has a digest of every file."""
    return (root / "mix" / "manifest.json").read_bytes()


def judged() -> dict[str, int]:
    found = {name: sum(seen.values()) for name, seen in judges.SEEN.items()}
    judges.forget()
    return found


@st.composite
def situations(draw: st.DrawFn) -> dict[str, Any]:
    def dedup(**more: Any) -> dict[str, Any]:
        return {
            "orphans": draw(st.sampled_from(["promote", "promote", "allow"])),
            "within_dataset": draw(st.sampled_from(["keep_one", "keep_one", "keep_all"])),
            "protect": draw(st.sampled_from([[], [], ["c"]])),
            **more,
        }

    stages: list[dict[str, Any]] = []
    if draw(st.booleans()):
        stages.append(dedup(use="exact_dedup", normalise=draw(st.sampled_from(["none", "nfc_lower_space"]))))
    if draw(st.booleans()) or not stages:
        mode = draw(st.sampled_from(["representative", "representative", "component"]))
        verify = "exact" if mode == "representative" else draw(st.sampled_from(["exact", "none"]))
        stages += [MINHASH, dedup(**NEAR, mode=mode, verify=verify, further_tries=draw(st.sampled_from([0, 3])))]
    if draw(st.booleans()):
        stages.append(dedup(use="semantic_dedup", model="column:vector", cosine_threshold=0.95))
    late = [{**FIRST, "min_score": draw(st.sampled_from([0.1, 0.5, 0.8]))}]
    if draw(st.booleans()):
        late.append(CHEAP)
    if draw(st.booleans()):
        late.append({**SECOND, "min_score": 0.3, "datasets": draw(st.sampled_from([[], ["a", "b"]]))})
    if draw(st.booleans()):
        late.append({"use": "score_cut", "of": "first", "min_quantile": 0.3})
    return {
        "stages": stages + late,
        "documents": families(draw(st.integers(0, 10**6)), draw(st.integers(5, 60)), draw(st.integers(1, 6))),
        "reference": draw(st.sampled_from([False, False, True])),
        "files": draw(st.integers(1, 3)),
    }


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(s=situations())
def test_few_are_judged_and_the_ledger_is_that_of_judging_all(
    s: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    paths = corpora.write(folder / "in", s["documents"], s["files"], ("jsonl",))
    more: dict[str, Any] = {}
    if s["reference"]:
        columns = {"text": "text", "id": "id", "url": "url"}
        more["datasets"] = {name: {"paths": path, "columns": columns} for name, path in sorted(paths.items())}
        more["datasets"][sorted(paths)[0]]["role"] = "reference"
    want = eagerly(folder / "eager", paths, s["stages"], **more)
    every = judged()
    got = decide(folder / "lazy", paths, s["stages"], **more)
    few = judged()
    assert got.equals(want)
    assert written(folder / "lazy") == written(folder / "eager")
    assert few["first"] <= every["first"]
    shutil.rmtree(folder)


STAGES: list[dict[str, Any]] = [EXACT, MINHASH, NEAR, {**FIRST, "min_score": 0.3}]


@pytest.mark.parametrize("options", [{}, {"within_dataset": "keep_all"}, {"orphans": "allow"}], ids=str)
def test_a_run_decides_as_the_oracle_does(tmp_path: Path, options: dict[str, Any]) -> None:
    documents = corpora.corpus(3, 250)
    for document in documents:
        document["score"] = judges.score("first", document["text"] or "")
    paths = corpora.write(tmp_path / "in", documents, 3)
    stages = [{**s, **options} if s["use"] in ("exact_dedup", "near_dedup") else s for s in STAGES]
    ledger = decide(tmp_path / "run", paths, stages).to_pylist()
    place = {row["id"]: row for row in ledger}
    within = {n: (Path(place[d["id"]]["path"]).name, place[d["id"]]["row"]) for n, d in enumerate(documents)}
    want = expected(documents, within, stages)
    by_doc = {row["doc_id"]: row["id"] for row in ledger}
    for n, (stage, winner) in want.items():
        row = place[documents[n]["id"]]
        assert row["stage"] == ("first" if stage == "quality" else stage)
        assert by_doc.get(row["representative"]) == (None if winner is None else documents[winner]["id"])


def reached(ledger: pa.Table, stage: str) -> int:
    """Return how many documents live before a last stage."""
    return sum(name in (None, stage) for name in ledger.column("stage").to_pylist())


def test_what_deduplication_drops_is_not_judged(tmp_path: Path) -> None:
    paths = corpora.write(tmp_path / "in", families(5, 300, 12), 2)
    judged()
    stages = [{**EXACT, "orphans": "allow"}, MINHASH, {**NEAR, "orphans": "allow"}, STAGES[-1]]
    ledger = decide(tmp_path / "allow", paths, stages)
    assert judged()["first"] == reached(ledger, "first") < 150
    ledger = decide(tmp_path / "promote", paths, [MINHASH, NEAR, {**STAGES[-1], "min_score": 0.1}])
    assert reached(ledger, "first") <= judged()["first"] < 200
    ledger = decide(tmp_path / "score", paths, [EXACT, MINHASH, NEAR, FIRST])
    assert judged()["first"] == reached(ledger, "first")  # without a limit nobody has to pass


def test_candidates_are_judged_in_few_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = []
    score = promotion.score_requests
    monkeypatch.setattr(promotion, "score_requests", lambda *given: rounds.append(given[2]) or score(*given))
    paths = corpora.write(tmp_path / "in", families(6, 250, 1), 1)
    stages = [MINHASH, {**NEAR, "mode": "component", "verify": "none"}, {**FIRST, "min_score": 0.97}]
    want = eagerly(tmp_path / "eager", paths, stages)
    every = judged()["first"]
    assert decide(tmp_path / "lazy", paths, stages).equals(want)
    assert judged()["first"] <= every
    assert 2 <= len(rounds) <= 8


def test_a_later_filter_judges_what_an_earlier_one_keeps(tmp_path: Path) -> None:
    paths = corpora.write(tmp_path / "in", families(7, 200, 30), 2)
    stages = [MINHASH, NEAR, {**FIRST, "min_score": 0.6}, {**SECOND, "min_score": 0.2}]
    judged()
    decide(tmp_path / "run", paths, stages)
    passing = sum(n for text, n in judges.SEEN["first"].items() if judges.score("first", text) >= 0.6)
    found = judged()
    assert found["second"] == passing < found["first"] < 200


def test_an_interrupted_run_goes_on_and_judges_nothing_twice(tmp_path: Path) -> None:
    paths = corpora.write(tmp_path / "in", families(8, 60, 6), 2)
    stages = [EXACT, MINHASH, NEAR, {**FIRST, "min_score": 0.7}, {**SECOND, "min_score": 0.2}]
    judged()
    want = decide(tmp_path / "whole", paths, stages)
    once = judged()
    commit, left = storage.commit, [0]

    def dying(path: str, **more: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return commit(path, **more)

    kills = 0
    while True:
        left[0] = 9 + kills  # the first few only say what is run
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(storage, "commit", dying)
            try:
                got = decide(tmp_path / "killed", paths, stages)
                break
            except KeyboardInterrupt:
                kills += 1
    assert kills > 5
    assert got.equals(want)
    assert written(tmp_path / "killed") == written(tmp_path / "whole")
    assert judged() == once


def test_another_threshold_judges_only_who_comes_up_now(tmp_path: Path) -> None:
    paths = corpora.write(tmp_path / "in", families(9, 120, 15), 2)
    judged()
    decide(tmp_path / "run", paths, [EXACT, MINHASH, NEAR, {**FIRST, "min_score": 0.2}])
    before = judged()["first"]
    stages = [EXACT, MINHASH, NEAR, {**FIRST, "min_score": 0.7}]
    again = decide(tmp_path / "run", paths, stages)
    more = judged()["first"]
    assert again.equals(decide(tmp_path / "new", paths, stages))
    assert 0 < more < before + more <= judged()["first"] + before
    decide(tmp_path / "run", paths, [EXACT, MINHASH, NEAR, {**FIRST, "min_score": 0.2}])
    assert judged()["first"] == 0


def test_survivors_do_not_depend_on_files_or_workers(tmp_path: Path) -> None:
    documents = families(10, 120, 15)
    seen = []
    for turn, (files, cluster) in enumerate([(1, "inline"), (4, "inline"), (3, "local")]):
        paths = corpora.write(tmp_path / f"in-{turn}", documents, files)
        stages = [EXACT, MINHASH, NEAR, {**FIRST, "min_score": 0.5}]
        options = {"kind": cluster, "workers": 2} if cluster == "local" else {"kind": cluster}
        decide(tmp_path / f"run-{turn}", paths, stages, cluster=options)
        seen.append(mix(tmp_path / f"run-{turn}"))
    assert seen[0] == seen[1] == seen[2]
    assert 0 < len(seen[0]) < 120


def test_embeddings_are_made_of_what_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = corpora.write(tmp_path / "in", families(11, 100, 10), 2, ("jsonl",))
    stages = [EXACT, MINHASH, NEAR, {"use": "semantic_dedup", "model": "column:vector", "cosine_threshold": 0.95}]
    want = decide(tmp_path / "eager", paths, stages)
    monkeypatch.setattr(Embedding, "costly", True)
    got = decide(tmp_path / "lazy", paths, stages)
    assert got.equals(want)
    made = [read_arrow(str(path)) for path in (tmp_path / "lazy/facts/embedding").rglob("*.arrow")]
    assert sum(table.num_rows for table in made) == reached(got, "semantic_dedup") < 100


def test_the_other_commands_know_what_was_judged(tmp_path: Path) -> None:
    paths = corpora.write(tmp_path / "in", families(12, 100, 10), 2)
    root = str(tmp_path / "run")
    recipe = recipe_of(paths, [EXACT, MINHASH, NEAR, {**FIRST, "min_score": 0.5}])
    judged()
    runner.run(recipe, root, until="near_dedup", with_report=False)
    asked = judged()["first"]
    done = {s["stage"]: s["done"] for s in status_of_run(root)["stages"]}
    assert 0 < asked < 100
    assert (done["near_dedup"], done["first"]) == (3, 0)
    runner.run(recipe, root, until="first", with_report=False)
    assert {s["stage"]: s["done"] for s in status_of_run(root)["stages"]}["first"] == 3
    runner.run(recipe, root)
    ledger = read_ledger(tmp_path / "run").to_pylist()
    assert sum(judges.SEEN["first"].values()) + asked == facts.export_facts(root, "first", str(tmp_path / "f.parquet"))
    [scores] = json.loads((tmp_path / "run/report.json").read_text())["scores"]
    assert scores["judged"] == reached(read_ledger(tmp_path / "run"), "first")
    seen = set(pq.read_table(tmp_path / "f.parquet").column("doc_id").to_pylist())
    for row in ledger[:20]:
        [found] = explain(root, doc_id=row["doc_id"])["documents"]
        assert (found["decisions"][-1]["verdict"] == "not reached, never judged") == (row["doc_id"] not in seen)
    assert clean_run(root) == [f"{root}/exchange"]
    assert status_of_run(root)["stages"][-1]["done"] == 3


def test_a_plan_tells_how_many_are_judged(tmp_path: Path) -> None:
    paths = corpora.write(tmp_path / "in", families(13, 240, 20), 2)
    recipe = recipe_of(paths, [EXACT, MINHASH, NEAR, {**FIRST, "min_score": 0.2}])
    found = plan(recipe, str(tmp_path / "run"))
    judged()
    runner.run(recipe, str(tmp_path / "run"), with_report=False)
    assert found["judged"] == {"first": judged()["first"]}  # the sample is the whole
    assert found["time"]["steps"]["first"] > 0
    again = plan(recipe, str(tmp_path / "run"))
    assert "first" not in again["time"]["steps"]
    assert {s["stage"]: s["action"] for s in again["stages"]}["first"] == "reuse"


def test_an_audit_judges_nobody(tmp_path: Path) -> None:
    paths = corpora.write(tmp_path / "in", families(14, 120, 10), 1)
    decide(tmp_path / "run", paths, [MINHASH, NEAR, EXACT, {**FIRST, "min_score": 0.5}])
    judged()
    found = audit(str(tmp_path / "run"), pairs=5, threshold=0.95)["threshold"]
    assert judged()["first"] == 0
    assert found["not_judged"] > 0
    same = audit(str(tmp_path / "run"), pairs=5, threshold=0.7)["threshold"]
    assert same["not_judged"] == 0
    assert all(d["now"] == d["then"] for d in same["datasets"].values())


def test_facts_that_are_missing_where_they_are_needed_stay_an_error(tmp_path: Path) -> None:
    paths = corpora.write(tmp_path / "in", families(15, 40, 4), 1)
    decide(tmp_path / "run", paths, STAGES)
    job = reopen(str(tmp_path / "run")).run
    shutil.rmtree(tmp_path / "run/facts/quality")
    with pytest.raises(LedgerError, match="is missing"):
        View(job, job.manifest.bundles[0]).decided(len(job.stages) - 1)
