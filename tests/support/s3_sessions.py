"""Close the sessions that s3fs keeps for a process, so that no later test meets their open sockets."""

from __future__ import annotations

import contextlib
import gc
import warnings


def forget_sessions() -> None:
    """Close every cached session, forget the file systems, and collect what they leave behind."""
    import fsspec.asyn
    import s3fs

    for fs in list(s3fs.S3FileSystem._cache.values()):
        client = getattr(fs, "_s3", None)
        if client is not None:
            with contextlib.suppress(Exception):  # of a server that has gone
                fsspec.asyn.sync(fs.loop, client.__aexit__, None, None, None, timeout=10)
    s3fs.S3FileSystem.clear_instance_cache()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
