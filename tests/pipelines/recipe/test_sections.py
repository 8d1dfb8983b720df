"""Numbers with units in a recipe."""

from __future__ import annotations

import pytest

from pipelines.recipe import sections


@pytest.mark.parametrize(
    ("text", "number"), [("5T", 5 * 10**12), ("1.5M", 1_500_000), ("10k", 10_000), ("7", 7), ("1_000", 1000)]
)
def test_counts_have_units(text: str, number: int) -> None:
    assert sections.parse_count(text) == number


@pytest.mark.parametrize("text", ["512MB", "512 mb", "512000000", "512000000B"])
def test_sizes_have_units(text: str) -> None:
    assert sections.parse_bytes(text) == 512_000_000
    assert sections.parse_bytes("1MiB") == 2**20
