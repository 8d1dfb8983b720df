"""Mixes of cells, several of one run: recomputed from the ledger, the same for any workers and files, crash-safe."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.errors import RecipeError
from pipelines.mix import materialize
from pipelines.recipe.to_run import mixes_of_recipe
from pipelines.run import runner
from pipelines.runfolder import open_run
from stages.outcome.draw import Draw
from stages.outcome.holdout import held_out
from stages.outcome.ledger import rows_of
from stages.outcome.mixing import Mix
from stages.outcome.verdicts import Outcome
from tests.support import corpora, small_runs

STAGES: list[dict[str, Any]] = [
    {"use": "exact_dedup", "datasets": ["a"]},
    {"use": "minhash", "shingle_width": 8, "num_permutations": 64},
    {"use": "quality", "name": "hq", "model": "column:score", "min_score": 0.1},
]
CELLS = [
    {"name": "best", "where": {"hq.score": {"min_quantile": 0.8}}, "weight": 3},
    {"name": "long", "where": {"dataset": ["a", "b"], "num_tokens": {"min": 40}}, "weight": 1, "max_epochs": 1},
    {"name": "rest", "tokens": 2000, "upsample": {"by": "group_size", "table": {1: 1, 2: 2, 3: 3}}},
]
WISH: dict[str, Any] = {
    "mix": {"mode": "sample", "max_epochs": 4, "cells": CELLS},
    "mixes": {"stable": {"target_tokens": 9000}, "anneal": {"target_tokens": 6000, "exclude": ["stable"]}},
    "output": {"columns": ["fact:*.score", "fact:domain"], "holdout": {"share": 0.2, "by": "domain"}},
}
INTERLEAVED = {**WISH["output"], "layout": "interleaved", "shard_bytes": 6_000}


def documents() -> list[corpora.Document]:
    found = corpora.corpus(11, 500)
    for n, document in enumerate(found):
        document["url"] = None if n % 9 == 0 else f"https://www.site{n % 40}.example/{n}"
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("mixes")
    small_runs.run(root / "run", corpora.write(root / "in", documents(), 2), STAGES, **WISH)
    return root


def rows(run: Path, mix: str, kind: str = "part") -> list[dict[str, Any]]:
    files = sorted((run / "mixes" / mix).rglob(f"{kind}-*.parquet"))
    return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


def manifest(run: Path, mix: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "mixes" / mix / "manifest.json").read_text())
    return found


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not p.name.startswith(".")
    }


def expected_cell(row: dict[str, Any], score: float, limit: float) -> str:
    if score >= limit:
        return "best"
    return "long" if row["dataset"] in "ab" and row["num_tokens"] >= 40 else "rest"


def test_three_cells_in_two_phases_are_what_the_ledger_gives(folder: Path) -> None:
    run = folder / "run"
    ledger = small_runs.read_ledger(run).to_pylist()
    score = {d["id"]: d["score"] for d in documents()}
    held = {row["doc_id"] for row in rows(run, "stable", "holdout")}
    there = [r for r in ledger if r["kept"] and r["doc_id"] not in held]
    ordered = sorted(score[r["id"]] for r in there)
    limit = ordered[-(-len(ordered) * 4 // 5) - 1]
    cells = {r["doc_id"]: expected_cell(r, score[r["id"]], limit) for r in there}
    assert Counter(cells.values()).keys() == {"best", "long", "rest"}
    taken: set[int] = set()
    for mix in ("stable", "anneal"):
        assert {r["doc_id"]: r[f"cell_{mix}"] for r in there if r["doc_id"] not in taken} == {
            doc: cell for doc, cell in cells.items() if doc not in taken
        }
        written = rows(run, mix)
        copies = Counter(row["doc_id"] for row in written)
        assert copies == {r["doc_id"]: r[f"copies_{mix}"] for r in ledger if r[f"copies_{mix}"]}
        assert all(row["cell"] == cells[row["doc_id"]] and row["copies"] == copies[row["doc_id"]] for row in written)
        assert not taken & copies.keys()
        check_shares(manifest(run, mix)["cells"], [r for r in there if r["doc_id"] not in taken], cells, copies)
        taken |= copies.keys()
    assert all(r["copies"] == r["copies_stable"] + r["copies_anneal"] for r in ledger)


def check_shares(
    told: dict[str, Any], there: list[dict[str, Any]], cells: dict[int, str], copies: Counter[int]
) -> None:
    """Recompute each cell's tokens; what was written lies within five standard errors of what is expected."""
    for name, cell in told.items():
        mine = [r for r in there if cells[r["doc_id"]] == name]
        assert cell["documents_available"] == len(mine)
        assert cell["tokens_available"] == sum(r["num_tokens"] for r in mine)
        assert cell["tokens_written"] == sum(r["num_tokens"] * copies[r["doc_id"]] for r in mine)
        assert cell["rows_written"] == sum(copies[r["doc_id"]] for r in mine)
        epochs = {1: cell["epochs"]}
        if cell["levels"]:
            epochs = dict(enumerate(level["epochs"] for level in cell["levels"]))
        each = [(r["num_tokens"], epochs[min(3, r["group_size"]) if cell["levels"] else 1]) for r in mine]
        expected = sum(t * e for t, e in each)
        error = sum(t * t * (e % 1) * (1 - e % 1) for t, e in each) ** 0.5
        assert abs(cell["tokens_written"] - expected) <= 5 * error + 1
        reached = cell["tokens_wanted"] - expected
        assert reached < 2 or all(e == cell["max_epochs"] for _, e in each if e)  # all that there is
        assert cell["tokens_over"] - cell["tokens_under"] == cell["tokens_written"] - cell["tokens_wanted"]


def test_what_is_held_out_shares_no_domain_with_the_training_part(folder: Path) -> None:
    run = folder / "run"
    held = {row["domain"] for row in rows(run, "stable", "holdout")} - {None}
    assert held
    assert not held & {row["domain"] for mix in ("stable", "anneal") for row in rows(run, mix)}
    assert not list((run / "mixes" / "stable").glob("[abc]/holdout-*"))
    told = manifest(run, "stable")["holdout"]
    assert 0 < told["greatest"] <= 1
    assert told["measured"] > 20
    assert "minhash" in told["how"]


def test_facts_are_columns_of_the_mix(folder: Path) -> None:
    score = {d["id"]: d["score"] for d in documents()}
    assert all(row["hq_score"] == score[row["id"]] for row in rows(folder / "run", "anneal"))


@pytest.fixture(scope="module")
def one_stream(folder: Path) -> Path:
    """Return the run with interleaved files, written once more from the same decisions."""
    run = folder / "interleaved"
    shutil.copytree(folder / "run", run)
    paths = {name: str(folder / "in" / name) for name in "abc"}
    small_runs.run(run, paths, STAGES, **{**WISH, "output": INTERLEAVED})
    return run


def test_each_interleaved_file_is_a_sample_of_the_whole(folder: Path, one_stream: Path) -> None:
    files = sorted((one_stream / "mixes" / "stable" / "interleaved").glob("part-*"))
    assert len(files) >= 3
    cells = [Counter(pq.ParquetFile(f).read(["cell"]).column("cell").to_pylist()) for f in files]
    assert all(cells[0].keys() == each.keys() for each in cells)
    same = sorted((r["doc_id"], r["text"]) for r in rows(one_stream, "stable"))
    assert same == sorted((r["doc_id"], r["text"]) for r in rows(folder / "run", "stable"))
    opened = open_run(str(one_stream), warn=False).of_mix("stable")
    assert sum(t.num_rows for name in "abc" for t in opened.mix(name, ["doc_id"])) == len(same)
    assert opened.files == [str(f) for f in files]


@pytest.mark.parametrize("permuted", [False, True], ids=["three workers", "other files"])
def test_neither_workers_nor_files_change_the_mix(
    folder: Path, one_stream: Path, tmp_path: Path, permuted: bool
) -> None:
    found = documents()
    if permuted:
        random.Random(8).shuffle(found)
    paths = corpora.write(tmp_path / "in", found, 5) if permuted else {n: str(folder / "in" / n) for n in "abc"}
    cluster = {"kind": "threads", "workers": 3}
    recipe = small_runs.recipe_of(paths, STAGES, **{**WISH, "output": INTERLEAVED, "cluster": cluster})
    runner.run(recipe, str(tmp_path / "run"), with_report=False)
    for mix in ("stable", "anneal"):
        if not permuted:
            names = ("interleaved", "holdout")
            mine, theirs = (run / "mixes" / mix for run in (tmp_path / "run", one_stream))
            assert [digests(mine / n) for n in names] == [digests(theirs / n) for n in names]
        order = [
            [(r["text"], r["id"], r["url"], r["copies"], r["cell"]) for r in rows(run, mix)]
            for run in (tmp_path / "run", one_stream)
        ]
        assert order[0] == order[1]


def test_a_mix_is_written_again_after_a_kill_and_no_other_is_touched(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder / "run", tmp_path / "run")
    run = tmp_path / "run"
    paths = {name: str(folder / "in" / name) for name in "abc"}
    before = {mix: digests(run / "mixes" / mix) for mix in ("stable", "anneal")}
    recipe = small_runs.recipe_of(paths, STAGES, **WISH)
    (run / "mixes" / "anneal" / ".made-by").unlink()
    finish, left = materialize._finish, iter(range(2))

    def killed(*given: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return finish(*given)

    with monkeypatch.context() as patch:
        patch.setattr(materialize, "_finish", killed)
        with pytest.raises(KeyboardInterrupt):
            runner.run(recipe, str(run), with_report=False, mixes=["anneal"])
    assert not (run / "mixes" / "anneal" / "manifest.json").exists()
    assert digests(run / "mixes" / "stable") == before["stable"]
    result = runner.run(recipe, str(run), with_report=False, mixes=["anneal"])
    assert {mix: digests(run / "mixes" / mix) for mix in ("stable", "anneal")} == before
    assert (result.mixes, result.changes) == (("anneal",), ())
    with pytest.raises(RecipeError, match="no mix is called 'anneel'; there are stable, anneal"):
        runner.run(recipe, str(run), mixes=["anneel"])


def test_a_mix_is_written_again_where_one_that_it_excludes_is_changed(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "run", tmp_path / "run")
    paths = {name: str(folder / "in" / name) for name in "abc"}
    more = {**WISH, "mixes": {**WISH["mixes"], "stable": {"target_tokens": 4000}}}
    runner.run(small_runs.recipe_of(paths, STAGES, **more), str(tmp_path / "run"), with_report=False)
    ledger = small_runs.read_ledger(tmp_path / "run").to_pylist()
    for mix in ("stable", "anneal"):
        written = Counter(row["doc_id"] for row in rows(tmp_path / "run", mix))
        assert written == {r["doc_id"]: r[f"copies_{mix}"] for r in ledger if r[f"copies_{mix}"]}


def test_a_mix_that_several_exclude_is_drawn_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wish = {**WISH, "mixes": {f"m{n}": {"exclude": [f"m{k}" for k in range(n)]} for n in range(30)}}
    mixes = mixes_of_recipe(small_runs.recipe_of({name: str(folder / "in" / name) for name in "abc"}, STAGES, **wish))
    assert [mix.name for mix in mixes] == [f"m{n}" for n in range(30)]
    draws: list[Draw] = []
    for n in range(8):
        mix = Mix(mode="sample", name=f"m{n}")
        draws.append(Draw(mix=mix, epochs=dict.fromkeys("abc", (0.2,)), excluded=tuple(draws)))
    asked: list[str] = []

    def counted(mix: Mix, position: int, found: Outcome) -> Any:
        asked.append(mix.name)
        return held_out(mix, position, found)

    monkeypatch.setattr("stages.outcome.draw.held_out", counted)
    table = rows_of(open_run(str(folder / "run")).run, draws, 0)
    assert asked == [mix.mix.name for mix in draws]
    assert max(table.column("copies").to_pylist()) == 1


def test_a_changed_cell_is_told_and_only_it(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "run", tmp_path / "run")
    paths = {name: str(folder / "in" / name) for name in "abc"}
    cells = [CELLS[0], CELLS[1], {**CELLS[2], "tokens": 1000}]
    wish = {**WISH, "mix": {**WISH["mix"], "cells": cells}, "mixes": {"stable": {}, "anneal": {"exclude": ["stable"]}}}
    result = runner.run(small_runs.recipe_of(paths, STAGES, **wish), str(tmp_path / "run"), mixes=["stable"])
    told = [text for text in result.changes if "cell rest changed: tokens written" in text]
    assert len(told) == 1
    assert "%" in told[0]
    assert "epochs" in told[0]
    page = (tmp_path / "run" / "mixes" / "stable" / "README.md").read_text()
    assert "| rest |" in page
    assert "tokens wanted" in page


def test_copies_of_one_text_fill_their_share_without_exact_dedup(tmp_path: Path) -> None:
    random_ = random.Random(2)
    texts = [corpora.text(random_, 30) for _ in range(20)]
    found = [
        {"dataset": name, "text": texts[0] if n % 2 else texts[n % 20], "id": f"{name}{n}", "url": None, "score": 1.0}
        for name in "ab"
        for n in range(400)
    ]
    counts = []
    for turn in range(2):
        random_.shuffle(found)
        paths = corpora.write(tmp_path / f"in{turn}", found, 3 + turn)
        recipe = small_runs.recipe_of(
            paths, [], mix={"mode": "sample", "weights": {"a": 1, "b": 1}, "target_tokens": 26_000}
        )
        runner.run(recipe, str(tmp_path / f"run{turn}"), with_report=False)
        ledger: pa.Table = small_runs.read_ledger(tmp_path / f"run{turn}")
        counts.append({row["id"]: row["copies"] for row in ledger.to_pylist()})
        told = json.loads((tmp_path / f"run{turn}" / "mix" / "manifest.json").read_text())["cells"]
        assert all(abs(c["tokens_written"] - c["tokens_wanted"]) < 0.03 * c["tokens_wanted"] for c in told.values())
        assert all(0 < c["epochs"] < 1 for c in told.values())
    assert counts[0] == counts[1]


def test_a_group_is_held_out_whole(tmp_path: Path) -> None:
    random_ = random.Random(5)
    bases = [corpora.text(random_, 60) for _ in range(60)]
    found = [
        {"dataset": "a", "text": base + " x" * n, "id": f"{i}-{n}", "url": None, "score": 1.0}
        for i, base in enumerate(bases)
        for n in range(4)
    ]
    paths = corpora.write(tmp_path / "in", found, 3)
    output = {"holdout": {"share": 0.05, "by": "group"}}
    small_runs.run(tmp_path / "run", paths, [STAGES[1]], output=output)
    held = [r["id"] for f in (tmp_path / "run/mix").rglob("holdout-*") for r in pq.ParquetFile(f).read().to_pylist()]
    sizes = Counter(name.partition("-")[0] for name in held)
    assert 0 < len(sizes) < 30
    assert set(sizes.values()) == {4}
    told = json.loads((tmp_path / "run" / "mix" / "manifest.json").read_text())["holdout"]
    assert told["greatest"] < 0.5
