"""Requests that an object store is asked for, by kind, as they are priced: PUT, GET, LIST, HEAD, DELETE."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

LISTED = 1000  # names that one LIST answers, and files that one DELETE removes
ONE_PUT = 100 << 20  # bytes from which on an upload goes in parts
PART = 50 << 20


@dataclass(frozen=True, kw_only=True)
class Requests:
    """A number of requests of each kind.

    Examples
    --------
    >>> (Requests(get=2, put=1) + Requests(get=1)) * 2
    Requests(put=2, get=6, list=0, head=0, delete=0)
    """

    put: float = 0
    get: float = 0
    list: float = 0
    head: float = 0
    delete: float = 0

    def __add__(self, other: Requests) -> Requests:
        return Requests(**{k: v + getattr(other, k) for k, v in self.by_kind().items()})

    def __mul__(self, times: float) -> Requests:
        return Requests(**{k: v * times for k, v in self.by_kind().items()})

    def by_kind(self) -> dict[str, float]:
        """Return the numbers by the names of the kinds."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def total(self) -> float:
        """The number of requests of all kinds."""
        return sum(self.by_kind().values())


KINDS = tuple(Requests().by_kind())


def lists_of(entries: float) -> float:
    """Return the LIST requests that name so many entries of a folder."""
    return 1 + entries // LISTED


def puts_of(size: float) -> float:
    """Return the PUT requests of an upload: one, or for a large file one for each part and two around them."""
    return 1 if size < ONE_PUT else 2 + math.ceil(size / PART)
