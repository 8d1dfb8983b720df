"""`Outputs`: the files of a hop as folder and numbers, so that a task's arguments do not grow with the corpus.

Guarantees: pickled, it takes a few hundred bytes and, where some destinations have no output, at most a bit for each.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from cluster import storage

SPREAD_FROM = 4096  # files of one kind from which on they lie below PREFIXES prefixes
PREFIXES = 256


def is_spread(count: int) -> bool:
    """Tell whether so many files of one kind are spread over prefixes."""
    return count > SPREAD_FROM


def folders_of(folder: str, count: int) -> list[str]:
    """Return the folders that hold so many files of one kind: the hop's own, and one for each prefix."""
    if not is_spread(count):
        return [folder]
    return [folder, *(storage.join(folder, f"{prefix:02x}") for prefix in range(PREFIXES))]


def numbered_path(folder: str, name: str, number: int, count: int) -> str:
    """Return where file `number` of `count` lies: object stores serve prefixes, not buckets, at a limited rate."""
    if not is_spread(count):
        return storage.join(folder, name)
    return storage.join(folder, f"{number % PREFIXES:02x}", name)


@dataclass(frozen=True)
class Outputs(Sequence["str | None"]):
    """The path of every destination's output, None where there is none. Small and picklable.

    without : compressed bitmap of the destinations that have no output; empty where all have one.

    Examples
    --------
    >>> found = Outputs.of("hop", 3, without=[1])
    >>> list(found), found.present
    (['hop/out-0.arrow', None, 'hop/out-2.arrow'], ['hop/out-0.arrow', 'hop/out-2.arrow'])
    """

    folder: str
    destinations: int
    without: bytes = b""

    @classmethod
    def of(cls, folder: str, destinations: int, without: Iterable[int]) -> Outputs:
        """Return the outputs of a hop of which these destinations have none."""
        marks = np.zeros(destinations, np.bool_)
        marks[np.fromiter(without, np.int64)] = True
        return cls(folder, destinations, zlib.compress(np.packbits(marks).tobytes(), 9) if marks.any() else b"")

    def _has(self) -> Iterator[bool]:
        if not self.without:
            return iter([True] * self.destinations)
        packed = np.frombuffer(zlib.decompress(self.without), np.uint8)
        return iter((np.unpackbits(packed, count=self.destinations) == 0).tolist())

    def path(self, number: int) -> str:
        """Return where the output of a destination lies, if it has one."""
        return numbered_path(self.folder, output_name(number), number, self.destinations)

    def __len__(self) -> int:
        return self.destinations

    @overload
    def __getitem__(self, at: int) -> str | None: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[str | None]: ...
    def __getitem__(self, at: int | slice) -> str | Sequence[str | None] | None:
        if isinstance(at, slice):
            return list(self)[at]
        number = range(self.destinations)[at]
        if self.without:
            byte = zlib.decompress(self.without)[number // 8]
            if byte >> (7 - number % 8) & 1:
                return None
        return self.path(number)

    def __iter__(self) -> Iterator[str | None]:
        for number, has in enumerate(self._has()):
            yield self.path(number) if has else None

    @property
    def present(self) -> list[str]:
        """The paths of the outputs that there are, in order."""
        return [path for path in self if path is not None]

    @property
    def numbered(self) -> list[tuple[int, str]]:
        """Number and path of the outputs that there are, in order."""
        return [(number, path) for number, path in enumerate(self) if path is not None]


def output_name(destination: int) -> str:
    """Return the file name of a destination's output."""
    return f"out-{destination}.arrow"
