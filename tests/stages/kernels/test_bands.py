"""Band records: keys that occur twice or more, and keys of bands, against their plain formulations."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.kernels.hashes.hashing import mix64
from stages.kernels.similarity import bands

GOLDEN = 0x9E3779B97F4A7C15
FEW_SLOTS = [int(x) for x in np.arange(40, dtype=np.uint64) * np.uint64(pow(GOLDEN, -1, 2**64))]  # all in one slot
KEYS = st.lists(st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 30), st.sampled_from(FEW_SLOTS)), max_size=120)


@settings(max_examples=300, deadline=None)
@given(KEYS)
def test_shared_records_are_those_of_keys_that_occur_twice(keys: list[int]) -> None:
    found, doc = bands.shared_records(np.array(keys, np.uint64), np.arange(len(keys)) + 7)
    count = Counter(keys)
    expected = sorted((key, number + 7) for number, key in enumerate(keys) if count[key] > 1)
    assert found.tolist() == [key for key, _ in expected]
    assert sorted(zip(found.tolist(), doc.tolist(), strict=True)) == expected
    assert found.dtype == np.uint64
    assert doc.dtype == np.int64


def test_keys_that_occur_once_are_left_out_before_sorting() -> None:
    keys = np.r_[mix64(np.arange(50_000)), mix64(np.arange(2_000))]
    place = np.empty(len(keys), np.int64)
    some = place[: bands._not_alone(keys, place)]
    assert np.isin(np.r_[:2_000, 50_000:52_000], some).all()
    assert len(some) < 4_000 + 8_000


@pytest.mark.parametrize("kind", [np.uint32, np.uint64])
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 140), st.integers(1, 5), st.integers(1, 5), st.data())
def test_band_keys_are_slots_mixed_one_after_the_other(
    kind: type, documents: int, count: int, rows: int, data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, count - 1))
    draw = np.random.default_rng(data.draw(st.integers(0, 99)))
    sig = draw.integers(0, np.iinfo(kind).max, (documents, count * rows + 2), dtype=kind, endpoint=True)
    expected = np.empty((documents, count - first), np.uint64)
    for band in range(first, count):
        key = np.repeat(mix64([band]), documents)
        for slot in sig[:, band * rows : (band + 1) * rows].T:
            key = mix64(key ^ slot.astype(np.uint64))
        expected[:, band - first] = key
    assert np.array_equal(bands.band_keys(sig, count, rows, first), expected)
