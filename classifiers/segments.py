"""Cut documents into parts of similar length, to see how much of a document is in which language.

Guarantees: the parts of a document are the document, end to end, without copying its text. A part ends at the
first line break after `segment_chars` bytes, else at the first space after twice as many, else at the first
character after four times as many.
"""

# numba has no types for mypy and knows no difference between Python's and numpy's numbers:
# mypy: disable-error-code="no-any-return, arg-type, return-value, assignment"

from __future__ import annotations

import numpy as np
import pyarrow as pa

from classifiers.native_fasttext.subwords import I64, U8, njit


@njit
def boundaries(data: U8, offsets: I64, length: int) -> tuple[I64, I64]:
    """Return the offsets of all parts, and the index of each document's first part, (documents + 1,)."""
    found = np.empty((offsets[-1] - offsets[0]) // length + len(offsets) + 1, np.int64)
    firsts = np.empty(len(offsets), np.int64)
    found[0], count = offsets[0], 1
    for i in range(len(offsets) - 1):
        firsts[i] = count - 1
        start = offsets[i]
        for at in range(offsets[i], offsets[i + 1]):
            size = at - start
            if size < length:
                continue
            byte = data[at]
            if byte == 10 or (byte == 32 and size >= 2 * length) or (byte & 0xC0 != 0x80 and size >= 4 * length):
                found[count], start = at, at
                count += 1
        if offsets[i + 1] > offsets[i]:
            found[count] = offsets[i + 1]
            count += 1
    firsts[len(offsets) - 1] = count - 1
    return found[:count].copy(), firsts


def cut(texts: pa.Array, segment_chars: int) -> tuple[pa.Array, I64]:
    """Return the parts of all texts, large_string, and the index of each text's first part, (texts + 1,).

    An empty text has no part.
    """
    from classifiers.fasttext_model import text_buffers

    data, offsets = text_buffers(texts)
    places, firsts = boundaries(data, offsets, segment_chars)
    parts = pa.LargeStringArray.from_buffers(len(places) - 1, pa.py_buffer(places), pa.py_buffer(data))
    return parts, firsts
