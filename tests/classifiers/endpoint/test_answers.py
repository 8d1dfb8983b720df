"""Kept answers: what a writer noted is read; lines that say something else are passed over, whatever their checksum."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any

import orjson
import pytest

from classifiers.endpoint import answers
from classifiers.endpoint.answers import OK, UNSENT, Range, Spent, Tokens, Writer
from cluster.files.append_log import AppendLog
from tests.support.damaged_folders import change

PART = Range(0, 0)
KEYS = [answers.key_of(bytes([n]) * 16, 0) for n in range(3)]


def noted(folder: Path) -> None:
    writer = Writer(str(folder), PART)
    for key in KEYS:
        writer.asked(key, (10, 5))
        writer.ended(key, OK, Tokens(9, 4), "yes")
    writer.close()


def appended(folder: Path, records: list[Any]) -> None:
    log = AppendLog(str(folder), PART.name)
    for record in records:
        log.append(orjson.dumps(record))
    log.close()


def test_what_was_noted_is_read(tmp_path: Path) -> None:
    noted(tmp_path)
    found = answers.known(str(tmp_path), PART, KEYS)
    assert [found[key].content for key in KEYS] == ["yes"] * 3
    [path] = answers.files(str(tmp_path))
    assert answers.spent(path).tokens == Tokens(27, 12)


def test_lines_that_say_something_else_are_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    noted(tmp_path)
    begun, ended = {"k": KEYS[0], "a": [1, 1]}, {"k": KEYS[0], "s": OK, "u": [1, 1], "c": "no"}
    forged: list[Any] = [[], 7, {}, {"k": 1, "a": [1, 1]}, {"k": KEYS[0]}, {**begun, "a": {}}, {**ended, "c": 3}]
    counts = ([-1, 1], [1, True], [1, 1 << 40], [1.0, 1], [1], [1, 1, 1], None)
    forged += [{**whole, name: tokens} for whole, name in ((begun, "a"), (ended, "u")) for tokens in counts]
    appended(tmp_path, forged)
    with caplog.at_level(logging.WARNING):
        found = answers.known(str(tmp_path), PART, KEYS)
    assert [found[key].content for key in KEYS] == ["yes"] * 3
    assert f"{len(forged)} lines are cut off or damaged" in caplog.text
    assert sum(map(answers.damaged_lines, answers.files(str(tmp_path)))) == len(forged)


def test_a_last_line_without_an_end_is_not_damaged(tmp_path: Path) -> None:
    noted(tmp_path)
    [path] = map(Path, answers.files(str(tmp_path)))
    assert answers.damaged_lines(str(path)) == 0
    path.write_bytes(path.read_bytes()[:-3])
    assert answers.damaged_lines(str(path)) == 0
    path.write_bytes(path.read_bytes().replace(b"yes", b"yea", 1))
    assert answers.damaged_lines(str(path)) == 1


def test_ends_without_a_beginning_give_nothing_back(tmp_path: Path) -> None:
    noted(tmp_path)
    appended(tmp_path, [{"k": KEYS[0], "s": UNSENT, "u": [0, 0]}] * 5)
    total = Spent()
    for path in answers.files(str(tmp_path)):
        total = total.plus(answers.spent(path))
    assert (total.requests, total.tokens) == (3, Tokens(27, 12))
    assert answers.known(str(tmp_path), PART, KEYS)[KEYS[0]].under_way == 0


def test_any_change_of_a_line_is_read_or_passed_over(tmp_path: Path) -> None:
    records: list[Any] = []
    for seed in range(300):
        record: dict[str, Any] = (
            {"k": KEYS[0], "s": OK, "u": [1, 1], "c": "no"} if seed % 2 else {"k": "x", "a": [1, 2]}
        )
        change(record, random.Random(seed))
        records.append(record)
    appended(tmp_path, records)
    answers.known(str(tmp_path), PART, KEYS)
    for path in answers.files(str(tmp_path)):
        assert answers.spent(path).requests <= len(records)
