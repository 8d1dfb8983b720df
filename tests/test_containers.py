"""The container files: what they copy is there, and what they install is what pyproject.toml offers."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "docs" / "containers").glob("*.Dockerfile"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_there_is_one_for_cpus_and_one_for_gpus() -> None:
    assert [path.name for path in FILES] == ["cpu.Dockerfile", "gpu.Dockerfile"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_extras_and_pythons_are_those_of_the_package(path: Path) -> None:
    text = path.read_text()
    named = [extra for line in re.findall(r"EXTRAS=([\w,-]+)", text) for extra in line.split(",")]
    assert named
    assert set(named) <= set(PROJECT["optional-dependencies"])
    pythons = re.findall(r"^FROM python:(3\.\d+)", text, re.MULTILINE)
    assert pythons
    assert all(f"Programming Language :: Python :: {python}" in PROJECT["classifiers"] for python in pythons)
    wheel = PROJECT["name"].replace("-", "_")
    assert f"{wheel}-*.whl" in text
    assert "USER winnow" in text
    assert f"docs/containers/{path.name}" in text


def test_what_a_build_is_sent_leaves_out_environments_and_data() -> None:
    left_out = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv*", "demo-data", "demo-run"} <= set(left_out)
