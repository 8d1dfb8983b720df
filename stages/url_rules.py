"""URL filters: block lists of domains and whole URLs, Adblock rules, and lists of words in URLs.

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

from cluster.errors import RecipeError
from stages.core.stage import Decisions, ShardStage, param
from stages.detect import adblock_rules
from stages.detect import urls as url_parts
from stages.inputs import side_files
from stages.inputs.columns import COLUMN

REASONS = (
    "no_url",
    "blocked_domain",
    "blocked_word",
    "blocked_url",
    "blocked_rule",
    "blocked_soft_words",
    "blocked_subword",
)
SCHEMA = pa.schema(
    [
        ("domain", pa.string()),  # registered domain, null without URL
        ("blocked_by", pa.string()),  # LIST:ENTRY, null where no list names the domain
        ("words", pa.list_(pa.string())),  # listed words of the URL, each once
        ("url_listed", pa.string()),  # LIST:ENTRY, null where no list names the whole URL
        ("rule", pa.string()),  # Adblock rule that blocks it
        ("soft_words", pa.list_(pa.string())),
        ("subword", pa.string()),  # first listed one
    ]
)
_ADDRESS = re.compile(r"^(?:0\.0\.0\.0|127\.0\.0\.1|::1?)\s+")  # before the name in lists made for /etc/hosts
_TOKEN = re.compile(r"[^\W_]+")


@dataclass(frozen=True, kw_only=True)
class UrlRules(ShardStage):
    """Drop documents whose URL stands on a block list.

    Reads: url. Writes: registered domain, the entries that block it, listed words. Drops: `blocked_domain`,
    `blocked_url`, `blocked_rule` (Adblock), `blocked_word` (more than `max_words` listed words), `blocked_soft_words`
    (more than `max_soft_words`), `blocked_subword`, `no_url` (with `require_url`). An entry blocks a domain and
    those below it, up to the registered domain: `co.uk` or `github.io`, under which anybody registers, block only
    themselves, `.github.io` blocks all below it. Later lists give way to earlier ones. RefinedWeb (Penedo et al. 2023,
    arXiv:2306.01116v1, G.1) has all four: domains, subwords, words, two soft words.
    """

    use: ClassVar[str] = "url_rules"
    summary: ClassVar[str] = "Block lists of domains and URLs, and of words in URLs"
    version: ClassVar[int] = 3  # 2 blocked the whole host of an entry with a path
    schema: ClassVar[pa.Schema] = SCHEMA

    domains: tuple[str, ...] = param((), "files of domains, one a line (# starts a comment), or PATH#COLUMN", fact=True)
    urls: tuple[str, ...] = param((), "files of whole URLs, one a line, or PATH#COLUMN", fact=True)
    adblock: tuple[str, ...] = param((), "files of Adblock Plus rules (extra adblock)", fact=True)
    words: tuple[str, ...] = param((), "files of words, one a line; words with a hyphen are tokens in a row", fact=True)
    soft_words: tuple[str, ...] = param((), "files of words of which a URL may have some", fact=True)
    subwords: tuple[str, ...] = param((), "files of words looked for in the URL's letters and digits", fact=True)
    match: str = param("token", "words as whole tokens, or anywhere", fact=True, choices=("token", "substring"))
    subdomains: str = param(
        "all",
        "what an entry blocks below it: all, or all below a registered domain only",
        fact=True,
        choices=("all", "registered"),
    )
    second_url: str = param("", "input column with the URL of documents that have none", fact=True, metavar="COLUMN")
    max_words: int = param(0, "drop URLs with more listed words than this", ge=0)
    max_soft_words: int = param(1, "drop URLs with more soft words than this", ge=0)
    require_url: bool = param(False, "drop documents without a URL")

    def columns(self) -> tuple[str, ...]:
        return ("url", COLUMN + self.second_url) if self.second_url else ("url",)

    def model_digest(self) -> str:
        lists = (*self.urls, *self.words, *self.soft_words, *self.subwords)
        parts = [url_parts.list_version(), *(_digest(path, hosts=True) for path in self.domains)]
        parts += [*(_digest(path, hosts=False) for path in lists), adblock_rules.digest_of(self.adblock)]
        return hashlib.blake2b("|".join(parts).encode(), digest_size=8).hexdigest()

    def annotate(self, documents: pa.Table) -> pa.Table:
        urls = self._urls(documents)
        hosts = [url_parts.host_of(url) if url else "" for url in urls]
        blocked, whole, every = _domains(self.domains), _whole_urls(self.urls), self.subdomains == "all"
        columns = [
            pa.array([url_parts.registered_domain(host) if host else None for host in hosts], pa.string()),
            pa.array([_blocking(host, blocked, every) for host in hosts], pa.string()),
            pa.array([self._listed(url, self.words, self.match) for url in urls], pa.list_(pa.string())),
            pa.array([whole.get(url_parts.whole_url(url)) if url and whole else None for url in urls], pa.string()),
            pa.array(adblock_rules.blocking_rules(self.adblock, urls), pa.string()),
            pa.array([self._listed(url, self.soft_words, "token") for url in urls], pa.list_(pa.string())),
            pa.array([_subword(url, self.subwords) for url in urls], pa.string()),
        ]
        return pa.table(columns, schema=SCHEMA)

    def _urls(self, documents: pa.Table) -> list[str | None]:
        """Return the URL of every document, from the second column where the first has none."""
        urls: list[str | None] = documents.column("url").to_pylist()
        if not self.second_url:
            return urls
        second = documents.column(COLUMN + self.second_url).to_pylist()
        return [url or (other if isinstance(other, str) else None) for url, other in zip(urls, second, strict=True)]

    def _listed(self, url: str | None, lists: tuple[str, ...], match: str) -> list[str]:
        if not url or not lists:
            return []
        words, several = _words(lists), _several(lists)
        text = unquote(url).lower()
        if match == "token":
            tokens = _TOKEN.findall(text)
            line = _spaced(tokens)
            return sorted({*words.intersection(tokens), *(word for word in several if several[word] in line)})
        return sorted(word for word in words if word in text)

    def decide(self, facts: pa.Table) -> Decisions:
        reason = np.full(facts.num_rows, -1, np.int16)
        value, threshold = np.full(facts.num_rows, np.nan), np.full(facts.num_rows, np.nan)
        reason[facts.column("subword").is_valid().to_numpy()] = 6
        counted = (("soft_words", self.max_soft_words, 5), ("words", self.max_words, 2))
        for name, most, code in counted:
            count = pc.list_value_length(facts.column(name)).to_numpy().astype(np.float64)
            many = count > most
            reason[many], value[many], threshold[many] = code, count[many], float(most)
        for name, code in (("rule", 4), ("url_listed", 3), ("blocked_by", 1)):
            reason[facts.column(name).is_valid().to_numpy()] = code
        if self.require_url:
            reason[facts.column("domain").is_null().to_numpy()] = 0
        by_words = np.isin(reason, (2, 5))
        return Decisions(reason, REASONS, np.where(by_words, value, np.nan), np.where(by_words, threshold, np.nan))


def _spaced(tokens: list[str]) -> str:
    return f" {' '.join(tokens)} "


def _subword(url: str | None, lists: tuple[str, ...]) -> str | None:
    """Return the first listed word, by the alphabet, in a URL's letters and digits."""
    if not url or not lists:
        return None
    bare = "".join(_TOKEN.findall(url.lower()))
    if not _any_subword(lists).search(bare):
        return None
    return min(word for word in _bare_words(lists) if word in bare)


def _blocking(host: str, blocked: Mapping[str, str], every: bool) -> str | None:
    """Return the entry that blocks a host: its own name, a domain above it, or one that blocks all below it.

    every: entries block all below them; else only those do that are the registered domain.
    """
    if not host or not blocked:
        return None
    registered = url_parts.registered_domain(host)
    labels = host.split(".")
    for i in range(len(labels)):
        name = ".".join(labels[i:])
        inside = name == registered or (every and name.endswith("." + registered)) or i == 0
        if inside and name in blocked:
            return f"{blocked[name]}:{name}"
        if i and "." + name in blocked:
            return f"{blocked['.' + name]}:.{name}"
    return None


def _lines(spec: str) -> list[str]:
    lines = (line.split("#", 1)[0].strip() for line in side_files.entries(spec))
    return [line for line in lines if line]


def _host_lines(spec: str) -> list[str]:
    """Return the entries of a list of domains. Raises RecipeError where one is a URL."""
    found = [_ADDRESS.sub("", line).split()[0] for line in _lines(spec)]
    wrong = next((entry for entry in found if "/" in entry), None)
    if wrong is not None:
        raise RecipeError(
            f"domains must list hosts, got {wrong!r} in {spec}, which would block all of its host (stage url_rules). "
            "Put whole URLs into a list of their own, and name it in urls."
        )
    return found


@functools.lru_cache(maxsize=64)
def _digest(path: str, *, hosts: bool) -> str:
    lines = _host_lines(path) if hosts else _lines(path)
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()


@functools.lru_cache(maxsize=8)
def _domains(paths: tuple[str, ...]) -> dict[str, str]:
    """Return the block list entries, a mapping from entry to the name of its list."""
    found: dict[str, str] = {}
    for path in paths:
        for entry in _host_lines(path):
            below = entry.startswith((".", "*."))
            name = url_parts.host_of(entry.removeprefix("*").lstrip("."))
            found.setdefault("." + name if below else name, _name(path))
    return found


def _name(path: str) -> str:
    return posixpath.basename(path.partition("#")[0])


@functools.lru_cache(maxsize=8)
def _whole_urls(paths: tuple[str, ...]) -> dict[str, str]:
    """Return the listed URLs as they are compared, a mapping to LIST:URL."""
    found: dict[str, str] = {}
    for path in paths:
        for line in side_files.entries(path):
            if line.strip() and not line.lstrip().startswith("#"):
                found.setdefault(url_parts.whole_url(line), f"{_name(path)}:{line.strip()}")
    found.pop("", None)
    return found


@functools.lru_cache(maxsize=8)
def _words(paths: tuple[str, ...]) -> frozenset[str]:
    return frozenset(line.lower() for path in paths for line in _lines(path))


@functools.lru_cache(maxsize=8)
def _several(paths: tuple[str, ...]) -> dict[str, str]:
    """Return a mapping from word list entries of several tokens (free-porn) to the tokens joined by blanks."""
    tokens = {word: _TOKEN.findall(word) for word in _words(paths)}
    return {word: _spaced(found) for word, found in tokens.items() if len(found) > 1}


@functools.lru_cache(maxsize=8)
def _bare_words(paths: tuple[str, ...]) -> frozenset[str]:
    """Return list entries as they are looked for among a URL's letters and digits."""
    return frozenset(bare for word in _words(paths) if (bare := "".join(_TOKEN.findall(word))))


@functools.lru_cache(maxsize=8)
def _any_subword(paths: tuple[str, ...]) -> re.Pattern[str]:
    words = sorted(_bare_words(paths))
    return re.compile("|".join(map(re.escape, words)) or r"(?!)")
