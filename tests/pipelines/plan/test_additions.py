"""What a plan says is left to do of steps where files were added to a run folder."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from pipelines.plan import additions
from pipelines.plan.growth import Flow
from pipelines.plan.reuse import Present
from pipelines.plan.whole import Whole
from pipelines.recipe.recipe import load_data
from pipelines.recipe.to_run import prepare
from tests.pipelines.plan.test_reuse import bundle
from tests.support.plans import recipe_data


@pytest.mark.parametrize(
    ("shuffle", "place", "ledger", "mix"),
    [("none", 3, 0.25, 0.25), ("global", 3, 0.25, 0.5), ("global", 1, 0.75, 1.0), ("none", 1, 0.75, 0.75)],
)
def test_files_behind_a_new_one_and_shuffled_ones_are_written_whole(
    datasets: dict[str, Any], shuffle: str, place: int, ledger: float, mix: float
) -> None:
    """Two datasets of two bundles each, one of which is new."""
    bundles = [bundle(number, "a" if number < 2 else "b", str(number)) for number in range(4)]
    known = frozenset((b.dataset, b.pieces[0].shard.path) for b in bundles if b.number != place)
    recipe = load_data(recipe_data(datasets, output={"shuffle": shuffle}), "test")
    here = Present(run=prepare(recipe, "").run, manifest=None, changed=True, done={}, complete=frozenset(), known=known)
    flow = Flow(before={}, dropped={}, duplicates={}, kept={"a": 2.0, "b": 2.0}, kept_bytes={})
    whole = cast(Whole, SimpleNamespace(bundles=bundles, rows=4, flow=flow))
    left = additions.left_to_do(recipe, whole, here)
    assert left == {"freeze": 0.25, "tally": 0.25, "ledger": ledger, "materialize": mix}
    weighted = load_data(recipe_data(datasets, mix={"weights": dict.fromkeys(datasets, 1 / len(datasets))}), "test")
    assert additions.left_to_do(weighted, whole, here).keys() == {"freeze", "tally"}  # epochs are others
