"""YAML: words and numbers are what they look like, and what is dumped is parsed back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.recipe import marked_yaml
from tests.support.small_recipes import load_text, stage


def test_words_and_numbers_are_what_they_look_like(tmp_path: Path) -> None:
    text = "datasets:\n  no: {paths: x}\n  2024: {paths: 2024-01-01}\nstages:\n"
    text += "  - {use: quality, model: 'column:x', min_score: 1e-3}\n  - {use: language_id, languages: [no]}\n"
    found = load_text(tmp_path, text)
    assert list(found.datasets) == ["no", "2024"]
    assert found.datasets["2024"].paths == ("2024-01-01",)
    assert stage(found, "quality").min_score == 0.001
    assert stage(found, "language_id").languages == ("no",)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))),
    st.from_regex(r"[-+.0-9eE_:xo~<>=nNyYtTfF]{1,8}", fullmatch=True),
)


@given(
    st.dictionaries(
        st.text("abc0.~yn", min_size=1),
        st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=5),
        max_size=4,
    )
)
@settings(max_examples=200, deadline=None)
def test_what_is_dumped_is_parsed_back(data: dict[str, Any]) -> None:
    assert marked_yaml.parse_yaml(marked_yaml.dump_yaml(data), "x").value == data
