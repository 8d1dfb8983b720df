"""Text in, scores out; no Dask."""

from cluster.compiled import prepare

prepare()
