"""Offsets of Arrow data from outside: nothing that reads them later may be led beyond their buffers.

Arrow's own full check also refuses texts that are not UTF-8, which are rows of their own here (unreadable, by number),
not a broken file. Guarantees: every offset and index, at every depth, ascends or lies where it must. Memory: the
offsets of one column.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

PLAIN = {pt.is_string: pa.binary(), pt.is_large_string: pa.large_binary(), pt.is_binary: None, pt.is_large_binary: None}


def check_offsets(batch: pa.RecordBatch) -> None:
    """Raise ArrowInvalid where data of a record batch lead beyond their buffers."""
    batch.validate(full=False)
    for column in batch.columns:
        _check(column)


def _check(array: Any) -> None:
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        _check(array.storage)
    elif pt.is_struct(kind):
        for field in range(kind.num_fields):
            _check(array.field(field))
    elif pt.is_dictionary(kind):
        _check_indices(array)
    elif pt.is_list(kind) or pt.is_large_list(kind) or pt.is_map(kind):
        _check_lists(array)
    elif pt.is_fixed_size_list(kind):
        _check(array.flatten())
    elif any(same(kind) for same in PLAIN):
        binary = next(plain for same, plain in PLAIN.items() if same(kind))
        (array if binary is None else array.view(binary)).validate(full=True)
    elif not pt.is_primitive(kind):
        array.validate(full=True)


def _check_indices(array: Any) -> None:
    dictionary = array.dictionary
    _check(dictionary)
    found = pc.min_max(array.indices)
    low, high = found["min"].as_py(), found["max"].as_py()
    if low is not None and (low < 0 or high >= len(dictionary)):
        raise pa.ArrowInvalid(f"an index of {low} to {high} leads beyond a dictionary of {len(dictionary)} values")


def _check_lists(array: Any) -> None:
    offsets = array.offsets.to_numpy()
    values = array.keys if pt.is_map(array.type) else array.values
    if len(offsets) and (offsets[0] < 0 or offsets[-1] > len(values) or (offsets[1:] < offsets[:-1]).any()):
        raise pa.ArrowInvalid(f"offsets of a list do not ascend inside its {len(values)} values")
    _check(values)
    if pt.is_map(array.type):
        _check(array.items)
