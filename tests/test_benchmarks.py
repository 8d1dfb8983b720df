"""The benchmarks' own arithmetic: exact truth, verdicts on removals, extrapolation, measurement, tables."""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import alike, dedup, inputs, machine, measure, page, scoring, simulate, tables, truth
from benchmarks.__main__ import command, given_environments, parser
from benchmarks.environments import Environments

WORDS = st.lists(st.sampled_from(["ab", "cd", "e", "é", "語", "xyz"]), max_size=9).map(" ".join)


def brute_force(texts: list[str], threshold: float, kind: str, width: int) -> set[tuple[int, int]]:
    def shingles(text: str) -> set[str]:
        parts = list(text) if kind == "characters" else text.split()
        return {"\0".join(parts[i : i + width]) for i in range(max(1, len(parts) - width + 1))}

    sets = [shingles(text) for text in texts]
    pairs = ((a, b) for a in range(len(sets)) for b in range(a))
    return {(b, a) for a, b in pairs if len(sets[a] & sets[b]) >= threshold * len(sets[a] | sets[b]) - 1e-12}


@given(
    st.lists(WORDS, min_size=1, max_size=12),
    st.sampled_from([0.3, 0.5, 0.8, 1.0]),
    st.sampled_from([("characters", 3), ("words", 2)]),
)
@settings(max_examples=150)
def test_truth_holds_exactly_the_pairs_of_brute_force(
    texts: list[str], threshold: float, shingles: tuple[str, int]
) -> None:
    found = truth.exact(texts, threshold, *shingles)
    similar = set(zip(found.left.tolist(), found.right.tolist(), strict=True))
    similar |= {(b, a) for a, b in similar} | {(g, g) for g in found.group.tolist()}
    pairs = {
        (a, b) for b in range(len(texts)) for a in range(b) if (int(found.group[a]), int(found.group[b])) in similar
    }
    assert pairs == brute_force(texts, threshold, *shingles)


def verdict(kept: list[bool]) -> truth.Verdict:
    # documents 0 and 1 are equal, group 0; group 1 is similar to it, group 2 to group 1; group 3 is alone
    found = truth.Truth(np.array([0, 0, 1, 2, 3]), np.array([0, 1]), np.array([1, 2]), np.array([0.9, 0.9]))
    return truth.judge(found, np.array(kept))


def test_keeping_one_of_each_neighbourhood_is_perfect() -> None:
    assert verdict([True, False, False, True, True]) == truth.Verdict(removed=2, precision=1.0, lost=0.0, recall=1.0)


def test_removing_a_document_without_duplicate_costs_precision() -> None:
    assert verdict([True, False, False, True, False]).precision == pytest.approx(2 / 3)


def test_removing_all_of_a_group_loses_it() -> None:
    found = verdict([False, False, False, False, True])
    assert (found.precision, found.lost) == (1.0, 1.0)


def test_duplicates_left_cost_recall() -> None:
    assert verdict([True, True, True, True, True]).recall == 0.0
    assert verdict([True, False, True, True, True]).recall == pytest.approx(1 / 2)


def test_extrapolation_is_the_straight_line_and_says_how_far_off_it_is() -> None:
    assert dedup.extrapolated([(1, 3.0), (2, 4.0), (4, 6.0)], 10) == (12.0, 0.0)
    assert dedup.extrapolated([(1, 3.0), (2, 4.0), (4, 9.0)], 10)[1] > 0.05
    assert np.isnan(dedup.extrapolated([(1, 3.0), (2, 3.0), (4, 2.0)], 10)[0])


def test_a_run_is_measured_with_its_descendants(tmp_path: Path) -> None:
    inner = "x = bytearray(b'1') * 60_000_000; import time; time.sleep(0.6); print(len(x))"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}], check=True)"
    found = measure.run([sys.executable, "-c", outer], tmp_path / "log")
    assert found.seconds >= 0.6
    assert 60_000_000 < found.peak_bytes < 160_000_000
    assert (tmp_path / "log").read_text() == "60000000\n"


def test_a_failed_run_says_what_was_printed(tmp_path: Path) -> None:
    with pytest.raises(measure.Failed, match=r"(?s)exit code 3.*so it is"):
        measure.run([sys.executable, "-c", "print('so it is'); raise SystemExit(3)"], tmp_path / "log")


def test_a_prefix_holds_the_first_documents(tmp_path: Path) -> None:
    whole = inputs.built([f"text {i} " * 50 for i in range(2000)], tmp_path, 0.7)
    first = inputs.prefix(whole, tmp_path, 0.3)
    rows, size = inputs.size_of(first)
    texts = pa.concat_tables([pq.read_table(path) for path in sorted(whole.glob("*.parquet"))]).column("text")
    assert pq.read_table(first).column("text").to_pylist() == texts.to_pylist()[:rows]
    assert 0.3e6 <= size < 0.7e6


def test_installed_packages_hold_text() -> None:
    texts = inputs.installed()
    found = [next(texts) for _ in range(50)]
    assert all(len(text) >= inputs.SHORTEST for text in found)


def test_the_command_shown_leaves_local_environments_out() -> None:
    given = ["--page", "docs/x.md", "dedup", "--data", "/x/y", "--env", "rensa=/x", "--rounds", "3"]
    assert command(parser().parse_args(given)) == "python -m benchmarks dedup --data FOLDER --rounds 3"
    given = ["--data=/x/y", "--corp", "/x/z", "--out=/x", "--pag=/x", "--en=rensa=/x", "--only", "a", "--only=b c"]
    expected = "python -m benchmarks --corpus FOLDER --data FOLDER --megabytes 3030 --only a --only 'b c'"
    assert command(parser().parse_args([*given, "--mega=3030", "--rounds", "2"])) == expected
    with pytest.raises(SystemExit, match="NAME=FOLDER"):
        given_environments(["nobody=/x"])


def test_quality_scores_are_compared_with_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = np.random.default_rng(1).choice(["good", "bad", "plain", "words", "of", "text"], (60, 30))
    corpus = inputs.built([" ".join(row) for row in words.tolist()], tmp_path, 0.01)
    small = scoring.quality_model(corpus, tmp_path / "work", bucket=1000, dimensions=10)
    monkeypatch.setattr(scoring, "quality_model", lambda corpus, work: small)
    here = Environments(tmp_path, {"fasttext": Path(sys.executable).parent.parent})
    found = scoring.quality(corpus, tmp_path / "work", here, 1)
    assert found["missing"] == {}
    _, package = found["rows"]
    assert package["agreement"]["labels"] == 1.0
    assert package["agreement"]["score"] < 1e-6
    assert package["winnow_times"] > 0
    assert "100.0000% of labels" in tables.SECTIONS[-1][1](found)


def test_answers_that_differ_are_told(tmp_path: Path) -> None:
    for name, labels, scores in (("a", ["x", "y"], [1.0, 0.5]), ("b", ["x", "x"], [1.00001, 0.25])):
        pq.write_table(pa.table({"label": labels, "score": scores}), tmp_path / name)
    assert scoring.agreement(tmp_path / "a", tmp_path / "b") == {"labels": 0.5, "score": 0.25}


def test_tables_show_median_and_noise() -> None:
    spread = {"low": 1.0, "median": 2.0, "high": 30.0}
    row = {"tool": "t", "settings": "s", "megabytes": 1.0, "rate": spread, "cpu_rate": spread}
    found = tables.scoring("Title", "Note.")({"rows": [row | {"winnow_times": 4.0, "winnow_times_cpu": 5.0}]})
    assert "| t | s | 1.0 | 2 (1-30) | 2 (1-30) | 5 (4) |" in found


def test_a_simulation_names_what_cores_do_not_share() -> None:
    engine = simulate.Recording()
    assert engine.map(lambda task: task * 2, [1, 2, 3]) == [2, 4, 6]
    assert [len(found.tasks) for found in engine.rounds] == [3]
    rounds = [simulate.Round("annotate", 1.0, [4.0] * 32), simulate.Round("join", 1.0, [8.0])]
    lines = simulate.table(rounds, 0.0).splitlines()
    assert lines[2] == "| 1 | 138.0 | 1.0 |  |"
    assert lines[4] == "| 16 | 18.0 | 7.7 | join 7.5, client 1.9 |"
    assert lines[-3] == "33 tasks in 2 rounds; critical path 14.0 s."
    assert lines[-2] == "Client 2.00 s: annotate 1.00, join 1.00."
    assert lines[-1] == "Longest tasks 12.00 s: join 8.00, annotate 4.00."
    grown = simulate.table(simulate.grown(rounds, 10), 0.0).splitlines()
    assert grown[4] == "| 16 | 162.0 | 8.4 | join 75.0, client 1.9 |"


PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
MACHINE = {
    "date": "2026-11-29",
    "processor": "some processor",
    "cores": 2,
    "avx512": True,
    "memory_bytes": 24e9,
    "system": "Linux",
    "python": "3.12",
    "load_before": 0.5,
    "versions": {"numba": "0.64"},
}


def test_the_page_of_benchmarks_has_a_place_for_each_and_no_other_table() -> None:
    text = PAGE.read_text()
    assert sorted(page.BLOCK.findall(text)) == sorted(name for name, _ in tables.SECTIONS)
    [questions] = [line for line in page.outside(text).splitlines() if line.startswith("|---")]
    assert questions == "|---|---|"


def test_what_the_page_says_the_tool_wrote_it_wrote() -> None:
    text = PAGE.read_text()
    for block in re.findall(r"<!-- bench [a-z]+ -->\n(.*?)<!-- end -->", text, re.DOTALL):
        assert page.WRITTEN.match(block) or not re.match(r"\d{4}-\d\d-\d\d", block), block[:300]
    systems = re.findall(r"Linux \d\S*", text)
    assert [named for named in systems if not re.fullmatch(r"Linux \d+\.\d+[,;.]?", named)] == []


def test_the_machine_is_described_without_what_names_it_or_its_paths() -> None:
    assert machine.system("Linux", "6.8.0-49-generic") == "Linux 6.8"
    assert machine.system("Other", "unknown-host") == "Other"
    assert machine.describe()["system"] == machine.system(platform.system(), platform.release())
    reason = "exit code 1 of: /home/me/p --data=/x/y ~/z ../k/l and/or https://a.b/c \nmore"
    found = tables.section("alike", {"alike": {"rows": [], "missing": {"rensa": reason}}})
    assert found.splitlines()[-1] == "- rensa: exit code 1 of: PATH --data=PATH PATH PATH and/or https://a.b/c "


def test_tables_are_written_between_their_marks_and_nowhere_else(tmp_path: Path) -> None:
    row = {"kind": "chain", "documents": 7, "seconds": 1.5, "cpu_seconds": 2.0, "peak_bytes": 3e6, "kept": 4}
    results = {"machine": MACHINE, "settings": {"source": "x", "command": "python -m benchmarks alike"}}
    results["alike"] = {"rows": [row], "missing": {}}
    where = tmp_path / "page.md"
    where.write_text(
        "before\n<!-- bench alike -->\nold\n<!-- end -->\n<!-- bench dedup -->\nkept\n<!-- end -->\nafter\n"
    )
    page.write(where, results)
    written = where.read_text()
    assert "old" not in written
    assert "2026-11-29, some processor, 2 cores" in written
    assert "| chain | 7 | 1.5 | 2 | 3 | 4 |" in written
    assert page.outside(written) == "before\n\n\nafter\n"
    assert page.WRITTEN.match(written.partition("<!-- bench alike -->\n")[2])
    assert "<!-- bench dedup -->\nkept\n<!-- end -->" in written
    page.write(where, results)
    assert where.read_text() == written
    where.write_text("no place")
    with pytest.raises(SystemExit, match="no place for alike"):
        page.write(where, results)


def test_made_documents_are_as_alike_as_they_should_be() -> None:
    def jaccard(a: str, b: str) -> float:
        one, other = ({text[i : i + 24] for i in range(len(text) - 23)} for text in (a, b))
        return len(one & other) / len(one | other)

    first, second, *_, last = alike.template(50)
    assert 0.8 < jaccard(first, second) < 0.95
    assert 0.8 < jaccard(first, last) < 0.95
    first, second, *_, last = alike.chain(200)
    assert jaccard(first, second) > 0.8
    assert jaccard(first, last) == 0.0
    assert len(set(alike.the_same(5))) == 1
