"""Whether a report that is about to be written says less than the one that lies there about the same ledger and mix.

A report made where the inputs, a model or facts are gone lacks texts, digests or histograms; the numbers are the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from cluster import storage
from pipelines.report import tree

TEXT_KEYS = ("text", "difference")  # None where an input cannot be read


def what_is_lost(path: str, new: tree.Report) -> list[str]:
    """Return, in words, what the report at `path` shows of the same run and `new` does not; empty where it is no worse.

    A file that is missing, damaged or of another recipe, inputs or numbers loses nothing.
    """
    old = _read(path)
    if old is None or any(old.get(key) != new.get(key) for key in ("digests", "recipe", "funnel")):
        return []
    try:
        found = {what: (count(old), count(dict(new))) for what, count in COUNTS.items()}
    except (AttributeError, TypeError):  # of the old one: report.json has no checksum, and may hold anything
        return []
    return [f"{now:,} of {before:,} {what}" for what, (before, now) in found.items() if now < before]


def _read(path: str) -> dict[str, Any] | None:
    try:
        found = json.loads(storage.read_bytes(path))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _texts(report: dict[str, Any]) -> int:
    """Return how many texts a report shows in samples, pairs and groups."""
    parts = [report.get("samples"), report.get("pairs"), (report.get("groups") or {}).get("largest")]
    return sum(_shown(part) for part in parts)


def _shown(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_shown, value))
    if not isinstance(value, dict):
        return 0
    here = sum(value.get(key) is not None for key in TEXT_KEYS)
    return here + sum(_shown(part) for part in value.values())


def _digests(report: dict[str, Any]) -> int:
    return sum(stage.get("digest") is not None for stage in report.get("stages") or [])


def _histograms(report: dict[str, Any]) -> int:
    return len(list(_scored(report)))


def _scored(report: dict[str, Any]) -> Iterator[Any]:
    yield from report.get("scores") or []
    yield from (entry for entry in report.get("languages") or [] if entry.get("scores") is not None)


def _figures(report: dict[str, Any]) -> int:
    return sum(len(values) for stage in (report.get("figures") or {}).values() for values in stage.values())


COUNTS = {
    "texts and differences": _texts,
    "digests of stages": _digests,
    "histograms": _histograms,
    "figures": _figures,
}
