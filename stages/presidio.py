"""Personal data as Microsoft Presidio finds it (extra presidio), in winnow's kinds and bytes."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from cluster.errors import RecipeError
from stages.personal_data import Found

KIND_OF = {
    "EMAIL_ADDRESS": "email",
    "IP_ADDRESS": "ip",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "credit_card",
    "IBAN_CODE": "iban",
}
REMEDY = "detector: presidio needs the package presidio-analyzer: pip install 'winnow[presidio]', or use builtin."


def version() -> str:
    """Return Presidio's version, part of the facts' address. Raises RecipeError where it is not installed."""
    try:
        return "presidio-analyzer " + importlib.metadata.version("presidio-analyzer")
    except importlib.metadata.PackageNotFoundError:
        raise RecipeError(REMEDY) from None


@functools.cache
def analyzer() -> Any:
    """Return Presidio's analyser; it loads its language model, once per process."""
    try:
        from presidio_analyzer import AnalyzerEngine
    except ImportError:
        raise RecipeError(REMEDY) from None
    return AnalyzerEngine()


def find(texts: pa.Array, entities: tuple[str, ...], language: str) -> Iterator[tuple[int, bytes, list[Found]]]:
    """Yield (row, text, what is found) of the texts that hold personal data."""
    engine = analyzer()
    for row, text in enumerate(texts.to_pylist()):
        results = engine.analyze(text=text, entities=list(entities or KIND_OF), language=language)
        found = {(r.start, r.end, KIND_OF.get(r.entity_type, r.entity_type.lower())) for r in results}
        if found:
            yield row, text.encode(), [(*_bytes(text, start, stop), kind) for start, stop, kind in sorted(found)]


def _bytes(text: str, start: int, stop: int) -> tuple[int, int]:
    first = len(text[:start].encode())
    return first, first + len(text[start:stop].encode())
