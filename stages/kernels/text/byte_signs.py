"""Which of 64 bytes of a text are of some kind, a bit each: what kernels look at instead of one byte after the other.

Guarantees: the plain comparisons of each byte. Callers keep 64 bytes, and one more on either side for `watched`, inside
the array.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.extending import intrinsic

from stages.kernels.text.byte_vectors import between, filled, loaded

WIDTH = 64
BELOW = np.array([(1 << n) - 1 for n in range(WIDTH + 1)], np.uint64)  # masks of the first n bits
Build = Callable[[Any, Callable[[int], Any]], Any]


def _bits(build: Build) -> Any:
    """Make an intrinsic that returns the bits that `build` makes of bytes, given what stands at a distance of each."""

    @intrinsic
    def found(_typing: Any, data: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            def at(distance: int) -> Any:
                place = builder.add(args[1], ir.Constant(ir.IntType(64), distance))
                return loaded(context, builder, signature.args[0], args[0], place, WIDTH)

            return builder.bitcast(build(builder, at), ir.IntType(WIDTH))

        return types.uint64(data, types.int64), codegen

    return found


def _equal(builder: Any, bytes_: Any, *characters: str) -> Any:
    found = builder.icmp_unsigned("==", bytes_, filled(ord(characters[0]), WIDTH))
    for c in characters[1:]:
        found = builder.or_(found, builder.icmp_unsigned("==", bytes_, filled(ord(c), WIDTH)))
    return found


def _watched(builder: Any, at: Callable[[int], Any]) -> Any:
    low = builder.or_(at(0), filled(32, WIDTH))
    before, after = builder.or_(at(-1), filled(32, WIDTH)), builder.or_(at(1), filled(32, WIDTH))
    found = _equal(builder, at(0), "[")
    for letter, then in (("v", "a"), ("k", "i"), ("f", " "), ("g", "n")):
        found = builder.or_(found, builder.and_(_equal(builder, low, letter), _equal(builder, after, then)))
    return builder.or_(found, builder.and_(_equal(builder, low, "m"), _equal(builder, before, " ", "e")))


def _digits_and_signs(builder: Any, at: Callable[[int], Any]) -> Any:
    return builder.or_(between(builder, at(0), "0", "9"), _equal(builder, at(0), "@", ":"))


line_feeds = _bits(lambda builder, at: _equal(builder, at(0), "\n"))
sentence_ends = _bits(lambda builder, at: _equal(builder, at(0), ".", "!", "?"))
beyond_ascii = _bits(lambda builder, at: builder.icmp_signed("<", at(0), filled(0, WIDTH)))
continuations = _bits(lambda builder, at: builder.icmp_signed("<", at(0), filled(-64, WIDTH)))
watched = _bits(_watched)  # what signs of lines may be around, see line_counts
digits_and_signs = _bits(_digits_and_signs)  # digits, @ and :
