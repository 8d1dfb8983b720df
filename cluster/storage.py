"""Atomic writes, reads and listings for local paths and fsspec URLs.

Guarantees: `commit` makes a file appear whole or not at all (temporary name and rename on a file system, a single PUT
on an object store), so every file that exists is complete.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

TEMPORARY = ".tmp-"  # a name with this part is unfinished work and is never read


def is_local(path: str) -> bool:
    """Return whether `path` is on a mounted file system (no URL scheme, or file://)."""
    return "://" not in path or path.startswith("file://")


def local_path(path: str) -> str:
    """Return a local path without an optional file://."""
    return path.removeprefix("file://")


def filesystem(path: str) -> tuple[Any, str]:
    """Return (fsspec file system, path inside it). Raises ImportError with the package to install.

    Listings are never cached: other processes write to the same folders, and a file missing from an old listing
    would be taken for a task without output.
    """
    import fsspec

    return cast("tuple[Any, str]", fsspec.core.url_to_fs(path, use_listings_cache=False))


def join(root: str, *parts: str) -> str:
    """Return a path or URL with its parts joined by forward slashes."""
    return "/".join([root.rstrip("/"), *parts])


@contextlib.contextmanager
def commit(path: str) -> Iterator[BinaryIO]:
    """Yield a binary file that becomes `path` when the block ends without an error.

    Local: written beside the target and renamed. Elsewhere: written to the machine's temporary folder,
    then uploaded as one object. A failure leaves the old content (or nothing) and removes the temporary file.
    """
    if not is_local(path):
        with tempfile.NamedTemporaryFile() as file:
            yield cast(BinaryIO, file)
            file.flush()
            fs, inner = filesystem(path)
            fs.put_file(file.name, inner)
        return
    target = local_path(path)
    folder = os.path.dirname(target)
    os.makedirs(folder or ".", exist_ok=True)
    name = f"{TEMPORARY}{os.path.basename(target)}-{os.getpid()}-{secrets.token_hex(4)}"
    temporary = os.path.join(folder, name)
    try:
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_bytes(path: str, data: bytes) -> None:
    """Commit `data` as `path`."""
    if not is_local(path):
        fs, inner = filesystem(path)
        fs.pipe_file(inner, data)
        return
    with commit(path) as file:
        file.write(data)


def read_bytes(path: str) -> bytes:
    """Return the whole content of `path`. Raises FileNotFoundError."""
    if is_local(path):
        with open(local_path(path), "rb") as file:
            return file.read()
    fs, inner = filesystem(path)
    return cast(bytes, fs.cat_file(inner))


def read_range(path: str, start: int, stop: int) -> bytes:
    """Return the bytes from `start` up to `stop`, fewer at the end of the file: one request, no look at the size."""
    if is_local(path):
        with open(local_path(path), "rb", buffering=0) as file:
            file.seek(start)
            found = file.read(stop - start)
            while len(found) < stop - start and (more := file.read(stop - start - len(found))):
                found += more  # one read of the system ends at 2 GB
            return found
    fs, inner = filesystem(path)
    return cast(bytes, fs.cat_file(inner, start=start, end=stop))


def open_read(path: str, *, ranges: bool = False) -> BinaryIO:
    """Open `path` for seekable binary reading; `ranges`: every read is one request, nothing is read ahead."""
    if is_local(path):
        return open(local_path(path), "rb")
    fs, inner = filesystem(path)
    options = {"cache_type": "none"} if ranges else {}
    return cast(BinaryIO, fs.open(inner, "rb", **options))


def exists(path: str) -> bool:
    """Return whether a file or folder exists."""
    if is_local(path):
        return os.path.exists(local_path(path))
    fs, inner = filesystem(path)
    return bool(fs.exists(inner))


def names(folder: str) -> set[str]:
    """Return the names of finished files in `folder`; empty when the folder is missing."""
    if is_local(folder):
        try:
            found = os.listdir(local_path(folder))
        except FileNotFoundError:
            return set()
    else:
        fs, inner = filesystem(folder)
        if not fs.exists(inner):
            return set()
        found = [entry.rstrip("/").rsplit("/", 1)[-1] for entry in fs.ls(inner, detail=False)]
    return {name for name in found if not name.startswith(TEMPORARY)}


def sizes(folder: str) -> dict[str, int]:
    """Return name and bytes of every finished file in `folder`, by one listing; empty when the folder is missing."""
    if is_local(folder):
        try:
            with os.scandir(local_path(folder)) as entries:
                found = {entry.name: entry.stat().st_size for entry in entries}
        except FileNotFoundError:
            return {}
    else:
        fs, inner = filesystem(folder)
        try:
            listed = fs.ls(inner, detail=True)
        except FileNotFoundError:
            return {}
        found = {entry["name"].rstrip("/").rsplit("/", 1)[-1]: int(entry["size"] or 0) for entry in listed}
    return {name: size for name, size in found.items() if not name.startswith(TEMPORARY)}


def remove(path: str) -> None:
    """Remove a file or a whole folder; nothing happens when it is missing."""
    if is_local(path):
        target = local_path(path)
        if os.path.isdir(target):
            shutil.rmtree(target, ignore_errors=True)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(target)
        return
    fs, inner = filesystem(path)
    if fs.exists(inner):
        fs.rm(inner, recursive=True)


def remove_files(paths: list[str]) -> None:
    """Remove files that lie in one store; those that are missing are passed over."""
    if not paths:
        return
    if is_local(paths[0]):
        for path in paths:
            remove(path)
        return
    fs, _ = filesystem(paths[0])
    with contextlib.suppress(FileNotFoundError):
        fs.rm([filesystem(path)[1] for path in paths])


def move(source: str, target: str) -> None:
    """Move a finished file; both lie on the same file system or store."""
    if is_local(source) and is_local(target):
        os.makedirs(os.path.dirname(local_path(target)) or ".", exist_ok=True)
        os.replace(local_path(source), local_path(target))
        return
    fs, inner = filesystem(source)
    fs.mv(inner, filesystem(target)[1])
