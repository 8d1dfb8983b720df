"""`Space`: a namespace of the array API standard, with copies to and from host arrays.

Guarantees: kernels that take a `Space` use nothing but the standard's functions, and move data only through
`put` and `get`, so the same lines run on numpy, on cupy and on the strict stand-in of the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.kernels.dispatch.dispatch import by_backend


@dataclass(frozen=True)
class Space:
    """An array namespace with `put` (from a numpy array) and `get` (to a numpy array)."""

    xp: Any
    put: Callable[[npt.NDArray[Any]], Any]
    get: Callable[[Any], npt.NDArray[Any]]


HOST = Space(np, np.asarray, np.asarray)


@by_backend
def space() -> Space:
    """Return the array space of this process: numpy, or CuPy where the resolved backend is gpu."""
    return HOST
