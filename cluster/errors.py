"""The four kinds of error a user meets, lowest layer so that every package can raise them.

Each message says what is wrong, the value, what would be right, where, and what to do.
"""


class WinnowError(Exception):
    """Base of every error that winnow raises on purpose; the CLI prints it without a traceback."""


class RecipeError(WinnowError):
    """The recipe (or a command-line value) must be corrected."""


class ShardError(WinnowError):
    """One shard cannot be used; names the shard, and may be retried or quarantined."""


class LostTaskError(ShardError):
    """A task took its worker with it, or hung, as often as it was tried. index: its place among the tasks."""

    def __init__(self, message: str, index: int = -1) -> None:
        super().__init__(message)
        self.index = index


class LedgerError(WinnowError):
    """Integrity is broken (a short or foreign sidecar, a funnel that does not close): stop."""


class BackendError(WinnowError):
    """The requested backend or cluster cannot be had on these workers."""
