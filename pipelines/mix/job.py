"""What it takes to write a mix: the job that its tasks are given, and which bundles make up which file.

Guarantees: parts follow from the manifest and the survivors alone, never from the number of workers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from cluster import storage
from cluster.errors import RecipeError
from pipelines.recipe.output import INTERLEAVED, Output, output_of_mix
from pipelines.recipe.to_run import Prepared
from pipelines.run_state import mix_digest, mix_root
from stages.core.digests import digest
from stages.core.run import Run
from stages.outcome.draw import Draw
from stages.outcome.mixing import Mix

COMPRESSED_SHARE = 0.45  # of zstd on web text; only steers how many bundles share a file


@dataclass(frozen=True, kw_only=True)
class MixJob:
    """All that a task needs to write its part of the mix."""

    run: Run
    draw: Draw
    output: Output  # with `repeat` told
    root: str  # of the mix
    records: str  # folder of finished tasks' file lists; beside it lie only those of other mixes
    exchange: str  # folder of a global shuffle's files, removed afterwards
    volume: float = 1.0  # text written per text that survived, which interleaved parts are cut by

    @property
    def mix(self) -> Mix:
        """The wish."""
        return self.draw.mix

    @property
    def interleaved(self) -> bool:
        """Whether each file is a sample of the whole mix."""
        return self.output.layout == INTERLEAVED

    @property
    def counts_cells(self) -> bool:
        """Whether the files' entries tell what they hold of each dataset and cell."""
        return self.interleaved or bool(self.mix.cells)


def mix_job(prepared: Prepared, draw: Draw, volume: float = 1.0) -> MixJob:
    """Return what the tasks that write one mix are given. volume: text written per text that survived."""
    run, name = prepared.run, draw.mix.name
    output = output_of_mix(prepared.output, draw.mix)
    address = digest("mix", mix_digest(run, draw.mix, output))
    return MixJob(
        run=run,
        draw=draw,
        output=output,
        root=mix_root(run.root, name),
        records=storage.join(run.root, "decisions", f"mix.{name}" if name else "mix", address),
        exchange=storage.join(run.root, "exchange", f"mix-{address}.{run.code}"),
        volume=volume,
    )


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one task writes: consecutive bundles of one dataset; interleaved, a range of the order of the whole mix.

    made_from : digest of what its files are made from; empty where that is not told.
    """

    dataset: str
    number: int
    positions: tuple[int, ...]
    made_from: str = ""


def parts(job: MixJob, text_bytes: Sequence[int]) -> list[Part]:
    """Cut each dataset's bundles into tasks of about equal output, `shard_bytes` at most but for one bundle.

    Interleaved, a task writes a range of the order of the whole mix, so that it reads all bundles.
    """
    run, found = job.run, list[Part]()
    if job.interleaved:
        size = sum(text_bytes[p] for p in mixed_positions(job, text_bytes)) * job.volume
        count = part_count(size, job.output.shard_bytes) if size else 0
        return [Part(dataset=INTERLEAVED, number=n, positions=()) for n in range(count)]
    for dataset in run.datasets:
        if dataset.role == "reference":
            continue
        mine = [p for p, b in enumerate(run.manifest.bundles) if b.dataset == dataset.name and text_bytes[p]]
        groups = even_groups([text_bytes[p] * COMPRESSED_SHARE for p in mine], job.output.shard_bytes)
        for number, group in enumerate(groups):
            found.append(Part(dataset=dataset.name, number=number, positions=tuple(mine[i] for i in group)))
    return found


def mixed_positions(job: MixJob, text_bytes: Sequence[int]) -> list[int]:
    """Return the bundles of the datasets that are mixed of which a document survived."""
    mixed = {d.name for d in job.run.datasets if d.role != "reference"}
    return [p for p, b in enumerate(job.run.manifest.bundles) if b.dataset in mixed and text_bytes[p]]


def part_count(text_bytes: float, shard_bytes: int) -> int:
    """Return how many tasks write so many bytes of one dataset's text."""
    return _group_count(text_bytes * COMPRESSED_SHARE, shard_bytes)


def _group_count(weight: float, limit: float) -> int:
    """Return as few groups as `limit` allows on average, one at least."""
    return max(1, math.ceil(weight / limit))


def even_groups(weights: Sequence[float], limit: float) -> list[list[int]]:
    """Cut a row of weights into as few runs as `limit` allows on average, of about equal weight; return positions.

    >>> even_groups([4, 4, 4, 4, 4], 16)
    [[0, 1], [2, 3, 4]]
    """
    count = _group_count(sum(weights), limit)
    groups: list[list[int]] = [[] for _ in range(count)]
    before = 0.0
    for position, weight in enumerate(weights):
        middle = (before + weight / 2) / sum(weights)
        groups[min(count - 1, int(middle * count))].append(position)
        before += weight
    return [group for group in groups if group]


def input_schema(run: Run, output: Output, dataset: str) -> pa.Schema:
    """Return name and type of the input columns that a dataset's files of the mix hold besides winnow's own."""
    known = run.dataset(dataset).types
    if known is None:
        return pa.schema([])
    names = known.names if output.everything else output.passed_through()
    return pa.schema([known.field(name) for name in names if name in known.names])


def check_columns(run: Run, output: Output) -> None:
    """Raise RecipeError where a column to be passed through is in no dataset."""
    if output.everything:
        return
    names = [d.name for d in run.datasets if d.role != "reference" and run.manifest.rows(d.name)]
    missing = set(output.passed_through())
    for name in names:
        missing -= set(input_schema(run, output, name).names) if missing else set()
    if names and missing:
        listed = ", ".join(sorted(missing))
        raise RecipeError(
            f"output.columns: no dataset has {listed} in any of its files. Correct the name, or leave it out."
        )
