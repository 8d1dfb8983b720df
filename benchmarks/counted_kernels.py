"""Eleven kernels on fixed text, each between requests to valgrind's callgrind: what `instructions.py` runs under it.

`python -m benchmarks.counted_kernels` runs each kernel twice and counts the second time. Outside of valgrind the
requests do nothing, and what is compiled lies in the cache for the run that is counted. x86-64 only.
"""

from __future__ import annotations

import functools
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba.core import types
from numba.core.extending import intrinsic

DUMP_AS, START, STOP = 0x43540003, 0x43540004, 0x43540005  # callgrind's client requests, 'C' 'T' and a number
BYTES = 100_000  # of text for each kernel
SYLLABLES = (
    "ba",
    "con",
    "de",
    "er",
    "in",
    "lo",
    "men",
    "per",
    "ra",
    "ti",
    "st",
    "the",
    "un",
    "ver",
    "\u00e9",
    "\u0436\u0438",
)


@intrinsic  # type: ignore[untyped-decorator]
def _ask(_typing: Any, request: Any) -> Any:
    """Ask valgrind: its sequence of instructions that do nothing, the request's address in rax, the answer in rdx."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        llvmlite.binding.initialize_native_asmparser()
        number = ir.IntType(64)
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        kind = ir.FunctionType(number, [array.data.type, number])
        steps = "".join(f"rolq $${turn}, %rdi\n" for turn in (3, 13, 61, 51)) + "xchgq %rbx, %rbx"
        sequence = ir.InlineAsm(kind, steps, "={rdx},{rax},{rdx},~{memory},~{flags}", side_effect=True)
        return builder.call(sequence, [array.data, ir.Constant(number, 0)])

    return types.int64(request), build


@numba.njit(cache=True)
def ask(request: npt.NDArray[np.int64]) -> int:
    """Send a client request of six numbers; return 0 where valgrind does not run."""
    return _ask(request)  # type: ignore[no-any-return]


def send(code: int, argument: int = 0) -> None:
    """Send a client request with one argument."""
    ask(np.array([code, argument, 0, 0, 0, 0], np.int64))


@functools.cache
def vocabulary() -> list[str]:
    """Return made words, the frequent ones first."""
    draw = random.Random(1)
    return ["".join(draw.choices(SYLLABLES, k=draw.choice((1, 2, 2, 3, 4)))) for _ in range(4000)]


def words(draw: random.Random, count: int) -> list[str]:
    """Return so many words, the frequent ones often."""
    known = vocabulary()
    return [known[min(int(draw.paretovariate(0.6)), len(known)) - 1] for _ in range(count)]


def texts(size: int = BYTES) -> list[str]:
    """Return made documents of lines, sentences, addresses, numbers and marks, about `size` bytes in all."""
    draw, found, total = random.Random(18), list[str](), 0
    extras = ("mail me@example.com", "call +1 202 555 0143", "see https://example.com/a?b=1", "[12]", "10,5 %", "it's")
    while total < size:
        lines = []
        for _ in range(draw.randint(3, 30)):
            line = " ".join(words(draw, draw.randint(3, 20))).capitalize() + draw.choice((".", "!", "", ":"))
            lines.append(line if draw.random() < 0.8 else f"{line} {draw.choice(extras)}")
        found.append("\n".join(lines) + draw.choice(("", "\n\n")))
        total += len(found[-1].encode())
    return found


def models(folder: Path) -> dict[str, Any]:
    """Return two fastText models trained on made lines: one with n-grams of characters, one with pairs of words."""
    import fasttext

    from classifiers import fasttext_model

    draw, lines = random.Random(4), folder / "lines.txt"
    lines.write_text("".join(f"__label__l{n % 8} {' '.join(words(draw, 12))}\n" for n in range(400)), encoding="utf-8")
    shapes = {"characters": {"minn": 2, "maxn": 4, "loss": "hs"}, "pairs": {"wordNgrams": 2}}
    for name, shape in shapes.items():
        options = {"dim": 16, "epoch": 2, "bucket": 20_000, "thread": 1, "verbose": 0, "minCount": 1, **shape}
        fasttext.train_supervised(str(lines), **options).save_model(str(folder / f"{name}.bin"))
    return {name: fasttext_model.load(str(folder / f"{name}.bin")) for name in shapes}


def kernels(column: pa.Array, folder: Path) -> dict[str, Callable[[], object]]:
    """Return the calls that are counted, by the name of what each does for a stage."""
    from stages.kernels.hashes.hashing import buffers, content_hash
    from stages.kernels.hashes.text_digest import text_digest
    from stages.kernels.similarity.minhash import nemo_parameters, signatures
    from stages.kernels.text import fold, heuristics, line_counts, ngrams, pii_windows, repair_signs, repairs, scripts

    data, offsets = buffers(column)
    parameters, trained = nemo_parameters(128), models(folder)
    return {
        "heuristics": lambda: heuristics.measure(column),
        "language by n-grams": lambda: trained["characters"].best(column),
        "quality by word pairs": lambda: trained["pairs"].scores(column, [0]),
        "line rules": lambda: line_counts.count_lines(column),
        "pii windows": lambda: pii_windows.windows(column),
        "repair signs": lambda: repair_signs.may_need_repair(column, repairs.KINDS),
        "scripts": lambda: scripts.scripts_of(column),
        "minhash": lambda: signatures(data, offsets, parameters),
        "hashes of texts": lambda: (content_hash(data, offsets), text_digest(data, offsets)),
        "lines folded": lambda: fold.lines(column, "words", "line", 3),
        "word n-grams": lambda: ngrams.grams(column, 13, 13),
    }


def main() -> None:
    """Run every kernel twice; ask callgrind to count the second time and to dump the count under the kernel's name."""
    column = pa.array(texts(), pa.large_string())
    with tempfile.TemporaryDirectory() as folder:
        for name, call in kernels(column, Path(folder)).items():
            call()
            label = np.frombuffer(name.encode() + b"\0", np.uint8)
            send(START)
            call()
            send(DUMP_AS, label.ctypes.data)
            send(STOP)
            sys.stderr.write(f"{name}\n")


if __name__ == "__main__":
    main()
