"""Marks of characters: searches and counts equal plain loops; the hash in Python equals the kernel's."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.kernels.text import marks, repetition, word_tokens
from stages.kernels.text.known_words import hash_table
from stages.kernels.text.word_tokens import DASHES, LEADERS, QUOTES, TERMINALS, TICKS, classes

TEXTS = st.text(alphabet="ab Z9.,\n\u00e9\u6f22\u0e01\u2003\U0001f642p#", max_size=70)


def decoded(text: str, before: str = "", behind: str = "") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return code points, bytes and marks of a text that lies in a buffer between two others."""
    start, size = len(before.encode()), len(text.encode())
    data = np.frombuffer((before + text + behind).encode(), np.uint8)
    points = np.zeros(size + marks.PAD, np.uint32)
    narrow, found = np.full((2, size + marks.PAD), 77, np.uint8)
    n = marks.decode(data, start, start + size, marks.table(), points, narrow, found)
    assert points[:n].tolist() == [ord(c) for c in text]
    return points, narrow, found


@given(TEXTS | st.text(max_size=150), st.text(max_size=40), st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_every_character_has_its_point_byte_and_marks_wherever_a_text_lies(text: str, before: str, behind: str) -> None:
    points, narrow, found = decoded(text, before, behind)
    n = len(text)
    assert found[:n].tolist() == marks.table()[points[:n]].tolist()
    assert found[n : n + marks.PAD].tolist() == [marks.APART | marks.OTHER] + [0] * (marks.PAD - 1)
    assert all(int(b) == ord(c) if c.isascii() else b > 127 for c, b in zip(text, narrow, strict=False))


def test_ascii_has_the_marks_of_the_table() -> None:
    text = "".join(map(chr, range(128))) * 3
    for start in range(40):  # by vectors, and near the end one by one
        _, _, found = decoded(text[start:])
        assert found[: len(text) - start].tolist() == [marks.table()[ord(c)] for c in text[start:]]


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_searches_and_counts_equal_plain_loops(text: str) -> None:
    n, (_, _, found) = len(text), decoded(text)
    for mark in (marks.APART, marks.OTHER, marks.LOOK, marks.BLANK):
        for start in range(n):
            plain = next((i for i in range(start, n) if found[i] & mark), n)
            assert marks.next_marked(found, start, n, mark) == plain
    planes = (marks.BLANK, marks.LETTER, marks.CAPITAL, marks.NUMBER, marks.SIGN)
    *counts, longest = marks.counted(found, n)
    assert counts == [sum(int(b) & mark != 0 for b in found[:n]) for mark in planes]
    assert longest == max(map(len, text.split()), default=0)
    every, inside = marks.marks_in(found, 0, n)
    assert every == (np.bitwise_or.reduce(found[:n]) if n else 0)
    assert inside == any(int(b) & (marks.BLANK | marks.SIGN) == 0 for b in found[:n])


def test_counts_do_not_overflow_on_long_texts() -> None:
    _, _, found = decoded("A" * 5000 + " " * 3000 + "7." * 1001)
    assert marks.counted(found, 10_002) == (3000, 5000, 5000, 1001, 1001, 5000)


@given(TEXTS | st.text(max_size=40) | st.text(alphabet="abE.", max_size=40), st.text(max_size=3))
@settings(max_examples=300, deadline=None)
def test_the_hash_of_constants_is_the_kernels_and_tells_texts_apart(text: str, other: str) -> None:
    points, narrow, _ = decoded(other + text + "\u00e9 what follows must not matter")
    start, stop = len(other), len(other) + len(text)
    assert int(repetition.hash_of(points, narrow, start, stop)) == repetition.scalar_hash(text)
    assert repetition.scalar_hash(text) not in {repetition.scalar_hash(text + "\0"), repetition.scalar_hash(text + "a")}
    if len(text) <= 8 and text.isascii():
        word = np.uint64(int.from_bytes(text.encode(), "little"))
        assert int(repetition.hash_of_word(word, len(text))) == repetition.scalar_hash(text)


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
