"""Atomic writes, reads and listings for local paths and fsspec URLs.

Guarantees: `commit` makes a file appear whole or not at all (temporary name and rename on a file system, a single PUT
on an object store), so every file that exists is complete, also after a power cut: on a file system the file is
synced before it is renamed, its folder after that (docs/reliability.md). `WINNOW_FSYNC=0` switches syncing off. What is
removed is gone, or there is an error.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, BinaryIO, cast

TEMPORARY = ".tmp-"  # a name with this part is unfinished work and is never read
NFS_OPEN = ".nfs"  # begins the name that NFS gives to a removed file while a process has it open
_base: ContextVar[str | None] = ContextVar("winnow_relative_to", default=None)

CLIENTS = ("aiobotocore", "aiohttp", "botocore", "gcsfs", "google", "requests", "urllib3")  # of object stores
NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)  # of file systems that cannot sync a file or a folder


@contextlib.contextmanager
def failures_named() -> Iterator[None]:
    """Raise OSError where the client of an object store raises an error of its own, as for half an answer."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) or type(error).__module__.partition(".")[0] not in CLIENTS:
            raise
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise OSError(errno.EIO, f"the object store failed ({told}). Try again; what is finished stays") from error


def is_local(path: str) -> bool:
    """Return whether `path` is on a mounted file system (no URL scheme, or file://)."""
    return "://" not in path or path.startswith("file://")


def local_path(path: str) -> str:
    """Return a local path without an optional file://; a relative one counts against the folder of `relative_to`."""
    plain = path.removeprefix("file://")
    base = _base.get()
    return plain if base is None or not plain else os.path.join(base, plain)


def absolute(path: str) -> str:
    """Return a local path from the root of the file system; a URL as it is."""
    return os.path.abspath(local_path(path)) if is_local(path) else path


@contextlib.contextmanager
def relative_to(folder: str) -> Iterator[None]:
    """Let relative paths count against another folder than the working folder until the block ends.

    In this thread alone: the working folder belongs to the process, where other threads and calls rely on it.
    """
    token = _base.set(os.path.abspath(folder))
    try:
        yield
    finally:
        _base.reset(token)


def base_folder() -> str:
    """Return the folder against which relative paths count."""
    return _base.get() or os.getcwd()


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


def commit(path: str, *, private: bool = False) -> contextlib.AbstractContextManager[BinaryIO]:
    """Yield a binary file that becomes `path` when the block ends without an error.

    Local: written beside the target, synced, renamed, and the folder synced. Elsewhere: written to the machine's
    temporary folder, then uploaded as one object. A failure leaves the old content (or nothing) and removes the
    temporary file. private: on a file system, only its owner may read and write it (mode 0600).
    """
    return _commit(path, _syncs(), private)


def commit_scratch(path: str) -> contextlib.AbstractContextManager[BinaryIO]:
    """Do what `commit` does, but sync nothing: for files that are dropped after a power cut and carry a checksum."""
    return _commit(path, False)


@contextlib.contextmanager
def _commit(path: str, synced: bool, private: bool = False) -> Iterator[BinaryIO]:
    if not is_local(path):
        with tempfile.NamedTemporaryFile() as file:
            yield cast(BinaryIO, file)
            file.flush()
            fs, inner = filesystem(path)
            fs.put_file(file.name, inner)
        return
    target = local_path(path)
    folder = os.path.dirname(target) or "."
    _make_folder(folder, synced)
    name = f"{TEMPORARY}{os.path.basename(target)}-{os.getpid()}-{os.urandom(4).hex()}"
    temporary = os.path.join(folder, name)
    try:
        with open(temporary, "wb", opener=_private if private else None) as file:
            yield file
            if synced:
                file.flush()
                _sync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    if synced:
        _sync_folder(folder)


def _private(path: str, flags: int) -> int:
    """Open a new file that only its owner may read and write."""
    return os.open(path, flags, 0o600)


def _syncs() -> bool:
    return os.environ.get("WINNOW_FSYNC", "1") != "0"


def _sync(descriptor: int) -> None:
    """Bring a file or folder to the disk, where its file system can do so."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise


def sync_file(descriptor: int) -> None:
    """Bring an open file to the disk, unless syncing is switched off."""
    if _syncs():
        _sync(descriptor)


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: str) -> None:
    """Make a local folder and those above it that are missing, so that they are there after a power cut."""
    _make_folder(local_path(path) or ".", _syncs())


def _make_folder(folder: str, synced: bool) -> None:
    """Make a folder and those above it that are missing; synced: the name of each is brought to the disk."""
    missing = []
    place = folder
    while not os.path.isdir(place):
        missing.append(place)
        place = os.path.dirname(place) or "."
    for place in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(place)
        if synced:
            _sync_folder(os.path.dirname(place) or ".")


def write_bytes(path: str, data: bytes, *, scratch: bool = False, private: bool = False) -> None:
    """Commit `data` as `path`; private: on a file system, only its owner may read and write it."""
    if not is_local(path):
        fs, inner = filesystem(path)
        fs.pipe_file(inner, data)
        return
    with commit_scratch(path) if scratch else commit(path, private=private) as file:
        file.write(data)


def create(path: str, data: bytes) -> bool:
    """Write a small object to a store where there is none; return whether that was so.

    By a conditional put where the file system has one (`mode="create"` of fsspec); elsewhere by a look before, which
    two writers at the same moment may both pass.
    """
    fs, inner = filesystem(path)
    try:
        fs.pipe_file(inner, data, mode="create")
    except FileExistsError:
        return False
    except (TypeError, NotImplementedError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.ENOSYS and "implement" not in str(error).lower():
            raise  # a store that answers "not implemented" has no conditional put
        if fs.exists(inner):
            return False
        fs.pipe_file(inner, data)
    return True


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
            stop = min(stop, os.fstat(file.fileno()).st_size)  # a damaged index may name any offset
            file.seek(min(start, stop))
            found = file.read(max(0, stop - start))
            while len(found) < stop - start and (more := file.read(stop - start - len(found))):
                found += more  # one read of the system ends at 2 GB
            return found
    fs, inner = filesystem(path)
    try:
        return cast(bytes, fs.cat_file(inner, start=start, end=stop))
    except FileNotFoundError:
        raise
    except Exception:  # each store has an error of its own for a range behind the end (416 of HTTP)
        if start < int(fs.size(inner) or 0):
            raise
        return b""


def open_read(path: str, *, ranges: bool = False, size: int | None = None) -> BinaryIO:
    """Open `path` for seekable binary reading.

    ranges : every read is one request, nothing is read ahead. size : bytes of a file of a store, as its listing has
    them: then the store is not asked for it. Of a file that has grown since, so many are read.
    """
    if is_local(path):
        return open(local_path(path), "rb")
    fs, inner = filesystem(path)
    if size is not None:
        from cluster.store_files import open_sized

        return open_sized(fs, inner, size)
    options = {"cache_type": "none"} if ranges else {}
    return cast(BinaryIO, fs.open(inner, "rb", **options))


def exists(path: str) -> bool:
    """Return whether a file or folder exists."""
    if is_local(path):
        return os.path.exists(local_path(path))
    fs, inner = filesystem(path)
    return bool(fs.exists(inner))


def is_link(path: str) -> bool:
    """Return whether a local path is a link; nothing is one in an object store."""
    return is_local(path) and os.path.islink(local_path(path).rstrip("/"))


def names(folder: str) -> set[str]:
    """Return the names of finished files in `folder`; empty when the folder is missing."""
    if is_local(folder):
        try:
            found = os.listdir(local_path(folder))
        except (FileNotFoundError, NotADirectoryError):
            return set()
    else:
        found = [entry["name"] for entry in listed(folder)]
    return {name for name in found if not name.startswith((TEMPORARY, NFS_OPEN))}


def listed(folder: str) -> list[dict[str, Any]]:
    """Return what a store's listing says of each file and folder in `folder` (its last name, type, size, marks).

    One request for a thousand of them; none where the folder is missing.
    """
    fs, inner = filesystem(folder)
    try:
        found = fs.ls(inner, detail=True)
    except FileNotFoundError:
        return []
    paths = ((entry["name"].rstrip("/"), entry) for entry in found)
    own = inner.strip("/")  # some stores list the mark of a folder in it
    return [{**entry, "name": path.rpartition("/")[2]} for path, entry in paths if path.strip("/") != own]


def sizes(folder: str) -> dict[str, int]:
    """Return name and bytes of every finished file in `folder`, by one listing; empty when the folder is missing."""
    if is_local(folder):
        try:
            with os.scandir(local_path(folder)) as entries:
                found = {entry.name: entry.stat().st_size for entry in entries}
        except (FileNotFoundError, NotADirectoryError):
            return {}
    else:
        found = {entry["name"]: int(entry["size"] or 0) for entry in listed(folder)}
    return {name: size for name, size in found.items() if not name.startswith((TEMPORARY, NFS_OPEN))}


def have_sizes(folder: str, files: Iterable[tuple[str, int]]) -> bool:
    """Tell whether files, given as (path below `folder`, bytes), are all there, by one listing of each folder."""
    have: dict[str, dict[str, int]] = {}
    for path, size in files:
        inside, _, name = path.rpartition("/")
        if inside not in have:
            have[inside] = sizes(join(folder, inside) if inside else folder)
        if have[inside].get(name) != size:
            return False
    return True


def remove(path: str) -> None:
    """Remove a file or a whole folder; nothing happens when it is missing.

    Raises OSError where something stays, such as a folder behind a link, which is never emptied.
    """
    if not is_local(path):
        fs, inner = filesystem(path)
        if fs.exists(inner):
            fs.rm(inner, recursive=True)
        return
    target = local_path(path).rstrip("/")
    if os.path.islink(target) and os.path.isdir(target):
        raise OSError(errno.ELOOP, "is a link to a folder, which winnow does not remove; remove it by hand", target)
    try:
        _remove_folder(target) if os.path.isdir(target) else os.unlink(target)
    except FileNotFoundError:
        return
    if _syncs():
        _sync_folder(os.path.dirname(target) or ".")


def _remove_folder(folder: str) -> None:
    """Remove a folder with all it holds; links go, what they lead to stays."""
    with os.scandir(folder) as entries:
        found = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for path, is_folder in found:
        with contextlib.suppress(FileNotFoundError):
            _remove_folder(path) if is_folder else os.unlink(path)
    try:
        os.rmdir(folder)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY or not all(name.startswith(NFS_OPEN) for name in os.listdir(folder)):
            raise


def remove_files(paths: list[str], *, scratch: bool = False) -> None:
    """Remove files that lie in one store; those that are missing are passed over. Raises OSError where one stays."""
    if not paths:
        return
    if not is_local(paths[0]):
        fs, _ = filesystem(paths[0])
        with contextlib.suppress(FileNotFoundError):
            fs.rm([filesystem(path)[1] for path in paths])
        return
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(local_path(path))
    if _syncs() and not scratch:
        for folder in sorted({os.path.dirname(local_path(path)) or "." for path in paths}):
            if os.path.isdir(folder):
                _sync_folder(folder)


def move(source: str, target: str) -> None:
    """Move a finished file; both lie on the same file system or store."""
    if is_local(source) and is_local(target):
        folders = [os.path.dirname(local_path(path)) or "." for path in (target, source)]
        _make_folder(folders[0], _syncs())
        os.replace(local_path(source), local_path(target))
        if _syncs():
            for folder in folders:
                _sync_folder(folder)
        return
    fs, inner = filesystem(source)
    fs.mv(inner, filesystem(target)[1])
