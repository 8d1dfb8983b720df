"""Batches of an input file, which must be as long as it was when it was frozen. Memory: what the reader holds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cluster import storage
from cluster.errors import ShardError, WinnowError
from stages.core.shard import Shard
from stages.inputs.batches import Batch
from stages.inputs.files.file_versions import size_of


def as_frozen(shard: Shard, copy: str | None, batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield what is read of a shard. Raises ShardError where it is not as long as it was when it was frozen.

    A local file is looked at first; one of a store, which was opened by its size in the listing, where it cannot be
    read or has rows that cannot: its size is a request.
    """
    if copy is not None:
        yield from batches
        return
    if storage.is_local(shard.path):
        _check_size(shard)
    try:
        for batch in batches:
            if batch.problems:
                _check_size(shard)
            yield batch
    except (WinnowError, OSError):
        _check_size(shard)
        raise


def _check_size(shard: Shard) -> None:
    with contextlib.suppress(FileNotFoundError):  # the reader says so better
        size = size_of(shard.path)
        if size != shard.bytes:
            raise ShardError(
                f"{shard.path} (dataset {shard.dataset}) changed during the run: it had {shard.bytes:,} bytes, now "
                f"{size:,}. Bring the old file back, or run again with --refresh."
            )
