"""The report: every number can be counted again, and no text of a document can do anything to the page."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import pickle
import random
import re
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.engines import InlineEngine
from cluster.errors import LedgerError
from pipelines import runfolder
from pipelines.recipe.recipe import load_data
from pipelines.report import passes
from pipelines.report.ledger_sums import COLUMNS, GROUP_SIZES, LedgerSums
from pipelines.report.page import render_page
from pipelines.report.report import check_dataset, count_ledger, write_report
from pipelines.report.scores import Judged, count_judged
from pipelines.run import runner
from pipelines.runfolder import StageInfo, open_run
from pipelines.shown_text import visible, word_diff
from tests.support import corpora, run_folders

FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folders.make(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def found(run: Path) -> dict[str, Any]:
    return json.loads((run / "report.json").read_text())


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return (run / "report.html").read_text(encoding="utf-8")


def amount(rows: list[dict[str, Any]]) -> dict[str, int]:
    return {"documents": len(rows), "tokens": sum(r["num_tokens"] for r in rows)}


def test_the_funnel_is_the_ledger_counted(run: Path, found: dict[str, Any]) -> None:
    rows = run_folders.ledger(run)
    for name, entry in {**found["funnel"], None: found["total"]}.items():
        mine = [r for r in rows if name in (None, r["dataset"])]
        assert entry["rows"] == amount(mine)
        assert entry["kept"] == amount([r for r in mine if r["kept"]])
        left = mine
        assert [s["stage"] for s in entry["stages"]] == ["read", "exact_dedup", "minhash", "near_dedup", "quality"]
        for step in entry["stages"]:
            assert step["before"] == amount(left)
            gone = [r for r in left if r["stage"] == step["stage"]]
            left = [r for r in left if r["stage"] != step["stage"]]
            reasons = {r["reason"] for r in gone}
            assert step["dropped"] == {w: amount([r for r in gone if r["reason"] == w]) for w in reasons}
            assert step["after"] == amount(left)
        assert left == [r for r in mine if r["kept"]]
        assert entry["mix"]["documents"] == sum(r["copies"] > 0 for r in mine)
        assert entry["mix"]["copies"] == sum(r["copies"] for r in mine)
        assert entry["mix"]["tokens"] == sum(r["copies"] * r["num_tokens"] for r in mine)


def test_overlap_groups_and_similarities_are_the_ledger_counted(run: Path, found: dict[str, Any]) -> None:
    rows = run_folders.ledger(run)
    names = found["overlap"]["datasets"]
    for stage, matrix in {**found["overlap"]["stages"], None: found["overlap"]["all"]}.items():
        lost = [r for r in rows if r["representative"] is not None and stage in (None, r["stage"])]
        for i, loser in enumerate(names):
            for j, winner in enumerate(names):
                mine = [r for r in lost if (r["dataset"], r["representative_dataset"]) == (loser, winner)]
                assert {key: matrix[key][i][j] for key in matrix} == amount(mine)
    sizes = Counter(r["group_size"] for r in rows if r["kept"])
    for entry in found["groups"]["sizes"]:
        inside = {n: c for n, c in sizes.items() if n >= entry["from"] and (entry["to"] is None or n <= entry["to"])}
        assert entry["groups"] == sum(inside.values())
        assert entry["documents"] == sum(n * c for n, c in inside.items())
    assert [g["group_size"] for g in found["groups"]["largest"]] == sorted(sizes.elements(), reverse=True)[:10]
    shared = Counter(
        (a, b)
        for r in rows
        if r["kept"] and r["group_size"] > 1
        for a in json.loads(r["group_datasets"])
        for b in json.loads(r["group_datasets"])
        if a < b
    )
    assert {tuple(g["datasets"]): g["groups"] for g in found["overlap"]["shared_groups"]} == shared
    near = next(d for d in found["dedup"] if d["stage"] == "near_dedup")
    similar = [r["similarity"] for r in rows if r["stage"] == "near_dedup"]
    assert near["dropped"] == np.histogram(np.array(similar, np.float64), near["edges"])[0].tolist()


def test_members_of_the_largest_groups_ended_there(run: Path, found: dict[str, Any]) -> None:
    rows = {r["doc_id"]: r for r in run_folders.ledger(run)}
    for group in found["groups"]["largest"]:
        assert sum(group["group_datasets"].values()) == group["group_size"]
        assert len(group["members"]) == min(passes.MEMBERS, group["group_size"] - 1)
        assert all(rows[m["doc_id"]]["survivor"] == group["doc_id"] for m in group["members"])


def test_every_step_tells_its_time_rate_and_memory(run: Path, found: dict[str, Any]) -> None:
    kept = json.loads((run / "timings.json").read_text())["stages"]
    reached = {step["stage"]: step["before"]["documents"] for step in found["total"]["stages"]}
    steps = {step["name"]: step for step in found["timings"]["stages"]}
    assert [s["name"] for s in kept] == list(steps)
    assert steps["near_dedup"]["documents"] == reached["near_dedup"] > 0
    parts = {part["name"]: part for part in steps["annotate"]["parts"]}
    assert list(parts) == ["read", "minhash", "quality"]
    assert parts["read"]["documents"] == found["total"]["rows"]["documents"]
    assert parts["quality"]["documents"] >= found["scores"][0]["judged"]
    for step in (*steps.values(), *parts.values()):
        if step["documents_per_second"] is not None:
            assert step["documents_per_second"] * step["seconds"] == pytest.approx(step["documents"])
    if sys.platform == "linux":
        assert all(steps[name]["peak_memory_bytes"] > 1 << 20 for name in ("annotate", "near_dedup", "materialize"))


def test_reasons_and_samples_begin_with_the_commonest(found: dict[str, Any]) -> None:
    totals = {(s["stage"], r): a["documents"] for s in found["total"]["stages"] for r, a in s["dropped"].items()}
    for step in found["total"]["stages"]:
        counts = [a["documents"] for a in step["dropped"].values()]
        assert counts == sorted(counts, reverse=True)
    assert {(g["stage"], g["reason"]): g["of"] for g in found["samples"] if g["stage"]} == totals
    near = next(d for d in found["dedup"] if d["stage"] == "near_dedup")
    for entry in near["at_least"]:
        at = near["edges"].index(entry["similarity"])
        assert entry["documents"] == sum(near["dropped"][at:])


def test_the_mix_is_set_against_its_targets(run: Path, found: dict[str, Any]) -> None:
    rows = run_folders.ledger(run)
    for name, entry in found["mix"]["datasets"].items():
        mine = [r for r in rows if r["dataset"] == name]
        assert entry["tokens"] == sum(r["copies"] * r["num_tokens"] for r in mine)
        assert entry["shortfall_tokens"] == max(0, entry["target_tokens"] - entry["tokens"])
        assert entry["max_epochs"] == {"a": 1, "b": 2, "c": 1}[name]
        assert entry["weight_share"] == {"a": 1, "b": 3, "c": 1}[name] / 5
        assert entry["available"] == amount([r for r in mine if r["kept"]])
    assert sum(e["share"] for e in found["mix"]["datasets"].values()) == pytest.approx(1)


def test_score_histograms_hold_every_document_that_was_judged(run: Path, found: dict[str, Any]) -> None:
    score = {}
    for file in (run.parent / "in").rglob("*.parquet"):
        score.update({row["id"]: row["score"] for row in pq.read_table(file).to_pylist()})
    judged = [r for r in run_folders.ledger(run) if r["kept"] or r["stage"] == "quality"]
    (entry,) = found["scores"]
    assert found["scores_from"] == "facts"
    assert entry["judged"] == len(judged)
    for key, kept in (("kept", True), ("dropped", False)):
        values = [score[r["id"]] for r in judged if r["kept"] is kept]
        assert entry[key] == np.histogram(values, entry["edges"])[0].tolist()
    for point in entry["thresholds"]:
        assert point["documents"] == sum(score[r["id"]] >= point["threshold"] for r in judged)
    assert 0.3 in [p["threshold"] for p in entry["thresholds"]]


def test_samples_are_of_their_reason_and_pairs_lost_to_each_other(run: Path, found: dict[str, Any]) -> None:
    rows = {r["doc_id"]: r for r in run_folders.ledger(run)}
    reasons = {(g["stage"], g["reason"], g["dataset"]) for g in found["samples"]}
    dropped = {(r["stage"], r["reason"], None) for r in rows.values() if not r["kept"]}
    assert reasons == dropped | {(None, None, name) for name in "abc"}
    for group in found["samples"]:
        for d in group["documents"]:
            assert (rows[d["doc_id"]]["stage"], rows[d["doc_id"]]["reason"]) == (group["stage"], group["reason"])
    assert found["pairs"]
    for pair in found["pairs"]:
        assert rows[pair["dropped"]["doc_id"]]["representative"] == pair["kept"]["doc_id"]
        assert pair["difference"]["same_words"] < pair["difference"]["left_words"] + pair["difference"]["right_words"]


def test_a_funnel_that_does_not_close_stops_the_report(run: Path, tmp_path: Path) -> None:
    rows = run_folders.ledger(run)
    kept = next(r["doc_id"] for r in rows if r["kept"] and r["copies"])
    both = run_folders.copy(run, tmp_path / "both")
    run_folders.change_ledger(both, kept, stage="quality", reason="low_quality")
    with pytest.raises(LedgerError, match=f"ledger of a contradicts itself about 1 documents.*doc_id {kept}"):
        write_report(str(both))
    copies = run_folders.copy(run, tmp_path / "copies")
    run_folders.change_ledger(copies, kept, copies=9)
    with pytest.raises(LedgerError, match="the mix of a is not what the ledger says"):
        write_report(str(copies))


def test_rows_that_the_ledger_lost_are_named_with_numbers(run: Path) -> None:
    opened = open_run(str(run))
    found = count_ledger(opened).datasets["b"]
    found.kept.add(2, 10)
    rows = found.rows.documents
    with pytest.raises(LedgerError, match=f"funnel of b does not close: {rows} rows in the manifest, {rows} in the"):
        check_dataset(opened, "b", found)


class _Elsewhere(InlineEngine):
    """Sends functions, tasks and answers through pickle, as workers of other processes do."""

    def map(self, function: Any, tasks: Any, *, done: Any = None, cost: Any = None) -> list[Any]:
        there = pickle.loads(pickle.dumps(function))
        return [pickle.loads(pickle.dumps(there(pickle.loads(pickle.dumps(task))))) for task in tasks]


def test_the_report_does_not_depend_on_how_the_ledger_is_cut_into_tasks(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (run / "report.json").read_bytes()
    for files, rows in ((1, 1 << 22), (2, 1 << 22), (512, 1)):
        monkeypatch.setattr(passes, "FILES_PER_TASK", files)
        monkeypatch.setattr(passes, "ROWS_PER_TASK", rows)
        (run / "report.json").unlink()
        write_report(str(run), _Elsewhere())
        assert (run / "report.json").read_bytes() == before


def test_ledger_tables_are_joined_a_bounded_number_at_a_time(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_run(str(run))
    whole = pa.concat_tables(opened.ledger("a"))
    monkeypatch.setattr(runfolder, "BATCH_FILES", 1)
    tables = list(opened.ledger("a"))
    assert len(tables) == pc.sum(pc.equal(opened.manifest["dataset"], "a")).as_py() > 1
    assert pa.concat_tables(tables).equals(whole)


def test_the_report_is_the_same_twice_and_without_the_facts(run: Path, found: dict[str, Any], tmp_path: Path) -> None:
    before = (run / "report.json").read_bytes(), (run / "report.html").read_bytes()
    write_report(str(run))
    assert before == ((run / "report.json").read_bytes(), (run / "report.html").read_bytes())
    bare = run_folders.copy(run, tmp_path / "bare", without=("facts", "decisions"))
    (bare / "timings.json").unlink()
    write_report(str(bare))
    again = json.loads((bare / "report.json").read_text())
    assert again["scores_from"] == "ledger and mix"
    assert again["timings"] is None
    for key in ("funnel", "total", "overlap", "mix", "dedup", "digests"):
        assert again[key] == found[key]


def test_a_mix_manifest_with_few_keys_is_enough(run: Path, tmp_path: Path) -> None:
    bare = run_folders.copy(run, tmp_path / "bare")
    (bare / "mix" / "manifest.json").write_text('{"format": 1, "datasets": {"a": {}}}')
    write_report(str(bare))
    assert json.loads((bare / "report.json").read_text())["mix"]["datasets"]["a"]["epochs"] is None


@given(st.lists(st.integers(1, 400), max_size=12), st.randoms(use_true_random=False))
def test_counts_do_not_depend_on_how_the_ledger_is_cut(cuts: list[int], shuffle: random.Random) -> None:
    rows = list(_made_up_rows())
    whole = _tallied([rows])
    shuffle.shuffle(rows)
    edges = sorted({0, *(c for c in cuts if c < len(rows)), len(rows)})
    parts = [rows[a:b] for a, b in itertools.pairwise(edges)]
    assert _tallied(parts) == whole


def _made_up_rows() -> list[dict[str, Any]]:
    chance = random.Random(1)
    rows = []
    for doc in range(200):
        stage = chance.choice([None, None, "near_dedup", "quality"])
        lost = stage == "near_dedup"
        rows.append(
            {
                "doc_id": doc,
                "kept": stage is None,
                "copies": chance.choice([0, 1, 2]) if stage is None else 0,
                "stage": stage,
                "reason": None if stage is None else chance.choice(["x", "y"]),
                "value": chance.random() if stage else None,
                "threshold": 0.5 if stage else None,
                "representative": 7 if lost else None,
                "representative_dataset": chance.choice("ab") if lost else None,
                "similarity": chance.random() if lost else None,
                "similarity_kind": chance.choice(["exact", "estimated"]) if lost else None,
                "group_size": chance.choice([1, 2, 11, 2000]) if stage is None else None,
                "group_datasets": chance.choice(['{"a": 1}', '{"a": 1, "b": 4}']) if stage is None else None,
                "num_tokens": chance.randrange(100),
            }
        )
    return rows


def _tallied(parts: list[list[dict[str, Any]]]) -> Any:
    schema = pa.schema(
        [
            *[("doc_id", pa.int64()), ("kept", pa.bool_()), ("copies", pa.int32()), ("stage", pa.string())],
            *[("reason", pa.string()), ("value", pa.float64()), ("threshold", pa.float64())],
            *[("representative", pa.int64()), ("representative_dataset", pa.string())],
            *[("similarity", pa.float32()), ("similarity_kind", pa.string()), ("group_size", pa.int32())],
            *[("group_datasets", pa.large_string()), ("num_tokens", pa.int64())],
        ]
    )
    assert schema.names == COLUMNS
    sums = LedgerSums()
    for part in parts:
        sums.add("a", pa.Table.from_pylist(part, schema=schema))
    mine = sums.datasets["a"]
    return (
        *(mine.rows, mine.kept, dict(mine.dropped), mine.mix, mine.copies, mine.kept_samples.entries),
        *(dict(mine.lost_to), {k: v.entries for k, v in sums.samples.items()}, sums.groups.tolist()),
        *(sums.largest.entries, dict(sums.shared), sums.dedup["near_dedup"].similarity.tolist()),
        *(sums.dedup["near_dedup"].nearest.entries, dict(sums.dedup["near_dedup"].kinds)),
    )


def test_group_size_bins_cover_every_size_once() -> None:
    assert GROUP_SIZES[0] == 1
    assert list(GROUP_SIZES) == sorted(set(GROUP_SIZES))


@given(
    st.lists(st.floats(-5, 5) | st.integers(-3, 60).map(float) | st.just(float("nan")), min_size=1, max_size=60),
    st.floats(-6, 6),
)
def test_share_kept_at_other_thresholds_is_exact(values: list[float], minimum: float) -> None:
    stage = StageInfo(name="q", use="quality", parameters={"min_score": minimum})
    scores = np.array(values)
    group = Judged(
        stage=stage,
        dataset="a",
        values=scores,
        languages=None,
        dropped=~(scores >= minimum),
        tokens=np.ones(len(scores), np.int64),
    )
    (entry,), _ = count_judged([stage], [("q", scores)], [group])
    assert sum(entry["kept"]) + sum(entry["dropped"]) + entry["unscored"] == len(values)
    for point in entry["thresholds"]:
        assert point["documents"] == sum(v >= point["threshold"] for v in values)
    assert [p["threshold"] for p in entry["thresholds"]].count(minimum) >= 1


@given(st.text(), st.text())
def test_word_differences_lose_no_word_and_mark_only_what_differs(left: str, right: str) -> None:
    difference = word_diff(left, right, context=10**6)
    assert "".join(words for _, words in difference.left) == left
    assert "".join(words for _, words in difference.right) == right
    same = [[w for kind, words in side if kind == "same" for w in words.split()] for side in _sides(difference)]
    assert same[0] == same[1]
    assert word_diff(left, left).same_words == difference.left_words


def test_texts_that_differ_in_white_space_only_are_told_apart() -> None:
    difference = word_diff("one  two\nthree", "one two three")
    assert (difference.same_words, difference.spacing) == (3, 2)
    assert word_diff("one two", "one two").spacing == 0


def _sides(difference: Any) -> tuple[Any, Any]:
    return difference.left, difference.right


@given(st.text(st.characters(codec=None)))
def test_shown_text_obeys_nothing_and_can_be_encoded(text: str) -> None:
    shown = visible(text)
    assert not FORBIDDEN.search(shown)
    shown.encode("utf-8")
    assert visible(shown) == shown


class Parsed(HTMLParser):
    """Collects the elements of a page, their attributes and its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_hostile_text_is_shown_and_inert(page: str, found: dict[str, Any]) -> None:
    parsed = Parsed(page)
    text = "".join(parsed.words)
    shown = [d["text"] for g in found["samples"] for d in g["documents"] if d["text"]]
    assert any("evil-" in (d["id"] or "") for g in found["samples"] for d in g["documents"])
    assert all(visible(t) in text for t in shown)
    assert not FORBIDDEN.search(page)
    tags = Counter(tag for tag, _ in parsed.elements)
    assert tags["script"] == tags["style"] == 1
    assert not {"img", "iframe", "object", "link", "base", "form"} & set(tags)
    for tag, attributes in parsed.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        assert (attributes.get("href") or "#").startswith("#")


def test_each_kind_of_hostile_text_leaves_the_page_whole() -> None:
    for text in run_folders.HOSTILE:
        page = render_page(_minimal_report(text))
        assert not FORBIDDEN.search(page)
        parsed = Parsed(page)
        assert visible(text).strip() in "".join(parsed.words)
        assert Counter(t for t, _ in parsed.elements)["script"] == 1
        assert [a for t, a in parsed.elements if t == "h1"] == [{}]


def _minimal_report(text: str) -> dict[str, Any]:
    """Return a report in which every name and text is `text`."""
    one = {"documents": 1, "tokens": 1}
    step = {"stage": text, "applies": True, "before": one, "dropped": {text: one}, "after": one}
    funnel = {"rows": one, "stages": [step], "kept": one, "mix": {**one, "copies": 1}}
    card = dict.fromkeys(("doc_id", "row", "tokens", "chars"), 1)
    card |= dict.fromkeys(("dataset", "path", "id", "url", "text"), text)
    dataset = dict.fromkeys(("name", "licence", "preset", "role"), text)
    dataset |= dict.fromkeys(("priority", "shards", "rows", "bytes"), 1)
    difference = word_diff(text, text + " x").as_tree()
    pair = {"stage": text, "dropped": card, "kept": card, "similarity": 0.5, "similarity_kind": text, "threshold": 0.5}
    mix = {**one, "copies": 1, "share": 1.0, "weight_share": None, "available": one, "epochs": 1.0, "files": 1}
    mix |= {"target_tokens": 1, "shortfall_tokens": 1, "rows": 1, "bytes": 1, "holdout_documents": 0, "max_epochs": 1}
    matrix = {"documents": [[1]], "tokens": [[1]]}
    time = {"name": text, "seconds": 1.0, "documents": 1, "bytes": 1, "peak_memory_bytes": 1}
    time |= {"documents_per_second": 1.0, "bytes_per_second": 1.0}
    return {
        "name": text,
        "tokens_are": text,
        "digests": {"recipe": text, "inputs": text},
        "recipe": text,
        "stages": [{"name": text, "use": text, "digest": text, "datasets": [text], "parameters": {text: text}}],
        "datasets": [dataset],
        "funnel": {text: funnel},
        "total": funnel,
        "overlap": {"datasets": [text], "all": matrix, "stages": {text: matrix}, "shared_groups": []},
        "dedup": [],
        "groups": {
            "sizes": [{"from": 1, "to": 1, "groups": 1, "documents": 1}],
            "largest": [{**card, "group_size": 1, "group_datasets": {text: 1}, "members": [card]}],
        },
        "scores": [],
        "languages": [
            {
                "stage": text,
                "languages": 1,
                "wanted": [text],
                "judged": one,
                "unwanted": one,
                "scores": None,
                "rows": [{"language": text, "kept": one, "dropped": one, "datasets": {text: 1}}],
            }
        ],
        "scores_from": "facts",
        "mix": {"mode": text, "target_tokens": None, **one, "datasets": {text: mix}},
        "samples": [
            {
                "stage": text,
                "reason": text,
                "dataset": None,
                "of": 1,
                "documents": [{**card, "value": 0.5, "threshold": None}],
            }
        ],
        "pairs": [{**pair, "difference": difference}, {**pair, "difference": None}],
        "quarantine": {"problems": 1, "first": [{"path": text, "row": 1, "byte_offset": None, "error": text}]},
        "timings": {"workers": 1, "stages": [{**time, "parts": [time]}]},
    }


def test_the_page_needs_nothing_and_allows_only_its_own_style_and_script(page: str) -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    rules = policy[1].replace("&#39;", "'")
    assert rules.startswith("default-src 'none'")
    assert "unsafe" not in rules
    for tag in ("style", "script"):
        (body,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in rules
        assert "url(" not in body
        assert "http" not in body
    assert len(page) < 3_000_000


def test_every_chart_says_its_numbers_to_those_who_do_not_see_it(page: str) -> None:
    charts = [a for t, a in Parsed(page).elements if t == "svg" and a.get("class")]
    assert charts
    assert all(a.get("role") == "img" and a.get("aria-label") for a in charts)
    regions = [a for _, a in Parsed(page).elements if a.get("tabindex") == "0"]
    assert all(a.get("aria-label") for a in regions)


def test_a_run_without_similarities_is_reported(tmp_path: Path) -> None:
    near = {"use": "near_dedup", "verify": "none", "mode": "component", "bands": 32, "rows_per_band": 4}
    stages = [{"use": "minhash", "shingle_width": 8}, near]
    folder = run_folders.make(tmp_path, stages=stages, mix={})
    found = json.loads((folder / "report.json").read_text())
    (entry,) = found["dedup"]
    dropped = sum(r["stage"] == "near_dedup" for r in run_folders.ledger(folder))
    assert sum(entry["dropped"]) + entry["without_similarity"] == dropped > 0


@pytest.mark.parametrize(
    "more",
    [
        {"output": {"repeat": True, "holdout": 0.1}},
        {"output": {"format": "jsonl.zst", "shuffle": "shard"}},
        {"mix": {"mode": "all_with_weights"}},
        {"stages": []},
        {"stages": [{"use": "quality", "model": "column:score"}]},
        {"stages": [{"use": "quality", "name": "x", "model": "column:score", "max_score": 0.5, "datasets": ["b"]}]},
    ],
    ids=str,
)
def test_every_kind_of_run_gets_a_page_and_a_card(tmp_path: Path, more: dict[str, Any]) -> None:
    folder = run_folders.make(tmp_path, **more)
    found = json.loads((folder / "report.json").read_text())
    rows = run_folders.ledger(folder)
    assert found["total"]["kept"] == amount([r for r in rows if r["kept"]])
    assert found["mix"]["tokens"] == sum(r["copies"] * r["num_tokens"] for r in rows)
    assert "</html>" in (folder / "report.html").read_text()
    assert "## Counts" in (folder / "mix" / "README.md").read_text()


def test_reference_data_and_empty_datasets_are_shown(tmp_path: Path) -> None:
    columns = {"text": "text", "id": "id", "url": "url"}
    datasets: dict[str, Any] = {}
    for name, count in (("a", 40), ("b", 1), ("ref", 20)):
        rows = [
            {"text": f"text {i} {name if i % 2 else ''}", "id": str(i), "url": None, "score": 1.0} for i in range(count)
        ]
        rows = rows if name != "b" else [{"text": None, "id": None, "url": None, "score": None}]
        (tmp_path / name).mkdir()
        corpora.write_file(tmp_path / name / "x.parquet", rows)
        datasets[name] = {"paths": str(tmp_path / name), "columns": columns}
    datasets["ref"]["role"] = "reference"
    data = {"name": "t", "datasets": datasets, "stages": [{"use": "exact_dedup"}], "cluster": {"kind": "inline"}}
    runner.run(load_data(data, "test"), str(tmp_path / "run"))
    found = json.loads((tmp_path / "run" / "report.json").read_text())
    assert found["funnel"]["b"]["kept"] == {"documents": 0, "tokens": 0}
    assert found["funnel"]["ref"]["mix"]["documents"] == 0
    assert found["overlap"]["all"]["documents"][0][2] == 10
    head = (tmp_path / "run" / "mix" / "README.md").read_text()
    assert "config_name: ref" not in head
    assert "compared against, not included" in head
