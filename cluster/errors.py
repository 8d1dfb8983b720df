"""The errors that winnow raises on purpose, in the lowest layer so that every package can raise them.

Each message says what is wrong, the value, what would be right, where, and what to do.
"""

from __future__ import annotations

import errno

from cluster.redaction import hidden

FULL = "The disk or quota is full: make room; what is finished stays, the same command goes on from there."


class WinnowError(Exception):
    """Base class; the command line prints the message without a traceback. Secrets in URLs are left out of it."""

    def __str__(self) -> str:
        return hidden(super().__str__())


class RecipeError(WinnowError):
    """A value in the recipe or on the command line is wrong."""


class ShardError(WinnowError):
    """One shard cannot be read or used; the message names it. The shard may be retried or quarantined."""


class LostTaskError(ShardError):
    """Every attempt at a task killed its worker or timed out. index: position of the task in the map."""

    def __init__(self, message: str, index: int = -1) -> None:
        super().__init__(message)
        self.index = index


class LedgerError(WinnowError):
    """Integrity check failed, such as a sidecar with missing rows or counts that do not add up: the run stops."""


class DamagedError(LedgerError):
    """A file of a run folder is not what was written. path: the file; a run removes it and makes it again."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path

    def __reduce__(self) -> tuple[type[DamagedError], tuple[str, str]]:
        return type(self), (str(self), self.path)


def remedy(error: BaseException) -> str:
    """Return what to do when a disk is full or nothing may be written; empty for any other error."""
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return FULL
    return "Name a place that may be read and written." if number in (errno.EROFS, errno.EACCES, errno.EPERM) else ""


class BackendError(WinnowError):
    """The requested backend or cluster is not available."""


def innermost(error: BaseException) -> BaseException:
    """Return the error that all others came from."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error
