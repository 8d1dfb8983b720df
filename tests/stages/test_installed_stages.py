"""Stages and classifiers of installed packages: found by name, listed, and harmless where they are broken."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from classifiers import quality
from cluster.errors import RecipeError
from pipelines.cli import main
from pipelines.recipe.recipe import load_data, recipe_schema
from pipelines.run import runner
from pipelines.run_state import reopen
from pipelines.runfolder import open_run
from stages import registry
from tests.support.distributions import CLASSIFIER, STAGE, install

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("elsewhere", "elsewhere_too", "elsewhere_broken", "elsewhere_model")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on sys.path, here and in workers, with one distribution that offers a stage and a classifier."""
    folder = tmp_path / "site"
    install(
        folder,
        "elsewhere-stages",
        """
        [winnow.stages]
        least_size = elsewhere:LeastSize

        [winnow.classifiers]
        size = elsewhere_model:Length
        """,
        elsewhere=STAGE.format(cls="LeastSize", use="least_size"),
        elsewhere_model=CLASSIFIER,
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{ROOT}")
    yield folder
    for name in MODULES:
        sys.modules.pop(name, None)


def add(site: Path, monkeypatch: pytest.MonkeyPatch, name: str, entry_points: str | bytes, **modules: str) -> None:
    """Install one more distribution."""
    monkeypatch.syspath_prepend(str(install(site.parent / name, name, entry_points, **modules)))


def recipe(folder: Path, stages: list[dict[str, Any]], kind: str = "inline") -> Any:
    texts = ["long enough", "no", "neither long nor short"]
    (folder / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    cluster = {"kind": kind, "workers": 1}
    return load_data(
        {"datasets": {"web": {"paths": str(folder / "in.jsonl")}}, "stages": stages, "cluster": cluster}, "test"
    )


def reasons(root: Path) -> list[tuple[str | None, str | None]]:
    rows = [row for table in open_run(str(root)).ledger() for row in table.to_pylist()]
    return [(row["stage"], row["reason"]) for row in rows]


@pytest.mark.parametrize("kind", ["inline", "local"])
def test_a_recipe_uses_them_by_name(site: Path, tmp_path: Path, kind: str) -> None:
    stages = [{"use": "least_size", "least": 3}, {"use": "quality", "model": "size", "min_score": 12}]
    made = recipe(tmp_path, stages, kind)
    runner.run(made, str(tmp_path / "run"))
    assert reasons(tmp_path / "run") == [("quality", "low_quality"), ("least_size", "short"), (None, None)]


def test_a_run_folder_names_the_stage_by_its_import_path(site: Path, tmp_path: Path) -> None:
    by_name, by_path = (recipe(tmp_path, [{"use": use}]) for use in ("least_size", "elsewhere:LeastSize"))
    assert by_name.digest() == by_path.digest()
    assert by_name.to_data()["stages"][0]["use"] == "elsewhere:LeastSize"


def test_the_stage_command_changes_the_entry_that_a_recipe_has(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = recipe(tmp_path, [{"use": "least_size", "least": 3}])
    runner.run(made, str(tmp_path / "run"))
    assert main.main(["stage", str(tmp_path / "run"), "least_size", "--least", "12", "--quiet"]) == 0
    assert "2 dropped" in capsys.readouterr().out
    changed = reopen(str(tmp_path / "run")).run.stages
    assert [stage.least for stage in changed if stage.use == "least_size"] == [12]


def test_they_are_listed(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["stage", "--help"]) == 0
    listed = capsys.readouterr().out
    assert "least_size" in listed
    assert "from elsewhere" in listed
    assert "Not usable" not in listed
    entries = recipe_schema()["properties"]["stages"]["items"]["oneOf"]
    [entry] = [e for e in entries if e["properties"]["use"].get("const") == "least_size"]
    assert entry["properties"]["least"]["default"] == 5


def test_two_packages_with_one_name_are_both_named(site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    points = "[winnow.stages]\nleast_size = elsewhere_too:Other\n[winnow.classifiers]\nsize = elsewhere_too:Other\n"
    add(site, monkeypatch, "second", points, elsewhere_too=STAGE.format(cls="Other", use="least_size"))
    for stage in ({"use": "least_size"}, {"use": "quality", "model": "size", "min_score": 1}):
        with pytest.raises(RecipeError, match=r"second 1\.0 .*elsewhere-stages 1\.0 .*by its import path"):
            recipe(tmp_path, [stage])
    recipe(tmp_path, [{"use": "elsewhere_too:Other"}, {"use": "url_rules", "require_url": True}])


@pytest.mark.parametrize("name", ["quality", "read", "rewrite"])
def test_a_name_of_winnows_own_is_refused_and_both_owners_named(
    site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    source = STAGE.format(cls="Mine", use=name)
    add(site, monkeypatch, "taker", f"[winnow.stages]\n{name} = elsewhere_too:Mine\n", elsewhere_too=source)
    if name in registry.STAGES:
        with pytest.raises(RecipeError, match=rf"stage {name} is winnow's own, and is offered by taker 1\.0"):
            recipe(tmp_path, [{"use": name, "model": "column:x", "min_score": 1}])
        found, broken = registry.listed()
        assert found[name].__module__ == f"stages.{name}"
        assert [s for s in broken if "taker 1.0" in s and "winnow's own" in s]
    else:
        with pytest.raises(RecipeError, match="must be one of"):
            recipe(tmp_path, [{"use": name}])
    with pytest.raises(RecipeError, match="that no stage of winnow has"):
        recipe(tmp_path, [{"use": "elsewhere_too:Mine"}])
    recipe(tmp_path, [{"use": "least_size"}, {"use": "url_rules", "require_url": True}])


def test_a_classifier_cannot_take_the_name_of_a_kind(
    site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add(site, monkeypatch, "taker", "[winnow.classifiers]\nfasttext = elsewhere_model:Length\n")
    with pytest.raises(RecipeError, match=r"fasttext is winnow's own, and is offered by taker 1\.0"):
        recipe(tmp_path, [{"use": "quality", "model": "fasttext", "min_score": 1}])
    assert quality.split_spec("fasttext:x.bin") == ("fasttext", "x.bin")


BROKEN = {
    "no module": ("gone = nowhere_at_all:Stage", "", "gone of broken 1.0,.*nowhere_at_all"),
    "no such name": ("gone = elsewhere_broken:Nope", "x = 1", "has no Nope.*gone of broken 1.0"),
    "raises": ("gone = elsewhere_broken:Stage", "1 / 0", "importing the stage gone of broken 1.0,.*ZeroDivisionError"),
    "no stage": ("gone = elsewhere_broken:Stage", "Stage = 5", "must be a dataclass derived from"),
    "other name": ("gone = elsewhere_broken:Mine", STAGE.format(cls="Mine", use="mine"), "its use is 'mine'"),
    "no path": ("gone = elsewhere_broken", "", "gives 'elsewhere_broken' for gone: it must be MODULE:NAME"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_one_gives_one_sentence_and_hurts_only_those_who_use_it(
    site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    line, source, message = BROKEN[case]
    add(site, monkeypatch, "broken", f"[winnow.stages]\n{line}\n", elsewhere_broken=source)
    with pytest.raises(RecipeError, match=message):
        recipe(tmp_path, [{"use": "gone"}])
    recipe(tmp_path, [{"use": "least_size"}])
    found, broken = registry.listed()
    assert "least_size" in found
    assert "gone" not in found
    assert len(broken) == 1
    assert main.main(["stage", "--help"]) == 0
    listed = capsys.readouterr().out
    assert "Not usable" in listed
    assert "least_size" in listed
    consts = [e["properties"]["use"].get("const") for e in recipe_schema()["properties"]["stages"]["items"]["oneOf"]]
    assert "least_size" in consts
    assert "gone" not in consts


@pytest.mark.parametrize("points", [b"[winnow.stages]\nno equals sign\n", b"[winnow.stages]\n\xff = a:b\n"])
def test_metadata_that_cannot_be_read_are_named_where_a_name_is_missing(
    site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, points: bytes
) -> None:
    add(site, monkeypatch, "garbled", points)
    recipe(tmp_path, [{"use": "least_size"}])
    with pytest.raises(RecipeError, match=r"Besides, the entry points of .*garbled.* cannot be read"):
        recipe(tmp_path, [{"use": "not_there"}])
    assert [s for s in registry.listed()[1] if "garbled" in s]


def test_an_unknown_name_is_told_with_what_is_installed(site: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"must be one of .*url_rules.*, least_size.* Did you mean .*least_size"):
        recipe(tmp_path, [{"use": "least_sise"}])


def test_winnows_own_names_read_no_metadata_of_packages() -> None:
    code = (
        "import importlib.metadata as m; m.distributions = None\n"
        "from stages.registry import STAGES, is_stage, stage_class\n"
        "assert all(is_stage(use) and stage_class(use) for use in STAGES)\n"
        "from pipelines.cli.main import main; raise SystemExit(main(['--help']) or main(['stage', 'pii', '--help']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def blocks(language: str, *words: str) -> list[str]:
    """The README's code blocks that hold these words, in order."""
    found = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [next(block for block in found if word in block) for word in words]


def test_the_readmes_entry_points_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shouting, model = blocks("python", "class Shouting", "class Length")
    [declared] = blocks("toml", "winnow.stages")
    groups = tomllib.loads(declared)["project"]["entry-points"]
    lines = [
        f"[{group}]\n" + "".join(f"{n} = {path}\n" for n, path in points.items()) for group, points in groups.items()
    ]
    monkeypatch.syspath_prepend(str(install(tmp_path / "site", "readme", "".join(lines))))
    for name, source in (("shouting", shouting), ("my_module", model)):
        (tmp_path / "site" / f"{name}.py").write_text(source)
    stages = [{"use": "shouting"}, {"use": "quality", "model": "length", "min_score": 5}]
    runner.run(recipe(tmp_path, stages), str(tmp_path / "run"))
    assert reasons(tmp_path / "run") == [(None, None), ("quality", "low_quality"), (None, None)]
    for name in ("shouting", "my_module"):
        sys.modules.pop(name, None)
