"""Hosts of their own on this machine: network namespaces on one switch, whose links can be cut and joined again.

Needs root and network namespaces; `why_not` says what is missing.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = itertools.count(1)


def why_not() -> str:
    """Return why hosts cannot be made here; empty where they can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need root on Linux"
    if not (shutil.which("ip") and shutil.which("nsenter")):
        return "the programs ip and nsenter are needed"
    name = f"wn{os.getpid()}probe"
    for command in (["netns", "add", name], ["-n", name, "link", "add", "br0", "type", "bridge"]):
        done = subprocess.run(["ip", *command], capture_output=True, text=True, check=False)
        if done.returncode:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
            return f"namespaces cannot be made here: {done.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return ""


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Hosts:
    """Named hosts with an address each; everything that runs on them ends with the block."""

    def __init__(self, *names: str) -> None:
        self._id = f"wn{os.getpid() % 10_000}{next(NUMBERS)}"
        self._switch = f"{self._id}s"
        self.address: dict[str, str] = {}
        self._namespaces: dict[str, str] = {}
        self._running: list[subprocess.Popen[bytes]] = []
        self.names = names

    def __enter__(self) -> Hosts:
        try:
            _ip("netns", "add", self._switch)
            _ip("-n", self._switch, "link", "add", "br0", "type", "bridge")
            _ip("-n", self._switch, "link", "set", "br0", "up")
            for number, name in enumerate(self.names, 1):
                self._add(number, name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _add(self, number: int, name: str) -> None:
        space, port = f"{self._id}h{number}", f"p{number}"
        _ip("netns", "add", space)
        self._namespaces[name] = space
        _ip("link", "add", "eth0", "netns", space, "type", "veth", "peer", "name", port, "netns", self._switch)
        _ip("-n", self._switch, "link", "set", port, "master", "br0", "up")
        self.address[name] = f"10.79.0.{number}"
        _ip("-n", space, "addr", "add", f"{self.address[name]}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", space, "link", "set", device, "up")

    def command(self, host: str, *command: str) -> list[str]:
        """Return the command line that runs `command` on a host."""
        return ["nsenter", f"--net=/run/netns/{self._namespaces[host]}", *command]

    def start(self, host: str, log: Path, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a command on a host, in the folder of its log."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "wb") as file:
            process = subprocess.Popen(
                self.command(host, *command),
                stdout=file,
                stderr=file,
                cwd=log.parent,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
                start_new_session=True,
            )
        self._running.append(process)
        return process

    def cut(self, host: str) -> None:
        """Take the host's link away: nothing is refused, nothing is answered."""
        self._set(host, "down")

    def join(self, host: str) -> None:
        """Give the link back."""
        self._set(host, "up")

    def _set(self, host: str, state: str) -> None:
        port = f"p{self.names.index(host) + 1}"
        _ip("-n", self._switch, "link", "set", port, state)

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for space in [*self._namespaces.values(), self._switch]:
            self._end_all_in(space)
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)

    def _end_all_in(self, space: str) -> None:
        """End what still runs on a host, such as daemons that left their starter."""
        found = subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True, check=False)
        for pid in map(int, found.stdout.split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
