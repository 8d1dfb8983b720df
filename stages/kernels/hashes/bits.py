"""Bits of a word of 64: how many are set, how many are 0 at either end; each is one instruction of the processor."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.extending import intrinsic


@intrinsic
def trailing_zeros(_typing: Any, word: Any) -> Any:
    """Return how many of the lowest bits of a uint64 are 0, 64 of none set; int64."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), codegen


@intrinsic
def leading_zeros(_typing: Any, word: Any) -> Any:
    """Return how many of the highest bits of a uint64 are 0, 64 of none set; int64."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), codegen


@intrinsic
def set_bits(_typing: Any, word: Any) -> Any:
    """Return how many bits of a uint64 are set, int64."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), codegen
