"""Workers of this machine take tasks from the run that started them only."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cluster.options import ClusterOptions
from cluster.start import start


def test_nobody_without_the_runs_certificate_reaches_the_workers_of_this_machine() -> None:
    from distributed.core import connect

    engine: Any = start(ClusterOptions(workers=1))
    try:
        assert engine.map(len, [(1, 2)]) == [2]
        address = engine._client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        for stranger in (address.replace("tls", "tcp"), address):
            with pytest.raises((OSError, TypeError)):
                asyncio.run(connect(stranger, timeout=2, deserialize=False))
    finally:
        engine.close()
