"""Datasets that are planned, and plans without a fresh process."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.plans import write_inputs


@pytest.fixture(scope="session")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_inputs(tmp_path_factory.mktemp("planned"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start no fresh process; the plan of fixture `planned` in test_plan.py does."""
    monkeypatch.setattr("pipelines.plan.plan.cold_seconds", lambda *_: 1.0)
