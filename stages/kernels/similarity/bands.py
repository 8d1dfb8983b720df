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
_TOGETHER = 64  # documents: 32 KB of 128 slots
_SLOTS = 8  # of two bits, for each key at least: of 1.4 million keys, 80 % of which occur once, 93 % of those are alone


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
    """Return the records whose key occurs twice or more, sorted by key.

    Most keys occur once and are left out before the others are sorted: each key marks a slot of a table that tells one
    key from several, and one that is alone in its slot is alone. Memory besides the result: at most 4 bytes per record
    for the table, and 40 per record that is sorted.
    """
    keys = read_only(keys, np.uint64)
    place = np.empty(len(keys), np.int64)
    some = place[: _not_alone(keys, place)]
    keys = keys[some]
    order = np.argsort(keys)
    return repeated(keys[order], doc[some], order)


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
    """Write the keys of `_TOGETHER` documents at a time, whose slots are turned so that they lie side by side."""
    documents, count = out.shape
    turned, keys = np.empty((count * rows, _TOGETHER), sig.dtype), np.empty(_TOGETHER, np.uint64)
    for begin in range(0, documents, _TOGETHER):
        here = min(_TOGETHER, documents - begin)
        for d in range(here):
            slots = sig[begin + d, first * rows : (first + count) * rows]
            for i in range(len(slots)):
                turned[i, d] = slots[i]
        for j in range(count):
            keys[:] = mix64_word(np.uint64(first + j), _GOLDEN)
            for i in range(j * rows, (j + 1) * rows):
                slots = turned[i, :here]
                for d in range(here):
                    keys[d] = mix64_word(keys[d] ^ np.uint64(slots[d]), _GOLDEN)
            for d in range(here):
                out[begin + d, j] = keys[d]


@numba.njit(cache=True, nogil=True)
def _not_alone(keys, place):  # type: ignore[no-untyped-def]
    """Write the places of the keys that share a slot, ascending, all keys that occur again among them; return how many.

    A slot is two bits that count to 2; 32 slots lie in a word.
    """
    bits = 5
    while (1 << bits) < _SLOTS * len(keys):
        bits += 1
    table, shift = np.zeros(1 << (bits - 5), np.uint64), np.uint64(64 - bits)
    for key in keys:
        word, pair = _slot(key, shift)
        table[word] += np.uint64((table[word] >> pair) & np.uint64(3) < 2) << pair
    found = 0
    for i in range(len(keys)):
        word, pair = _slot(keys[i], shift)
        place[found] = i
        found += (table[word] >> pair) & np.uint64(3) == 2
    return found


@numba.njit(cache=True, nogil=True)
def _slot(key, shift):  # type: ignore[no-untyped-def]
    """Return (word, lower bit in it) of a key's slot; some bits of the keys of one destination are all equal."""
    slot = (key * _GOLDEN) >> shift
    return slot >> np.uint64(5), (slot & np.uint64(31)) << np.uint64(1)
