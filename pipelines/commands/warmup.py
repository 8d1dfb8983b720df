"""`winnow warmup`: compile the kernels of this machine before a run needs them, in parallel processes.

Guarantees: kernels are compiled by the calls that runs make, so what a run loads is what was compiled; what is there
already is loaded and not compiled again. A process holds a few short texts.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.device import kernel_cache
from cluster.errors import BackendError
from cluster.options import available_cores

PROSE = "The first of {n} notes says that rivers and bridges have names, and that people with time read them often. "
TEXTS = [
    *(PROSE.format(n=n) * 6 + f"Line {n}\n\nWhat is left stands here: {n}.\n" for n in range(8)),
    PROSE.format(n=1) * 6 + "Line 1\n\nWhat is left stands here, nearly: 1.\n",
    PROSE.format(n=1) * 5 + "Another end, so that similarity has to be computed from the texts themselves.\n",
    "Caf\u00e9 \u6f22\u5b57 mail me@example.com, 192.0.2.7 &amp; +49 30 1234567 \u0e01\u0e02\u0e04\n* item\n" * 4,
]


@dataclass(frozen=True, kw_only=True)
class Family:
    """Kernels that are used together. seconds: what compiling them took on one core; mark: files of the cache.

    common : the functions that it shares with other families, by a name in COMMON; a process compiles them once.
    """

    name: str
    seconds: float
    mark: str  # pattern of the name of the last kernel that is compiled
    stages: frozenset[str] = frozenset()  # that use them
    common: str = ""


COMMON = {"sketches": 4.5}  # seconds
FAMILIES = (
    Family(name="fasttext", seconds=10, mark="kernels.best_labels-*.nbi", stages=frozenset({"language_id"})),
    Family(name="heuristics", seconds=7.5, mark="heuristics.judge-*.nbi", stages=frozenset({"heuristics"})),
    Family(name="deduplication", seconds=8, mark="jaccard.*.nbi", stages=frozenset({"near_dedup"}), common="sketches"),
    Family(name="signatures", seconds=3.5, mark="sketch.sketch_seeds-*.nbi", common="sketches"),
    Family(
        name="lines",
        seconds=3.5,
        mark="line_counts.*.nbi",
        stages=frozenset({"line_rules", "line_dedup", "decontaminate"}),
    ),
    Family(name="pii", seconds=1, mark="pii_windows.*.nbi", stages=frozenset({"pii"})),
    Family(name="components", seconds=0.5, mark="component_survivors.*.nbi", common="sketches"),
    Family(name="words", seconds=0.5, mark="word_sketch.words32-*.nbi"),
    Family(name="repair", seconds=0.3, mark="repair_signs.*.nbi", stages=frozenset({"repair"})),
    Family(name="semantics", seconds=0.2, mark="cosine._roots-*.nbi", stages=frozenset({"semantic_dedup"})),
)


def missing(stages: Iterable[str]) -> list[Family]:
    """Return the families that these stages use and no process has compiled yet; stages: as recipes name them."""
    folder, asked = kernel_cache.folder(), set(stages)
    used = [family for family in FAMILIES if family.stages & asked]
    return [family for family in used if next(folder.rglob(family.mark), None) is None]


def compile_missing(stages: Iterable[str], tell: Callable[[str], None]) -> None:
    """Compile what these stages need and no process has compiled yet, where several processes can; tell what and why.

    A single family, or what fails here, is left to the run, which compiles it on first use.
    """
    found = missing(stages)
    if not found:
        return
    parts = _shared_out(found, available_cores())
    names = ", ".join(family.name for family in found)
    how = f"in {len(parts)} processes" if len(parts) > 1 else "on one core"
    tell(
        f"compiling kernels for {names} on first use, about {max(map(_cost, parts)):.0f} s {how}, once per machine "
        "(`winnow warmup` does it beforehand)"
    )
    if len(parts) > 1:
        with contextlib.suppress(BackendError):
            _compile(parts, lambda _: None)


def warm_up(workers: int | None = None, tell: Callable[[str], None] | None = None) -> float:
    """Compile what is missing, in as many processes as cores; return the seconds it took.

    tell : is given a line after each family, with what is left.

    Raises
    ------
    BackendError
        a process failed; the message ends with what it printed.
    """
    return _compile(_shared_out(FAMILIES, workers or available_cores()), tell or (lambda _: None))


def _compile(parts: list[list[Family]], say: Callable[[str], None]) -> float:
    """Compile each part in a process of its own; return the seconds it took."""
    begin = time.monotonic()
    processes = [_start([family.name for family in part]) for part in parts]
    left = {family.name: family.seconds for part in parts for family in part}
    every = sum(left.values())
    say(f"{len(left)} groups of kernels, {len(processes)} processes, cache {kernel_cache.folder()}")
    for name, seconds in _finished(processes):
        expected = left.pop(name)
        ahead = (time.monotonic() - begin) * sum(left.values()) / (every - sum(left.values()))
        more = f", about {ahead:.0f} s left" if left else ""
        say(f"{name}: {seconds:.1f} s{' (was there)' if seconds < expected / 8 else ''}{more}")
    return time.monotonic() - begin


def _cost(part: Iterable[Family]) -> float:
    """Return the seconds in which one process compiles these families, what they share once."""
    part = list(part)
    return sum(f.seconds for f in part) + sum(COMMON[name] for name in {f.common for f in part if f.common})


def _shared_out(families: Iterable[Family], workers: int) -> list[list[Family]]:
    """Return the families by process: those that take long alone first, each to where it is done first."""
    parts: list[list[Family]] = [[] for _ in range(workers)]
    for family in sorted(families, key=lambda f: -_cost([f])):
        min(parts, key=lambda part: _cost([*part, family])).append(family)
    return [part for part in parts if part]


def _start(names: list[str]) -> subprocess.Popen[str]:
    code = f"from pipelines.commands.warmup import compile_here; compile_here({names!r})"
    home = str(Path(__file__).parents[2])
    inside = f"import sys; sys.path.insert(0, {home!r}); {code}"
    return subprocess.Popen(
        [sys.executable, "-c", inside], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=home
    )


def _finished(processes: list[subprocess.Popen[str]]) -> Iterator[tuple[str, float]]:
    """Yield (family, seconds) as processes print them. Raises BackendError where one fails; ends the others."""
    import selectors

    with selectors.DefaultSelector() as ready:
        for process in processes:
            ready.register(process.stdout, selectors.EVENT_READ, process)  # type: ignore[arg-type]
        try:
            while ready.get_map():
                for key, _ in ready.select():
                    line = key.fileobj.readline()  # type: ignore[union-attr]
                    if line:
                        name, seconds = json.loads(line)
                        yield name, seconds
                        continue
                    ready.unregister(key.fileobj)
                    _check(key.data)
        finally:
            for process in processes:
                process.kill()
                process.communicate()


def _check(process: subprocess.Popen[str]) -> None:
    printed = process.stderr.read() if process.stderr else ""
    if process.wait():
        tail = printed.strip().splitlines()[-1:] or ["nothing"]
        raise BackendError(f"compiling kernels failed (exit code {process.returncode}): {tail[0]}")


def compile_here(names: Iterable[str]) -> None:
    """Compile families in this process; print a JSON line (name, seconds) after each."""
    from pipelines.commands import kernel_calls

    for name in names:
        begin = time.monotonic()
        getattr(kernel_calls, name)(TEXTS)
        print(json.dumps([name, time.monotonic() - begin]), flush=True)
