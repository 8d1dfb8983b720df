"""Sentences about what is wrong in a recipe: key path, value, what is right, did-you-mean, line.

Guarantees: every problem names the key path; a misspelt key or word comes with the nearest right one.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from cluster.errors import RecipeError
from cluster.redaction import assigned_secret, names_secret, names_variable, without_assigned
from pipelines.recipe.marked_yaml import Marked, Path

SHOWN = 20  # problems listed in one message
VALUE_WIDTH = 60
SENTENCE_WIDTH = 1000  # a value of any length may stand in what a stage says of it

_WORDS = re.compile("[A-Za-z_-]+")
PLAIN = {
    "bool_type": "true or false",
    "dict_type": "a mapping (key: value)",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list, such as [a, b]",
    "model_type": "a mapping (key: value)",
    "string_pattern_mismatch": "at most 100 letters, digits, _ and -",
    "string_type": "text",
    "tuple_type": "a list, such as [a, b]",
}


@dataclass
class Problems:
    """Collect what is wrong in one document and raise it as one RecipeError.

    set_by maps a path to the `--set` that put a value there.
    """

    document: Marked
    set_by: Mapping[Path, str] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)

    def add(self, path: Path, sentence: str) -> None:
        """Note a problem; `sentence` goes on after the key path."""
        self.sentences.append(f"{self.where(path)}: {dotted(path)} {sentence}".replace(":  ", ": "))

    def where(self, path: Path) -> str:
        """Return the `--set` or the file and line that gave the value at `path`."""
        for size in range(len(path), 0, -1):
            if path[:size] in self.set_by:
                return f"--set {self.set_by[path[:size]]}"
        return self.document.where(path)

    def unknown(self, path: Path, kind: str, known: Iterable[str]) -> None:
        """Note a key or name that does not exist."""
        names = [str(name) for name in known]
        listed = f"Known: {', '.join(names)}." if names else ""
        bad = str(path[-1])
        self.add(path, f"is not a {kind}.{did_you_mean(bad, names)} {listed}".rstrip())

    def choice(self, path: Path, value: object, known: Iterable[str]) -> None:
        """Note a value that is none of the known ones."""
        names = [str(name) for name in known]
        self.add(path, f"must be one of {', '.join(names)}, got {shown(value)}.{did_you_mean(str(value), names)}")

    def add_validation(self, error: ValidationError, model: type[BaseModel], root: Path = ()) -> None:
        """Note every problem that pydantic found, in winnow's words."""
        for item in error.errors(include_url=False):
            path = (*root, *item["loc"])
            if item["type"] == "extra_forbidden":
                self.unknown(path, "known key", known_keys(model, item["loc"][:-1]))
            elif item["type"] == "missing":
                self.add(path, "is missing.")
            else:
                self.add(path, explain_problem(item))

    def stop(self) -> None:
        """Raise RecipeError when there is a problem."""
        if not self.sentences:
            return
        unique = list(dict.fromkeys(map(_shortened, self.sentences)))
        more = [f"... and {len(unique) - SHOWN} more."] if len(unique) > SHOWN else []
        raise RecipeError("\n".join(unique[:SHOWN] + more))


def _shortened(sentence: str) -> str:
    """Return a sentence, the middle of a long one left out: remedies stand at the end."""
    if len(sentence) <= SENTENCE_WIDTH:
        return sentence
    return f"{sentence[: SENTENCE_WIDTH - 300]} … {sentence[-300:]}"


def shown_override(override: str) -> str:
    """Return a `--set` as errors quote it: without the value of what may be a secret.

    >>> shown_override("stages.pii.salt=pepper"), shown_override("mix.mode=sample")
    ('stages.pii.salt=***', 'mix.mode=sample')
    >>> shown_override("stages.llm_judge.key_env=sk-4f0a"), shown_override("stages.llm_judge.key_env=JUDGE_KEY")
    ('stages.llm_judge.key_env=***', 'stages.llm_judge.key_env=JUDGE_KEY')
    >>> shown_override("stages.llm_judge.api_key=4f0a"), shown_override('stages.llm_judge.extra=["api_key=\\"4f0a\\""]')
    ('stages.llm_judge.api_key=***', 'stages.llm_judge.extra=***')
    >>> shown_override('cluster.slurm.prologue=["serve --api-key 4f0a"]')
    'cluster.slurm.prologue=***'
    """
    key, equals, value = override.partition("=")
    last = key.rpartition(".")[2].strip().lower()
    secret = difflib.SequenceMatcher(None, last, "salt").ratio() >= 0.75 or "secret" in last or "passw" in last
    secret = secret or names_secret(last) or (last == "key_env" and not names_variable(value.strip(" '\"")))
    secret = secret or (last == "extra" and any(names_secret(word) for word in _WORDS.findall(value)))
    secret = secret or bool(assigned_secret(value))  # a shell line
    return f"{key}{equals}***" if secret else override


def dotted(path: Path) -> str:
    """Return a path as it is written: stages[2].min_score.

    >>> dotted(("stages", 2, "min_score"))
    'stages[2].min_score'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def did_you_mean(bad: str, names: Iterable[str]) -> str:
    """Return " Did you mean x?" for the nearest name; nothing where there is none, or `bad` is one itself."""
    known = tuple(names)
    close = "" if bad in known else _closest(bad.lower(), known)
    return f" Did you mean {close}?" if close else ""


@functools.lru_cache(maxsize=64)
def _closest(bad: str, known: tuple[str, ...]) -> str:
    """Return the nearest name, empty if none is near. A wrong key often stands in every dataset."""
    return next(iter(difflib.get_close_matches(bad, known, n=1, cutoff=0.6)), "")


def shown(value: object) -> str:
    """Return a value as YAML would have it, shortened; *** for what it gives to something as a secret.

    >>> shown("serve --api-key 4f0a"), shown({"pad_token": "<pad>"})
    ("'serve --api-key ***'", '{"pad_token": "<pad>"}')
    """
    if isinstance(value, str):
        text = repr(without_assigned(value))
    else:
        try:
            text = without_assigned(json.dumps(value, ensure_ascii=False))
        except TypeError:
            text = without_assigned(repr(value))
    return text if len(text) <= VALUE_WIDTH else text[: VALUE_WIDTH - 3] + "..."


def explain_problem(item: Mapping[str, Any]) -> str:
    """Return what pydantic's error means: "must be …, got …." and a nearby right word."""
    kind, context, got = item["type"], item.get("ctx", {}), shown(item["input"])
    if kind == "value_error":
        return f"{str(context['error']).rstrip('.')}, got {got}."
    if kind == "literal_error":
        choices = [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
        return f"must be one of {', '.join(choices)}, got {got}.{did_you_mean(str(item['input']), choices)}"
    bounds = {
        "greater_than": f"above {context.get('gt'):g}" if "gt" in context else "",
        "greater_than_equal": f"at least {context.get('ge'):g}" if "ge" in context else "",
        "less_than": f"below {context.get('lt'):g}" if "lt" in context else "",
        "less_than_equal": f"at most {context.get('le'):g}" if "le" in context else "",
        "too_short": "a list with at least one entry",
        "too_long": f"at most {context.get('max_length')} entries" if "max_length" in context else "",
    }
    right = PLAIN.get(kind) or bounds.get(kind) or item["msg"].removeprefix("Input should be ")
    return f"must be {right}, got {got}."


def known_keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the keys of the section at `path` below `model`."""
    for part in path:
        if part not in model.model_fields:
            continue  # a free name, such as that of a dataset
        model = _section_of(model.model_fields[str(part)].annotation) or model
    return list(model.model_fields)


def _section_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = [_section_of(inner) for inner in getattr(annotation, "__args__", ())]
    return next((section for section in found if section), None)
