"""Parts of numba intrinsics that look at many bytes at once: vectors that are loaded, stored and compared.

Each builds LLVM code for one step; `width` is the number of bytes of a vector.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir


def filled(value: int, width: int) -> Any:
    """Return a vector of one constant byte."""
    return ir.Constant(ir.VectorType(ir.IntType(8), width), [value] * width)


def spread(builder: Any, value: Any, width: int) -> Any:
    """Build a vector of one value."""
    one = builder.insert_element(ir.Constant(ir.VectorType(value.type, width), ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width))


def loaded(context: Any, builder: Any, kind: Any, array: Any, index: Any, width: int) -> Any:
    """Build the load of so many bytes of an array; kind: numba's type of the array."""
    data = context.make_array(kind)(context, builder, array).data
    place = builder.bitcast(builder.gep(data, [index]), ir.VectorType(ir.IntType(8), width).as_pointer())
    return builder.load(place, align=1)


def stored(context: Any, builder: Any, kind: Any, array: Any, index: Any, value: Any) -> None:
    """Build the store of a vector into an array."""
    data = context.make_array(kind)(context, builder, array).data
    place = builder.bitcast(builder.gep(data, [index]), value.type.as_pointer())
    builder.store(value, place, align=1)


def between(builder: Any, found: Any, first: str, last: str) -> Any:
    """Build which bytes of a vector are one of an unbroken run of characters."""
    width = found.type.count
    size = filled(ord(last) - ord(first) + 1, width)
    return builder.icmp_unsigned("<", builder.sub(found, filled(ord(first), width)), size)
