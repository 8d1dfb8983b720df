"""Normalisation of texts before hashing, the same on every backend.

- `none`: the text as it is.
- `nfc_lower_space`: NFC, then lower case (`str.lower`), then NFC again; then every run of white space
  (`str.isspace`) becomes one space, and none stays at either end.
- `digits`: as `nfc_lower_space`, with every decimal digit (category Nd) turned into "0".

ASCII texts take a compiled pass; the others go through Python's Unicode tables. The results are equal.
"""

from __future__ import annotations

import re
import unicodedata

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster.errors import RecipeError
from stages.kernels.dispatch.resident import Resident
from stages.kernels.hashes.hashing import I64, U8, buffers, read_only

NORMALISATIONS = ("none", "nfc_lower_space", "digits")
_DIGIT = re.compile(r"\d")


def normalise(texts: pa.Array | pa.ChunkedArray, how: str) -> pa.Array:
    """Return the normalised texts as one large_string array; null stays null.

    Parameters
    ----------
    texts : string or large_string, valid UTF-8.
    how : one of `NORMALISATIONS`.

    Raises
    ------
    RecipeError : `how` is not a normalisation.

    Examples
    --------
    >>> normalise(pa.array(["  Two\\tWords, 12"]), "digits").to_pylist()
    ['two words, 00']
    """
    if how not in NORMALISATIONS:
        raise RecipeError(f"normalise must be one of {', '.join(NORMALISATIONS)}, got {how!r}.")
    if isinstance(texts, Resident) and how == "none":
        return texts
    wide = _whole(texts)
    if how == "none":
        return wide
    missing = wide.is_null() if wide.null_count else None
    filled = wide if missing is None else pc.fill_null(wide, "")
    folded = _fold(filled, how == "digits")
    return folded if missing is None else pc.if_else(missing, pa.scalar(None, pa.large_string()), folded)


def fold_text(text: str, *, digits: bool) -> str:
    """Return one text normalised: the definition, in plain Python."""
    composed = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
    return " ".join((_DIGIT.sub("0", composed) if digits else composed).split())


def _whole(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    wide = texts if pa.types.is_large_string(texts.type) else texts.cast(pa.large_string())
    if not isinstance(wide, pa.ChunkedArray):
        return wide
    if wide.num_chunks == 1:
        return wide.chunk(0)
    return pa.concat_arrays(wide.chunks) if wide.num_chunks else pa.array([], pa.large_string())


def _fold(texts: pa.Array, digits: bool) -> pa.Array:
    data, offsets = buffers(texts)
    plain, others = _fold_plain(data, offsets, digits)
    if len(others) == 0:
        return plain
    rest = [fold_text(text, digits=digits) for text in texts.take(pa.array(others)).to_pylist()]
    places = np.arange(len(texts), dtype=np.int64)
    places[others] = len(texts) + np.arange(len(others))
    return pa.concat_arrays([plain, pa.array(rest, pa.large_string())]).take(pa.array(places))


def _fold_plain(data: U8, offsets: I64, digits: bool) -> tuple[pa.Array, I64]:
    """Return ASCII texts normalised, empty texts in place of the others, and where those are."""
    places = read_only(offsets, np.int64)
    out = np.empty(int(places[-1] - places[0]), np.uint8)
    ends, ascii_only = np.zeros(len(places), np.int64), np.empty(len(places) - 1, np.bool_)
    used = _fold_ascii(read_only(data, np.uint8), places, _table(digits), out, ends, ascii_only)
    parts = [None, pa.py_buffer(ends), pa.py_buffer(out[:used])]
    array = pa.Array.from_buffers(pa.large_string(), len(ascii_only), parts)
    return array, np.flatnonzero(~ascii_only)


def _table(digits: bool) -> npt.NDArray[np.uint8]:
    """Return what becomes of each ASCII character; white space becomes a space."""
    table = [ord(" ") if chr(i).isspace() else ord(chr(i).lower()) for i in range(128)]
    if digits:
        table[ord("0") : ord("9") + 1] = [ord("0")] * 10
    return read_only(np.array(table), np.uint8)


@numba.njit(cache=True, nogil=True)
def _fold_ascii(data, offsets, table, out, ends, ascii_only):  # type: ignore[no-untyped-def]
    used = 0
    for d in range(len(ascii_only)):
        span = data[offsets[d] : offsets[d + 1]]
        union = np.uint8(0)
        for byte in span:
            union |= byte
        ascii_only[d] = union < 128
        begin = used
        if ascii_only[d]:
            after_space = True
            for byte in span:
                folded = table[byte]
                space = folded == 32
                if not (space and after_space):
                    out[used] = folded
                    used += 1
                after_space = space
            if used > begin and after_space:
                used -= 1
        ends[d + 1] = used
    return used
