"""Public IP addresses in a text, told apart from versions and section numbers; top-level domains.

Guarantees: addresses are public (no private, local or reserved range), and four small numbers after a word such as
`version` or at the head of a title are none.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterator

Span = tuple[int, int]  # start, stop in bytes

_IPV4 = re.compile(rb"(?<![0-9A-Za-z.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z]|\.[0-9])")
_IPV6 = re.compile(rb"(?<![0-9A-Za-z:.\-])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![0-9A-Za-z:]|\.[0-9])")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")  # all that is given out (RFC 4291, 2.4)

SMALL = 100  # numbers of versions and sections stay below; 2 % of all addresses have four such numbers
_BEFORE = 60  # bytes before an address that may say what it is
_NUMBERED = re.compile(
    rb"(?:(?<![A-Za-z])(?:versions?|ver|v|releases?|rel|firmware|kernel|build|software|rev|revisions?|driver|patch|"
    rb"upgraded?|editions?|sections?|sect?|chapters?|appendix|annex|clauses?|paragraphs?|figures?|fig|tables?|oid|"
    rb"posix|policy|standard)|\xc2\xa7)"
    rb"(?:[ \t.:=,(\[\"'#0-9&\-]|\xc2\xa0|\xe2\x80[\x90-\x9f]|and|or|to|from|through|is|was|number|no)*$",
    re.IGNORECASE,
)
_VERSION = re.compile(rb"(?<![A-Za-z])(?:version|ver|v|release|build|firmware|revision)[ .:=]{0,2}$", re.IGNORECASE)
_LINE_START = re.compile(rb"(?:^|\n)(?:[ \t#*>|\-]|\xe2\x80\xa2)*$")
_TITLE = re.compile(rb"\.?(?:[ \t]|\xc2\xa0)+[A-Z]|\.?\t|\.(?: |\xc2\xa0)")
_NAME = re.compile(rb"(?<![^ \t\n])[A-Za-z][A-Za-z0-9_+\-]* $")


def ipv4(text: bytes, start: int, stop: int) -> Iterator[Span]:
    """Yield the public IPv4 addresses inside `text[start:stop]`."""
    for m in _IPV4.finditer(text, start, stop):
        if is_public(m[0]) and not _is_number_of_something(text, *m.span()):
            yield m.span()


def ipv6(text: bytes, start: int, stop: int) -> Iterator[Span]:
    """Yield the public IPv6 addresses inside `text[start:stop]`."""
    return (m.span() for m in _IPV6.finditer(text, start, stop) if is_public(m[0]))


def is_public(address: bytes) -> bool:
    """Tell whether an address is one, and not private, local, reserved or multicast."""
    try:
        found = ipaddress.ip_address(address.decode())
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found not in _GLOBAL_UNICAST:
        return False
    return found.is_global and not found.is_multicast


def _is_number_of_something(text: bytes, start: int, stop: int) -> bool:
    """Tell whether four numbers are a version or a section: by the word before, or as the number of a title."""
    before = text[max(0, start - _BEFORE) : start]
    if _VERSION.search(before):
        return True
    if max(map(int, text[start:stop].split(b"."))) >= SMALL:
        return False
    if _NUMBERED.search(before):
        return True
    at_start = _LINE_START.search(before if start > _BEFORE else b"\n" + before)
    if at_start and _TITLE.match(text[stop : stop + 8]):
        return True
    name = _NAME.search(before)  # with numbers of other lengths near by: Kernel 8.4, Kernel 8.3.2.2, Kernel 8.3.2
    shorter = re.escape(name[0]) + rb"[0-9]{1,3}(?:\.[0-9]{1,3}){1,2}(?!\.?[0-9])" if name else b"$^"
    return bool(name and re.search(shorter, before + text[stop : stop + _BEFORE]))


@functools.cache
def top_level_domains() -> frozenset[str]:
    """Return the last labels of all public suffixes, in lower case and punycode."""
    from stages.detect.urls import suffixes

    return frozenset(name.rsplit(".", 1)[-1].lstrip("*!") for name in suffixes())


@functools.lru_cache(maxsize=4096)
def is_top_level(name: str) -> bool:
    """Tell whether a top-level domain exists, in letters or punycode."""
    from stages.detect.urls import ascii_name

    return ascii_name(name) in top_level_domains()
