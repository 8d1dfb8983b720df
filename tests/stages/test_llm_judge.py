"""Stage llm_judge: facts from models behind endpoints, by whatever order, cut, faults and budget."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.engines import InlineEngine
from cluster.errors import BackendError, RecipeError
from pipelines.plan.plan import plan
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from pipelines.run_state import reopen
from pipelines.runfolder import open_run
from stages.asking.population import PLAN, allot
from stages.asking.prefix import TOP, bounds
from stages.core.view import View
from stages.llm_judge import LlmJudge
from tests.support import corpora
from tests.support.chat_server import (
    ChatServer,
    Request,
    Say,
    completion,
    hashed_score,
    refuse,
    user_text,
    verdict,
)
from tests.support.run_folders import NEAR

ROOT = Path(__file__).parents[2]
Facts = dict[str, dict[str, Any]]


def right(request: Request, before: int) -> Say:
    return verdict(hashed_score(request))


def recipe(folder: Path, stages: list[dict[str, Any]], *, rows: int = 120, files: int = 2, **more: Any) -> Any:
    if not (folder / "in").exists():
        corpora.write(folder / "in", corpora.corpus(3, rows), files)
    columns = {"text": "text", "id": "id", "url": "url"}
    names = sorted(path.name for path in (folder / "in").iterdir())
    datasets = {name: {"paths": str(folder / "in" / name), "columns": columns} for name in names}
    data = {"name": "t", "datasets": datasets, "stages": stages, "cluster": {"kind": "inline"}, **more}
    return load_data(data, "test")


def judge(server: ChatServer, **more: Any) -> dict[str, Any]:
    quick = {"backoff": 0.0, "timeout": 5.0, "patience": 5.0}
    return {"use": "llm_judge", "base_urls": [server.url], "models": ["m"], **quick, **more}


def facts(run_dir: Path, name: str = "llm_judge") -> Facts:
    """Return the facts of the live documents by dataset and id, checked to be there for each."""
    run = reopen(str(run_dir)).run
    index, found = run.index(name), {}
    for bundle in run.manifest.bundles:
        view = View(run, bundle)
        rows = np.flatnonzero(view.live(index))
        ids = view.read.column("id").take(pa.array(rows)).to_pylist()
        for id_, row in zip(ids, view.facts(index, rows).drop_columns(["row"]).to_pylist(), strict=True):
            found[f"{bundle.dataset} {id_}"] = row
    return found


def kept(run_dir: Path) -> list[str]:
    run = open_run(str(run_dir))
    tables = [table for name in run.datasets for table in run.mix(name, columns=["text"])]
    return sorted(text for table in tables for text in table.column("text").to_pylist())


def statuses(found: Facts) -> Counter[str | None]:
    return Counter(row["judge_status"] for row in found.values())


# --- facts like any classifier's -----------------------------------------------------------------------------


def test_what_deduplication_leaves_is_judged_once(tmp_path: Path) -> None:
    with ChatServer(right) as server:
        runner.run(recipe(tmp_path, [{"use": "exact_dedup"}, judge(server)]), str(tmp_path / "run"))
        first = facts(tmp_path / "run")
        assert sum(server.seen.values()) == len(server.seen) == len(first)
        runner.run(
            recipe(tmp_path, [{"use": "exact_dedup", "orphans": "allow"}, judge(server, min_score=3)]),
            str(tmp_path / "run"),
        )
        assert sum(server.seen.values()) == len(first), "another threshold asks nothing"
    low = sum(row["judge_score"] < 3 for row in first.values())
    assert len(kept(tmp_path / "run")) == len(first) - low > 0


@pytest.mark.parametrize(
    "cluster", [pytest.param({"kind": "inline"}, marks=pytest.mark.nightly), {"kind": "threads", "workers": 3}]
)
def test_order_cut_and_concurrency_change_nothing(tmp_path: Path, cluster: dict[str, Any]) -> None:
    stages: list[dict[str, Any]] = [{"use": "exact_dedup"}, {"use": "minhash", "shingle_width": 8}, NEAR]
    with ChatServer(right) as server:
        one = judge(server, votes=3, temperature=0.7, models=["m", "n"], combine="median")
        runner.run(recipe(tmp_path, [*stages, one]), str(tmp_path / "run"))
        other = recipe(tmp_path / "other", [*stages, {**one, "concurrency": 1}], files=5, cluster=cluster)
        runner.run(other, str(tmp_path / "other" / "run"))
    assert facts(tmp_path / "run") == facts(tmp_path / "other" / "run")
    assert kept(tmp_path / "run") == kept(tmp_path / "other" / "run")
    assert max(server.answered.values()) == 2, "two run folders"


def test_equal_texts_are_asked_about_once_wherever_they_lie(tmp_path: Path) -> None:
    for dataset in "ab":
        (tmp_path / "in" / dataset).mkdir(parents=True)
        for part in range(3):
            texts = ["the same"] * 5 + [f"own {dataset} {part}"]
            table = pa.table({"text": texts, "id": [f"{part}-{i}" for i in range(6)], "url": ["u"] * 6})
            pq.write_table(table, tmp_path / "in" / dataset / f"{part}.parquet")
    with ChatServer(right) as server:
        runner.run(recipe(tmp_path, [judge(server)]), str(tmp_path / "run"))
    found = facts(tmp_path / "run")
    assert len(found) == 36
    assert sum(server.seen.values()) == len(server.seen) == 7


def test_promotion_gives_what_scoring_every_document_first_gives(tmp_path: Path) -> None:
    dedup: list[dict[str, Any]] = [{"use": "exact_dedup"}, {"use": "minhash", "shingle_width": 8}, NEAR]
    with ChatServer(right) as server:
        runner.run(recipe(tmp_path, [*dedup, judge(server, min_score=3)]), str(tmp_path / "late"))
        late = len(server.seen)
        runner.run(recipe(tmp_path, [judge(server, min_score=3), *dedup]), str(tmp_path / "early"))
    assert kept(tmp_path / "late") == kept(tmp_path / "early")
    assert late < len(server.seen)
    assert set(server.seen.values()) <= {1, 2}, "each run folder asks about a text once"


def test_votes_and_models_are_combined(tmp_path: Path) -> None:
    table = {("m", 0): 0, ("m", 1): 4, ("m", 2): 4, ("n", 0): 5, ("n", 1): 4, ("n", 2): 5}

    def script(request: Request, before: int) -> Say:
        return verdict(table[request["model"], request["seed"]])

    expected = {"mean": 22 / 6, "median": 4.0, "majority": 4.0}
    documents = pa.table({"text": pa.array(["a text"], pa.large_string())})
    with ChatServer(script) as server:
        for how, score in expected.items():
            stage = LlmJudge(base_urls=(server.url,), models=("m", "n"), votes=3, temperature=1.0, combine=how)
            [row] = stage.annotate(documents).to_pylist()
            assert row["judge_score"] == pytest.approx(score)
            assert (row["judge_votes"], row["judge_spread"]) == (6, 5.0)


def test_labels_are_kept_and_dropped(tmp_path: Path) -> None:
    def script(request: Request, before: int) -> Say:
        label = ("safe", "hate", "crime")[hashed_score(request, 2)]
        return completion(f'{{"reason": "r", "score": 1, "label": "{label}"}}')

    with ChatServer(script) as server:
        stage = judge(server, prompt="safety", keep_labels=["safe"])
        runner.run(recipe(tmp_path, [{"use": "exact_dedup", "orphans": "allow"}, stage]), str(tmp_path / "run"))
    found = facts(tmp_path / "run")
    assert len(kept(tmp_path / "run")) == sum(row["judge_label"] == "safe" for row in found.values())


@pytest.mark.parametrize("keep", [pytest.param(True, marks=pytest.mark.nightly), False])
def test_failures_are_counted_and_kept_or_dropped(tmp_path: Path, keep: bool) -> None:
    def script(request: Request, before: int) -> Say:
        return completion("no JSON") if hashed_score(request) == 0 else right(request, before)

    with ChatServer(script) as server:
        stage = judge(server, min_score=1, keep_missing=keep, tries=2)
        runner.run(recipe(tmp_path, [{"use": "exact_dedup", "orphans": "allow"}, stage]), str(tmp_path / "run"))
    found = facts(tmp_path / "run")
    failed = statuses(found)["invalid_answer"]
    assert failed > 0
    assert len(kept(tmp_path / "run")) == len(found) - (0 if keep else failed)
    report = (tmp_path / "run" / "report.json").read_text()
    assert ('"without score: invalid_answer"' if keep else '"no_score"') in report


def test_cells_and_columns_of_the_mix_take_the_facts(tmp_path: Path) -> None:
    cells = [
        {"name": "good", "where": {"llm_judge.score": {"min": 3}}, "weight": 1},
        {"name": "rest", "weight": 1},
    ]
    with ChatServer(right) as server:
        made = recipe(
            tmp_path,
            [{"use": "exact_dedup"}, judge(server)],
            mix={"mode": "sample", "cells": cells},
            output={"columns": ["fact:llm_judge.judge_score", "fact:llm_judge.judge_reason"]},
        )
        runner.run(made, str(tmp_path / "run"))
    files = list((tmp_path / "run" / "mix").rglob("part-*.parquet"))
    assert "judge_score" in str(pq.read_schema(files[0]).names)


# --- sample and budget ------------------------------------------------------------------------------------------


def test_a_sample_has_equally_many_of_every_dataset(tmp_path: Path) -> None:
    with ChatServer(right) as server:
        for files in (1, 4):
            folder = tmp_path / str(files)
            runner.run(
                recipe(folder, [{"use": "exact_dedup"}, judge(server, sample=30)], files=files), str(folder / "run")
            )
    one, other = facts(tmp_path / "1" / "run"), facts(tmp_path / "4" / "run")
    assert one == other
    assert statuses(one)[None] == 30
    judged = Counter(key.split()[0] for key, row in one.items() if row["judge_status"] is None)
    assert max(judged.values()) - min(judged.values()) <= 1


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 50), min_size=1, max_size=6), st.integers(0, 200))
def test_strata_share_a_sample_evenly(sizes: dict[str, int], total: int) -> None:
    found = allot(sizes, total)
    assert sum(found.values()) == min(total, sum(sizes.values()))
    short = [found[name] for name in sizes if found[name] < sizes[name]]
    assert not short or max(short) - min(short) <= 1
    assert all(found[name] == sizes[name] or found[name] >= max(found.values()) - 1 for name in sizes)


WEIGHED = st.lists(st.tuples(st.integers(0, TOP) | st.integers(0, 3), st.integers(0, 9)), max_size=30)


@given(WEIGHED, st.integers(0, 60), st.integers(1, 4))
def test_a_bound_reaches_as_far_as_the_limit(items: list[tuple[int, int]], limit: int, parts: int) -> None:
    def emit(position: int) -> Any:
        mine = items[position::parts]
        values = np.array([value for value, _ in mine], np.uint64)
        return {"": (values, np.array([[weight] for _, weight in mine], np.int64).reshape(-1, 1))}

    found = bounds(InlineEngine(), emit, range(parts), {"": (limit,)}, PLAN)[""]
    assert sum(weight for value, weight in items if value <= found) <= limit
    beyond = sorted(value for value, _ in items if value > found)
    if beyond:
        assert sum(weight for value, weight in items if value <= beyond[0]) > limit
    else:
        assert found == TOP


BUDGETS: list[dict[str, Any]] = [
    {"budget_tokens": 9000},
    {"budget_tokens": 40_000},
    {"budget_requests": 37},
    {"budget_dollars": 0.01, "price_input": 1.0, "price_output": 3.0},
]


FAULTS = (None, 500, "half", "invalid")
EVERY = [
    pytest.param(b, f, marks=[] if i == j < 2 else pytest.mark.nightly)
    for i, b in enumerate(BUDGETS)
    for j, f in enumerate(FAULTS)
]


@pytest.mark.parametrize(("budget", "fault"), EVERY)
def test_a_budget_is_kept_whatever_fails(tmp_path: Path, budget: dict[str, Any], fault: Any) -> None:
    sent = Counter[str]()

    def script(request: Request, before: int) -> Say:
        length = len(user_text(request).encode())
        say = verdict(hashed_score(request), asked=length // 3, answered=20)
        sent["requests"] += 1
        sent["tokens"] += length // 3 + 20
        sent["dollars"] += length // 3 * 1 + 20 * 3
        if fault is None or hashed_score({**request, "seed": -1}) > 2:
            return say
        return {
            500: refuse(500),
            "half": Say(say.body, cut=20),
            "invalid": completion("?", asked=length // 3, answered=20),
        }[fault]

    with ChatServer(script) as server:
        runner.run(recipe(tmp_path, [{"use": "exact_dedup"}, judge(server, tries=2, **budget)]), str(tmp_path / "run"))
        spent = sum(server.seen.values())
        runner.run(recipe(tmp_path, [{"use": "exact_dedup"}, judge(server, tries=2, **budget)]), str(tmp_path / "run"))
        assert sum(server.seen.values()) == spent, "a finished run asks nothing"
    found = statuses(facts(tmp_path / "run"))
    assert found["no_budget"] > 0
    assert found[None] > 0
    assert sent["requests"] <= budget.get("budget_requests", 1 << 60)
    assert sent["tokens"] <= budget.get("budget_tokens", 1 << 60)
    assert sent["dollars"] <= budget.get("budget_dollars", 1e60) * 1e6


@pytest.mark.nightly
def test_a_server_that_counts_more_tokens_than_bytes_is_found_out(tmp_path: Path) -> None:
    """The first few documents tell; the budget holds for the rest."""
    with ChatServer(lambda request, before: verdict(2, asked=9000, answered=10)) as server:
        stage = judge(server, budget_tokens=300_000, tries=1)
        runner.run(recipe(tmp_path, [{"use": "exact_dedup"}, stage]), str(tmp_path / "run"))
        assert 8 * 9010 < server.tokens <= 300_000
    assert statuses(facts(tmp_path / "run"))["no_budget"] > 0


def test_a_short_budget_chooses_the_same_documents_in_any_order(tmp_path: Path) -> None:
    found = []
    with ChatServer(right) as server:
        for number, (files, concurrency) in enumerate([(1, 64), (5, 7)]):
            stage = judge(server, budget_tokens=12_000, concurrency=concurrency)
            cluster = {"kind": "threads", "workers": 2} if number == 1 else {"kind": "inline"}
            folder = tmp_path / str(number)
            made = recipe(folder, [{"use": "exact_dedup"}, stage], files=files, cluster=cluster)
            runner.run(made, str(folder / "run"))
            found.append(facts(folder / "run"))
    assert found[0] == found[1]
    assert statuses(found[0])["no_budget"] > 0


@pytest.mark.nightly
def test_a_larger_budget_goes_on_from_the_answers(tmp_path: Path) -> None:
    with ChatServer(right) as server:
        for budget in (5000, 12_000, None):
            stage = judge(server, **({} if budget is None else {"budget_tokens": budget}))
            runner.run(recipe(tmp_path, [{"use": "exact_dedup"}, stage]), str(tmp_path / "run"))
        assert set(server.seen.values()) == {1}
    assert statuses(facts(tmp_path / "run")) == {None: len(server.seen)}


@pytest.mark.parametrize("copies", [1, 3])
def test_a_slightly_larger_budget_loses_no_document(tmp_path: Path, copies: int) -> None:
    """What is answered costs nothing, however little is left of the budget."""
    (tmp_path / "in" / "a").mkdir(parents=True)
    texts = [f"text number {i}" for i in range(400)] * copies
    table = pa.table({"text": texts, "id": [str(i) for i in range(len(texts))], "url": ["u"] * len(texts)})
    pq.write_table(table, tmp_path / "in" / "a" / "0.parquet")
    judged, first = [], 6000 * (1 + copies)  # each copy is reserved for
    with ChatServer(lambda request, before: verdict(1, asked=30, answered=10)) as server:
        for budget in (first, first + 1, first + 400):
            runner.run(recipe(tmp_path, [judge(server, budget_tokens=budget)]), str(tmp_path / "run"))
            judged.append(statuses(facts(tmp_path / "run"))[None])
        assert set(server.seen.values()) == {1}
        assert server.tokens <= first + 400
    assert judged[0] > 50 * copies
    assert judged == sorted(judged)


def test_a_plan_asks_nothing(tmp_path: Path) -> None:
    with ChatServer(right) as server:
        plan(recipe(tmp_path, [{"use": "exact_dedup"}, judge(server, min_score=2)]), str(tmp_path / "run"))
        assert not server.seen


# --- kills ------------------------------------------------------------------------------------------------------

KILLED = """
import sys
from pathlib import Path
from tests.stages.test_llm_judge import recipe, runner
import json
stages, run = json.loads(sys.argv[1]), sys.argv[2]
runner.run(recipe(Path(run).parent, stages), run)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [pytest.param({}, marks=pytest.mark.nightly), {"budget_tokens": 40_000}], ids=["all", "budget"]
)
def test_a_killed_run_asks_nothing_twice(tmp_path: Path, more: dict[str, Any]) -> None:
    import json

    child: list[subprocess.Popen[bytes]] = []
    stops = [5, 30]

    def script(request: Request, before: int) -> Say:
        if stops and len(server.answered) >= stops[0]:
            os.kill(child[-1].pid, signal.SIGKILL)
            return Say(hang=True)
        return right(request, before)

    with ChatServer(script) as server:
        stages = [{"use": "exact_dedup"}, judge(server, concurrency=1, **more)]
        recipe(tmp_path, stages)
        while stops:
            arguments = [sys.executable, "-c", KILLED, json.dumps(stages), str(tmp_path / "run")]
            child.append(subprocess.Popen(arguments, cwd=ROOT))
            assert child[-1].wait(120) == -signal.SIGKILL
            del stops[0]
        runner.run(recipe(tmp_path, stages), str(tmp_path / "run"))
        assert set(server.answered.values()) == {1}
        assert server.tokens <= more.get("budget_tokens", 1 << 60)
        runner.run(recipe(tmp_path, stages), str(tmp_path / "whole"))
    assert facts(tmp_path / "run") == facts(tmp_path / "whole")


def test_a_server_that_is_gone_stops_the_run_and_the_next_goes_on(tmp_path: Path) -> None:
    def dying(request: Request, before: int) -> Say:
        if len(bad.answered) >= 20:
            bad._loop.call_soon(bad._stopping.set)
        return right(request, before)

    with ChatServer(dying) as bad:
        stage = judge(bad, patience=1.0, timeout=5.0)
        with pytest.raises(BackendError, match="goes on from there"):
            runner.run(recipe(tmp_path, [{"use": "exact_dedup"}, stage]), str(tmp_path / "run"))
    with ChatServer(right) as good:
        runner.run(recipe(tmp_path, [{"use": "exact_dedup"}, judge(good)]), str(tmp_path / "run"))
    assert not bad.answered & good.answered
    assert statuses(facts(tmp_path / "run")) == {None: len(bad.answered | good.answered)}


SECRET = "sk-not-for-any-file-4711"


def test_no_key_is_in_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", SECRET)

    def echo(request: Request, before: int) -> Say:
        return completion(f'{{"reason": "{SECRET}", "score": 1}}')

    with ChatServer(echo) as server:
        runner.run(recipe(tmp_path, [judge(server, key_env="JUDGE_KEY")]), str(tmp_path / "run"))
    assert {headers["authorization"] for headers in server.headers} == {f"Bearer {SECRET}"}
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


# --- parameters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"models": ()}, "at least one model"),
        ({"models": ("m", "m")}, "different models"),
        ({"base_urls": ()}, "at least one server"),
        ({"base_urls": ("http://u:pw@h/v1",)}, "no secret"),
        ({"votes": 3}, "temperature is 0"),
        ({"min_score": 4, "max_score": 2}, "at most max_score"),
        ({"budget_dollars": 1.0}, "price_input"),
        ({"prompt": "nothing"}, "edu, instruction"),
        ({"keep_labels": ("safe",)}, "it has none"),
        ({"prompt": "safety", "keep_labels": ("nice",)}, "a label of prompt safety"),
        ({"extra": ("top_k",)}, "KEY=JSON"),
        ({"extra": ('api_key="k"',)}, "no secret"),
        ({"key_env": "sk-abcd"}, "name of an environment variable"),
        ({"base_urls": ("http://h/v1?a=b",)}, "end with a path"),
    ],
)
def test_what_is_wrong_is_said(more: dict[str, Any], what: str) -> None:
    with pytest.raises(RecipeError, match=what):
        LlmJudge(**{"base_urls": ("http://h/v1",), "models": ("m",), **more})
