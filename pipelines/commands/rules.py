"""`winnow rules fit`: limits and stop words of languages, learned from good text of them, as YAML and as a page.

Guarantees: the same texts give the same file, however they are cut into files. Memory: that of
stages/languages/reference.py for each language.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import yaml

from classifiers import language
from cluster import storage
from cluster.errors import RecipeError
from pipelines.commands.rules_page import page
from stages.heuristics import PRESETS
from stages.inputs import side_files
from stages.languages import fit, knowledge, words
from stages.languages.reference import Reference

SCORE_BINS = 1000
LEAST_WRONG = 10  # labels that the model must have wrong, for its scores to be calibrated
LEAST_DOCUMENTS = 100  # of a language, for its quantiles to mean something
BATCH = 2048


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What was learned of one language. words: (stop word, its share of all words)."""

    tag: str
    documents: int
    words: list[tuple[str, float]]
    cuts: list[fit.Cut]
    score: float | None
    facts: dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Judged:
    """How often the language model was right and wrong about text whose language is known, by its score, (bins,)."""

    right: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(SCORE_BINS, np.int64))
    wrong: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(SCORE_BINS, np.int64))

    def add(self, scores: npt.NDArray[np.float32], right: npt.NDArray[np.bool_]) -> None:
        """Count labels by score."""
        place = np.minimum((scores.astype(np.float64) * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)
        for counts, mine in ((self.right, right), (self.wrong, ~right)):
            np.add(counts, np.bincount(place[mine], minlength=SCORE_BINS), out=counts)


@dataclass(frozen=True, kw_only=True)
class Choices:
    """How limits are learned; see `winnow rules fit --help`."""

    presets: tuple[str, ...] = ("gopher", "fineweb")
    method: str = "tail"
    share: float = 0.01
    stop_word_share: float = fit.STOP_WORD_SHARE
    words: str = "auto"
    model: str = "fasttext:lid.176.ftz"
    column: str = "text"
    documents: int = 100_000

    def __post_init__(self) -> None:
        _among("presets", self.presets, PRESETS)
        _among("method", (self.method,), fit.METHODS)
        _among("words", (self.words,), ("auto", words.ICU, words.CHARACTERS))
        for name in ("share", "stop_word_share"):
            if not 0 < getattr(self, name) < 0.5:
                raise RecipeError(f"{name} must be above 0 and below 0.5, got {getattr(self, name)}.")
        if self.documents < LEAST_DOCUMENTS:
            raise RecipeError(f"documents must be at least {LEAST_DOCUMENTS}, got {self.documents}.")
        if self.words == words.ICU and not words.installed():
            raise RecipeError(
                "words must be characters without ICU. Install the extra: pip install 'winnow-mix[languages]'."
            )


def _among(name: str, given: Sequence[str], known: Sequence[str] | Mapping[str, object]) -> None:
    for value in given:
        if value not in known:
            raise RecipeError(f"{name} must be one of {', '.join(known)}, got {value!r}.")


def fit_rules(
    reference: Sequence[str], out: str, choices: Choices, english: Sequence[str] = ()
) -> tuple[list[Fitted], list[str]]:
    """Learn limits per language, write OUT and OUT's page; return what was learned, and what is to be said.

    reference : paths of good text, each as CODE=PATH, or as PATH where the language model is to name the languages.
    english : paths of English text that the limits of English were made for.

    Raises
    ------
    RecipeError
        A path or parameter is wrong, or no language has enough documents.
    """
    if wrong := fit.needed(choices.method, english):
        raise RecipeError(wrong)
    how = words.resolved(choices.words)
    judged = Judged()
    found = _read(reference, choices, how, judged)
    notes = [
        f"{tag}: {one.documents} documents are too few to learn from (at least {LEAST_DOCUMENTS}); it is left out."
        for tag, one in found.items()
        if one.documents < LEAST_DOCUMENTS
    ]
    enough = {tag: one for tag, one in found.items() if one.documents >= LEAST_DOCUMENTS}
    if not enough:
        counts = ", ".join(f"{tag} {one.documents}" for tag, one in found.items()) or "none"
        raise RecipeError(f"no language has {LEAST_DOCUMENTS} documents of reference text ({counts}). Give more text.")
    theirs = _english(english, choices, how)
    fitted = [_fitted(tag, one, choices, theirs) for tag, one in sorted(enough.items())]
    storage.write_bytes(out, _as_yaml(fitted, choices, how, judged).encode())
    storage.write_bytes(page_of(out), page(fitted, choices.method, choices.share, how).encode())
    if how == words.CHARACTERS:
        notes.append(
            "words of Thai, Lao, Khmer, Burmese, Chinese and Japanese were counted by character class, not by ICU."
        )
    return fitted, notes


def page_of(out: str) -> str:
    """Return the path of the page beside a file of limits."""
    return out.removesuffix(".yml").removesuffix(".yaml") + ".html"


def _read(reference: Sequence[str], choices: Choices, how: str, judged: Judged | None = None) -> dict[str, Reference]:
    found: dict[str, Reference] = {}
    model = _model(reference, choices)
    for spec in reference:
        tag, path = _split(spec)
        for batch in side_files.texts([path], choices.column):
            for start in range(0, len(batch.texts), BATCH):
                _add(found, batch.texts.slice(start, BATCH), tag, model, choices, how, judged)
    for one in found.values():
        one.cut()
    return found


def _split(spec: str) -> tuple[str, str]:
    """Return (language tag or "", path) of CODE=PATH or PATH. Raises RecipeError where the code is none."""
    code, equals, path = spec.partition("=")
    if not equals or "/" in code or storage.exists(spec):
        return "", spec
    return language.check_code(code), path


def _model(reference: Sequence[str], choices: Choices) -> language.LanguageIdentifier | None:
    """Return the language model; None where every path names its language and the model is not there."""
    try:
        return language.LanguageIdentifier(choices.model)
    except RecipeError:
        if all(_split(spec)[0] for spec in reference):
            return None
        raise


def _add(
    found: dict[str, Reference],
    texts: pa.Array,
    tag: str,
    model: language.LanguageIdentifier | None,
    choices: Choices,
    how: str,
    judged: Judged | None,
) -> None:
    """Measure a batch under its language, or under the languages that the model finds in it."""
    if model is None:
        found.setdefault(tag, Reference(choices.documents)).add(texts, tag, how)
        return
    seen = model.identify(texts)
    names = np.array(model.names(seen).to_pylist(), object)
    for one in [tag] if tag else sorted(set(names.tolist()) - {language.UNDETERMINED}):
        mine = np.ones(len(names), np.bool_) if tag else names == one
        same = language.matches(tuple(names[mine]), knowledge.base_of(one))
        if tag and judged is not None:
            judged.add(seen.score, same)
        scores = np.where(same, seen.score[mine], np.float32(np.nan)).astype(np.float32)
        entry = found.setdefault(one, Reference(choices.documents))
        entry.add(texts.filter(pa.array(mine)), one, how, scores)


def _english(paths: Sequence[str], choices: Choices, how: str) -> dict[str, npt.NDArray[np.float64]] | None:
    if not paths:
        return None
    found = _read([f"en={path}" for path in paths], choices, how).get("en")
    if found is None or found.documents < LEAST_DOCUMENTS:
        raise RecipeError(f"the English text has fewer than {LEAST_DOCUMENTS} documents. Give more of it.")
    return found.facts()


def _fitted(tag: str, one: Reference, choices: Choices, english: dict[str, npt.NDArray[np.float64]] | None) -> Fitted:
    facts, total = one.facts(), sum(one.words.values())
    published = {fact: (rule.low, rule.high) for name in choices.presets for fact, rule in PRESETS[name].items()}
    stops = fit.stop_words(one.words, choices.stop_word_share)
    cuts = fit.cuts(facts, published, method=choices.method, share=choices.share, english=english)
    return Fitted(
        tag=tag,
        documents=one.documents,
        words=[(word, one.words[word] / total) for word in stops],
        cuts=cuts,
        score=fit.language_score(one.scores) if len(one.scores) else None,
        facts=facts,
    )


def _as_yaml(fitted: Sequence[Fitted], choices: Choices, how: str, judged: Judged) -> str:
    published = {fact for name in choices.presets for fact in PRESETS[name]}
    data = {
        "words": how,
        "method": choices.method,
        "share": choices.share,
        "language_id": choices.model,
        **({"calibration": knots} if (knots := _calibration(judged)) else {}),
        "languages": {one.tag: _entry(one, published) for one in fitted},
    }
    head = "# Limits per language, learned from reference text by `winnow rules fit`; see docs/languages.md.\n"
    return head + yaml.safe_dump(data, allow_unicode=True, sort_keys=False, width=120)


def _calibration(judged: Judged) -> list[list[float]]:
    """Return the knots of the scores' calibration; none where the model was too seldom wrong to tell."""
    enough = judged.wrong.sum() >= LEAST_WRONG
    return [list(knot) for knot in fit.calibration(judged.right, judged.wrong)] if enough else []


def _entry(one: Fitted, published: set[str]) -> dict[str, Any]:
    limits = {"stop_words": {"min": float(fit.NEEDED)}} if "stop_words" in published else {}
    limits |= {cut.fact: _bounds(cut.low, cut.high) for cut in one.cuts}
    limits |= {fact: _bounds(*bounds) for fact, bounds in fit.FIXED.items() if fact in published}
    found: dict[str, Any] = {"documents": one.documents}
    if one.score is not None:
        found["language_score"] = one.score
    return {**found, "stop_words": [word for word, _ in one.words], "limits": limits}


def _bounds(low: float, high: float) -> dict[str, float]:
    return {key: value for key, value in (("min", low), ("max", high)) if math.isfinite(value)}
