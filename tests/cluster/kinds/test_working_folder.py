"""Workers change to the client's working folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cluster.kinds.working_folder import WorkingFolder


def test_a_worker_whose_folder_is_gone_follows_the_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    plugin = WorkingFolder(str(tmp_path))
    plugin.setup(None)
    assert os.getcwd() == str(tmp_path)
    plugin.teardown(None)
