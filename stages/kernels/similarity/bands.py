"""Band keys: one 64-bit hash per document and band of a signature.

Equal bands give equal keys; other pairs, different bands included, collide with probability 2^-64, so
keys need no band beside them to be told apart. Keys are uniform: any bits of them can steer a partition.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from cluster.errors import RecipeError
from stages.kernels.dispatch.dispatch import by_backend
from stages.kernels.hashes.hashing import I64, U64, mix64_word, read_only

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@by_backend
def band_keys(
    sig: npt.NDArray[np.unsignedinteger[Any]], bands: int, rows: int, first: int = 0, count: int | None = None
) -> U64:
    """Return the keys of bands first … first + count - 1.

    Parameters
    ----------
    sig : (docs, permutations) uint32 or uint64; band i is its columns i * rows … (i + 1) * rows - 1.
    bands, rows : the banding; bands * rows must not exceed the permutations.
    first, count : which bands; all from `first` on if count is None.

    Returns
    -------
    (docs, count) uint64, the same for any choice of `first` and `count`.

    Raises
    ------
    RecipeError : the banding does not fit the signature.
    """
    count = bands - first if count is None else count
    if bands < 1 or rows < 1 or bands * rows > sig.shape[1]:
        raise RecipeError(
            f"bands x rows_per_band must fit num_permutations, got {bands} x {rows} with {sig.shape[1]}. "
            f"Give fewer bands or rows, or set num_permutations: {bands * rows} in the minhash stage."
        )
    if not 0 <= first <= first + count <= bands:
        raise RecipeError(f"bands {first} to {first + count} are not among the {bands} bands. Ask for fewer.")
    out = np.empty((len(sig), count), np.uint64)
    _keys(read_only(sig, sig.dtype), rows, first, out)
    return out


@by_backend
def band_records(
    sig: npt.NDArray[np.unsignedinteger[Any]], doc: I64, bands: int, rows: int, first: int, count: int
) -> tuple[U64, I64]:
    """Return (key, document) for every document and each of these bands, in any order, both (docs * count,)."""
    keys = band_keys(sig, bands, rows, first, count)
    return keys.T.reshape(-1), np.tile(doc, keys.shape[1])


@by_backend
def shared_records(keys: U64, doc: I64) -> tuple[U64, I64]:
    """Return the records whose key occurs twice or more, sorted by key."""
    order = np.argsort(keys)
    return repeated(keys[order], doc, order)


@by_backend
def sorted_records(keys: U64, doc: I64) -> tuple[U64, I64]:
    """Return all records sorted by key."""
    order = np.argsort(keys)
    return keys[order], doc[order]


def repeated(keys: U64, doc: I64, order: I64 | None = None) -> tuple[U64, I64]:
    """Return those records whose key occurs twice or more. keys: sorted; order: place of each record's document."""
    same = keys[1:] == keys[:-1]
    shared = np.zeros(len(keys), np.bool_)
    shared[1:] = same
    shared[:-1] |= same
    return keys[shared], doc[shared if order is None else order[shared]]


@numba.njit(cache=True, nogil=True)
def _keys(sig, rows, first, out):  # type: ignore[no-untyped-def]
    for d in range(out.shape[0]):
        for j in range(out.shape[1]):
            key = mix64_word(np.uint64(first + j), _GOLDEN)
            begin = (first + j) * rows
            for slot in sig[d, begin : begin + rows]:
                key = mix64_word(key ^ np.uint64(slot), _GOLDEN)
            out[d, j] = key
