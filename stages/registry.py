"""The stages by name, each imported when it is first asked for; those of others by import path, MODULE:CLASS.

Guarantees: looking at the names imports nothing, so the command line starts fast; `stage_class` returns
a class that is asked for by the same name again (`Stage.key`).
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from typing import TYPE_CHECKING, cast

from cluster.errors import RecipeError

if TYPE_CHECKING:
    from stages.core.stage import Stage

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
_NAME = re.compile("[a-z][a-z0-9_]*")


def is_stage(use: str) -> bool:
    """Tell whether recipes may ask for a stage so: by the name of one of winnow's, or by an import path."""
    return use in STAGES or ":" in use


def stage_class(use: str) -> type[Stage]:
    """Return the stage that a recipe names `use`.

    Raises
    ------
    RecipeError
        when there is no such stage; the message lists those that exist.
    """
    if use not in STAGES and ":" in use:
        return _outside(use)
    if use not in STAGES:
        raise RecipeError(f"use must be one of {', '.join(STAGES)}, or MODULE:CLASS, got {use!r}.")
    module, name = STAGES[use].split(":")
    found = cast("type[Stage]", getattr(importlib.import_module(module), name))
    assert found.use == use, f"{STAGES[use]} calls itself {found.use!r}"
    return found


def _outside(path: str) -> type[Stage]:
    from classifiers import user_code
    from stages.core import stage

    found = user_code.imported(path, "the stage")
    if not (isinstance(found, type) and issubclass(found, stage.Stage) and dataclasses.is_dataclass(found)):
        raise RecipeError(f"{path} must be a dataclass derived from stages.base.ShardStage; it is {found!r}.")
    if not _NAME.fullmatch(found.use) or found.use in STAGES:
        raise RecipeError(
            f"{path}.use must be a name of lower-case letters, digits and _ that no stage of winnow has, got "
            f"{found.use!r}."
        )
    if found.key() != path:
        raise RecipeError(f"{path} is {found.key()}: name it so.")
    return found
