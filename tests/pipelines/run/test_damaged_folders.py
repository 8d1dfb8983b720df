"""Every file of a finished run, of its exports and of `winnow dedup`, damaged in six ways: what each command then does.

Commands that read say what they would say of the whole folder, or a sentence on standard error; a run makes the same
bytes, or a sentence says what to do. Never a traceback, never other bytes without a word.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.commands.verify import _lists
from tests.support import damaged_folders as damaged
from tests.support.damaged_folders import DAMAGES

pytest.importorskip("tokenizers")
pytest.importorskip("huggingface_hub")

Answers = dict[str, Any]
# what nothing vouches for, as docs/reliability.md says: made again by `winnow report` and `winnow materialize`
UNVOUCHED = re.compile(r"^report\.json$|(^|/)README\.md$|/loaders/")
REMEDY = re.compile(r"winnow [a-z]+|[Rr]un again|Remove|Give another|anew")
SOME = (  # of the default suite: the records that are easiest to hurt, in the ways that hurt most
    ("readers", "mixes/stable/manifest.json", "forged"),
    ("readers", "facts/options.json", "replaced"),
    ("readers", "recipe.lock.yaml", "replaced"),
    ("readers", "decisions/ledger/*/*.json", "forged"),
    ("readers", "timings.json", "forged"),
    ("readers", "audit.json", "forged"),
    ("run", "decisions/attributes/*/totals.json", "removed"),
    ("run", "mixes/anneal/manifest.json", "replaced"),
    ("run", "decisions/mix.stable/*/*.json", "forged"),
    ("readers", "exchange/kept-exact_dedup/*/keys/keys-0.slices", "flipped"),
    ("readers", "exchange/ledger-counts/sums-*.json", "cut"),
    ("grown", "exchange/kept-exact_dedup/*/keys/keys-0.slices", "flipped"),
    ("grown", "exchange/kept-near_dedup/*/bands-0/keys-0.slices", "empty"),
    ("grown", "exchange/kept-near_dedup/*/labels.arrow", "cut"),
    ("export", "export.json", "forged"),
    ("export", "trace/parts.parquet", "replaced"),
    ("export", "data/part-00000.parquet", "removed"),
    ("dedup", "dedup.json", "forged"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("made")
    damaged.make(folder)
    return folder


def answered(made: Path, work: Path, cases: list[dict[str, Any]]) -> list[tuple[dict[str, Any], Answers]]:
    """Answer cases in another process, so that a segmentation fault is seen."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.support.damaged_folders", str(made), str(work)]
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    root = Path(damaged.__file__).resolve().parents[2]
    ended = subprocess.run(command, input=lines, capture_output=True, text=True, check=False, cwd=root, env=os.environ)
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == 0, (found[-1], ended.stderr[-3000:])
    return [(line["case"], line["found"]) for line in found if "found" in line]


def whole_of(case: dict[str, Any]) -> dict[str, Any]:
    """Return the case of the same folder without damage."""
    return {key: value for key, value in case.items() if key in ("of", "kind")}


def plain(text: str) -> str:
    """Return what a command printed without numbers of files and bytes, which a run's own notes change."""
    return re.sub(r"[\d,]+ (files|bytes)", "N", text)


def faults(case: dict[str, Any], found: Answers, whole: Answers) -> list[str]:
    """Return what a case broke of the promise; empty where it was kept."""
    broken = []
    for name, answer in found.items():
        if not isinstance(answer, list):
            continue
        code, out, err = answer
        if not isinstance(code, int):
            broken.append(f"{name}: {code}")
        elif code and not (err.strip() or out.strip()):
            broken.append(f"{name}: exit code {code} without a word")
        elif name in whole and code == 0 and case["how"] != "forged" and not is_same(name, answer, whole):
            broken.append(f"{name}: another answer without a word: {err[:200]}")
    if case["how"] == "forged":  # with the checksum of what it says: nothing can tell
        return broken
    return [*broken, *faults_of_bytes(case, found, whole), *faults_of_verify(case, found)]


def is_same(name: str, answer: list[Any], whole: Answers) -> bool:
    """Tell whether a command that ended well said what it says of the whole folder, or something on top."""
    _, out, err = answer
    if name in (
        "plan",
        "clean",
        "status",
        "verify",
        "verified",
        "run",
        "report",
    ):  # says itself what is there; judged elsewhere
        return True
    said = err != whole[name][2] or '"facts_missing": "' in out
    return said or plain(out) == plain(whole[name][1])


WRITES = {"facts": "facts.parquet", "facts of a decision": "near.parquet", "diff": "diff.parquet", "export": "export/"}


def faults_of_bytes(case: dict[str, Any], found: Answers, whole: Answers) -> list[str]:
    """Return which files differ from those of the whole folder though the command that wrote them said nothing."""
    broken = []
    for name, place in WRITES.items() if "wrote" in found else ():
        mine, theirs = ({p: d for p, d in a["wrote"].items() if p.startswith(place)} for a in (found, whole))
        if found[name][0] == 0 and found[name][2] == whole[name][2] and mine != theirs:
            broken.append(f"{name} wrote other bytes")
    if found.get("push", [1])[0] == 0 and found["pushed"] != whole["pushed"]:
        other = {p for p in {**found["pushed"], **whole["pushed"]} if found["pushed"].get(p) != whole["pushed"].get(p)}
        if not all(UNVOUCHED.search(f"mixes/stable/{p}") or case["path"].endswith(p) for p in other):
            broken.append(f"push sent other bytes: {sorted(other)}")
    again = found.get(case["of"])
    if again and again[0] == 0 and found["result"] != whole["result"] and case["path"] not in found["verified"][1]:
        other = {p for p in {**found["result"], **whole["result"]} if found["result"].get(p) != whole["result"].get(p)}
        if not all(UNVOUCHED.search(p) for p in other):
            broken.append(f"made again with other bytes: {sorted(other)}")
    if again and again[0] == 1 and not REMEDY.search(again[2]):
        broken.append(f"refused without a remedy: {again[2]}")
    return broken


def faults_of_verify(case: dict[str, Any], found: Answers) -> list[str]:
    """Return whether `winnow verify` passed over damage, or names what was made again."""
    broken = []
    vouched = not UNVOUCHED.search(case["path"]) and not case["path"].startswith("quarantine/")
    seen = case["how"] in ("empty", "cut", "flipped")
    if vouched and seen and "verify" in found and case["path"] not in found["verify"][1] + found["verify"][2]:
        broken.append(f"verify passes over it: {found['verify'][1:]}")
    again = found.get(case["of"])
    if again and again[0] == 0 and found["verified"][0] and case["path"] not in found["verified"][1]:
        broken.append(f"verify names what was made again: {found['verified'][1]}")
    return broken


def check(made: Path, work: Path, cases: list[dict[str, Any]]) -> None:
    """Hold every case to the promise, and tell of all that broke it."""
    wholes = [dict(pairs) for pairs in sorted({tuple(sorted(whole_of(case).items())) for case in cases})]
    known, broken = dict[str, Answers](), list[tuple[str, str, str]]()
    for case, found in answered(made, work, [*wholes, *cases]):
        name = json.dumps(whole_of(case), sort_keys=True)
        if "path" not in case:
            known[name] = found
        else:
            broken += [(case["path"], case["how"], fault) for fault in faults(case, found, known[name])]
    assert not broken, "\n".join(map(str, broken))


@pytest.mark.parametrize("of", ["readers", "run", "grown", "export", "dedup"])
def test_some_damage_to_every_kind_of_record(made: Path, tmp_path: Path, of: str) -> None:
    cases = []
    for about, pattern, how in SOME:
        root = made / {"readers": "run", "grown": "run", "export": "export-hf"}.get(about, about)
        if about == of:
            path = sorted(root.glob(pattern))[0]
            kind = {"kind": "hf"} if of == "export" else {}
            cases.append({"of": of, "path": str(path.relative_to(root)), "how": how, "seed": 3, **kind})
    check(made, tmp_path, cases)


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(8))
@pytest.mark.parametrize("of", ["readers", "run"])
def test_every_damage_to_every_file_of_a_run(made: Path, tmp_path: Path, of: str, part: int) -> None:
    """About 700 cases of each, 3 s of one core a case (2026-11)."""
    names = damaged.files_of(made / "run")[part::8]
    check(made, tmp_path, [{"of": of, "path": name, "how": how, "seed": 0} for name, how in hurt(made, names)])


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(4))
def test_every_damage_to_what_is_kept_for_a_run_with_more_files(made: Path, tmp_path: Path, part: int) -> None:
    """About 60 cases each, 5 s of one core a case (2026-11)."""
    kept = [name for name in damaged.files_of(made / "run") if "near_dedup" in name or "exact_dedup" in name]
    cases = [{"of": "grown", "path": name, "how": how, "seed": 0} for name, how in hurt(made, kept)[part::4]]
    check(made, tmp_path, cases)


def hurt(made: Path, names: list[str]) -> list[tuple[str, str]]:
    """Return every damage to these files of the run; an empty file cannot be emptied or cut."""
    size = {name: (made / "run" / name).stat().st_size for name in names}
    return [(name, how) for name in names for how in DAMAGES if size[name] or how not in ("empty", "cut")]


def test_every_file_of_a_run_is_verified_or_named_as_made_again(made: Path) -> None:
    for folder in ("run", "dedup", "export-hf", "export-megatron"):
        checked = {check.path for check in _lists(str(made / folder))[1]}
        passed_over = set(damaged.files_of(made / folder)) - checked
        assert not [name for name in passed_over if not UNVOUCHED.search(name)]


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["hf", "megatron"])
def test_every_damage_to_every_file_of_an_export(made: Path, tmp_path: Path, kind: str) -> None:
    names = damaged.files_of(made / f"export-{kind}")
    cases = [(name, how, seed) for name in names for how in DAMAGES for seed in range(3)]
    check(made, tmp_path, [{"of": "export", "kind": kind, "path": n, "how": h, "seed": s} for n, h, s in cases])


@pytest.mark.nightly
def test_every_damage_to_every_file_of_a_dedup(made: Path, tmp_path: Path) -> None:
    cases = [(name, how, seed) for name in damaged.files_of(made / "dedup") for how in DAMAGES for seed in range(3)]
    check(made, tmp_path, [{"of": "dedup", "path": n, "how": h, "seed": s} for n, h, s in cases])
