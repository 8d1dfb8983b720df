"""Packings hold every token once and in order; best fit leaves little padding."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.export.packing import Pieces, pack
from pipelines.export.settings import Settings

SIZES = st.lists(st.integers(0, 40), max_size=60)


def packed(how: str, sizes: list[int], window: int = 8, format: str = "olmo") -> Pieces:
    settings = Settings(format=format, sequence_length=window, pack=how)
    return pack(settings, np.array(sizes, np.int64), 3)


@given(SIZES, st.sampled_from(["concat", "best_fit", "none"]), st.sampled_from(["olmo", "hf", "megatron"]))
def test_every_token_is_in_one_window(sizes: list[int], how: str, format: str) -> None:
    found = packed(how, sizes, format=format)
    seen = [
        (document, start + i)
        for document, start, length in zip(found.document, found.start, found.length, strict=True)
        for i in range(length)
    ]
    assert len(seen) == len(set(seen)) == sum(sizes)
    assert set(seen) == {(n, i) for n, size in enumerate(sizes) for i in range(size)}
    assert (np.diff(found.window) >= 0).all()
    if how != "none":
        used = np.bincount(found.window, weights=found.length, minlength=found.windows)
        assert (used <= 8).all()
        assert found.windows == len(used)


@given(SIZES)
def test_concat_leaves_one_window_that_is_not_full(sizes: list[int]) -> None:
    found = packed("concat", sizes)
    used = np.bincount(found.window, weights=found.length, minlength=found.windows)
    assert (used < 8).sum() <= 1


@given(SIZES)
def test_best_fit_cuts_only_what_is_longer_than_a_window(sizes: list[int]) -> None:
    found = packed("best_fit", sizes)
    cuts = np.bincount(found.document, minlength=len(sizes)) if sizes else np.zeros(0)
    assert cuts.tolist() == [-(-size // 8) for size in sizes]


@given(SIZES)
def test_best_fit_is_what_the_slow_one_finds(sizes: list[int]) -> None:
    pieces = sorted((min(8, size - start) for size in sizes for start in range(0, size, 8)), reverse=True)
    rooms: list[int] = []
    for piece in pieces:
        fitting = [n for n, room in enumerate(rooms) if room >= piece]
        if fitting:
            best = min(fitting, key=lambda n: rooms[n])
            rooms[best] -= piece
        else:
            rooms.append(8 - piece)
    found = packed("best_fit", sizes)
    used = np.bincount(found.window, weights=found.length, minlength=found.windows)
    assert sorted((8 - used).tolist()) == sorted(rooms)


def test_the_seed_draws_the_order() -> None:
    sizes = np.full(500, 8, np.int64)
    orders = [pack(Settings(format="olmo", sequence_length=8, seed=s), sizes, 0).document.tolist() for s in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != sorted(orders[0])


def test_little_padding_on_lengths_as_the_web_has_them() -> None:
    lengths = np.random.default_rng(7).lognormal(6.3, 1.1, 12_000).astype(np.int64) + 1
    settings = Settings(format="hf", sequence_length=4096, pack="best_fit")
    found = pack(settings, lengths, 0)
    assert 1 - lengths.sum() / (found.windows * 4096) < 0.01
