"""Freeze the inputs into the manifest, and notice when they change afterwards.

Shards are numbered and bundled as in a new folder (`arrange.py`); facts of what is frozen stay. A changed or vanished
shard stops the run unless `refresh` is given, which retires it. Files that cannot be read by row are staged here, once.

Guarantees: manifest, bundles and limit change together (`write_manifest`). A file whose size, times and inode (or marks
of its store) are those of the freeze is unchanged; any other is hashed from end to end and compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from cluster import storage
from cluster.engines import Engine, Growth, TaskCost
from cluster.errors import DamagedError, RecipeError, ShardError
from cluster.files.records import read_public_record, read_record
from cluster.files.sealed import write_json, write_public_json
from stages.core import manifest
from stages.core.costs import Quantity
from stages.core.manifest import Manifest
from stages.core.run import Run
from stages.core.shard import Dataset, Shard, check_limits
from stages.inputs.files.discover import Found, discover, look
from stages.inputs.files.file_versions import fingerprint, same_token, stat_token
from stages.inputs.files.left_out import Entry, PassedOver
from stages.inputs.reader import Layout, Problem, count_and_layout, stage_compressed
from stages.inputs.schema import Columns
from stages.passes import quarantined
from stages.passes.adopt import adopt_facts
from stages.passes.arrange import Taken, arrange
from stages.passes.widen import write_types

FILES_PER_TASK = 64
FILES = Growth(quantity=Quantity.FILES)
HASH = TaskCost(name="hash touched files", tasks=FILES, work=FILES, rare=True)
Tokens = dict[str, list[Any]]  # path -> stat token, and fingerprint of the content that had it


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """What was learnt of one file; its columns are joined with those of others at once."""

    dataset: str
    found: Found
    fingerprint: str
    token: str
    layout: Layout


def freeze(
    engine: Engine,
    run: Run,
    *,
    limit: int | None = None,
    refresh: bool = False,
    done: Callable[[object], None] | None = None,
) -> Manifest:
    """Return the manifest of the run folder, made or extended from what the datasets' paths hold."""
    old = manifest.read_manifest(run.root)
    before, tokens = (old.limit, _read_tokens(run.root)) if old is not None else (limit, {})
    if before != limit and limit is not None:
        raise _other_limit(run.root, before, limit)
    found = {d.name: discover(d) for d in run.datasets}
    files = {name: entry.files for name, entry in found.items()}
    _write_passed_over(run.root, {name: entry.passed_over for name, entry in found.items()})
    _hash_touched(engine, old, files, tokens)
    kept, retired, new = _compare(old, files, tokens, refresh, limit)
    if old is not None:
        quarantined.name_by_content(run.root, old)
    if before is not None and limit is None:
        kept, cut_off = _lift(kept)
        retired, new = retired + cut_off, new + _again(files, cut_off)
    if old is not None and not retired and not new:
        result = dataclasses.replace(old, limit=limit)
        write_types(engine, run, result, {}, (), old)
        if before != limit:
            manifest.write_manifest(run.root, result)
        _write_tokens(run.root, tokens)  # a touched file with the same content is not news
        quarantined.drop_outdated(run.root, result)
        return result
    inspected, columns = _inspect_all(engine, run, new, limit, done)
    taken = _in_order(files, kept, inspected, limit)
    result = arrange(old, taken, retired, limit, partial(_look_again, engine, run))
    check_limits(result.shards)
    fresh = {(i.dataset, i.found.path) for i in inspected}
    added = [s for s in result.live_shards if (s.dataset, s.path) in fresh]
    write_types(engine, run, result, columns, added, old)
    if old is not None:
        adopt_facts(engine, run.root, old, result)
    manifest.write_manifest(run.root, result)
    quarantined.drop_outdated(run.root, result)
    _write_tokens(run.root, tokens | {i.found.path: [i.token, i.fingerprint] for i in inspected})
    return result


def is_as_frozen(run: Run, frozen: Manifest) -> bool:
    """Tell whether the datasets' paths hold the files of the manifest and no others, by sizes, times and inodes.

    False where a file would have to be hashed to tell.
    """
    tokens = _read_tokens(run.root)
    known = {(s.dataset, s.path): s for s in frozen.live_shards}
    noted = passed_over(run.root)
    for dataset in run.datasets:
        found = discover(dataset)
        if found.passed_over != noted.get(dataset.name, []):
            return False
        for file in found.files:
            shard = known.pop((dataset.name, file.path), None)
            if shard is None and frozen.limit is not None:
                continue  # beyond the limit
            if shard is None or not _is_known(shard, file, tokens) or not _unchanged(shard, file, tokens):
                return False
    return not known


def _hash_touched(engine: Engine, old: Manifest | None, files: dict[str, list[Found]], tokens: Tokens) -> None:
    """Update `tokens` with what files hold that are as long as their shards and have another token: many at once."""
    known = {(s.dataset, s.path): s for s in (old.live_shards if old else [])}
    touched = []
    for name, found in files.items():
        for file in found:
            shard = known.get((name, file.path))
            if shard is not None and file.bytes == shard.bytes and not _is_known(shard, file, tokens):
                touched.append(file)
    for file, entry in zip(touched, engine.map(_hash, touched, cost=HASH), strict=True):
        tokens[file.path] = entry


def _hash(file: Found) -> list[str]:
    """Return the token and fingerprint of a file; the token is taken first, so that a later change shows."""
    token = _token_of(file)
    return [token, fingerprint(file.path, file.bytes, token, marked=file.marked)]


def _token_of(file: Found) -> str:
    """Return the token of a file: from the listing of its store, else by a look at it."""
    return file.token or stat_token(file.path)


def _is_known(shard: Shard, file: Found, tokens: Tokens) -> bool:
    """Tell whether the content of a shard's file is known as it is now, changed or not."""
    token, _ = (tokens.get(shard.path) or ["", ""])[:2]
    return same_token(token, _token_of(file))


def _compare(
    old: Manifest | None,
    files: dict[str, list[Found]],
    tokens: Tokens,
    refresh: bool,
    limit: int | None,
) -> tuple[list[Shard], list[Shard], list[tuple[str, Found]]]:
    """Sort what is there into unchanged shards, shards to retire, and new files."""
    known = {(s.dataset, s.path): s for s in (old.live_shards if old else [])}
    frozen = {name for name, _ in known}
    kept, retired, new = [], [], []
    for name, found in files.items():
        for file in found:
            shard = known.pop((name, file.path), None)
            if shard is None:
                if limit is None or name not in frozen:  # beyond the limit
                    new.append((name, file))
            elif _unchanged(shard, file, tokens):
                kept.append(shard)
            else:
                retired.append(shard)
                new.append((name, file))
    retired.extend(known.values())
    if retired and not refresh:
        raise _changed(retired[0], retired[0] in known.values(), retired[0].dataset in files)
    return kept, retired, new


def _lift(kept: list[Shard]) -> tuple[list[Shard], list[Shard]]:
    """Return (whole shards, shards that the limit may have cut) of a run with a limit."""
    whole = [s for s in kept if s.file_rows == s.rows]
    return whole, [s for s in kept if s.file_rows != s.rows]


def _again(files: dict[str, list[Found]], shards: list[Shard]) -> list[tuple[str, Found]]:
    """Return the files of these shards, to be taken in anew."""
    wanted = {(s.dataset, s.path) for s in shards}
    return [(name, file) for name, found in files.items() for file in found if (name, file.path) in wanted]


def _other_limit(root: str, before: int | None, limit: int) -> RecipeError:
    made = "without --limit" if before is None else f"with --limit {before}"
    remedy = "" if before is None else f"; leave --limit out to work on everything, or give --limit {before}"
    return RecipeError(f"run folder {root} was made {made}, now it is {limit}. Use another --run-dir{remedy}.")


def _changed(shard: Shard, gone: bool, wanted: bool) -> ShardError:
    if not wanted:
        return ShardError(
            f"dataset {shard.dataset} is in the manifest but not in the recipe. Put it back, or give --refresh to "
            "retire it and go on without it."
        )
    what = "is gone" if gone else "changed since it was frozen in the manifest"
    return ShardError(
        f"{shard.path} (dataset {shard.dataset}) {what}. Bring the old file back, or give --refresh to "
        "retire it and go on with what is there now."
    )


def _unchanged(shard: Shard, file: Found, tokens: Tokens) -> bool:
    """Tell whether a file holds what was frozen of it. The token says which content is known, see `_hash_touched`."""
    _, content = (tokens.get(file.path) or ["", ""])[:2]
    return file.bytes == shard.bytes and content == shard.fingerprint


def _inspect_all(
    engine: Engine,
    run: Run,
    new: Sequence[tuple[str, Found]],
    limit: int | None,
    done: Callable[[object], None] | None,
) -> tuple[list[Inspected], dict[str, Columns]]:
    if limit is None:
        size = min(FILES_PER_TASK, max(1, len(new) // (4 * engine.workers)))
        tasks = [new[i : i + size] for i in range(0, len(new), size)]
        groups = engine.map(partial(_inspect, run, _has_problems(run)), tasks, done=done, cost=INSPECT)
        return [i for group, _ in groups for i in group], _joined(columns for _, columns in groups)
    found: list[Inspected] = []
    columns: list[dict[str, Columns]] = []
    for name in {name: None for name, _ in new}:
        rows = 0
        for item in (item for item in new if item[0] == name):
            if rows >= limit:
                break
            inspected, more = _inspect(run, True, [item])
            found.extend(inspected)
            columns.append(more)
            rows += found[-1].layout.rows
    return found, _joined(columns)


INSPECT = TaskCost(name="inspect files", tasks=Growth(quantity=Quantity.FILES), work=Growth(quantity=Quantity.FILES))


def _joined(parts: Iterable[dict[str, Columns]]) -> dict[str, Columns]:
    """Join what is known of each dataset's columns."""
    found: dict[str, Columns] = {}
    for part in parts:
        for name, columns in part.items():
            found[name] = found.get(name, Columns()) | columns
    return found


def _has_problems(run: Run) -> bool:
    """Tell whether problems of earlier calls are listed, so that tasks look for those of their files."""
    return bool(storage.names(quarantined.folder_of(run.root)))


def _inspect(
    run: Run, has_problems: bool, files: Sequence[tuple[str, Found]]
) -> tuple[list[Inspected], dict[str, Columns]]:
    listed = storage.names(quarantined.folder_of(run.root)) if has_problems else set()
    for name, file in files:
        quarantined.drop_listed(run.root, listed, name, file.relative_path)
    found = [_inspect_one(run, run.dataset(name), file) for name, file in files]
    columns = _joined({i.dataset: i.layout.columns} for i in found)
    return [dataclasses.replace(i, layout=dataclasses.replace(i.layout, columns=Columns())) for i in found], columns


def _inspect_one(run: Run, dataset: Dataset, file: Found) -> Inspected:
    token = _token_of(file)
    mark = fingerprint(file.path, file.bytes, token, marked=file.marked)
    file = look(dataset, file)
    probe = Shard(
        ordinal=0,
        dataset=dataset.name,
        path=file.path,
        relative_path=file.relative_path,
        rows=0,
        bytes=file.bytes,
        fingerprint=mark,
        format=file.format,
    )
    layout = _layout_of(run, dataset, probe)
    if stat_token(file.path) != token:
        raise ShardError(f"{file.path} (dataset {dataset.name}) changed while it was read. Run again once it is whole.")
    if layout.problem:
        _report(run, dataset, file, layout)
    return Inspected(dataset=dataset.name, found=file, fingerprint=mark, token=token, layout=layout)


def _layout_of(run: Run, dataset: Dataset, shard: Shard) -> Layout:
    """Return the layout of a shard's file; one that cannot be read by row is staged."""
    names, kind = run.wanted(dataset.name), shard.format or None
    staged = run.staged_path(shard)
    if staged is not None:
        return stage_compressed(dataset, shard.path, staged, names, kind=kind)
    return count_and_layout(dataset, shard.path, names, kind=kind, size=shard.bytes)


def _report(run: Run, dataset: Dataset, file: Found, layout: Layout) -> None:
    if run.on_error == "stop":
        raise ShardError(
            f"{file.path} (dataset {dataset.name}): {layout.problem}. Repair or remove it, or set "
            "`on_error: quarantine` in the recipe to count it and go on."
        )
    name = quarantined.listed_name(dataset.name, file.relative_path)
    quarantined.write_problems(run.root, name, [Problem(file.path, None, None, str(layout.problem))])


def _in_order(
    files: dict[str, list[Found]], kept: Sequence[Shard], inspected: Sequence[Inspected], limit: int | None
) -> list[Taken]:
    """Return the live shards in the order of the files, those that were kept and those that are new."""
    there = {(s.dataset, s.path): Taken(shard=s, layout=None) for s in kept}
    there |= {(t.shard.dataset, t.shard.path): t for t in _taken(inspected, limit)}
    listed = ((file, there.get((name, file.path))) for name, found in files.items() for file in found)
    return [_named_as(file, each) for file, each in listed if each is not None]


def _named_as(file: Found, taken: Taken) -> Taken:
    """Return a shard with the path within its dataset that it has today."""
    return dataclasses.replace(taken, shard=dataclasses.replace(taken.shard, relative_path=file.relative_path))


def _taken(inspected: Sequence[Inspected], limit: int | None) -> Iterator[Taken]:
    rows_of: dict[str, int] = {}
    for item in inspected:
        rows = item.layout.rows
        if limit is not None:
            rows = min(rows, limit - rows_of.get(item.dataset, 0))
            rows_of[item.dataset] = rows_of.get(item.dataset, 0) + rows
        shard = Shard(
            ordinal=0,
            dataset=item.dataset,
            path=item.found.path,
            relative_path=item.found.relative_path,
            rows=rows,
            bytes=item.found.bytes,
            fingerprint=item.fingerprint,
            file_rows=item.layout.rows,
            format=item.found.format,
        )
        yield Taken(shard=shard, layout=item.layout)


def _look_again(engine: Engine, run: Run, shards: Sequence[Shard]) -> list[Layout]:
    """Return where shards that were frozen before may be cut, many at once."""
    size = min(FILES_PER_TASK, max(1, len(shards) // (4 * engine.workers)))
    tasks = [shards[i : i + size] for i in range(0, len(shards), size)]
    return [layout for found in engine.map(partial(_layouts, run), tasks, cost=INSPECT) for layout in found]


def _layouts(run: Run, shards: Sequence[Shard]) -> list[Layout]:
    found = [_layout_of(run, run.dataset(shard.dataset), shard) for shard in shards]
    return [dataclasses.replace(layout, columns=Columns()) for layout in found]


def _passed_over_path(root: str) -> str:
    return storage.join(root, "passed_over.json")


def _write_passed_over(root: str, found: dict[str, list[PassedOver]]) -> None:
    write_public_json(_passed_over_path(root), {name: [i.to_json() for i in items] for name, items in found.items()})


def passed_over(root: str) -> dict[str, list[PassedOver]]:
    """Return what the folders and globs of each dataset held beside data, when they were last looked at."""
    path = _passed_over_path(root)
    data = read_public_record(path, dict[str, list[Entry]]) if storage.exists(path) else {}
    return {
        name: [PassedOver(item["reason"], item["count"], tuple(item["examples"])) for item in items]
        for name, items in data.items()
    }


def _tokens_path(root: str) -> str:
    return storage.join(root, "facts", "inputs.json")


def _read_tokens(root: str) -> Tokens:
    """Return what is known of each file by path; what cannot be read of it is found out anew by hashing the files."""
    try:
        found = read_record(_tokens_path(root), dict[str, Tokens]).get("tokens", {})
    except (FileNotFoundError, DamagedError):
        return {}
    return {path: entry for path, entry in found.items() if len(entry) > 1 and isinstance(entry[0], str)}


def _write_tokens(root: str, tokens: Tokens) -> None:
    write_json(_tokens_path(root), {"tokens": tokens})
