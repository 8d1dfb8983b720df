"""National identifiers of persons: written as their country writes them, checked by python-stdnum.

Guarantees: a number counts when its form, and where there is one its date and check digits, are right; where such a
number is common by chance (`context`), only after a word that names it, at most 48 bytes before. CPU time is linear
in the bytes of the text.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable, Iterator, Sequence

from stages.detect.identifier_forms import IDENTIFIERS

Found = tuple[int, int, str]  # start, stop in bytes, kind
BEFORE = 48  # bytes in which a word that names a number is looked for
_EDGE, _END = rb"(?<![0-9A-Za-z_\-./])", rb"(?![0-9A-Za-z_]|[\-./][0-9])"


def find(text: bytes, kinds: Sequence[str]) -> Iterator[Found]:
    """Yield the identifiers of these kinds in a text, overlaps included.

    >>> list(find(b"SSN 219-09-9998, no 219099998", ["us_ssn"]))
    [(4, 15, 'us_ssn')]
    """
    for kind in kinds:
        pattern, words = _patterns(kind)
        known, check = IDENTIFIERS[kind], _check(IDENTIFIERS[kind].check)
        for m in pattern.finditer(text):
            named = words is not None and words.search(text, max(0, m.start() - BEFORE), m.start())
            freely = m.lastgroup == "form" and not known.context
            if (freely or named) and check(m[0].decode().replace(" ", "").replace(".", "")):
                yield *m.span(), kind


@functools.cache
def _patterns(kind: str) -> tuple[re.Pattern[bytes], re.Pattern[bytes] | None]:
    """Return the pattern of an identifier, and of the words that name it, at the end of what stands before."""
    known = IDENTIFIERS[kind]
    forms = f"(?P<form>{known.form})" + (f"|(?P<plain>{known.plain})" if known.plain else "")
    pattern = re.compile(_EDGE + b"(?:" + forms.encode() + b")" + _END)
    if not known.words:
        return pattern, None
    words = b"|".join(_word(word) for word in sorted(known.words.split("|"), key=len, reverse=True))
    return pattern, re.compile(rb"(?<![A-Za-z])(?:" + words + rb")(?![a-z])[^0-9]{0,32}$", re.IGNORECASE)


def _word(word: str) -> bytes:
    """Return the pattern of a word; abbreviations that are words of a language count in capitals only."""
    escaped = re.escape(word.encode())
    return b"(?-i:" + escaped + b")" if word in ("SIN", "NAS", "TIN", "NIF") else escaped


@functools.cache
def _check(name: str) -> Callable[[str], bool]:
    if name.startswith("_"):
        return {"_any": _any, "_nino": _nino, "_rrn": _rrn}[name]
    return importlib.import_module(f"stdnum.{name}").is_valid  # type: ignore[no-any-return]


def _any(_: str) -> bool:
    return True


def _nino(number: str) -> bool:
    """Tell whether a National Insurance number has a prefix that is given out (HMRC, NIM39110); no digit checks it."""
    return number[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def _rrn(number: str) -> bool:
    """Tell whether a resident number is right: one given out since October 2020 has a date, but no check digit."""
    import datetime

    from stdnum.kr import rrn

    digits = number.replace("-", "").replace(" ", "")
    if rrn.is_valid(digits):
        return True
    try:
        born = datetime.date(
            (2000 if digits[6] in "3478" else 1900) + int(digits[:2]), int(digits[2:4]), int(digits[4:6])
        )
    except ValueError:
        return False
    return born >= datetime.date(2020, 10, 5)
