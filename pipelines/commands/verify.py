"""`winnow verify`: read every file of a run folder that has a checksum, and name those that are not what was written.

Guarantees: nothing is changed without `remove`; with it, damaged files that a run can make again go, with what rests on
them, and the next `winnow run` makes them. Memory: a block of a file in each thread, the lists of ledger and mix.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from classifiers.endpoint import answers
from cluster import storage
from cluster.errors import DamagedError, RecipeError
from cluster.files import integrity
from cluster.files.append_log import SUFFIX
from cluster.files.digesting import sha256_of
from cluster.files.sealed import check_text, read_json, read_public_json
from cluster.options import available_cores
from pipelines import records
from pipelines.artefacts import files_of_mix
from pipelines.commands.missing import missing_files
from pipelines.export.record import beside_parts, part_files, read_about, read_run_note
from pipelines.ledger_records import records_of
from pipelines.mix import dropped
from pipelines.recipe import lock
from pipelines.report.accuracy import FILE as AUDIT
from pipelines.report.accuracy import read_audit
from pipelines.run.healing import rests_on
from pipelines.run.ledger_folder import listed_files
from pipelines.run.scratch import BOOTS
from pipelines.run_state import MIXES, only_one
from stages.core.exchange_stage import MARKER, read_marker
from stages.inputs.files.file_versions import size_of
from stages.passes import quarantined
from stages.passes.freeze import passed_over

# JSON objects with their checksum as a key
PUBLIC: dict[str, Callable[[str], object]] = {
    "timings.json": records.read_timings,
    "passed_over.json": lambda path: passed_over(path.rpartition("/")[0]),
    "mix/manifest.json": records.read_mix_manifest,
    "dropped/manifest.json": records.read_dropped,
    "dedup.json": records.read_dedup_result,
    AUDIT: lambda path: read_audit(path.rpartition("/")[0]),
}
OF_AN_EXPORT: dict[str, Callable[[str], object]] = {
    "export.json": lambda path: read_about(path.rpartition("/")[0]),
    "trace/run.json": lambda path: read_run_note(path.removesuffix("/trace/run.json")),
}
MARKS = ("decisions/ledger-made-by", "decisions/report-made-from", "decisions/card-made-from")
OF_A_MIX = (".made-by", ".card-made-from")  # marks in its folder
MARK = re.compile(rb"[0-9a-f]{16}")
LEDGER_RECIPE = "decisions/ledger-recipe.lock.yaml"
SEALED = ("facts", "decisions", "staged", "exchange")
WITH_SEAL = (".arrow", ".parquet", ".slices", ".json", f"/{MARKER}", f"exchange/{BOOTS}")
EMPTY = re.compile(r"/none-\d+$")  # markers of destinations without rows: their name says all
ANSWERS, SYNTHETIC, CALIBRATION = "answers", "synthetic", "calibration"  # folders of what language models said
OF_ANSWERS = "Lines that are damaged are passed over: the command that asked asks about those texts again"
OF_SYNTHESISING = "`winnow verify RUN --remove`, then `winnow synthesise` again, which makes it again"
OF_AUDIT = "`winnow audit RUN` makes it again"
OF_SYNTHETIC = "Remove the folder and run `winnow synthesise` again; answers are kept"
OF_CALIBRATION = "Run `winnow calibrate` again"
OTHERS = (  # files that `winnow run` does not make, by what their paths begin with
    (f"{ANSWERS}/", OF_ANSWERS),
    (f"{SYNTHETIC}/", OF_SYNTHETIC),
    (f"{CALIBRATION}/", OF_CALIBRATION),
    ("exchange/synthesise-", OF_SYNTHESISING),
    (AUDIT, OF_AUDIT),
)
IN_A_RUN = records.REMEDY
REMOVED = {  # what is left to do of a remedy once the file is removed
    IN_A_RUN: "`winnow run` with its recipe makes it again",
    OF_SYNTHESISING: "`winnow synthesise` makes it again",
}
STAYS = "No run makes it again in this folder: remove it yourself, or run in another folder"
OF_DEDUP = "Remove the folder and run `winnow dedup` again"
OF_EXPORT = "Remove the folder and run `winnow export` again"


@dataclass(frozen=True)
class Fault:
    """A file that is not what was written."""

    path: str  # below the run folder
    what: str
    remedy: str


@dataclass(frozen=True)
class Check:
    """A file and what it must be: size and SHA-256 where a list names them, else what its own checksum says."""

    path: str  # below the run folder
    bytes: int | None = None
    sha256: str | None = None


def verify(run_dir: str, remove: bool = False) -> dict[str, Any]:
    """Return the number of files and bytes that were read, and the faults; RecipeError where it is no run folder."""
    root = run_dir.rstrip("/")
    names = storage.names(root)
    if not {"manifest.parquet", "recipe.lock.yaml", "dedup.json", "export.json"} & names:
        raise RecipeError(f"{root} is not a run folder: it has no manifest.parquet. Run `winnow run` first.")
    lists, checks = _lists(root)
    with ThreadPoolExecutor(available_cores()) as pool:
        answers = list(pool.map(partial(_fault, root), checks))
    faults = [*lists, *(fault for _, fault in answers if fault)]
    if remove:
        with only_one(root):
            faults = _remove(root, faults)
    return {
        "run": root,
        "files": len(checks),
        "bytes": sum(size for size, _ in answers),
        "faults": [asdict(fault) for fault in faults],
        "removed": remove,
    }


def _lists(root: str) -> tuple[list[Fault], list[Check]]:
    """Return what is wrong with the lists of files, and what is to be checked one by one."""
    faults: list[Fault] = []
    found: dict[str, Check] = {path: Check(path) for path in _with_checksums(root)}
    for read in (_listed_mix, _listed_ledger, _listed_dropped, _listed_dedup, _listed_export):
        try:
            listed = list(read(root))
        except DamagedError as error:
            place = error.path.removeprefix(f"{root}/")
            if place not in found:
                faults.append(_fault_at(root, place, str(error).partition(": ")[2].partition(". ")[0]))
            continue
        found |= {check.path: check for check in listed}
    if storage.exists(storage.join(root, "manifest.parquet")) or storage.exists(storage.join(root, "recipe.lock.yaml")):
        faults += [_fault_at(root, *entry) for entry in missing_files(root)]
    faults += _strangers(root, found)
    return faults, list(found.values())


def _with_checksums(root: str) -> Iterator[str]:
    """Yield the files that carry a checksum of their own."""
    for name in ("manifest.parquet", "recipe.lock.yaml", *PUBLIC):
        if storage.exists(storage.join(root, name)):
            yield name
    yield from (path for path in _below(root, "quarantine") if path.endswith(".jsonl"))
    marks = (f"{folder}/{name}" for folder in _mix_folders(root) for name in OF_A_MIX)
    yield from (path for path in (*MARKS, LEDGER_RECIPE, *marks) if storage.exists(storage.join(root, path)))
    yield from (path for folder, path in _mix_manifests(root) if folder != "mix")
    yield from (path for path in _below(root, ANSWERS) if path.endswith(SUFFIX))
    yield from (path for path in _below(root, SYNTHETIC) if path.endswith((".parquet", ".json")))
    yield from (path for path in _below(root, CALIBRATION) if path.endswith(".json"))
    for folder in SEALED:
        yield from (path for path in _below(root, folder) if path.endswith(WITH_SEAL) or EMPTY.search(path))
    if storage.exists(storage.join(root, "export.json")):
        yield from ("export.json", "trace/run.json")


def _below(root: str, folder: str) -> Iterator[str]:
    """Yield the finished files below a folder, as paths below the root."""
    top = storage.join(root, folder)
    if storage.is_local(root):
        base = storage.local_path(root)
        for place, names in _folders(storage.local_path(top)):
            yield from (os.path.relpath(os.path.join(place, n), base) for n in names if storage.TEMPORARY not in n)
        return
    fs, inner = storage.filesystem(top)
    base = storage.filesystem(root)[1].strip("/")
    for path in fs.find(inner) if fs.exists(inner) else ():
        yield path.strip("/").removeprefix(f"{base}/")


def _folders(top: str) -> Iterator[tuple[str, list[str]]]:
    """Yield every folder below a local one with the names of its files, through links too; each folder once."""
    seen: set[tuple[int, int]] = set()
    for place, inner, names in os.walk(top, followlinks=True):
        here = os.stat(place)
        if (here.st_dev, here.st_ino) in seen:
            inner.clear()  # a link led back here
            continue
        seen.add((here.st_dev, here.st_ino))
        yield place, names


def _mix_folders(root: str) -> list[str]:
    return ["mix", *(f"{MIXES}/{name}" for name in sorted(storage.names(storage.join(root, MIXES))))]


def _mix_manifests(root: str) -> Iterator[tuple[str, str]]:
    """Yield (folder of a mix, path of its manifest) below the root, of the mixes that are whole."""
    for folder in _mix_folders(root):
        if storage.exists(storage.join(root, folder, "manifest.json")):
            yield folder, f"{folder}/manifest.json"


def _listed_mix(root: str) -> Iterator[Check]:
    for folder, path in _mix_manifests(root):
        for file in files_of_mix(records.read_mix_manifest(storage.join(root, path))):
            yield Check(f"{folder}/{file['path']}", file["bytes"], file["sha256"])


def _listed_ledger(root: str) -> Iterator[Check]:
    for file in listed_files(root):
        yield Check(f"ledger/{file['path']}", file["bytes"], file["sha256"])


def _listed_dropped(root: str) -> Iterator[Check]:
    for file in dropped.files_of(root):
        yield Check(file["path"], file["bytes"], file["sha256"])


def _listed_dedup(root: str) -> Iterator[Check]:
    path = storage.join(root, "dedup.json")
    if storage.exists(path):
        for file in records.read_dedup_result(path).get("files", []):
            yield Check(file["path"], file["bytes"], file["sha256"])


def _listed_export(root: str) -> Iterator[Check]:
    if storage.exists(storage.join(root, "export.json")):
        for file in (*beside_parts(read_about(root)), *part_files(root)):
            yield Check(file["path"], file["bytes"], file["sha256"])


def _strangers(root: str, listed: dict[str, Check]) -> Iterator[Fault]:
    """Yield the files of mix and ledger that no list names, where there are lists."""
    for folder, path in _mix_manifests(root):
        files = (p for p in _below(root, folder) if p.rpartition("/")[2].startswith(("part-", "holdout-")))
        yield from (_fault_at(root, p, f"{path} does not name it") for p in files if p not in listed)
    if records_of(root):
        files = (p for p in _below(root, "ledger") if p.endswith(".parquet"))
        yield from (_fault_at(root, p, "no list of the ledger names it") for p in files if p not in listed)


def _fault(root: str, check: Check) -> tuple[int, Fault | None]:
    """Return the bytes of a file and what is wrong with it."""
    path = storage.join(root, check.path)
    try:
        size, what = size_of(path), None
        if check.sha256 is None:
            what = _own(path, check.path)
        elif size != check.bytes:
            what = f"it has {size:,} bytes, {check.bytes:,} were written"
        elif sha256_of(path)[1] != check.sha256:
            what = "its SHA-256 is not the one it was written with"
    except FileNotFoundError:
        if check.path.startswith("exchange/"):  # a run that is at work removed it since it was found
            return 0, None
        return 0, _fault_at(root, check.path, "it is missing")
    return size, None if what is None else _fault_at(root, check.path, what)


def _own(path: str, place: str) -> str | None:
    """Return what the checksum inside a file says against it."""
    name = place.rpartition("/")[2]
    if place.startswith(f"{ANSWERS}/"):
        lost = answers.damaged_lines(path)
        return f"{lost:,} of its lines are not what was written" if lost else None
    if place in MARKS or name in OF_A_MIX:
        return None if MARK.fullmatch(storage.read_bytes(path)) else "it holds no digest"
    if EMPTY.search(place):
        return "it was written empty" if storage.read_bytes(path) else None
    if place.startswith("quarantine/"):
        return quarantined.fault_of(path)
    try:
        _read(path, place)
        if name.endswith(".json") or name in (MARKER, BOOTS):
            check_text(path)
    except DamagedError as error:
        return str(error).removeprefix(f"{path} is damaged: ").partition(". ")[0]
    return None


def _read(path: str, place: str) -> None:
    """Read a file as winnow does; DamagedError where it is not what was written."""
    if place in PUBLIC:
        PUBLIC[place](path)
    elif place.startswith(f"{MIXES}/"):
        records.read_mix_manifest(path)
    elif place in OF_AN_EXPORT:
        OF_AN_EXPORT[place](path)
    elif place.endswith(f"/{MARKER}"):
        read_marker(path)
    elif place == f"exchange/{BOOTS}":
        read_json(path)
    elif place.startswith((f"{SYNTHETIC}/", f"{CALIBRATION}/")) and place.endswith(".json"):
        read_public_json(path)
    elif place in ("recipe.lock.yaml", LEDGER_RECIPE):
        lock.check_lock(path)
    else:
        integrity.check(path)


def _fault_at(root: str, place: str, what: str) -> Fault:
    for name, remedy in (("dedup.json", OF_DEDUP), ("export.json", OF_EXPORT)):
        if storage.exists(storage.join(root, name)):
            return Fault(place, what, remedy)
    return Fault(place, what, next((remedy for start, remedy in OTHERS if place.startswith(start)), IN_A_RUN))


def _remove(root: str, faults: list[Fault]) -> list[Fault]:
    """Remove what is damaged and what rests on it, as far as a run makes it again; return faults with what is left."""
    if {"dedup.json", "export.json"} & storage.names(root):
        return faults
    gone = [rests_on(root, storage.join(root, fault.path)) for fault in faults]
    for path in itertools.chain(*gone):
        storage.remove(path)
    left = [REMOVED if paths else dict.fromkeys(REMOVED, STAYS) for paths in gone]
    return [replace(fault, remedy=now.get(fault.remedy, fault.remedy)) for fault, now in zip(faults, left, strict=True)]


def render(found: dict[str, Any]) -> str:
    """Return what was found for the terminal, a line for each fault."""
    lines = [f"{fault['path']}: {fault['what']}" for fault in found["faults"]]
    size = f"{found['files']:,} files, {found['bytes']:,} bytes read"
    if not lines:
        return f"{found['run']}: {size}, all are what was written."
    remedies = dict.fromkeys(fault["remedy"] for fault in found["faults"])
    if found["removed"]:
        some = not remedies.keys().isdisjoint(REMOVED.values())
        remedies = {"Removed, as far as it is made again" if some else "Nothing was removed": None, **remedies}
    last = ". ".join(remedies) + "."
    return "\n".join([*lines, f"{found['run']}: {size}, {len(lines):,} damaged. {last}"])
