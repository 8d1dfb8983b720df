"""Tasks for workers in other processes; each leaves a file for every attempt, so that a test can count them."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from cluster.errors import ShardError

Task = tuple[str, int]  # folder for the marks, number
LATE = 100  # number of a task that is sent among others, as those before it were short
SLOW = 0.06  # seconds of a task that is long


def mark(folder: str, number: int) -> int:
    """Note an attempt and return how many there were before."""
    for attempt in range(100):
        try:
            os.close(os.open(Path(folder) / f"{number}-{attempt}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        return attempt
    raise AssertionError("100 attempts")


def attempts(folder: Path, number: int) -> int:
    return len(list(folder.glob(f"{number}-*")))


def square(task: Task) -> int:
    mark(*task)
    time.sleep(0.02)
    return task[1] ** 2


def die_once(task: Task) -> int:
    if mark(*task) == 0 and task[1] % 5 == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return task[1] ** 2


def always_die(task: Task) -> NoReturn:
    mark(*task)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("dead")


def hang_once(task: Task) -> int:
    if mark(*task) == 0 and task[1] == 3:
        time.sleep(3600)
    return task[1] ** 2


def always_hang(task: Task) -> None:
    mark(*task)
    time.sleep(3600)


def storage_fails_twice(task: Task) -> int:
    if mark(*task) < 2:
        raise OSError(5, "the disk hiccuped")
    return task[1] ** 2


def storage_fails(task: Task) -> NoReturn:
    mark(*task)
    try:
        raise OSError(5, "the disk is gone")
    except OSError as error:
        raise ShardError(f"shard {task[1]} cannot be reached: {error}") from error


def bad_content(task: Task) -> NoReturn:
    mark(*task)
    raise ShardError(f"shard {task[1]}: row 7 is broken")


def slip(task: Task) -> NoReturn:
    mark(*task)
    raise ZeroDivisionError("a slip in the code")


def where(_: Task) -> str:
    return os.getcwd()


def quick(task: Task) -> int:
    return task[1] ** 2


def bad_late(task: Task) -> int:
    return bad_content(task) if task[1] == LATE else quick(task)


def storage_fails_late(task: Task) -> int:
    return storage_fails(task) if task[1] == LATE else quick(task)


def die_late(task: Task) -> int:
    return always_die(task) if task[1] == LATE else quick(task)


def slow_late(task: Task) -> int:
    if task[1] >= LATE:
        mark(*task)
        time.sleep(SLOW)
    return quick(task)


def hang_late(task: Task) -> int:
    if task[1] == LATE and mark(*task) == 0:
        time.sleep(3600)
    return quick(task)


def loaded(name: str) -> bool:
    """Tell whether a worker that has made an array and has numba holds a module."""
    import numba
    import pyarrow as pa

    assert numba.njit
    assert pa.array([[1], None]).null_count
    return name in sys.modules
