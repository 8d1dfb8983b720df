"""Sums over the ledger do not depend on how it is cut."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipelines.report.ledger_sums import COLUMNS, GROUP_COLUMNS, GROUP_SIZES, LedgerSums


@given(st.lists(st.integers(1, 400), max_size=12), st.randoms(use_true_random=False))
def test_counts_do_not_depend_on_how_the_ledger_is_cut(cuts: list[int], shuffle: random.Random) -> None:
    rows = list(_made_up_rows())
    whole = _tallied([rows])
    shuffle.shuffle(rows)
    edges = sorted({0, *(c for c in cuts if c < len(rows)), len(rows)})
    parts = [rows[a:b] for a, b in itertools.pairwise(edges)]
    assert _tallied(parts) == whole


def _made_up_rows() -> list[dict[str, Any]]:
    chance = random.Random(1)
    rows = []
    for doc in range(200):
        stage = chance.choice([None, None, "near_dedup", "quality"])
        lost = stage == "near_dedup"
        rows.append(
            {
                "doc_id": doc,
                "kept": stage is None,
                "copies": chance.choice([0, 1, 2]) if stage is None else 0,
                "stage": stage,
                "reason": None if stage is None else chance.choice(["x", "y"]),
                "value": chance.random() if stage else None,
                "threshold": 0.5 if stage else None,
                "representative": 7 if lost else None,
                "representative_dataset": chance.choice("ab") if lost else None,
                "similarity": chance.random() if lost else None,
                "similarity_kind": chance.choice(["exact", "estimated"]) if lost else None,
                "group_size": chance.choice([1, 2, 11, 2000]) if stage is None else None,
                "group_datasets": chance.choice(['{"a": 1}', '{"a": 1, "b": 4}']) if stage is None else None,
                "num_tokens": chance.randrange(100),
            }
        )
    return rows


def _tallied(parts: list[list[dict[str, Any]]]) -> Any:
    schema = pa.schema(
        [
            *[("doc_id", pa.int64()), ("kept", pa.bool_()), ("copies", pa.int32()), ("stage", pa.string())],
            *[("reason", pa.string()), ("value", pa.float64()), ("threshold", pa.float64())],
            *[("representative", pa.int64()), ("representative_dataset", pa.string())],
            *[("similarity", pa.float32()), ("similarity_kind", pa.string()), ("group_size", pa.int32())],
            *[("group_datasets", pa.large_string()), ("num_tokens", pa.int64())],
        ]
    )
    assert set(schema.names) == {*COLUMNS, *GROUP_COLUMNS}
    sums = LedgerSums()
    for part in parts:
        sums.add("a", pa.Table.from_pylist(part, schema=schema))
    mine = sums.datasets["a"]
    return (
        *(mine.rows, mine.kept, dict(mine.dropped), mine.mix, mine.copies, mine.kept_samples.entries),
        *(dict(mine.lost_to), {k: v.entries for k, v in sums.samples.items()}, sums.groups.tolist()),
        *(sums.largest.entries, dict(sums.shared), sums.dedup["near_dedup"].similarity.tolist()),
        *(sums.dedup["near_dedup"].nearest.entries, dict(sums.dedup["near_dedup"].kinds)),
    )


def test_group_size_bins_cover_every_size_once() -> None:
    assert GROUP_SIZES[0] == 1
    assert list(GROUP_SIZES) == sorted(set(GROUP_SIZES))
