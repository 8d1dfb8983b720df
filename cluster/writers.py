"""One writer at a time in a folder of an object store: a lock of objects that are put only where there are none.

    with only_writer("s3://bucket/run"): ...

The lock is a folder `.lock` with a small object for each claim, named by a rising number. A writer claims the number
behind the highest that is there, with a conditional put (`If-None-Match: *` on S3, `if_generation_match=0` on GCS, by
fsspec's `mode="create"`), so that of two only one gets it; it then lists the claims again and steps back where another
is alive. A claim is renewed every `BEAT` seconds; one not renewed for `STALE` seconds, or of a process of this machine
that has ended, is passed over, which is said in the log, and removed.

Guarantees: where the store has a conditional put and lists what was put, and the clocks of its writers differ by less
than `STALE - 2 * BEAT`, one writer works at a time. Where the store takes the condition for nothing, of two that start
in the same moment the one that was overwritten is interrupted at its next renewal. So is a writer that was taken over,
as it was held up for longer than `STALE`: until then both may write.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field

from cluster import storage
from cluster.errors import RecipeError

LOCK = ".lock"
BEAT = 30.0  # seconds between renewals
STALE = 300.0  # seconds without one, after which a writer counts as gone
LOG = logging.getLogger("winnow.writers")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Who writes in a folder. beat: seconds since 1970 of the last renewal, by the writer's clock."""

    token: str = field(default_factory=lambda: os.urandom(16).hex())
    machine: str = field(default_factory=platform.node)
    processes: str = field(default_factory=lambda: _process_space())
    pid: int = field(default_factory=os.getpid)
    since: float = field(default_factory=time.time)
    beat: float = field(default_factory=time.time)

    def has_ended(self) -> bool:
        """Tell whether the writer was a process of this machine that runs no more."""
        if (self.machine, self.processes) != (platform.node(), _process_space()):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False

    def is_alive(self) -> bool:
        """Tell whether the writer must be assumed to write still."""
        return time.time() - self.beat <= STALE and not self.has_ended()

    def __str__(self) -> str:
        started, seen = (time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(t)) for t in (self.since, self.beat))
        return f"process {self.pid} on {self.machine}, begun {started} UTC, last seen {seen} UTC"


@contextlib.contextmanager
def only_writer(root: str) -> Iterator[None]:
    """Hold a folder of an object store against other writers; released on any way out, Ctrl-C too.

    Raises RecipeError where another writer holds it, or has taken it over meanwhile.
    """
    folder = storage.join(root, LOCK)
    mine, path = _claim(root, folder)
    done, lost = threading.Event(), threading.Event()
    stop = interrupt_main if threading.current_thread() is threading.main_thread() else None
    beat = threading.Thread(target=_renew, args=(path, mine, done, lost, stop), daemon=True, name="winnow writer")
    beat.start()
    try:
        yield
    except KeyboardInterrupt:
        if lost.is_set():
            raise RecipeError(_taken(root)) from None
        raise
    finally:
        done.set()
        beat.join()
        if not lost.is_set():
            _release(path)
    if lost.is_set():
        raise RecipeError(_taken(root))


def _release(path: str) -> None:
    try:
        storage.remove(path)
    except Exception as error:  # of any store: the work is done, and the claim ends with this process
        LOG.warning("the claim %s was not removed (%s).", path, error)


def _claim(root: str, folder: str) -> tuple[Claim, str]:
    """Put a claim of this process; return it with its path."""
    mine = Claim()
    before = _claims(folder)
    _check_none_alive(root, before.values())
    path = _path(folder, max(before, default=0) + 1)
    if not storage.create(path, _bytes(mine)):
        raise RecipeError(_in_use(root, _read(path)))
    try:
        found = _claims(folder)
        if found.pop(_number(path), mine) != mine:
            raise RecipeError(_in_use(root, _read(path)))
        _check_none_alive(root, found.values())
    except BaseException:
        if _read(path) == mine:
            storage.remove(path)
        raise
    for number, claim in found.items():
        LOG.warning("run folder %s is taken over from %s, which ended without a word.", root, claim or "a writer")
        storage.remove(_path(folder, number))
    return mine, path


def _check_none_alive(root: str, claims: Iterable[Claim | None]) -> None:
    for claim in claims:
        if claim is not None and claim.is_alive():
            raise RecipeError(_in_use(root, claim))


def _renew(
    path: str, mine: Claim, done: threading.Event, lost: threading.Event, stop: Callable[[], None] | None
) -> None:
    """Renew a claim until `done`; where it is gone, or there is a later one, set `lost` and call `stop`."""
    seen = time.time()
    while not done.wait(BEAT):
        try:
            here = _read(path)
            if here is None or here.token != mine.token or max(_numbers(path.rpartition("/")[0])) > _number(path):
                break
            storage.write_bytes(path, _bytes(Claim(**{**asdict(mine), "beat": time.time()})))
            seen = time.time()
        except Exception as error:  # of any store; its own retries come first
            LOG.warning("the claim %s was not renewed (%s).", path, error)
            if time.time() - seen > STALE:
                break
    else:
        return
    lost.set()
    if stop:
        stop()


def interrupt_main() -> None:
    """Interrupt the main thread as Ctrl-C does."""
    import _thread

    _thread.interrupt_main()


def _claims(folder: str) -> dict[int, Claim | None]:
    """Return the claims of a folder by number; None for one that is gone again or damaged."""
    return {number: _read(_path(folder, number)) for number in _numbers(folder)}


def _numbers(folder: str) -> list[int]:
    return [int(name[:-5]) for name in storage.names(folder) if name.endswith(".json") and name[:-5].isdigit()]


def _path(folder: str, number: int) -> str:
    return storage.join(folder, f"{number:06d}.json")


def _number(path: str) -> int:
    return int(path.rpartition("/")[2][:-5])


def _read(path: str) -> Claim | None:
    try:
        found = json.loads(storage.read_bytes(path))
        return Claim(**found)
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _bytes(claim: Claim) -> bytes:
    return json.dumps(asdict(claim)).encode()


def _process_space() -> str:
    """Return what tells apart the process numbers of two machines, starts of one, or containers."""
    found: list[str] = []
    read: list[Callable[[], str]] = [
        lambda: storage.read_bytes("/proc/sys/kernel/random/boot_id").decode().strip(),
        lambda: os.readlink("/proc/self/ns/pid"),
    ]
    for each in read:
        with contextlib.suppress(OSError):
            found.append(each())
    return " ".join(found)


def _in_use(root: str, claim: Claim | None) -> str:
    return (
        f"run folder {root} is in use by another winnow ({claim or 'which has just begun'}). Wait for it, or give "
        f"another --run-dir. If it ended without a word, the folder is free {STALE:.0f} seconds after it was last seen."
    )


def _taken(root: str) -> str:
    return (
        f"run folder {root} was taken over by another winnow, as this one did not renew its claim for {STALE:.0f} "
        "seconds. It stops, lest both write. What is finished stays."
    )
