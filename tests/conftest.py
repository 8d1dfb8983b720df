"""What all tests share: no time limit per example, and quiet Dask."""

from __future__ import annotations

import logging

from hypothesis import settings

# The first example of a property often compiles a kernel, and machines differ.
settings.register_profile("winnow", deadline=None, print_blob=True)
settings.load_profile("winnow")

for name in ("distributed", "distributed.worker", "distributed.nanny", "distributed.scheduler"):
    logging.getLogger(name).setLevel(logging.ERROR)
