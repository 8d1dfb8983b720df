"""Text in, scores out; no Dask."""

from pathlib import Path

from cluster.compiled import prepare

prepare(Path(__file__).parent)
