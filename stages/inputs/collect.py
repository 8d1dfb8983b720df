"""Find out what the input columns of a file hold, while its lines are counted or staged.

Guarantees: every line is looked at; a key that stands twice in a line says nothing. Memory: the kinds of each column,
and which keys stood side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from stages.inputs.kinds import Kinds
from stages.inputs.schema import EVERY, Column, Columns, pairs
from stages.inputs.values import getter, kinds_of

KEYS = 100  # that are told where the text is missing


class Collector:
    """Joins the kinds of JSON values line by line. names: paths, or EVERY for all keys; text: a path to look out for.

    has_text: whether some object has it. keys: those of objects that came before, up to KEYS.
    """

    def __init__(self, names: Iterable[str], text: str = "") -> None:
        self.has_text = not text
        self.keys: dict[str, None] = {}
        self._text = text
        self.names = list(dict.fromkeys(names))
        self.every = EVERY in self.names
        self._kinds: dict[str, Kinds] = {}
        self._order: set[tuple[str, str]] = set()

    def add(self, values: Sequence[dict[str, Any]], lines: Sequence[bytes]) -> None:
        """Take in the objects on these lines; {} where there is none."""
        if not self.has_text:
            self._look_for_text(values)
        names = [name for name in self.names if name != EVERY]
        if self.every:
            orders = set(map(tuple, values))
            self._order.update(pair for keys in orders for pair in pairs(keys))
            names += list(dict.fromkeys(key for order in orders for key in order))
        for name in names:
            kinds = kinds_of(list(map(getter(name), values)), lines, name)
            if kinds or name in self._kinds or any(name in value for value in values):
                self._kinds[name] = self._kinds.get(name, Kinds.NONE) | kinds

    def _look_for_text(self, values: Sequence[dict[str, Any]]) -> None:
        get = getter(self._text)
        for value in values:
            if self._text in value or get(value) is not None:
                self.has_text = True
                return
            if len(self.keys) < KEYS:
                self.keys.update(dict.fromkeys(value))

    def columns(self) -> Columns:
        """Return what was found."""
        return Columns({name: Column(kinds=kinds) for name, kinds in self._kinds.items()}, frozenset(self._order))
