"""Shards, bundles and the manifest: numbering, limits, and finding a document's place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.errors import LedgerError
from stages.core import manifest
from stages.core.manifest import BUNDLE_ROWS, LARGEST, Cut, Manifest, bundle_shards
from stages.core.shard import Shard, check_limits


def shard(ordinal: int, rows: int, dataset: str = "a") -> Shard:
    return Shard(
        ordinal=ordinal,
        dataset=dataset,
        path=f"/data/{dataset}/{ordinal}.parquet",
        relative_path=f"{ordinal}.parquet",
        rows=rows,
        bytes=rows * 10,
        fingerprint=f"f{ordinal}",
    )


groups = st.lists(st.tuples(st.integers(1, 90_000), st.integers(1, 60 << 20)), max_size=4)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("ab"), groups), max_size=8))
def test_bundles_hold_every_row_once_and_stay_small(files: list[tuple[str, list[tuple[int, int]]]]) -> None:
    cuts = [Cut(shard=shard(i, sum(r for r, _ in g), d), row_groups=tuple(g)) for i, (d, g) in enumerate(sorted(files))]
    bundles = bundle_shards(cuts, 0)
    docs = np.concatenate([b.doc_ids() for b in bundles]) if bundles else np.empty(0, np.int64)
    assert len(docs) == len(np.unique(docs)) == sum(c.shard.rows for c in cuts)
    for b in bundles:
        assert len({p.shard.dataset for p in b.pieces}) == 1
        assert b.rows <= BUNDLE_ROWS or len(b.pieces) == 1


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("ab"), groups), min_size=1, max_size=8), st.data())
def test_a_document_is_found_where_it_lies(files: list[tuple[str, list[tuple[int, int]]]], data: st.DataObject) -> None:
    cuts = [Cut(shard=shard(i, sum(r for r, _ in g), d), row_groups=tuple(g)) for i, (d, g) in enumerate(sorted(files))]
    whole = Manifest(tuple(c.shard for c in cuts), tuple(bundle_shards(cuts, 0)))
    docs = [b.doc_ids() for b in whole.bundles]
    position = data.draw(st.integers(0, len(docs) - 1))
    if not len(docs[position]):
        return
    row = data.draw(st.integers(0, len(docs[position]) - 1))
    found = whole.locate(docs[position][[row]])
    assert (found[0][0], found[1][0]) == (position, row)
    of_it = [i for i in range(position, len(docs)) if whole.bundles[i].dataset == whole.bundles[position].dataset]
    assert whole.bundles_between(whole.bundles[position].dataset, position, len(docs)) == len(of_it)
    assert whole.bundles_between(whole.bundles[position].dataset, position + 1, position) == 0
    units = [p for unit in whole.units for p in unit]
    assert units == list(range(len(whole.bundles))) == [p for g in whole.groups for p in g]
    assert whole.group_of(docs[position][[row]])[0] == whole.group_at(position)


def test_a_large_shard_is_split_at_row_groups_and_never_shares_a_bundle() -> None:
    large = Cut(shard=shard(1, 300), row_groups=((100, LARGEST),) * 3)
    bundles = bundle_shards([Cut(shard=shard(0, 5)), large, Cut(shard=shard(2, 5))], 7)
    assert [[(p.shard.ordinal, p.start, p.stop) for p in b.pieces] for b in bundles] == [
        [(0, 0, 5)],
        [(1, 0, 100)],
        [(1, 100, 200)],
        [(1, 200, 300)],
        [(2, 0, 5)],
    ]
    assert [b.number for b in bundles] == [7, 8, 9, 10, 11]


def test_a_manifest_reads_back_as_it_was_written(tmp_path: Path) -> None:
    cuts = [Cut(shard=shard(i, 10, d)) for i, d in enumerate("aab")]
    whole = Manifest(tuple(c.shard for c in cuts), tuple(bundle_shards(cuts, 0)))
    manifest.write_manifest(str(tmp_path), whole)
    assert manifest.read_manifest(str(tmp_path)) == whole
    table = pq.read_table(manifest.manifest_path(str(tmp_path)))
    assert table.column_names == [
        "ordinal",
        "dataset",
        "path",
        "rows",
        "bytes",
        "fingerprint",
        "within",
        "retired",
        "file_rows",
        "format",
        "text_bytes",
        "pieces",
    ]
    assert table.column("within").to_pylist() == [s.relative_path for s in whole.shards]


def test_a_shard_with_too_many_rows_is_refused() -> None:
    with pytest.raises(LedgerError, match="can be addressed"):
        check_limits([shard(0, 1 << 32)])
