"""What counts as personal data: e-mail and public IP addresses, phone numbers, payment cards, IBANs.

Guarantees: cards pass Luhn's check and have an issuer's prefix and length, IBANs have their country's length and
structure and pass ISO 7064 mod 97-10 (by python-stdnum), addresses are those of `emails` and `net_addresses`. Where two
kinds overlap the earlier of `KINDS` holds. CPU time is linear in bytes and finds.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from stdnum import iban, luhn, numdb

from stages.detect import net_addresses
from stages.detect.emails import emails
from stages.kernels.text import pii_windows

KINDS = ("email", "iban", "credit_card", "ip", "phone")
Found = tuple[int, int, str]  # start, stop in bytes, kind

_CARD = re.compile(
    rb"(?<![0-9A-Za-z_/=.\-+])[2-6](?:(?:[ \-]|\xc2\xa0)?[0-9]){11,18}(?![0-9A-Za-z_/]|[.\-][0-9A-Za-z])"
)
_ISSUERS = (  # (prefix pattern, lengths), ISO/IEC 7812 as the schemes publish them
    (re.compile(r"4"), (13, 16, 19)),  # Visa
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),  # Mastercard
    (re.compile(r"3[47]"), (15,)),  # American Express
    (re.compile(r"6011|64[4-9]|65|62|8[12]"), (16, 17, 18, 19)),  # Discover, UnionPay
    (re.compile(r"35(?:2[89]|[3-8])"), (16, 17, 18, 19)),  # JCB
    (re.compile(r"3(?:0[0-5]|[689])"), (14, 16)),  # Diners Club
    (re.compile(r"5018|5020|5038|5893|6304|6759|676[1-3]"), (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro
)

_SEP = rb"(?:[ .\-/]|\xc2\xa0|\xe2\x80[\x90-\x93\xaf]| [\-/] )"
_BEFORE = rb"(?<![0-9A-Za-z+/=_.\-])"
_AFTER = rb"(?![0-9A-Za-z_/]|[\-.][0-9])"
_LAST = rb"(?! [0-9])"  # of a row of numbers
_PHONES = tuple(
    re.compile(pattern.replace(b"SEP", _SEP))
    for pattern in (
        # with the country's code: +49 (0)30 1234567, 0044 20 7946 0958
        rb"(?<![0-9A-Za-z+/=_])\+[1-9][0-9]{0,3}(?:SEP?\([0-9]{1,5}\))?(?:SEP?[0-9]){5,11}(?![0-9*^])",
        _BEFORE + rb"(?<![0-9] )00[1-9][0-9]{0,2}SEP(?:SEP?[0-9]){6,11}" + _AFTER + _LAST,
        # North America: (212) 555-0100, 1-212-555-0100
        _BEFORE + rb"(?:1SEP)?(?:\([2-9][0-9]{2}\)SEP?|[2-9][0-9]{2}SEP)[2-9][0-9]{2}SEP[0-9]{4}" + _AFTER,
        # with a leading 0: 01 23 45 67 89, 03-1234-5678, (020) 7946 0958, 030/1234567
        _BEFORE + rb"(?<![0-9] )0[1-9](?:SEP[0-9]{2}){4}" + _AFTER + _LAST,
        _BEFORE + rb"(?<![0-9] )(?:\(0[1-9]\)SEP?|0[1-9]-)[0-9]{4}SEP[0-9]{4}" + _AFTER + _LAST,
        _BEFORE
        + rb"(?<![0-9] )(?:\(0[1-9][0-9]{1,4}\)|0[1-9][0-9]{1,4})SEP(?:[0-9]{3,4}SEP[0-9]{3,4}|[0-9]{5,8})"
        + _AFTER,
    )
)
_LABELLED = re.compile(rb"(?<![0-9A-Za-z+])\(?[0-9](?:\)?SEP?\(?[0-9]){6,14}(?![0-9])".replace(b"SEP", _SEP))
_LABEL = re.compile(
    rb"(?:(?<![A-Za-z])(?:tel|phone|telephone|telefon|telefono|mobile|mob|cell|fax|telefax|whatsapp|sms|handy|tlf|"
    rb"call(?: us| me)?(?: at| on)?)|t\xc3\xa9l(?:\xc3\xa9phone)?|tel\xc3\xa9fono|\xd1\x82\xd0\xb5\xd0\xbb|"
    rb"\xe7\x94\xb5\xe8\xaf\x9d|\xe9\x9b\xbb\xe8\xa9\xb1)"
    rb"(?: ?(?:no|number|nr|num))?[ \t]{0,2}(?:\.|:|#|is|\xef\xbc\x9a){0,2}[ \t]{0,2}$",
    re.IGNORECASE,
)


def find(text: bytes) -> list[Found]:
    """Return the personal data of one text, UTF-8, by start: the patterns over all of it.

    >>> find(b"mail a.b@example.com or 8.8.8.8")
    [(5, 20, 'email'), (24, 31, 'ip')]
    """
    every = (0, len(text))
    return resolved(text, (f for kind in range(4) for f in _in_window(text, *every, kind)))


def found_in(text: bytes, windows: Any) -> Iterator[Found]:
    """Yield all that is found in these windows, (windows, 3) of start, stop, kind, what overlaps included."""
    return (f for start, stop, kind in windows for f in _in_window(text, start, stop, kind))


def _in_window(text: bytes, start: int, stop: int, kind: int) -> Iterator[Found]:
    end = min(stop + 1, len(text))  # a pattern looks one character further, and never takes that one in
    if kind == pii_windows.EMAIL:
        yield from ((*span, "email") for span in emails(text, start, stop))
    elif kind == pii_windows.IBAN:
        yield from _ibans(text, start, stop)
    elif kind == pii_windows.IPV6:
        yield from ((*span, "ip") for span in net_addresses.ipv6(text, start, end))
    else:
        end = min(stop + 2, len(text))
        yield from ((*m.span(), "credit_card") for m in _CARD.finditer(text, start, end) if _is_card(m[0]))
        yield from ((*span, "ip") for span in net_addresses.ipv4(text, start, end))
        for pattern in _PHONES:
            yield from ((*m.span(), "phone") for m in pattern.finditer(text, start, end) if _is_phone(m[0]))
        for m in _LABELLED.finditer(text, start, end):
            if _LABEL.search(text, max(0, m.start() - 32), m.start()):
                yield (*m.span(), "phone")


def resolved(text: bytes, found: Iterable[Found], kinds: Sequence[str] = KINDS) -> list[Found]:
    """Return what holds where several overlap: the earlier kind, then the longer, then the first.

    Time is linear in what is found, but for sorting: a byte that is taken is marked. Memory: one byte per byte of text.
    """
    rank = {kind: place for place, kind in enumerate(kinds)}
    ranked = sorted(set(found), key=lambda f: (rank[f[2]], f[0] - f[1], f[0]))
    if len(ranked) < 2:
        return ranked
    held, taken = list[Found](), bytearray(len(text))
    for item in ranked:
        start, stop, _ = item
        if taken.find(1, start, stop) < 0:
            taken[start:stop] = b"\1" * (stop - start)
            held.append(item)
    return sorted(held)


def _is_phone(number: bytes) -> bool:
    return 7 <= sum(48 <= byte <= 57 for byte in number) <= 15


def _is_card(number: bytes) -> bool:
    digits = bytes(byte for byte in number if 48 <= byte <= 57).decode()
    issued = any(len(digits) in lengths and prefix.match(digits) for prefix, lengths in _ISSUERS)
    grouped = all(len(group) >= 4 for group in re.split(rb"[^0-9]+", number)[:-1])  # else a row of numbers
    return issued and grouped and len(set(digits)) > 1 and luhn.is_valid(digits)


def _ibans(text: bytes, start: int, stop: int) -> Iterator[Found]:
    for m in re.finditer(rb"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}", text[max(0, start - 1) : stop]):
        first = m.start() + max(0, start - 1)
        wanted = iban_length(m[0][:2].decode())
        end = _take(text, first, wanted)
        if wanted and end and not text[end : end + 1].isalnum() and _is_iban(_bare(text[first:end])):
            yield first, end, "iban"


def _take(text: bytes, at: int, wanted: int) -> int:
    """Return where `wanted` capitals and digits end, at most one blank or hyphen between two; 0: they do not."""
    for taken in range(wanted):
        if taken and text[at : at + 1] in (b" ", b"-"):
            at += 1
        byte = text[at : at + 1]
        if not (byte.isdigit() or byte.isupper()):
            return 0
        at += 1
    return at


def _bare(code: bytes) -> str:
    return code.replace(b" ", b"").replace(b"-", b"").decode()


@functools.cache
def iban_length(country: str) -> int:
    """Return the characters of a country's IBANs, 0 if it has none.

    >>> iban_length("DE"), iban_length("XX")
    (22, 0)
    """
    parts = numdb.get("iban").info(country)
    account = parts[0][1].get("bban", "") if parts else ""
    return 4 + sum(map(int, re.findall(r"(\d+)!", account))) if account else 0


def _is_iban(code: str) -> bool:
    return bool(iban.is_valid(code, check_country=False))
