"""Where the code points of a block of text begin, and which are longer than a byte."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.core.extending import intrinsic

from stages.kernels.hashes.bits import set_bits, trailing_zeros

BLOCK = 2048  # shingles per block: premixed words and hashes stay in the first-level cache
SPARSE = BLOCK // 16  # characters beyond ASCII in a block up to which runs of equal windows are long enough
WIDE = 64  # bytes that are looked at together


@intrinsic
def _continuing(_typing: Any, data: Any, index: Any) -> Any:
    """Return which of the WIDE bytes from `index` on continue a code point, a bit each, as uint64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        from llvmlite import ir

        kind = ir.VectorType(ir.IntType(8), WIDE)
        array = context.make_array(signature.args[0])(context, builder, args[0])
        place = builder.bitcast(builder.gep(array.data, [args[1]]), kind.as_pointer())
        least = ir.Constant(kind, [-0x40] * WIDE)  # bytes 0x80 to 0xBF are the signed ones below
        return builder.bitcast(builder.icmp_signed("<", builder.load(place, align=1), least), ir.IntType(WIDE))

    return types.uint64(data, types.int64), codegen


@numba.njit(cache=True, nogil=True)
def _continuing_before(data, i, end):  # type: ignore[no-untyped-def]
    """Return which of the WIDE bytes from `i` on, before `end`, continue a code point, a bit each."""
    if i + WIDE <= len(data):
        bits = _continuing(data, i)
        return bits if i + WIDE <= end else bits & np.uint64((np.uint64(1) << np.uint64(end - i)) - np.uint64(1))
    bits = np.uint64(0)
    for place in range(end - i):
        bits |= np.uint64((data[i + place] & 0xC0) == 0x80) << np.uint64(place)
    return bits


@numba.njit(cache=True, nogil=True)
def is_ascii(data, start, stop):  # type: ignore[no-untyped-def]
    """Tell whether data[start:stop] is ASCII."""
    span = data[start:stop]
    union = np.uint8(0)
    for i in range(len(span)):
        union |= span[i]
    return union < 128


@numba.njit(cache=True, nogil=True)
def code_points(data, at, stop, reach, starts):  # type: ignore[no-untyped-def]
    """Write the starts of code points, relative to `at`, in data[at:min(stop, at + reach)].

    If the span ends where the document does, its length follows as a sentinel.

    Returns
    -------
    here : how many of them begin in the first BLOCK bytes.
    known : how many there are in `starts`, sentinel included.
    """
    length = min(stop - at, reach)
    known, here = 0, 0
    span = data[at : at + length]
    for i in range(length):
        if i == BLOCK:
            here = known
        starts[known] = np.uint32(i)
        known += (span[i] & 0xC0) != 0x80
    if length <= BLOCK:
        here = known
    if at + length == stop:
        starts[known] = np.uint32(length)
        known += 1
    return here, known


@numba.njit(cache=True, nogil=True)
def long_code_points(data, at, end, marks):  # type: ignore[no-untyped-def]
    """Write marks of the code points of data[at:end] that are longer than a byte.

    Fills marks[0] with their places among the code points and marks[1, k] with the bytes that continue a code point up
    to the first k of them; bytes at the very beginning that continue a code point of the block before count for all k.

    Returns
    -------
    found : how many there are; it stops at SPARSE + 1.
    more, inside : bytes that continue a code point, in all and among the first BLOCK.
    """
    place, gain, found, more, inside, last = marks[0], marks[1], np.uint64(0), 0, 0, -1
    gain[0] = 0
    for i in range(at, end, WIDE):
        bits = _continuing_before(data, i, end)
        while bits and found <= SPARSE:
            byte = i - at + trailing_zeros(bits)
            bits &= bits - np.uint64(1)
            owner = byte - more - 1
            place[found] = owner
            found += np.uint64(owner != last)
            more += 1
            inside += byte < BLOCK
            gain[found] = more
            last = owner
        if found > SPARSE:
            break
    return np.int64(found), more, inside


@numba.njit(cache=True, nogil=True)
def count_code_points(data, offsets, out):  # type: ignore[no-untyped-def]
    """Fill out (docs,) uint32 with the number of code points of each document of valid UTF-8."""
    for d in range(len(out)):
        i, stop, more = offsets[d], offsets[d + 1], np.int64(0)
        while i + WIDE <= stop:
            more += set_bits(_continuing(data, i))
            i += WIDE
        if i < stop:
            more += set_bits(_continuing_before(data, i, stop))
        out[d] = np.uint32(stop - offsets[d] - more)
