"""Which questions have their replies already: a larger budget, or another sample, begins behind them.

    bundles --digest and place--> ranges of digests: the least place whose questions are not all settled

Guarantees: nothing is asked; only digests travel. Memory: a task holds the kept answers of `DOCUMENTS` documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifiers.endpoint.answers import Range, folder_of, key_of, known
from classifiers.endpoint.ask import kept_reply
from cluster.engines import Engine
from cluster.exchange import Exchange, Written
from stages.asking.texts import I64, JUDGED, AskJob, level_of, shown_texts, text_digest
from stages.core.arrays import array
from stages.core.costs import per_bundle, per_destination
from stages.core.view import View

U64 = npt.NDArray[np.uint64]
Placed = Callable[[int], tuple[I64, U64]]  # position of a bundle -> its rows, ascending, and their places
DIGESTS = pa.schema([("key", pa.uint64()), ("digest", pa.binary(16)), ("place", pa.uint64())])
SEND = per_bundle("send digests", JUDGED, rare=True)
LOOK = per_destination("look up answers", JUDGED)


def first_open(engine: Engine, job: AskJob, positions: Sequence[int], placed: Placed, documents: int) -> int | None:
    """Return the least place of these documents whose replies are not all kept; None where there is none."""
    level = level_of(documents)
    hop = Exchange(folder=job.folder("digests"), destinations=1 << level, schema=DIGESTS, route="key")
    written = hop.scatter(engine, list(positions), partial(_digests, job, placed), cost=SEND)
    found = engine.map(partial(_least_open, job, hop, written, level), list(range(1 << level)), cost=LOOK)
    return min((place for place in found if place is not None), default=None)


def _digests(job: AskJob, placed: Placed, position: int) -> Iterator[pa.Table]:
    """Yield the digests of a bundle's texts as they are shown, with the places of their documents."""
    rows, places = placed(position)
    for at, texts in shown_texts(job, View.at(job.run, position), rows):
        digests = list(map(text_digest, texts))
        key = np.frombuffer(b"".join(digests), ">u8").reshape(-1, 2)[:, 0].astype(np.uint64)
        yield pa.table([pa.array(key), pa.array(digests, pa.binary(16)), pa.array(places[at])], schema=DIGESTS)


def _least_open(job: AskJob, hop: Exchange, written: Written, level: int, destination: int) -> int | None:
    """Return the least place of one range whose questions are not all settled."""
    table = hop.gather(written, destination)
    stage: Any = job.stage
    manner, accept, part = stage.manner(1), stage.acceptor(), Range(level, destination)
    digests = table.column("digest").to_pylist()
    open_ = np.zeros(len(digests), np.bool_)
    for asker in stage.askers():
        keys = [[key_of(digest, vote) for vote in range(stage.votes)] for digest in digests]
        have = known(folder_of(job.run.root, asker.digest()), part, {key for each in keys for key in each})
        open_ |= [any(kept_reply(have.get(key), manner, accept) is None for key in each) for each in keys]
    return int(array(table, "place").astype(np.uint64)[open_].min()) if open_.any() else None
