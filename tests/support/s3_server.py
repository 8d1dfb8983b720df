"""An S3 server in this process, and the end of the sessions with it that s3fs keeps."""

from __future__ import annotations

import contextlib
import gc
import logging
import warnings
from collections.abc import Iterator

import pytest

NEEDED = "needs the dev extra: pip install -e '.[dev]'"


@contextlib.contextmanager
def serving(secret: str = "test") -> Iterator[tuple[str, int]]:
    """Run a server to which S3 clients turn, with this secret key, until the block ends; yield host and port."""
    pytest.importorskip("s3fs", reason=NEEDED)
    moto = pytest.importorskip("moto.server", reason=NEEDED)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        forget_sessions()
        yield host, port
        forget_sessions()
    server.stop()


def forget_sessions() -> None:
    """Close every cached session and forget the file systems, so that no later test meets their open sockets."""
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
