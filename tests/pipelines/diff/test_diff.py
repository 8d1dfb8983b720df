"""`winnow diff` against a comparison of the two ledgers by plain Python, over generated corpora."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.errors import RecipeError
from pipelines.diff import spill
from pipelines.diff.diff import NAMED, diff
from pipelines.diff.page import render_page
from tests.support.command_line import subprocess_of
from tests.support.small_runs import STAGES, run

WORDS = [f"word{n}" for n in range(60)]


def documents(seed: int, rows: int, start: int = 0) -> list[dict[str, Any]]:
    """Return rows, every third a near copy of one before it."""
    rng = random.Random(seed)
    found: list[dict[str, Any]] = []
    for n in range(start, start + rows):
        words = rng.choices(WORDS, k=30)
        if found and n % 3 == 0:
            words = [*rng.choice(found)["text"].split()[:29], rng.choice(WORDS)]
        number = None if n % 11 == 0 else f"id{n}"
        url = f"https://www.site{n % 5}.example/{n}"
        found.append({"text": " ".join(words), "id": number, "url": url, "score": rng.random()})
    return found


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def paths(folder: Path) -> dict[str, str]:
    return {name: str(folder / name) for name in ("a", "b")}


def by_identity(ledger: pa.Table, inputs: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return ledger rows by what tells a document: its file's bytes and row, else its id and how often it came."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    seen: Counter[tuple[str, str]] = Counter()
    for row in sorted(ledger.to_pylist(), key=lambda r: r["doc_id"]):
        path = Path(row["path"])
        other = OTHER[inputs] / path.relative_to(inputs)
        if other.exists() and other.read_bytes() == path.read_bytes():
            key: tuple[Any, ...] = (row["dataset"], path.name, row["row"])
        elif row["id"] is not None:
            key = (row["dataset"], row["id"], f"time {seen[row['dataset'], row['id']]}")
            seen[row["dataset"], row["id"]] += 1
        else:
            key = (str(inputs), row["doc_id"])
        found[key] = row
    return found


OTHER: dict[Path, Path] = {}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[Any, Any], dict[Any, Any]]:
    """Two runs: one file is equal, one edited, one new, one gone; two thresholds differ."""
    root = tmp_path_factory.mktemp("runs")
    old, new = root / "old-in", root / "new-in"
    OTHER.update({old: new, new: old})
    for folder in (old, new):
        write(folder / "a" / "same.parquet", documents(1, 60))
    write(old / "b" / "changed.parquet", documents(2, 60))
    rows = documents(2, 60)
    write(new / "b" / "changed.parquet", [*documents(9, 5, 500), *rows[10:40], rows[20], *rows[45:]])
    write(old / "b" / "gone.parquet", documents(3, 20, 100))
    write(new / "b" / "fresh.parquet", documents(4, 20, 200))
    stricter = [*STAGES[:2], {**STAGES[2], "jaccard_threshold": 0.9}, {**STAGES[3], "min_score": 0.5}]
    one = run(root / "old", paths(old))
    other = run(root / "new", paths(new), stricter, mix={"mode": "sample", "weights": {"a": 2, "b": 1}})
    return root / "old", root / "new", by_identity(one, old), by_identity(other, new)


def test_documents_that_entered_and_left_are_those_that_the_ledgers_tell(runs: Any, tmp_path: Path) -> None:
    old, new, before, after = runs
    found = diff(str(old), str(new), out=str(tmp_path / "changes.parquet"))
    wanted: Counter[tuple[str, ...]] = Counter()
    pairs = set()
    for key in before.keys() | after.keys():
        was, now = before.get(key), after.get(key)
        if bool(was and was["kept"]) != bool(now and now["kept"]):
            lost = now if was and was["kept"] else was
            change = "left" if was and was["kept"] else "entered"
            keeps = was if change == "left" else now
            reason = (lost["stage"], lost["reason"]) if lost else ("", "")
            wanted[change, keeps["dataset"], *reason] += 1
            pairs.add((change, was and was["doc_id"], now and now["doc_id"]))
    assert len(wanted) > 5
    assert {
        tuple(c[n] for n in ("change", "dataset", "stage", "reason")): c["documents"] for c in found["causes"]
    } == wanted
    written = pq.read_table(tmp_path / "changes.parquet").to_pylist()
    assert {(row["change"], row["old_doc_id"], row["new_doc_id"]) for row in written} == pairs
    assert len(written) == len(pairs)
    tokens = {
        side: {row["doc_id"]: row["num_tokens"] for row in ledger.values()}
        for side, ledger in (("old", before), ("new", after))
    }
    for row in written:
        side = "new" if row["change"] == "entered" else "old"
        assert row["tokens"] == tokens[side][row[f"{side}_doc_id"]]


def test_totals_are_those_of_each_ledger(runs: Any) -> None:
    old, new, before, after = runs
    found = diff(str(old), str(new))
    for side, ledger in (("old", before), ("new", after)):
        for name in ("a", "b"):
            rows = [row for row in ledger.values() if row["dataset"] == name]
            entry = found["datasets"][name][side]  # type: ignore[literal-required]
            kept = [row for row in rows if row["kept"]]
            assert entry["rows"] == len(rows)
            assert entry["kept"] == {"documents": len(kept), "tokens": sum(r["num_tokens"] for r in kept)}
            assert entry["mix_tokens"] == sum(r["copies"] * r["num_tokens"] for r in rows)
    assert found["matching"]["files_in_both"] == 1
    assert found["matching"]["by_row"] == 60
    assert {change["key"] for change in found["recipe"]} >= {"mix.weights.a", "stages.near_dedup.jaccard_threshold"}
    assert len(found["domains"]) == found["domains_counted"] == 5


def test_joins_on_disk_give_what_joins_in_memory_give(
    runs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, *_ = runs
    whole = diff(str(old), str(new), out=str(tmp_path / "whole.parquet"))
    monkeypatch.setattr(spill, "ROWS", 3)
    assert diff(str(old), str(new), out=str(tmp_path / "cut.parquet")) == whole
    one, other = (pq.read_table(tmp_path / f"{name}.parquet").to_pylist() for name in ("whole", "cut"))
    assert sorted(one, key=str) == sorted(other, key=str)


def test_two_ledgers_alone_are_enough(runs: Any, tmp_path: Path) -> None:
    copies = []
    for run_dir in runs[:2]:
        copies.append(tmp_path / run_dir.name)
        for name in ("ledger", "manifest.parquet", "recipe.lock.yaml", "ledger-made-from.json"):
            source, target = run_dir / name, copies[-1] / name
            target.parent.mkdir(exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target)
            elif source.exists():
                shutil.copy(source, target)
    found, whole = diff(*map(str, copies)), diff(*map(str, runs[:2]))
    for key in ("matching", "datasets", "causes", "moved"):
        assert found[key] == whole[key]  # type: ignore[literal-required]
    assert {entry["name"] for entry in found["languages"]} == {""}


def test_a_run_differs_from_its_copy_in_nothing(runs: Any, tmp_path: Path) -> None:
    shutil.copytree(runs[0], tmp_path / "copy")
    found = diff(str(runs[0]), str(tmp_path / "copy"))
    assert not any(found[name] for name in ("causes", "moved", "recipe", "languages"))  # type: ignore[literal-required]
    assert found["matching"]["unmatched_old"] == 0


def test_a_run_is_not_compared_with_itself(runs: Any) -> None:
    with pytest.raises(RecipeError, match="named twice"):
        diff(str(runs[0]), f"{runs[0]}/")


def test_page_and_table_show_names_as_text(runs: Any, tmp_path: Path) -> None:
    done = subprocess_of("diff", str(runs[0]), str(runs[1]), "--page", str(tmp_path / "diff.html"))
    assert done.returncode == 0, done.stderr
    assert "why documents entered or left" in done.stdout
    found = diff(str(runs[0]), str(runs[1]))
    found["causes"][0]["reason"] = "<script>alert(1)</script>\x1b[2J"
    page = render_page(found)
    assert "<script>" not in page
    assert "\x1b" not in page
    assert (tmp_path / "diff.html").read_text().count("<section") == page.count("<section")


def test_columns_of_the_changes_file_are_documented() -> None:
    page = (Path(__file__).parents[3] / "docs/data-format.md").read_text()
    assert all(f"`{name}`" in page for name in NAMED.names)
