"""What is counted in lines, and where personal data may stand, by vectors: equal to plain loops over characters."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.detect import line_signs
from stages.kernels.text import byte_signs, line_counts, pii_windows
from stages.kernels.text.word_tokens import ALPHA, DECIMAL, LOWER, SPACE, UPPER, WORD, classes

BLANKS = (" ", "  ", "\n", "\n\n", "\r\n", "\x85", "\u2028", "\u2029", "\u3000", "\xa0")
WORDS = (
    "word Words . !?. a\u0301 \u6f22\u5b57 \u212a cooKies coo\u212aies "
    "JAVAscript Privacy items [12] [edit] [c [ \U0001f642 7 @ : ::1 \0"
)
SPACED = (
    "Terms of Use",
    "use cooKies",
    "sign in",
    "read more",
    "+1 202 555 0143",
    "8.8.8.8",
    "DE12",
    "\u00e9" * 40,
    "x" * 70,
)
PIECES = st.sampled_from([*BLANKS, *WORDS.split(), *SPACED])
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=40).map("".join)
AROUND = {line_counts.NAMED: "[ai]va|ooki|of u", line_counts.NAVIGATES: "ign|d mo|tem"}  # what stands where signs are
RULES = {line_counts.NAMED: f"javascript|{line_signs._POLICY}", line_counts.NAVIGATES: line_signs._MAY_NAVIGATE}


def plain_row(line: str, begin: int) -> dict[str, int]:
    """Return what is counted of one line with a visible character, by Python's own strings."""
    shown, kinds = line.strip(), [int(classes()[ord(c)]) for c in line if not c.isspace()]
    first = begin + len(line[: len(line) - len(line.lstrip())].encode())
    ends = [c in ".!?" and (i + 1 == len(line) or line[i + 1].isspace()) for i, c in enumerate(line)]
    tail = shown.encode()[-8:]
    return {
        "begin": begin,
        "first": first,
        "last": first + len(shown.encode()),
        "words": len(line.split()),
        "sentences": sum(ends),
        "chars": len(shown),
        "letters": sum(k & ALPHA > 0 for k in kinds),
        "capitals": sum(k & (UPPER | LOWER) == UPPER for k in kinds),
        "digits": sum(k & DECIMAL > 0 for k in kinds),
        "others": sum(k & (WORD | SPACE) == 0 for k in kinds),
        "longest": max(map(len, line.split())),
        "tail": int.from_bytes(tail.rjust(8, b"\0"), "little", signed=True),
    }


@given(st.lists(TEXTS, max_size=4))
@settings(max_examples=200, deadline=None)
def test_lines_are_counted_as_by_strings(texts: list[str]) -> None:
    found = line_counts.count_lines(pa.array(texts, pa.large_string()))
    at, base = 0, 0
    for place, text in enumerate(texts):
        begin = base
        for line in text.split("\n"):
            if line.strip():
                row = {name: int(numbers[at]) for name, numbers in found.items()}
                signs = row.pop("signs")
                assert row == {"text": place, **plain_row(line, begin)}, repr(line)
                check_signs(line, text[len(text.encode()[: begin - base].decode()) :], signs)
                at += 1
            begin += len(line.encode()) + 1
        base += len(text.encode())
    assert at == len(found["text"])


def check_signs(line: str, rest: str, signs: int) -> None:
    """Check that signs name at least what patterns of a line ask for, and nothing that does not stand there."""
    shown = line.strip()
    assert bool(signs & line_counts.WIDE) == any(c > "\x7f" and not c.isspace() for c in line)
    assert bool(signs & line_counts.CITED) >= bool(re.search(r"\[[0-9ce\]]", shown))
    for sign, pattern in RULES.items():
        assert bool(signs & sign) >= bool(re.search(pattern, shown, re.IGNORECASE)), shown
    for sign, pattern in AROUND.items():
        assert bool(signs & sign) <= bool(re.search(pattern, rest, re.IGNORECASE) or "\u212a" in shown)


@pytest.mark.parametrize("kind", ["line_feeds", "sentence_ends", "beyond_ascii", "continuations", "digits_and_signs"])
def test_bits_are_comparisons_of_bytes(kind: str) -> None:
    plain = {
        "line_feeds": lambda b: b == 10,
        "sentence_ends": lambda b: b in b".!?",
        "beyond_ascii": lambda b: b > 127,
        "continuations": lambda b: 0x80 <= b < 0xC0,
        "digits_and_signs": lambda b: b in b"0123456789@:",
    }[kind]
    data = np.arange(256, dtype=np.uint8)
    for start in (0, 64, 128, 192, 33):
        bits = int(called(getattr(byte_signs, kind), data, start))
        assert [bits >> i & 1 for i in range(64)] == [int(plain(int(b))) for b in data[start : start + 64]]


def called(kind: object, data: np.ndarray, start: int) -> np.uint64:
    import numba

    return numba.njit(lambda data, at: kind(data, at))(data, start)  # type: ignore[operator, no-any-return]


@given(st.lists(TEXTS, max_size=4), st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_windows_do_not_depend_on_what_lies_around_a_text(texts: list[str], behind: int) -> None:
    alone = [pii_windows.windows(pa.array([text], pa.large_string())) for text in texts]
    expected = [(place, *row[1:]) for place, rows in enumerate(alone) for row in rows.tolist()]
    column = pa.array([*texts, *["1" * 90] * behind], pa.large_string())
    found = [tuple(row) for row in pii_windows.windows(column).tolist() if row[0] < len(texts)]
    assert found == expected
    emails = [(place, i) for place, text in enumerate(texts) for i, b in enumerate(text.encode()) if b == 64]
    assert [(row[0], row[1]) for row in found if row[3] == pii_windows.EMAIL] == emails
