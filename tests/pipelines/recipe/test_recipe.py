"""Recipes: what loads, what is refused and how the message reads, what the digest and the lock promise."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.errors import RecipeError
from pipelines.recipe import marked_yaml, recipe, sections
from pipelines.recipe.recipe import Recipe, load_data, load_recipe
from stages.core.stage import Stage
from stages.inputs.presets import PRESETS
from stages.registry import STAGES
from tests.support import json_schema

BASE = """\
name: small
seed: 3
datasets:
  a: {preset: fineweb-edu, paths: in/a}
  b: {paths: [in/b, more/b], columns: {text: body, url: meta.url}}
  seen: {paths: in/seen, role: reference}
priority: [b, a, seen]
stages:
  - {use: language_id, languages: [en]}
  - {use: minhash, shingle_width: 8}
  - {use: near_dedup, jaccard_threshold: 0.8}
  - {use: quality, name: edu, datasets: [a], model: "column:int_score", min_score: 3}
  - {use: quality, name: hq, datasets: [b], model: "column:score", min_score: 0.5}
mix: {mode: sample, target_tokens: 3M, weights: {a: 1, b: 2}, max_epochs: {a: 2}}
"""


def load_text(folder: Path, text: str, *overrides: str) -> Recipe:
    path = folder / "r.yaml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(str(path), overrides)


def message(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load_text(folder, text, *overrides)
    return str(caught.value)


def stage(found: Recipe, name: str) -> Any:
    return next(s for s in found.stages if s.name == name)


# --- the recipes that come with winnow ---


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


# --- presets, defaults, sizes ---


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


@pytest.mark.parametrize(
    ("text", "number"), [("5T", 5 * 10**12), ("1.5M", 1_500_000), ("10k", 10_000), ("7", 7), ("1_000", 1000)]
)
def test_counts_have_units(text: str, number: int) -> None:
    assert sections.parse_count(text) == number


@pytest.mark.parametrize("text", ["512MB", "512 mb", "512000000", "512000000B"])
def test_sizes_have_units(text: str) -> None:
    assert sections.parse_bytes(text) == 512_000_000
    assert sections.parse_bytes("1MiB") == 2**20


# --- YAML ---


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


# --- digest and lock ---


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
    assert set(data) == set(recipe.Sections.model_fields)
    assert data["datasets"]["a"]["columns"] == {"text": "text", "id": "id", "url": "url"}
    assert data["stages"][1]["num_permutations"] == 128
    assert data["mix"]["target_tokens"] == 3_000_000
    assert data["output"]["shard_bytes"] == 512_000_000


# --- --set ---


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


@pytest.mark.parametrize("key", ["stages.edu.min_score", "stages.3.min_score"])
def test_a_stage_is_set_by_name_or_position(key: str, tmp_path: Path) -> None:
    found = load_text(tmp_path, BASE, f"{key}=2.5")
    assert stage(found, "edu").min_score == 2.5
    assert stage(found, "hq").min_score == 0.5


def test_a_stage_used_once_is_set_by_its_use(tmp_path: Path) -> None:
    found = load_text(tmp_path, BASE, "stages.near_dedup.verify=none", "stages.near_dedup.mode=component")
    assert stage(found, "near_dedup").verify == "none"


def test_sections_that_the_file_lacks_can_be_set(tmp_path: Path) -> None:
    assert load_text(tmp_path, BASE, "output.holdout=0.25").output.holdout == 0.25
    assert load_text(tmp_path, BASE, "mix.weights={b: 1}").mix.weights == {"b": 1.0}
    assert load_text(tmp_path, BASE, "datasets.a.paths=[x, y]").datasets["a"].paths == ("x", "y")


def test_the_last_set_wins(tmp_path: Path) -> None:
    assert load_text(tmp_path, BASE, "seed=1", "seed=2").seed == 2


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("seed", ["KEY=VALUE", "'seed'"]),
        ("=3", ["KEY=VALUE"]),
        ("a..b=3", ["KEY=VALUE"]),
        ("datasets.aa.paths=x", ["--set datasets.aa.paths=x", "no dataset is called 'aa'", "a, b, seen"]),
        ("datasets.aa={paths: x}", ["no dataset is called 'aa'"]),
        ("stages.quality.min_score=1", ["quality is used 2 times", "position or `name`"]),
        ("stages.near_dedp.verify=none", ["no stage is called 'near_dedp'", "Did you mean near_dedup?"]),
        ("stages.9.seed=1", ["no stage is called '9'"]),
        ("stages.1={use: minhash}", ["stages is a list", "stages.1.KEY=VALUE"]),
        ("priority.0=a", ["priority is a list", "'priority=[a, b]'"]),
        ("seed.x=1", ["seed is 3 and has no keys below it"]),
        ("mix.weights.a=[1", ["--set mix.weights.a", "not valid YAML"]),
        ("mix.weights.c=1", ["--set mix.weights.c=1", "mix.weights.c is not a dataset", "Known: a, b."]),
        ("mix.mod=sample", ["--set mix.mod=sample", "mix.mod is not a known key", "Did you mean mode?"]),
        ("datasets.a.paths=7", ["datasets.a.paths must be text or a list of texts", "got 7"]),
    ],
)
def test_a_set_that_does_not_fit_says_why(override: str, parts: list[str], tmp_path: Path) -> None:
    found = message(tmp_path, BASE, override)
    assert all(part in found for part in parts), found


# --- errors: file, line, key, value, remedy ---


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("seed: 3", "sed: 3", ["r.yaml, line 2", "sed is not a known key", "Did you mean seed?"]),
        ("seed: 3", "seed: three", ["line 2", "seed must be a whole number", "'three'"]),
        ("seed: 3", "seed: '3'", ["seed must be a whole number", "'3'"]),
        ("seed: 3", "output: {holdout: '0.1'}", ["output.holdout must be a number"]),
        ("seed: 3", "output: {repeat: 1}", ["output.repeat must be true or false"]),
        ("seed: 3", "seed: 3\nseed: 4", ["line 3", "seed is given twice", "line 2"]),
        ("name: small", "name: a b", ["line 1", "name must be made of letters", "'a b'"]),
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


# --- schema ---


def test_the_schema_accepts_every_built_in_recipe_and_its_lock() -> None:
    schema = recipe.recipe_schema()
    for name in recipe.builtin_names():
        written = (Path(recipe.__file__).parent / "shipped" / f"{name}.yaml").read_text()
        assert json_schema.problems(marked_yaml.parse_yaml(written, name).value, schema, schema) == []
        assert json_schema.problems(json.loads(json.dumps(load_recipe(name).to_data())), schema, schema) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed: 3", "sed: 3"),
        ("fineweb-edu", "fineweb_edu"),
        ("use: minhash", "use: mnhash"),
        ("shingle_width: 8", "width: 8"),
        ("shingle_width: 8", "shingles: word"),
        ("jaccard_threshold: 0.8", "jaccard_threshold: 8"),
        ("target_tokens: 3M", "target_tokens: 3Q"),
        ("paths: in/a", "path: in/a"),
    ],
)
def test_the_schema_refuses_what_loading_refuses(old: str, new: str) -> None:
    schema = recipe.recipe_schema()
    assert json_schema.problems(marked_yaml.parse_yaml(BASE, "x").value, schema, schema) == []
    bad = marked_yaml.parse_yaml(BASE.replace(old, new, 1), "x").value
    assert json_schema.problems(bad, schema, schema)


def test_the_schema_describes_every_parameter_of_every_stage() -> None:
    from stages.registry import stage_class

    *own, outside = recipe.recipe_schema()["properties"]["stages"]["items"]["oneOf"]
    assert re.search(outside["properties"]["use"]["pattern"], "my_module:MyStage")
    entries = {e["properties"]["use"]["const"]: e for e in own}
    assert set(entries) == set(STAGES)
    for use, entry in entries.items():
        cls: type[Stage] = stage_class(use)
        assert set(entry["properties"]) == {"use", *(f.name for f in dataclasses.fields(cls))}
        assert all(p["description"] for p in entry["properties"].values())
