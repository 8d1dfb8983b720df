"""Stop words by language: Gopher's eight for English, else those of the package stopwordsiso (extra `languages`).

Guarantees: words with a letter and without a blank, in lower case; nothing where the list has fewer than LEAST of them.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util

PACKAGE = "stopwordsiso"
LEAST = 8  # as many as Gopher's list has (Rae et al. 2021, A1.1)
# Languages that one list serves: written alike, or one a part of the other (ISO 639-3 macrolanguages).
_SERVED = {"nb": "no", "nn": "no", "yue": "zh", "wuu": "zh", "fil": "tl", "prs": "fa"}
_NOT_CJK = frozenset({"zh", "ja"})


@functools.cache
def installed() -> bool:
    """Tell whether the package of lists is installed."""
    return importlib.util.find_spec(PACKAGE) is not None


@functools.cache
def version() -> str:
    """Return name and version of the package of lists; empty where it is missing."""
    return f"{PACKAGE} {importlib.metadata.version(PACKAGE)}" if installed() else ""


@functools.cache
def listed(code: str) -> tuple[str, ...]:
    """Return the stop words of a language by its ISO 639-1 or 639-3 code, sorted; none where no list is known.

    English is not asked for: its rule is the publication's.
    """
    if not installed():
        return ()
    import stopwordsiso

    code = _SERVED.get(code, code)
    if code not in stopwordsiso.langs():
        return ()
    words = {word.strip().lower() for word in stopwordsiso.stopwords(code)}
    found = sorted(w for w in words if " " not in w and any(c.isalpha() for c in w) and _is_word(w, code))
    return tuple(found) if len(found) >= LEAST else ()


def _is_word(word: str, code: str) -> bool:
    """Tell whether an entry is more than a letter of the alphabet, which any list of names or sizes holds too."""
    return len(word) > 1 or not (word.isascii() and code in _NOT_CJK)
