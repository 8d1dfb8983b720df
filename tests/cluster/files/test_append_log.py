"""Append-only logs: nothing that was appended is lost with the process, nothing damaged is read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cluster.files.append_log import AppendLog, logs, records

KILLED = """
import os, sys
from cluster.files.append_log import AppendLog
log = AppendLog(sys.argv[1], "a")
for n in range(100):
    log.append(b"record %d" % n)
os.kill(os.getpid(), 9)
"""


def every(folder: Path) -> list[bytes | None]:
    return [record for paths in logs(str(folder)).values() for path in paths for record in records(path)]


def test_what_was_appended_survives_a_kill(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == -9
    assert every(tmp_path) == [b"record %d" % n for n in range(100)]


def test_each_writer_has_a_file_of_its_own(tmp_path: Path) -> None:
    with AppendLog(str(tmp_path), "a") as one, AppendLog(str(tmp_path), "a") as other:
        one.append(b"1")
        other.append(b"2")
        one.append(b"3")
    assert len(logs(str(tmp_path))["a"]) == 2
    assert sorted(filter(None, every(tmp_path))) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("cut", range(1, 25))
def test_a_line_that_was_cut_off_is_passed_over(tmp_path: Path, cut: int) -> None:
    with AppendLog(str(tmp_path), "a") as log:
        log.append(b"first")
        log.append(b"second")
    [path] = logs(str(tmp_path))["a"]
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[:-cut])
    assert [record for record in every(tmp_path) if record is not None] in ([b"first"], [])


def test_a_changed_line_is_passed_over_and_those_around_it_are_not(tmp_path: Path) -> None:
    with AppendLog(str(tmp_path), "a") as log:
        for record in (b"first", b"second", b"third"):
            log.append(record)
    [path] = logs(str(tmp_path))["a"]
    Path(path).write_bytes(Path(path).read_bytes().replace(b"second", b"secend"))
    assert every(tmp_path) == [b"first", None, b"third"]


def test_nothing_is_made_where_nothing_is_appended(tmp_path: Path) -> None:
    with AppendLog(str(tmp_path / "answers"), "a"):
        pass
    assert not (tmp_path / "answers").exists()


def test_an_object_store_has_all_lines_at_the_end() -> None:
    folder = "memory://append-log-test"
    for _ in range(2):
        with AppendLog(folder, "a") as log:
            for n in range(600):
                log.append(b"%d" % n)
    found = [record for paths in logs(folder).values() for path in paths for record in records(path)]
    assert found == [b"%d" % n for n in range(600)] * 2
