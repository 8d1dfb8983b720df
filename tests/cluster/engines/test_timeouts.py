"""Calls that hang or fail do not hold up the caller."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from cluster.engines.timeouts import BackgroundCall, call_with_timeout, try_with_timeout, wait_until
from cluster.errors import BackendError


@pytest.fixture
def hang() -> Iterator[threading.Event]:
    """An event that nobody sets before the test ends."""
    event = threading.Event()
    yield event
    event.set()


def fail() -> None:
    raise LookupError("gone")


def slip() -> None:
    raise ZeroDivisionError("a slip in the code")


def test_a_call_in_time_returns_its_result_also_none() -> None:
    assert call_with_timeout(lambda: 7, 60, "a worker") == 7
    assert call_with_timeout(lambda: None, 60, "a worker") is None


def test_a_call_that_hangs_or_fails_names_the_node(hang: threading.Event) -> None:
    with pytest.raises(BackendError, match="the scheduler did not answer within 0 s"):
        call_with_timeout(hang.wait, 0, "the scheduler")
    with pytest.raises(BackendError, match="a worker cannot be asked: LookupError: gone") as caught:
        call_with_timeout(fail, 60, "a worker")
    assert isinstance(caught.value.__cause__, LookupError)


def test_tidying_up_goes_on_whatever_happens_and_logs_only_the_unexpected(
    hang: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="winnow.cluster"):
        try_with_timeout(hang.wait, 0)
        try_with_timeout(fail, 60)
        assert caplog.records == []
        try_with_timeout(slip, 60)
    assert "a slip in the code" in caplog.text


def test_a_background_call_holds_its_result_or_its_error(hang: threading.Event) -> None:
    running = BackgroundCall(hang.wait)
    assert (running.results, running.error) == ([], None)
    hang.set()
    running.wait(60)
    assert running.results == [True]
    failed = BackgroundCall(fail)
    failed.wait(60)
    assert isinstance(failed.error, LookupError)


def test_polling_ends_with_the_condition_or_the_time() -> None:
    answers = iter([False, False, True])
    assert wait_until(lambda: next(answers), 60, pause=0)
    assert not wait_until(lambda: False, 0, pause=0)
