"""Which code a recipe names, and whether a run folder's may be imported to open the folder.

Guarantees: the recipe is read as plain data; nothing that it names is imported or opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from classifiers import foreign_code, installed
from cluster import storage
from pipelines.recipe.marked_yaml import parse_yaml
from stages.registry import STAGES

LOCK = "recipe.lock.yaml"
_PLAIN = ("use", "filter")  # keys whose value may be MODULE:NAME without a word before it


def is_lock(source: str) -> bool:
    """Tell whether a recipe's file lies in a run folder, so that somebody else may have written it."""
    folder, _, name = source.rpartition("/")
    run_folder = name == LOCK or storage.exists(storage.join(folder or os.curdir, "manifest.parquet"))
    return run_folder and storage.exists(source)


def check_code(lock: str) -> None:
    """Raise RecipeError where the recipe of a run folder names code that opening the folder must not import."""
    if foreign_code.is_trusting():
        return
    root = lock.rpartition("/")[0] or os.curdir
    data = parse_yaml(storage.read_bytes(lock).decode("utf-8", "replace"), lock).value
    for what, path in code_named(data):
        foreign_code.check_foreign(path, what, root)


def code_named(data: Any) -> Iterator[tuple[str, str]]:
    """Yield (key, MODULE:NAME) of all code that a recipe's stages name.

    >>> list(code_named({"stages": [{"use": "a.b:C"}, {"use": "quality", "model": "python:m:f"}, {"model": "hf:x"}]}))
    [('stages[0].use', 'a.b:C'), ('stages[1].model', 'm:f')]
    """
    stages = data.get("stages") if isinstance(data, dict) else None
    for at, entry in enumerate(stages if isinstance(stages, list) else []):
        for key, value in entry.items() if isinstance(entry, dict) else ():
            for text in value if isinstance(value, list) else [value]:
                for path in _import_paths(key, text) if isinstance(text, str) else ():
                    yield f"stages[{at}].{key}", path


def _import_paths(key: str, text: str) -> list[str]:
    """Return the import paths that a parameter's value stands for: written out, or what a package offers by a name."""
    if text.startswith("python:"):
        return [text.removeprefix("python:")]
    if ":" in text:
        return [text] if key in _PLAIN else []
    group = {"use": installed.STAGES, "model": installed.CLASSIFIERS}.get(key)
    if group is None or text in STAGES:
        return []
    return [offer.path for offer in installed.offers(group).by_name.get(text, ())]
