"""How large a recipe may be, so that a hostile or broken one is a sentence and never a hang.

Guarantees: a text is checked before anything is built of it, aliases counted as often as they are used; checking
takes time in proportion to the text, up to MAX_BYTES of it, and stops at the first limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from cluster.errors import RecipeError

MAX_BYTES = 4 << 20  # of text
MAX_VALUES = 20_000  # keys and values, with aliases spelt out; PyYAML makes about 20,000 a second
MAX_CHARACTERS = 100_000  # of a key or a value; prompts of language models have some thousands
MAX_DEPTH = 32  # lists and mappings inside each other
MAX_DIGITS = 40  # of a number
MAX_DATASETS = 1000
MAX_KEY_PARTS = 32  # of `--set a.b.c=…`
LARGEST = (1 << 63) - 1

_Events: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is 20 times faster


def check_text(text: str, source: str) -> None:
    """Raise RecipeError where YAML text is too large, too deep, or holds more than can be meant."""
    if len(text) > MAX_BYTES:
        raise RecipeError(
            f"{source} has {len(text):,} characters, a recipe at most {MAX_BYTES:,}. Name files by folders or globs."
        )
    try:
        _Count(source).add_all(text)
    except yaml.YAMLError:  # the parser says so better, and within the limits
        for line, words in enumerate(text.splitlines(), 1):
            if len(words) > MAX_CHARACTERS:  # it would take seconds for these
                _check_length(len(words), f"{source}, line {line}, is not valid YAML: it")


def _check_length(characters: int, what: str) -> None:
    if characters > MAX_CHARACTERS:
        raise RecipeError(f"{what} has {characters:,} characters, at most {MAX_CHARACTERS:,} are read. Shorten it.")


class _Count:
    """Counts the values of a document while it is parsed."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.values = 0
        self.anchors: dict[str, int] = {}  # values below it
        self.open: list[tuple[str | None, int]] = []  # anchor of each open list or mapping, and the count before it

    def add_all(self, text: str) -> None:
        for event in yaml.parse(text, Loader=_Events):
            line = event.start_mark.line + 1 if event.start_mark else 0
            if isinstance(event, yaml.CollectionStartEvent):
                self.open.append((event.anchor, self.values))
                self._add(1, line)
                if len(self.open) > MAX_DEPTH:
                    raise RecipeError(
                        f"{self.source}, line {line}: more than {MAX_DEPTH} lists and mappings inside each other. "
                        "Check brackets and indentation there."
                    )
            elif isinstance(event, yaml.CollectionEndEvent):
                anchor, before = self.open.pop()
                if anchor:
                    self.anchors[anchor] = self.values - before
            elif isinstance(event, yaml.AliasEvent):
                self._add(self.anchors.get(event.anchor or "", 1), line)
            elif isinstance(event, yaml.ScalarEvent):
                self._add(1, line)
                _check_length(len(event.value), f"{self.source}, line {line}: a key or value")
                if event.anchor:
                    self.anchors[event.anchor] = 1

    def _add(self, many: int, line: int) -> None:
        self.values += many
        if self.values > MAX_VALUES:
            raise RecipeError(
                f"{self.source}, line {line}: more than {MAX_VALUES:,} keys and values, aliases spelt out. Name files "
                "by folders or globs, and write what repeats once."
            )


def check_data(value: object, source: str) -> None:
    """Raise RecipeError where plain data is too large, too deep, or refers to itself."""
    count, todo = 0, [(value, 0, "")]
    while todo:
        here, depth, key = todo.pop()
        count += 1
        if count > MAX_VALUES:
            raise RecipeError(f"{source}: more than {MAX_VALUES:,} values. Name files by folders or globs.")
        if depth > MAX_DEPTH:
            raise RecipeError(f"{source}: more than {MAX_DEPTH} lists and mappings inside each other.")
        if isinstance(here, str):
            _check_length(len(here), f"{source}: {key}")
        if isinstance(here, int) and not -LARGEST <= here <= LARGEST:
            raise RecipeError(f"{source}: {key} must be below 2^63, but has {here.bit_length():,} bits.")
        if isinstance(here, Mapping):
            todo.extend((item, depth + 1, str(name)[:60]) for name, item in here.items())
        elif isinstance(here, list | tuple):
            todo.extend((item, depth + 1, key) for item in here)


def whole_number(digits: str) -> int:
    """Return the whole number that digits spell. Raises ValueError where they are more than can be meant."""
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"must be below 2^63, but has {len(digits.lstrip('+-')):,} digits")
    return int(digits)
