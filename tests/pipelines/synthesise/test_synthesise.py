"""Synthetic datasets: lineage of every document, checks, budget, nothing asked twice, a run that takes them in."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from cluster.errors import RecipeError
from pipelines.cli.main import main
from pipelines.commands.synthesise import recipe_with, run_again, synthesise_in
from pipelines.commands.verify import verify
from pipelines.explain.explain import explain
from pipelines.recipe.recipe import load_data, load_recipe
from pipelines.run import runner
from pipelines.runfolder import open_run
from pipelines.synthesise.settings import load
from tests.support.chat_server import ChatServer, Request, Say, completion, refuse, user_text

WORDS = ["river", "stone", "light", "paper", "garden", "winter", "market", "signal", "engine", "harbour", "window"]


def words(seed: str, count: int) -> str:
    """Return words that follow from a text alone."""
    found, digest = [], b""
    for i in range(count):
        digest = hashlib.sha256(f"{seed} {i}".encode()).digest()
        found.append(WORDS[digest[0] % len(WORDS)] + WORDS[digest[1] % len(WORDS)] + str(digest[2] % 50))
    return " ".join(found)


def source_of(request: Request) -> str:
    """Return the text that a request asks about."""
    found = re.search(r'"""\n(.*?)\n"""', user_text(request), re.DOTALL)
    assert found
    return found[1]


def honest(request: Request, before: int) -> Say:
    """Answer with other words about the same text: as many as it has."""
    return completion(words(user_text(request) + str(request["seed"]), max(20, len(source_of(request).split()))))


def corpus(folder: Path, rows: int = 40) -> Path:
    """Run a recipe over two datasets with a score; return the run folder."""
    (folder / "in").mkdir(parents=True)
    for name in "ab":
        texts = [words(f"{name} {i}", 60) for i in range(rows)]
        table = pa.table(
            {
                "text": texts,
                "id": [f"{name}-{i}" for i in range(rows)],
                "url": [f"https://{name}.example/{i}" for i in range(rows)],
                "score": [i / rows for i in range(rows)],
            }
        )
        pq.write_table(table, folder / "in" / f"{name}.parquet")
    columns = {"text": "text", "id": "id", "url": "url"}
    data = {
        "name": "t",
        "datasets": {
            name: {"paths": str(folder / "in" / f"{name}.parquet"), "columns": columns, "licence": "cc-by-4.0"}
            for name in "ab"
        },
        "stages": [
            {"use": "exact_dedup"},
            {"use": "minhash", "shingle_width": 8},
            {"use": "near_dedup", "jaccard_threshold": 0.7},
            {"use": "quality", "name": "hq", "model": "column:score", "datasets": ["a", "b"]},
        ],
        "cluster": {"kind": "inline"},
    }
    runner.run(load_data(data, "test"), str(folder / "run"))
    return folder / "run"


def settings(folder: Path, server: ChatServer, **more: Any) -> str:
    data = {
        "name": "wiki",
        "base_urls": [server.url],
        "models": ["m"],
        "prompts": ["wikipedia"],
        "backoff": 0.0,
        **more,
    }
    path = folder / f"{data['name']}.yaml"
    path.write_text(yaml.safe_dump(data))
    return str(path)


def rows_of(run: Path, name: str = "wiki") -> list[dict[str, Any]]:
    files = sorted((run / "synthetic" / name).glob("part-*.parquet"))
    return [row for path in files for row in pq.read_table(path).to_pylist()]


def test_every_document_names_its_source_and_explain_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = corpus(tmp_path)
    with ChatServer(honest) as server:
        wish = settings(tmp_path, server, where={"hq.score": {"max": 0.5}, "dataset": "a"})
        assert main(["synthesise", str(run), wish, "--run", "--quiet"]) == 0
        assert set(server.seen.values()) == {1}
    rows = rows_of(run)
    source = {row["id"]: row for row in pq.read_table(tmp_path / "in" / "a.parquet").to_pylist()}
    assert len(rows) == 21
    for row in rows:
        made_of = source[row["source_id"]]
        assert made_of["score"] <= 0.5
        assert row["chunk_text"] in made_of["text"]
        assert row["source_path"] == str(tmp_path / "in" / "a.parquet")
        assert made_of == source[f"a-{row['source_row']}"]
        assert (row["source_dataset"], row["source_url"], row["prompt"], row["model"]) == (
            "a",
            made_of["url"],
            "wikipedia",
            "m",
        )
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows[:3]:
        [found] = explain(str(run), id=row["id"])["documents"]
        assert found["dataset"] == "wiki"
        assert found["made_from"] is not None
        assert found["made_from"]["source_doc_id"] == row["source_doc_id"]
        [origin] = explain(str(run), doc_id=row["source_doc_id"])["documents"]
        assert origin["id"] == row["source_id"]
        assert origin["made_from"] is None
    capsys.readouterr()
    assert main(["explain", str(run), "--id", rows[0]["id"]]) == 0
    shown = capsys.readouterr().out
    assert "made from" in shown
    assert rows[0]["source_id"] in shown


def test_the_run_takes_it_in_as_a_dataset_of_its_own(tmp_path: Path) -> None:
    run = corpus(tmp_path)
    with ChatServer(honest) as server:
        card = synthesise_in(str(run), settings(tmp_path, server, weight=3.0))
        recipe = recipe_with(load_recipe(str(run / "recipe.lock.yaml"), []), str(run), card)
        run_again(recipe, str(run))
        asked = sum(server.seen.values())
        assert synthesise_in(str(run), settings(tmp_path, server, weight=3.0)) == card, "it is not rewritten itself"
        assert sum(server.seen.values()) == asked
    assert card["licence"] == "cc-by-4.0"
    assert card["synthetic"] is True
    folder = open_run(str(run))
    assert folder.counts["wiki"].kept == card["outputs"] == 80
    page = (run / "mix" / "README.md").read_text()
    head = yaml.safe_load(page.split("---")[1])
    assert head["synthetic"] is True
    assert head["synthetic_datasets"] == ["wiki"]
    assert "synthetic" in head["tags"]
    assert recipe.mix.weights["wiki"] == 3.0
    assert recipe.priority[-1] == "wiki"


@pytest.mark.nightly
def test_copies_of_sources_are_dropped_by_the_run(tmp_path: Path) -> None:
    """What passes the checks and yet resembles a document of the mix loses to it: it stands last."""
    run = corpus(tmp_path)
    with ChatServer(lambda request, before: completion(source_of(request) + " end")) as server:
        wish = settings(tmp_path, server, checks={"max_copied": 1.0})
        card = synthesise_in(str(run), wish)
        run_again(recipe_with(load_recipe(str(run / "recipe.lock.yaml"), []), str(run), card), str(run))
    folder = open_run(str(run))
    assert card["outputs"] == 80
    assert folder.counts["wiki"].kept == 0
    assert folder.counts["a"].kept == 40


def test_unusable_outputs_are_counted_by_reason(tmp_path: Path) -> None:
    run = corpus(tmp_path)

    def script(request: Request, before: int) -> Say:
        source = source_of(request)
        kind = hashlib.sha256(source.encode()).digest()[0] % 7
        said = words(source, 60)
        return [
            completion(said),
            completion("I'm sorry, but I cannot help with that. " + said),
            completion(source),
            completion("Yes."),
            completion(said + " " + words(source + "x", 400)),
            completion(f"The original text says: {said}"),
            refuse(400, "too long"),
        ][kind]

    with ChatServer(script) as server:
        card = synthesise_in(str(run), settings(tmp_path, server))
    reasons = card["prompts"]["wikipedia"]
    assert sum(reasons.values()) == 80
    assert set(reasons) == {"kept", "refusal", "copied", "too_short", "too_long", "prompt_leak", "bad_request"}
    assert reasons["kept"] == len(rows_of(run))


def test_critique_and_refinement_are_kept(tmp_path: Path) -> None:
    run = corpus(tmp_path, rows=6)

    def script(request: Request, before: int) -> Say:
        told = user_text(request)
        if "EDITOR:" in told:
            return completion("better " + words(told, 60))
        if "DRAFT:" in told:
            good = '"""\nbetter' in told
            return completion(json.dumps({"reason": "say more", "label": "good" if good else "improve"}))
        return honest(request, before)

    with ChatServer(script) as server:
        synthesise_in(str(run), settings(tmp_path, server, rounds=2))
        assert len(server.seen) == 12 * 4, "draft, critique, refinement, critique"
    rows = rows_of(run)
    assert len(rows) == 12
    assert all(row["text"].startswith("better") and row["critiques"] == ["say more", "say more"] for row in rows)


def test_making_it_again_gives_the_same_and_asks_nothing(tmp_path: Path) -> None:
    run = corpus(tmp_path)
    with ChatServer(honest) as server:
        wish = settings(tmp_path, server, prompts=["wikipedia", "knowledge_list"], concurrency=3)
        synthesise_in(str(run), wish)
        first = rows_of(run)
        asked = sum(server.seen.values())
        for path in (run / "synthetic" / "wiki").iterdir():
            path.unlink()
        synthesise_in(str(run), wish, workers=1)
        assert rows_of(run) == first
        assert sum(server.seen.values()) == asked == len(server.seen), "answers are kept"


@pytest.mark.parametrize("budget", [{"budget_requests": 11}, {"budget_tokens": 25_000}])
def test_a_budget_is_kept(tmp_path: Path, budget: dict[str, int]) -> None:
    run = corpus(tmp_path)
    with ChatServer(honest) as server:
        card = synthesise_in(str(run), settings(tmp_path, server, tries=1, max_tokens=200, **budget))
        assert 0 < sum(server.seen.values()) <= budget.get("budget_requests", 1 << 30)
        assert server.tokens <= budget.get("budget_tokens", 1 << 30)
    assert 0 < card["documents"] < 80


@pytest.mark.nightly
def test_a_sample_follows_from_the_content(tmp_path: Path) -> None:
    run = corpus(tmp_path)
    with ChatServer(honest) as server:
        card = synthesise_in(str(run), settings(tmp_path, server, sample=9))
    assert card["documents"] == 9
    assert len({row["source_doc_id"] for row in rows_of(run)}) == 9


def test_personal_data_that_the_mix_has_not_is_sent_to_no_model(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    texts = [f"{words(str(i), 40)} write to somebody{i}@example.org" for i in range(5)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "in" / "a.parquet")
    stages = [{"use": "pii"}]
    data = {
        "name": "t",
        "datasets": {"a": {"paths": str(tmp_path / "in")}},
        "stages": stages,
        "cluster": {"kind": "inline"},
    }
    runner.run(load_data(data, "test"), str(tmp_path / "run"))
    with ChatServer(honest) as server:
        synthesise_in(str(tmp_path / "run"), settings(tmp_path, server))
        assert server.seen
        assert not any("@example.org" in body for body in server.seen)


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"prompt": ["wikipedia"]}, "prompt: Extra inputs"),
        ({"prompts": ["encyclopaedia"]}, "wikipedia, wrap_easy"),
        ({"prompts": []}, "prompts"),
        ({"name": "a/b"}, "name must be made of"),
        ({"base_urls": ["localhost"]}, "base_urls must be URLs"),
        ({"budget_dollars": 1}, "price_input"),
        ({"where": {"hq.score": {"min": 3, "max": 2}}}, "min below max"),
    ],
)
def test_what_is_wrong_with_the_settings_is_said(tmp_path: Path, more: dict[str, Any], what: str) -> None:
    data = {"name": "wiki", "base_urls": ["http://h/v1"], "models": ["m"], "prompts": ["wikipedia"], **more}
    path = tmp_path / "wiki.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(RecipeError, match=what):
        load(str(path))


def test_what_does_not_fit_the_run_is_said(tmp_path: Path) -> None:
    run = corpus(tmp_path, rows=4)
    with ChatServer(honest) as server:
        with pytest.raises(RecipeError, match="is no field"):
            synthesise_in(str(run), settings(tmp_path, server, where={"edu.score": 3}))
        with pytest.raises(RecipeError, match="none meets"):
            synthesise_in(str(run), settings(tmp_path, server, where={"hq.score": {"min": 9}}))
        with pytest.raises(RecipeError, match="is a dataset of the run"):
            synthesise_in(str(run), settings(tmp_path, server, name="a"))
        synthesise_in(str(run), settings(tmp_path, server))
        with pytest.raises(RecipeError, match="made of other settings"):
            synthesise_in(str(run), settings(tmp_path, server, seed=1))


def test_what_an_attempt_of_another_run_left_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise OSError(28, "no space")

    run, other = corpus(tmp_path), corpus(tmp_path / "other")
    with ChatServer(honest) as server:
        wish = settings(tmp_path, server)
        with monkeypatch.context() as patch:
            patch.setattr("pipelines.synthesise.synthesise._card", stopped)
            with pytest.raises(OSError, match="no space"):
                synthesise_in(str(run), wish)
        begun = [path.name for path in (run / "exchange").glob("synthesise-*")]
        assert len(begun) == 1
        assert list((run / "exchange" / begun[0]).glob("parts/*.json"))
        assert verify(str(run), remove=True)["faults"] == []
        stale = run / "synthetic" / "wiki" / "part-00099.parquet"
        stale.write_bytes(b"left by an attempt with more parts")
        for each in (run, other):
            data = yaml.safe_load((each / "recipe.lock.yaml").read_text())
            data["stages"][-1]["min_score"] = 0.5
            runner.run(load_data(data, "test"), str(each))
        synthesise_in(str(run), wish)
        synthesise_in(str(other), wish)
    assert not list((run / "exchange").glob("synthesise-*"))
    assert not stale.exists()
    assert [row["text"] for row in rows_of(run)] == [row["text"] for row in rows_of(other)]
    assert len(rows_of(run)) == 40


def test_verify_finds_what_was_damaged(tmp_path: Path) -> None:
    run = corpus(tmp_path, rows=10)
    with ChatServer(honest) as server:
        synthesise_in(str(run), settings(tmp_path, server))
    assert verify(str(run))["faults"] == []
    [log] = (run / "answers").rglob("*.log")
    [part] = (run / "synthetic" / "wiki").glob("*.parquet")
    card = run / "synthetic" / "wiki" / "card.json"
    for path, old, new in ((log, b'"u"', b'"v"'), (part, b"wikipedia", b"wikipedja"), (card, b'"wiki"', b'"wika"')):
        path.write_bytes(path.read_bytes().replace(old, new, 1))
    faults = {fault["path"]: fault for fault in verify(str(run))["faults"]}
    assert set(faults) == {str(path.relative_to(run)) for path in (log, part, card)}
    assert "1 of its lines" in faults[str(log.relative_to(run))]["what"]


@pytest.mark.parametrize("name", ["synthesis-low", "synthesis-high"])
def test_the_examples_load(name: str) -> None:
    assert load(str(Path(__file__).parents[3] / "docs" / "examples" / f"{name}.yaml")).prompts


def test_the_example_recipe_loads() -> None:
    assert load_recipe(str(Path(__file__).parents[3] / "docs" / "examples" / "judged.yaml"), []).stages
