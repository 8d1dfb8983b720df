"""Fuzzing: bytes changed by a seed, each case held to its promise in a process of its own, bounded in memory and CPU.

A target is a module with `kinds()`, `prepare(kind, folder)`, which returns what a case needs, and `case(ready, draw)`,
which returns "read" or "refused", another sentence where a promise is broken, or raises. One process tries many seeds
of a kind, so a segmentation fault, a hang and a killed process have the seed that was begun last. A finding is made
again by `python -m tests.support.fuzzing TARGET SEED SEED+1 KIND`.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from cluster.engines.peak_memory import peak_memory

CPU_SECONDS = 30  # of one case; none should need more than one or two
MEMORY = 700 << 20  # bytes that one case may add to the resident size: bounds.py allows 256 MB for a line
ADDRESS_SPACE = 8 << 30  # beyond what is mapped at the start: a length that a file makes up must not be allocated
INTERESTING = (0, 1, 2, 7, 127, 128, 255, 256, 32767, 65535, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40)


def mutated(data: bytes, draw: random.Random, others: tuple[bytes, ...] = ()) -> bytes:
    """Return bytes with one to four changes, of which half lie in the last kilobyte: footers are there."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        found = _changed(found, draw, others)
    return bytes(found)


def _changed(data: bytearray, draw: random.Random, others: tuple[bytes, ...]) -> bytearray:
    size = len(data)
    at = draw.randrange(max(0, size - 1024), size) if size and draw.random() < 0.5 else draw.randrange(size + 1)
    length = min(draw.choice((1, 2, 4, 16, 64, 512, size // 2 + 1)), size - at)
    how = draw.randrange(9)
    if how <= 2 and at < size:
        data[at] ^= 1 << draw.randrange(8)
    elif how == 3:
        number = draw.choice(INTERESTING) * draw.choice((1, -1)) & (1 << 64) - 1
        width = draw.choice((1, 2, 4, 8))
        data[at : at + width] = number.to_bytes(8, draw.choice(("little", "big")))[:width]
    elif how == 4:
        del data[at : at + length]
    elif how == 5:
        data[at:at] = data[at : at + length] * draw.choice((1, 2, 200))
    elif how == 6:
        data[at : at + length] = draw.choice((bytes(length), b"\xff" * length, draw.randbytes(length)))
    elif how == 7:
        del data[at:]
    else:
        other = draw.choice(others) if others else bytes(data)
        start = draw.randrange(len(other) + 1)
        data[at : at + length] = other[start : start + length]
    return data


# --- the process of the cases ------------------------------------------------------------------------------


def try_seeds(target: Any, first: int, stop: int, kinds: list[str]) -> None:
    """Try these seeds of each kind; print a JSON line at the beginning of each, for each finding, and for each kind."""
    _bound_this_process(target)
    for kind in kinds:
        ends: Counter[str] = Counter()
        with tempfile.TemporaryDirectory() as folder:
            ready = target.prepare(kind, Path(folder))
            for seed in range(first, stop):
                print(json.dumps({"kind": kind, "begin": seed}), flush=True)
                before = _fresh_peak()
                signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
                end = _end(target, ready, random.Random(f"{kind} {seed}"))
                signal.setitimer(signal.ITIMER_PROF, 0)
                if (grown := peak_memory() - before) > MEMORY:
                    end = f"the case took {grown >> 20} MB"
                ends[end if end in ("read", "refused") else "found"] += 1
                if end not in ("read", "refused"):
                    print(json.dumps({"kind": kind, "seed": seed, "finding": end}), flush=True)
        print(json.dumps({"kind": kind, "ends": ends}), flush=True)


def _end(target: Any, ready: Any, draw: random.Random) -> str:
    """Return how a case ends; a traceback where it raises."""
    try:
        return str(target.case(ready, draw))
    except BaseException:
        return traceback.format_exc()[-3000:]


def _bound_this_process(target: Any) -> None:
    """Let one kind be prepared, so that what is loaded and compiled is there; then nothing large may be mapped."""
    with tempfile.TemporaryDirectory() as folder:
        target.prepare(target.kinds()[0], Path(folder))
    faulthandler.enable()
    faulthandler.register(signal.SIGPROF, chain=True)  # tells where it hangs, then the process ends
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (mapped + ADDRESS_SPACE, resource.RLIM_INFINITY))


def _fresh_peak() -> int:
    """Reset the peak of resident memory; return what it is then."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


# --- the test's side ---------------------------------------------------------------------------------------


def findings(target: str, first: int, stop: int, kinds: tuple[str, ...]) -> tuple[list[str], dict[str, Counter[str]]]:
    """Try seeds in a process of their own; return what was found, and how the cases of each kind ended."""
    command = [sys.executable, "-m", "tests.support.fuzzing", target, str(first), str(stop), *kinds]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = [f"{target} {line['kind']} {line['seed']}: {line['finding']}" for line in lines if "finding" in line]
    if done.returncode:
        begun = next((f"{line['kind']} {line['begin']}" for line in reversed(lines) if "begin" in line), "start")
        found.append(f"{target} {begun}: the process ended with {done.returncode}\n{done.stderr[:3000]}")
    return found, {line["kind"]: Counter(line["ends"]) for line in lines if "ends" in line}


if __name__ == "__main__":
    _, name, begin, end, *which = sys.argv
    module = importlib.import_module(name)
    try_seeds(module, int(begin), int(end), which or list(module.kinds()))
