"""The order in which a run commits its files, on a model of a disk that loses what was not synced.

All calls of a run, and of one with other decisions in the same folder, are replayed. Whenever a file that vouches for
others (a list, a marker, the manifest) may be on the disk after a power cut, what it vouches for must be there for
certain, and whenever one of those may be gone, what vouched for it must be gone for certain.
"""

from __future__ import annotations

import fnmatch
import json
import os
from pathlib import Path

import pytest

from tests.support import every_artefact, faults
from tests.support.crash_model import Disk

# A file that vouches -> the files it vouches for, as patterns below the run folder; {0} is the folder of the former.
VOUCHES = {
    "manifest.parquet": ("staged/*", "facts/types/*"),
    "decisions/*/complete": ("{0}/[0-9]*.arrow", "{0}/home/*", "{0}/groups/*", "{0}/*.json"),
    "decisions/ledger-made-from.json": ("decisions/ledger-made-by", "decisions/ledger-recipe.lock.yaml", "ledger/*"),
    "mix/manifest.json": ("mix/*/part-*", "mix/*/holdout-*"),
    "decisions/report-made-from": ("report.json", "report.html"),
}
# A file that counts only while another is there, which goes first
COUNTS_WITH = {"decisions/ledger-made-from.json": "decisions/ledger-made-by"}
LISTS = {"decisions/ledger/*.json": "ledger", "decisions/mix/*.json": "mix"}


class Replay:
    """The disk while calls are applied, and the files that are in the run folder now."""

    def __init__(self, root: str) -> None:
        self.root = root
        above = [str(p) for p in reversed(Path(root).parents) if str(p) != "/"]
        self.disk = Disk({}, above)
        self.files: dict[str, bytes] = {}
        self.vouched: dict[str, set[str]] = {}
        self.checked = 0

    def apply_all(self, calls: list[tuple[object, ...]]) -> None:
        """Apply calls in order."""
        for name, *arguments in calls:
            self.apply(str(name), *arguments)

    def apply(self, name: str, *arguments: object) -> None:
        self.disk.apply(name, *arguments)
        if name == "write":
            path, start, data = str(arguments[0]), int(str(arguments[1])), arguments[2]
            assert isinstance(data, bytes)
            before = self.files.get(path, b"")
            self.files[path] = before[:start].ljust(start, b"\0") + data + before[start + len(data) :]
        elif name == "create":
            self.files[str(arguments[0])] = b""
        elif name == "replace":
            self.files[str(arguments[1])] = self.files.pop(str(arguments[0]))
            self._appears(str(arguments[1]))
        elif name == "unlink":
            self.files.pop(str(arguments[0]), None)
            self._goes(str(arguments[0]))

    def _below(self, path: str) -> str:
        return path.removeprefix(f"{self.root}/")

    def _appears(self, path: str) -> None:
        wanted = self._wanted(path)
        for other in wanted:
            found = self.disk.crashed(other)
            assert found == {self.files[other]}, f"{path} may be there, and {other} be gone or cut"
            self.checked += 1
        if wanted:
            self.vouched[path] = wanted

    def _goes(self, path: str) -> None:
        for voucher, others in self.vouched.items():
            mark = os.path.join(self.root, COUNTS_WITH.get(self._below(voucher), self._below(voucher)))
            if path in others and path != mark:
                assert self.disk.crashed(mark) == {None}, f"{path} goes, and {voucher} may be there and vouch for it"
                self.checked += 1

    def _wanted(self, path: str) -> set[str]:
        place = self._below(path)
        for pattern, folder in LISTS.items():
            if fnmatch.fnmatch(place, pattern):
                return {os.path.join(self.root, folder, p) for p in _paths(json.loads(self.files[path]))}
        for pattern, kinds in VOUCHES.items():
            if fnmatch.fnmatch(place, pattern):
                globs = [kind.format(os.path.dirname(place)) for kind in kinds]
                return {p for p in self.files if any(fnmatch.fnmatch(self._below(p), glob) for glob in globs)} - {path}
        return set()


def _paths(value: object) -> set[str]:
    """Return every `path` in a list of files."""
    found: set[str] = set()
    if isinstance(value, dict):
        found |= {str(value["path"])} if isinstance(value.get("path"), str) else set()
        found |= {path for inner in value.values() for path in _paths(inner)}
    elif isinstance(value, list):
        found |= {path for inner in value for path in _paths(inner)}
    return found


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[tuple[object, ...]]]:
    """The storage's calls of a run with a limit, of the whole run, and of one with other decisions."""
    folder = tmp_path_factory.mktemp("orders")
    inputs, root = every_artefact.write_inputs(folder / "in"), folder / "run"
    other = [{**s, "min_score": 0.6} if s["use"] == "quality" else s for s in every_artefact.STAGES]
    with pytest.MonkeyPatch.context() as patch, faults.recorded() as found:
        patch.delenv("WINNOW_FSYNC", raising=False)
        every_artefact.run(inputs, root, limit=5)
        every_artefact.run(inputs, root, with_report=True)
        every_artefact.run(inputs, root, stages=other)
    return str(root), found.made


def test_what_vouches_comes_last_and_goes_first(calls: tuple[str, list[tuple[object, ...]]]) -> None:
    root, made = calls
    replay = Replay(root)
    replay.apply_all(made)
    assert replay.checked > 60
    for pattern in (*VOUCHES, *LISTS):
        assert fnmatch.filter(replay.vouched, f"{root}/{pattern}"), pattern
    for path, data in replay.files.items():
        if not path.startswith(f"{root}/exchange/"):  # scratch: docs/reliability.md
            assert replay.disk.crashed(path) == {data}, f"{path} is not whole for certain at the end"


@pytest.mark.parametrize("left_out", ["ledger", "mix", "staged"])
def test_a_sync_that_is_left_out_is_seen(calls: tuple[str, list[tuple[object, ...]]], left_out: str) -> None:
    root, made = calls
    kept = [c for c in made if not (c[0] == "fsync" and str(c[1]).startswith(f"{root}/{left_out}"))]
    with pytest.raises(AssertionError, match="may be there, and"):
        Replay(root).apply_all(kept)
