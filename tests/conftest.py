"""What all tests share: no time limit per example, quiet Dask, files that one process takes as a whole."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Code of tests that recipes name by import path lies in this checkout: as a user would, name it on PYTHONPATH.
ROOT = str(Path(__file__).resolve().parent.parent)
os.environ["PYTHONPATH"] = os.pathsep.join(place for place in (ROOT, os.environ.get("PYTHONPATH")) if place)

NIGHTLY_SECONDS = 14_400  # idle, none takes a tenth of it
TOGETHER = ("test_on_ray.py", "test_slurm_queue.py")  # all their tests share a cluster

# Syncing is tried by tests of its own, which switch it on; all others are faster without.
os.environ.setdefault("WINNOW_FSYNC", "0")

# The first example of a property often compiles a kernel, and machines differ.
settings.register_profile("winnow", deadline=None, print_blob=True)
settings.register_profile("nightly", deadline=None, print_blob=True, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "winnow"))

for name in ("distributed", "distributed.worker", "distributed.nanny", "distributed.scheduler"):
    logging.getLogger(name).setLevel(logging.ERROR)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests marked nightly the time that they take on a busy machine, where they state none themselves."""
    for item in items:
        if item.get_closest_marker("nightly") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(NIGHTLY_SECONDS))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out tests one by one, but files of TOGETHER as a whole."""
    from xdist.scheduler import LoadScopeScheduling

    class ByCluster(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file.endswith(TOGETHER) else nodeid

    return ByCluster(config, log)
