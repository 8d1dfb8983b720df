"""Checks before a run on other machines: same code and versions, enough memory and disk, a run folder all can write.

Guarantees: client, scheduler and every worker are compared before any task runs; the error names each node that
differs and how. The function that describes a node is sent by value, so a node without winnow is reported as well.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

from cluster import storage
from cluster.codebase import code_digest, code_files
from cluster.engines.timeouts import call_with_timeout
from cluster.errors import BackendError
from cluster.options import MEMORY_PER_THREAD

VERSIONS = (  # packages that decide over output bytes, or over Dask's protocol
    "dask",
    "distributed",
    "numpy",
    "pyarrow",
    "numba",
    "xxhash",
    "fasttext-community",
    "orjson",
    "zstandard",
)
FREE_DISK = 1 << 30  # bytes left where the run folder lies
ANSWER_SECONDS = 60.0  # in which every node must have answered
MOST_SHOWN = 10  # problems in one message

Description = Mapping[str, Any]


def describe_node(run_dir: str | None = None, token: str = "") -> dict[str, Any]:
    """Return host, versions and code digest of this node, and under `folder` what is wrong with the run folder here.

    token : name of a file that the client wrote into the run folder.
    """
    from cluster.version import VERSION

    return {
        "host": socket.gethostname(),
        "python": "{}.{}".format(*_python()),
        "winnow": VERSION,
        "code": code_digest(),
        "packages": {name: _version(name) for name in VERSIONS},
        "folder": _folder_problem(run_dir, token) if run_dir else None,
    }


def _python() -> tuple[int, int]:
    import sys

    return sys.version_info[:2]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _folder_problem(run_dir: str, token: str) -> str | None:
    """Return what is wrong with the run folder as seen from this node, or None."""
    if not storage.exists(storage.join(run_dir, token)):
        return f"does not see {run_dir} (working folder {os.getcwd()})"
    mark = storage.join(run_dir, f"{token}-{secrets.token_hex(4)}")
    try:
        storage.write_bytes(mark, b"")
        storage.remove(mark)
    except OSError as error:
        return f"cannot write to {run_dir}: {error.strerror or error}"
    return _disk_problem(run_dir)


def _disk_problem(run_dir: str) -> str | None:
    """Return what is wrong with the disk below a local run folder, or None."""
    import shutil

    if not storage.is_local(run_dir):
        return None
    free = shutil.disk_usage(storage.local_path(run_dir)).free
    if free < FREE_DISK:
        return f"has {free / 1e9:.1f} GB free in {run_dir}, at least {FREE_DISK / 1e9:.1f} GB are needed"
    return None


def check(client: Any, run_dir: str | None) -> None:
    """Compare scheduler and workers with this process.

    Parameters
    ----------
    run_dir : run folder that every worker must see and be able to write to; None: not checked.

    Raises
    ------
    BackendError
        A node differs, or lacks memory, disk or the run folder; the message lists the problems.
    """
    token = f".preflight-{secrets.token_hex(8)}"
    if run_dir:
        storage.write_bytes(storage.join(run_dir, token), b"")
    try:
        mine = describe_node(run_dir, token)
        nodes = _describe_nodes(client, run_dir, token)
    finally:
        if run_dir:
            storage.remove(storage.join(run_dir, token))
    problems = [f"this process ({mine['host']}): {mine['folder']}"] if mine["folder"] else []
    for node, theirs in nodes.items():
        problems.extend(f"{node}: {what}" for what in differences(mine, theirs))
    problems += _memory_problems(client)
    refuse(problems)


def refuse(problems: list[str]) -> None:
    """Raise BackendError that lists the problems; return if there are none."""
    if problems:
        more = [f"... and {len(problems) - MOST_SHOWN} more."] if len(problems) > MOST_SHOWN else []
        raise BackendError(
            "\n".join(
                [
                    "the cluster is not fit for this run:",
                    *problems[:MOST_SHOWN],
                    *more,
                    "Install the same winnow and dependencies everywhere, start the workers again, and keep "
                    "the run folder where all of them see it.",
                ]
            )
        )


def differences(mine: Description, theirs: Description) -> list[str]:
    """Return one sentence for every difference that makes another node unfit."""
    if "failure" in theirs:
        return [str(theirs["failure"])]
    found = [
        f"{name} {theirs[name]}, here it is {mine[name]}" for name in ("python", "winnow") if theirs[name] != mine[name]
    ]
    if theirs["code"] != mine["code"]:
        found.append(_code_difference(theirs))
    for name, version in mine["packages"].items():
        if theirs["packages"].get(name) != version:
            found.append(f"{name} {theirs['packages'].get(name)}, here it is {version}")
    return [*found, str(theirs["folder"])] if theirs["folder"] else found


def _code_difference(theirs: Description) -> str:
    """Return a sentence that names the source files in which a node differs."""
    own, other = code_files(), theirs.get("files") or {}
    names = sorted(path for path in own.keys() | other.keys() if own.get(path) != other.get(path))
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"other winnow code ({theirs['code']}, here it is {code_digest()}): {listed} differ"


def _describe_nodes(client: Any, run_dir: str | None, token: str) -> dict[str, Description]:
    """Return the descriptions of the scheduler and of every worker, by role, address and host."""
    describe_worker = _describer(run_dir, token, code_digest())
    describe_scheduler = _describer(None, token, code_digest())  # a scheduler touches no file
    nodes: dict[str, Description] = {}
    scheduler = call_with_timeout(lambda: client.run_on_scheduler(describe_scheduler), ANSWER_SECONDS, "the scheduler")
    nodes[f"scheduler on {scheduler.get('host', '?')}"] = scheduler
    answers = call_with_timeout(lambda: client.run(describe_worker, on_error="return"), ANSWER_SECONDS, "a worker")
    for address, answer in answers.items():
        if isinstance(answer, BaseException):
            answer = {"failure": f"cannot be asked: {type(answer).__name__}: {answer}"}
        nodes[f"worker {address} on {answer.get('host', '?')}"] = answer
    return nodes


def _describer(run_dir: str | None, token: str, code: str) -> Callable[[], dict[str, Any]]:
    """Return a function that describes the node it runs on, with its source files if their digest is not `code`."""

    def describe() -> dict[str, Any]:  # nested, so pickled by value: the node may lack winnow
        import socket
        import sys

        name = {"host": socket.gethostname()}
        try:
            from cluster import codebase
            from cluster.kinds import preflight

            answer = preflight.describe_node(run_dir, token)
            if answer["code"] != code:
                answer["files"] = dict(codebase.code_files())
        except (ImportError, AttributeError, OSError) as error:
            return {**name, "failure": f"{type(error).__name__}: {error} (Python {sys.executable})"}
        return answer

    return describe


def _memory_problems(client: Any) -> list[str]:
    """Return a sentence for every worker with less than MEMORY_PER_THREAD for each thread."""
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
