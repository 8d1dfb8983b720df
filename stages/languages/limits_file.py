"""Limits per language as a YAML file, written by `winnow rules fit` or by hand.

    words: icu                 # how words of spaceless scripts were found
    languages:
      ko:
        stop_words: [이, 그, ...]
        limits: {stop_words: {min: 2}, mean_word_length: {min: 1.9, max: 4.4}, ...}

Guarantees: every problem is an error that names file, language, key, value and what is right.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from classifiers import language
from cluster import storage
from cluster.errors import RecipeError
from stages.kernels.text.heuristic_facts import FACTS

Bounds = tuple[float, float]
TOP_KEYS = ("words", "languages", "language_id", "calibration", "method", "share")
KEYS = ("stop_words", "limits", "documents", "language_score")


@dataclass(frozen=True, kw_only=True)
class LanguageLimits:
    """What was learned of one language. limits: (least, greatest) of each fact, infinite where there is none."""

    stop_words: tuple[str, ...]
    limits: dict[str, Bounds]
    language_score: float | None = None


@dataclass(frozen=True, kw_only=True)
class LimitsFile:
    """A whole file. words: how words of spaceless scripts were found when it was made."""

    languages: dict[str, LanguageLimits]
    words: str = ""
    language_id: str = ""  # the model whose scores language_score and calibration are about
    calibration: tuple[tuple[float, float], ...] = ()  # (score, share that is right), both ascending

    def calibrated(self, scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the share of labels of such scores that is right, between the knots by straight lines."""
        knots = np.array(self.calibration, np.float64)
        return np.asarray(np.interp(np.asarray(scores, np.float64), knots[:, 0], knots[:, 1]), np.float64)

    def scores(self) -> dict[str, float]:
        """Return the least score of each language that has one."""
        return {tag: one.language_score for tag, one in self.languages.items() if one.language_score is not None}

    def words_digest(self) -> str:
        """Return the digest of the stop words, on which facts depend."""
        return _digest({tag: entry.stop_words for tag, entry in self.languages.items()})

    def digest(self) -> str:
        """Return the digest of everything that decides."""
        lists = {tag: [entry.stop_words, sorted(entry.limits.items())] for tag, entry in self.languages.items()}
        return _digest([self.words, lists])


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()


def load(path: str) -> LimitsFile:
    """Return a file of limits, parsed once per process as long as it stays the same. Raises RecipeError."""
    path = os.path.expanduser(path)
    try:
        data = storage.read_bytes(path)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise RecipeError(
            f"limits {path!r} cannot be read ({error.__class__.__name__}). Give a file made by `winnow rules fit`."
        ) from None
    return _parsed(path, data)


@functools.lru_cache(maxsize=4)
def _parsed(path: str, data: bytes) -> LimitsFile:
    try:
        found = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"limits {path!r} is no YAML: {str(error).splitlines()[0]}.") from None
    whole = _mapping(found, path, "the file", TOP_KEYS)
    languages = whole.get("languages")
    if not isinstance(languages, Mapping) or not languages:
        raise RecipeError(f"limits {path!r}: languages must be a mapping from language to its limits.")
    words = whole.get("words", "")
    if words not in ("", "icu", "characters"):
        raise RecipeError(f"limits {path!r}: words must be icu or characters, got {words!r}.")
    entries = {_tag(name, path): _language(entry, path, str(name)) for name, entry in languages.items()}
    model = str(whole.get("language_id") or "")
    knots = _knots(whole.get("calibration") or [], path)
    return LimitsFile(languages=entries, words=words, language_id=model, calibration=knots)


def _knots(value: object, path: str) -> tuple[tuple[float, float], ...]:
    knots = value if isinstance(value, list) else [value]
    pairs = [knot for knot in knots if isinstance(knot, list) and len(knot) == 2 and all(map(_is_share, knot))]
    columns = list(zip(*pairs, strict=True))
    if len(pairs) != len(knots) or any(list(column) != sorted(column) for column in columns):
        raise RecipeError(f"limits {path!r}: calibration must be pairs [score, share] in [0, 1], both ascending.")
    return tuple((float(score), float(share)) for score, share in pairs)


def _mapping(value: object, path: str, where: str, keys: Iterable[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RecipeError(f"limits {path!r}: {where} must be a mapping, got {value!r}.")
    wrong = [key for key in value if key not in keys]
    if wrong:
        raise RecipeError(f"limits {path!r}: {where} has no key {wrong[0]!r}; there are {', '.join(keys)}.")
    return value


def _tag(name: object, path: str) -> str:
    """Return the tag of a language's key; YAML reads `no` as false."""
    text = "no" if name is False else str(name)
    try:
        return language.check_code(text)
    except RecipeError:
        raise RecipeError(f"limits {path!r}: {text!r} is no language code such as ko, ceb or zh-Hant.") from None


def _language(entry: object, path: str, name: str) -> LanguageLimits:
    mine = _mapping(entry, path, name, KEYS)
    stops = mine.get("stop_words", [])
    if not isinstance(stops, list) or not all(isinstance(word, str) and word for word in stops):
        raise RecipeError(f"limits {path!r}: stop_words of {name} must be a list of words (in quotes where needed).")
    score = mine.get("language_score")
    if score is not None and not _is_share(score):
        raise RecipeError(f"limits {path!r}: language_score of {name} must be in [0, 1], got {score!r}.")
    limits = _mapping(mine.get("limits", {}), path, f"limits of {name}", FACTS)
    bounds = {fact: _bounds(value, path, f"{fact} of {name}") for fact, value in limits.items()}
    return LanguageLimits(
        stop_words=tuple(sorted({word.lower() for word in stops})), limits=bounds, language_score=score
    )


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _bounds(value: object, path: str, where: str) -> Bounds:
    pair = _mapping(value, path, where, ("min", "max"))
    found = {}
    for key, number in pair.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise RecipeError(f"limits {path!r}: {key} of {where} must be a number, got {number!r}.")
        found[key] = float(number)
    low, high = found.get("min", -math.inf), found.get("max", math.inf)
    if low > high:
        raise RecipeError(f"limits {path!r}: min of {where} must be at most max, got {low:g} and {high:g}.")
    return low, high
