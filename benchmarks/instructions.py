"""`python -m benchmarks.instructions [--write]`: count the instructions of kernels, compare with the last release.

Counts do not depend on what else a machine does, nor, since kernels are compiled for one kind of processor, on the
machine. Valgrind's callgrind counts (counted_kernels.py). Committed figures are in instructions.json; a kernel that
needs over 5 % more fails. Figures of another LLVM are shown and not judged, as compilers differ by more than that.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FIGURES = Path(__file__).with_name("instructions.json")
ALLOWED = 0.05  # more than the figure
# Kernels are compiled for this processor, which valgrind knows as well; the names are LLVM's.
PROCESSOR = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+sse3,+ssse3,+sse4.1,+sse4.2,+avx,+avx2,+fma,+bmi,+bmi2,+lzcnt,+movbe,+popcnt,+cx16",
}
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ARROW_IO_THREADS"), "1")


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Instructions by kernel, and the release and compiler that they are of."""

    release: str
    llvmlite: str
    instructions: dict[str, int]


def reason_to_skip() -> str:
    """Return why nothing can be counted here; empty where it can."""
    if platform.machine() not in ("x86_64", "AMD64") or sys.platform != "linux":
        return f"counting is written for Linux on x86-64, this is {sys.platform} on {platform.machine()}"
    return "" if shutil.which("valgrind") else "valgrind is not installed (apt-get install valgrind)"


def count() -> dict[str, int]:
    """Return the instructions of every kernel; compiles first what is not compiled for `PROCESSOR`."""
    environment = os.environ | PROCESSOR | ONE_THREAD | {"PYTHONHASHSEED": "0"}
    program = [sys.executable, "-m", "benchmarks.counted_kernels"]
    root = Path(__file__).resolve().parents[1]
    subprocess.run(program, env=environment, cwd=root, check=True, stderr=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as folder:
        valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/out"]
        subprocess.run([*valgrind, *program], env=environment, cwd=root, check=True, stderr=subprocess.DEVNULL)
        return counted(path.read_text(errors="replace") for path in sorted(Path(folder).iterdir()))


def counted(dumps: Iterable[str]) -> dict[str, int]:
    """Return the instructions of each kernel from callgrind's dumps.

    >>> counted(["desc: Trigger: Client Request: scripts\\n...\\ntotals: 12\\n", "desc: Trigger: Program termination"])
    {'scripts': 12}
    """
    found = {}
    for dump in dumps:
        name = re.search(r"^desc: Trigger: Client Request: (.+)$", dump, re.MULTILINE)
        total = re.search(r"^totals: (\d+)$", dump, re.MULTILINE)
        if name and total:
            found[name[1]] = int(total[1])
    return found


def compared(before: dict[str, int], now: dict[str, int]) -> tuple[list[str], list[str]]:
    """Return (a line for each kernel, what is wrong): more than ALLOWED more instructions, or a kernel that is gone.

    >>> compared({"a": 100, "b": 100}, {"a": 105, "b": 106})[1]
    ['b needs 106 instructions, 6.0 % more than 100; allowed are 5 %']
    """
    lines, wrong = [], []
    for name in {**before, **now}:
        old, new = before.get(name), now.get(name)
        if new is None:
            wrong.append(f"{name} is not counted any more; write new figures where that is meant")
        elif old is None:
            lines.append(f"{name:24}{new:>14,}  new")
        else:
            lines.append(f"{name:24}{new:>14,}  {new / old - 1:+.1%}")
            if new > old * (1 + ALLOWED):
                more = f"{100 * (new / old - 1):.1f} % more than {old:,}"
                wrong.append(f"{name} needs {new:,} instructions, {more}; allowed are {100 * ALLOWED:.0f} %")
    return lines, wrong


def here(instructions: dict[str, int]) -> Figures:
    """Return figures of this release and compiler."""
    from importlib.metadata import version

    return Figures(release=version("winnow-mix"), llvmlite=version("llvmlite"), instructions=instructions)


def read(path: Path = FIGURES) -> Figures:
    """Return the committed figures."""
    return Figures(**json.loads(path.read_text()))


def write(figures: Figures, path: Path = FIGURES) -> None:
    """Write figures to be committed."""
    path.write_text(json.dumps(vars(figures), indent=2) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Count, print and compare; return the exit code: 0, or 1 where a kernel needs too many instructions."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the counts as the figures of this release")
    options = parser.parse_args(arguments)
    if reason := reason_to_skip():
        sys.stdout.write(f"skipped: {reason}\n")
        return 0
    now = here(count())
    if options.write:
        write(now)
    return tell(read(), now)


def tell(before: Figures, now: Figures) -> int:
    """Print how counts compare; return the exit code."""
    lines, wrong = compared(before.instructions, now.instructions)
    about = f"instructions, and the change since release {before.release} (llvmlite {before.llvmlite})"
    sys.stdout.write("\n".join([about, *lines]) + "\n")
    if before.llvmlite.split(".")[:2] != now.llvmlite.split(".")[:2]:
        sys.stdout.write(f"not judged: the figures are of llvmlite {before.llvmlite}, this is {now.llvmlite}\n")
        return 0
    sys.stdout.write("".join(f"error: {sentence}\n" for sentence in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
