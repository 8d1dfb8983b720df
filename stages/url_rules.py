"""URL filters: block lists of domains, and of words in URLs.

Guarantees: reads files that the recipe names and the public suffix list that comes installed, no network; facts
carry the digest of both.
"""

from __future__ import annotations

import functools
import hashlib
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.core.stage import Decisions, ShardStage, param
from stages.detect import urls as url_parts
from stages.inputs import side_files

REASONS = ("no_url", "blocked_domain", "blocked_word")
SCHEMA = pa.schema(
    [
        ("domain", pa.string()),  # registered domain, null without URL
        ("blocked_by", pa.string()),  # LIST:ENTRY, null where no list names the domain
        ("words", pa.list_(pa.string())),  # listed words of the URL, each once
    ]
)
_ADDRESS = re.compile(r"^(?:0\.0\.0\.0|127\.0\.0\.1|::1?)\s+")  # before the name in lists made for /etc/hosts
_TOKEN = re.compile(r"[^\W_]+")


@dataclass(frozen=True, kw_only=True)
class UrlRules(ShardStage):
    """Drop documents whose URL stands on a block list.

    Reads: url. Writes: registered domain, the entry that blocks it, listed words. Drops: `blocked_domain`,
    `blocked_word` (more than `max_words` listed words), `no_url` (with `require_url`). An entry blocks a domain and
    those below it, up to the registered domain: `co.uk` or `github.io`, under which anybody registers, block only
    themselves, `.github.io` blocks all below it. Later lists give way to earlier ones.
    """

    use: ClassVar[str] = "url_rules"
    summary: ClassVar[str] = "Block lists of domains, and of words in URLs"
    version: ClassVar[int] = 2
    schema: ClassVar[pa.Schema] = SCHEMA

    domains: tuple[str, ...] = param((), "files of domains, one a line (# starts a comment), or PATH#COLUMN", fact=True)
    words: tuple[str, ...] = param((), "files of words, one a line; words with a hyphen are tokens in a row", fact=True)
    match: str = param("token", "words as whole tokens, or anywhere", fact=True, choices=("token", "substring"))
    max_words: int = param(0, "drop URLs with more listed words than this", ge=0)
    require_url: bool = param(False, "drop documents without a URL")

    def columns(self) -> tuple[str, ...]:
        return ("url",)

    def model_digest(self) -> str:
        parts = [url_parts.list_version(), *(_digest(path) for path in (*self.domains, *self.words))]
        return hashlib.blake2b("|".join(parts).encode(), digest_size=8).hexdigest()

    def annotate(self, documents: pa.Table) -> pa.Table:
        blocked, words, several = _domains(self.domains), _words(self.words), _several(self.words)
        urls = documents.column("url").to_pylist()
        hosts = [url_parts.host_of(url) if url else "" for url in urls]
        columns = [
            pa.array([url_parts.registered_domain(host) if host else None for host in hosts], pa.string()),
            pa.array([_blocking(host, blocked) for host in hosts], pa.string()),
            pa.array([self._listed(url, words, several) for url in urls], pa.list_(pa.string())),
        ]
        return pa.table(columns, schema=SCHEMA)

    def _listed(self, url: str | None, words: frozenset[str], several: Mapping[str, str]) -> list[str]:
        if not url or not words:
            return []
        text = unquote(url).lower()
        if self.match == "token":
            tokens = _TOKEN.findall(text)
            line = _spaced(tokens)
            return sorted({*words.intersection(tokens), *(word for word in several if several[word] in line)})
        return sorted(word for word in words if word in text)

    def decide(self, facts: pa.Table) -> Decisions:
        reason = np.full(facts.num_rows, -1, np.int16)
        count = pc.list_value_length(facts.column("words")).to_numpy().astype(np.float64)
        many = count > self.max_words
        reason[many] = 2
        reason[facts.column("blocked_by").is_valid().to_numpy()] = 1
        if self.require_url:
            reason[facts.column("domain").is_null().to_numpy()] = 0
        by_word = reason == 2
        return Decisions(
            reason, REASONS, np.where(by_word, count, np.nan), np.where(by_word, float(self.max_words), np.nan)
        )


def _spaced(tokens: list[str]) -> str:
    return f" {' '.join(tokens)} "


def _blocking(host: str, blocked: Mapping[str, str]) -> str | None:
    """Return the entry that blocks a host: its own name, a domain above it, or one that blocks all below it."""
    if not host or not blocked:
        return None
    registered = url_parts.registered_domain(host)
    labels = host.split(".")
    for i in range(len(labels)):
        name = ".".join(labels[i:])
        inside = name == registered or name.endswith("." + registered) or i == 0
        if inside and name in blocked:
            return f"{blocked[name]}:{name}"
        if i and "." + name in blocked:
            return f"{blocked['.' + name]}:.{name}"
    return None


def _lines(spec: str) -> list[str]:
    lines = (line.split("#", 1)[0].strip() for line in side_files.entries(spec))
    return [line for line in lines if line]


@functools.lru_cache(maxsize=64)
def _digest(path: str) -> str:
    return hashlib.blake2b("\n".join(_lines(path)).encode(), digest_size=8).hexdigest()


@functools.lru_cache(maxsize=8)
def _domains(paths: tuple[str, ...]) -> dict[str, str]:
    """Return the block list entries, a mapping from entry to the name of its list."""
    found: dict[str, str] = {}
    for path in paths:
        for line in _lines(path):
            entry = _ADDRESS.sub("", line).split()[0]
            below = entry.startswith((".", "*."))
            name = url_parts.host_of(entry.removeprefix("*").lstrip("."))
            found.setdefault("." + name if below else name, posixpath.basename(path.partition("#")[0]))
    return found


@functools.lru_cache(maxsize=8)
def _words(paths: tuple[str, ...]) -> frozenset[str]:
    return frozenset(line.lower() for path in paths for line in _lines(path))


@functools.lru_cache(maxsize=8)
def _several(paths: tuple[str, ...]) -> dict[str, str]:
    """Return a mapping from word list entries of several tokens (free-porn) to the tokens joined by blanks."""
    tokens = {word: _TOKEN.findall(word) for word in _words(paths)}
    return {word: _spaced(found) for word, found in tokens.items() if len(found) > 1}
