"""Hashes of text bytes: XXH64 over Arrow buffers, content hashes, and a 64-bit integer mixer.

Bits equal the reference XXH64 (package xxhash, `hash_values(method="xxhash64")` of cuDF) for every
length and seed. Nothing here copies text or builds a Python object per document; kernels release the
GIL and are compiled once, for read-only arrays, to which every argument is narrowed without copying.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba.core import types
from numba.core.extending import intrinsic

from cluster.device.light_loading import install
from stages.kernels.dispatch.dispatch import by_backend
from stages.kernels.dispatch.resident import Resident

install()

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

MASK64 = (1 << 64) - 1
_P1 = np.uint64(0x9E3779B185EBCA87)
_P2 = np.uint64(0xC2B2AE3D27D4EB4F)
_P3 = np.uint64(0x165667B19E3779F9)
_P4 = np.uint64(0x85EBCA77C2B2AE63)
_P5 = np.uint64(0x27D4EB2F165667C5)
_GOLDEN = 0x9E3779B97F4A7C15


def buffers(texts: pa.Array | pa.ChunkedArray | Resident) -> tuple[U8, I64]:
    """Return the bytes and offsets of a string array, without copying text where it is one chunk.

    Parameters
    ----------
    texts : string, large_string, binary, large_binary or string_view, without nulls; may be a slice. Texts that
        lie on the device stand for their own bytes.

    Returns
    -------
    data : (bytes,) uint8, the whole data buffer, often read-only (memory maps).
    offsets : (docs + 1,) int64; document i is `data[offsets[i]:offsets[i + 1]]`. The first offset is above
        0 for a slice.

    Examples
    --------
    >>> data, offsets = buffers(pa.array(["a", "bc", "def"]).slice(1))
    >>> offsets.tolist(), bytes(data[offsets[0]:offsets[1]])
    ([1, 3, 6], b'bc')
    """
    if isinstance(texts, Resident):  # for the kernels that compute where the texts lie
        return texts, texts.offsets  # type: ignore[return-value]
    assert texts.null_count == 0, "texts hold nulls: fill or drop them before hashing"
    array = _one_chunk(texts)
    small = pa.types.is_string(array.type) or pa.types.is_binary(array.type)
    _, places, content = array.buffers()
    data = np.frombuffer(content, np.uint8) if content is not None and content.size else np.zeros(0, np.uint8)
    if places is None or places.size == 0:
        return data, np.zeros(len(array) + 1, np.int64)
    raw = np.frombuffer(places, np.int32 if small else np.int64)
    return data, raw[array.offset : array.offset + len(array) + 1].astype(np.int64, copy=False)


def _one_chunk(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    if not _has_offsets(texts.type):
        texts = texts.cast(pa.large_string())
    if not isinstance(texts, pa.ChunkedArray):
        return texts
    if texts.num_chunks == 1:
        return texts.chunk(0)
    wide = pa.large_binary() if pa.types.is_binary(texts.type) else pa.large_string()
    whole = texts if pa.types.is_large_binary(texts.type) else texts.cast(wide)
    joined = whole.combine_chunks()
    if isinstance(joined, pa.ChunkedArray):
        return pa.concat_arrays(joined.chunks) if joined.num_chunks else pa.array([], whole.type)
    return joined


def _has_offsets(kind: pa.DataType) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in tests)


def read_only(array: npt.ArrayLike, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return a read-only, contiguous view of an array, copied only where dtype or layout differ.

    numba compiles a kernel anew for writable and for read-only arguments; with this it is always the latter.
    """
    view = np.ascontiguousarray(array, dtype).view()
    view.flags.writeable = False
    return view


def check_offsets(data: U8, offsets: I64) -> None:
    """Raise for offsets outside the data or descending, which kernels do not check."""
    inside = len(offsets) > 0 and offsets[0] >= 0 and offsets[-1] <= len(data)
    if not inside or bool((offsets[1:] < offsets[:-1]).any()):
        raise ValueError(
            f"offsets must ascend within [0, {len(data)}], the length of the data; got {len(offsets)} "
            f"offsets from {offsets[:1].tolist()} to {offsets[-1:].tolist()}. Take both from buffers()."
        )


def xxh64(data: U8, offsets: I64, seed: int = 0) -> U64:
    """Hash each document with XXH64.

    Parameters
    ----------
    data, offsets : (bytes,) uint8 and (docs + 1,) int64, as `buffers` returns them.
    seed : any integer; its low 64 bits are the seed.

    Returns
    -------
    (docs,) uint64.

    Examples
    --------
    >>> data, offsets = buffers(pa.array([""]))
    >>> hex(xxh64(data, offsets, 0)[0])
    '0xef46db3751d8e999'
    """
    data, offsets = read_only(data, np.uint8), read_only(offsets, np.int64)
    check_offsets(data, offsets)
    out = np.empty(len(offsets) - 1, np.uint64)
    _xxh64_each(data, offsets, np.uint64(seed & MASK64), out)
    return out


@by_backend
def content_hash(data: U8, offsets: I64) -> tuple[U64, U64]:
    """Return the two content hashes of each document, XXH64 with seeds 0 and 1, both (docs,) uint64."""
    data, offsets = read_only(data, np.uint8), read_only(offsets, np.int64)
    check_offsets(data, offsets)
    first, second = np.empty(len(offsets) - 1, np.uint64), np.empty(len(offsets) - 1, np.uint64)
    _content_hash_each(data, offsets, first, second)
    return first, second


def mix64(x: npt.ArrayLike, seed: int = 0) -> U64:
    """Scramble 64-bit integers: step `seed + 1` of SplitMix64 started at x (Steele et al. 2014, fig. 16).

    A bijection for each seed, so distinct values stay distinct; all output bits depend on all input bits.

    Parameters
    ----------
    x : (n,) integers, taken modulo 2^64. seed : any integer.

    Returns
    -------
    (n,) uint64.

    Examples
    --------
    >>> hex(mix64([0])[0])
    '0xe220a8397b1dcdaf'
    """
    words = read_only(np.asarray(x, np.uint64).ravel(), np.uint64)
    out = np.empty(len(words), np.uint64)
    _mix64_each(words, np.uint64((seed + 1) * _GOLDEN & MASK64), out)
    return out


def unmix64(x: npt.ArrayLike, seed: int = 0) -> U64:
    """Return what `mix64` made these integers of, (n,) uint64.

    Examples
    --------
    >>> unmix64(mix64([0, 7, 1 << 63], 3), 3).tolist() == [0, 7, 1 << 63]
    True
    """
    z = np.array(x, np.uint64).ravel()
    for shift, factor in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, 1)):
        z ^= (z >> np.uint64(shift)) ^ (z >> np.uint64(2 * shift))
        z *= np.uint64(pow(factor, -1, 1 << 64))
    return z - np.uint64((seed + 1) * _GOLDEN & MASK64)


def _load(width: int) -> Any:
    """Make an intrinsic `load(data, i)`: the little-endian unsigned word at any byte position."""

    @intrinsic
    def load(_typing: Any, data: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, args[0])
            word = context.get_value_type(signature.return_type).as_pointer()
            place = builder.bitcast(builder.gep(array.data, [args[1]]), word)
            return builder.load(place, align=1)

        result = types.uint64 if width == 8 else types.uint32
        return result(data, types.int64), codegen

    return load


load32 = _load(4)
load64 = _load(8)


@intrinsic
def folded_product(_typing: Any, x: Any, y: Any) -> Any:
    """Return the exclusive or of both halves of the product of two uint64."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        from llvmlite import ir

        wide, narrow = ir.IntType(128), ir.IntType(64)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), narrow)
        return builder.xor(high, builder.trunc(product, narrow))

    return types.uint64(types.uint64, types.uint64), codegen


@numba.njit(cache=True, nogil=True)
def mix64_word(x, step):  # type: ignore[no-untyped-def]
    """Scramble one uint64 after adding `step`: the finaliser of SplitMix64."""
    z = x + step
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(cache=True, nogil=True)
def _mix64_each(words, step, out):  # type: ignore[no-untyped-def]
    for i in range(len(words)):
        out[i] = mix64_word(words[i], step)


@numba.njit(cache=True, nogil=True)
def power(base, exponent):  # type: ignore[no-untyped-def]
    """Return a power modulo 2^64: of the base of a polynomial hash, the factor of the symbol that leaves a run."""
    found = np.uint64(1)
    for _ in range(exponent):
        found *= base
    return found


@numba.njit(cache=True, nogil=True)
def _rotate(x, bits):  # type: ignore[no-untyped-def]
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


@numba.njit(cache=True, nogil=True)
def _turned(lane, product):  # type: ignore[no-untyped-def]
    return _rotate(lane + product, 31) * _P1


@numba.njit(cache=True, nogil=True)
def _round(lane, word):  # type: ignore[no-untyped-def]
    return _turned(lane, word * _P2)


@numba.njit(cache=True, nogil=True)
def _stripes(data, i, stop, seed):  # type: ignore[no-untyped-def]
    """Consume blocks of 32 bytes; return the merged lanes and the position after the last block."""
    a, b, c, d = seed + _P1 + _P2, seed + _P2, seed, seed - _P1
    while i + 32 <= stop:
        a = _round(a, load64(data, i))
        b = _round(b, load64(data, i + 8))
        c = _round(c, load64(data, i + 16))
        d = _round(d, load64(data, i + 24))
        i += 32
    return _merged(a, b, c, d), i


@numba.njit(cache=True, nogil=True)
def _merged(a, b, c, d):  # type: ignore[no-untyped-def]
    h = _rotate(a, 1) + _rotate(b, 7) + _rotate(c, 12) + _rotate(d, 18)
    for lane in (a, b, c, d):
        h = (h ^ _round(np.uint64(0), lane)) * _P1 + _P4
    return h


@numba.njit(cache=True, nogil=True)
def _stripes_twice(data, i, stop):  # type: ignore[no-untyped-def]
    """Do `_stripes` for the seeds 0 and 1, which share the product of each word: three multiplications, not four."""
    one = np.uint64(1)
    a, b, c, d = _P1 + _P2, _P2, np.uint64(0), np.uint64(0) - _P1
    e, f, g, h = a + one, b + one, c + one, d + one
    while i + 32 <= stop:
        w, x = load64(data, i) * _P2, load64(data, i + 8) * _P2
        y, z = load64(data, i + 16) * _P2, load64(data, i + 24) * _P2
        a, b, c, d = _turned(a, w), _turned(b, x), _turned(c, y), _turned(d, z)
        e, f, g, h = _turned(e, w), _turned(f, x), _turned(g, y), _turned(h, z)
        i += 32
    return _merged(a, b, c, d), _merged(e, f, g, h), i


@numba.njit(cache=True, nogil=True)
def xxh64_span(data, start, stop, seed):  # type: ignore[no-untyped-def]
    """Return the XXH64 of data[start:stop]; start, stop int64, seed uint64."""
    i = start
    if stop - start >= 32:
        h, i = _stripes(data, start, stop, seed)
    else:
        h = seed + _P5
    return _rest(data, i, stop, h + np.uint64(stop - start))


@numba.njit(cache=True, nogil=True)
def _rest(data, i, stop, h):  # type: ignore[no-untyped-def]
    """Return the XXH64 of a text of which less than 32 bytes are left, from `i` on."""
    while i + 8 <= stop:
        h = _rotate(h ^ _round(np.uint64(0), load64(data, i)), 27) * _P1 + _P4
        i += 8
    if i + 4 <= stop:
        h = _rotate(h ^ (np.uint64(load32(data, i)) * _P1), 23) * _P2 + _P3
        i += 4
    while i < stop:
        h = _rotate(h ^ (np.uint64(data[i]) * _P5), 11) * _P1
        i += 1
    h = (h ^ (h >> np.uint64(33))) * _P2
    h = (h ^ (h >> np.uint64(29))) * _P3
    return h ^ (h >> np.uint64(32))


@numba.njit(cache=True, nogil=True)
def _xxh64_each(data, offsets, seed, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        out[i] = xxh64_span(data, offsets[i], offsets[i + 1], seed)


@numba.njit(cache=True, nogil=True)
def _content_hash_each(data, offsets, first, second):  # type: ignore[no-untyped-def]
    for i in range(len(first)):
        start, stop = offsets[i], offsets[i + 1]
        size = np.uint64(stop - start)
        if stop - start >= 32:
            h0, h1, start = _stripes_twice(data, start, stop)
        else:
            h0, h1 = _P5, _P5 + np.uint64(1)
        first[i], second[i] = _rest(data, start, stop, h0 + size), _rest(data, start, stop, h1 + size)
