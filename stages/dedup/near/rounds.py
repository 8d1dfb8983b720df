"""The files of a round of one destination: verdicts that are final, pairs that are waited for, documents left over.

Guarantees: a file that is there is what its round found, so an interrupted round goes on. Memory: the verdicts of one
destination.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster import storage
from cluster.files.arrow_files import open_arrow, read_arrow, write_arrow
from stages.core.arrays import array, whole
from stages.dedup.dedup_stage import VERDICTS, chosen_in_buckets, verdicts
from stages.dedup.near.job import NearJob
from stages.dedup.near.judge import PAIRS, Judge
from stages.kernels.survivors.bucket_survivors import representative_survivors
from stages.kernels.survivors.candidates import Buckets
from stages.kernels.survivors.component_survivors import component_survivors
from stages.kernels.survivors.pair_answers import Result

I64 = npt.NDArray[np.int64]
NO_PAIRS = np.empty(0, np.int64)


class Place(NamedTuple):
    """How far a destination is. window: that waits. since: the first round with pairs of it. asked: rounds in which it
    requested scores; all 0 where there are no windows.
    """

    window: int = 0
    since: int = 0
    asked: int = 0


WHOLE = Place()  # of a destination that is not cut


def verdicts_path(near: NearJob, destination: int) -> str:
    return storage.join(near.folder("verdicts"), f"{destination}.arrow")


def open_path(near: NearJob, round_: int, destination: int) -> str:
    return storage.join(near.folder(f"open-{round_}"), f"{destination}.arrow")


def decided_path(near: NearJob, round_: int, destination: int) -> str:
    return storage.join(near.folder(f"settled-{round_}"), f"{destination}.arrow")


def undecided_path(near: NearJob, round_: int, destination: int) -> str:
    return storage.join(near.folder(f"left-{round_}"), f"{destination}.arrow")


def write_verdicts(near: NearJob, round_: int, d: int, now: Sequence[pa.Table]) -> None:
    """Write all verdicts of a destination: those of the rounds before this one, then the last."""
    decided = [read_arrow(decided_path(near, r, d)) for r in range(round_)]
    write_arrow(verdicts_path(near, d), pa.concat_tables([*decided, *now]), scratch=True)


def write_decided(near: NearJob, round_: int, d: int, found: Sequence[pa.Table]) -> None:
    """Write the verdicts that are final after a round of a destination that must wait."""
    write_arrow(decided_path(near, round_, d), pa.concat_tables([VERDICTS.empty_table(), *found]), scratch=True)


def write_open(near: NearJob, round_: int, d: int, left: I64, right: I64, place: Place = WHOLE) -> None:
    """Write the undecided pairs of a destination or its window, documents (pairs,) each, and how far it is."""
    known = {name: str(value) for name, value in place._asdict().items()}
    pairs = pa.table([pa.array(left), pa.array(right)], schema=PAIRS.with_metadata(known))
    write_arrow(open_path(near, round_, d), pairs, scratch=True)


def place_of(near: NearJob, round_: int, d: int) -> Place:
    """Return how far a destination was when it had to wait in a round."""
    metadata = open_arrow(open_path(near, round_, d)).schema.metadata
    return Place(*(int(metadata.get(name.encode(), b"0")) for name in Place._fields))


def bucketed(near: NearJob, judge: Judge, members: pa.Table) -> Buckets:
    """Return one destination's candidates as `Buckets`; in `members` those of a bucket lie side by side."""
    bucket = array(members, "bucket")
    starts = np.flatnonzero(np.r_[True, bucket[1:] != bucket[:-1]])
    member = pc.index_in(whole(members.column("doc")), pa.array(judge.doc)).to_numpy().astype(np.int64)
    return chosen_in_buckets(near.run, judge.table, np.r_[starts, len(bucket)].astype(np.int64), member)


def decide_groups(near: NearJob, judge: Judge, buckets: Buckets) -> Result:
    """Choose survivors among one destination's candidates, as far as the judge's pair answers suffice."""
    decide = representative_survivors if near.mode == "representative" else component_survivors
    return decide(buckets, judge, keep_all=near.keeps_all_within, further_tries=near.further_tries)


def final_verdicts(judge: Judge, result: Result) -> pa.Table:
    """Return the dropped documents of decided groups, in the schema `VERDICTS`."""
    lost = np.flatnonzero((result.lost_to >= 0) & ~result.open_group)
    winner = result.lost_to[lost]
    similarity, kind = judge.similarity(winner, lost)
    return verdicts(judge.doc[lost], judge.doc[winner], similarity, kind)
