"""Patterns of the user's own are matched by RE2, in bytes of the text, in linear time."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import RecipeError
from pipelines.recipe.recipe import load_recipe
from stages.detect.own_patterns import spans
from stages.pii import Pii


@given(
    st.lists(st.text("aab1é中 \n", max_size=20), max_size=5),
    st.sampled_from(["a+b?", "[0-9]", "é|中+", "(a|b)(1)", "a{2}", "."]),
)
def test_spans_are_those_of_re(texts: list[str], pattern: str) -> None:
    want = [
        [row, len(text[: m.start()].encode()), len(text[: m.end()].encode())]
        for row, text in enumerate(texts)
        for m in re.finditer(pattern, text)
    ]
    assert spans(pa.array(texts, pa.large_string()), pattern).tolist() == want


def test_a_pattern_that_makes_others_run_away_takes_linear_time() -> None:
    def seconds(size: int) -> float:
        begin = time.process_time()
        spans(pa.array(["a" * size], pa.large_string()), "(a|aa)+(a*)*c")
        return time.process_time() - begin

    seconds(1000)
    assert seconds(400_000) < 60 * max(0.01, seconds(20_000))


def test_a_recipe_gives_patterns_as_a_mapping_and_errors_name_the_line(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    text = "datasets: {d: {paths: x}}\nstages:\n  - use: pii\n    pattern: hash\n    patterns: {badge: 'B-[0-9]{4}'}\n"
    recipe.write_text(text)
    parsed = load_recipe(str(recipe))
    [stage] = parsed.stages
    assert isinstance(stage, Pii)
    assert (stage.own, stage.pattern) == ({"badge": "B-[0-9]{4}"}, "hash")
    recipe.write_text(parsed.to_yaml())
    assert load_recipe(str(recipe)).stages == parsed.stages
    recipe.write_text(text.replace("{4}'", "{4'"))
    load_recipe(str(recipe))  # a brace that repeats nothing is a brace
    recipe.write_text(text.replace("'B-", "'(B-"))
    with pytest.raises(RecipeError, match=r"r\.yaml.*patterns.*badge: at position 0: missing \)"):
        load_recipe(str(recipe))
