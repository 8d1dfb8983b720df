"""Kernels of winnow's own in CUDA C++: compiled by NVRTC through CuPy when first called, then cached on disk.

A source is named after its one kernel. The same source compiles with a host compiler (cuda/device.h), one block after
the other with one thread or several, which is how tests hold its bits to the host's kernels without a GPU
(tests/support/cuda_on_host.py); NVRTC compiles it for every architecture in tests, too.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

INCLUDED = Path(__file__).parent / "cuda"  # device.h
OPTIONS = ("-std=c++17", "--fmad=false")  # a fused product and sum would have other bits


def options(source: Path) -> tuple[str, ...]:
    """Return the options that a source is compiled with: headers lie beside it, or are device.h."""
    return (*OPTIONS, f"-I{INCLUDED}", f"-I{source.parent}")


def code(source: Path) -> str:
    """Return a source with a digest of its headers: CuPy's cache looks at the source alone."""
    headers = sorted([*INCLUDED.glob("*.h"), *source.parent.glob("*.h")])
    digest = hashlib.blake2b(b"\0".join(path.read_bytes() for path in headers), digest_size=8)
    return f"{source.read_text()}// headers {digest.hexdigest()}\n"


@functools.cache
def kernel(source: Path) -> Callable[..., None]:
    """Return the kernel of a source on this process's device: called with (grid, block, arguments)."""
    cupy: Any = importlib.import_module("cupy")
    module: Any = cupy.RawModule(code=code(source), options=options(source))
    found: Callable[..., None] = module.get_function(source.stem)
    return found
