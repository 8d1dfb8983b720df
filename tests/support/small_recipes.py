"""A small recipe as text, and what comes of loading it with changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cluster.errors import RecipeError
from pipelines.recipe.recipe import Recipe, load_recipe

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
