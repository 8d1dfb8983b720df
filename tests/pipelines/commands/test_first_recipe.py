"""`winnow init`: what it makes of messy files, and that the recipe it writes runs as it is."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from cluster.errors import RecipeError
from pipelines.commands.first_recipe import first_recipe, write_recipe
from pipelines.recipe.recipe import Recipe, load_data, load_recipe
from pipelines.run import runner

WORDS = ["alpha", "beta", "gamma", "delta", "omega", "sigma"]


def text(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=60))


def web(path: Path, rows: int = 40) -> None:
    rng = random.Random(1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        for n in range(rows):
            row = {"content": text(rng), "uuid": f"u{n}", "meta": {"url": f"http://x{n}.example"}, "edu_score": n / 7}
            file.write(json.dumps(row) + "\n")


def books(path: Path) -> None:
    rng = random.Random(2)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"isbn": ["1", "2"], "fulltext": [text(rng), text(rng)], "title": ["a", "b"]}), path)


def loaded(folder: Path, content: str) -> Recipe:
    write_recipe(str(folder / "mix.yaml"), content)
    return load_recipe(str(folder / "mix.yaml"))


def test_subfolders_with_other_columns_are_datasets_of_their_own(tmp_path: Path) -> None:
    web(tmp_path / "in" / "web" / "a.jsonl.gz")
    books(tmp_path / "in" / "books" / "b.parquet")
    (tmp_path / "in" / "web" / "notes.pdf").write_bytes(b"%PDF-1.4")
    content, doubts = first_recipe([str(tmp_path / "in")])
    datasets = loaded(tmp_path, content).to_data()["datasets"]
    assert set(datasets) == {"web", "books"}
    assert datasets["web"]["columns"] == {"text": "content", "id": "uuid", "url": "meta.url"}
    assert datasets["books"]["columns"]["text"] == "fulltext"
    assert any("fulltext" in doubt for doubt in doubts)
    assert any("notes.pdf" in doubt for doubt in doubts)
    assert 'model: "column:edu_score"' in content


def test_the_recipe_runs_as_it_is(tmp_path: Path) -> None:
    web(tmp_path / "web" / "a.jsonl.gz")
    books(tmp_path / "books" / "b.parquet")
    content, _ = first_recipe([str(tmp_path / "web"), str(tmp_path / "books" / "b.parquet")], "mine")
    write_recipe(str(tmp_path / "mix.yaml"), content)
    recipe = load_recipe(str(tmp_path / "mix.yaml"), ["cluster.kind=inline"])
    result = runner.run(recipe, str(tmp_path / "run"), with_report=False)
    assert {name: tally["rows"] for name, tally in result.tallies.items()} == {"web": 40, "b": 2}


def test_every_comment_of_the_recipe_is_a_stage_that_loads(tmp_path: Path) -> None:
    web(tmp_path / "web" / "a.jsonl.gz")
    content, _ = first_recipe([str(tmp_path / "web")])
    stages = [line for line in content.splitlines() if line.startswith("  # - ")]
    assert len(stages) >= 3
    full = content.replace("  # - ", "  - ").replace("# mix: ", "mix: ")
    assert len(loaded(tmp_path, full).stages) == 3 + len(stages)


def test_subfolders_alike_are_one_dataset(tmp_path: Path) -> None:
    for part in ("CC-MAIN-2023-50", "CC-MAIN-2024-10"):
        web(tmp_path / "crawl" / part / "a.jsonl.gz")
    content, _ = first_recipe([str(tmp_path / "crawl")])
    assert list(loaded(tmp_path, content).to_data()["datasets"]) == ["crawl"]


def test_published_schemas_are_recognised_by_their_columns(tmp_path: Path) -> None:
    rng = random.Random(3)
    rows = {"text": [text(rng)] * 3, "id": ["a", "b", "c"], "url": ["http://a.example"] * 3}
    rows |= {"int_score": [3] * 3, "dump": ["x"] * 3, "file_path": ["y"] * 3}  # type: ignore[dict-item]
    (tmp_path / "edu").mkdir()
    pq.write_table(pa.table(rows), tmp_path / "edu" / "part.parquet")
    content, _ = first_recipe([str(tmp_path / "edu")])
    assert loaded(tmp_path, content).to_data()["datasets"]["edu"]["preset"] == "fineweb-edu"


def test_names_are_made_valid_and_different(tmp_path: Path) -> None:
    for folder in ("one/my data (1)", "two/my data (1)"):
        web(tmp_path / folder / "a.jsonl.gz")
    content, _ = first_recipe([str(tmp_path / "one" / "my data (1)"), str(tmp_path / "two" / "my data (1)")])
    assert list(loaded(tmp_path, content).to_data()["datasets"]) == ["my_data_1", "my_data_1_2"]


def test_files_without_any_text_are_an_error_that_names_the_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [1, 2], "m": [3, 4]}), tmp_path / "numbers.parquet")
    with pytest.raises(RecipeError, match=r"numbers\.parquet is left out: .* there are n, m"):
        first_recipe([str(tmp_path / "numbers.parquet")])


def test_a_recipe_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mix.yaml").write_text("mine")
    with pytest.raises(RecipeError, match="there already"):
        write_recipe(str(tmp_path / "mix.yaml"), "x")
    assert (tmp_path / "mix.yaml").read_text() == "mine"


def test_a_folder_of_messy_files_becomes_a_recipe_that_runs_as_it_is(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    body = [{"body": f"a body of some length, the one of number {n}, in a crawl", "uid": n} for n in range(60)]
    for part in range(3):
        lines = [json.dumps(row) for row in body[part * 20 : part * 20 + 20]]
        (raw / f"crawl-{part}.jsonl").write_text("\n".join([*lines, "{broken", '{"body": null}', ""]))
    (raw / "forum.csv").write_text("id,content\n1,the content of a post in a forum that is long enough to be text\n")
    (raw / "notes.txt").write_text("not data")
    text, doubts = first_recipe([str(raw)])
    recipe = load_data(yaml.safe_load(text), "test")
    assert {d: len(s.paths) for d, s in recipe.datasets.items()} == {"crawl-0": 3, "forum": 1}
    assert any("notes.txt is left out" in doubt for doubt in doubts)
    data = {**yaml.safe_load(text), "cluster": {"kind": "inline"}}
    result = runner.run(load_data(data, "test"), str(tmp_path / "run"))
    assert {name: tally["rows"] for name, tally in result.tallies.items()} == {"crawl-0": 66, "forum": 1}
    assert result.tallies["crawl-0"]["unreadable"] == 3
    assert "3 of 66 rows could not be read" in result.notes()[0]
