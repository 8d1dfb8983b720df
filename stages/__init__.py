"""One file per stage."""

from cluster.device.kernel_cache import prepare

prepare()
