"""From a recipe to a run: once, and the same again from a run folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from pipelines.mix.job import mix_job
from pipelines.recipe.output import Output
from pipelines.recipe.recipe import load_data
from pipelines.recipe.to_run import Prepared, prepare
from pipelines.run_state import reopen
from stages.outcome.draw import Draw
from tests.support import run_folders


def prepared_with(*stages: dict[str, Any], output: Output | None = None, **more: Any) -> Prepared:
    """Return a recipe with these stages and sections, prepared for a folder."""
    data = {"datasets": {"a": {"paths": "in"}}, "stages": list(stages), **more}
    return prepare(load_data(data, "test"), "RUN/", output=output)


def test_stages_that_no_recipe_names_stand_where_they_decide() -> None:
    assert prepared_with({"use": "exact_dedup"}).run.stages[0].name == "read"
    rewriting = prepared_with({"use": "pii"}, mix={"tokenizer": "tokenizer.json"})
    assert [s.use for s in rewriting.run.stages] == ["read", "count_tokens", "pii", "rewrite"]


def test_tokens_are_counted_where_the_recipe_names_a_tokenizer() -> None:
    assert prepared_with().tokens_are == "estimated as UTF-8 bytes / 4"
    assert prepared_with(mix={"tokenizer": "tokenizer.json"}).tokens_are == "counted"


def test_columns_that_every_document_has_are_not_read_twice() -> None:
    by_url, by_score = ({"use": "quality", "model": f"column:{name}", "min_score": 1} for name in ("url", "score"))
    assert prepared_with(by_url).run.extra_columns == ()
    assert prepared_with(by_score, output=Output(columns=("id", "extra"))).run.extra_columns == ("extra", "score")
    everything = Output(columns=("text", "id"), everything=True)
    assert prepared_with(by_score, output=everything).run.extra_columns == ("id", "score", "text")


def test_a_run_folder_opens_as_it_was_prepared(tmp_path: Path) -> None:
    folder = run_folders.make(tmp_path)
    found = reopen(str(folder))
    assert found.run.manifest.rows() > 0
    recipe = load_data(_data_of(found), "test")
    again = prepare(recipe, str(folder))
    again = dataclasses.replace(
        again, run=dataclasses.replace(again.run, manifest_digest=found.run.manifest_digest), cluster=found.cluster
    )
    assert again == found
    assert mix_job(again, Draw(mix=again.mix)).records == mix_job(found, Draw(mix=found.mix)).records
    assert Path(mix_job(found, Draw(mix=found.mix)).records).is_dir()


def _data_of(prepared: Prepared) -> dict[str, Any]:
    """Return the recipe that a run folder was locked with as plain data."""
    import yaml

    data: dict[str, Any] = yaml.safe_load(prepared.lock)
    return data
