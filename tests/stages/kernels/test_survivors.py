"""Survivor kernels against the plain-Python oracle, and their cost on crowded buckets."""

from __future__ import annotations

import dataclasses
import itertools
import random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.kernels.survivors.bucket_survivors import exact_survivors, representative_survivors
from stages.kernels.survivors.candidates import Buckets, Candidates
from stages.kernels.survivors.component_survivors import component_survivors
from stages.kernels.survivors.pair_answers import Result
from tests.support import oracles

I64 = npt.NDArray[np.int64]


@st.composite
def situations(draw: st.DrawFn) -> dict[str, Any]:
    n = draw(st.integers(1, 12))
    buckets = draw(st.lists(st.sets(st.integers(0, n - 1), min_size=2, max_size=n), max_size=6)) if n > 1 else []
    dataset = sorted(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    return {
        "buckets": [sorted(b) for b in buckets],
        "dataset": dataset,
        "protected": draw(st.lists(st.booleans(), min_size=n, max_size=n)),
        "eligible": draw(st.lists(st.booleans(), min_size=n, max_size=n)),
        "keep_all": draw(st.booleans()),
        "further_tries": draw(st.integers(0, 3)),
        "similar": draw(st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))),
        "late": draw(st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))),
        "numbering": draw(st.permutations(range(n))),
    }


class Judge:
    """Answers from a set of similar pairs; pairs in `late` only after `learn`."""

    def __init__(self, similar: set[tuple[int, int]], late: set[tuple[int, int]], position: I64) -> None:
        self.similar = {tuple(sorted(p)) for p in similar}
        self.late = {tuple(sorted(p)) for p in late}
        self.position = position
        self.asked: list[tuple[int, int]] = []

    def __call__(self, left: I64, right: I64) -> npt.NDArray[np.uint8]:
        pairs = [
            tuple(sorted((int(self.position[a]), int(self.position[b])))) for a, b in zip(left, right, strict=True)
        ]
        self.asked += pairs  # type: ignore[arg-type]
        return np.array([2 if p in self.late else p in self.similar for p in pairs], np.uint8)


def candidates(s: dict[str, Any], rank: I64) -> dict[str, Any]:
    """Return what is known of each document, by the kernel's numbers."""
    flags = {key: np.array(s[key], np.bool_)[rank] for key in ("protected", "eligible")}
    return {"rank": rank, "dataset": np.array(s["dataset"], np.int32)[rank], **flags}


def decide(kernel: Any, s: dict[str, Any]) -> list[int | None]:
    """Run a kernel with documents renumbered, learning late answers round by round; undo the numbering."""
    number = np.array(s["numbering"])  # oracle's number -> kernel's number
    n = len(number)
    rank = np.empty(n, np.int64)
    rank[number] = np.arange(n)
    start = np.cumsum([0, *(len(b) for b in s["buckets"])]).astype(np.int64)
    member = np.array([number[m] for b in s["buckets"] for m in b], np.int64)
    buckets = Buckets(start=start, member=member, **candidates(s, rank))
    judge = Judge(s["similar"], s["late"], rank)
    for _ in range(100):
        judge.asked = []
        result: Result = kernel(buckets, judge, keep_all=s["keep_all"], further_tries=s["further_tries"])
        assert len(judge.asked) == len(set(judge.asked))
        if not len(result.unknown_left):
            lost = result.lost_to[number]
            return [None if w < 0 else int(rank[w]) for w in lost]
        for a, b in zip(rank[result.unknown_left], rank[result.unknown_right], strict=True):
            judge.late.remove(tuple(sorted((int(a), int(b)))))
    raise AssertionError("no end")


def similar_of(s: dict[str, Any]) -> Any:
    pairs = {tuple(sorted(p)) for p in s["similar"]}
    return lambda a, b: tuple(sorted((a, b))) in pairs


@settings(deadline=None, max_examples=400)
@given(situations())
@pytest.mark.parametrize(
    ("kernel", "oracle"),
    [(representative_survivors, oracles.representatives), (component_survivors, oracles.component_survivors)],
    ids=["representative", "component"],
)
def test_survivors_are_those_of_the_oracle(kernel: Any, oracle: Any, s: dict[str, Any]) -> None:
    options = [s[k] for k in ("buckets", "dataset", "protected", "eligible", "keep_all", "further_tries")]
    assert decide(kernel, s) == oracle(*options, similar_of(s))


@settings(deadline=None, max_examples=200)
@given(situations(), st.lists(st.integers(0, 3), min_size=12, max_size=12))
def test_exact_groups_are_those_of_the_oracle(s: dict[str, Any], contents: list[int]) -> None:
    n = len(s["dataset"])
    h = np.array(contents[:n], np.uint64)
    number = np.array(s["numbering"])
    rank = np.empty(n, np.int64)
    rank[number] = np.arange(n)
    given_ = Candidates(**candidates(s, rank))
    lost = exact_survivors(h[rank], h[rank] // 2, given_, keep_all=s["keep_all"])[number]
    groups = [[m for m in range(n) if contents[m] == c] for c in range(4)]
    expected = oracles.representatives(
        groups, s["dataset"], s["protected"], s["eligible"], s["keep_all"], 0, lambda a, b: True
    )
    assert [None if w < 0 else int(rank[w]) for w in lost] == expected


TRIES: dict[str, Any] = {"keep_all": False, "further_tries": 3}


def buckets_of(start: I64, member: I64, n: int) -> Buckets:
    """Return n documents of one dataset, in the order of their numbers, any of which may represent others."""
    yes, no = np.ones(n, np.bool_), np.zeros(n, np.bool_)
    every = {"rank": np.arange(n), "dataset": np.zeros(n, np.int32), "protected": no, "eligible": yes}
    return Buckets(start=start, member=member, **every)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sets(st.integers(0, 9)), max_size=12), st.randoms())
def test_distinct_buckets_are_the_first_of_each_set_of_documents(sets: list[set[int]], random: random.Random) -> None:
    listed = [random.sample(sorted(bucket), len(bucket)) for bucket in sets]
    start = np.cumsum([0, *map(len, listed)]).astype(np.int64)
    found = buckets_of(start, np.array([m for bucket in listed for m in bucket], np.int64), 10).distinct()
    members = [found.member[a:b].tolist() for a, b in itertools.pairwise(found.start)]
    assert members == [bucket for n, bucket in enumerate(listed) if sets[n] not in sets[:n]]


@settings(deadline=None, max_examples=200)
@given(situations(), st.randoms())
def test_repeated_buckets_change_no_survivor_and_no_request(s: dict[str, Any], random: random.Random) -> None:
    rank = np.array(s["numbering"])
    found = []
    for listed in (s["buckets"], [random.sample(b, len(b)) for b in s["buckets"] for _ in range(random.randint(1, 3))]):
        start = np.cumsum([0, *map(len, listed)]).astype(np.int64)
        member = np.array([m for bucket in listed for m in bucket], np.int64)
        buckets = Buckets(start=start, member=member, **candidates(s, rank))
        judge = Judge(s["similar"], s["late"], rank)
        result = representative_survivors(buckets, judge, **{name: s[name] for name in TRIES})
        found.append([*(part.tolist() for part in dataclasses.astuple(result)), judge.asked])
    assert found[0] == found[1]


def one_bucket(n: int) -> Buckets:
    return buckets_of(np.array([0, n]), np.arange(n), n)


def test_a_bucket_of_copies_costs_one_answer_each() -> None:
    asked = []

    def same(left: I64, right: I64) -> npt.NDArray[np.uint8]:
        asked.append(len(left))
        return np.ones(len(left), np.uint8)

    result = representative_survivors(one_bucket(20_000), same, **TRIES)
    assert (result.lost_to[1:] == 0).all()
    assert sum(asked) == 19_999


def test_a_bucket_of_strangers_costs_a_few_answers_each() -> None:
    asked = []

    def other(left: I64, right: I64) -> npt.NDArray[np.uint8]:
        asked.append(len(left))
        return np.zeros(len(left), np.uint8)

    result = representative_survivors(one_bucket(20_000), other, **TRIES)
    assert (result.lost_to == -1).all()
    assert sum(asked) <= 20_000 * 4 + 100
    assert len(asked) <= 6


def test_a_chain_is_settled_in_few_rounds() -> None:
    n = 20_000
    asked = []

    def near(left: I64, right: I64) -> npt.NDArray[np.uint8]:
        asked.append(len(left))
        return np.ones(len(left), np.uint8)

    start = np.arange(0, 2 * n - 1, 2)
    member = np.column_stack([np.arange(n - 1), np.arange(1, n)]).reshape(-1)
    result = representative_survivors(buckets_of(start, member, n), near, **TRIES)
    assert result.lost_to.tolist() == [-1 if i % 2 == 0 else i - 1 for i in range(n)]
    assert len(asked) <= 3


@settings(deadline=None, max_examples=100)
@given(situations(), st.randoms(use_true_random=False))
@pytest.mark.parametrize("kernel", [representative_survivors, component_survivors], ids=["representative", "component"])
def test_survivors_do_not_depend_on_the_order_of_buckets_and_members(kernel: Any, s: dict[str, Any], rng: Any) -> None:
    shuffled = [rng.sample(bucket, len(bucket)) for bucket in s["buckets"]]
    rng.shuffle(shuffled)
    assert decide(kernel, {**s, "buckets": shuffled}) == decide(kernel, s)


def crowd(seed: int) -> dict[str, Any]:
    """A hundred documents in buckets of very different sizes, more than seats and spare candidates."""
    rng = np.random.default_rng(seed)
    n = 100
    sizes = np.minimum(rng.zipf(1.6, 40) + 1, n)
    pairs = [(a, b) for b in range(n) for a in range(b)]
    similar, late = (rng.random(len(pairs)) < share for share in rng.choice([0.05, 0.3, 0.7, 1.0], 2))
    return {
        "buckets": [rng.choice(n, size, replace=False).tolist() for size in sizes],
        "dataset": sorted(rng.integers(0, 3, n).tolist()),
        "protected": (rng.random(n) < 0.05).tolist(),
        "eligible": (rng.random(n) < 0.8).tolist(),
        "keep_all": bool(seed % 2),
        "further_tries": seed % 4,
        "similar": {p for p, yes in zip(pairs, similar, strict=True) if yes},
        "late": {p for p, yes in zip(pairs, late, strict=True) if yes},
        "numbering": rng.permutation(n).tolist(),
    }


@pytest.mark.parametrize("seed", range(12))
def test_crowded_buckets_are_settled_as_the_oracle_does(seed: int) -> None:
    s = crowd(seed)
    options = [s[k] for k in ("buckets", "dataset", "protected", "eligible", "keep_all", "further_tries")]
    known = similar_of(s)
    assert decide(representative_survivors, {**s, "late": set(s["late"])}) == oracles.representatives(*options, known)
    assert decide(component_survivors, s) == oracles.component_survivors(*options, known)


@pytest.mark.parametrize(("answer", "each", "calls"), [(1, 1, 2), (0, 4, 6)], ids=["copies", "strangers"])
def test_a_component_of_one_bucket_costs_a_few_answers_each(answer: int, each: int, calls: int) -> None:
    asked = []

    def same(left: I64, right: I64) -> npt.NDArray[np.uint8]:
        asked.append(len(left))
        return np.full(len(left), answer, np.uint8)

    result = component_survivors(one_bucket(20_000), same, **TRIES)
    assert (result.lost_to[1:] == (0 if answer else -1)).all()
    assert sum(asked) <= 20_000 * each
    assert len(asked) <= calls
