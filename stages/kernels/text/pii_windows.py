"""Where in a text an e-mail address, a number or a code of personal data could stand, in one pass over its bytes.

Guarantees: every match of the patterns in `stages.detect.personal_data` lies inside one window of its kind (an e-mail
address around one), so that the patterns need not look at the rest. Memory: 32 bytes per window.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.kernels.hashes.bits import trailing_zeros
from stages.kernels.hashes.hashing import buffers, read_only
from stages.kernels.text.byte_signs import BELOW, WIDTH, digits_and_signs
from stages.kernels.text.growing import grown

EMAIL, NUMBER, IPV6, IBAN = 0, 1, 2, 3
_DIGIT, _GAP, _HEX, _UPPER, _LOWER = 1, 2, 4, 8, 16
_LONGEST_GAP = 12  # bytes between two digits of one number: three separators of up to three bytes, and to spare
_IBAN_BYTES = 72  # the longest IBAN has 34 characters, each with a separator after it


def _classes() -> npt.NDArray[np.uint8]:
    found = np.zeros(256, np.uint8)
    for code in range(128):
        c = chr(code)
        found[code] |= _DIGIT * c.isdigit() | _UPPER * c.isupper() | _LOWER * c.islower()
        found[code] |= _HEX * (c in "0123456789abcdefABCDEF:.")
    for byte in (*b" .-/()", 0xC2, 0xA0, 0xE2, 0x80, 0x90, 0x91, 0x92, 0x93, 0xAF):
        found[byte] |= _GAP
    return found


_CLASSES = _classes()


def windows(texts: pa.Array) -> npt.NDArray[np.int64]:
    """Return (text, start, stop, kind) of every window, (windows, 4) int64, in bytes of the text, by text."""
    data, offsets = buffers(texts)
    found: npt.NDArray[np.int64] = _windows(read_only(data, np.uint8), read_only(offsets, np.int64))
    return found


@numba.njit(cache=True, nogil=True)
def _windows(data, offsets):  # type: ignore[no-untyped-def]
    found = np.empty((1024, 4), np.int64)
    n = np.int64(0)
    for d in range(len(offsets) - 1):
        low, high = offsets[d], offsets[d + 1]
        number = six = low  # where the last window of each kind ended
        for at in range(low, high, WIDTH):
            bits = looked_at(data, at) & BELOW[min(WIDTH, high - at)]
            while bits != 0:
                i = at + trailing_zeros(bits)
                bits &= bits - np.uint64(1)
                if n + 2 >= len(found):
                    found = grown(found, n)
                if data[i] < 58:
                    if i >= number:
                        start, number, counts = _number(data, low, i, high)
                        if counts:
                            found[n, 0], found[n, 1], found[n, 2], found[n, 3] = d, start - low, number - low, NUMBER
                            n += 1
                    if _begins_iban(data, low, i, high):
                        stop = min(i + _IBAN_BYTES, high)
                        found[n, 0], found[n, 1], found[n, 2], found[n, 3] = d, i - 2 - low, stop - low, IBAN
                        n += 1
                elif data[i] == 64:
                    found[n, 0], found[n, 1], found[n, 2], found[n, 3] = d, i - low, i + 1 - low, EMAIL
                    n += 1
                elif i >= six:
                    start, six = _stretch(data, six, i, high, _HEX)
                    if _may_be_ipv6(data, start, six):
                        found[n, 0], found[n, 1], found[n, 2], found[n, 3] = d, start - low, six - low, IPV6
                        n += 1
    return found[:n]


@numba.njit(cache=True, nogil=True)
def looked_at(data, at):  # type: ignore[no-untyped-def]
    """Return which of 64 bytes from `at` on are a digit, @ or :, one by one at the end of the data."""
    if at + WIDTH <= len(data):
        return digits_and_signs(data, at)
    bits = np.uint64(0)
    for i in range(at, len(data)):
        found = _CLASSES[data[i]] & _DIGIT != 0 or data[i] == 64 or data[i] == 58
        bits |= np.uint64(found) << np.uint64(i - at)
    return bits


@numba.njit(cache=True, nogil=True)
def _stretch(data, low, i, high, kind):  # type: ignore[no-untyped-def]
    """Return the stretch of bytes of one kind around i."""
    start, stop = i, i + 1
    while start > low and _CLASSES[data[start - 1]] & kind:
        start -= 1
    while stop < high and _CLASSES[data[stop]] & kind:
        stop += 1
    return start, stop


@numba.njit(cache=True, nogil=True)
def _number(data, low, i, high):  # type: ignore[no-untyped-def]
    """Return (start, stop, worth a look) of the digits from i on, with what may stand between them."""
    digits = dots = gap = 0
    last = k = i
    while k < high and gap <= _LONGEST_GAP:
        kind = _CLASSES[data[k]]
        if kind & _DIGIT:
            digits += 1
            last = k
            gap = 0
        elif kind & _GAP:
            gap += 1
            dots += data[k] == 46
        else:
            break
        k += 1
    start = i
    while start > low and i - start < 3 and (data[start - 1] == 43 or data[start - 1] == 40 or data[start - 1] == 32):
        start -= 1
    return start, last + 1, digits >= 7 or dots >= 3


@numba.njit(cache=True, nogil=True)
def _begins_iban(data, low, i, high):  # type: ignore[no-untyped-def]
    """Tell whether two capitals stand before the digits at i and i + 1, and no letter or digit before them."""
    if i - low < 2 or i + 1 >= high or not _CLASSES[data[i + 1]] & _DIGIT:
        return False
    if not _CLASSES[data[i - 1]] & _UPPER or not _CLASSES[data[i - 2]] & _UPPER:
        return False
    return i - low == 2 or _CLASSES[data[i - 3]] & (_UPPER | _LOWER | _DIGIT) == 0


@numba.njit(cache=True, nogil=True)
def _may_be_ipv6(data, start, stop):  # type: ignore[no-untyped-def]
    """Tell whether a stretch holds two colons in a row, or seven."""
    colons = 0
    double = False
    for k in range(start, stop):
        if data[k] == 58:
            colons += 1
            double |= k > start and data[k - 1] == 58
    return double or colons >= 7
