"""Drive rensa through its batch functions: signatures, and `RMinHashDeduplicator` as in its README.

Variant `rho` is its sampling sketch with one-shot flags; it flags every member of a group.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable
from typing import Any

import protocol
import pyarrow as pa
from rensa import RMinHash, RMinHashDeduplicator, RMinHashLSH

NUM_PERM, SEED, THRESHOLD = 128, 42, 0.8


def tokens(text: str, options: argparse.Namespace) -> Any:
    """Return the tokens: words where the width is 1, else shingles."""
    if options.shingles == "words" and options.width == 1:
        return text.split()
    return protocol.shingles(text, options.shingles, options.width)


def matrix(texts: Iterable[str], options: argparse.Namespace) -> Any:
    """Return the signatures of texts as one compact matrix, the fastest way the package offers."""
    make = RMinHash.digest_matrix_from_token_sets
    if options.variant == "rho":
        make = RMinHash.digest_matrix_from_token_sets_rho
    return make([tokens(text, options) for text in texts], NUM_PERM, SEED)


def sketch(texts: list[str], options: argparse.Namespace) -> int:
    """Make all signatures, so many texts at a time that their tokens stay in memory."""
    step = 200
    return sum(matrix(texts[i : i + step], options).len() for i in range(0, len(texts), step))


def dedup(options: argparse.Namespace) -> None:
    """Keep a document unless the deduplicator found it among those kept before."""
    seen = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=NUM_PERM, use_lsh=True, seed=SEED)
    number = itertools.count()

    def keep(batch: pa.RecordBatch) -> pa.RecordBatch:
        texts = batch.column("text").to_pylist()
        return batch.filter(pa.array(seen.add_pairs((str(next(number)), tokens(t, options)) for t in texts)))

    protocol.rewrite(options.input, options.output, keep)


def dedup_rho(options: argparse.Namespace) -> None:
    """Drop every document that the one-shot query flags, over all files at once."""
    found: list[str] = []
    for batch in protocol.batches(options.input):
        found.extend(batch.column("text").to_pylist())
    lsh = RMinHashLSH(threshold=THRESHOLD, num_perm=NUM_PERM, num_bands=8)
    flags = lsh.query_duplicate_flags_matrix_one_shot(matrix(found, options))
    del found
    rest = iter(flags)

    def keep(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.filter(pa.array([not flag for flag in itertools.islice(rest, batch.num_rows)]))

    protocol.rewrite(options.input, options.output, keep)


if __name__ == "__main__":
    given = protocol.arguments()
    if given.task == "signatures":
        protocol.measure(given, lambda texts: sketch(texts, given))
    elif given.variant == "rho":
        dedup_rho(given)
    else:
        dedup(given)
