"""`--set`: what it changes, and what is said where it does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.small_recipes import BASE, load_text, message, stage


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
