"""What installed distributions offer to winnow through entry points: stages and classifiers, by name.

A distribution declares them in its pyproject.toml:

    [project.entry-points."winnow.stages"]
    shouting = "shouting_package.stage:Shouting"

Guarantees: metadata are read only when a name is asked for that winnow does not have, or when all names are listed;
nothing is imported by looking. A distribution whose metadata cannot be read hurts nobody who does not ask for it.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cluster.errors import RecipeError

if TYPE_CHECKING:
    import importlib.metadata

STAGES = "winnow.stages"
CLASSIFIERS = "winnow.classifiers"
NAME = re.compile("[a-z][a-z0-9_]*")
_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One entry point: its name, the import path MODULE:NAME, and the distribution that declares it."""

    name: str
    path: str
    distribution: str

    @property
    def problem(self) -> str:
        """What is wrong with the entry point itself, in one sentence; empty where nothing is."""
        if not NAME.fullmatch(self.name):
            return f"{self.distribution} calls it {self.name!r}: a name is made of lower-case letters, digits and _."
        if not _PATH.fullmatch(self.path):
            return f"{self.distribution} gives {self.path!r} for {self.name}: it must be MODULE:NAME."
        return ""


@dataclass(frozen=True, kw_only=True)
class Offers:
    """The entry points of one group by name, in the order of sys.path, and what could not be read."""

    by_name: dict[str, tuple[Offer, ...]] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()

    def named(self, name: str, own: Collection[str], what: str) -> Offer | None:
        """Return the offer of a name, None if there is none.

        Parameters
        ----------
        own : names that winnow has itself.
        what : "stage" or "classifier", for errors.

        Raises
        ------
        RecipeError
            when two distributions offer it, a distribution offers what winnow has, or the entry point is malformed.
        """
        found = self.by_name.get(name, ())
        if not found:
            return None
        if problem := self.clash(name, own, what) or found[0].problem:
            raise RecipeError(problem)
        return found[0]

    def clash(self, name: str, own: Collection[str], what: str) -> str:
        """Return the sentence that names both owners of a name; empty where there is one."""
        found = self.by_name.get(name, ())
        theirs = " and by ".join(f"{offer.distribution} ({offer.path})" for offer in found)
        if found and name in own:
            return (
                f"{what} {name} is winnow's own, and is offered by {theirs} too. Uninstall that, or have it choose "
                "another name."
            )
        if len(found) > 1:
            return f"{what} {name} is offered by {theirs}. Remove one of them, or name it by its import path."
        return ""


def offers(group: str) -> Offers:
    """Return what installed distributions offer under a group; read again only when sys.path changes."""
    return _offers(group, tuple(sys.path))


@functools.lru_cache(maxsize=8)
def _offers(group: str, path: tuple[str, ...]) -> Offers:
    import importlib.metadata

    found: dict[str, list[Offer]] = {}
    unreadable: list[str] = []
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        label = ""
        try:
            if group not in (distribution.read_text("entry_points.txt") or ""):
                continue
            label, key = _label(distribution)
            if key in seen:  # an older copy, further down the path
                continue
            seen.add(key)
            points = [(p.name, p.value) for p in distribution.entry_points if p.group == group]
        except Exception as error:  # reported by whoever asks for a name that is not there, or for all
            whose = label or str(getattr(distribution, "_path", "a distribution"))
            unreadable.append(f"the entry points of {whose} cannot be read ({type(error).__name__}: {error}).")
            continue
        for name, value in points:
            found.setdefault(name, []).append(Offer(name=name, path=_without_extras(value), distribution=label))
    return Offers(by_name={name: tuple(every) for name, every in found.items()}, unreadable=tuple(unreadable))


def _label(distribution: importlib.metadata.Distribution) -> tuple[str, str]:
    """Return a distribution's name with its version, and the name as packages are compared."""
    name, version = (distribution.metadata[key] or "" for key in ("Name", "Version"))
    name = name or str(getattr(distribution, "_path", "a distribution without a name"))
    return f"{name} {version}".rstrip(), re.sub(r"[-_.]+", "-", name).lower()


def _without_extras(value: str) -> str:
    return value.partition("[")[0].strip()
