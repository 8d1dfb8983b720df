"""Signatures for near_dedup: which stage of the recipe computes them, and its facts as a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.errors import RecipeError
from stages.core.arrays import whole
from stages.core.stage import Stage


@runtime_checkable
class SignatureStage(Protocol):
    """Protocol of a stage that computes MinHash signatures: `minhash`, or a stage with its parameters."""

    @property
    def name(self) -> str: ...

    @property
    def num_permutations(self) -> int: ...

    @property
    def hash_bits(self) -> int: ...

    @property
    def shingle_width(self) -> int: ...

    @property
    def shingles(self) -> str: ...

    @property
    def normalise(self) -> str: ...


def signatures_before(stages: Sequence[Stage], name: str, wanted_by: str) -> tuple[int, SignatureStage]:
    """Return (place, stage) of the last signature stage among these stages, called `name` unless that is empty.

    Raises RecipeError, which names the stage `wanted_by`, if there is none.
    """
    for place in range(len(stages) - 1, -1, -1):
        found: object = stages[place]
        if isinstance(found, SignatureStage) and name in ("", found.name):
            return place, found
    wanted = f"called {name!r} " if name else ""
    raise RecipeError(f"stage {wanted_by} needs a minhash stage {wanted}before it. Add `- use: minhash`.")


def signature_matrix(facts: pa.Table) -> npt.NDArray[np.unsignedinteger]:
    """Return column `signature` as a matrix, (docs, num_permutations), a view where the column is one chunk."""
    column = whole(facts.column("signature"))
    width = column.type.list_size
    values: npt.NDArray[np.unsignedinteger] = column.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(-1, width)
