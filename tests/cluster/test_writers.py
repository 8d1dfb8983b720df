"""One writer at a time in a folder of an object store, whatever became of the one before."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fsspec
import pytest

from cluster import storage, writers
from cluster.errors import RecipeError
from cluster.writers import Claim, only_writer
from pipelines.run_state import only_one
from tests.support.s3_server import serving

s3fs = pytest.importorskip("s3fs", reason="needs the dev extra: pip install -e '.[dev]'")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with serving():
        s3fs.S3FileSystem(use_listings_cache=False).mkdir("writers")
        yield "s3://writers"


@pytest.fixture(params=["memory", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    where = "memory:/" if request.param == "memory" else request.getfixturevalue("bucket")
    return f"{where}/{tmp_path.name}"


def put(root: str, **values: Any) -> None:
    storage.write_bytes(f"{root}/.lock/000007.json", json.dumps({**asdict(Claim()), **values}).encode())


def claims(root: str) -> set[str]:
    return storage.names(f"{root}/.lock")


def test_a_second_writer_is_refused_and_told_of_the_first(root: str) -> None:
    with only_one(root):
        with pytest.raises(RecipeError, match=f"in use by another winnow .process {os.getpid()} on "), only_one(root):
            pass
        assert len(claims(root)) == 1
    with only_one(root):
        pass


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_the_folder_is_free_after_any_way_out(root: str, stop: type[BaseException]) -> None:
    with pytest.raises(stop), only_writer(root):
        raise stop
    assert claims(root) == set()


def test_of_two_that_saw_a_free_folder_one_gets_it(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with only_writer(root):
        monkeypatch.setattr(writers, "_claims", lambda folder: {})
        with pytest.raises(RecipeError, match="in use by another winnow"), only_writer(root):
            pass
        assert len(claims(root)) == 1


def test_a_writer_that_saw_an_old_claim_steps_back_from_one_that_began_meanwhile(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, seen = writers._claims, []

    def late(folder: str) -> dict[int, Claim | None]:
        seen.append(folder)
        return {4: Claim(machine="gone", beat=0.0)} if len(seen) == 1 else listed(folder)

    with only_writer(root):
        monkeypatch.setattr(writers, "_claims", late)
        with pytest.raises(RecipeError, match="in use by another winnow"), only_writer(root):
            pass
        assert claims(root) == {"000001.json"}


def test_a_writer_elsewhere_counts_as_gone_when_it_was_not_seen_for_long(
    root: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(root, machine="another", beat=time.time() - writers.STALE / 2)
    with pytest.raises(RecipeError, match="on another"), only_writer(root):
        pass
    put(root, machine="another", beat=time.time() - writers.STALE - 1)
    with caplog.at_level(logging.WARNING), only_writer(root):
        assert claims(root) == {"000008.json"}
    assert "is taken over from process" in caplog.text
    assert claims(root) == set()


def test_a_writer_of_this_machine_that_was_killed_is_taken_over_at_once(root: str) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    put(root, pid=int(ended.stdout))
    with only_writer(root):
        assert claims(root) == {"000008.json"}


@pytest.mark.parametrize("later", ["000001.json", "000002.json"])
def test_a_writer_that_was_taken_over_stops(root: str, monkeypatch: pytest.MonkeyPatch, later: str) -> None:
    stopped = threading.Event()
    monkeypatch.setattr(writers, "BEAT", 0.01)
    monkeypatch.setattr(writers, "interrupt_main", stopped.set)

    def work() -> None:
        with only_writer(root):
            storage.write_bytes(f"{root}/.lock/{later}", json.dumps(asdict(Claim(machine="another"))).encode())
            assert stopped.wait(30)

    with pytest.raises(RecipeError, match="taken over by another winnow"):
        work()
    assert later in claims(root)


def test_a_claim_is_renewed(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "BEAT", 0.01)
    renewed = threading.Event()
    written = storage.write_bytes

    def write(path: str, data: bytes) -> None:
        written(path, data)
        renewed.set()

    with only_writer(root):
        monkeypatch.setattr(storage, "write_bytes", write)
        assert renewed.wait(30)


def test_a_store_without_a_conditional_put_is_looked_at_before(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = type(fsspec.filesystem("memory"))
    plain = memory.pipe_file

    def refuse(self: Any, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
        if mode == "create":
            raise NotImplementedError
        plain(self, path, value, **more)

    monkeypatch.setattr(memory, "pipe_file", refuse)
    with only_writer("memory://plain"), pytest.raises(RecipeError, match="in use"), only_writer("memory://plain"):
        pass
    assert not storage.create("memory://plain/x", b"1") or not storage.create("memory://plain/x", b"2")
    assert storage.read_bytes("memory://plain/x") == b"1"


@pytest.mark.parametrize("kind", ["link", "dangling", "hard", "folder", "fifo"])
def test_the_lock_of_a_local_folder_follows_nothing_and_changes_nothing(tmp_path: Path, kind: str) -> None:
    root, precious = tmp_path / "run", tmp_path / "precious"
    root.mkdir()
    precious.write_text("kept")
    lock = root / ".lock"
    makers = {
        "link": lambda: lock.symlink_to(precious),
        "dangling": lambda: lock.symlink_to(tmp_path / "absent"),
        "hard": lambda: lock.hardlink_to(precious),
        "folder": lock.mkdir,
        "fifo": lambda: os.mkfifo(lock),
    }
    makers[kind]()
    with pytest.raises(RecipeError, match="is a link or no plain file"), only_one(str(root)):
        pass
    assert precious.read_text() == "kept"
    assert not (tmp_path / "absent").exists()
