"""What `storage` promises for a power cut, tried on a model of a file system at every point of every call."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster import storage
from tests.support import faults
from tests.support.crash_model import Disk

OLD, NEW = b"old content, whole", b"new content, whole and longer"


@pytest.fixture(autouse=True)
def _synced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WINNOW_FSYNC", raising=False)


def above(path: Path) -> list[str]:
    return [str(p) for p in reversed(path.parents) if str(p) != "/"]


def in_parts(path: str) -> None:
    with storage.commit(path) as file:
        for start in range(0, len(NEW), 7):
            file.write(NEW[start : start + 7])


def in_parts_and_back(path: str) -> None:
    """Write as a file of slices is written: the beginning last."""
    with storage.commit(path) as file:
        file.write(bytes(4))
        file.write(NEW[4:])
        file.seek(0)
        file.write(NEW[:4])
        file.seek(len(NEW))


WRITERS: list[Callable[[str], None]] = [lambda path: storage.write_bytes(path, NEW), in_parts, in_parts_and_back]


@pytest.mark.parametrize("write", WRITERS, ids=["write_bytes", "parts", "back"])
@pytest.mark.parametrize(
    ("there", "below"), [(True, ""), (False, ""), (False, "a/b/")], ids=["replaced", "new", "in new folders"]
)
def test_after_a_power_cut_at_any_point_a_file_is_the_old_one_or_the_new_one(
    tmp_path: Path, write: Callable[[str], None], there: bool, below: str
) -> None:
    target = tmp_path / below / "x"
    if there:
        target.write_bytes(OLD)
    with faults.recorded() as calls:
        write(str(target))
    disk = Disk({str(target): OLD} if there else {}, above(target if not below else tmp_path / "x"))
    allowed = {OLD if there else None, NEW}
    for call in calls.made:
        assert disk.crashed(str(target)) <= allowed, call
        disk.apply(*call)
    assert disk.crashed(str(target)) == {NEW}  # it returned: it stays


def test_the_model_sees_what_is_not_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_FSYNC", "0")
    target = tmp_path / "x"
    with faults.recorded() as calls:
        in_parts(str(target))
    assert not any(name == "fsync" for name, *_ in calls.made)
    disk = Disk({}, above(target))
    for call in calls.made:
        disk.apply(*call)
    found = disk.crashed(str(target))
    assert {None, b"", NEW, bytes(len(NEW))} <= found


@pytest.mark.parametrize("skipped", ["file", "folder"])
def test_the_model_sees_each_sync_that_is_left_out(tmp_path: Path, skipped: str) -> None:
    target = tmp_path / "x"
    with faults.recorded() as calls:
        storage.write_bytes(str(target), NEW)
    disk = Disk({}, above(target))
    for name, *rest in calls.made:
        if name == "fsync" and (rest[0] == str(tmp_path)) == (skipped == "folder"):
            continue
        disk.apply(name, *rest)
    assert disk.crashed(str(target)) != {NEW}


def test_what_is_removed_stays_removed(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    (target / "inner").mkdir(parents=True)
    (target / "inner" / "x").write_bytes(OLD)
    with faults.recorded() as calls:
        storage.remove(str(target))
    assert not target.exists()
    disk = Disk({str(target / "inner" / "x"): OLD}, [*above(target), str(target), str(target / "inner")])
    for call in calls.made:
        disk.apply(*call)
    assert disk.crashed(str(target / "inner" / "x")) == {None}


def test_moved_files_are_at_one_place_or_the_other_and_then_at_the_new_one(tmp_path: Path) -> None:
    source, target = tmp_path / "x", tmp_path / "new" / "y"
    source.write_bytes(NEW)
    with faults.recorded() as calls:
        storage.move(str(source), str(target))
    disk = Disk({str(source): NEW}, above(source))
    for call in calls.made:
        assert disk.crashed(str(target)) <= {None, NEW}
        disk.apply(*call)
    assert (disk.crashed(str(source)), disk.crashed(str(target))) == ({None}, {NEW})


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_a_call_that_fails_is_told_and_leaves_the_old_or_the_new(tmp_path: Path, code: int) -> None:
    target = tmp_path / "x"
    number, done, codes = 0, False, set[int | None]()
    while not done:
        target.write_bytes(OLD)
        try:
            with faults.failing_at(number, code):
                storage.write_bytes(str(target), NEW)
            done = True
        except OSError as error:
            codes.add(error.errno)
        assert target.read_bytes() in (OLD, NEW)
        assert os.listdir(tmp_path) == ["x"]
        number += 1
    assert number > 4
    assert codes == {code}


def test_what_cannot_be_removed_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    folder.mkdir()
    for name in "abc":
        (folder / name).write_bytes(OLD)
    with faults.failing_at(1), pytest.raises(OSError, match="Input/output error"):
        storage.remove(str(folder))
    with faults.failing_at(0), pytest.raises(OSError, match="Input/output error"):
        storage.remove_files([str(folder / name) for name in os.listdir(folder)])


def test_a_folder_behind_a_link_is_neither_emptied_nor_taken_for_removed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "x").write_bytes(OLD)
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    with pytest.raises(OSError, match="is a link to a folder"):
        storage.remove(str(tmp_path / "run"))
    assert (tmp_path / "disk" / "x").read_bytes() == OLD


def test_a_removed_folder_may_hold_what_nfs_keeps_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "exchange"
    folder.mkdir()
    (folder / ".nfs0001").write_bytes(OLD)
    real = os.unlink
    monkeypatch.setattr(os, "unlink", lambda path: None if ".nfs" in str(path) else real(path))
    storage.remove(str(folder))
    assert storage.names(str(folder)) == set() == set(storage.sizes(str(folder)))
