"""Cells: conditions, curves, the tokens that each gives, and the draw of copies of one text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stages.implicit.mix_columns import MixColumns, iso_seconds
from stages.outcome.cell_shares import shares_of_cells
from stages.outcome.cells import Cell, Condition, Upsample, Values, curve_factors
from stages.outcome.mixing import Mix, copies
from stages.outcome.settle_cells import CellTally

NUMBERS = Values(number=np.array([1.0, 2.0, np.nan, 3.0]))
TEXTS = Values(text=pa.array(["en", "de", None, "fr"], pa.large_string()))
DAYS = Values(
    number=np.full(4, np.nan),
    text=pa.array(["2020-01-01", "x", None, "2024-05-05T10:00:00Z"], pa.large_string()),
    time=np.array([iso_seconds("2020-01-01"), np.nan, np.nan, iso_seconds("2024-05-05T10:00:00Z")], float),
)


@pytest.mark.parametrize(
    ("wish", "values", "expected"),
    [
        ({"any_of": (1, 3.0)}, NUMBERS, [1, 0, 0, 1]),
        ({"none_of": (1,)}, NUMBERS, [0, 1, 1, 1]),
        ({"at_least": 2.0}, NUMBERS, [0, 1, 0, 1]),
        ({"above": 2.0}, NUMBERS, [0, 0, 0, 1]),
        ({"at_most": 2.0}, NUMBERS, [1, 1, 0, 0]),
        ({"below": 2.0, "at_least": 0.0}, NUMBERS, [1, 0, 0, 0]),
        ({"known": False}, NUMBERS, [0, 0, 1, 0]),
        ({"known": True, "none_of": (2.0,)}, NUMBERS, [1, 0, 0, 1]),
        ({"any_of": ("en", "fr")}, TEXTS, [1, 0, 0, 1]),
        ({"none_of": ("en",)}, TEXTS, [0, 1, 1, 1]),
        ({"any_of": ("1",)}, NUMBERS, [0, 0, 0, 0]),
        ({"since": iso_seconds("2021-01-01")}, DAYS, [0, 0, 0, 1]),
        ({"before": iso_seconds("2020-01-02")}, DAYS, [1, 0, 0, 0]),
        ({"any_of": ("x",)}, DAYS, [0, 1, 0, 0]),
    ],
    ids=lambda given: given if isinstance(given, str) else str(given) if isinstance(given, dict | list) else "",
)
def test_a_condition_holds_where_its_words_say(wish: dict[str, Any], values: Values, expected: list[int]) -> None:
    assert Condition(field="f", **wish).holds(values).tolist() == [bool(e) for e in expected]


def test_quantile_ranges_that_meet_share_no_document_and_miss_none() -> None:
    limits = {0.5: 2.0}
    low = Condition(field="f", max_quantile=0.5).within(NUMBERS, limits)
    high = Condition(field="f", min_quantile=0.5, max_quantile=1.0).within(NUMBERS, limits)
    assert low.tolist() == [True, False, False, False]
    assert high.tolist() == [False, True, False, True]


def test_input_columns_are_numbers_texts_and_times_as_far_as_they_go() -> None:
    stage = MixColumns(wanted=("n", "d"))
    table = pa.table({"column:n": pa.array(["3", "x", None]), "column:d": pa.array([1, None, 3], pa.timestamp("s"))})
    facts = stage.annotate(table)
    assert stage.values_of(facts, "n").field("number").to_pylist() == [3.0, None, None]
    assert stage.values_of(facts, "n").field("text").to_pylist() == ["3", "x", None]
    assert stage.values_of(facts, "d").field("time").to_pylist() == [1.0, None, 3.0]


def tally(*tokens: int) -> CellTally:
    return CellTally([t // 10 for t in tokens], list(tokens))


FINEWEB2 = ((1, 1), (2, 2), (3, 3), (5, 5), (100, 8), (1000, 1))  # its published rehydration weights


def test_a_table_by_group_size_repeats_as_fineweb2_does() -> None:
    upsample = Upsample(by="group_size", steps=tuple((float(a), float(f)) for a, f in FINEWEB2))
    sizes = np.array([1, 2, 3, 4, 5, 99, 100, 999, 1000, 5000], float)
    factors = np.array(upsample.factors())[upsample.level(Values(number=sizes), {})]
    assert factors.tolist() == [1, 2, 3, 3, 5, 5, 8, 8, 1, 1]
    cell = Cell(name="c", upsample=upsample, max_epochs=10)
    share = shares_of_cells(Mix(mode="sample", cells=(cell,)), {"c": tally(0, 100, 50, 0, 20, 10, 10)})["c"]
    assert share.expected_tokens == 100 + 2 * 50 + 5 * 20 + 8 * 10 + 10
    assert share.wanted is None


def test_a_curve_gives_the_tokens_wanted_with_its_top_at_max_epochs() -> None:
    """Olmo 3: the lowest 40 % left out, the top twentieth seven times."""
    cell = Cell(name="c", weight=1.0, max_epochs=7.0, upsample=Upsample(by="q", curve=True, discard=0.4))
    share = shares_of_cells(Mix(mode="sample", cells=(cell,), target_tokens=20_000), {"c": tally(0, *[1000] * 20)})["c"]
    assert share.expected_tokens == 20_000
    assert share.epochs[1:9] == (0.0,) * 8
    assert share.epochs[-1] == pytest.approx(7.0, abs=1e-6)
    assert list(share.epochs[1:]) == sorted(share.epochs[1:])
    assert sum(curve_factors(0.4, 2.0)) == pytest.approx(20)


def test_weights_share_what_the_targets_leave_and_shortfalls_are_told() -> None:
    cells = (
        Cell(name="fixed", tokens=500, max_epochs=2.0),
        Cell(name="a", weight=3.0, max_epochs=1.0),
        Cell(name="b", weight=1.0, max_epochs=4.0),
    )
    shares = shares_of_cells(
        Mix(mode="sample", cells=cells, target_tokens=4500), {"fixed": tally(1000), "a": tally(2000), "b": tally(500)}
    )
    assert {n: (s.wanted, s.expected_tokens, s.under) for n, s in shares.items()} == {
        "fixed": (500, 500, 0),
        "a": (3000, 2000, 1000),
        "b": (1000, 1000, 0),
    }
    free = shares_of_cells(
        Mix(mode="sample", cells=cells[1:]), {"a": tally(2000), "b": tally(500)}
    )  # the most that keeps 3 : 1
    assert {n: s.expected_tokens for n, s in free.items()} == {"a": 2000, "b": 667}


@pytest.mark.parametrize("share", [0.5, 0.1, 0.33])
def test_copies_of_one_text_are_drawn_to_their_share_and_not_together(share: float) -> None:
    h1 = np.full(1000, 12345, np.uint64)
    drawn = copies(h1, share, 7, np.arange(1000))
    assert abs(int(drawn.sum()) - 1000 * share) <= 5
    assert set(copies(h1, share, 7).tolist()) in ({0}, {1})  # without numbers: all or nothing
    assert (copies(h1, 2 + share, 7, np.arange(1000)) == 2 + drawn).all()


def test_the_first_copy_is_drawn_as_if_it_were_alone() -> None:
    h1 = np.random.default_rng(1).integers(0, 2**63, 500).astype(np.uint64)
    assert (copies(h1, 0.4, 3, np.zeros(500, np.int64)) == copies(h1, 0.4, 3)).all()
