"""Words as `str.split` sees them: maximal runs of characters for which `str.isspace` is false."""

from __future__ import annotations

import numba
import numpy as np

_MAY_BE_SPACE = np.isin(np.arange(256), [*range(0x09, 0x0E), *range(0x1C, 0x21), 0xC2, 0xE1, 0xE2, 0xE3])


@numba.njit(cache=True, nogil=True)
def space_bytes(data, i, stop):  # type: ignore[no-untyped-def]
    """Return the length in bytes of the white-space character at i, 0 if there is none."""
    first = data[i]
    if first < 0x80:
        return 1 if first == 0x20 or 0x09 <= first <= 0x0D or 0x1C <= first <= 0x1F else 0
    if first == 0xC2:
        return 2 if i + 1 < stop and (data[i + 1] == 0x85 or data[i + 1] == 0xA0) else 0
    if 0xE1 <= first <= 0xE3 and i + 2 < stop:
        return 3 if _wide_space((first << 16) | (data[i + 1] << 8) | data[i + 2]) else 0
    return 0


@numba.njit(cache=True, nogil=True)
def _wide_space(code):  # type: ignore[no-untyped-def]
    """Tell whether three UTF-8 bytes are U+1680, 2000-200A, 2028, 2029, 202F, 205F or 3000."""
    if 0xE28080 <= code <= 0xE2808A or code == 0xE280A8 or code == 0xE280A9:
        return True
    return code == 0xE19A80 or code == 0xE280AF or code == 0xE2819F or code == 0xE38080


@numba.njit(cache=True, nogil=True)
def next_word(data, at, stop):  # type: ignore[no-untyped-def]
    """Return (start, end) of the first word in data[at:stop]; start == stop where there is none."""
    while at < stop and _MAY_BE_SPACE[data[at]]:
        skip = space_bytes(data, at, stop)
        if skip == 0:
            break
        at += skip
    end = at
    while end < stop:
        if _MAY_BE_SPACE[data[end]] and space_bytes(data, end, stop) > 0:
            break
        end += 1
    return at, end
