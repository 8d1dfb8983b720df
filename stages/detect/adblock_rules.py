"""Rules in the language of Adblock Plus, applied to the addresses of pages by Brave's engine (package adblock).

Guarantees: nothing is fetched; rules that hide elements of a page do nothing. A page counts as its own source, so rules
for third parties do not apply.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from typing import Any

from cluster import storage
from cluster.errors import RecipeError
from cluster.files import compression
from stages.detect.urls import with_scheme

KINDS = ("other", "document")  # rules without a type, and those for pages


def digest_of(paths: tuple[str, ...]) -> str:
    """Return the digest of rule files and engine. Raises RecipeError where one cannot be had."""
    if not paths:
        return ""
    parts = [_version(), *(hashlib.blake2b(_text(path).encode(), digest_size=8).hexdigest() for path in paths)]
    return "|".join(parts)


def blocking_rules(paths: tuple[str, ...], urls: list[str | None]) -> list[str | None]:
    """Return the rule that blocks each URL, None where none does."""
    if not paths:
        return [None] * len(urls)
    engine = _engine(paths)
    return [_rule(engine, url) if url else None for url in urls]


def _rule(engine: Any, url: str) -> str | None:
    address = with_scheme(url)
    for kind in KINDS:
        found = engine.check_network_urls(address, address, kind)
        if found.matched:
            return str(found.filter)
    return None


def _version() -> str:
    try:
        return importlib.metadata.version("adblock")
    except importlib.metadata.PackageNotFoundError:
        raise RecipeError("url_rules.adblock needs the package adblock: pip install 'winnow-mix[adblock]'.") from None


def _text(path: str) -> str:
    if not storage.exists(path):
        raise RecipeError(f"the rules {path} cannot be read: no such file. Name a list of Adblock Plus rules.")
    return compression.read_all(path).decode("utf-8-sig", "replace")


@functools.lru_cache(maxsize=4)
def _engine(paths: tuple[str, ...]) -> Any:
    _version()
    import adblock

    filters = adblock.FilterSet(debug=True)  # to name the rule that matched
    for path in paths:
        filters.add_filter_list(_text(path))
    return adblock.Engine(filters)
