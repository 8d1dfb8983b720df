"""What it takes to read some texts again: near_dedup does, of the documents that share a bucket.

A sample holds too few of them to time that, so every third of its documents is read again. Memory: one batch of text.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cluster.device import kernel_times
from stages.core.run import Run
from stages.passes.annotate import read_rows

ONE_IN = 3  # of the documents of a bundle is wanted


@dataclass(frozen=True, kw_only=True)
class SecondRead:
    """Seconds for each byte of the text of the bundles that are read: of all, and in kernels that a GPU has as well."""

    seconds: float
    kernels: Mapping[str, float]


def second_read(run: Run, text_bytes: int) -> SecondRead:
    """Time how long reading some documents of every bundle takes; text_bytes: of all bundles."""
    begin = time.perf_counter()
    with kernel_times.watched() as kernels:
        for bundle in run.manifest.bundles:
            for _ in read_rows(run, bundle, np.arange(0, bundle.rows, ONE_IN), ["text"]):
                pass
    size = max(1, text_bytes)
    return SecondRead(
        seconds=(time.perf_counter() - begin) / size, kernels={name: took / size for name, took in kernels.items()}
    )
