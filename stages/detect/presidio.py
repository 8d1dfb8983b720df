"""Personal data as Microsoft Presidio finds it (extra presidio), in winnow's kinds and bytes."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from cluster import storage
from cluster.errors import RecipeError
from stages.detect.personal_data import Found

KIND_OF = {
    "EMAIL_ADDRESS": "email",
    "IP_ADDRESS": "ip",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "credit_card",
    "IBAN_CODE": "iban",
}
REMEDY = "detector: presidio needs the package presidio-analyzer: pip install 'winnow-mix[presidio]', or use builtin."


MOST_CHARS = 100_000  # that Presidio is given at once
MODEL = (
    "Its default needs spaCy's model en_core_web_lg on every worker (python -m spacy download en_core_web_lg); "
    "presidio_config names a configuration of Presidio with another one."
)


def version(config: str) -> str:
    """Return Presidio's version and the configuration's digest, part of the facts' address.

    Raises RecipeError where Presidio is not installed or the configuration cannot be read.
    """
    try:
        found = "presidio-analyzer " + importlib.metadata.version("presidio-analyzer")
    except importlib.metadata.PackageNotFoundError:
        raise RecipeError(REMEDY) from None
    return f"{found} {_checked(config)}" if config else found


def _checked(config: str) -> str:
    """Return the digest of a configuration; Presidio itself would pass over a file that it cannot read."""
    try:
        text = Path(storage.local_path(config)).read_text(encoding="utf-8")
        if not isinstance(yaml.safe_load(text), dict):
            raise ValueError("it holds no mapping")
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RecipeError(
            f"presidio_config {config} cannot be read ({error}). Give a YAML file for Presidio."
        ) from None
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@functools.cache
def analyzer(config: str) -> Any:
    """Return Presidio's analyser; it loads its language model, once per process."""
    try:
        import presidio_analyzer
    except ImportError:
        raise RecipeError(REMEDY) from None
    if config:
        _checked(config)
    try:
        if not config:
            return presidio_analyzer.AnalyzerEngine()
        return presidio_analyzer.AnalyzerEngineProvider(analyzer_engine_conf_file=config).create_engine()
    except (Exception, SystemExit) as error:  # spaCy leaves the process where it cannot download a model
        raise RecipeError(f"Presidio cannot start ({type(error).__name__}: {error}). {MODEL}") from error


def find(
    texts: pa.Array, entities: tuple[str, ...], language: str, config: str
) -> Iterator[tuple[int, bytes, list[Found]]]:
    """Yield (row, text, what is found) of the texts that hold personal data."""
    engine = analyzer(config)
    if language not in engine.supported_languages:
        known = ", ".join(engine.supported_languages)
        raise RecipeError(f"language {language!r} is not among those that Presidio is set up for: {known}. {MODEL}")
    if unknown := set(entities) - set(engine.get_supported_entities(language)):
        known = ", ".join(sorted(engine.get_supported_entities(language)))
        raise RecipeError(f"entities holds {', '.join(sorted(unknown))}; for {language} Presidio finds {known}.")
    wanted = list(entities or KIND_OF)
    for row, text in enumerate(texts.to_pylist()):
        found = {
            (at + r.start, at + r.end, KIND_OF.get(r.entity_type, r.entity_type.lower()))
            for at, part in _parts(text)
            for r in engine.analyze(text=part, entities=wanted, language=language)
        }
        if found:
            yield row, text.encode(), [(*_bytes(text, start, stop), kind) for start, stop, kind in sorted(found)]


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """Yield (start, part) of a text, cut at white space: spaCy takes a gigabyte per 100,000 characters, and no million.

    >>> [part for _, part in _parts("short")]
    ['short']
    """
    start = 0
    while len(text) - start > MOST_CHARS:
        blank = max(text.rfind(mark, start + 1, start + MOST_CHARS) for mark in " \n")
        stop = blank if blank > start else start + MOST_CHARS
        yield start, text[start:stop]
        start = stop
    yield start, text[start:]


def _bytes(text: str, start: int, stop: int) -> tuple[int, int]:
    first = len(text[:start].encode())
    return first, first + len(text[start:stop].encode())
