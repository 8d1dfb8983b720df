"""First stage of every run: read status, content hash and sizes of every row.

Reads text, id, url. Writes the status, the content hash (two XXH64, for order and sampling), the digest by
which texts are equal, sizes, id and url of every row.
Drops null, empty, white-space-only and unreadable texts, each under its own reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster.seed import DEFAULT_SEED
from stages.core.run import Run
from stages.core.stage import Decisions, ShardStage, param
from stages.inputs.ids import content_ids
from stages.inputs.reader import Batch, ReadStatus
from stages.kernels.hashes.hashing import buffers, content_hash, mix64
from stages.kernels.hashes.text_digest import text_digest
from stages.kernels.text.validity import characters

BYTES_PER_TOKEN = 4  # the labelled estimate where no tokenizer is given
SAMPLED_OUT = "sampled_out"
SCHEMA = pa.schema(
    [
        ("status", pa.uint8()),
        ("h1", pa.uint64()),
        ("h2", pa.uint64()),
        ("d1", pa.uint64()),
        ("d2", pa.uint64()),
        ("num_chars", pa.uint32()),
        ("num_bytes", pa.uint32()),
        ("id", pa.large_string()),
        ("url", pa.large_string()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Read(ShardStage):
    """Reads every row / Writes content hash and sizes / Drops rows without a usable text."""

    sample: float = param(1.0, "share of the documents to work on, chosen by content hash", ge=0, le=1)
    seed: int = param(DEFAULT_SEED, "seed of the sample")

    use: ClassVar[str] = "read"
    version: ClassVar[int] = 2  # 1 knew no digest, so equal content hashes were equal texts
    summary: ClassVar[str] = "what each row is: status, content hash, sizes"
    schema: ClassVar[pa.Schema] = SCHEMA
    device_expansion: ClassVar[float] = 5.0  # as read, decompressed pages, without nulls, stripped, blanked

    def columns(self) -> tuple[str, ...]:
        return ("text", "id", "url")

    @property
    def host_text(self) -> bool:
        return False

    def facts_of(self, batch: Batch, *, null_ids: bool = False) -> pa.Table:
        """Return the facts of one batch as it was read, (rows,). null_ids: a null id becomes the content hash."""
        data, offsets = buffers(batch.text)
        h1, h2 = content_hash(data, offsets)
        ids = batch.table.column("id").cast(pa.large_string())
        if null_ids and ids.null_count:
            ids = pc.coalesce(ids, content_ids(h1, h2, batch.status == ReadStatus.OK))
        columns = [
            pa.array(batch.status),
            *map(pa.array, (h1, h2, *text_digest(data, offsets))),
            pa.array(characters(batch.text)),
            pa.array(np.diff(offsets).astype(np.uint32)),
            ids,
            batch.table.column("url").cast(pa.large_string()),
        ]
        return pa.table(columns, schema=SCHEMA)

    def decide(self, facts: pa.Table) -> Decisions:
        status = facts.column("status").to_numpy()
        reasons = (*(s.reason for s in ReadStatus if s != ReadStatus.OK), SAMPLED_OUT)
        code = np.full(int(max(ReadStatus)) + 1, -1, np.int16)
        for index, s in enumerate(s for s in ReadStatus if s != ReadStatus.OK):
            code[int(s)] = index
        reason = code[status]
        nan = np.full(len(status), np.nan)
        if self.sample >= 1:
            return Decisions(reason, reasons, nan, nan)
        share = unit_interval(facts.column("h1").to_numpy(), self.seed)
        out = (reason < 0) & (share >= self.sample)
        reason[out] = len(reasons) - 1
        return Decisions(reason, reasons, np.where(out, share, np.nan), np.where(out, self.sample, np.nan))


FAULTS = frozenset(status.reason for status in ReadStatus if status.bad)  # rows that their file is at fault for


def unit_interval(h1: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.float64]:
    """Return a number in [0, 1) per content hash, uniform and the same in every run, (rows,)."""
    return (mix64(h1, seed) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def estimated_tokens(num_bytes: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """Estimate tokens as UTF-8 bytes / 4, rounded up, (rows,) int64. An estimate, labelled as one."""
    return (num_bytes.astype(np.int64) + BYTES_PER_TOKEN - 1) // BYTES_PER_TOKEN


def read_stage(run: Run) -> Read:
    """Return stage `read` of a run, its first."""
    stage = run.stages[0]
    assert isinstance(stage, Read)
    return stage
