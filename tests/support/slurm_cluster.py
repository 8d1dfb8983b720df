"""A real Slurm on this machine: munged, slurmctld and two slurmd, started by hand as a user's own processes."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.support.dask_processes import wait_for

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "squeue", "sinfo")
CONFIGURATION = """
ClusterName=winnow
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=1,sched_interval=1
MpiDefault=none
ReturnToService=2
KillWait=3
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=4000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=4000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """Return which of Slurm's programs are not installed here."""
    return [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class SlurmCluster:
    """Two nodes, n1 and n2, that are both this machine; everything lies in `folder` and ends with `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {**os.environ, "PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")}
        (folder / "state").mkdir(parents=True)
        key = folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(1024))
        host = socket.gethostname().partition(".")[0]
        text = CONFIGURATION.format(
            folder=folder, host=host, user=getpass.getuser(), ports=[free_port() for _ in range(3)]
        )
        (folder / "slurm.conf").write_text(text)
        ends = {"key-file": "key", "socket": "socket", "pid-file": "pid", "seed-file": "seed"}
        places = [f"--{name}={folder}/munge.{end}" for name, end in ends.items()]
        self._processes: list[subprocess.Popen[bytes]] = []
        self._start("munged", "--foreground", "--force", *places)
        wait_for((folder / "munge.socket").exists)
        self._start("slurmctld", "-D", "-c")
        for node in ("n1", "n2"):
            (folder / f"spool-{node}").mkdir()
            self._start("slurmd", "-D", "-N", node)
        wait_for(self.idle)

    def _start(self, *command: str) -> None:
        log = open(self.folder / f"{command[0]}{len(self._processes)}.log", "wb")  # noqa: SIM115
        with log:
            process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._processes.append(process)

    def ask(self, *command: str, **more: Any) -> str:
        """Run one of Slurm's commands and return what it prints."""
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60, **more).stdout.strip()

    def idle(self) -> bool:
        """Tell whether both nodes are free."""
        return self.ask("sinfo", "-h", "-N", "-o", "%T").split() == ["idle", "idle"]

    def submit(self, script: str, cwd: Path) -> str:
        """Hand a batch script over as a user does, on standard input; return the job's number."""
        return self.ask("sbatch", "--parsable", "--output=%j.out", input=script, cwd=cwd, check=True)

    def state(self, job: str) -> str:
        """Return a job's state, such as RUNNING or COMPLETED."""
        words = self.ask("scontrol", "-o", "show", "job", job).split()
        return next(word.partition("=")[2] for word in words if word.startswith("JobState="))

    def ended(self, job: str) -> str:
        """Wait for the end of a job and return its last state."""
        wait_for(lambda: self.state(job) not in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING"), 240)
        return self.state(job)

    def close(self) -> None:
        self.ask("scancel", "--user", getpass.getuser())
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not self.ask("squeue", "-h"), 20)
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            process.wait(20)
