"""The stages by name, each imported when it is first asked for.

Guarantees: looking at the names imports nothing, so the command line starts fast; `stage_class` returns
a class whose `use` is the name it was asked by.
"""

from __future__ import annotations

import importlib
from typing import cast

from cluster.errors import RecipeError
from stages.base import Stage

STAGES: dict[str, str] = {
    "language_id": "stages.language_id:LanguageId",
    "exact_dedup": "stages.exact_dedup:ExactDedup",
    "minhash": "stages.minhash:MinHash",
    "near_dedup": "stages.near_dedup:NearDedup",
    "semantic_dedup": "stages.semantic_dedup:SemanticDedup",
    "line_dedup": "stages.line_dedup:LineDedup",
    "heuristics": "stages.heuristics:Heuristics",
    "line_rules": "stages.line_rules:LineRules",
    "document_filter": "stages.document_filter:DocumentFilter",
    "quality": "stages.quality:Quality",
    "score_cut": "stages.score_cut:ScoreCut",
    "decontaminate": "stages.decontaminate:Decontaminate",
    "pii": "stages.pii:Pii",
    "url_rules": "stages.url_rules:UrlRules",
}


def stage_class(use: str) -> type[Stage]:
    """Return the stage that a recipe names `use`.

    Raises
    ------
    RecipeError
        when there is no such stage; the message lists those that exist.
    """
    if use not in STAGES:
        raise RecipeError(f"use must be one of {', '.join(STAGES)}, got {use!r}.")
    module, name = STAGES[use].split(":")
    found = cast("type[Stage]", getattr(importlib.import_module(module), name))
    assert found.use == use, f"{STAGES[use]} calls itself {found.use!r}"
    return found
