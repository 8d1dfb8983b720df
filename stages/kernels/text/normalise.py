"""Normalisation of texts before hashing, the same on every backend.

- `none`: the text as it is.
- `nfc_lower_space`: NFC, then lower case (`str.lower`), then NFC again; then every run of white space
  (`str.isspace`) becomes one space, and none stays at either end.
- `digits`: as `nfc_lower_space`, with every decimal digit (category Nd) turned into "0".
- `punctuation`: as `nfc_lower_space`, with every character of the categories P and S turned into a space.
- `diacritics`: as `nfc_lower_space`, without non-spacing marks (category Mn) after decomposition.
- `datatrove`: what datatrove 0.10 does by default before it hashes: lower case, numbers (with a fraction) as "0", its
  signs of punctuation as spaces, white space as one space, no diacritics.
- `cut:PATTERN`: as `nfc_lower_space`, without what an RE2 pattern matches in the text as it is.

All but `none` and `datatrove` may be joined by "+", `cut:` at the end: `digits+punctuation+cut:PATTERN`.

ASCII texts take a compiled pass for the first three; the others go through Python's Unicode tables. The results are
equal.
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

NORMALISATIONS = ("none", "nfc_lower_space", "digits", "punctuation", "diacritics", "datatrove")
CUT = "cut:"
HOW = ", ".join(NORMALISATIONS) + ", cut:PATTERN (RE2), or several joined by +"  # for help
_JOINED = NORMALISATIONS[1:-1]
# The signs that datatrove's TextNormConfig takes for punctuation, and control characters.
_SIGNS = (
    "!/\u2014\u201d:\uff05\uff11\u3008&(\u3001\u2501\\\u3010#%\u300c\u300d\uff0c\u3011\uff1b+^]~\u201c\u300a\u201e';\u2019{|"
    '\u2236\xb4[=-`*\uff0e\uff08\u2013\uff1f\uff01\uff1a$\uff5e\xab\u3009,><\u300b)?\uff09\u3002\u2026@_."}\u25ba\xbb'
) + "".join(map(chr, [*range(9), 11, 12, *range(13, 32), *range(127, 160)]))
_AS_SPACES = str.maketrans(_SIGNS, " " * len(_SIGNS))
_NUMBER = re.compile(r"\d+(?:[.,\u060c\u066b\u2396-\u2398]\d+)?")
_DIGIT = re.compile(r"\d")


def normalise(texts: pa.Array | pa.ChunkedArray, how: str) -> pa.Array:
    """Return the normalised texts as one large_string array; null stays null.

    Parameters
    ----------
    texts : string or large_string, valid UTF-8.
    how : one of `NORMALISATIONS`, or several; see the top of the module.

    Raises
    ------
    RecipeError : `how` is not a normalisation.

    Examples
    --------
    >>> normalise(pa.array(["  Two\\tWords, 12"]), "digits").to_pylist()
    ['two words, 00']
    """
    if wrong := problem(how):
        raise RecipeError(f"normalise must be {wrong}, got {how!r}.")
    if isinstance(texts, Resident) and how == "none":
        return texts
    wide = _whole(texts)
    if how == "none":
        return wide
    missing = wide.is_null() if wide.null_count else None
    filled = wide if missing is None else pc.fill_null(wide, "")
    folded = _fold(filled, how == "digits") if how in ("nfc_lower_space", "digits") else _by_hand(filled, how)
    return folded if missing is None else pc.if_else(missing, pa.scalar(None, pa.large_string()), folded)


def fold_text(text: str, *, digits: bool) -> str:
    """Return one text normalised: the definition, in plain Python."""
    composed = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
    return " ".join((_DIGIT.sub("0", composed) if digits else composed).split())


def problem(how: str) -> str | None:
    """Return what a normalisation must be where `how` is none, else None.

    >>> problem("digits+punctuation"), problem("cut:[0-9]+")
    (None, None)
    """
    names, cut, pattern = _parts(how)
    if how in NORMALISATIONS:
        return None
    if not names and not cut:
        return "one of " + ", ".join((*NORMALISATIONS, CUT + "PATTERN"))
    if wrong := next((name for name in names if name not in _JOINED), None):
        return f"one of {', '.join(NORMALISATIONS)}, or several of {', '.join(_JOINED)} joined by + ({wrong!r} is none)"
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except (pa.ArrowInvalid, ValueError) as error:
        return f"{CUT} and an RE2 pattern ({error})"
    return f"{CUT} and a pattern" if cut and not pattern else None


def _parts(how: str) -> tuple[list[str], bool, str]:
    """Return the names of a normalisation, whether something is cut, and the pattern of what is."""
    head, cut, pattern = how.partition(CUT)
    return [name for name in head.removesuffix("+").split("+") if name], bool(cut), pattern


def _by_hand(texts: pa.Array, how: str) -> pa.Array:
    """Return texts without nulls normalised one by one."""
    names, cut, pattern = _parts(how)
    if cut:
        texts = pc.replace_substring_regex(texts, pattern=pattern, replacement="")
    if how == "datatrove":
        return pa.array(map(simplified, texts.to_pylist()), pa.large_string())
    chosen = frozenset(names)
    return pa.array((_folded(text, chosen) for text in texts.to_pylist()), pa.large_string())


def _folded(text: str, names: frozenset[str]) -> str:
    found = fold_text(text, digits="digits" in names)
    if "punctuation" in names:
        found = " ".join("".join(" " if unicodedata.category(c)[0] in "PS" else c for c in found).split())
    if "diacritics" in names:
        bare = (c for c in unicodedata.normalize("NFD", found) if unicodedata.category(c) != "Mn")
        found = " ".join(unicodedata.normalize("NFC", "".join(bare)).split())
    return found


def simplified(text: str) -> str:
    """Return a text as datatrove hashes it by default.

    >>> simplified("  Caf\u00e9, 3.14 and 1,000,000!")
    'cafe 0 and 0 0'
    """
    plain = _NUMBER.sub("0", text.lower()).translate(_AS_SPACES)
    bare = unicodedata.normalize("NFD", " ".join(plain.split()))
    return "".join(c for c in bare if unicodedata.category(c) != "Mn").strip()


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
