"""E-mail addresses in a text, as RFC 5322 and 5321 write them and people do.

An address is found at its `@`: before it a local part of at most 64 bytes, after it a host name that ends in a
top-level domain that exists (letters of any script), or a host's literal address, [192.0.2.1] or [IPv6:2001:db8::1]. A
local part is quoted, or made of letters of any script, digits and ! # $ % & ' * + - . / ^ _ ~; a = only counts before
a host name, as in bounces+name=example.com@list.example.org.
Guarantees: CPU time is linear in the bytes of the text. Quotes, brackets, markup, keys and paths around an address
stay outside. Code is none: @decorator, pkg@1.2.3, x@w.to(device).
"""

from __future__ import annotations

import functools
import ipaddress
import re
import unicodedata
from collections.abc import Iterator

from stages.detect.net_addresses import is_top_level

Span = tuple[int, int]  # start, stop in bytes
LOCAL, DOMAIN = 64, 255  # bytes at most (RFC 5321, 4.5.3.1)
_INSIDE = frozenset("!#$%&'*+-./^_~=")
_BEGINS = "+_~"  # besides letters and digits
_MARKUP = "_~"  # as many behind an address as before it are not part of it
_ENDS_NOT = "./'="
_GENERIC = ("com", "edu", "gov", "net", "org")  # no method is called so
_CALL = re.compile(r"\([\x20-\x7e]?")
_QUOTED = re.compile(r'(?<![\w"])"(?:[^"\\\r\n]|\\[^\r\n]){1,62}"$')
_LITERAL = re.compile(rb"\[(?:IPv6:([0-9A-Fa-f:.]{2,45})|([0-9]{1,3}(?:\.[0-9]{1,3}){3}))\]", re.IGNORECASE)
# Scripts written without spaces: an address does not begin in the words before it.
_DENSE = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


@functools.cache
def _host_name() -> re.Pattern[str]:
    """Return the pattern of a host name; its group is the top-level domain."""
    marks = "".join(c for c in map(chr, range(0x300, 0xFFFF)) if unicodedata.category(c)[0] == "M")
    letter = rf"(?:[^\W_]|[{marks}])"
    label = rf"[^\W_](?:(?:[^\W_]|[{marks}\-]){{0,61}}{letter})?\."
    other = rf"[^\W\d_a-zA-Z](?:[^\W\d_a-zA-Z]|[{marks}]){{1,22}}"
    return re.compile(rf"(?:{label}){{1,8}}([A-Za-z][A-Za-z0-9\-]{{1,22}}(?![A-Za-z0-9\-@])|{other}(?!@))")


def emails(text: bytes, start: int, stop: int) -> Iterator[Span]:
    """Yield the addresses whose `@` stands in `text[start:stop]`.

    >>> list(emails("josé.g@ejemplo.es, o'neil@[192.0.2.1]".encode(), 0, 40))
    [(0, 18), (20, 38)]
    """
    at = text.find(b"@", start, stop)
    while at >= 0:
        end = _host(text, at + 1)
        begin = _local(text, at, end) if end else None
        if begin is not None:
            yield begin, end
        at = text.find(b"@", at + 1, stop)


def _host(text: bytes, start: int) -> int:
    """Return where the host that begins at `start` ends, 0 if there is none."""
    literal = _LITERAL.match(text, start)
    if literal:
        return literal.end() if _is_address((literal[1] or literal[2]).decode()) else 0
    window = text[start : start + DOMAIN + 4].decode(errors="ignore")
    m = _host_name().match(window)
    if not m or not is_top_level(m[1]):
        return 0
    if m[1] not in _GENERIC and _CALL.fullmatch(window, m.end(), m.end() + 2):
        return 0
    return start + len(m[0].encode())


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _local(text: bytes, at: int, stop: int) -> int | None:
    """Return where the local part before the `@` begins, None if there is none; `stop` is the address's end."""
    window = text[max(0, at - LOCAL - 4) : at].decode(errors="ignore")
    if window.endswith('"'):
        quoted = _QUOTED.search(window)
        return at - len(quoted[0].encode()) if quoted else None
    found = _run(window, dense=bool(window) and _DENSE.match(window[-1]) is not None)
    found = _trimmed(found, window[: len(window) - len(found)], text[stop : stop + 8].decode(errors="ignore"))
    size = len(found.encode())
    return at - size if 0 < size <= LOCAL and any(map(str.isalnum, found)) else None


def _run(window: str, dense: bool) -> str:
    """Return the characters at the end of the window that a local part may hold."""
    start = len(window)
    while start:
        c = window[start - 1]
        word = c.isalnum() or (c > "\u02ff" and unicodedata.category(c)[0] == "M")
        if not (c in _INSIDE or (word and (dense or not _DENSE.match(c)))):
            break
        start -= 1
    return window[start:]


def _trimmed(run: str, before: str, after: str) -> str:
    """Return a run of characters without what belongs to the text around the address."""
    if run and run[-1] in _ENDS_NOT:
        return ""
    *keys, last = run.split("=")
    verp = keys and "+" in keys[-1] and "." in last and is_top_level(last.rpartition(".")[2])
    run = f"{keys[-1]}={last}" if verp else last
    head, slash, _ = run.partition("/")
    if slash and (not head or before.endswith("\\") or ("." in head and is_top_level(head.rpartition(".")[2]))):
        run = run.rpartition("/")[2]
    while run and not (run[0].isalnum() or run[0] in _BEGINS):
        run = run[1:]
    for mark in _MARKUP:
        around = len(run) - len(run.lstrip(mark))
        if around and after.startswith(mark * around):
            run = run[around:]
    return run
