"""The wind tunnel: a whole run of the real code over the counting store, with its sizes divided by 1,000.

With `copies`, a dataset is added and the second run's figures are those of the addition.
`measure(sizes)` starts one process with `WINNOW_SIZES_DIVIDED_BY` set, runs the recipe at every size and returns what
each run asked of the store and of its engine. A task then has 200 rows where it has 200,000, so some thousand documents
go through as many tasks, destinations and merges as some million do.
"""

from __future__ import annotations

import gc
import importlib
import io
import itertools
import json
import math
import os
import pickle
import posixpath
import subprocess
import sys
import types
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cluster import counting_store, storage
from cluster.counting_store import SCHEME, CountingStore

IN, ADDED = f"{SCHEME}://in", f"{SCHEME}://added"
DIVISOR = 1000
ROWS = 200  # documents of a file: as many as a bundle takes
WORDS = 3000  # of the language that the texts are written in
LENGTH = 250  # words of a text
STAGES: list[dict[str, Any]] = [
    {"use": "quality", "model": "column:score", "min_score": 0.05},
    {"use": "exact_dedup", "max_removed": 0.9},
    {"use": "minhash", "num_permutations": 16, "shingle_width": 8},
    {"use": "near_dedup", "jaccard_threshold": 0.7, "bands": 4, "rows_per_band": 4},
]
LOST = ("facts/finished.json", "ledger", "decisions/ledger", "mix", "decisions/mix")  # of a run that is to go on
Figures = dict[str, float]


def measure(
    files: Sequence[int],
    rows: int = ROWS,
    recipe: Mapping[str, Any] | None = None,
    patch: Mapping[str, Mapping[str, Any]] | None = None,
    copies: int | None = None,
) -> list[Figures]:
    """Return the figures of a run for each number of files, of `rows` documents each.

    recipe : keys to replace. patch : values by module and name, to show that the tunnel finds a fault. copies : of
    documents that there are, in a dataset of one file that is added after the run; None: none is added.
    """
    root = Path(__file__).parents[2]
    command = [
        sys.executable,
        "-m",
        "tests.support.wind_tunnel",
        json.dumps([list(files), rows, recipe or {}, patch or {}, copies]),
    ]
    environment = os.environ | {"WINNOW_SIZES_DIVIDED_BY": str(DIVISOR), "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))


def exponent(figures: Sequence[Mapping[str, float]], name: str) -> float:
    """Return p of the law a + b n^p through three sizes n, 2n, 4n; 0 where the figure does not grow.

    Examples
    --------
    >>> [exponent([{"x": 7 + n**p} for n in (1, 2, 4)], "x") for p in (1, 2)]
    [1.0, 2.0]
    """
    first, second, third = (each.get(name, 0.0) for each in figures)
    if third <= second or second <= first:
        return 0.0
    return math.log2((third - second) / (second - first))


class CountingEngine:
    """Runs tasks here, one after the other; counts them, what is sent for each, and what the client holds."""

    workers = 8

    def __init__(self) -> None:
        self.tasks = 0
        self.sent = 0  # bytes of arguments and results
        self.largest = 0  # bytes of one task's arguments
        self.most_held: Counter[str] = Counter()  # objects that the client's frames hold in each kind of pass
        self.kinds: Counter[str] = Counter()
        self.sizes: Counter[str] = Counter()

    def map(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Any],
        *,
        done: Callable[[Any], None] | None = None,
        cost: Any = None,
        on_device: bool = False,
    ) -> list[Any]:
        name = _name(function)
        before = held_by_client()
        code = len(pickle.dumps(function))
        results = []
        for task in tasks:
            size = code + len(pickle.dumps(task))
            self.sizes[name] = max(self.sizes[name], size)
            self.largest = max(self.largest, size)
            results.append(function(task))
            self.sent += size + len(pickle.dumps(results[-1]))
            if done:
                done(results[-1])
        self.tasks += len(tasks)
        self.kinds[name] += len(tasks)
        self.most_held[name] = max(self.most_held[name], before, held_by_client() + _reachable([results, tasks]))
        return results

    @property
    def held(self) -> int:
        """The objects held, summed over the kinds of passes: of lines the largest is no line where two cross."""
        return sum(self.most_held.values())

    def close(self) -> None:
        """Nothing to release."""


def _name(function: Any) -> str:
    while not isinstance(function, types.FunctionType):
        if getattr(function, "args", None) and isinstance(function.args[0], Callable):  # type: ignore[arg-type]
            return f"{_name(function.func)}({_name(function.args[0])})"
        function = getattr(function, "function", None) or getattr(function, "func", None) or type(function).__call__
    return str(function.__name__)


def held_by_client() -> int:
    """Count what the frames of winnow's own code hold now, an array by its elements."""
    found: list[Any] = []
    frame = sys._getframe(1)
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] in ("pipelines", "stages", "cluster"):
            found.extend(frame.f_locals.values())
        frame = frame.f_back  # type: ignore[assignment]
    return _reachable(found)


def _reachable(roots: Sequence[Any]) -> int:
    no_data = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, CountingEngine)
    seen: set[int] = set()
    count, open_ = 0, list(roots)
    while open_:
        item = open_.pop()
        if id(item) not in seen and not isinstance(item, no_data):
            seen.add(id(item))
            count += 1 + int(getattr(item, "nbytes", 0) or 0) // 8
            open_.extend(gc.get_referents(item))
    return count


def texts(number: int, seed: int) -> Iterator[str]:
    """Yield texts of which one in eight repeats an earlier one, and one in eight all but a word of it."""
    draw = np.random.default_rng(seed)
    words = np.array([f"w{n:x}" for n in range(WORDS)])
    before: list[list[str]] = []
    for n in range(number):
        own = words[draw.integers(0, WORDS, LENGTH)].tolist()
        if n % 8 == 1:
            own = list(before[n // 8 * 4 % len(before)])
        elif n % 8 == 5:
            own = list(before[n // 8 * 4 % len(before)])
            own[int(draw.integers(0, LENGTH))] = "changed"
        else:
            before.append(own)
        yield " ".join(own)


def write_inputs(folder: str, files: int, rows: int) -> None:
    """Write Parquet files of documents whose duplicates lie anywhere in the whole."""
    all_texts = list(texts(files * rows, 1))
    order = np.random.default_rng(2).permutation(len(all_texts))
    for number in range(files):
        mine = order[number * rows : (number + 1) * rows].tolist()
        scores = pa.array([(n * 7 % 100) / 100 for n in mine])
        table = pa.table({"id": [f"d{n}" for n in mine], "text": [all_texts[n] for n in mine], "score": scores})
        file = io.BytesIO()
        pq.write_table(table, file)
        storage.write_bytes(f"{folder}/{number:05d}.parquet", file.getvalue())


def add_dataset(folder: str, copies: int) -> None:
    """Write a file of ROWS documents, so many of which are the first that `texts` gives the corpus, the others new."""
    other = (text.replace("w", "v") for text in texts(ROWS, 5))  # words that are in no other document
    some = [*itertools.islice(texts(ROWS, 1), copies), *itertools.islice(other, ROWS - copies)]
    columns = {"id": [f"m{n}" for n in range(ROWS)], "text": some, "score": [0.5] * ROWS}
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    storage.write_bytes(f"{folder}/00000.parquet", file.getvalue())


def run_once(files: int, rows: int, more: Mapping[str, Any], copies: int | None = None) -> Figures:
    """Run the recipe over so many files; return requests by kind, bytes, tasks, argument sizes, objects held.

    Figures of `again_` are those of the finished run called again, of `resumed_` those of one without ledger and mix;
    with copies, of `added_` those of the run to which a dataset is added that holds so many copies.
    """
    from pipelines.recipe.recipe import load_data
    from pipelines.run import runner

    counting_store.use()
    CountingStore.empty()
    write_inputs(IN, files, rows)
    datasets: dict[str, Any] = {"web": {"paths": IN, "columns": {"text": "text", "id": "id"}}}
    data = {"name": "tunnel", "seed": 3, "datasets": datasets, "stages": STAGES, "cluster": {"kind": "inline"}}
    output = {"shuffle": "global", "shard_bytes": "128KB"}
    recipe = load_data({**data, "output": output, **more}, "tunnel")
    engine = CountingEngine()
    runner.start = lambda *_: engine  # type: ignore[assignment]
    found: Figures = {"documents": files * rows, "files": files}
    for turn in ("", "again_", "resumed_") if copies is None else ("", "added_"):
        if turn == "added_":
            add_dataset(ADDED, copies or 0)
            datasets |= {"more": {**datasets["web"], "paths": ADDED}}
            recipe = load_data({**data, "output": output, **more}, "tunnel")
        if turn == "resumed_":
            for lost in LOST:
                CountingStore().rm(f"run/{lost}", recursive=True)
        CountingStore.watch(posixpath.dirname)
        runner.run(recipe, f"{SCHEME}://run", with_report=copies is None)  # samples of texts cost what files are large
        total = CountingStore.total()
        found |= {f"{turn}{kind}": number for kind, number in total.by_kind().items()}
        found[f"{turn}requests"] = total.total
        found[f"{turn}bytes_read"] = sum(CountingStore.bytes_read.values())
        found[f"{turn}bytes_written"] = sum(CountingStore.bytes_written.values())
        if os.environ.get("TUNNEL_DETAIL"):
            _show(turn, engine)
    found |= {"tasks": engine.tasks, "sent": engine.sent, "largest_task": engine.largest, "held": engine.held}
    return found


def _show(turn: str, engine: CountingEngine) -> None:
    print(turn, engine.kinds.most_common(60), engine.sizes.most_common(20), sep="\n", file=sys.stderr)
    places = sorted(CountingStore.counts.items(), key=lambda place: -place[1].total)
    print(*places[:60], sep="\n", file=sys.stderr)
    print(*sorted(CountingStore.bytes_read.items(), key=lambda place: -place[1])[:40], sep="\n", file=sys.stderr)


def main() -> None:
    import warnings

    warnings.simplefilter("ignore")
    files, rows, more, patch, copies = json.loads(sys.argv[1])
    for module, values in patch.items():
        for name, value in values.items():
            setattr(importlib.import_module(module), name, value)
    print(json.dumps([run_once(number, rows, more, copies) for number in files]))


if __name__ == "__main__":
    main()
