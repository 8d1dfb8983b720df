"""The script of a text is that of most of its letters, counted one by one."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from stages.kernels.text.scripts import RANGES, UNKNOWN, script_names, scripts_of


def plain(text: str) -> str:
    """Return the script of a text by its ranges."""
    of = Counter(
        name for c in text for name, ranges in RANGES.items() if any(low <= ord(c) <= high for low, high in ranges)
    )
    if of["Jpan"] * 10 >= of["Hani"] and of["Jpan"]:
        of["Jpan"] += of["Hani"]
    best = max(RANGES, key=lambda name: of[name])  # the first of equals
    return best if of[best] else UNKNOWN


ASCII = st.text(st.characters(max_codepoint=0x7F), max_size=20)
MIXED = st.lists(ASCII | st.text(st.sampled_from("@AZ[`az{éяж中のไ가\x00\x7f "), max_size=12), max_size=4).map("".join)


@given(st.lists(MIXED, max_size=4))
def test_letters_are_counted_as_one_by_one(texts: list[str]) -> None:
    column = pa.array(["x", *texts], pa.large_string()).slice(1)
    assert script_names(scripts_of(column)).to_pylist() == [plain(text) for text in texts]
