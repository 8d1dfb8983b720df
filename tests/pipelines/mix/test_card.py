"""The dataset card: valid front matter, the ledger's counts, the same bytes every time."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.mix import card, card_files
from pipelines.recipe.lock import sealed_lock
from pipelines.runfolder import open_run
from tests.support import run_folders


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folders.make(tmp_path_factory.mktemp("card"), output={"holdout": 0.2, "columns": ["score"]})


def front_matter(text: str) -> dict[str, Any]:
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    assert match
    return yaml.safe_load(match[1])


def with_recipe(run: Path, target: Path, **changes: Any) -> Path:
    """Return a copy whose recipe has other values at these keys of its datasets."""
    copy = run_folders.copy(run, target)
    recipe = yaml.safe_load((copy / "recipe.lock.yaml").read_text())
    for name, licence in changes["licences"].items():
        recipe["datasets"][name]["licence"] = licence
    for lock in ("recipe.lock.yaml", "decisions/ledger-recipe.lock.yaml"):  # the card goes by the ledger's recipe
        (copy / lock).write_text(sealed_lock(yaml.safe_dump(recipe)))
    return copy


def test_the_front_matter_is_what_dataset_hubs_read(run: Path) -> None:
    head = front_matter((run / "mix" / "README.md").read_text())
    assert head["license"] == ["odc-by", "unknown"]
    assert head["task_categories"] == ["text-generation"]
    assert head["size_categories"] == ["n<1K"]
    configs = {c["config_name"]: c for c in head["configs"]}
    assert list(configs) == ["default", "a", "b", "c"]
    assert [c for c in configs.values() if c.get("default")] == [configs["default"]]
    for config in configs.values():
        names = [name] if (name := config["config_name"]) != "default" else list("abc")
        there = {f"{d}/{p.name}" for d in names for p in (run / "mix" / d).iterdir()}
        assert {path for files in config["data_files"] for path in files["path"]} == there


def test_many_files_are_a_pattern_and_rows_are_told(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_files, "NAMED", 0)
    held = run_folders.make(tmp_path, output={"holdout": {"share": 0.2, "by": "url"}})
    for folder in (run, held):
        head = card.front_matter(open_run(str(folder)))
        found = {info["config_name"]: info for info in head["dataset_info"]}
        assert len({info["description"] for info in found.values()}) == len(found)
        for config in head["configs"]:
            rows = {split["name"]: split["num_examples"] for split in found[config["config_name"]]["splits"]}
            assert set(rows) == {"train", "holdout"}
            for files in config["data_files"]:
                paths = list((folder / "mix").glob(files["path"]))
                assert sum(pq.read_metadata(path).num_rows for path in paths) == rows[files["split"]]


def test_unknown_licences_are_named_and_one_licence_stands_alone(run: Path, tmp_path: Path) -> None:
    one = with_recipe(run, tmp_path / "one", licences=dict.fromkeys("abc", "cc-by-4.0"))
    assert card.front_matter(open_run(str(one)))["license"] == "cc-by-4.0"
    own = with_recipe(run, tmp_path / "own", licences={"a": "Our terms | 2", "b": "MIT", "c": "MIT"})
    head = card.front_matter(open_run(str(own)))
    assert head["license"] == ["mit", "other"]
    assert head["license_name"] == "Our terms | 2"
    assert "Our terms \\| 2" in card.render_card(open_run(str(own)))


def test_the_counts_are_those_of_the_ledger(run: Path) -> None:
    text = (run / "mix" / "README.md").read_text()
    rows = run_folders.ledger(run)
    written = json.loads((run / "mix" / "manifest.json").read_text())["datasets"]
    for name in "abc":
        mine = [r for r in rows if r["dataset"] == name]
        stages = ["read", "exact_dedup", "near_dedup", "quality"]
        dropped = [sum(r["stage"] == s for r in mine) for s in stages]
        numbers = [len(mine), *dropped, sum(r["kept"] for r in mine), sum(r["copies"] > 0 for r in mine)]
        cells = [f"{n:,}" for n in [*numbers, written[name]["tokens"]]]
        assert f"| {name} | {' | '.join(cells)} | {written[name]['epochs']:.3g} |" in text
    assert "| `score` | from the source |" in text


def test_the_card_is_the_same_every_time_and_tells_no_place(run: Path) -> None:
    before = (run / "mix" / "README.md").read_bytes()
    card.write_card(str(run))
    assert (run / "mix" / "README.md").read_bytes() == before
    assert str(run.parent) not in before.decode()


def test_languages_are_listed_commonest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa

    codes = ["en"] * 600 + ["de-Latn"] * 300 + ["zxx"] * 50 + ["fr"] * 2 + [None] * 48
    monkeypatch.setattr(card.RunFolder, "files", ["one", "two"])
    monkeypatch.setattr(card, "mix_tables", lambda *_: iter([pa.table({"language": codes})]))
    assert card._languages(card.RunFolder(str(tmp_path)), ["a"], card.InlineEngine()) == ["en", "de"]


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        (0, "n<1K"),
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (10**9 - 1, "100M<n<1B"),
        (10**9, "1B<n<10B"),
        (10**12, "n>1T"),
        (10**15, "n>1T"),
    ],
)
def test_sizes_have_the_hubs_names(rows: int, name: str) -> None:
    assert card.size_category(rows) == name


def test_the_card_says_whether_texts_were_changed(run: Path, tmp_path: Path) -> None:
    assert "come from the sources unchanged" in (run / "mix" / "README.md").read_text()
    masked = run_folders.make(tmp_path, stages=[{"use": "pii"}])
    text = (masked / "mix" / "README.md").read_text()
    assert "unchanged" not in text
    assert text.count("with the cuts and replacements of the steps above") == 2
