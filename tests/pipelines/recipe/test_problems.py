"""What is wrong with a recipe, and how the message reads."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.errors import RecipeError
from pipelines.recipe import marked_yaml
from pipelines.recipe.problems import shown
from pipelines.recipe.recipe import load_data, load_recipe
from tests.support.small_recipes import BASE, message


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("seed: 3", "sed: 3", ["r.yaml, line 2", "sed is not a known key", "Did you mean seed?"]),
        ("seed: 3", "seed: three", ["line 2", "seed must be a whole number", "'three'"]),
        ("seed: 3", "seed: '3'", ["seed must be a whole number", "'3'"]),
        ("seed: 3", "output: {holdout: '0.1'}", ["output.holdout must be a share from 0 to below 1"]),
        ("seed: 3", "output: {repeat: 1}", ["output.repeat must be true or false"]),
        ("seed: 3", "seed: 3\nseed: 4", ["line 3", "seed is given twice", "line 2"]),
        ("name: small", "name: a b", ["line 1", "name must be at most 100 letters", "'a b'"]),
        ("paths: in/a", "path: in/a", ["datasets.a.path is not a known key", "Did you mean paths?"]),
        ("paths: in/a", "paths: []", ["datasets.a.paths", "at least one"]),
        ("fineweb-edu", "fineweb_edu", ["line 4", "datasets.a.preset must be one of", "Did you mean fineweb-edu?"]),
        ("role: reference", "role: ref", ["line 6", "datasets.seen.role", "'ref'", "reference"]),
        ("[b, a, seen]", "[b, a]", ["line 7", "priority", "missing: seen"]),
        ("[b, a, seen]", "[b, a, seen, a]", ["priority", "given twice: a"]),
        ("[b, a, seen]", "[b, a, sen]", ["priority[2] must be one of a, b, seen", "Did you mean seen?"]),
        ("use: minhash", "use: min_hash", ["line 10", "stages[1].use must be one of", "Did you mean minhash?"]),
        (
            "shingle_width: 8",
            "shingle_width: 8.5",
            ["line 10", "stages[1].shingle_width must be a whole number", "8.5"],
        ),
        ("shingle_width: 8", "shingles: word", ["stages[1].shingles must be one of", "Did you mean words?"]),
        ("shingle_width: 8", "width: 8", ["stages[1].width is not a parameter of minhash"]),
        ("jaccard_threshold: 0.8", "verify: exact", ["line 11", "jaccard_threshold", "Try 0.8"]),
        ("jaccard_threshold: 0.8", "jaccard_threshold: 80", ["[0, 1]", "Did you mean 0.8?"]),
        ("jaccard_threshold: 0.8", "jaccard_threshold: .nan", ["must be a finite number"]),
        (
            "jaccard_threshold: 0.8",
            "jaccard_threshold: .8, bands: 16, rows_per_band: 9",
            ["bands", "16 x 9 = 144", "128"],
        ),
        ("jaccard_threshold: 0.8", "jaccard_threshold: .8, protect: [x]", ["stages[2].protect[0]", "a, b, seen"]),
        ("jaccard_threshold: 0.8", "jaccard_threshold: .8, signatures: other", ["must name a minhash stage"]),
        ("{use: minhash, shingle_width: 8}", "{use: exact_dedup}", ["stages[2]", "needs a minhash stage before it"]),
        ("shingle_width: 8", "datasets: [a]", ["stages[2]", "compares dataset b", "minhash"]),
        ("name: hq, ", "name: edu, ", ["line 13", "is called edu like stages[3]", "name"]),
        ("name: hq, ", "name: mix, ", ["stages[4].name", "not read"]),
        ("datasets: [b]", "datasets: [c]", ["stages[4].datasets[0] must be one of", "'c'"]),
        ("datasets: [b]", "datasets: b", ["stages[4].datasets must be a list", "'b'"]),
        ("target_tokens: 3M", "target_tokens: 3Q", ["line 14", "mix.target_tokens", "'3Q'", "5T"]),
        ("mode: sample", "mode: samples", ["mix.mode must be one of", "Did you mean sample?"]),
        ("mode: sample", "mode: all_with_weights", ["mix.target_tokens has no effect", "sample"]),
        ("weights: {a: 1", "weights: {seen: 1, a: 1", ["mix.weights.seen is not a dataset that is mixed"]),
        ("weights: {a: 1, b: 2}", "weights: {a: 0, b: 0}", ["mix.weights must not all be 0"]),
        ("weights: {a: 1", "weights: {a: -1", ["mix.weights.a must be at least 0", "-1"]),
        ("max_epochs: {a: 2}", "max_epochs: {c: 2}", ["mix.max_epochs.c is not a dataset that is mixed"]),
        ("max_epochs: {a: 2}", "max_epochs: 0", ["mix.max_epochs must be a number above 0"]),
        ("seed: 3", "prefer: [longer]", ["prefer[0] must be one of longest, shortest", "Did you mean longest?"]),
        ("seed: 3", "seed: [", ["r.yaml, line", "not valid YAML"]),
        ("seed: 3", "? [a]\n: 3", ["line 2", "a key must be a word"]),
    ],
)
def test_an_error_names_place_value_and_remedy(old: str, new: str, parts: list[str], tmp_path: Path) -> None:
    assert old in BASE
    found = message(tmp_path, BASE.replace(old, new, 1))
    assert all(part in found for part in parts), found


def test_a_right_word_in_the_wrong_place_is_not_suggested_again(tmp_path: Path) -> None:
    text = BASE.replace("jaccard_threshold: 0.8", "jaccard_threshold: 0.8, verify: none, mode: representative", 1)
    found = message(tmp_path, text)
    assert "mode must be component where verify is none" in found
    assert "Did you mean" not in found


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = BASE.replace("seed: 3", "sed: 3").replace("use: minhash", "use: mnhash").replace("3M", "lots")
    found = message(tmp_path, text)
    assert len(found.splitlines()) == 3
    assert all(part in found for part in ("sed", "mnhash", "'lots'"))


@pytest.mark.parametrize("text", ["", "- a\n", "word\n", "datasets: {}\n", "stages: []\n"])
def test_a_file_that_is_no_recipe_is_refused(text: str, tmp_path: Path) -> None:
    assert "datasets" in message(tmp_path, text)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="not UTF-8"):
        load_recipe(str(tmp_path / "r.yaml"))


def test_references_alone_are_no_recipe(tmp_path: Path) -> None:
    assert "not a reference" in message(tmp_path, "datasets: {a: {paths: x, role: reference}}")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_junk_anywhere_is_refused_with_a_sentence_or_loads(data: st.DataObject) -> None:
    tree = copy.deepcopy(marked_yaml.parse_yaml(BASE, "x").value)
    at: Any = tree
    while True:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else list(range(len(at)))))
        if not at[key] or not isinstance(at[key], dict | list) or data.draw(st.booleans()):
            break
        at = at[key]
    at[key] = data.draw(JUNK)
    with contextlib.suppress(RecipeError):
        load_data(tree, "x")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("token: abc", "'token: ***'"),
        ("salt:0.5", "'salt:***'"),
        (["pad_token: <pad>"], '["pad_token: <pad>"]'),
        ("the credentials: see wiki", "'the credentials: *** wiki'"),
        ({"api_key": "a b", "x": 1}, '{"api_key": "***", "x": 1}'),
        (['serve --api-key "a b" x'], '["serve --api-key \\"***\\" x"]'),
    ],
)
def test_a_shown_value_loses_its_secret_alone(value: object, text: str) -> None:
    assert shown(value) == text
