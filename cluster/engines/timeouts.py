"""Timeouts for calls that may never return: to a scheduler that is lost, or to a worker that hangs.

Guarantees: the caller goes on when the time is up. The call itself cannot be stopped and goes on in a daemon thread,
which does not keep the process alive.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Generic, TypeVar

from cluster.errors import BackendError

T = TypeVar("T")
# What a call to a scheduler that is lost, or about to be, may raise.
NO_ANSWER = (OSError, RuntimeError, ValueError, LookupError, AssertionError, AttributeError, CancelledError)


class BackgroundCall(Generic[T]):
    """A call on a daemon thread. results: what it returned, one item once it ended well; error: what it raised."""

    def __init__(self, function: Callable[[], T]) -> None:
        self.started = time.monotonic()
        self.results: list[T] = []
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=[function], daemon=True)
        self._thread.start()

    def _run(self, function: Callable[[], T]) -> None:
        try:
            self.results.append(function())
        except BaseException as error:  # read by the caller's thread
            self.error = error
            logging.getLogger("winnow.cluster").debug("a background call failed", exc_info=True)

    def wait(self, seconds: float) -> None:
        """Block until the call ended, `seconds` at most."""
        self._thread.join(seconds)


def call_with_timeout(function: Callable[[], T], seconds: float, who: str) -> T:
    """Return function(), called on a daemon thread with a timeout.

    Parameters
    ----------
    who : the node that the function calls, as the subject of the error message: "a worker".

    Raises
    ------
    BackendError
        The function raised, or has not returned after `seconds`.
    """
    call = BackgroundCall(function)
    call.wait(seconds)
    if call.error is not None:
        raise BackendError(f"{who} cannot be asked: {type(call.error).__name__}: {call.error}") from call.error
    if not call.results:
        raise BackendError(f"{who} did not answer within {seconds:.0f} s. Look at its log, or start it again.")
    return call.results[0]


def try_with_timeout(function: Callable[[], object], seconds: float) -> None:
    """Call a function for its effect and go on after `seconds`, whether it ended or not.

    Errors of a lost scheduler (NO_ANSWER) are expected and ignored, any other is logged.
    """
    call = BackgroundCall(function)
    call.wait(seconds)
    if call.error is not None and not isinstance(call.error, NO_ANSWER):
        logging.getLogger("winnow.cluster").error("an error while tidying up", exc_info=call.error)


def refuses(address: str) -> bool:
    """Tell whether the machine at an address such as tcp://10.0.0.1:8786 answers, and has nothing at that port."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdigit():
        return False
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2.0).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def wait_until(condition: Callable[[], bool], seconds: float, pause: float) -> bool:
    """Poll `condition` every `pause` seconds; return False if it is still false after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True
