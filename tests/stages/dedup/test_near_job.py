"""What near_dedup's tasks are given: the right signatures, the banding solved once."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import pytest

from cluster.errors import RecipeError
from stages.core.run import Run
from stages.core.stage import Stage
from stages.dedup.near.job import NearJob, Shingling
from stages.exact_dedup import ExactDedup
from stages.implicit.read import Read
from stages.minhash import MinHash
from stages.near_dedup import NearDedup, near_job


def job_of(*stages: Stage) -> NearJob:
    run = Run(root="run", datasets=(), stages=(Read(), *stages), priority=(), manifest_digest="0" * 16)
    return near_job(run, len(stages))


CHARACTERS = MinHash(name="characters", shingle_width=9)
WORDS = MinHash(name="words", shingles="words", shingle_width=5, num_permutations=64, normalise="digits")


def test_the_nearest_signatures_before_the_stage_are_taken() -> None:
    near = job_of(CHARACTERS, WORDS, ExactDedup(), NearDedup(jaccard_threshold=0.8))
    assert (near.signatures_at, near.num_permutations) == (2, 64)
    assert near.shingling == Shingling(width=5, unit="words", normalise="digits")


def test_signatures_are_taken_by_their_name() -> None:
    near = job_of(CHARACTERS, WORDS, NearDedup(jaccard_threshold=0.8, signatures="characters"))
    assert (near.signatures_at, near.bands, near.rows_per_band) == (1, 16, 8)


@pytest.mark.parametrize("name", ["", "other"])
def test_signatures_that_are_missing_are_asked_for(name: str) -> None:
    stages = (WORDS, NearDedup(jaccard_threshold=0.8, signatures=name)) if name else (NearDedup(jaccard_threshold=0.8),)
    with pytest.raises(RecipeError, match="stage near_dedup needs a minhash stage"):
        job_of(*stages)


@dataclass(frozen=True, kw_only=True)
class OtherHash(MinHash):
    """A stage of somebody's own that makes signatures."""

    use = "other_hash"


def test_signatures_of_a_stage_derived_from_minhash_are_taken() -> None:
    assert job_of(OtherHash(), NearDedup(jaccard_threshold=0.8)).signatures_at == 1


def test_a_job_travels_with_every_task() -> None:
    near = job_of(CHARACTERS, NearDedup(jaccard_threshold=0.8))
    data = pickle.dumps(near)
    assert pickle.loads(data) == near
    assert len(data) < 4_000
