"""One virtual environment per peer, made with `venv` and pip below bench-out/envs; a given one can be used instead.

Guarantees: nothing is installed into the environment that runs winnow; versions are pinned here and reported.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from shutil import which

MADE = ".made"  # says that installation came to its end


class Unavailable(Exception):
    """A peer cannot be run here; the message says why. The benchmark goes on without it."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """An environment: what pip installs into it, and the Python it needs."""

    requirements: tuple[str, ...]
    distribution: str  # the one whose version is reported
    python: tuple[int, int] = (3, 11)  # at least


PEERS = {
    "datatrove": Peer(requirements=("datatrove[io,processing]==0.10.1", "spacy"), distribution="datatrove"),
    "text-dedup": Peer(requirements=("text-dedup==0.4.1",), distribution="text-dedup", python=(3, 12)),
    "datasketch": Peer(requirements=("datasketch==2.0.0", "pyarrow"), distribution="datasketch"),
    "rensa": Peer(requirements=("rensa==0.5.0", "pyarrow"), distribution="rensa"),
    "daft": Peer(requirements=("daft==0.7.26", "pyarrow"), distribution="daft"),
    "fasttext": Peer(
        requirements=("fasttext-community==0.11.9", "numpy", "pyarrow"), distribution="fasttext-community"
    ),
}


class Environments:
    """Find or make the environment of a peer, once per run."""

    def __init__(self, folder: Path, given: dict[str, Path]) -> None:
        self.folder = folder
        self.given = given
        self.versions: dict[str, str] = {}
        self.failed: dict[str, str] = {}

    def python(self, name: str) -> Path:
        """Return the interpreter of a peer's environment; raise Unavailable if it cannot be made."""
        if name in self.failed:
            raise Unavailable(self.failed[name])
        try:
            found = self.given[name] / "bin" / "python" if name in self.given else self._made(name)
            if name not in self.versions:
                self.versions[name] = _version(found, PEERS[name].distribution)
        except Unavailable as error:
            self.failed[name] = str(error)
            raise
        return found

    def _made(self, name: str) -> Path:
        peer, root = PEERS[name], self.folder / name
        python = root / "bin" / "python"
        wanted = "\n".join(peer.requirements)
        if (root / MADE).exists() and (root / MADE).read_text() == wanted:
            return python
        _call([interpreter(peer.python), "-m", "venv", "--clear", str(root)], name)
        _call([str(python), "-m", "pip", "install", "--quiet", *peer.requirements], name)
        (root / MADE).write_text(wanted)
        return python


def interpreter(at_least: tuple[int, int]) -> str:
    """Return a Python of at least this version: the running one, one on PATH, one of pyenv's."""
    if sys.version_info[:2] >= at_least:
        return sys.executable
    names = [f"python3.{minor}" for minor in range(at_least[1], at_least[1] + 3)]
    candidates = [path for path in map(which, names) if path]
    candidates += [str(path) for path in sorted(Path.home().glob(".pyenv/versions/3.*/bin/python3"))]
    for path in candidates:
        if _runs(path) >= at_least:
            return path
    raise Unavailable(f"needs Python {at_least[0]}.{at_least[1]} or later, and none was found")


def _runs(path: str) -> tuple[int, ...]:
    """Return the version of an interpreter, or an empty tuple if it is only a stub."""
    code = "import sys, json; print(json.dumps(sys.version_info[:2]))"
    done = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
    return tuple(json.loads(done.stdout)) if done.returncode == 0 else ()


def _call(command: list[str], name: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise Unavailable(f"the environment of {name} could not be made: {lines[-1]}")


def _version(python: Path, distribution: str) -> str:
    code = f"from importlib.metadata import version; print(version({distribution!r}))"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{python} does not run or has no {distribution}")
    return done.stdout.strip()
