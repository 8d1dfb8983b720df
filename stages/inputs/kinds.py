"""What values a JSON key has, as flags that are joined over lines and files, and the type that holds them all."""

from __future__ import annotations

from enum import IntFlag

import pyarrow as pa

WIDE = 2**53  # integers up to it are doubles too


class Kinds(IntFlag):
    """What values a JSON key has; joined over lines and files by `|`."""

    NONE = 0
    BOOL = 1
    TEXT = 2
    INT = 4
    NEGATIVE = 8
    WIDE = 16  # an integer beyond 2^53
    UNSIGNED = 32  # an integer of 64 bits without a sign
    FLOAT = 64  # a number that a double holds exactly
    OTHER = 128  # an object, a list, a number of more digits, a string with half a surrogate

    @property
    def type(self) -> pa.DataType | None:
        """The Arrow type that holds them all exactly; None where only JSON text does."""
        if not self:
            return pa.null()
        numbers = self & ~(Kinds.NEGATIVE | Kinds.WIDE | Kinds.UNSIGNED)
        if numbers == Kinds.INT:
            if not self & Kinds.UNSIGNED:
                return pa.int64()
            return pa.decimal128(20, 0) if self & Kinds.NEGATIVE else pa.uint64()
        if numbers & Kinds.FLOAT and not numbers & ~(Kinds.INT | Kinds.FLOAT):
            return None if self & Kinds.WIDE else pa.float64()
        return {Kinds.BOOL: pa.bool_(), Kinds.TEXT: pa.large_string()}.get(numbers)
