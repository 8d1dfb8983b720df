"""RAPIDS: setup of the device's memory pool, and the list of every name and keyword that winnow calls.

Guarantees: `CALLS` is complete for the modules in `CALLERS`; tests/cluster/device/test_rapids.py compares the list
with the code and with the wheels of the pinned release, so a renamed function is found on a machine without a GPU.
"""

from __future__ import annotations

import functools
import importlib
import os
from dataclasses import dataclass
from typing import Any

POOL_SHARE = 0.5  # of the free device memory that the pool starts with; it grows up to MAXIMUM_SHARE
MAXIMUM_SHARE = 0.9
DEFAULT_RESOURCE = "CudaMemoryResource"  # of RMM: allocations go to CUDA one by one
PAGE = 256  # RMM wants pool sizes in multiples of it


@dataclass(frozen=True)
class Call:
    """A function, method or class that winnow calls: the file that defines it, and the arguments it is given."""

    path: str  # file inside the distribution
    name: str  # of the function, or Class.method, as defined in that file
    keywords: tuple[str, ...] = ()
    positional: int = 0

    @property
    def called(self) -> str:
        """The last name of the call as it stands in winnow's code."""
        parts = self.name.split(".")
        return parts[-2] if parts[-1] in ("__init__", "__cinit__") else parts[-1]


CALLERS = (
    "stages/kernels/gpu/rapids_kernels.py",
    "stages/kernels/dispatch/resident.py",  # frame functions: methods that pandas and cuDF share
    "cluster/device/rapids.py",
    "cluster/kinds/local_cuda.py",
    "benchmarks/gpu.py",
)
CALLS = (
    Call("cudf/core/series.py", "Series.__init__", positional=1),
    Call("cudf/core/series.py", "Series.from_arrow", positional=1),
    Call("cudf/core/series.py", "Series.from_pylibcudf", positional=1),
    Call("cudf/core/series.py", "Series.to_pylibcudf"),
    Call("cudf/core/series.py", "Series.fillna", positional=1),
    Call("cudf/core/indexed_frame.py", "IndexedFrame.mask", positional=2),
    Call("cudf/core/indexed_frame.py", "IndexedFrame.take", positional=1),
    Call("cudf/core/frame.py", "Frame.isna"),
    Call("cudf/core/frame.py", "Frame.to_numpy"),
    Call("cudf/core/accessors/string.py", "StringMethods.lstrip", positional=1),
    Call("cudf/core/accessors/string.py", "StringMethods.len"),
    Call("cudf/core/single_column_frame.py", "SingleColumnFrame.to_arrow"),
    Call("pylibcudf/io/types.pyi", "SourceInfo.__init__", positional=1),
    Call("pylibcudf/io/parquet.pyi", "ParquetReaderOptions.builder", positional=1),
    Call("pylibcudf/io/parquet.pyi", "ParquetReaderOptionsBuilder.use_pandas_metadata", positional=1),
    Call("pylibcudf/io/parquet.pyi", "ParquetReaderOptionsBuilder.build"),
    Call("pylibcudf/io/parquet.pyi", "ParquetReaderOptions.set_row_groups", positional=1),
    Call("pylibcudf/io/parquet.pyi", "ParquetReaderOptions.set_column_names", positional=1),
    Call(
        "pylibcudf/io/parquet.pyi",
        "ChunkedParquetReader.__init__",
        ("chunk_read_limit", "pass_read_limit"),
        positional=1,
    ),
    Call("pylibcudf/io/parquet.pyi", "ChunkedParquetReader.has_next"),
    Call("pylibcudf/io/parquet.pyi", "ChunkedParquetReader.read_chunk"),
    Call("pylibcudf/table.pyi", "Table.columns"),
    Call("pylibcudf/column.pyi", "Column.size"),
    Call("pylibcudf/column.pyi", "Column.child", positional=1),
    Call("pylibcudf/column.pyi", "Column.data"),
    Call("pylibcudf/column.pyi", "Column.type"),
    Call("pylibcudf/types.pyi", "DataType.id"),
    Call("cudf/core/accessors/string.py", "StringMethods.minhash", ("seed", "a", "b", "width")),
    Call("cudf/core/accessors/string.py", "StringMethods.minhash64", ("seed", "a", "b", "width")),
    Call("cudf/core/indexed_frame.py", "IndexedFrame.hash_values", ("method", "seed")),
    Call("cudf/options.py", "set_option", positional=2),
    Call("pylibcugraph/resource_handle.pyx", "ResourceHandle.__cinit__"),
    Call("pylibcugraph/graph_properties.pyx", "GraphProperties.__cinit__", ("is_symmetric", "is_multigraph")),
    Call(
        "pylibcugraph/graphs.pyx",
        "SGGraph.__cinit__",
        ("renumber", "do_expensive_check", "drop_multi_edges", "symmetrize"),
        positional=4,
    ),
    Call("pylibcugraph/weakly_connected_components.pyx", "weakly_connected_components", positional=7),
    Call(
        "cuml/cluster/kmeans.pyx",
        "KMeans.__init__",
        ("n_clusters", "n_init", "max_iter", "random_state", "output_type"),
    ),
    Call("cuml/cluster/kmeans.pyx", "KMeans.fit", positional=1),
    Call(
        "rmm/rmm.py",
        "reinitialize",
        ("pool_allocator", "managed_memory", "initial_pool_size", "maximum_pool_size"),
    ),
    Call("rmm/pylibrmm/memory_resource/_memory_resource.pyx", "get_current_device_resource"),
    Call("rmm/statistics.py", "enable_statistics"),
    Call("rmm/statistics.py", "get_statistics"),
    Call("rmm/allocators/cupy.py", "rmm_cupy_allocator", positional=1),
    Call(
        "dask_cuda/local_cuda_cluster.py",
        "LocalCUDACluster.__init__",
        ("n_workers", "threads_per_worker", "memory_limit", "enable_cudf_spill"),
    ),
)


def pool_sizes(free: int) -> tuple[int, int]:
    """Return (initial, maximum) bytes of the memory pool for a device with `free` bytes.

    >>> pool_sizes(1 << 30)
    (536870912, 966367488)
    """
    return tuple(int(free * share) // PAGE * PAGE for share in (POOL_SHARE, MAXIMUM_SHARE))  # type: ignore[return-value]


# How libcudf reads files, unless the user says otherwise. libcudf's own defaults: ON (no GPUDirect Storage), 4 threads.
KVIKIO = {
    "KVIKIO_COMPAT_MODE": "AUTO",  # GPUDirect Storage where the file system and cuFile allow it, else POSIX
    "KVIKIO_NTHREADS": "8",  # for the two tasks that read at a time, in pieces of 4 MiB
}
ALIASES = {"KVIKIO_NTHREADS": "KVIKIO_NUM_THREADS"}  # KvikIO raises where both are set and differ


def set_up_kvikio() -> None:
    """Set how libcudf reads files in the environment of this process, but for what the user has set there."""
    for name, value in KVIKIO.items():
        os.environ.setdefault(name, os.environ.get(ALIASES.get(name, ""), value))


@functools.cache  # a pool must not be replaced while something lies in it
def prepare_memory() -> None:
    """Set up this process's memory pool on its device, shared by cuDF and CuPy, and let cuDF spill to the host.

    A pool that the user set up (`dask cuda worker --rmm-pool-size`, a preload script) stays. Every library that
    kernels call is imported, so that a broken one is known when the worker starts; but cuML, which only semantic
    dedup calls. Call it before any allocation on the device; later calls do nothing.
    """
    set_up_kvikio()  # libcudf looks at it when it first reads
    cudf: Any = importlib.import_module("cudf")
    cupy: Any = importlib.import_module("cupy")
    rmm: Any = importlib.import_module("rmm")
    resources: Any = importlib.import_module("rmm.mr")
    allocator: Any = importlib.import_module("rmm.allocators.cupy")
    importlib.import_module("pylibcugraph")
    if type(resources.get_current_device_resource()).__name__ == DEFAULT_RESOURCE:
        first, largest = pool_sizes(int(cupy.cuda.runtime.memGetInfo()[0]))
        rmm.reinitialize(pool_allocator=True, managed_memory=False, initial_pool_size=first, maximum_pool_size=largest)
    cupy.cuda.set_allocator(allocator.rmm_cupy_allocator)
    cudf.set_option("spill", True)


@functools.cache  # torch takes an allocator only before it holds memory
def share_with_torch() -> None:
    """Let torch allocate from this process's memory pool, so that models and kernels do not starve each other.

    Call it where the backend is gpu, before a model is moved to the device; later calls do nothing.
    """
    torch: Any = importlib.import_module("torch")
    allocator: Any = importlib.import_module("rmm.allocators.torch")
    if torch.cuda.is_available() and not torch.cuda.is_initialized():
        torch.cuda.memory.change_current_allocator(allocator.rmm_torch_allocator)
