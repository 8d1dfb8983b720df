"""K-means on a sample of vectors: scikit-learn here, cuML where the backend of all workers is gpu.

Guarantees: the same sample in the same order gives the same centroids on one machine, whatever its number of
cores (one thread computes). Memory: the sample twice.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.errors import BackendError
from stages.kernels.dispatch.dispatch import by_backend_of_all

F32 = npt.NDArray[np.float32]
ITERATIONS = 30


@by_backend_of_all
def kmeans(sample: F32, clusters: int, seed: int) -> F32:
    """Return the centroids of a sample, (clusters, dimensions) float32; sample is (n, dimensions), n >= clusters."""
    try:
        cluster: Any = importlib.import_module("sklearn.cluster")
        pools: Any = importlib.import_module("threadpoolctl")
    except ImportError as error:
        raise BackendError(
            f"k-means needs scikit-learn, which cannot be imported ({error}). Install the extra on every worker: "
            "pip install 'winnow-mix[semantic]'."
        ) from error
    with pools.threadpool_limits(1):  # several threads add in another order
        model = cluster.KMeans(n_clusters=clusters, init="k-means++", n_init=1, max_iter=ITERATIONS, random_state=seed)
        found: F32 = np.asarray(model.fit(sample).cluster_centers_, np.float32)
    return found
