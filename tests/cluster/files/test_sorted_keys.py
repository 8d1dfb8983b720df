"""Keys looked up in a file of sorted records: the answers of a search through all of them, from little that is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster import counting_store
from cluster.counting_store import SCHEME, CountingStore
from cluster.errors import DamagedError
from cluster.files import sorted_keys
from cluster.files.slices import check_slices
from cluster.files.sorted_keys import find_sorted_keys, write_sorted_keys

U64 = np.iinfo(np.uint64).max
SPANS = st.sampled_from([(0, U64), (1 << 63, U64), (5, 5), (7, 60), (U64, U64), (1 << 40, 1 << 42), (0, 1 << 31)])


@settings(deadline=None)
@given(st.integers(0, 2**32), SPANS, st.integers(0, 700), st.sampled_from([(4, 2), (64, 16), (4096, 1024)]))
def test_answers_are_those_of_a_search_through_all(
    tmp_path_factory: pytest.TempPathFactory, seed: int, span: tuple[int, int], rows: int, blocks: tuple[int, int]
) -> None:
    path = str(tmp_path_factory.mktemp("keys") / "0.slices")
    random = np.random.default_rng(seed)
    some = random.integers(*span, max(1, rows // 2), np.uint64, endpoint=True)
    keys = np.sort(random.choice(some, rows)) if seed % 2 else np.sort(random.integers(*span, rows, np.uint64, True))
    docs = random.integers(-1, 1 << 62, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_keys, "LEADING_BLOCK", blocks[0])
        patch.setattr(sorted_keys, "REST_BLOCK", blocks[1])
        patch.setattr(sorted_keys, "AT_ONCE", 4 * blocks[0])
        patch.setattr(sorted_keys, "FIRST_READ", 64)
        patch.setattr(sorted_keys, "GAP", seed % 50)
        write_sorted_keys(path, keys, docs)
        check_slices(path)
        others = random.integers(0, U64, 20, np.uint64, True)
        near = np.r_[keys[:9] + np.uint64(1), keys[-9:] - np.uint64(1), np.array([0, U64], np.uint64)]
        for wanted in (np.unique(np.r_[random.choice(some, 9), others, near]), others[:0], np.unique(keys)):
            found, there = find_sorted_keys(path, wanted)
            mine = np.isin(keys, wanted)
            assert np.array_equal(found, keys[mine])
            assert np.array_equal(there, docs[mine])


def test_few_keys_are_found_by_reading_little() -> None:
    counting_store.use()
    random = np.random.default_rng(1)
    wanted = np.sort(random.integers(0, U64, 10, np.uint64))
    read, asked = [], []
    for rows in (100_000, 200_000, 400_000):
        CountingStore.empty()
        keys = np.sort(random.integers(0, U64, rows, np.uint64))
        write_sorted_keys(f"{SCHEME}://keys/{rows}", keys, np.arange(rows))
        CountingStore.watch(lambda path: path)
        find_sorted_keys(f"{SCHEME}://keys/{rows}", wanted)
        read.append(sum(CountingStore.bytes_read.values()))
        asked.append(CountingStore.total().total)
    assert read[2] < 1.2 * read[0]
    assert max(asked) < 30


@pytest.mark.parametrize("place", [0, 20, 200, 3000, -1])
def test_a_changed_byte_is_an_error_and_no_other_answer(tmp_path: Path, place: int) -> None:
    path = tmp_path / "0.slices"
    keys = np.arange(900, dtype=np.uint64) << np.uint64(50)
    write_sorted_keys(str(path), keys, np.arange(900))
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedError, match="is damaged"):
        find_sorted_keys(str(path), keys)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DamagedError, match="is damaged"):
        find_sorted_keys(str(path), keys)
