"""`winnow warmup`: compile the kernels of this machine before a run needs them, in parallel processes.

Guarantees: kernels are compiled by the calls that runs make, so what a run loads is what was compiled; what is there
already is loaded and not compiled again. A process holds a few short texts.
"""

from __future__ import annotations

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
    """Kernels that are used together. seconds: what compiling them took on one core; mark: files of the cache."""

    name: str
    seconds: float
    mark: str  # pattern of the name of the last kernel that is compiled
    stages: frozenset[str] = frozenset()  # that use them


FAMILIES = (
    Family(name="deduplication", seconds=9, mark="jaccard.*.nbi", stages=frozenset({"near_dedup"})),
    Family(name="heuristics", seconds=6.5, mark="heuristics.judge-*.nbi", stages=frozenset({"heuristics"})),
    Family(name="pii", seconds=1, mark="pii_windows.*.nbi", stages=frozenset({"pii"})),
    Family(name="fasttext", seconds=7, mark="kernels.best_labels-*.nbi", stages=frozenset({"language_id"})),
    Family(name="components", seconds=1.5, mark="component_survivors.*.nbi"),
    Family(name="signatures", seconds=2, mark="sketch.sketch_seeds-*.nbi"),
    Family(name="semantics", seconds=0.2, mark="cosine._roots-*.nbi", stages=frozenset({"semantic_dedup"})),
    Family(name="repair", seconds=0.3, mark="repair_signs.*.nbi", stages=frozenset({"repair"})),
    Family(name="words", seconds=0.5, mark="word_sketch.words32-*.nbi"),
    Family(
        name="lines",
        seconds=2.5,
        mark="line_counts.*.nbi",
        stages=frozenset({"line_rules", "line_dedup", "decontaminate"}),
    ),
)


def missing(stages: Iterable[str]) -> list[Family]:
    """Return the families that these stages use and no process has compiled yet; stages: as recipes name them."""
    folder = kernel_cache.folder()
    used = [family for family in FAMILIES if family.stages & set(stages)]
    return [family for family in used if next(folder.rglob(family.mark), None) is None]


def notice(stages: Iterable[str]) -> str:
    """Return a sentence on what a run of these stages compiles first; empty where all is there."""
    found = missing(stages)
    if not found:
        return ""
    names, seconds = ", ".join(family.name for family in found), sum(family.seconds for family in found)
    return (
        f"compiling kernels for {names} on first use, about {seconds:.0f} s of one core, once per machine "
        "(`winnow warmup` does it beforehand)"
    )


def warm_up(workers: int | None = None, tell: Callable[[str], None] | None = None) -> float:
    """Compile what is missing, in as many processes as cores; return the seconds it took.

    tell : is given a line after each family, with what is left.

    Raises
    ------
    BackendError
        a process failed; the message ends with what it printed.
    """
    begin, say = time.monotonic(), tell or (lambda _: None)
    parts = _shared_out(FAMILIES, workers or available_cores())
    processes = [_start(part) for part in parts]
    left = {family.name: family.seconds for family in FAMILIES}
    say(f"{len(left)} groups of kernels, {len(processes)} processes, cache {kernel_cache.folder()}")
    for name, seconds in _finished(processes):
        expected = left.pop(name)
        done = sum(f.seconds for f in FAMILIES) - sum(left.values())
        ahead = (time.monotonic() - begin) * sum(left.values()) / done
        more = f", about {ahead:.0f} s left" if left else ""
        say(f"{name}: {seconds:.1f} s{' (was there)' if seconds < expected / 8 else ''}{more}")
    return time.monotonic() - begin


def _shared_out(families: Iterable[Family], workers: int) -> list[list[str]]:
    """Return the names of families by process: the longest first, each to the process with the least to do."""
    loads: list[tuple[float, list[str]]] = [(0.0, []) for _ in range(workers)]
    for family in sorted(families, key=lambda f: -f.seconds):
        place = min(range(workers), key=lambda i: loads[i][0])
        loads[place] = (loads[place][0] + family.seconds, [*loads[place][1], family.name])
    return [names for _, names in loads if names]


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
