"""Marks of characters: searches and counts equal plain loops; the hash in Python equals the kernel's."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.kernels.text import marks, repetition, word_tokens
from stages.kernels.text.known_words import hash_table
from stages.kernels.text.word_tokens import DASHES, LEADERS, QUOTES, TERMINALS, TICKS, classes

TEXTS = st.text(alphabet="ab Z9.,\n\u00e9\u6f22\u0e01\u2003\U0001f642p#", max_size=70)


def looked_up(text: str) -> tuple[np.ndarray, np.ndarray]:
    data = np.frombuffer(text.encode(), np.uint8)
    points = np.zeros(len(data) + marks.PAD, np.uint32)
    n = marks.decode(data, 0, len(data), points)
    assert points[:n].tolist() == [ord(c) for c in text]
    kinds, found = np.empty(n, np.uint16), np.full(n + 2 * marks.PAD, 255, np.uint8)
    marks.look_up(points, n, classes(), marks.table(), kinds, found)
    return points, found


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_searches_and_counts_equal_plain_loops(text: str) -> None:
    n, (_, found) = len(text), looked_up(text)
    for mark in (marks.APART, marks.OTHER, marks.LOOK, marks.BLANK):
        for start in range(n):
            plain = next((i for i in range(start, n) if found[i] & mark), n)
            assert marks.next_marked(found, start, n, mark) == plain
    planes = (marks.BLANK, marks.LETTER, marks.CAPITAL, marks.NUMBER, marks.SIGN)
    assert list(marks.counted(found, n)) == [sum(int(b) & mark != 0 for b in found[:n]) for mark in planes]
    assert marks.longest_run(found, n) == max(map(len, text.split()), default=0)
    every, inside = marks.marks_in(found, 0, n)
    assert every == (np.bitwise_or.reduce(found[:n]) if n else 0)
    assert inside == any(int(b) & (marks.BLANK | marks.SIGN) == 0 for b in found[:n])


def test_counts_do_not_overflow_on_long_texts() -> None:
    _, found = looked_up("A" * 5000 + " " * 3000 + "7." * 1001)
    assert marks.counted(found, 10_002) == (3000, 5000, 5000, 1001, 1001)


@given(TEXTS, st.text(max_size=3))
@settings(max_examples=200, deadline=None)
def test_the_hash_of_constants_is_the_kernels_and_tells_texts_apart(text: str, other: str) -> None:
    points = np.array([*map(ord, other + text), *range(8)], np.uint32)  # what follows must not matter
    here = int(repetition.hash_of(points, len(other), len(other) + len(text)))
    assert here == repetition.scalar_hash(text)
    assert here not in {repetition.scalar_hash(text + "\0"), repetition.scalar_hash(text + "a")}


def test_a_table_of_words_holds_each_once() -> None:
    words = [f"word{i}" for i in range(50)]
    slots = hash_table([*words, *words])
    assert len(slots) == 256
    assert sorted(slots[slots > 0].tolist()) == sorted(map(repetition.scalar_hash, words))


def test_classes_are_told_of_each_code_point_by_itself() -> None:
    named = set(word_tokens.MARKS + QUOTES + TERMINALS + LEADERS + DASHES + TICKS)
    for code, kind in enumerate(classes()[:0x3FFFF].tolist()):
        alone = word_tokens._classes_of(chr(code))
        assert kind == alone or (kind & alone == alone and chr(code) in named), hex(code)
