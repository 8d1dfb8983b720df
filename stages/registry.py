"""Registry of stages by name, each imported on first use.

Winnow's own are listed here. Those of others go by import path, MODULE:CLASS, or by the name that an installed package
gives them (entry points of the group winnow.stages, classifiers/installed.py). Guarantees: looking at winnow's names
imports nothing and reads no package's metadata, so the command line starts fast; a class is found again by its `key()`,
which for others' stages is the import path, so that a run folder is read without the entry point.
"""

from __future__ import annotations

import dataclasses
import importlib
from typing import TYPE_CHECKING, cast

from classifiers import installed
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
    "perplexity": "stages.perplexity:Perplexity",
    "label": "stages.label:Label",
    "score_cut": "stages.score_cut:ScoreCut",
    "decontaminate": "stages.decontaminate:Decontaminate",
    "pii": "stages.pii:Pii",
    "url_rules": "stages.url_rules:UrlRules",
    "repair": "stages.repair:Repair",
    "bad_words": "stages.bad_words:BadWords",
    "attributes": "stages.attributes:JoinedAttributes",
    "llm_judge": "stages.llm_judge:LlmJudge",
}
# Names that the run folder needs itself.
RESERVED = ("read", "count_tokens", "lineage", "mix", "rewrite", "mix_columns", "copy_numbers", "holdout_groups")


def is_stage(use: str) -> bool:
    """Tell whether a recipe may name a stage so: by a name of winnow's, an import path, or an installed name."""
    if use in STAGES or ":" in use:
        return True
    return use not in RESERVED and use in installed.offers(installed.STAGES).by_name


def stage_names() -> list[str]:
    """Return the names of winnow's stages, then of those that installed packages offer."""
    theirs = installed.offers(installed.STAGES).by_name
    return [*STAGES, *sorted(name for name in theirs if name not in STAGES and name not in RESERVED)]


def check_owner(use: str) -> None:
    """Raise RecipeError if several packages offer a stage name; the message names them."""
    if clash := installed.offers(installed.STAGES).clash(use, (*STAGES, *RESERVED), "stage"):
        raise RecipeError(clash)


def listed() -> tuple[dict[str, type[Stage]], list[str]]:
    """Return every stage by name, winnow's first, and one sentence for each of others that cannot be used."""
    found: dict[str, type[Stage]] = {}
    broken = list(installed.offers(installed.STAGES).unreadable)
    for name in stage_names():
        try:
            found[name] = stage_class(name)
            check_owner(name)
        except RecipeError as error:
            broken.append(str(error))
    return found, broken


def stage_class(use: str) -> type[Stage]:
    """Return the stage that a recipe names `use`.

    Raises
    ------
    RecipeError
        when there is no such stage, or it cannot be used; the message lists those that exist.
    """
    if use not in STAGES:
        return _by_path(use) if ":" in use else _by_entry_point(use)
    module, name = STAGES[use].split(":")
    found = cast("type[Stage]", getattr(importlib.import_module(module), name))
    assert found.use == use, f"{STAGES[use]} calls itself {found.use!r}"
    return found


def _by_entry_point(use: str) -> type[Stage]:
    offers = installed.offers(installed.STAGES)
    offer = offers.named(use, (*STAGES, *RESERVED), "stage")
    if offer is None:
        rest = "".join(f" Besides, {sentence}" for sentence in offers.unreadable)
        raise RecipeError(f"use must be one of {', '.join(stage_names())}, or MODULE:CLASS, got {use!r}.{rest}")
    found = _checked(offer.path, f"the stage {use} of {offer.distribution},")
    if found.use != use:
        raise RecipeError(
            f"{offer.distribution} offers {offer.path} as stage {use}, but its use is {found.use!r}: both must be the "
            "same."
        )
    return found


def _by_path(path: str) -> type[Stage]:
    found = _checked(path, "the stage")
    if found.key() != path:
        raise RecipeError(f"{path} is {found.key()}: name it so.")
    return found


def _checked(path: str, what: str) -> type[Stage]:
    """Import a stage that is not winnow's and check its class; `what` names it in errors."""
    from classifiers import user_code
    from stages.core import stage

    found = user_code.imported(path, what)
    if not (isinstance(found, type) and issubclass(found, stage.Stage) and dataclasses.is_dataclass(found)):
        raise RecipeError(f"{path} must be a dataclass derived from stages.base.ShardStage; it is {found!r}.")
    if not installed.NAME.fullmatch(found.use) or found.use in (*STAGES, *RESERVED):
        raise RecipeError(
            f"{path}.use must be a name of lower-case letters, digits and _ that no stage of winnow has, got "
            f"{found.use!r}."
        )
    return found
