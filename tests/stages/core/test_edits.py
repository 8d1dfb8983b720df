"""Edits of texts: merged, applied and judged as a plain character-by-character rule does it."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import LedgerError
from stages.core import edits
from stages.core.edits import Edits

Span = tuple[int, int, str]  # start, stop, what stands there instead


def plain_merge(stages: list[list[Span]]) -> list[Span]:
    """Merge overlapping spans of one text; the longest says what stands there."""
    spans = sorted((s, k, e, t) for k, found in enumerate(stages) for s, e, t in found if e > s)
    groups: list[list[tuple[int, int, int, str]]] = []
    for span in spans:
        if groups and span[0] < max(e for _, _, e, _ in groups[-1]):
            groups[-1].append(span)
        else:
            groups.append([span])
    merged = []
    for group in groups:
        best = min(group, key=lambda g: (g[0] - g[2], g[1], g[0]))
        merged.append((group[0][0], max(g[2] for g in group), best[3]))
    return merged


def plain_apply(text: bytes, spans: list[Span]) -> bytes:
    out, at = b"", 0
    for start, stop, new in spans:
        out += text[at:start] + new.encode()
        at = stop
    return out + text[at:]


def around(text: bytes, start: int, stop: int) -> tuple[int, int]:
    """Return the span with the white space around it."""
    while start > 0 and text[start - 1 : start].isspace():
        start -= 1
    while stop < len(text) and text[stop : stop + 1].isspace():
        stop += 1
    return start, stop


def edits_of(texts: list[bytes], spans: list[list[Span]]) -> Edits:
    rows = [(r, s, e, *around(texts[r], s, e), t) for r, found in enumerate(spans) for s, e, t in sorted(found)]
    columns = list(zip(*rows, strict=True)) if rows else [()] * 6
    return Edits(*(np.array(c, np.int64) for c in columns[:5]), pa.array(columns[5], pa.large_string()))


@st.composite
def documents(draw: st.DrawFn) -> tuple[list[bytes], list[list[list[Span]]]]:
    texts = draw(st.lists(st.text("ab \n", max_size=20).map(str.encode), min_size=1, max_size=5))
    stages = []
    for _ in range(draw(st.integers(1, 3))):
        found: list[list[Span]] = []
        for text in texts:
            bounds = draw(st.lists(st.tuples(st.integers(0, len(text)), st.integers(0, len(text))), max_size=4))
            found.append([(min(b), max(b), draw(st.sampled_from(["", "<X>", "yy"]))) for b in bounds])
        stages.append(found)
    return texts, stages


@given(documents())
def test_edits_are_merged_and_applied_as_the_plain_rule_says(case: tuple[list[bytes], list[list[list[Span]]]]) -> None:
    texts, stages = case
    want = [plain_merge([found[r] for found in stages]) for r in range(len(texts))]
    merged = edits.merge([edits_of(texts, found) for found in stages])
    got: list[list[Span]] = [[] for _ in texts]
    for row, start, stop, new in zip(merged.row, merged.start, merged.stop, merged.text.to_pylist(), strict=True):
        got[row].append((start, stop, new))
    assert got == want
    array = pa.array([t.decode() for t in texts], pa.large_string())
    results = [plain_apply(t, spans) for t, spans in zip(texts, want, strict=True)]
    assert [t.encode() for t in edits.apply(array, merged).to_pylist()] == results
    lengths = np.array([len(t) for t in texts], np.int64)
    assert edits.sizes(merged, lengths).tolist() == [len(t) for t in results]


@given(documents())
def test_nothing_is_left_exactly_where_only_white_space_is_written(
    case: tuple[list[bytes], list[list[list[Span]]]],
) -> None:
    texts, stages = case
    merged = edits.merge([edits_of(texts, found) for found in stages])
    lengths = np.array([len(t) for t in texts], np.int64)
    written = edits.apply(pa.array([t.decode() for t in texts], pa.large_string()), merged).to_pylist()
    touched = set(merged.row.tolist())
    want = [r for r, text in enumerate(written) if r in touched and text.strip() == "" and texts[r].strip() != b""]
    found = edits.nothing_left(merged, lengths)
    assert [r for r in found.tolist() if texts[r].strip() != b""] == want


def test_the_order_of_edits_inside_a_stage_does_not_matter() -> None:
    texts = [b"abcdefghij" * 3] * 4
    random_ = random.Random(1)
    spans = [[(random_.randrange(25), random_.randrange(25, 30), t) for t in ("", "x")] for _ in texts]
    one = edits_of(texts, spans)
    order = np.array(random_.sample(range(len(one)), len(one)))
    a, b = edits.merge([one]), edits.merge([one.take(order)])
    assert a.start.tolist() == b.start.tolist()
    assert a.text.equals(b.text)


def test_edits_of_some_rows_are_numbered_by_their_place() -> None:
    one = edits_of([b"abc"] * 5, [[(0, 1, "x")]] * 5)
    assert one.among(np.array([1, 3])).row.tolist() == [0, 1]
    assert one.among(np.array([], np.int64)).row.tolist() == []
    assert one.among(np.array([3])).numbered(np.array([30])).row.tolist() == [30]
    with pytest.raises(LedgerError, match="rows whose edits are wanted must ascend"):
        one.among(np.array([3, 1]))


@pytest.mark.parametrize("text", ["", "é€😀"])
def test_bytes_outside_of_edits_stay_as_they_are(text: str) -> None:
    array = pa.array(["😀" + "secret" + "é", "b"], pa.large_string())
    spans = pa.array(
        [[{"start": 4, "stop": 10}], []], pa.list_(pa.struct([("start", pa.int32()), ("stop", pa.int32())]))
    )
    found = edits.from_spans(spans, pa.array([text], pa.large_string()))
    assert edits.apply(array.slice(0), found).to_pylist() == [f"😀{text}é", "b"]
    assert edits.apply(pa.concat_arrays([array, array]).slice(2), found).to_pylist() == [f"😀{text}é", "b"]
