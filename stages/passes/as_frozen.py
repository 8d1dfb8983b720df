"""Batches of an input file, which must be as long as it was when it was frozen. Memory: what the reader holds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cluster import storage
from cluster.errors import ShardError, WinnowError
from stages.core.shard import Dataset, Shard
from stages.inputs.batches import Batch
from stages.inputs.files.file_versions import size_of
from stages.inputs.reader import format_of

WITHOUT_END = ("jsonl",)  # formats of which a longer file can be read without a word; others end with a mark or footer


def as_frozen(dataset: Dataset, shard: Shard, copy: str | None, batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield what is read of a shard. Raises ShardError where it is not as long as it was when it was frozen.

    A local file is looked at first. One of a store, which was opened by its size in the listing, is looked at once it
    or a row of it cannot be read, and at the end where it is of a format whose files prove no end of their own: its
    size is a request.
    """
    if copy is not None:
        yield from batches
        return
    looked = storage.is_local(shard.path)
    if looked:
        _check_size(shard)
    endless = not looked and (shard.format or format_of(dataset, shard.path)) in WITHOUT_END
    try:
        for batch in batches:
            if batch.problems and not looked:
                looked = True
                _check_size(shard)
            yield batch
    except (WinnowError, OSError):
        with contextlib.suppress(OSError):  # what the reader said tells more
            _check_size(shard)
        raise
    if endless:
        _check_size(shard)


def _check_size(shard: Shard) -> None:
    with contextlib.suppress(FileNotFoundError):  # the reader says so better
        size = size_of(shard.path)
        if size != shard.bytes:
            raise ShardError(
                f"{shard.path} (dataset {shard.dataset}) changed during the run: it had {shard.bytes:,} bytes, now "
                f"{size:,}. Bring the old file back, or run again with --refresh."
            )
