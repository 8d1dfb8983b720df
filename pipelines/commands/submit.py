"""Send a recipe to a Ray cluster as a job: upload, start, follow, ask, stop.

Guarantees: what is uploaded is the recipe and winnow's own code, or the working folder if one is named (Ray
leaves out what .rayignore and .gitignore name); inputs and run folder stay where they are, on storage that
the cluster sees. The job is `python -m pipelines run RECIPE --run-dir RUN --cluster ray`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cluster import storage
from cluster.codebase import PACKAGES, package_folder
from cluster.errors import BackendError, RecipeError
from pipelines.commands.ray_python import finding
from pipelines.recipe.problems import shown_override
from pipelines.recipe.recipe import builtin_names, load_recipe

RECIPE = "recipe.yaml"
PASSED = ("WINNOW_MODELS",)  # variables that go along; Ray writes them to its logs, so none may be a secret
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
LOOK = 1.0  # seconds between questions about a job
PATIENCE = 60.0  # seconds without an answer after which a job is given up
STARTING = "No available agent"  # what a head node says that has just been started
TOKEN = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as on the head node, or copy its ~/.ray/auth_token."


def client(address: str | None) -> Any:
    """Return Ray's job client. Raises BackendError where Ray is missing or nobody answers."""
    try:
        from ray.exceptions import AuthenticationError
        from ray.job_submission import JobSubmissionClient
    except ImportError:
        raise BackendError("`winnow submit` needs Ray on this machine: pip install 'winnow-mix[ray]'.") from None
    where = address or os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS")
    if not where:
        raise BackendError("give --address http://HEAD:8265 (the dashboard of the Ray cluster), or set RAY_ADDRESS.")
    try:
        jobs = JobSubmissionClient(where)
        for name in [n for n in logging.root.manager.loggerDict if n.startswith("ray.")]:
            logging.getLogger(name).setLevel(logging.WARNING)  # every upload is told at INFO
        return jobs
    except AuthenticationError:
        raise BackendError(f"{where} wants another token: {TOKEN}") from None
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BackendError(f"no Ray dashboard answers at {where}: {_short(error)}") from None


def submit(
    jobs: Any,
    recipe: str,
    run_dir: str,
    *,
    overrides: Sequence[str] = (),
    flags: Sequence[str] = (),
    working_dir: str | None = None,
    python: str | None = None,
) -> str:
    """Upload a recipe and start its run; return the id of the job.

    Parameters
    ----------
    jobs : Ray's job client.
    recipe : file or built-in name; read, and checked, here.
    run_dir : run folder as the cluster sees it; a relative one is taken from the current folder.
    overrides : as of `--set`.
    flags : further flags of `winnow run`.
    working_dir : folder to upload, in which relative paths then start. None: only recipe and code are
        uploaded, and relative paths start in the current folder, which the cluster should see.
    python : interpreter on the cluster; None: the first one there that has what winnow needs.

    Raises
    ------
    RecipeError
        The recipe is wrong, or lies outside `working_dir`.
    BackendError
        The cluster refuses the job.
    """
    parsed = load_recipe(recipe, overrides)
    where = run_dir if not storage.is_local(run_dir) or working_dir else os.path.abspath(run_dir)
    tail = ["--run-dir", where, "--cluster", "ray", *flags]
    with tempfile.TemporaryDirectory(prefix="winnow-submit-") as staging:
        if working_dir is None:
            (Path(staging) / RECIPE).write_text(parsed.to_yaml(secrets=True), encoding="utf-8")
            command = finding(python) + _from_here('"$PYTHON" -P -m pipelines run', shlex.join(tail))
        else:
            _check_overrides(overrides)
            _check_names(Path(working_dir))
            sets = [part for override in overrides for part in ("--set", override)]
            words = ["-P", "-m", "pipelines", "run", _inside(recipe, working_dir), *tail, *sets]
            command = finding(python) + f'exec "$PYTHON" {shlex.join(words)}'
        return _submit(jobs, command, working_dir or staging, parsed.name)


def _check_overrides(overrides: Sequence[str]) -> None:
    """Raise RecipeError for a `--set` whose value is a secret: the job's command line is shown to everybody."""
    for override in overrides:
        if shown_override(override) != override:
            raise RecipeError(
                f"--set {shown_override(override)} would stand in the command line of the job. Write it in the recipe."
            )


def _is_checkout(folder: Path) -> bool:
    """Tell whether a folder holds winnow's own packages."""
    return all((folder / mark).is_file() for mark in ("cluster/codebase.py", "pipelines/__main__.py", "stages/base.py"))


def _check_names(folder: Path) -> None:
    """Raise RecipeError where the folder to upload holds something that Python would take for a package of winnow."""
    hides = [name for name in PACKAGES if (folder / name).is_dir() or (folder / f"{name}.py").exists()]
    if hides and not _is_checkout(folder):
        raise RecipeError(
            f"--working-dir {folder} holds {', '.join(hides)}, which would hide winnow's packages of that name on the "
            "cluster. Rename them, or leave --working-dir out: recipe and code are then uploaded without them."
        )


def _from_here(head: str, tail: str) -> str:
    """Return the command that runs the uploaded recipe in the folder this process is in, if it is there."""
    here = shlex.quote(os.getcwd())
    warn = shlex.quote(f"{os.getcwd()} is not on this cluster: relative paths start in the upload")
    return f'UPLOAD="$PWD"; cd {here} 2>/dev/null || echo {warn} >&2; exec {head} "$UPLOAD"/{RECIPE} {tail}'


def _inside(recipe: str, working_dir: str) -> str:
    """Return the recipe's path inside the folder that is uploaded; names of built-in recipes stay."""
    if recipe in builtin_names() and not os.path.exists(recipe):
        return recipe
    path = os.path.relpath(os.path.realpath(recipe), os.path.realpath(working_dir))
    if path.startswith(".."):
        raise RecipeError(f"the recipe {recipe} lies outside --working-dir {working_dir}. Put it there.")
    return path


def _submit(jobs: Any, command: str, working_dir: str, name: str) -> str:
    code = [] if _is_checkout(Path(working_dir)) else [str(package_folder(n)) for n in PACKAGES]
    environment = {
        "working_dir": working_dir,
        "py_modules": code,
        "excludes": ["**/__pycache__"],
        "env_vars": {name: os.environ[name] for name in PASSED if name in os.environ},
    }
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return str(jobs.submit_job(entrypoint=command, runtime_env=environment, metadata={"winnow": name}))
        except (RuntimeError, ValueError, OSError) as error:
            if STARTING not in str(error) or time.monotonic() > end:
                raise BackendError(f"the job cannot be submitted: {_short(error)}") from None
        time.sleep(LOOK)


def follow(jobs: Any, job: str, write: Callable[[str], object]) -> str:
    """Write a job's log as it grows, until the job ends; return its status.

    Raises BackendError if there is no such job, or if nobody answers for PATIENCE seconds.
    """
    from aiohttp import ClientError

    sent = 0

    async def tail() -> None:
        nonlocal sent
        skip = sent  # a connection that was lost begins again with the whole log
        async for text in jobs.tail_job_logs(job):
            fresh, skip = text[skip:], max(0, skip - len(text))
            sent += len(fresh)
            write(fresh)

    state, heard = status(jobs, job)["status"], time.monotonic()
    while True:
        try:
            asyncio.run(tail())
        except BrokenPipeError:  # nobody reads what is written
            raise
        except (ClientError, OSError, RuntimeError):
            logging.getLogger(__name__).debug("the log of job %s broke off", job, exc_info=True)
        try:
            state, heard = status(jobs, job)["status"], time.monotonic()
        except BackendError as error:
            if time.monotonic() - heard > PATIENCE:
                raise BackendError(f"{error} The job may go on: winnow submit --follow {job}") from None
        if state in ENDED:
            return str(state)
        time.sleep(LOOK)


def status(jobs: Any, job: str) -> dict[str, Any]:
    """Return status, message, times (Unix seconds) and command of a job. Raises BackendError if there is none."""
    info = _asked(jobs.get_job_info, job)
    ends = {"start": info.start_time, "end": info.end_time}
    times = {name: None if value is None else value / 1000 for name, value in ends.items()}
    state = str(getattr(info.status, "value", info.status))
    return {"job": job, "status": state, "message": info.message, **times, "command": info.entrypoint}


def stop(jobs: Any, job: str, seconds: float = 60.0) -> str:
    """Stop a job, wait for its end and return its status. What it finished stays."""
    _asked(jobs.stop_job, job)
    end = time.monotonic() + seconds
    while (state := str(status(jobs, job)["status"])) not in ENDED and time.monotonic() < end:
        time.sleep(LOOK)
    return state


def _asked(question: Callable[[str], Any], job: str) -> Any:
    try:
        return question(job)
    except (RuntimeError, OSError) as error:  # OSError: ConnectionError and what requests raises
        raise BackendError(f"job {job}: {_short(error)}") from None


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
