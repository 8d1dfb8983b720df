"""MinHash signatures from Arrow buffers, with the bits of cuDF's `Series.str.minhash` and `minhash64`.

A shingle is a window of `width` code points, hashed over its UTF-8 bytes with MurmurHash3, at least 1; a text
shorter than `width` is one shingle; a text without bytes gets zeros. Slot p is the minimum over shingles of
`(h * a[p] + b[p]) mod 2^32`, or for 64 bits of `((h * a[p] + b[p]) mod 2^64) mod (2^61 - 1)`.

Sampling (`max_shingles`). Slots are minima of N values below 2^32, so two unrelated texts of N shingles
agree in a slot with probability about N / 2^33: 0.2 % at 20 million, 12 % at a billion. A longer text is
therefore thinned to those shingles whose MurmurHash3 under the complemented seed is 0 modulo m, the
smallest power of two that brings the number of windows to `max_shingles` or below. The choice depends on
the shingle alone, and samples for a greater m are subsets: similar texts keep the same shingles. The
second seed matters, since thinning by the hash itself would thin its range as well and leave the minima
as crowded. Should no shingle qualify, all are used.

`one_permutation` makes signatures of one hash a shingle instead, no bits of cuDF's: see one_permutation.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from cluster.errors import RecipeError
from cluster.seed import DEFAULT_SEED
from stages.kernels.dispatch.dispatch import by_backend
from stages.kernels.hashes.hashing import I64, U8, check_offsets, mix64_word, read_only
from stages.kernels.similarity import sketch, word_sketch
from stages.kernels.similarity.one_permutation import own_slots

Signatures = npt.NDArray[np.unsignedinteger[Any]]  # (docs, num_permutations) uint32 or uint64
U32 = npt.NDArray[np.uint32]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MERSENNE61 = (1 << 61) - 1
MAX_BINS = 4096  # of one permutation: its table of places holds 16 bits each


@dataclass(frozen=True)
class Parameters:
    """A hash family: one Murmur seed, and a multiplier and an addend per permutation, all below 2^bits."""

    seed: int
    a: tuple[int, ...]
    b: tuple[int, ...]
    bits: int = 32

    def __post_init__(self) -> None:
        if self.bits not in (32, 64):
            raise RecipeError(f"hash bits must be 32 or 64, got {self.bits}. cuDF offers no others.")
        if not 1 <= len(self.a) == len(self.b):
            raise RecipeError(f"a and b must have one number per permutation, got {len(self.a)} and {len(self.b)}.")
        worst = [v for v in (self.seed, *self.a, *self.b) if not 0 <= v < 1 << self.bits]
        if worst:
            raise RecipeError(
                f"seed, a and b must be in [0, 2^{self.bits}), got {worst[0]}. Set hash_bits: 64 for larger ones."
            )

    @property
    def num_permutations(self) -> int:
        """The number of slots of a signature."""
        return len(self.a)

    @property
    def dtype(self) -> type[np.uint32] | type[np.uint64]:
        """The type of a slot."""
        return np.uint32 if self.bits == 32 else np.uint64


def explicit(seed: int, a: Sequence[int], b: Sequence[int], bits: int = 32) -> Parameters:
    """Return given parameters; RecipeError where they do not fit `bits` or each other."""
    return Parameters(int(seed), tuple(map(int, a)), tuple(map(int, b)), bits)


def nemo_parameters(num_permutations: int, seed: int = DEFAULT_SEED, bits: int = 32) -> Parameters:
    """Return the parameters that NeMo Curator (since November 2024) draws from `RandomState(seed)`.

    Multipliers from [1, p) and addends from [0, p) are drawn in turn, p = 2^31 - 1 for 32 bits and 2^61
    - 1 for 64. The Murmur seed is the first multiplier, not the seed given here.

    Examples
    --------
    >>> nemo_parameters(2, 42).seed
    1608637543
    """
    if num_permutations < 1:
        raise RecipeError(f"num_permutations must be at least 1, got {num_permutations}.")
    generator = np.random.RandomState(seed)
    prime, dtype = (np.uint64((1 << 31) - 1), np.uint32) if bits == 32 else (np.uint64(MERSENNE61), np.uint64)
    pairs = [
        (int(generator.randint(1, prime, dtype=dtype)), int(generator.randint(0, prime, dtype=dtype)))
        for _ in range(num_permutations)
    ]
    a, b = zip(*pairs, strict=True)
    return explicit(a[0], a, b, bits)


def zyda2_seeds(num_permutations: int, seed: int = 10) -> U32:
    """Return one Murmur seed per permutation, as NeMo Curator 0.5 drew them for Zyda-2, (k,) uint32.

    Examples
    --------
    >>> zyda2_seeds(2).tolist()
    [345353, 760957]
    """
    return np.random.RandomState(seed).randint(0, 1_000_000, num_permutations).astype(np.uint32)


@by_backend
def signatures(data: U8, offsets: I64, params: Parameters, width: int = 24, max_shingles: int = 0) -> Signatures:
    """Return signatures of character shingles.

    Parameters
    ----------
    data, offsets : (bytes,) uint8 and (docs + 1,) int64 from `hashing.buffers`; read-only will do.
    params : the hash family.
    width : code points in a shingle, at least 1 (cuDF wants 2).
    max_shingles : longer texts are sampled, see the module; 0 for never.

    Returns
    -------
    (docs, permutations) uint32 or uint64, as `params.bits` says. Memory: the result and a few tens of kB.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from stages.kernels.hashes.hashing import buffers
    >>> data, offsets = buffers(pa.array(["this is my", "favorite book"]))
    >>> signatures(data, offsets, explicit(0, [1, 2], [4, 5]), 5).tolist()
    [[1305480171, 462824409], [32665388, 65330773]]
    """
    kernel = sketch.sketch32 if params.bits == 32 else sketch.sketch64
    return _run(kernel, data, offsets, params, _checked(width), max(0, max_shingles))


def signatures_words(data: U8, offsets: I64, params: Parameters, num_words: int = 5) -> Signatures:
    """Return signatures of runs of `num_words` words, hashed as `stages.kernels.text.words` says.

    A text of fewer words is one shingle of them all; one without words gets zeros. Arguments and result are
    those of `signatures`; texts are never sampled.
    """
    kernel = word_sketch.words32 if params.bits == 32 else word_sketch.words64
    return _run(kernel, data, offsets, params, _checked(num_words))


def one_permutation(
    data: U8,
    offsets: I64,
    bins: int,
    width: int = 24,
    *,
    seed: int = DEFAULT_SEED,
    bits: int = 32,
    max_shingles: int = 0,
    words: bool = False,
) -> Signatures:
    """Return signatures by one-permutation hashing with optimal densification, (docs, bins) of `bits` bits.

    Slot i is the least MurmurHash3 under `seed` (64 bits: its first word) of the shingles of bin i, where the hash h
    is in bin floor(h * bins / 2^bits); an empty bin takes the slot of the first bin of its own fixed sequence that is
    not empty. Slots of two texts agree with probability J (Shrivastava 2017, "Optimal Densification for Fast and
    Accurate Minwise Hashing", Algorithm 1 and Theorem 1). Other arguments are those of `signatures`, with words of
    `signatures_words`. Always computed on the host.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from stages.kernels.hashes.hashing import buffers
    >>> one_permutation(*buffers(pa.array(["one", ""])), 3, 5).tolist()
    [[3899938111, 3899938111, 3899938111], [0, 0, 0]]
    """
    if not 1 <= bins <= MAX_BINS:
        raise RecipeError(f"num_permutations must be in [1, {MAX_BINS}] with sketch: oph, got {bins}. Usual: 128.")
    dtype = np.uint32 if bits == 32 else np.uint64
    none = read_only((), dtype)
    names = {False: (sketch.sketch32, sketch.sketch64), True: (word_sketch.words32, word_sketch.words64)}
    kernel = names[words][bits == 64]
    frozen, places = _frozen(data, offsets), read_only(offsets, np.int64)
    out = np.empty((len(places) - 1, bins), dtype)
    more = () if words else (max(0, max_shingles),)
    kernel(frozen, places, none, none, dtype(seed), _checked(width), *more, out)
    return out


def is_sparse(signature: Signatures) -> npt.NDArray[np.bool_]:
    """Mark signatures of `one_permutation` that may be of fewer shingles than bins, (docs,) bool.

    Of k shingles in k bins, (1 - 1/e) k bins are not empty on average, with a standard deviation below sqrt(k) / 3;
    4.5 of them above that, a signature is not marked.
    """
    table = read_only(signature, signature.dtype)
    filled, bins = np.empty(len(table), np.int64), table.shape[1]
    own_slots(table, 0 if table.dtype == np.uint32 else 32, filled)
    marked: npt.NDArray[np.bool_] = filled < (1 - math.exp(-1)) * bins + 1.5 * math.sqrt(bins)
    return marked


@by_backend
def signatures_by_seeds(data: U8, offsets: I64, seeds: npt.ArrayLike, width: int = 25, max_shingles: int = 0) -> U32:
    """Return signatures whose slot p is the least MurmurHash3_x86_32 of a shingle under seeds[p].

    This is what cuDF computed before 24.12. Arguments and result are those of `signatures`, with (k,) uint32
    seeds in place of parameters; hashes of 0 stay 0.
    """
    frozen, places, family = _frozen(data, offsets), read_only(offsets, np.int64), read_only(seeds, np.uint32)
    out = np.empty((len(places) - 1, len(family)), np.uint32)
    sketch.sketch_seeds(frozen, places, family, _checked(width), max(0, max_shingles), out)
    return out


def _run(kernel: Any, data: U8, offsets: I64, params: Parameters, *shape: int) -> Signatures:
    frozen, places = _frozen(data, offsets), read_only(offsets, np.int64)
    a, b = read_only(params.a, params.dtype), read_only(params.b, params.dtype)
    out = np.empty((len(places) - 1, params.num_permutations), params.dtype)
    kernel(frozen, places, a, b, params.dtype(params.seed), *shape, out)
    return out


def _frozen(data: U8, offsets: I64) -> U8:
    check_offsets(data, offsets)
    return read_only(data, np.uint8)


def _checked(width: int) -> int:
    if not 1 <= width <= 10_000:
        raise RecipeError(f"shingle_width must be in [1, 10000], got {width}. Usual: 24 characters or 5 words.")
    return int(width)


def slots8(signature: Signatures) -> U8:
    """Return one byte per slot, (docs, permutations) uint8: the low bits of the scrambled slot.

    Two slots that differ agree in their byte with probability 1/256, which `jaccard.estimate` corrects.
    """
    table = read_only(signature, signature.dtype)
    out = np.empty(table.shape, np.uint8)
    _slots8(table.reshape(-1), out.reshape(-1))
    return out


@numba.njit(cache=True, nogil=True)
def _slots8(slots, out):  # type: ignore[no-untyped-def]
    for i in range(len(slots)):
        out[i] = np.uint8(mix64_word(np.uint64(slots[i]), _GOLDEN) & np.uint64(0xFF))
