"""The script that most letters of a text are written in, by ISO 15924 code, compiled by numba.

Guarantees: fixed ranges of code points (Unicode blocks of living scripts), so that results do not depend on a library's
version of Unicode; of two scripts with as many letters the one that is listed first. Kana, and Han beside kana, are
`Jpan`. A text without a letter of these scripts is `Zyyy`.
"""

from __future__ import annotations

import functools
import sys

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.kernels.dispatch.dispatch import by_backend
from stages.kernels.dispatch.resident import Resident
from stages.kernels.hashes.hashing import I64, buffers, load64
from stages.kernels.text.fold import code_point

U8 = npt.NDArray[np.uint8]

RANGES: dict[str, tuple[tuple[int, int], ...]] = {
    "Latn": (
        (0x41, 0x5A),
        (0x61, 0x7A),
        (0xC0, 0xD6),
        (0xD8, 0xF6),
        (0xF8, 0x2AF),
        (0x1E00, 0x1EFF),
        (0x2C60, 0x2C7F),
        (0xA720, 0xA7FF),
        (0xFF21, 0xFF3A),
        (0xFF41, 0xFF5A),
    ),
    "Cyrl": ((0x400, 0x52F), (0x1C80, 0x1C8F), (0x2DE0, 0x2DFF), (0xA640, 0xA69F)),
    "Hani": ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF)),
    "Jpan": ((0x3041, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F), (0x1B000, 0x1B16F)),
    "Hang": ((0x1100, 0x11FF), (0x3131, 0x318E), (0xA960, 0xA97F), (0xAC00, 0xD7FF)),
    "Arab": ((0x620, 0x64A), (0x66E, 0x6DC), (0x6FA, 0x6FF), (0x750, 0x77F), (0x8A0, 0x8C9), (0xFB50, 0xFEFC)),
    "Deva": ((0x900, 0x963), (0x971, 0x97F), (0xA8E0, 0xA8FF)),
    "Thai": ((0xE01, 0xE3A), (0xE40, 0xE4E)),
    "Grek": ((0x370, 0x3FF), (0x1F00, 0x1FFF)),
    "Hebr": ((0x591, 0x5F4), (0xFB1D, 0xFB4F)),
    "Armn": ((0x531, 0x588), (0xFB13, 0xFB17)),
    "Geor": ((0x10A0, 0x10FF), (0x1C90, 0x1CBF), (0x2D00, 0x2D2F)),
    "Ethi": ((0x1200, 0x135F), (0x1380, 0x138F), (0x2D80, 0x2DDF), (0xAB01, 0xAB2F)),
    "Beng": ((0x980, 0x9E3), (0x9F0, 0x9F1)),
    "Guru": ((0xA01, 0xA5E), (0xA70, 0xA75)),
    "Gujr": ((0xA81, 0xAE3), (0xAF9, 0xAFF)),
    "Orya": ((0xB01, 0xB63), (0xB71, 0xB71)),
    "Taml": ((0xB82, 0xBD7),),
    "Telu": ((0xC00, 0xC63),),
    "Knda": ((0xC80, 0xCE3),),
    "Mlym": ((0xD00, 0xD63), (0xD7A, 0xD7F)),
    "Sinh": ((0xD81, 0xDDF),),
    "Laoo": ((0xE81, 0xEBD), (0xEC0, 0xEC6), (0xEDC, 0xEDF)),
    "Tibt": ((0xF00, 0xF00), (0xF40, 0xFBC)),
    "Mymr": ((0x1000, 0x103F), (0x1050, 0x108F), (0xA9E0, 0xA9EF), (0xAA60, 0xAA7F)),
    "Khmr": ((0x1780, 0x17D3), (0x17DC, 0x17DD)),
    "Mong": ((0x1820, 0x18AA),),
    "Cher": ((0x13A0, 0x13FD), (0xAB70, 0xABBF)),
    "Cans": ((0x1400, 0x167F), (0x18B0, 0x18F5)),
    "Thaa": ((0x780, 0x7B1),),
    "Syrc": ((0x710, 0x74F),),
    "Nkoo": ((0x7CA, 0x7F5),),
    "Tfng": ((0x2D30, 0x2D7F),),
    "Olck": ((0x1C5A, 0x1C7D),),
    "Java": ((0xA980, 0xA9C0),),
    "Yiii": ((0xA000, 0xA48C),),
    "Vaii": ((0xA500, 0xA62B),),
    "Adlm": ((0x1E900, 0x1E94B),),
}
UNKNOWN = "Zyyy"
NAMES = (*RANGES, UNKNOWN)
SPACELESS = frozenset({"Hani", "Jpan", "Thai", "Laoo", "Khmr", "Mymr"})  # words are not set off by blanks
LATN, HANI, JPAN = NAMES.index("Latn"), NAMES.index("Hani"), NAMES.index("Jpan")
_ONES, _CASE, _HIGH = (np.uint64(0x0101010101010101 * byte) for byte in (1, 0x20, 0x80))
_FROM_A, _BEYOND_Z = (np.uint64(0x0101010101010101 * (0x80 - letter)) for letter in (0x61, 0x7B))


@functools.cache
def table() -> U8:
    """Return the place in NAMES of every code point's script, (1114112,) uint8."""
    found = np.full(sys.maxunicode + 1, len(NAMES) - 1, np.uint8)
    for place, ranges in enumerate(RANGES.values()):
        for low, high in ranges:
            found[low : high + 1] = place
    return found


@numba.njit(cache=True, nogil=True)
def _ascii_letters(word):  # type: ignore[no-untyped-def]
    """Return how many of eight bytes below 0x80 are letters: in lower case at least a, below the sign after z."""
    lower = word | _CASE
    letters = (lower + _FROM_A) & ~(lower + _BEYOND_Z) & _HIGH
    return np.int64(((letters >> np.uint64(7)) * _ONES) >> np.uint64(56))


@numba.njit(cache=True, nogil=True)
def _count(data, offsets, table, scripts, found):  # type: ignore[no-untyped-def]
    """Write the place of each text's script; `scripts` is how many there are, without the last, unknown one."""
    letters = np.zeros(scripts + 1, np.int64)
    for d in range(len(offsets) - 1):
        letters[:] = 0
        i, stop = offsets[d], offsets[d + 1]
        while i < stop:
            while i + 8 <= stop and load64(data, i) & _HIGH == 0:
                letters[LATN] += _ascii_letters(load64(data, i))
                i += 8
            if i == stop:
                break
            point, size = code_point(data, i)
            letters[table[point]] += 1
            i += size
        if letters[JPAN] * 10 >= letters[HANI]:  # Japanese mixes both; a Chinese text may quote a little kana
            letters[JPAN] += letters[HANI] * (letters[JPAN] > 0)
        best = scripts
        most = 0
        for k in range(scripts):
            if letters[k] > most:
                most, best = letters[k], k
        found[d] = best


def scripts_of(texts: pa.Array | pa.ChunkedArray | Resident) -> U8:
    """Return each text's script as a place in NAMES, (texts,) uint8, of large_string texts without nulls."""
    return script_places(*buffers(texts))


@by_backend
def script_places(data: U8, offsets: I64) -> U8:
    """Return each document's script as a place in NAMES, (documents,) uint8."""
    found = np.zeros(len(offsets) - 1, np.uint8)
    if len(found):
        _count(data, offsets, table(), len(NAMES) - 1, found)
    return found


def script_names(places: U8) -> pa.Array:
    """Return the ISO 15924 codes of places in NAMES, (places,) string."""
    return pa.array(NAMES, pa.string()).take(pa.array(places))
