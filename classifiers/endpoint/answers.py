"""Answers kept in the run folder: append-only files, one folder for each model with its prompt and parameters.

A question has the key (digest of the text as it is asked, number of the vote). Before a request is sent, what it may
take at most is noted (`asked`); what came of it is noted after that. So a run that was killed asks no answered
question again, and counts what was under way when it died as spent. Keys are cut into 2^level ranges by their leading
bits, and a file holds keys of one range, so that a task reads and holds those that it needs alone.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from cluster import storage
from cluster.files import append_log
from cluster.files.append_log import AppendLog, logs, records
from cluster.files.sealed import write_public_json

LOG = logging.getLogger("winnow.endpoint")
FOLDER = "answers"
ABOUT = "about.json"
OK = "ok"
MOST_TOKENS = 1 << 40  # of a request
UNSENT = "unsent"  # the attempt ended before a server had the question


class Tokens(NamedTuple):
    """Tokens of questions and of answers."""

    asked: int = 0
    answered: int = 0

    def plus(self, other: Tokens) -> Tokens:
        return Tokens(self.asked + other.asked, self.answered + other.answered)


NONE = Tokens()


@dataclass
class Known:
    """What is kept of one question. failures: why attempts brought no answer; under_way: attempts without an end."""

    content: str | None = None
    failures: list[str] = field(default_factory=list)
    under_way: int = 0


@dataclass(frozen=True)
class Range:
    """Range `index` of 2^level equal ranges of keys."""

    level: int = 0
    index: int = 0

    @property
    def name(self) -> str:
        return f"{self.level}-{self.index}"

    def meets(self, name: str) -> bool:
        """Tell whether a file of this name may hold keys of the range."""
        level, index = map(int, name.split("-"))
        least = min(level, self.level)
        return self.index >> (self.level - least) == index >> (level - least)


@dataclass
class Spent:
    """What a folder of answers has cost so far, requests under way counted in full.

    excess: how many times the tokens that were reserved a request took at most; 1 where none took more.
    """

    requests: int = 0
    tokens: Tokens = NONE
    excess: float = 1.0

    def plus(self, other: Spent) -> Spent:
        tokens = self.tokens.plus(other.tokens)
        return Spent(self.requests + other.requests, tokens, max(self.excess, other.excess))


def folder_of(root: str, asker_digest: str) -> str:
    """Return the folder of the answers of an asker in a run folder."""
    return storage.join(root, FOLDER, asker_digest)


def key_of(digest: bytes, vote: int) -> str:
    """Return the key of a question: 32 hexadecimal digits of the text's digest, and the vote."""
    return f"{digest.hex()}.{vote}"


def known(folder: str, part: Range, wanted: Collection[str]) -> dict[str, Known]:
    """Return what is kept of the wanted questions, whose keys lie in one range."""
    wanted = set(wanted)
    found: dict[str, Known] = {}
    for name, paths in logs(folder).items():
        for path in paths if part.meets(name) else ():
            for record in _parsed(path):
                if record["k"] in wanted:
                    _note(found.setdefault(record["k"], Known()), record)
    return found


def _note(one: Known, record: dict[str, Any]) -> None:
    if "a" in record:
        one.under_way += 1
        return
    one.under_way = max(0, one.under_way - 1)
    if record["s"] == OK:
        one.content = record["c"]
    elif record["s"] != UNSENT:
        one.failures.append(record["s"])


def spent(path: str) -> Spent:
    """Return what the requests of one file of answers have cost."""
    total, under_way = Spent(), dict[str, Tokens]()
    for record in _parsed(path):
        if "a" in record:
            total.requests += 1
            under_way[record["k"]] = Tokens(*record["a"])
        else:
            begun = record["k"] in under_way
            reserved = under_way.pop(record["k"], NONE)
            took = Tokens(*record["u"])
            total.tokens = total.tokens.plus(took)
            for used, most in zip(took, reserved, strict=True):
                total.excess = max(total.excess, used / most if most else 1.0)
            total.requests -= begun and record["s"] == UNSENT
    for reserved in under_way.values():  # of a run that died
        total.tokens = total.tokens.plus(reserved)
    return total


def files(folder: str) -> list[str]:
    """Return the paths of all files of a folder of answers."""
    return [path for paths in logs(folder).values() for path in paths]


def _parsed(path: str) -> Iterator[dict[str, Any]]:
    lost = 0
    for line in records(path):
        record = None if line is None else _record(line)
        lost += record is None
        if record is not None:
            yield record
    if lost:
        LOG.warning("%s: %d lines are cut off or damaged; what they answered is asked again", path, lost)


def _record(line: bytes) -> dict[str, Any] | None:
    """Return what a line says as `Writer` writes it; None where it says something else, though its checksum fits."""
    try:
        found = orjson.loads(line)
    except ValueError:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("k"), str):
        return None
    tokens = found.get("a", found.get("u"))
    counted = isinstance(tokens, list) and len(tokens) == len(NONE) and all(map(_is_count, tokens))
    status = found.get("s")
    ended = isinstance(status, str) and (status != OK or isinstance(found.get("c"), str))
    return found if counted and ("a" in found or ended) else None


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number < MOST_TOKENS


def damaged_lines(path: str) -> int:
    """Return how many lines of a file the reader passes over, but for a last one that was never finished."""
    return append_log.damaged_lines(path, lambda record: _record(record) is not None)


def describe(folder: str, what: dict[str, Any]) -> None:
    """Write beside the answers whose they are, for people."""
    path = storage.join(folder, ABOUT)
    if not storage.exists(path):
        write_public_json(path, what)


class Writer:
    """Notes what is asked and answered in one range of keys. Each attempt that is begun must be ended."""

    def __init__(self, folder: str, part: Range) -> None:
        self._log = AppendLog(folder, part.name)

    def asked(self, key: str, most: tuple[int, int]) -> None:
        """Note that a request is sent which may take so many tokens."""
        self._log.append(orjson.dumps({"k": key, "a": most}))

    def ended(self, key: str, status: str, tokens: Tokens, content: str | None = None) -> None:
        """Note what came of a request and the tokens that it took."""
        more = {} if content is None else {"c": content}
        self._log.append(orjson.dumps({"k": key, "s": status, "u": list(tokens), **more}))

    def close(self) -> None:
        self._log.close()
