"""The parts of a URL: host, and registered domain by the public suffix list.

Guarantees: the list is the one that comes with the package publicsuffixlist (its version is stated); nothing is
fetched. Private suffixes (github.io) count, as they separate owners.
"""

from __future__ import annotations

import functools
import importlib.metadata
import ipaddress
import re
from typing import Any

_HOST = re.compile(r"^(?:[a-z][a-z0-9+.\-]*:)?//(?:[^/?#\\]*@)?(\[[^\]]*\]|[^/?#:\\]*)", re.IGNORECASE)


def list_version() -> str:
    """Return the version of the public suffix list in use."""
    return importlib.metadata.version("publicsuffixlist")


@functools.cache
def _list() -> Any:
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList(accept_unknown=True, only_icann=False)


@functools.cache
def suffixes() -> frozenset[str]:
    """Return the public suffixes, in lower case and punycode."""
    from importlib import resources

    text = (resources.files("publicsuffixlist") / "public_suffix_list.dat").read_text(encoding="utf-8")
    lines = (line.split()[0] for line in text.splitlines() if line.strip() and not line.startswith("//"))
    return frozenset(ascii_name(line) for line in lines)


def ascii_name(name: str) -> str:
    """Return a domain name in lower case and punycode; what cannot be encoded stays as it is.

    >>> ascii_name("MÜNCHEN.de")
    'xn--mnchen-3ya.de'
    """
    name = name.strip().rstrip(".").lower()
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name


def host_of(url: str) -> str:
    """Return a URL's host, without user, port and final dot; "" where there is none.

    >>> host_of("https://user@WWW.Example.co.uk:8080/path"), host_of("example.com/path")
    ('www.example.co.uk', 'example.com')
    """
    url = url.strip()
    m = _HOST.match(url) or _HOST.match("//" + url)
    return ascii_name(m[1]) if m else ""


@functools.lru_cache(maxsize=1 << 16)
def registered_domain(host: str) -> str:
    """Return the domain that somebody registered: one label more than the public suffix; a bare address as it is.

    >>> registered_domain("a.b.example.co.uk"), registered_domain("me.github.io"), registered_domain("1.2.3.4")
    ('example.co.uk', 'me.github.io', '1.2.3.4')
    """
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return str(_list().privatesuffix(host) or host)
    return host


_SCHEME = re.compile(r"^[a-z][a-z0-9+.\-]*://", re.IGNORECASE)
_PORT = re.compile(r"^:(\d*)")
_USUAL_PORTS = ("", "80", "443")


def whole_url(url: str) -> str:
    """Return a URL by which addresses are compared: without scheme, user, usual port, fragment and final slash.

    Host names have no case, paths and queries have. "" where there is no host.

    >>> whole_url("HTTPS://me@Example.com:443/a/b/?q=1#top"), whole_url("example.com/a/")
    ('example.com/a/b/?q=1', 'example.com/a')
    """
    url = url.strip()
    m = _HOST.match(url) or _HOST.match(url := "//" + url)
    host = ascii_name(m[1]) if m else ""
    if m is None or not host:
        return ""
    rest = url[m.end() :].split("#", 1)[0]
    port = _PORT.match(rest)
    if port:
        rest = rest[port.end() :]
        host += "" if port[1] in _USUAL_PORTS else f":{port[1]}"
    return host + (rest if "?" in rest else rest.rstrip("/"))


def with_scheme(url: str) -> str:
    """Return a URL with a scheme, https where it has none."""
    url = url.strip()
    return url if _SCHEME.match(url) else "https://" + url.removeprefix("//")
