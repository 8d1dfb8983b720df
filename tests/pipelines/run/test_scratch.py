"""Exchange files after a start of the machine, and a folder that another machine works in."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.run import scratch
from pipelines.run.scratch import drop_scratch_of_before


def on(monkeypatch: pytest.MonkeyPatch, node: str, boot: str) -> None:
    monkeypatch.setattr(scratch.platform, "node", lambda: node)
    monkeypatch.setattr(scratch, "boot_of_this_machine", lambda: boot)


def write(root: Path) -> Path:
    path = root / "exchange" / "near_dedup-0" / "map-0.slices"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_files_of_before_the_last_start_of_the_machine_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, "one", "first")
    drop_scratch_of_before(str(tmp_path))
    path = write(tmp_path)
    drop_scratch_of_before(str(tmp_path))
    assert path.exists()
    on(monkeypatch, "one", "second")
    drop_scratch_of_before(str(tmp_path))
    assert not path.exists()
    path = write(tmp_path)
    drop_scratch_of_before(str(tmp_path))
    assert path.exists()


def test_a_job_that_goes_on_on_another_node_keeps_what_was_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, "one", "first")
    drop_scratch_of_before(str(tmp_path))
    path = write(tmp_path)
    on(monkeypatch, "two", "other")
    drop_scratch_of_before(str(tmp_path))
    assert path.exists()
    on(monkeypatch, "one", "second")  # where some of it was written, and lost
    drop_scratch_of_before(str(tmp_path))
    assert not path.exists()


@pytest.mark.parametrize("damage", [b"", b"{", b'{"checksum": "0", "data": {}}', b"[1]"])
def test_where_it_is_not_known_who_wrote_all_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    on(monkeypatch, "one", "first")
    path = write(tmp_path)
    (tmp_path / "exchange" / scratch.BOOTS).write_bytes(damage)
    drop_scratch_of_before(str(tmp_path))
    assert not path.exists()
    path = write(tmp_path)
    drop_scratch_of_before(str(tmp_path))
    assert path.exists()


def test_steps_that_other_code_began_are_dropped_and_what_is_kept_for_additions_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "exchange_code", lambda: "0123abcd")
    drop_scratch_of_before(str(tmp_path))
    names = (
        "near_dedup-77.0123abcd",
        "near_dedup-77.89abcdef",
        "mix-77.89abcdef",
        "near_dedup-77.2",
        "kept-a.89abcdef",
    )
    for name in names:
        (tmp_path / "exchange" / name).mkdir()
    drop_scratch_of_before(str(tmp_path))
    left = {path.name for path in (tmp_path / "exchange").iterdir()}
    assert left == {"near_dedup-77.0123abcd", "kept-a.89abcdef", scratch.BOOTS}
