"""Documents are equal when their bytes are: colliding content hashes and forged signatures drop nobody's page."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.kernels.hashes.hashing import I64, U8, U64, buffers
from stages.kernels.hashes.text_digest import text_digest
from stages.minhash import MinHash
from tests.support import small_runs

WIDTH = 16
MINHASH = {"use": "minhash", "shingle_width": WIDTH}


def same_for_all(data: U8, offsets: I64) -> tuple[U64, U64]:
    """Stand in for content hashes that an author made collide."""
    return np.full(len(offsets) - 1, 7, np.uint64), np.full(len(offsets) - 1, 9, np.uint64)


@pytest.fixture
def collisions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.implicit.read.content_hash", same_for_all)
    monkeypatch.setattr("stages.passes.annotate.content_hash", same_for_all)


def dropped(root: Path, texts: dict[str, list[str]], stages: list[dict[str, Any]]) -> list[tuple[str, int, int]]:
    paths = {}
    for name, values in texts.items():
        (root / name).mkdir(parents=True)
        pq.write_table(
            pa.table({"text": values, "id": [None] * len(values), "url": [None] * len(values)}),
            root / name / "0.parquet",
        )
        paths[name] = str(root / name)
    ledger = small_runs.run(root / "run", paths, stages).to_pylist()
    return [(row["dataset"], row["row"], row["representative"] & 0xFFFFFFFF) for row in ledger if not row["kept"]]


@pytest.mark.usefixtures("collisions")
@pytest.mark.parametrize("orphans", ["promote", "allow"])
@pytest.mark.parametrize("normalise", ["none", "digits"])
def test_texts_whose_content_hashes_collide_are_kept_and_copies_dropped(
    tmp_path: Path, orphans: str, normalise: str
) -> None:
    texts = {"a": ["one text", "another text", "one text"], "b": ["a third", "another text"]}
    stage = {"use": "exact_dedup", "orphans": orphans, "normalise": normalise}
    assert dropped(tmp_path, texts, [stage]) == [("a", 2, 0), ("b", 1, 1)]


@pytest.mark.usefixtures("collisions")
@pytest.mark.parametrize("verify", ["exact", "every", "signature"])
def test_near_dedup_takes_colliding_content_hashes_for_no_similarity(tmp_path: Path, verify: str) -> None:
    common = "what both pages quote from a third one, at some length. "
    texts = {"a": [common + "The first page goes on with this.", common + "Quite another matter is told here!"]}
    near = {"use": "near_dedup", "jaccard_threshold": 0.9, "bands": 128, "rows_per_band": 1, "verify": verify}
    assert dropped(tmp_path, texts, [MINHASH, near]) == []
    assert dropped(tmp_path / "copies", {"a": [*texts["a"], texts["a"][1]]}, [MINHASH, near]) == [("a", 2, 1)]


def forged(victim: str) -> str:
    """Return a text with the victim's signature, out of the shingles that have its least hashes."""
    shingles = sorted({victim[i : i + WIDTH] for i in range(len(victim) - WIDTH + 1)})
    hashes: npt.NDArray[Any] = MinHash(shingle_width=WIDTH).signatures(pa.array(shingles, pa.large_string()))
    return "".join(shingles[at] for at in sorted(set(hashes.argmin(axis=0).tolist())))


def test_verify_every_does_not_trust_a_forged_signature(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    victim = "".join(rng.choice(list("abcdefghij klmnopqrst"), 120_000))
    texts = {"a": [forged(victim)], "b": [victim]}
    near = {"use": "near_dedup", "jaccard_threshold": 0.7}
    trusting = dropped(tmp_path / "exact", texts, [MINHASH, near])
    assert trusting == [("b", 0, 0)]  # what the documentation warns of: the estimate is far above the threshold
    assert dropped(tmp_path / "every", texts, [MINHASH, {**near, "verify": "every"}]) == []


@given(st.lists(st.text(max_size=80), max_size=20), st.integers(0, 3))
def test_the_digest_is_sha256_cut_to_128_bits(texts: list[str], skip: int) -> None:
    column = pa.array(texts, pa.large_string()).slice(min(skip, len(texts)))
    first, second = text_digest(*buffers(column))
    found = [a.tobytes() + b.tobytes() for a, b in zip(first, second, strict=True)]
    assert found == [hashlib.sha256(text.encode()).digest()[:16] for text in column.to_pylist()]
