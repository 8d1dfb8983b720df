"""Prompt files: what a model is told, what it must answer, and how an answer is taken apart.

    name: edu
    about: one line for people
    system: …                       # may be left out
    user: "… {text} …"              # {text} stands once
    max_chars: 6000                 # of the text; the rest is cut off
    answer:
      reason: true                  # a sentence before the verdict
      score: {minimum: 0, maximum: 5, whole: true}
      label: [yes, no]

A prompt without `answer` is answered by plain text. Guarantees: the digest changes with every word; an answer that is
not exactly of the asked form is no answer.
"""

from __future__ import annotations

import functools
import importlib.resources
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import yaml

from cluster import storage
from cluster.errors import RecipeError

FOLDER = "prompts"
PLACE = "{text}"
MOST_REASON = 2000  # characters of a reason that are kept
KEYS = ("name", "about", "system", "user", "max_chars", "answer")
_THOUGHT = re.compile(r"\A.*</think(?:ing)?>", re.DOTALL)
_FENCED = re.compile(r"\A```[A-Za-z]*\s*\n(.*)\n\s*```\s*\Z", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The numbers that a score may be."""

    minimum: float
    maximum: float
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one answer says of a text; None for what the prompt does not ask."""

    score: float | None = None
    label: str | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A prompt file, read. digest: of all that a model sees or must answer."""

    name: str
    user: str
    system: str = ""
    max_chars: int = 6000
    scale: Scale | None = None
    labels: tuple[str, ...] = ()
    reason: bool = False

    @property
    def plain(self) -> bool:
        """Whether the answer is plain text."""
        return self.scale is None and not self.labels

    def digest(self) -> str:
        """Return what changes whenever an answer may change."""
        import hashlib

        scale = self.scale and (self.scale.minimum, self.scale.maximum, self.scale.whole)
        told = repr((self.system, self.user, self.max_chars, scale, self.labels, self.reason))
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def cut(self, text: str) -> str:
        """Return the part of a text that the model is shown."""
        return text[: self.max_chars]

    def messages(self, text: str) -> list[dict[str, str]]:
        """Return the messages about a text that was cut."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": self.user.replace(PLACE, text, 1)}]

    @functools.cached_property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the answer."""
        properties: dict[str, Any] = {"reason": {"type": "string"}} if self.reason else {}
        if self.scale is not None:
            properties["score"] = _schema_of(self.scale)
        if self.labels:
            properties["label"] = {"type": "string", "enum": list(self.labels)}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def verdict(self, content: str) -> Verdict | None:
        """Return what an answer says; None where it is not exactly what was asked for.

        Thoughts that some models write before it (up to </think>) and a code fence around it are passed over.
        """
        text = _THOUGHT.sub("", content, count=1).strip()
        if fenced := _FENCED.match(text):
            text = fenced[1]
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(found, dict) or set(found) != set(self.schema["required"]):
            return None
        score, label, reason = found.get("score"), found.get("label"), found.get("reason")
        if self.scale is not None and not _fits(score, self.scale):
            return None
        if (self.labels and label not in self.labels) or (self.reason and not isinstance(reason, str)):
            return None
        return Verdict(
            score=None if score is None else float(score),
            label=label,
            reason=reason[:MOST_REASON] if isinstance(reason, str) else None,
        )


def _schema_of(scale: Scale) -> dict[str, Any]:
    low, high = scale.minimum, scale.maximum
    if scale.whole and high - low <= 20:  # servers know enum better than bounds
        return {"type": "integer", "enum": list(range(int(low), int(high) + 1))}
    return {"type": "integer" if scale.whole else "number", "minimum": low, "maximum": high}


def _fits(score: Any, scale: Scale) -> bool:
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        return False
    return scale.minimum <= score <= scale.maximum and (not scale.whole or float(score).is_integer())


def names(kind: str) -> list[str]:
    """Return the names of the prompts that come with winnow: `judge` or `rewrite`."""
    folder = importlib.resources.files("classifiers").joinpath(FOLDER, kind)
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def source(name: str, kind: str) -> str:
    """Return the text of a prompt file that comes with winnow."""
    return importlib.resources.files("classifiers").joinpath(FOLDER, kind, f"{name}.yaml").read_text(encoding="utf-8")


def load(name: str, kind: str = "judge") -> Prompt:
    """Return a prompt by the name that winnow has for it, or by the path of a file.

    Raises
    ------
    RecipeError
        where there is none, or it is not one; the message says what is wrong.
    """
    if name in names(kind):
        return _packaged(name, kind)
    if not name.endswith((".yaml", ".yml")):
        raise RecipeError(f"prompt must be one of {', '.join(names(kind))}, or a .yaml file, got {name!r}.")
    try:
        text = storage.read_bytes(name).decode()
    except FileNotFoundError:
        raise RecipeError(f"prompt {name} does not exist. Give the path of a .yaml file.") from None
    except UnicodeDecodeError:
        raise RecipeError(f"prompt {name} is not UTF-8 text.") from None
    return _given(text, name)


@functools.lru_cache(maxsize=16)
def _given(text: str, name: str) -> Prompt:
    return parse(text, name)


@functools.cache
def _packaged(name: str, kind: str) -> Prompt:
    return parse(source(name, kind), name)


def parse(text: str, where: str) -> Prompt:
    """Return the prompt of a file's text. Raises RecipeError with what is wrong, and where."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"prompt {where} is no YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(data, Mapping):
        raise RecipeError(f"prompt {where} must be a mapping with the keys {', '.join(KEYS)}.")
    if wrong := sorted(set(map(str, data)) - set(KEYS)):
        raise RecipeError(f"prompt {where} has the unknown key {wrong[0]!r}; there are {', '.join(KEYS)}.")
    user, system, most = data.get("user"), data.get("system", ""), data.get("max_chars", 6000)
    if not isinstance(user, str) or user.count(PLACE) != 1:
        raise RecipeError(f"user of prompt {where} must be text in which {PLACE} stands once.")
    if not isinstance(system, str):
        raise RecipeError(f"system of prompt {where} must be text.")
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise RecipeError(f"max_chars of prompt {where} must be a whole number from 1, got {most!r}.")
    return Prompt(
        name=str(data.get("name", where)),
        user=user,
        system=system,
        max_chars=most,
        **_answer(data.get("answer"), where),
    )


def _answer(data: Any, where: str) -> dict[str, Any]:
    """Return the fields of a prompt that say what it asks for."""
    if data is None:
        return {}
    if not isinstance(data, Mapping) or not set(data) <= {"score", "label", "reason"}:
        raise RecipeError(f"answer of prompt {where} must be a mapping with some of score, label and reason.")
    if not {"score", "label"} & set(data):
        raise RecipeError(f"answer of prompt {where} must have a score or a label.")
    found: dict[str, Any] = {"reason": bool(data.get("reason", False))}
    if "score" in data:
        found["scale"] = _scale(data["score"], where)
    if "label" in data:
        labels = data["label"]
        good = isinstance(labels, list) and len(labels) > 1 and all(isinstance(each, str) and each for each in labels)
        if not good or len(set(labels)) < len(labels):
            raise RecipeError(f"answer.label of prompt {where} must be a list of two or more different words.")
        found["labels"] = tuple(labels)
    return found


def _scale(data: Any, where: str) -> Scale:
    wrong = RecipeError(f"answer.score of prompt {where} must be {{minimum, maximum, whole}}, numbers in order.")
    if not isinstance(data, Mapping) or not {"minimum", "maximum"} <= set(data) <= {"minimum", "maximum", "whole"}:
        raise wrong
    low, high = data["minimum"], data["maximum"]
    if any(isinstance(n, bool) or not isinstance(n, int | float) for n in (low, high)) or not low < high:
        raise wrong
    return Scale(minimum=float(low), maximum=float(high), whole=bool(data.get("whole", False)))
