"""Progress: what is shown, how often, and that it can be read by people and machines."""

from __future__ import annotations

import io
import json
import re
import sys
import time
from datetime import datetime
from typing import Any

import pytest
from rich.console import Console

from pipelines.run import bars as progress_bars
from pipelines.run import progress, seen
from pipelines.run.pace import Pace, words_left


class Clock:
    """A clock that goes on when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(seen.time, "perf_counter", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def run(display: Any, clock: Clock, tasks: int, seconds: float, total: int | None = 1000) -> None:
    """Finish tasks of 10 documents and 2 MB each, one every few seconds."""
    with display.step("annotate", documents=total, bytes=None) as advance:
        for _ in range(tasks):
            clock.now += seconds
            advance(documents=10, bytes=2_000_000)


def ended_tasks(clock: Clock, pace: Pace, ends: list[tuple[float, int]]) -> None:
    for seconds, documents in ends:
        clock.now += seconds
        pace.count(clock.now, documents)


def test_no_end_is_promised_by_the_first_tasks_that_also_compile_kernels(clock: Clock) -> None:
    pace = Pace(clock.now, 1000)
    ended_tasks(clock, pace, [(45.0, 10), (0.1, 10), (0.1, 10), (0.1, 10)])
    assert pace.left(clock.now) is None
    ended_tasks(clock, pace, [(1.0, 100)] * 5)
    low, high = pace.left(clock.now) or (0.0, 0.0)
    assert 2 < low < 4.6 < high < 8  # 460 documents at 100 a second; the 45 s of the first task count for nothing


def test_a_pace_that_changes_gives_a_range(clock: Clock) -> None:
    pace = Pace(clock.now, 10_000)
    ended_tasks(clock, pace, [(1.0, 100)] * 20 + [(4.0, 100)] * 12)
    low, high = pace.left(clock.now) or (0.0, 0.0)
    assert high > 1.5 * low
    assert "to" in words_left((low, high))


def test_no_time_is_left_when_all_documents_are_done(clock: Clock) -> None:
    pace = Pace(clock.now, 500)
    ended_tasks(clock, pace, [(1.0, 100)] * 5)
    assert pace.left(clock.now) is None


@pytest.mark.parametrize("width", [40, 60, 200])
def test_a_bar_fits_the_terminal(width: int, clock: Clock) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, color_system=None)
    run(progress_bars.Bars(console), clock, tasks=30, seconds=1.0)
    pictures = re.split(r"[\r\n]|\x1b\[[0-9;?]*[A-Za-z]", out.getvalue())
    assert any("━" in line for line in pictures)
    assert max(len(line) for line in pictures if "━" in line) <= width


def test_a_log_has_a_line_at_most_every_ten_seconds_and_one_at_the_end(clock: Clock) -> None:
    out = io.StringIO()
    run(progress.Lines(out), clock, tasks=100, seconds=0.5)
    lines = out.getvalue().splitlines()
    assert len(lines) == 50 // 10 + 1
    assert lines[0] == "read and judge: 10.0 s, 200 of 1,000 documents, about 40 s left, 20 documents/s, 4.0 MB/s"
    assert lines[-1] == "read and judge: 50.0 s, 1,000 documents, 20 documents/s, 4.0 MB/s"


def test_a_stage_without_a_known_total_promises_no_end(clock: Clock) -> None:
    out = io.StringIO()
    run(progress.Lines(out), clock, tasks=3, seconds=11, total=None)
    assert "left" not in out.getvalue()
    assert "10 documents" in out.getvalue()


def test_a_stage_that_counts_no_documents_tells_its_tasks(clock: Clock) -> None:
    out = io.StringIO()
    with progress.Lines(out).step("near_dedup") as advance:
        clock.now += 4
        advance()
        advance()
    assert out.getvalue() == "near_dedup: 4.0 s, 2 tasks\n"


def test_every_line_of_a_json_log_is_an_object_with_time_counts_and_rates(clock: Clock) -> None:
    out = io.StringIO()
    run(progress.Lines(out, as_json=True), clock, tasks=10, seconds=5)
    records = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [r["event"] for r in records] == ["start", *["progress"] * 5, "done"]
    for record in records:
        assert datetime.fromisoformat(record["time"]).tzinfo is not None
        assert (record["stage"], record["total_documents"]) == ("annotate", 1000)
    assert records[1]["documents"] == 20
    assert records[1]["documents_per_second"] == 2.0
    assert records[1]["bytes_per_second"] == 400_000.0
    assert records[1]["eta_seconds"] is None  # two tasks tell too little
    assert records[3]["eta_range"][0] < 470.0 < records[3]["eta_range"][1]
    assert records[0]["documents_per_second"] is None
    assert records[-1] | {"time": ""} == {
        "time": "",
        "event": "done",
        "stage": "annotate",
        "tasks": 10,
        "documents": 100,
        "bytes": 20_000_000,
        "total_documents": 1000,
        "seconds": 50.0,
        "documents_per_second": 2.0,
        "bytes_per_second": 400_000.0,
        "eta_seconds": None,
        "eta_range": None,
        "words": "read and judge",
        "part": None,
        "part_tasks": None,
        "part_tasks_done": None,
        "kernels_compiled": 0,
    }


def test_a_stage_that_fails_is_not_called_done(clock: Clock) -> None:
    out = io.StringIO()
    with pytest.raises(RuntimeError), progress.Lines(out, as_json=True).step("annotate"):
        raise RuntimeError
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["start"]


def test_a_terminal_shows_a_bar_and_keeps_one_line_per_stage(clock: Clock) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, color_system=None)
    run(progress_bars.Bars(console), clock, tasks=100, seconds=0.5)
    assert "━" in out.getvalue()
    last = out.getvalue().splitlines()[-1]
    assert "read and judge" in last
    assert "1,000 documents, 20 documents/s, 4.0 MB/s" in last


def test_silence_shows_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    run(progress.Silent(), clock, tasks=3, seconds=20)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("terminal", [True, False])
def test_the_display_follows_flags_and_terminal(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(progress.choose_display(quiet=True), progress.Silent)
    assert isinstance(progress.choose_display(json_log=True), progress.Lines)
    assert isinstance(progress.choose_display(), progress_bars.Bars if terminal else progress.Lines)


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress.choose_display(), progress.Lines)


def test_a_log_tells_that_a_long_task_goes_on() -> None:
    out = io.StringIO()
    with progress.Lines(out, every=0.01).step("annotate", documents=10) as advance:
        advance.part("annotate", 3)
        while "annotate 0 of 3" not in out.getvalue():
            time.sleep(0.001)
    assert "read and judge:" in out.getvalue()
