"""Slurm (cluster.kind slurm): workers as jobs of a queue (dask-jobqueue), or one batch script for a whole run.

Guarantees: the script needs nothing but bash, srun and this Python; scheduler and workers end with the run,
and the same script submitted again resumes the run where it stopped.
"""

from __future__ import annotations

import importlib
import os
import shlex
import shutil
import site
import sys
from typing import Any

from cluster import storage
from cluster.codebase import package_folder
from cluster.engines.engine import Engine
from cluster.engines.timeouts import try_with_timeout
from cluster.errors import BackendError, RecipeError, innermost
from cluster.kinds.attach import attach
from cluster.kinds.certificate import tls_keywords
from cluster.options import (
    DASK_SETTINGS,
    LOOPBACK_PAGES,
    THREADS_PER_WORKER,
    ClusterOptions,
    SlurmOptions,
    dashboard_keywords,
    link_settings,
    threads_of_gpu_worker,
)

SUBMIT = "sbatch"
CLOSING = 15.0  # seconds
MEMORY_SHARE = 0.9  # of a job's memory for its workers; scheduler and run, on the first node, hold a few hundred MB
DASK_CUDA = "dask_cuda.cli"  # one worker process for each GPU that the job was given

CERTIFICATE = (  # lines of the batch script
    'TLS="${FILE%.json}.tls"  # a certificate of its own: nobody else can send this job tasks',
    'trap \'kill "${workers:-}" "${scheduler:-}" 2>/dev/null || true; rm -rf "$FILE" "$TLS"\' EXIT',
    '"$PYTHON" -P -m cluster.kinds.certificate "$TLS"',
    'export DASK_DISTRIBUTED__COMM__TLS__CA_FILE="$TLS/cert.pem" DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True',
    "for role in SCHEDULER WORKER CLIENT; do",
    '    export "DASK_DISTRIBUTED__COMM__TLS__${role}__CERT=$TLS/cert.pem"',
    '    export "DASK_DISTRIBUTED__COMM__TLS__${role}__KEY=$TLS/key.pem"',
    "done",
)


def start(options: ClusterOptions, run_dir: str | None) -> Engine:
    """Submit Slurm jobs with workers and return the engine on them; the jobs end with the run."""
    import dask
    import distributed

    if shutil.which(SUBMIT) is None:
        raise BackendError(
            f"cluster.kind slurm submits jobs with {SUBMIT}, which is not on the PATH here. Run it where jobs are "
            "submitted, or in a job by `winnow slurm-script`."
        )
    with dask.config.set(DASK_SETTINGS):
        cluster = job_cluster(options, run_dir)
        client: Any = distributed.Client(cluster, set_as_default=False)  # type: ignore[no-untyped-call]

    def close() -> None:
        client.close()
        cluster.close()

    try:
        while len(cluster.worker_spec) < options.slurm.jobs:  # as `scale` does, which only logs what sbatch says
            cluster.worker_spec.update(cluster.new_worker_spec())
        cluster.sync(cluster._correct_state, callback_timeout=options.wait)
    except Exception as error:
        for job in cluster._created:  # closing asserts that each was begun or ended
            job.status = distributed.Status.closed if job.status == distributed.Status.created else job.status
        try_with_timeout(close, CLOSING)
        said = " ".join(str(innermost(error)).split())[:1000]
        raise BackendError(f"{SUBMIT} took no job: {said or type(error).__name__}. Look at cluster.slurm.") from None
    return attach(client, close, options, run_dir, f"Slurm, {options.slurm.jobs} jobs")


def job_cluster(options: ClusterOptions, run_dir: str | None = None) -> Any:
    """Return dask-jobqueue's SLURMCluster without jobs yet; the jobs read its certificate in the run folder.

    Raises
    ------
    BackendError
        dask-jobqueue is not installed.
    """
    try:
        jobqueue: Any = importlib.import_module("dask_jobqueue")
    except ImportError:
        raise BackendError(
            "cluster.kind slurm needs dask-jobqueue: pip install 'winnow-mix[slurm]'. Without it, "
            "`winnow slurm-script` prints a batch script that needs no package."
        ) from None
    asked = options.slurm
    processes, threads = job_processes_and_threads(options)
    on_gpus: dict[str, Any] = {"worker_command": DASK_CUDA} if asked.gpus else {}
    return jobqueue.SLURMCluster(
        cores=asked.cores,
        memory=asked.memory,
        processes=processes,
        walltime=asked.walltime,
        queue=asked.partition,
        account=asked.account,
        interface=asked.interface,
        local_directory=asked.local_directory,
        python=f"{shlex.quote(sys.executable)} -P",
        job_name="winnow",
        job_script_prologue=[*asked.prologue, *_code_path()],
        job_extra_directives=[*_gpus(asked), *asked.directives],
        worker_extra_args=[  # the last of two --nthreads counts; dask-jobqueue's own is an equal share of the cores
            *(["--nthreads", str(threads)] if asked.gpus else []),
            *("--no-dashboard", "--dashboard-address", LOOPBACK_PAGES),
        ],
        scheduler_options=dashboard_keywords(options),
        shared_temp_directory=run_dir if run_dir and storage.is_local(run_dir) else os.getcwd(),
        **on_gpus,
        **tls_keywords(),
    )


def job_processes_and_threads(options: ClusterOptions) -> tuple[int, int]:
    """Return (worker processes, threads in each) of one job; with GPUs one process per GPU."""
    from dask.utils import parse_bytes

    cores, gpus = options.slurm.cores, options.slurm.gpus
    if gpus:
        memory = int(parse_bytes(options.slurm.memory) * MEMORY_SHARE)
        return gpus, threads_of_gpu_worker(options, gpus, cores, memory)
    processes = options.workers or max(1, cores // (options.threads_per_worker or THREADS_PER_WORKER))
    return processes, options.threads_per_worker or max(1, cores // processes)


def _gpus(asked: SlurmOptions) -> list[str]:
    """Return the sbatch option for GPUs, or none."""
    return [f"--gres=gpu:{asked.gpus}"] if asked.gpus else []


def batch_script(options: ClusterOptions, command: list[str], run_dir: str, name: str) -> str:
    """Return an sbatch script that starts scheduler and workers on a job's nodes, and runs `command` there.

    Parameters
    ----------
    command : command line for the first node; `--scheduler-file FILE` is added to it.
    run_dir : run folder on storage that every node sees; the scheduler file goes there.
    name : name of the job.

    Raises
    ------
    RecipeError
        A value would end or add an #SBATCH line (line break, or a blank in a partition or account).
    """
    asked = options.slurm
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {line}" for line in _directives(asked, name)),
        "",
        "# Starts a Dask scheduler and workers on the job's nodes and runs winnow on them. Submit it again to go on",
        "# where it stopped; Slurm does so by itself after a node failure (--requeue).",
        "set -euo pipefail",
        *asked.prologue,
        "export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False DASK_DISTRIBUTED__WORKER__MEMORY__TARGET=False",
        *_link(options),
        f"RUN={shlex.quote(run_dir)}",
        f"PYTHON={shlex.quote(sys.executable)}  # -P: a folder called stages beside the recipe hides no package",
        *_code_path(),
        'FILE="$RUN/scheduler-${SLURM_JOB_ID}-${SLURM_RESTART_COUNT:-0}.json"  # a try that was killed left its own',
        'mkdir -p "$RUN"',
        *CERTIFICATE,
        "",
        f"{_scheduler(options)} &",
        "scheduler=$!",
        f"{_workers(options)} &",
        "workers=$!",
        "",
        f'{shlex.join(command)} --scheduler-file "$FILE"',
    ]
    return "\n".join(lines) + "\n"


def _link(options: ClusterOptions) -> list[str]:
    """Return the line that tells scheduler and workers for how long a network link may be down."""
    settings = link_settings(options.link_timeout)
    names = {"DASK_" + key.replace(".", "__").replace("-", "_").upper(): value for key, value in settings.items()}
    return ["export " + " ".join(f"{name}={value}" for name, value in names.items())]


def _code_path() -> list[str]:
    """Return the line that names winnow's code to Python, where it is not installed but runs from a checkout."""
    root = str(package_folder("cluster").parent)
    if root in {*site.getsitepackages(), site.getusersitepackages()}:
        return []
    return [f'export PYTHONPATH={shlex.quote(root)}"${{PYTHONPATH:+:$PYTHONPATH}}"']


def _directives(asked: SlurmOptions, name: str) -> list[str]:
    """Return the #SBATCH options. Raises RecipeError for a line break, which would start a new line of the script."""
    from dask.utils import parse_bytes

    found = [
        f"--job-name={name}",
        f"--nodes={asked.jobs}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={asked.cores}",
        f"--mem={parse_bytes(asked.memory) >> 20}M",
        f"--time={asked.walltime}",
        "--open-mode=append",
        "--requeue",
    ]
    found += [f"--partition={asked.partition}"] if asked.partition else []
    found += [f"--account={asked.account}"] if asked.account else []
    found += [*_gpus(asked), *asked.directives]
    for line in found:
        if "\n" in line or (" " in line and line not in asked.directives):
            raise RecipeError(
                f"{line!r} cannot stand in a batch script: Slurm ends an option at a blank. "
                "Use a partition and an account without blanks or line breaks."
            )
    return found


def _scheduler(options: ClusterOptions) -> str:
    """Return the shell command that starts the scheduler."""
    return (
        '"$PYTHON" -P -m distributed.cli.dask_scheduler --scheduler-file "$FILE" --protocol tls --port 0'
        f"{_interface(options.slurm)} {_dashboard(options)}"
    )


def _workers(options: ClusterOptions) -> str:
    """Return the shell command that starts the workers of every node."""
    processes, threads = job_processes_and_threads(options)
    asked = options.slurm
    scratch = shlex.quote(asked.local_directory) if asked.local_directory else '"${SLURM_TMPDIR:-${TMPDIR:-/tmp}}"'
    module = DASK_CUDA if asked.gpus else "distributed.cli.dask_worker"
    count = "" if asked.gpus else f" --nworkers {processes}"
    worker = (
        f'"$PYTHON" -P -m {module} --scheduler-file "$FILE"{count} --death-timeout {options.link_timeout:.0f} '
        f"--nthreads {threads} --memory-limit {_memory(options)}{_interface(asked)} --local-directory {scratch} "
        f"--no-dashboard --dashboard-address {LOOPBACK_PAGES}"
    )
    # The scheduler file is removed at the end: until then workers that ended, such as by a lost link, come back.
    return f"export PYTHON FILE\nsrun --kill-on-bad-exit=0 bash -c {shlex.quote(_again(worker))}"


def _again(worker: str) -> str:
    """Return shell words that start workers again until the run has ended; a signal ends the loop with them."""
    return (
        f"trap 'kill $! 2>/dev/null; exit 0' TERM INT; "
        f'while [ -e "$FILE" ] || [ -z "${{started:-}}" ]; do {worker} & started=1; wait $! || true; sleep 5; done'
    )


def _memory(options: ClusterOptions) -> str:
    """Return the memory limit of one worker: a share of the job's memory, since a node may have more than that."""
    from dask.utils import parse_bytes

    processes, _ = job_processes_and_threads(options)
    return options.memory_limit or str(int(parse_bytes(options.slurm.memory) * MEMORY_SHARE) // processes)


def _dashboard(options: ClusterOptions) -> str:
    """Return the scheduler's command-line options for its dashboard, or for none."""
    shown = "--dashboard" if options.dashboard else "--no-dashboard"
    return f"{shown} --dashboard-address {shlex.quote(options.dashboard or LOOPBACK_PAGES)}"


def _interface(asked: SlurmOptions) -> str:
    """Return Dask's command-line option for the network interface, or an empty string."""
    return f" --interface {shlex.quote(asked.interface)}" if asked.interface else ""
