"""Drive datasketch: `MinHash.generator` for signatures, `MinHashLSH` with query before insert to deduplicate."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import protocol
import pyarrow as pa
from datasketch import MinHash, MinHashLSH

NUM_PERM, THRESHOLD = 128, 0.8


def sketches(texts: Iterable[str], options: argparse.Namespace) -> Iterator[Any]:
    """Yield one MinHash per text; the package wants shingles as bytes."""
    yield from MinHash.generator((_shingles(text, options) for text in texts), num_perm=NUM_PERM)


def _shingles(text: str, options: argparse.Namespace) -> list[bytes]:
    found = protocol.shingles(text, options.shingles, options.width)
    return [shingle.encode() for shingle in found] if options.shingles == "words" else found


def dedup(options: argparse.Namespace) -> None:
    """Keep a document unless the index holds a candidate that was kept before."""
    index = MinHashLSH(threshold=THRESHOLD, num_perm=NUM_PERM)
    number = itertools.count()

    def keep(batch: pa.RecordBatch) -> pa.RecordBatch:
        mask = []
        for sketch in sketches(batch.column("text").to_pylist(), options):
            new = not index.query(sketch)
            mask.append(new)
            if new:
                index.insert(next(number), sketch)
        return batch.filter(pa.array(mask))

    protocol.rewrite(options.input, options.output, keep)


if __name__ == "__main__":
    given = protocol.arguments()
    if given.task == "signatures":
        protocol.measure(given, lambda texts: sum(1 for _ in sketches(texts, given)))
    else:
        dedup(given)
