"""Recipes: what loads, and what the digest and the lock promise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.errors import RecipeError
from pipelines.recipe import marked_yaml, recipe
from pipelines.recipe.recipe import load_data, load_recipe
from stages.inputs.presets import PRESETS
from tests.support.small_recipes import BASE, load_text, message, stage


@pytest.mark.parametrize("name", ["zyda2", "zyda2-safe", "demo", "minimal"])
def test_built_in_recipes_load_and_their_locks_give_the_same_digest(name: str, tmp_path: Path) -> None:
    found = load_recipe(name)
    assert load_text(tmp_path, found.to_yaml()).digest() == found.digest()
    assert name in recipe.builtin_names()


def test_zyda2_has_the_published_parameters() -> None:
    found = load_recipe("zyda2")
    assert [s.use for s in found.stages] == ["minhash", "near_dedup", "quality", "quality"]
    minhash = found.stages[0]
    assert (minhash.parameters, minhash.seed, minhash.shingle_width, minhash.num_permutations) == (  # type: ignore[attr-defined]
        ("zyda2_seeds", 10, 25, 128)
    )
    near: Any = found.stages[1]
    assert (near.bands, near.rows_per_band, near.verify, near.mode) == (8, 16, "none", "component")
    assert (near.within_dataset, near.orphans) == ("keep_all", "allow")
    assert found.priority == ("fineweb_edu", "dclm", "zyda1", "dolma_cc")
    edu, hq = stage(found, "edu"), stage(found, "hq")
    assert (edu.datasets, edu.model, edu.min_score) == (("fineweb_edu",), "column:int_score", 3)
    assert (hq.datasets, hq.keep_labels) == (("zyda1", "dolma_cc"), ("High",))
    assert hq.model == "hf:nvidia/quality-classifier-deberta"
    assert found.mix.mode == "all_with_weights"
    assert found.mix.weights == {"dclm": 4.0, "fineweb_edu": 4.0, "zyda1": 0.16, "dolma_cc": 0.24}


def test_zyda2_safe_differs_from_zyda2_in_deduplication_only() -> None:
    published, safe = load_recipe("zyda2").to_data(), load_recipe("zyda2-safe").to_data()
    for key in ("datasets", "priority", "mix", "output", "seed", "on_error"):
        assert published[key] == safe[key]
    assert published["stages"][2:] == safe["stages"][2:]
    near: Any = load_recipe("zyda2-safe").stages[1]
    assert (near.verify, near.jaccard_threshold, near.mode, near.orphans, near.within_dataset) == (
        ("exact", 0.85, "representative", "promote", "keep_all")
    )


def test_a_model_or_a_column_can_stand_in_for_the_published_classifier() -> None:
    by_model = load_recipe(
        "zyda2", ["stages.hq.model=fasttext:q.bin", "stages.hq.keep_labels=[]", "stages.hq.min_score=0.5"]
    )
    assert stage(by_model, "hq").model == "fasttext:q.bin"
    assert stage(by_model, "hq").keep_labels == ()
    by_column = load_recipe(
        "zyda2", ["stages.hq.model=column:score", "stages.3.keep_labels=[]", "stages.3.min_score=3"]
    )
    assert stage(by_column, "hq").model == "column:score"


def test_a_file_of_the_same_name_wins_over_a_built_in_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_recipe("demo").name == "demo"
    (tmp_path / "demo").write_text(BASE)
    assert load_recipe("demo").name == "small"


def test_a_recipe_that_does_not_exist_lists_the_built_in_ones() -> None:
    with pytest.raises(RecipeError, match=r"no recipe file zyda-2.*Did you mean zyda2.*minimal"):
        load_recipe("zyda-2")


def test_presets_give_columns_and_licence_and_the_recipe_overrides_them(tmp_path: Path) -> None:
    a, b, _ = load_text(tmp_path, BASE, "datasets.a.columns.url=elsewhere").datasets_resolved()
    known = PRESETS["fineweb-edu"]
    assert (a.columns.text, a.columns.id, a.columns.url) == (known.columns.text, known.columns.id, "elsewhere")
    assert a.licence == known.licence
    assert (b.columns.text, b.columns.id, b.columns.url) == ("body", None, "meta.url")
    assert b.paths == ("in/b", "more/b")


def test_priority_defaults_to_the_order_of_the_datasets(tmp_path: Path) -> None:
    found = load_text(tmp_path, BASE.replace("priority: [b, a, seen]\n", ""))
    assert found.priority == ("a", "b", "seen")


def test_spelling_out_defaults_changes_no_digest(tmp_path: Path) -> None:
    short = load_text(tmp_path, BASE)
    text = BASE.replace("{use: minhash, shingle_width: 8}", "{use: minhash, shingle_width: 8, num_permutations: 128}")
    text = text.replace("weights: {a: 1, b: 2}", "weights: {b: 2.0, a: 1.0}").replace("3M", "3_000_000")
    text = "# a comment\non_error: stop\n" + text.replace("preset: fineweb-edu,", "preset: fineweb-edu, format: auto,")
    assert load_text(tmp_path, text).digest() == short.digest()


def test_the_cluster_is_no_part_of_the_digest(tmp_path: Path) -> None:
    one = load_text(tmp_path, BASE)
    assert load_text(tmp_path, BASE, "cluster.workers=7", "cluster.kind=inline").digest() == one.digest()


@pytest.mark.parametrize(
    "override",
    [
        "seed=4",
        "on_error=quarantine",
        "priority=[a, b, seen]",
        "prefer=[longest]",
        "datasets.a.paths=elsewhere",
        "datasets.b.columns.text=content",
        "datasets.b.format=jsonl",
        "datasets.seen.role=source",
        "stages.minhash.shingle_width=9",
        "stages.near_dedup.jaccard_threshold=0.7",
        "stages.edu.min_score=2",
        "mix.weights.a=5",
        "mix.target_tokens=4M",
        "mix.max_epochs.b=3",
        "output.holdout=0.1",
        "output.shuffle=none",
        "output.columns=[date]",
    ],
)
def test_whatever_changes_the_result_changes_the_digest(override: str, tmp_path: Path) -> None:
    assert load_text(tmp_path, BASE, override).digest() != load_text(tmp_path, BASE).digest()


@given(
    paths=st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1)
        | st.sampled_from(["1e3", "08"]),
        min_size=1,
        max_size=3,
    ),
    threshold=st.floats(0, 1),
    weight=st.floats(1e-300, 1e300),
    tokens=st.integers(1, 10**15),
    licence=st.none()
    | st.sampled_from(["no", "0x1F", "1:30", "1_0", "~", ".5", "null", "=", "<<", "- a", "a: b", "#"]),
)
@settings(max_examples=60, deadline=None)
def test_the_lock_of_any_recipe_loads_to_the_same_digest(
    paths: list[str], threshold: float, weight: float, tokens: int, licence: str | None
) -> None:
    data = marked_yaml.parse_yaml(BASE, "x").value
    data["datasets"]["b"] |= {"paths": paths, "licence": licence}
    data["stages"][2]["jaccard_threshold"] = threshold
    data["mix"] |= {"weights": {"a": weight, "b": 1}, "target_tokens": tokens}
    found = load_data(data, "x")
    again = load_data(marked_yaml.parse_yaml(found.to_yaml(), "lock").value, "lock")
    assert again.digest() == found.digest()
    assert again.to_data() == found.to_data()


def test_the_lock_spells_out_every_default_and_what_the_preset_gives(tmp_path: Path) -> None:
    data = marked_yaml.parse_yaml(load_text(tmp_path, BASE).to_yaml(), "lock").value
    assert set(data) == set(recipe.Sections.model_fields) - {"mixes"}  # which stands only where there are several
    assert data["datasets"]["a"]["columns"] == {"text": "text", "id": "id", "url": "url"}
    assert data["stages"][1]["num_permutations"] == 128
    assert data["mix"]["target_tokens"] == 3_000_000
    assert data["output"]["shard_bytes"] == 512_000_000


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("output.columns=[date, dump, date]", "date is there twice"),
        ("output.columns=[date, '']", "none of the names may be empty"),
        ("output.columns=[source, input_source]", "written as input_source"),
        ("mix.max_epochs=.inf", "at most 10,000"),
        ("mix.max_epochs={a: 1e300}", "at most 10,000"),
        ("mix.max_epochs=.nan", "above 0"),
    ],
)
def test_what_could_not_be_written_is_refused(override: str, part: str, tmp_path: Path) -> None:
    assert part in message(tmp_path, BASE, override)
    assert load_text(tmp_path, BASE, "output.columns=[url, input_url]").output.columns == ("url", "input_url")
