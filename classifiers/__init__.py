"""Text in, scores out; no Dask."""

from cluster.device.kernel_cache import prepare

prepare()
