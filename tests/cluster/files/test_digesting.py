"""Whether a file is the one that a list names, by its size and digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import counting_store
from cluster.counting_store import SCHEME, CountingStore
from cluster.files import digesting
from cluster.files.digesting import is_that

CONTENT = bytes(range(16))


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(digesting, "RANGE", 4)
    counting_store.use()
    yield
    CountingStore.empty()


@pytest.fixture(params=["local", "store"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "a") if request.param == "local" else f"{SCHEME}://a"


def write(path: str, content: bytes) -> None:
    CountingStore().pipe_file(path, content) if "://" in path else Path(path).write_bytes(content)


@pytest.mark.parametrize("size", [0, 1, 4, 7, 16])
def test_a_file_is_known_by_its_bytes(path: str, size: int) -> None:
    mine = CONTENT[:size]
    mark = hashlib.sha256(mine).hexdigest()
    write(path, mine)
    assert is_that(path, size, mark)
    for other in (mine + b"x", mine[:-1] or b"y", b"z" + mine[1:]):
        write(path, other)
        assert not is_that(path, size, mark)


def test_a_store_is_not_asked_for_the_size() -> None:
    write(f"{SCHEME}://a", CONTENT[:7])
    CountingStore.watch()
    assert is_that(f"{SCHEME}://a", 7, hashlib.sha256(CONTENT[:7]).hexdigest())
    asked = CountingStore.total().by_kind()
    assert {kind: number for kind, number in asked.items() if number} == {"get": 2}


def test_a_file_that_is_gone_is_an_error(path: str) -> None:
    with pytest.raises(FileNotFoundError):
        is_that(path, 3, "")
