"""Which processor computes: the backend that all workers agree on, RAPIDS, and the cache of compiled kernels."""
