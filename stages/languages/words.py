"""Words of scripts that put no blank between them: by ICU's dictionaries, or by character class without ICU.

Guarantees: the words of a text lie in order and do not overlap; white space is none. By character class a letter with
its marks is a word (Thai, Lao, Khmer, Burmese); Han and kana are split so by the kernel itself. Holds the words of one
text as Python numbers.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import unicodedata

import numpy as np
import numpy.typing as npt

from stages.kernels.text.unspaced import SPELLED

I64 = npt.NDArray[np.int64]
PACKAGE = "icu4py"
ICU, CHARACTERS = "icu", "characters"
LOCALES = {"Hani": "zh", "Jpan": "ja", "Thai": "th", "Laoo": "lo", "Khmr": "km", "Mymr": "my"}


@functools.cache
def installed() -> bool:
    """Tell whether ICU is to be had."""
    return importlib.util.find_spec(PACKAGE) is not None


def resolved(wish: str) -> str:
    """Return how words are found, `icu` or `characters`, of a wish that may be `auto`."""
    return (ICU if installed() else CHARACTERS) if wish == "auto" else wish


def version(how: str) -> str:
    """Return what changes whenever words may be others."""
    if how != ICU:
        return how
    import icu4py

    return f"{ICU} {icu4py.icu_version}"


def words(text: str, script: str, how: str) -> tuple[I64, I64]:
    """Return the code points at which the words of a text in a spaceless script start and stop, (words,) each.

    Nothing for Han and kana by character class.
    """
    if how == ICU:
        return _by_icu(text, LOCALES[script])
    if script in ("Hani", "Jpan"):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    spans = [found.span() for found in _classes().finditer(text)]
    return _columns(spans)


def _columns(spans: list[tuple[int, int]]) -> tuple[I64, I64]:
    both = np.array(spans, np.int64).reshape(-1, 2)
    return both[:, 0].copy(), both[:, 1].copy()


def _by_icu(text: str, locale: str) -> tuple[I64, I64]:
    from icu4py.breakers import WordBreaker

    starts, stops = _columns(list(WordBreaker(text, locale).segments()))
    wide = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    units = np.zeros(len(wide) + 1, np.int64)  # UTF-16 units before each code point
    np.cumsum(1 + (wide > 0xFFFF), out=units[1:])
    starts, stops = np.searchsorted(units, starts), np.searchsorted(units, stops)
    blank = np.fromiter((text[a:b].isspace() for a, b in zip(starts, stops, strict=True)), np.bool_, len(starts))
    kept = ~blank & (stops > starts)
    return starts[kept], stops[kept]


@functools.cache
def _classes() -> re.Pattern[str]:
    """Return the pattern of a word by character class."""
    characters = [chr(code) for low, high in SPELLED for code in range(low, high + 1)]
    letter = "".join(c for c in characters if unicodedata.category(c)[0] == "L")
    mark = "".join(c for c in characters if unicodedata.category(c)[0] == "M")
    return re.compile(f"[{letter}][{mark}]*|[^\\W{letter}{mark}]+|[^\\w\\s]")
