"""Recipes from Python: by file, by values, loaded; results that show themselves; progress in a notebook."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import winnow
from pipelines.python.notebook import Notebook, in_notebook
from pipelines.python.shown import Shown
from tests.support import corpora


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("python")
    paths = corpora.write(folder / "in", corpora.corpus(51, 90, ("a", "b")), 1)
    columns = {"id": "id", "url": "url"}
    return {
        "name": "python",
        "datasets": {name: {"paths": path, "columns": columns} for name, path in paths.items()},
        "stages": [{"use": "exact_dedup"}, {"use": "quality", "model": "column:score", "min_score": 0.3}],
        "cluster": {"kind": "inline"},
    }


@pytest.fixture(scope="module")
def result(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> winnow.RunResult:
    return winnow.run(values, run_dir=tmp_path_factory.mktemp("run") / "run")


def test_a_recipe_may_be_a_file_values_or_loaded(values: dict[str, Any], tmp_path: Path) -> None:
    import yaml

    file = tmp_path / "mix.yaml"
    file.write_text(yaml.safe_dump(values))
    first = winnow.run(file, tmp_path / "1", overrides=["seed=3"])
    second = winnow.run({**values, "seed": 3}, run_dir=str(tmp_path / "2"), progress=False)
    third = winnow.run(winnow.load_recipe(str(file)), run_dir=tmp_path / "3", overrides=["seed=3"])
    assert first.tallies == second.tallies == third.tallies
    with pytest.raises(winnow.RecipeError, match=r"no recipe file nosuch\.yaml"):
        winnow.run("nosuch.yaml", run_dir=tmp_path / "4")


def test_a_result_shows_its_funnel_with_every_text_escaped(result: winnow.RunResult) -> None:
    page = result._repr_html_()
    assert "python: documents and tokens" in page
    assert f"<td style='text-align:right'>{sum(t['kept'] for t in result.tallies.values()):,}</td>" in page
    hostile = dataclasses.replace(result, name="<b>", warnings=("<script>",))._repr_html_()
    assert "&lt;b&gt;: documents" in hostile
    assert "<script>" not in hostile


def test_plan_and_explanation_show_themselves_and_stay_plain_values(
    values: dict[str, Any], result: winnow.RunResult
) -> None:
    found: Any = winnow.plan(values, sample_documents=20)
    assert isinstance(found, dict)
    assert found["datasets"]
    assert found._repr_html_().startswith("<pre")
    answer: Any = winnow.explain(result.root, doc_id=1)
    assert answer["documents"][0]["doc_id"] == 1
    assert "doc_id 1" in answer._repr_html_()
    assert type(pickle.loads(pickle.dumps(answer))) is dict


def test_what_is_shown_is_escaped() -> None:
    assert "&lt;script&gt;" in Shown({"a": "<script>"}, lambda found: found["a"])._repr_html_()


def test_ledger_facts_and_mix_are_tables_of_every_kind(result: winnow.RunResult) -> None:
    run = winnow.open_run(result.root)
    for make in (lambda: run.ledger("a"), lambda: run.mix(), lambda: run.facts("quality")):
        table = make().arrow()
        assert table.num_rows > 0
        assert isinstance(make().pandas(), pd.DataFrame)
        frame = make().polars()
        assert isinstance(frame, pl.DataFrame)
        assert frame.shape == (table.num_rows, table.num_columns)
        assert make().reader().read_all().num_rows == table.num_rows == sum(t.num_rows for t in make())
    assert run.facts("quality", ["doc_id"]).arrow().schema.names == ["doc_id"]
    with pytest.raises(winnow.RecipeError, match="no stage is called 'nosuch'"):
        run.facts("nosuch").arrow()


def test_a_stream_holds_one_table_at_a_time() -> None:
    made = 0

    def tables() -> Any:
        nonlocal made
        for n in range(1000):
            made += 1
            yield pa.table({"n": [n]})

    reader = winnow.Tables(tables()).reader()
    assert reader.read_next_batch().num_rows == 1
    assert made <= 2


class Handle:
    """What IPython's display returns."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def update(self, found: Any) -> None:
        self.shown.append(found._repr_html_())


def test_a_notebook_has_a_bar_that_moves_and_a_line_for_every_step() -> None:
    handles: list[Handle] = []

    def display(found: Any, display_id: bool) -> Handle:
        handles.append(Handle())
        return handles[-1]

    shown = Notebook(display)
    with shown.step("annotate", documents=10) as advance:
        advance.part("annotate", 2)
        advance(documents=5)
        while len(handles[0].shown) < 2:
            pass
    assert 'progress max="1"' in handles[0].shown[0]
    assert 'value="0.500"' in handles[0].shown[1]
    assert handles[0].shown[-1] == ""
    assert "read and judge" in handles[1].shown[-1]
    assert not in_notebook()
