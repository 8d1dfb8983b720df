"""How many seeds a fuzzing test tries: a few in every run, many in `make nightly`; counted, never timed."""

from __future__ import annotations

from typing import Any

import pytest


def budgets(kinds: tuple[str, ...], few: int, many: int, groups: int = 1) -> list[Any]:
    """Return parameters (kinds, first seed, stop): few seeds of a group of kinds each, nightly many of each kind."""
    fast = [pytest.param(kinds[n::groups], 0, few, id=f"some-{n}") for n in range(min(groups, len(kinds)))]
    marks = [pytest.mark.nightly, pytest.mark.timeout(7200)]
    return [*fast, *(pytest.param((kind,), few, many, id=f"many-{kind}", marks=marks) for kind in kinds)]
