"""Benchmark files whose items must not stand in training data: read, and known by their n-grams.

Guarantees: an n-gram that occurs in more than `max_items` items (a prompt's frame) is known to no item; what is known
depends on the files' content and the parameters alone. Memory: the benchmarks' texts once, then their n-grams.
"""

from __future__ import annotations

import functools
import hashlib
import os
import posixpath
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster import storage
from cluster.errors import RecipeError
from stages.inputs import side_files
from stages.kernels.text import ngrams

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Known:
    """The n-grams of all items. keys: ascending; item: the first that holds each; counts: n-grams per item."""

    keys: U64
    item: I64
    counts: I64
    lengths: tuple[int, ...]  # in words, of the n-grams that are a whole text shorter than an n-gram
    bits: npt.NDArray[np.uint8]
    benchmarks: tuple[str, ...]  # name of the benchmark of every item
    numbers: tuple[str, ...]  # number of the item in its file, from 0


PLAIN, QUERY, LABEL, JOINED = range(4)  # what a text of an item is
Part = tuple[int, str]


def expand(specs: tuple[str, ...]) -> tuple[str, ...]:
    """Return specs with folders and globs replaced by the data files that they name, each with the spec's fields.

    Raises RecipeError where one names no data file.
    """
    found: list[str] = []
    for spec in specs:
        head, hash_, fields = spec.partition("#")
        name, equals, path = head.partition("=")
        path = path if equals else head
        if not _several(path):
            found.append(spec)
            continue
        prefix = f"{name}=" if equals else ""
        found += [f"{prefix}{file.path}{hash_}{fields}" for file in side_files.find(path)]
    return tuple(found)


def _several(path: str) -> bool:
    """Tell whether a path names a folder, or files by a pattern."""
    if any(sign in path for sign in "*?["):
        return not storage.exists(path)
    return (not storage.is_local(path) and path.endswith("/")) or os.path.isdir(storage.local_path(path))


def split_spec(spec: str) -> tuple[str, str, tuple[str, ...]]:
    """Return (name, path, fields) of [NAME=]PATH[#FIELD,FIELD]; no fields: all that hold text.

    A field may be QUERY+LABEL: the two are joined, and n-grams of either and of both are told apart.

    >>> split_spec("gsm8k=bench/test.jsonl#question,answer")
    ('gsm8k', 'bench/test.jsonl', ('question', 'answer'))
    """
    head, _, fields = spec.partition("#")
    name, equals, path = head.partition("=")
    path = path if equals else head
    stem = posixpath.basename(path).split(".")[0]
    return (name if equals else stem), path, tuple(f.strip() for f in fields.split(",") if f.strip())


def stamp(path: str) -> str:
    """Return the digest of a benchmark file. Raises RecipeError when it cannot be read."""
    local = storage.local_path(path) if storage.is_local(path) else None
    if local and os.path.exists(local):
        status = os.stat(local)
        return _digest(path, status.st_mtime_ns, status.st_size)
    return _digest(path, 0, 0)


@functools.lru_cache(maxsize=256)
def _digest(path: str, _: int, __: int) -> str:
    return hashlib.blake2b(_bytes(path), digest_size=8).hexdigest()


def _bytes(path: str) -> bytes:
    try:
        return storage.read_bytes(path)
    except OSError as error:
        raise RecipeError(f"the benchmark file {path} cannot be read ({error.strerror or error}).") from None


def parts(spec: str) -> Iterator[list[Part]]:
    """Yield the texts of every item of a benchmark file and what each is, one list per row.

    Of fields QUERY+LABEL each label comes as three: the query, the label, both joined by a space. Raises WinnowError
    where the file is damaged.
    """
    _, path, fields = split_spec(spec)
    for row in side_files.rows(path):
        found: list[Part] = []
        for field in fields or row:
            if field in row or "+" not in field:
                _check_fields(spec, row, (field,))
                found += [(PLAIN, text) for text in _texts(row[field])]
                continue
            query, _, label = field.partition("+")
            _check_fields(spec, row, (query, label))
            asked = " ".join(_texts(row[query]))
            for text in _texts(row[label]):
                found += [(QUERY, asked), (LABEL, text), (JOINED, f"{asked} {text}")]
        yield found


def _check_fields(spec: str, row: dict[str, Any], fields: tuple[str, ...]) -> None:
    missing = [field for field in fields if field not in row]
    if missing:
        raise RecipeError(
            f"benchmark {spec}: there is no field {missing[0]!r}; the fields are {', '.join(map(str, row))}."
        )


def _texts(value: Any) -> Iterator[str]:
    """Yield every text inside a value, lists and mappings followed."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def names(specs: tuple[str, ...]) -> tuple[str, ...]:
    """Return the name of every benchmark: as given, or the file's; of files that would share one, as much of the path
    as tells them apart, after the name that was given.

    >>> names(("a/test.jsonl#q", "b/test.jsonl", "gsm8k=gsm8k/main.jsonl"))
    ('a/test', 'b/test', 'gsm8k')
    >>> names(("x=a/test.jsonl", "x=a/test.csv"))
    ('x:test.jsonl', 'x:test.csv')
    """
    split = [split_spec(spec) for spec in specs]
    paths: dict[str, set[str]] = {}
    for name, path, _ in split:
        paths.setdefault(name, set()).add(path)
    return tuple(
        name if len(paths[name]) == 1 else _told_apart(name, path, paths[name], "=" in spec.partition("#")[0])
        for spec, (name, path, _) in zip(specs, split, strict=True)
    )


def _told_apart(name: str, path: str, among: set[str], given: bool) -> str:
    """Return a benchmark's name with the shortest end of its path that no other file of this name has."""
    ends = [_end(path, depth, stem) for depth in range(1, path.count("/") + 2) for stem in (True, False)]
    others = among - {path}
    taken = {_end(other, depth, stem) for other in others for depth in range(1, 99) for stem in (True, False)}
    end = next((end for end in ends if end not in taken), path)
    return f"{name}:{end}" if given else end


def _end(path: str, depth: int, stem: bool) -> str:
    """Return the last parts of a path, with or without the endings of the file's name."""
    *folders, file = path.split("/")[-depth:]
    return "/".join([*folders, file.split(".")[0] if stem else file])


def load(
    specs: tuple[str, ...], width: int, shortest: int, max_items: int, *, query: bool = True, overlap: bool = True
) -> Known:
    """Return what is known of these benchmarks. Raises RecipeError when a file cannot be read or holds no n-gram.

    query, overlap : of fields QUERY+LABEL, whether n-grams of the query alone, and of both, are known.
    """
    specs = expand(specs)
    return _load(specs, width, shortest, max_items, query, overlap, tuple(stamp(split_spec(s)[1]) for s in specs))


def digest_of(specs: tuple[str, ...]) -> str:
    """Return the digest of benchmark files. Raises RecipeError when one cannot be read."""
    return "|".join(stamp(split_spec(spec)[1]) for spec in expand(specs))


@functools.lru_cache(maxsize=2)
def _load(
    specs: tuple[str, ...], width: int, shortest: int, max_items: int, query: bool, overlap: bool, _: tuple[str, ...]
) -> Known:
    texts: list[Part] = []
    owner: list[int] = []
    benchmarks: list[str] = []
    numbers: list[str] = []
    for spec, name in zip(specs, names(specs), strict=True):
        for number, found in enumerate(parts(spec)):
            texts += found
            owner += [len(numbers)] * len(found)
            benchmarks.append(name)
            numbers.append(str(number))
    hashes, where = ngrams.grams(pa.array([text for _, text in texts], pa.large_string()), width, shortest)
    wanted = _wanted(np.array([kind for kind, _ in texts], np.int64), hashes, where, query, overlap)
    hashes, where = hashes[wanted], where[wanted]
    if not len(hashes):
        raise RecipeError(
            f"the benchmarks {', '.join(specs)} hold no text of {shortest} words or more. Name the fields that hold "
            "the questions: PATH#question."
        )
    item = np.array(owner, np.int64)[where[:, 0]]
    pairs = np.unique(np.stack([hashes, item.astype(np.uint64)]), axis=1)
    keys, first, common = np.unique(pairs[0], return_index=True, return_counts=True)
    rare = common <= max_items
    counts = np.bincount(pairs[1][np.isin(pairs[0], keys[rare])].astype(np.int64), minlength=len(numbers))
    keys, holder = keys[rare], pairs[1][first[rare]].astype(np.int64)
    lengths = tuple(np.unique(where[where[:, 2] > 0, 1]).tolist())
    known_as = tuple(benchmarks), tuple(numbers)
    return Known(keys, holder, counts.astype(np.int64), lengths, ngrams.bitmap(keys), *known_as)


def _wanted(kind: I64, hashes: U64, where: I64, query: bool, overlap: bool) -> npt.NDArray[np.bool_]:
    """Mark the n-grams that count: of plain texts and labels, of queries and of both if wanted, (n-grams,)."""
    of = kind[where[:, 0]]
    found: npt.NDArray[np.bool_] = (of == PLAIN) | (of == LABEL) | ((of == QUERY) & query)
    if not overlap:
        return found
    bounds = np.searchsorted(where[:, 0], np.arange(len(kind) + 1))
    for text in np.flatnonzero(kind == JOINED).tolist():
        left = Counter(hashes[slice(*bounds[text - 2 : text])].tolist())  # those of the query, then of the label
        left.update(hashes[slice(*bounds[text - 1 : text + 1])].tolist())
        for at in range(bounds[text], bounds[text + 1]):
            h = int(hashes[at])
            found[at] = left[h] == 0
            left[h] -= left[h] > 0
    return found
