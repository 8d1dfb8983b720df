"""Quantiles found digit by digit are those of the sorted values, however the documents are cut into bundles."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cluster.engines import InlineEngine
from stages.core.costs import per_bundle
from stages.outcome import quantiles as module
from stages.outcome.quantiles import quantiles

SHARES = (0.001, 0.25, 0.5, 0.9, 0.999, 1.0)


def plain(values: np.ndarray, weights: np.ndarray, share: float) -> float:
    """Return the smallest value that at least this share of the weight does not exceed."""
    pairs = sorted((v, w) for v, w in zip(values.tolist(), weights.tolist(), strict=True) if not math.isnan(v))
    wanted = max(1, math.ceil(share * sum(w for _, w in pairs)))
    reached = 0
    for value, weight in pairs:
        reached += weight
        if reached >= wanted:
            return float(value)
    raise AssertionError("no value")


@pytest.mark.parametrize("bundles", [1, 7])
@pytest.mark.parametrize("room", [1 << 18, 1 << 6], ids=["wide digits", "narrow digits"])
def test_quantiles_are_those_of_the_sorted_values(bundles: int, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPEN", room)
    random = np.random.default_rng(4)
    values = {
        "normal": random.normal(size=500),
        "few": random.integers(-3, 3, 500).astype(float),
        "saturated": 1 - random.exponential(1e-9, 500),
        "holes": np.where(random.random(500) < 0.5, np.nan, random.random(500)),
        "zeros": np.array([0.0, -0.0] * 250),
    }
    weights = random.integers(1, 900, 500)

    def emit(position: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {key: (v[position::bundles], weights[position::bundles]) for key, v in values.items()}

    asked = {**dict.fromkeys(values, SHARES), "nobody": SHARES}
    found = quantiles(InlineEngine(), emit, range(bundles), asked, per_bundle("test"))
    assert set(found) == set(values)
    for key, each in values.items():
        assert found[key] == {share: plain(each, weights, share) for share in SHARES}, key
