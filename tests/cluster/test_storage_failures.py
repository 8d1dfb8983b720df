"""What the client of an object store raises is an OSError that says what to do, and nothing else is touched."""

from __future__ import annotations

import pytest

from cluster import storage


class Broken(Exception):
    """Stands for an error of aiohttp."""


Broken.__module__ = "aiohttp.client_exceptions"


def test_an_error_of_a_stores_client_is_named() -> None:
    with (
        pytest.raises(OSError, match=r"object store failed \(Broken: half an answer\). Try again"),
        storage.failures_named(),
    ):
        raise Broken("half  an answer")


@pytest.mark.parametrize("error", [FileNotFoundError("x"), ValueError("x")])
def test_other_errors_stay_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, storage.failures_named():
        raise error
    assert caught.value is error
