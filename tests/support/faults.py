"""Faults of the storage: every call that changes a local file can fail, or end the process there.

    with faults.killed_at(17):            # the 18th call does not happen, nor does any after it
        runner.run(recipe, run_dir)       # raises Killed
    with faults.failing_at(17, errno.EIO):  # the 18th call fails, those after it work
        ...
    with faults.recorded() as calls: ...  # what is called, for `crashed_states` and for counting

`cluster.storage` is the only place from which winnow changes files of a run folder; its `os` and `open` are replaced.
A kill is an exception that no `except Exception` catches, and after it nothing reaches the disk: what cleans up
afterwards fails too, as if the process were gone.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from cluster import storage

T = TypeVar("T")
CHANGING = ("replace", "unlink", "rmdir", "mkdir", "fsync")


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Calls:
    """Calls to the storage so far, as (name, arguments); `at` is told of each before it happens."""

    at: Callable[[int, str], None] = lambda number, name: None
    made: list[tuple[Any, ...]] = field(default_factory=list)
    dead: bool = False

    def before(self, name: str, *arguments: Any) -> None:
        if self.dead:
            raise Killed
        number = len(self.made)
        self.made.append((name, *arguments))
        self.at(number, name)


class _Os:
    """The module os, in which calls that change a file are announced."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._paths: dict[int, str] = {}  # of open folders and files

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in CHANGING:
            return real

        def call(*arguments: Any) -> Any:
            told = [self._paths.get(a, a) if name == "fsync" else a for a in arguments]
            self._calls.before(name, *told)
            return None if name == "fsync" else real(*arguments)  # it only takes time

        return call

    def open(self, path: str, flags: int) -> int:
        descriptor = os.open(path, flags)
        self._paths[descriptor] = path
        return descriptor

    def note(self, descriptor: int, path: str) -> None:
        self._paths[descriptor] = path


class _File:
    """A file that is written; what a killed process wrote last is half there."""

    def __init__(self, path: str, file: Any, calls: Calls) -> None:
        self._path = path
        self._file = file
        self._calls = calls

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        try:
            self._calls.before("write", self._path, self._file.tell(), bytes(view))
        except BaseException:
            if not self._calls.dead or (len(self._calls.made) and self._calls.made[-1][0] == "write"):
                self._file.write(view[: len(view) // 2])
            raise
        return int(self._file.write(view))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@contextlib.contextmanager
def watching(calls: Calls) -> Iterator[Calls]:
    """Announce to `calls` what `cluster.storage` changes while the block runs."""
    fake = _Os(calls)

    def opened(path: str, mode: str = "r", **options: Any) -> Any:
        if "w" not in mode:
            return open(path, mode, **options)
        calls.before("create", path)
        file = open(path, mode, **options)  # noqa: SIM115 (who called it closes it)
        fake.note(file.fileno(), path)
        return _File(path, file, calls)

    storage.os, storage.open = fake, opened  # type: ignore[assignment, attr-defined]
    try:
        yield calls
    finally:
        storage.os = os  # type: ignore[assignment]
        del storage.open  # type: ignore[attr-defined]


def through_kills(work: Callable[[], T], every: int, place: str) -> tuple[T, int]:
    """Do work again until it ends, killed at every so many files that appear below `place`.

    Return what it gives, and how often it was killed.
    """
    calls, real = 0, os.replace

    def replace(source: Any, target: Any) -> None:
        nonlocal calls
        calls += place in str(target)
        if calls >= every and place in str(target):
            calls = 0
            raise Killed
        real(source, target)

    for kills in range(199):
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
            patch.setattr(os, "replace", replace)
            return work(), kills
    raise AssertionError("the work does not end")


def recorded() -> contextlib.AbstractContextManager[Calls]:
    """Record all calls."""
    return watching(Calls())


def killed_at(number: int) -> contextlib.AbstractContextManager[Calls]:
    """End the process at call `number`, counted from 0."""
    calls = Calls()

    def at(now: int, name: str) -> None:
        if now == number:
            calls.dead = True
            raise Killed

    calls.at = at
    return watching(calls)


def failing_at(number: int, code: int = errno.EIO) -> contextlib.AbstractContextManager[Calls]:
    """Let call `number`, counted from 0, fail with an error of the system."""

    def at(now: int, name: str) -> None:
        if now == number:
            raise OSError(code, os.strerror(code))

    return watching(Calls(at=at))
