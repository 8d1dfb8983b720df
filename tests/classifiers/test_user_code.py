"""Code of others by import path: where it is found, and what is said when it is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from classifiers import quality, user_code
from classifiers.user_classifier import UserClassifier
from cluster.errors import RecipeError
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from pipelines.runfolder import open_run

SOURCE = """
import numpy as np

from classifiers.base import Scores
from stages.base import ShardStage


class Right:
    labels = ("a", "b")

    def score(self, texts):
        return Scores(np.ones(len(texts)), np.zeros(len(texts), np.int32))

    def card(self):
        return {"digest": "1"}


class Narrow(Right):
    def score(self, texts):
        return Scores(np.ones(len(texts), np.float32), np.ones(len(texts), np.int64))


class Lists(Right):
    def score(self, texts):
        return Scores([float("nan")] * len(texts), [-1] * len(texts))


class Raises(Right):
    def score(self, texts):
        raise KeyError("boom")


class Short(Right):
    def score(self, texts):
        return Scores(np.ones(len(texts) - 1), np.zeros(len(texts) - 1, np.int32))


class Text(Right):
    def score(self, texts):
        return Scores(np.array(["x"] * len(texts)), np.zeros(len(texts), np.int32))


class Beyond(Right):
    def score(self, texts):
        return Scores(np.ones(len(texts)), np.full(len(texts), 2, np.int32))


class Plain(Right):
    def score(self, texts):
        return [1.0] * len(texts)


class Asks(Right):
    def __init__(self, path):
        pass


class Nameless(Right):
    def card(self):
        return {}


class Mute:
    labels = ()


class NoDataclass:
    use = "no_dataclass"


class Quality(ShardStage):
    use = "quality"
"""
TEXTS = pa.array(["one", "two", ""], pa.large_string())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with modules in it, which nothing put on the path."""
    (tmp_path / "theirs.py").write_text(SOURCE)
    (tmp_path / "broken.py").write_text("def (\n")
    (tmp_path / "needing.py").write_text("import not_installed_anywhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("theirs", "broken", "needing"):
        sys.modules.pop(name, None)


def test_a_module_in_the_working_folder_is_found(here: Path) -> None:
    assert user_code.imported("theirs:Right", "the classifier").labels == ("a", "b")


def test_the_working_folder_hides_no_package(here: Path) -> None:
    (here / "xxhash.py").write_text("raise SystemExit")
    sys.modules.pop("xxhash", None)
    assert user_code.imported("xxhash:xxh64", "the filter")(b"").intdigest()


@pytest.mark.parametrize(("name", "label"), [("Right", 0), ("Narrow", 1), ("Lists", -1)])
def test_answers_become_arrays_of_the_types_that_winnow_uses(here: Path, name: str, label: int) -> None:
    found = UserClassifier(f"theirs:{name}").score(TEXTS)
    assert (found.value.dtype, found.label.dtype) == (np.float64, np.int32)
    assert found.label.tolist() == [label] * 3


def judged(path: str) -> None:
    made = quality.load(quality.Settings(spec=f"python:{path}"))
    made.score(TEXTS)
    made.card()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("theirs", "MODULE:NAME, got 'theirs'"),
        ("nowhere:X", "nowhere.*folder where winnow is called or on PYTHONPATH"),
        ("theirs:Nope", "theirs has no Nope.*it has .*Right"),
        ("broken:X", "importing the classifier broken:X failed with SyntaxError"),
        ("needing:X", r"not_installed_anywhere.*needing.py, line 1"),
        ("theirs:Asks", "without arguments failed with TypeError.*path"),
        ("theirs:Mute", "made a Mute without score and card"),
        ("theirs:Raises", r"theirs:Raises failed with KeyError: 'boom' \(.*theirs.py, line \d+\)"),
        ("theirs:Short", r"value of shape \(2,\) for 3 texts"),
        ("theirs:Text", "value of <U1; it must give float64"),
        ("theirs:Beyond", "labels from 2 to 2; it must give -1 or an index into its 2 labels"),
        ("theirs:Plain", "gave a list; it must give classifiers.base.Scores"),
        ("theirs:Nameless", "card.. of the classifier theirs:Nameless has no digest"),
    ],
)
def test_what_is_wrong_with_a_classifier_is_said(here: Path, path: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        judged(path)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        ("theirs:NoDataclass", "dataclass derived from"),
        ("theirs:Quality", "use must be a name of .* that no stage of winnow has, got 'quality'"),
        ("nowhere:X", "cannot be imported"),
    ],
)
def test_what_is_wrong_with_a_stage_is_said(here: Path, use: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_data({"datasets": {"web": {"paths": "x"}}, "stages": [{"use": use}]}, "test")


STAGE = """
from dataclasses import dataclass

import pyarrow as pa

from stages.base import Decisions, ShardStage, array, param


@dataclass(frozen=True, kw_only=True)
class Letters(ShardStage):
    most: int = param(10, "most letters")

    use = "letters"
    schema = pa.schema([("letters", pa.int64())])

    def annotate(self, documents):
        return pa.table([[len(t) for t in documents["text"].to_pylist()]LOST], schema=self.schema)

    def decide(self, facts):
        return Decisions.below(-array(facts, "letters"), -self.most, "long")
"""


def run(here: Path, module: str, most: int) -> list[str | None]:
    (here / "in.jsonl").write_text("".join(json.dumps({"text": "x" * n}) + "\n" for n in (5, 15, 25)))
    stages = [{"use": f"{module}:Letters", "most": most}]
    data = {"datasets": {"web": {"paths": "in.jsonl"}}, "stages": stages, "cluster": {"kind": "inline"}}
    runner.run(load_data(data, "test"), str(here / module))
    return [row["stage"] for table in open_run(str(here / module)).ledger() for row in table.to_pylist()]


def test_a_stage_of_others_runs_and_runs_again_from_its_facts(here: Path) -> None:
    (here / "stage_a.py").write_text(STAGE.replace("LOST", ""))
    assert run(here, "stage_a", 10) == [None, "letters", "letters"]
    facts = sorted((here / "stage_a" / "facts" / "letters").rglob("*.arrow"))
    assert facts
    before = [path.stat().st_mtime_ns for path in facts]
    assert run(here, "stage_a", 20) == [None, None, "letters"]
    assert [path.stat().st_mtime_ns for path in facts] == before
    assert "use: stage_a:Letters" in (here / "stage_a" / "recipe.lock.yaml").read_text()


def test_a_stage_that_loses_rows_is_named(here: Path) -> None:
    (here / "stage_b.py").write_text(STAGE.replace("LOST", "[1:]"))
    with pytest.raises(RecipeError, match="annotate of stage letters gave 2 rows for 3 documents"):
        run(here, "stage_b", 10)
