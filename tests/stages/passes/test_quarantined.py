"""Files of RUN/quarantine: each problem once, whatever is refreshed; what is damaged is named and read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.commands.verify import verify
from pipelines.recipe.recipe import load_data
from pipelines.report.report import write_report
from pipelines.run import runner
from stages.passes.quarantined import listed_name, problem_of

GOOD = '{"text": "a text of some words, number %d", "n": 1}\n'
BAD = "{broken\n"


def write(path: Path, *bad: int, rows: int = 6) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(BAD if row in bad else GOOD % row for row in range(rows)))


def go(root: Path, inputs: Path, **more: Any) -> list[tuple[str, int | None]]:
    """Run; return (file, row) of every line in quarantine."""
    data = {"datasets": {"d": {"paths": str(inputs)}}, "on_error": "quarantine", "max_quarantined": 1}
    data["cluster"] = {"kind": "inline"}
    runner.run(load_data(data, "test"), str(root), with_report=False, **more)
    return listed(root)


def listed(root: Path) -> list[tuple[str, int | None]]:
    lines = [line for path in sorted((root / "quarantine").glob("*")) for line in path.read_bytes().splitlines()]
    found = [json.loads(line) for line in lines]
    return sorted((Path(p["path"]).name, p["row"]) for p in found)


def test_each_problem_is_listed_once_whatever_is_refreshed(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / "in" / f"{name}.jsonl", 1)
    (tmp_path / "in" / "z.jsonl.gz").write_bytes(b"no gzip")
    whole = [("a.jsonl", 1), ("b.jsonl", 1), ("c.jsonl", 1), ("z.jsonl.gz", None)]
    assert go(tmp_path / "run", tmp_path / "in", limit=2) == whole[:1]  # of each dataset
    assert go(tmp_path / "run", tmp_path / "in") == whole
    write(tmp_path / "in" / "b.jsonl", 2, 4)  # a and c move to other places of another bundle
    again = [("a.jsonl", 1), ("b.jsonl", 2), ("b.jsonl", 4), *whole[2:]]
    assert go(tmp_path / "run", tmp_path / "in", refresh=True) == again
    write(tmp_path / "in" / "a.jsonl")
    (tmp_path / "in" / "z.jsonl.gz").unlink()
    assert go(tmp_path / "run", tmp_path / "in", refresh=True) == again[1:-1]
    assert go(tmp_path / "run", tmp_path / "in") == go(tmp_path / "new", tmp_path / "in")
    assert verify(str(tmp_path / "run"))["faults"] == []


def test_a_file_that_can_be_read_after_all_is_listed_no_more(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl.gz").write_bytes(b"no gzip")
    write(tmp_path / "in" / "b.jsonl")
    assert go(tmp_path / "run", tmp_path / "in") == [("a.jsonl.gz", None)]
    (tmp_path / "in" / "a.jsonl.gz").write_bytes(b"")
    assert go(tmp_path / "run", tmp_path / "in", refresh=True) == go(tmp_path / "new", tmp_path / "in")


@pytest.mark.parametrize("how", ["flip", "cut", "empty", "junk"])
def test_a_damaged_list_is_named_and_read_again(tmp_path: Path, how: str) -> None:
    write(tmp_path / "in" / "a.jsonl", 1, 3)
    whole = go(tmp_path / "run", tmp_path / "in")
    [path] = (tmp_path / "run" / "quarantine").iterdir()
    data = path.read_bytes()
    before = data
    damaged = {"flip": data.replace(b'"row": 1', b'"row": 0'), "cut": data[:-9], "empty": b"", "junk": b"[1]\n"}
    path.write_bytes(damaged[how])
    [fault] = verify(str(tmp_path / "run"), remove=True)["faults"]
    assert fault["path"] == f"quarantine/{path.name}"
    assert go(tmp_path / "run", tmp_path / "in") == whole
    assert path.read_bytes() == before
    assert verify(str(tmp_path / "run"))["faults"] == []


def test_damaged_lines_are_counted_in_the_report_and_break_no_error_message(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.jsonl", 1, 3)
    go(tmp_path / "run", tmp_path / "in")
    [path] = (tmp_path / "run" / "quarantine").iterdir()
    path.write_bytes(b"\xff{\n" + path.read_bytes().splitlines(keepends=True)[1])
    write_report(str(tmp_path / "run"))
    found = json.loads((tmp_path / "run" / "report.json").read_text())["quarantine"]
    assert (found["problems"], found["first"][0]["error"], found["first"][1]["row"]) == (2, "the line is damaged", 3)


def test_names_of_inputs_are_short_and_each_its_own() -> None:
    pairs = [("a-b", "c"), ("a", "b-c"), ("a", "b/c"), ("a", "b~c"), ("a", "x" * 5000), ("a", "x" * 5001)]
    names = {listed_name(*pair) for pair in pairs}
    assert len(names) == len(pairs)
    assert max(map(len, names)) < 120


def test_lines_of_an_earlier_winnow_are_read() -> None:
    old = b'{"path": "p", "row": 1, "byte_offset": null, "error": "e"}'
    assert problem_of(old) == {"path": "p", "row": 1, "byte_offset": None, "error": "e"}
    assert problem_of(old[:-1] + b', "checksum": "0"}') is None
