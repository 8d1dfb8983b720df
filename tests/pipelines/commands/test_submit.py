"""What is uploaded to a Ray cluster: recipe and code, never a folder that hides winnow's packages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cluster.codebase import PACKAGES
from cluster.errors import RecipeError
from pipelines.commands.submit import submit
from tests.support.dask_processes import ROOT


class Jobs:
    """Stands in for Ray's job client; keeps what it is given."""

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}

    def submit_job(self, **given: Any) -> str:
        self.given = given
        return "job"


def recipe(folder: Path) -> str:
    (folder / "in").mkdir()
    path = folder / "recipe.yaml"
    path.write_text("{name: x, datasets: {a: {paths: in}}, stages: [{use: exact_dedup}]}\n")
    return str(path)


def test_a_working_folder_without_code_is_uploaded_with_winnows(tmp_path: Path) -> None:
    jobs = Jobs()
    assert submit(jobs, recipe(tmp_path), "/shared/run", working_dir=str(tmp_path)) == "job"
    assert [Path(p).name for p in jobs.given["runtime_env"]["py_modules"]] == list(PACKAGES)
    assert " -P -m pipelines run recipe.yaml " in jobs.given["entrypoint"]


@pytest.mark.parametrize("name", ["stages", "cluster.py"])
def test_a_working_folder_that_hides_winnows_packages_is_refused(tmp_path: Path, name: str) -> None:
    path = recipe(tmp_path)
    (tmp_path / name).mkdir() if "." not in name else (tmp_path / name).write_text("")
    with pytest.raises(RecipeError, match=f"holds {name.partition('.')[0]}, which would hide"):
        submit(Jobs(), path, "/shared/run", working_dir=str(tmp_path))


def test_a_checkout_is_uploaded_as_it_is() -> None:
    jobs = Jobs()
    submit(jobs, "minimal", "/shared/run", overrides=["datasets.web.paths=x"], working_dir=str(ROOT))
    assert jobs.given["runtime_env"]["py_modules"] == []
