"""What is counted in blocks of ledger files, kept from one report to the next, so that only changed files are read.

A block is consecutive shards of one dataset, up to a ledger batch of rows. What was counted in it is kept in
`exchange/ledger-counts`, one file a task, under a digest of its shards and of size, times and inode (in a store: ETag)
of their ledger files; and where these were written again, under a digest of what the columns that are counted are made
from. To tell that, a file is read whole once, for all kinds of count. A store's folder is listed once, by the caller,
who sends tasks the first of these digests. Guarantees: a file in which a column changed is read again; what is kept
may be removed at any time, and is not written where there is no `exchange/` (`winnow clean`) or where nobody may write.
Memory: what a task's blocks count, some kB each.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeGuard, TypeVar

from cluster import storage
from cluster.engines import Engine
from cluster.errors import DamagedError
from cluster.files.sealed import read_json, write_json
from cluster.version import VERSION as WINNOW
from pipelines.artefacts import ShardRow
from pipelines.document_counts import Counts, check_counts, counts_of
from pipelines.ledger_records import families_of
from pipelines.ledger_tasks import Task, ledger_tasks, rows_of, shards_of, tasks_with_shards
from pipelines.run_tables import BATCH_FILES, BATCH_ROWS
from pipelines.runfolder import RunFolder
from stages.core.digests import digest
from stages.inputs.files.file_versions import listed_tokens, stat_token
from stages.outcome.ledger import FAMILIES, WITHOUT_GROUPS

VERSION = 2  # 1 kept no digest of content
CONTENT, COUNTED = "content", "counted"
EXCHANGE = "exchange"
COUNTS = f"{EXCHANGE}/ledger-counts"
NOT_COUNTS = (KeyError, TypeError, ValueError, IndexError, AttributeError)  # what is kept has another form
T = TypeVar("T")


class Marked(NamedTuple):
    """A task on the ledger. marks: of its blocks, as their files were listed; None: the task looks at the files."""

    task: Task
    marks: tuple[str, ...] | None = None


def marked_tasks(folder: RunFolder) -> list[Marked]:
    """Return the tasks of a pass over the ledger; in a store, with the marks of their blocks, by one listing."""
    if storage.is_local(folder.root):
        return [Marked(task) for task in ledger_tasks(folder)]
    tokens = listed_tokens(folder.path("ledger"))
    return [
        Marked(task, tuple(_mark(block, partial(_listed, tokens)) for block in _blocks(rows_of(shards))))
        for task, shards in tasks_with_shards(folder)
    ]


def count_blocks(
    root: str,
    kind: str,
    marked: Marked,
    count: Callable[[list[ShardRow]], T],
    to_json: Callable[[T], Any],
    of_json: Callable[[Any], T],
    families: int = len(FAMILIES),
) -> list[T]:
    """Return what is counted in each block of a task, in ledger order.

    kind : of what is counted, part of the name of the file it is kept in.
    count : reads the ledger of a block's shards.
    to_json, of_json : turn what is counted into what is kept of it, and back; the second raises one of NOT_COUNTS where
        what is kept is not that, or not enough: then the block is counted.
    families : how many families of the ledger's columns are counted (`stages/outcome/ledger.py`), the first ones.
    """
    task = marked.task
    path = storage.join(root, COUNTS, f"{kind}-{digest(task.dataset)}-{task.first}.json")
    keeps = storage.exists(storage.join(root, EXCHANGE))
    read = _read(path) if keeps else {}
    contents = _Contents(root, task)
    by_content = {entry[CONTENT]: entry for entry in read.values() if isinstance(entry, dict) and entry.get(CONTENT)}
    counted: list[T] = []
    kept: dict[str, Any] = {}
    for number, shards in enumerate(_blocks(shards_of(root, task))):
        mark = _mark(shards, partial(_looked_at, root)) if marked.marks is None else marked.marks[number]
        entry = read.get(mark)
        if keeps and not (isinstance(entry, dict) and CONTENT in entry):
            content = contents.of(mark, shards, families)
            entry = {CONTENT: content, COUNTED: by_content.get(content, {}).get(COUNTED)}
        entry = entry or {}
        try:
            counted.append(of_json(entry[COUNTED]))
        except NOT_COUNTS:
            counted.append(count(shards))
            entry = {**entry, COUNTED: to_json(counted[-1])}
        if mark:
            kept[mark] = entry
    if keeps and kept != read:
        with contextlib.suppress(OSError):  # a reader who may not write counts all each time
            write_json(path, kept, scratch=True)
    contents.keep(kept)
    return counted


def _blocks(shards: Sequence[ShardRow]) -> Iterator[list[ShardRow]]:
    held: list[ShardRow] = []
    rows = 0
    for shard in shards:
        if held and (rows + shard["rows"] > BATCH_ROWS or len(held) == BATCH_FILES):
            yield held
            held, rows = [], 0
        held.append(shard)
        rows += shard["rows"]
    if held:
        yield held


def _mark(shards: Sequence[ShardRow], token: Callable[[str], str]) -> str:
    """Return the digest of a block's files as they are; empty where one is missing. token: of a file by its name."""
    try:
        tokens = [token(f"{shard['ordinal']}.parquet") for shard in shards]
    except FileNotFoundError:
        return ""
    return digest(VERSION, WINNOW, [list(shard.values()) for shard in shards], tokens)


def _looked_at(root: str, name: str) -> str:
    return stat_token(storage.join(root, "ledger", name))


def _listed(tokens: Mapping[str, str], name: str) -> str:
    if name not in tokens:
        raise FileNotFoundError(name)
    return tokens[name]


class _Contents:
    """What the columns of a task's blocks are made from: told for one kind of count, kept for all others."""

    def __init__(self, root: str, task: Task) -> None:
        self._root, self._task = root, task
        self._path = storage.join(root, COUNTS, f"made-from-{digest(task.dataset)}-{task.first}.json")
        self._told: dict[str, list[str]] = {}

    @functools.cached_property
    def _kept(self) -> dict[str, Any]:
        return _read(self._path)

    def of(self, mark: str, shards: Sequence[ShardRow], families: int) -> str:
        """Return the digest of what the first families of columns in a block are made from; empty if not told."""
        found = self._kept.get(mark) if mark else None
        if not _is_content(found):
            found = _content(self._root, self._task, shards)
            if found:
                self._told[mark] = found
        return str(found[families - 1]) if found else ""

    def keep(self, marks: Collection[str]) -> None:
        """Write what was told of blocks with these marks, for other kinds of count."""
        told = {mark: content for mark, content in self._told.items() if mark in marks}
        if told:
            earlier = {mark: content for mark, content in self._kept.items() if mark in marks}
            with contextlib.suppress(OSError):
                write_json(self._path, {**earlier, **told}, scratch=True)


def _is_content(found: Any) -> TypeGuard[list[str]]:
    return isinstance(found, list) and len(found) == len(FAMILIES) and all(isinstance(each, str) for each in found)


def _content(root: str, task: Task, shards: Sequence[ShardRow]) -> list[str]:
    """Return digests of what a block's columns are made from: of the first family, the first two, …; none if not told.

    Reads the files whole: what is told is told of the bytes that the ledger lists.
    """
    made_from = families_of(root, task.manifest, [shard["ordinal"] for shard in shards])
    rows = [list(shard.values()) for shard in shards]
    parts = [each for each in made_from if len(each) == len(FAMILIES)]
    numbers = range(1, len(FAMILIES) + 1) if parts else ()
    return [digest(VERSION, WINNOW, rows, [each[:n] for each in parts]) for n in numbers]


def _read(path: str) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (FileNotFoundError, DamagedError):
        return {}
    return found if isinstance(found, dict) else {}


def count_documents(folder: RunFolder, engine: Engine) -> dict[str, Counts]:
    """Return the documents per dataset, counted from the ledger. Raises LedgerError unless they add up."""
    found = {name: Counts() for name in folder.datasets}
    tasks = marked_tasks(folder)
    for each, part in zip(tasks, engine.map(partial(_count, folder.root, folder.copies_column), tasks), strict=True):
        found[each.task.dataset] = found[each.task.dataset].plus(part)
    for name, counts in found.items():
        check_counts(folder.root, name, counts)
    return found


def _count(root: str, copies: str, task: Marked) -> Counts:
    total = Counts()
    kind, count = f"documents-{digest(copies)}", partial(_count_block, root, copies)
    for part in count_blocks(root, kind, task, count, _to_json, _of_json, WITHOUT_GROUPS):
        total = total.plus(part)
    return total


def _count_block(root: str, copies: str, shards: list[ShardRow]) -> Counts:
    total = Counts()
    for table in RunFolder(root).ledger_of(shards, ["kept", copies, "stage", "reason"]):
        total = total.plus(counts_of(table, copies))
    return total


def _to_json(counts: Counts) -> dict[str, Any]:
    dropped = [[*key, number] for key, number in counts.dropped.items()]
    return {"numbers": [counts.rows, counts.kept, counts.in_mix, counts.copies], "dropped": dropped}


def _of_json(data: Any) -> Counts:
    rows, kept, in_mix, copies = (int(number) for number in data["numbers"])
    dropped = {(str(stage), str(reason)): int(number) for stage, reason, number in data["dropped"]}
    return Counts(rows=rows, kept=kept, in_mix=in_mix, copies=copies, dropped=dropped)
