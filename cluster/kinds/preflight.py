"""Same code, same versions, enough memory and disk, one run folder: on client, scheduler and every worker.

Guarantees: nothing is computed before all agree; the message names each node that differs and how. The
question travels by value, so a node that lacks winnow answers as well.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

from cluster import storage
from cluster.codebase import code_digest, code_files
from cluster.errors import BackendError
from cluster.kinds.local import MEMORY_PER_THREAD

VERSIONS = (  # what decides over bits or over the wire
    "dask",
    "distributed",
    "numpy",
    "pyarrow",
    "numba",
    "pandas",
    "xxhash",
    "fasttext-community",
    "orjson",
    "zstandard",
)
FREE_DISK = 1 << 30  # bytes left where the run folder lies
SECONDS = 60.0  # in which every node must have answered
SHOWN = 10  # nodes named in one message

Facts = Mapping[str, Any]


def facts(run_dir: str | None = None, token: str = "") -> dict[str, Any]:
    """Return what must agree between nodes, and what this node sees of the run folder."""
    from cluster.version import VERSION

    return {
        "host": socket.gethostname(),
        "python": "{}.{}".format(*_python()),
        "winnow": VERSION,
        "code": code_digest(),
        "packages": {name: _version(name) for name in VERSIONS},
        "folder": _see(run_dir, token) if run_dir else None,
    }


def _python() -> tuple[int, int]:
    import sys

    return sys.version_info[:2]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _see(run_dir: str, token: str) -> str | None:
    """Return what is wrong with the run folder as seen from this node, or None."""
    if not storage.exists(storage.join(run_dir, token)):
        return f"does not see {run_dir} (working folder {os.getcwd()})"
    mark = storage.join(run_dir, f"{token}-{secrets.token_hex(4)}")
    try:
        storage.write_bytes(mark, b"")
        storage.remove(mark)
    except OSError as error:
        return f"cannot write to {run_dir}: {error.strerror or error}"
    return _room(run_dir)


def _room(run_dir: str) -> str | None:
    """Return what is wrong with the disk below a local run folder, or None."""
    import shutil

    if not storage.is_local(run_dir):
        return None
    free = shutil.disk_usage(storage.local_path(run_dir)).free
    if free < FREE_DISK:
        return f"has {free / 1e9:.1f} GB free in {run_dir}, at least {FREE_DISK / 1e9:.1f} GB are needed"
    return None


def check(client: Any, run_dir: str | None) -> None:
    """Compare scheduler and workers with this process. Raises BackendError with every difference."""
    token = f".preflight-{secrets.token_hex(8)}"
    if run_dir:
        storage.write_bytes(storage.join(run_dir, token), b"")
    try:
        mine = facts(run_dir, token)
        nodes = _ask(client, run_dir, token)
    finally:
        if run_dir:
            storage.remove(storage.join(run_dir, token))
    problems = [f"this process ({mine['host']}): {mine['folder']}"] if mine["folder"] else []
    for node, theirs in nodes.items():
        problems.extend(f"{node}: {what}" for what in differences(mine, theirs))
    problems += _memory(client)
    stop(problems)


def stop(problems: list[str]) -> None:
    """Raise BackendError when there is a problem."""
    if problems:
        more = [f"... and {len(problems) - SHOWN} more."] if len(problems) > SHOWN else []
        raise BackendError(
            "\n".join(
                [
                    "the cluster is not fit for this run:",
                    *problems[:SHOWN],
                    *more,
                    "Install the same winnow and dependencies everywhere, start the workers again, and keep "
                    "the run folder where all of them see it.",
                ]
            )
        )


def differences(mine: Facts, theirs: Facts) -> list[str]:
    """Return one sentence for every way in which another node is unfit."""
    if "failure" in theirs:
        return [str(theirs["failure"])]
    found = [
        f"{name} {theirs[name]}, here it is {mine[name]}" for name in ("python", "winnow") if theirs[name] != mine[name]
    ]
    if theirs["code"] != mine["code"]:
        found.append(_code(theirs))
    for name, version in mine["packages"].items():
        if theirs["packages"].get(name) != version:
            found.append(f"{name} {theirs['packages'].get(name)}, here it is {version}")
    return [*found, str(theirs["folder"])] if theirs["folder"] else found


def _code(theirs: Facts) -> str:
    own, other = code_files(), theirs.get("files") or {}
    names = sorted(path for path in own.keys() | other.keys() if own.get(path) != other.get(path))
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"other winnow code ({theirs['code']}, here it is {code_digest()}): {listed} differ"


def _ask(client: Any, run_dir: str | None, token: str) -> dict[str, Facts]:
    """Return the facts of the scheduler and of every worker, by a name that says which node it is."""
    question = _question(run_dir, token, code_digest())
    nodes: dict[str, Facts] = {}
    apart = _question(None, token, code_digest())  # a scheduler touches no file
    scheduler = within(SECONDS, lambda: client.run_on_scheduler(apart), "the scheduler")
    nodes[f"scheduler on {scheduler.get('host', '?')}"] = scheduler
    answers = within(SECONDS, lambda: client.run(question, on_error="return"), "a worker")
    for address, answer in answers.items():
        if isinstance(answer, BaseException):
            answer = {"failure": f"cannot be asked: {type(answer).__name__}: {answer}"}
        nodes[f"worker {address} on {answer.get('host', '?')}"] = answer
    return nodes


def _question(run_dir: str | None, token: str, code: str) -> Callable[[], dict[str, Any]]:
    def question() -> dict[str, Any]:
        """Answer on a node. A nested function: it travels by value, so winnow may be missing there."""
        import socket
        import sys

        name = {"host": socket.gethostname()}
        try:
            from cluster import codebase
            from cluster.kinds import preflight

            answer = preflight.facts(run_dir, token)
            if answer["code"] != code:
                answer["files"] = dict(codebase.code_files())
        except (ImportError, AttributeError, OSError) as error:
            return {**name, "failure": f"{type(error).__name__}: {error} (Python {sys.executable})"}
        return answer

    return question


def _memory(client: Any) -> list[str]:
    """Return which workers have too little memory for each thread."""
    found = []
    for address, worker in client.scheduler_info()["workers"].items():
        limit, threads = worker.get("memory_limit") or 0, worker["nthreads"]
        if 0 < limit < threads * MEMORY_PER_THREAD:
            found.append(
                f"worker {address}: {limit / 1e9:.2f} GB for {threads} threads, at least "
                f"{threads * MEMORY_PER_THREAD / 1e9:.2f} GB are needed; start it with fewer --nthreads or "
                "a higher --memory-limit"
            )
    return found


def within(seconds: float, ask: Callable[[], Any], whom: str) -> Any:
    """Return ask(), or raise BackendError when no answer comes in time."""
    box: list[Any] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            box.append(ask())
        except BaseException as error:  # handed to the caller's thread
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise BackendError(f"{whom} cannot be asked: {type(errors[0]).__name__}: {errors[0]}") from errors[0]
    if not box:
        raise BackendError(f"{whom} did not answer within {seconds:.0f} s. Look at its log, or start it again.")
    return box[0]
