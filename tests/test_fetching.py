"""What tests fetch into a cache is fetched by one process at a time."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from tests.support.embedding_models import fetching


def test_nobody_sees_a_folder_while_it_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_TEST_CACHE", str(tmp_path))
    with fetching("model") as folder:
        assert folder == tmp_path / "model"
        assert folder.is_dir()
        with (tmp_path / "model.lock").open("w") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (tmp_path / "model.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
