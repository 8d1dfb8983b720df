"""Every kind of file in a finished run folder, damaged: the next run makes it again, or a sentence says what to do.

Damaged copies are run and verified in another process, so that a segmentation fault is seen. What must never come:
other bytes without a word, a traceback.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli.main import main
from pipelines.commands.verify import verify
from tests.support import every_artefact

KINDS = {
    "manifest": "manifest.parquet",
    "lock": "recipe.lock.yaml",
    "timings": "timings.json",
    "inputs": "facts/inputs.json",
    "options": "facts/options.json",
    "types": "facts/types/*.json",
    "read": "facts/read/*/*.arrow",
    "signatures": "facts/minhash/*/*.arrow",
    "scores": "facts/quality/*/*.arrow",
    "pairs": "facts/near_dedup/*/*.arrow",
    "exact": "decisions/exact_dedup/*/*.arrow",
    "near": "decisions/near_dedup/*/*.arrow",
    "thresholds": "decisions/score_cut/*/thresholds.json",
    "survivors": "decisions/lineage/*/home/out-*.arrow",
    "routes": "decisions/lineage/*/home/map-*.slices",
    "groups": "decisions/lineage/*/groups/*.arrow",
    "ledger list": "decisions/ledger/*/*.json",
    "ledger marker": "decisions/ledger-made-by",
    "ledger note": "decisions/ledger-made-from.json",
    "recipe of the ledger": "decisions/ledger-recipe.lock.yaml",
    "page notes": "decisions/*-made-from",
    "passed over": "passed_over.json",
    "boots": "exchange/boots",
    "mix list": "decisions/mix/*/*.json",
    "staged": "staged/*/*.parquet",
    "ledger": "ledger/*.parquet",
    "mix": "mix/*/part-*.parquet",
    "mix manifest": "mix/manifest.json",
    "mix marker": "mix/.made-by",
}
DAMAGES = ("empty", "cut", "zeros", "gone", "flip", "flip", "flip")
MORE = 40  # flips of each kind, nightly


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("done")
    inputs = every_artefact.write_inputs(folder / "in")
    every_artefact.write_recipe(inputs, folder / "recipe.yaml")
    every_artefact.run(inputs, folder / "run", with_report=True)
    return folder


def damage(path: Path, how: str, draw: random.Random) -> None:
    data = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
        return
    if how == "flip":
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif how == "zeros":
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    else:
        del data[0 if how == "empty" else draw.randrange(1, len(data)) :]
    path.write_bytes(data)


def tried(done: Path, folder: Path, cases: list[tuple[str, str, int]]) -> list[tuple[Path, str, dict[str, Any]]]:
    """Damage a copy for each case, run and verify them in one process; return (damaged file, how, what came)."""
    found = []
    for n, (kind, how, seed) in enumerate(cases):
        root = Path(shutil.copytree(done / "run", folder / str(n)))
        draw = random.Random(f"{kind} {how} {seed}")
        path = draw.choice(sorted(root.glob(KINDS[kind])))
        damage(path, how, draw)
        found.append((path, how))
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.support.every_artefact", str(done / "recipe.yaml")]
    runs = [str(folder / str(n)) for n in range(len(cases))]
    ended = subprocess.run([*command, *runs], capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == 0, (lines[-1], ended.stderr[-3000:])
    answers = [line for line in lines if "run" in line]
    return [(path, how, answer) for (path, how), answer in zip(found, answers, strict=True)]


def check(done: Path, path: Path, how: str, answer: dict[str, Any]) -> None:
    """Hold what came of one damage to the promise."""
    root = Path(answer["root"])
    said = answer["run_said"] + answer["verify_said"]
    about = (str(path.relative_to(root)), how, answer)
    assert "Traceback" not in said, about
    assert answer["run"] in (0, 1), about
    assert answer["verify"] in (0, 1), about
    if answer["run"] == 1:  # a sentence with a remedy
        assert re.search(r"winnow run|run again|Run again|Remove", answer["run_said"]), about
        return
    same = every_artefact.result(root) == every_artefact.result(done / "run")
    assert same or str(path.relative_to(root)) in answer["verify_said"], about
    assert answer["verify"] == (0 if same else 1) or str(path.relative_to(root)) in answer["verify_said"], about


def cases_of(kind: str, damages: tuple[str, ...]) -> list[tuple[str, str, int]]:
    return [(kind, how, seed) for seed, how in enumerate(damages)]


@pytest.mark.parametrize("group", range(4))
def test_what_is_damaged_is_made_again_or_named(done: Path, tmp_path: Path, group: int) -> None:
    cases = [case for kind in sorted(KINDS)[group::4] for case in cases_of(kind, DAMAGES)]
    for found in tried(done, tmp_path, cases):
        check(done, *found)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_many_flips_of_each_kind(done: Path, tmp_path: Path, kind: str) -> None:
    for found in tried(done, tmp_path, cases_of(kind, ("flip",) * MORE)):
        check(done, *found)


def test_a_run_heals_every_kind_but_the_mix_of_a_flip(done: Path, tmp_path: Path) -> None:
    """Of equal size, a file of the mix is told by `winnow verify` alone."""
    whole = every_artefact.result(done / "run")
    for path, _, answer in tried(done, tmp_path, [(kind, "flip", 99) for kind in sorted(set(KINDS) - {"mix"})]):
        assert (answer["run"], every_artefact.result(Path(answer["root"]))) == (0, whole), path


def test_verify_names_a_flip_in_the_mix_and_what_it_removes_is_made_again(done: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(done / "run", tmp_path / "run"))
    path = sorted(root.glob("mix/a/part-*.parquet"))[0]
    damage(path, "flip", random.Random(1))
    every_artefact.run(done / "in", root)
    [fault] = verify(str(root))["faults"]
    assert fault["path"] == str(path.relative_to(root))
    assert "SHA-256" in fault["what"]
    assert "--remove" in fault["remedy"]
    verify(str(root), remove=True)
    assert not path.exists()
    every_artefact.run(done / "in", root)
    assert every_artefact.result(root) == every_artefact.result(done / "run")
    assert verify(str(root))["faults"] == []


@pytest.mark.parametrize("place", ["ledger/7777.parquet", "mix/a/part-77777.parquet"])
def test_verify_names_what_no_list_names(done: Path, tmp_path: Path, place: str) -> None:
    root = Path(shutil.copytree(done / "run", tmp_path / "run"))
    shutil.copy(sorted(root.glob("ledger/*.parquet"))[0], root / place)
    [fault] = verify(str(root))["faults"]
    assert (fault["path"], "name" in fault["what"]) == (place, True)


@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("passed_over.json", b"[" * 100_000),
        ("report.json", b'{"a": ' + b"[" * 100_000),
        ("facts/options.json", b'{"started_in": ["a"], "run_dir": 5}'),
        ("facts/options.json", b'{"started_in": "/x\\u0000", "run_dir": "/x"}'),
        ("decisions/ledger-made-by", b""),
        ("decisions/ledger-made-by", b"../../../../etc"),
    ],
)
def test_a_forged_file_is_no_traceback(done: Path, tmp_path: Path, place: str, content: bytes) -> None:
    root = Path(shutil.copytree(done / "run", tmp_path / "run"))
    (root / place).write_bytes(content)
    for command in ("status", "report", "verify"):
        assert main([command, str(root)]) in (0, 1)


@pytest.mark.parametrize("place", ["mix", "facts", "decisions/ledger"])
def test_links_that_lead_in_circles_end(done: Path, tmp_path: Path, place: str) -> None:
    root = Path(shutil.copytree(done / "run", tmp_path / "run"))
    (root / place / "again").symlink_to(root, target_is_directory=True)
    (root / place / "here").symlink_to(root / place, target_is_directory=True)
    (root / place / "nowhere").symlink_to("gone")
    for command in ("status", "verify", "report"):
        assert main([command, str(root)]) in (0, 1)
    every_artefact.run(done / "in", root)
    assert every_artefact.result(root).items() >= every_artefact.result(done / "run").items()
