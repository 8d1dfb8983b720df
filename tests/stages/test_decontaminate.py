"""Decontamination: planted items are found however they are dressed, common phrases are not evidence."""

from __future__ import annotations

import csv
import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import RecipeError
from pipelines.explain.explain import explain
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from stages.decontaminate import Decontaminate
from stages.detect import benchmark_items
from stages.kernels.text import ngrams
from tests.support import fold_reference
from tests.support.corpora import text as words_of

PIECES = st.lists(
    st.sampled_from(["a ", "b ", "C-", "d. ", "\u00e9 ", "e\u0301 ", "中", "\n", "\u0e01\u0e31", "\u0e02"]), max_size=25
).map("".join)


def plain_grams(text: str, width: int, shortest: int) -> list[tuple[str, ...]]:
    words = fold_reference.words(text)
    if not words or fold_reference.count(words, text) < shortest:
        return []
    spans = [fold_reference.span(words, text, i, width) for i in range(len(words))]
    if spans[0] is None:
        return [tuple(word for word, _, _ in words)]
    return [tuple(word for word, _, _ in words[i:stop]) for i, stop in enumerate(spans) if stop is not None]


@given(st.lists(PIECES, min_size=1, max_size=4), st.lists(PIECES, min_size=1, max_size=4))
def test_matches_are_those_of_plain_sets(known: list[str], texts: list[str]) -> None:
    hashes, where = ngrams.grams(pa.array(known, pa.large_string()), 3, 2)
    want_known = [gram for text in known for gram in plain_grams(text, 3, 2)]
    assert len(hashes) == len(want_known)
    gram_of = dict(zip(hashes.tolist(), want_known, strict=True))
    assert len(gram_of) == len(set(want_known))
    if not len(hashes):
        return
    keys = np.unique(hashes)
    lengths = tuple(np.unique(where[where[:, 2] > 0, 1]).tolist())
    found = ngrams.search(pa.array(texts, pa.large_string()), keys, 3, lengths, ngrams.bitmap(keys))
    want = set()
    for d, text in enumerate(texts):
        words = fold_reference.words(text)
        for i in range(len(words)):
            full = fold_reference.span(words, text, i, 3)
            for stop in {full, *(i + size for size in lengths if i + size <= len(words))} - {None}:
                gram = tuple(word for word, _, _ in words[i:stop])
                if gram in gram_of.values():
                    ends = (len(text[: words[i][1]].encode()), len(text[: words[stop - 1][2]].encode()))
                    want.add((d, gram, *ends))
    assert {(d, gram_of[int(keys[k])], a, b) for d, k, a, b in found.tolist()} == want


ITEMS = [
    "A train leaves the old station at nine in the morning and travels sixty miles; how far does it get by noon?",
    "Which of the following planets has the largest number of known moons orbiting around it today, all counted?",
    "Where do most polar bears find their food?",  # 8 words: one n-gram
    "Too short to tell",
]
COMMON = "all rights reserved no part of this publication may be reproduced stored in a retrieval system or transmitted"


def corpus(seed: int) -> list[dict[str, str]]:
    random_ = random.Random(seed)
    made = []
    for n in range(120):
        body = words_of(random_, 40)
        kind = "clean"
        if n % 3 == 0:
            body += ". " + COMMON
        if n % 10 == 1:
            kind, body = "0", f"{body} {ITEMS[0].upper().replace(' ', '  ')} {body}"
        if n % 10 == 2:
            kind, body = "2", f"{body}\n({ITEMS[2]})\n{body}"
        if n % 10 == 4:
            body += " " + ITEMS[3] + " " + " ".join(ITEMS[1].split()[:12])  # too little of it
        made.append({"id": f"{n}-{kind}", "text": body})
    return made


def write_items(folder: Path) -> str:
    path = folder / "bench.jsonl"
    rows = [{"question": item, "source": {"note": COMMON}, "n": 1} for item in ITEMS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def run(folder: Path, documents: list[dict[str, str]], files: int, **stage: Any) -> list[dict[str, Any]]:
    (folder / "in").mkdir(parents=True, exist_ok=True)
    for n in range(files):
        rows = documents[n::files]
        (folder / "in" / f"{n}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {
        "datasets": {"web": {"paths": str(folder / "in"), "columns": {"id": "id"}}},
        "stages": [{"use": "decontaminate", **stage}],
        "cluster": {"kind": "inline"},
    }
    runner.run(load_data(data, "test"), str(folder / "run"), with_report=False)
    files_ = sorted((folder / "run" / "ledger").glob("*.parquet"))
    return [row for file in files_ for row in pq.read_table(file).to_pylist()]


@pytest.mark.parametrize("files", [1, 5])
def test_planted_items_are_dropped_and_nothing_else(tmp_path: Path, files: int) -> None:
    documents = corpus(1)
    ledger = run(tmp_path, documents, files, benchmarks=[f"toy={write_items(tmp_path)}"])
    dropped = {row["id"] for row in ledger if not row["kept"]}
    assert dropped == {d["id"] for d in documents if not d["id"].endswith("clean")}
    assert {row["reason"] for row in ledger if not row["kept"]} == {"contaminated"}
    assert all(row["value"] >= row["threshold"] == 1 for row in ledger if not row["kept"])
    assert all(row["evidence"] == (None if row["kept"] else "toy#" + row["id"].split("-")[1]) for row in ledger)


def test_explain_names_benchmark_and_item(tmp_path: Path) -> None:
    run(tmp_path, corpus(2), 2, benchmarks=[f"toy={write_items(tmp_path)}#question"])
    told = explain(str(tmp_path / "run"), id="2-2")["documents"][0]
    assert (told["facts"]["decontaminate"]["benchmark"], told["facts"]["decontaminate"]["item"]) == ("toy", "2")
    assert told["facts"]["decontaminate"]["share"] == 1.0


def test_a_phrase_that_is_common_in_the_corpus_is_evidence_only_if_it_is_asked_for(tmp_path: Path) -> None:
    documents = corpus(3)
    spec = f"toy={write_items(tmp_path)}#source"
    assert all(row["kept"] for row in run(tmp_path, documents, 2, benchmarks=[spec]))
    ledger = run(tmp_path, documents, 2, benchmarks=[spec], common_share=0.9)
    assert sum(not row["kept"] for row in ledger) == sum(COMMON in d["text"] for d in documents)


def test_cutting_leaves_the_rest_of_the_text(tmp_path: Path) -> None:
    documents = [*corpus(4)[:30], {"id": "only", "text": " " + ITEMS[1] + "\n" + ITEMS[1]}]
    ledger = run(tmp_path, documents, 1, benchmarks=[write_items(tmp_path) + "#question"], action="cut")
    assert {r["id"]: r["reason"] for r in ledger if not r["kept"]} == {"only": "nothing_left"}
    items = {d["id"]: d["id"].split("-")[1] for d in documents[:-1] if not d["id"].endswith("clean")} | {"only": "1"}
    assert {r["id"]: r["evidence"] for r in ledger if r["evidence"]} == {i: f"bench#{n}" for i, n in items.items()}
    mix = pads.dataset(sorted(map(str, (tmp_path / "run" / "mix").rglob("*.parquet")))).to_table().to_pylist()
    texts = {row["id"]: row["text"] for row in mix}
    for d in documents[:-1]:
        dressed = ITEMS[0].upper().replace(" ", "  ")
        assert texts[d["id"]] == d["text"].replace(dressed, "").replace(f"({ITEMS[2]})", "")


def test_limits_compute_no_fact_again(tmp_path: Path) -> None:
    documents = [*corpus(5), {"id": "x-part", "text": " ".join(ITEMS[0].split()[:15])}]
    spec = write_items(tmp_path) + "#question"

    def kinds(**limits: Any) -> set[str]:
        ledger = run(tmp_path, documents, 1, benchmarks=[spec], **limits)
        return {row["id"].split("-")[1] for row in ledger if not row["kept"]}

    assert kinds() == {"0", "2", "part"}
    facts = {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / "facts").rglob("*.arrow")}
    assert kinds(min_ngrams=4) == {"0"}
    assert kinds(min_share=0.9) == {"0", "2"}
    assert facts == {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / "facts").rglob("*.arrow")}


def texts_of(spec: str) -> list[list[str]]:
    return [[text for _, text in item] for item in benchmark_items.parts(spec)]


def test_benchmark_files_are_read_in_every_format(tmp_path: Path) -> None:
    rows = [{"q": "one \u00e9", "a": ["x", "y"]}, {"q": "two", "a": ["z"]}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.json", "a.jsonl.gz", "a.parquet"):
        assert texts_of(f"{tmp_path / name}") == [["one \u00e9", "x", "y"], ["two", "z"]]
        assert texts_of(f"x={tmp_path / name}#q") == [["one \u00e9"], ["two"]]
    with open(tmp_path / "a.csv", "w", newline="") as file:
        csv.writer(file).writerows([["q", "a"], ["one", "with, comma"]])
    assert texts_of(f"{tmp_path}/a.csv#a") == [["with, comma"]]


def test_n_grams_of_a_prompts_frame_are_ignored(tmp_path: Path) -> None:
    frame = "choose the best answer to the question below and explain your choice in one sentence"
    rows = [{"q": f"{frame} {words_of(random.Random(n), 20)}"} for n in range(60)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stage = {"benchmarks": [str(tmp_path / "a.jsonl")]}
    documents = [{"id": "frame", "text": frame}, {"id": "item", "text": rows[7]["q"]}]
    assert [row["kept"] for row in run(tmp_path, documents, 1, **stage)] == [True, False]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "at least one file"),
        ({"benchmarks": ("x",), "ngram": 5}, "at most ngram"),
    ],
)
def test_a_wrong_parameter_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Decontaminate(**values)


def test_a_benchmark_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"nowhere\.jsonl"):
        Decontaminate(benchmarks=("nowhere.jsonl",)).fact_digest()
    path = write_items(tmp_path)
    with pytest.raises(RecipeError, match=r"no field 'x'.*question"):
        benchmark_items.load((f"{path}#x",), 13, 8, 50)
    (tmp_path / "short.csv").write_text("q\nshort\n")
    with pytest.raises(RecipeError, match="8 words or more"):
        benchmark_items.load((str(tmp_path / "short.csv"),), 13, 8, 50)


UNSPACED = {
    "thai": "ชาวนามีแม่ไก่แดงสี่สิบเจ็ดตัวและซื้อเพิ่มอีกสิบเก้าตัวที่ตลาดในเช้าวันอังคารที่ฝนตก",
    "lao": "ຊາວນາມີແມ່ໄກ່ແດງສີ່ສິບເຈັດໂຕແລະຊື້ເພີ່ມອີກສິບເກົ້າໂຕຢູ່ຕະຫຼາດໃນຕອນເຊົ້າວັນອັງຄານ",
    "khmer": "កសិករម្នាក់មានមេមាន់ក្រហមសែសិបប្រាំពីរក្បាលហើយទិញដប់ប្រាំបួនក្បាលទៀតនៅផ្សារ",
    "burmese": "လယ်သမားတစ်ဦးတွင်ကြက်မနီလေးဆယ့်ခုနစ်ကောင်ရှိပြီးဈေးတွင်ဆယ့်ကိုးကောင်ထပ်ဝယ်သည်",
    "javanese": "ꦱꦏꦺꦃꦲꦶꦁꦩꦤꦸꦁꦱꦏꦭꦲꦶꦫꦏꦺꦩꦂꦢꦶꦏꦭꦤ꧀ꦝꦂꦧꦺꦩꦂꦠꦧꦠ꧀ꦭꦤ꧀ꦲꦏ꧀ꦲꦏ꧀ꦏꦁꦥꦝ",
    "chinese": "一个农夫有四十七只红母鸡他在一个下雨的星期二早上在市场上又买了十九只",
    "japanese": "農家は赤い雌鶏を四十七羽飼っていて雨の火曜日の朝に市場でさらに十九羽買いました",
    "half_width": "ﾉｳｶﾊｱｶｲﾒﾝﾄﾞﾘｦﾖﾝｼﾞｭｳﾅﾅﾜｶｯﾃｲﾃｱﾒﾉｶﾖｳﾋﾞﾉｱｻﾆｲﾁﾊﾞﾃﾞｻﾗﾆｼﾞｭｳｷｭｳﾜｶｲﾏｼﾀ",
}


@pytest.mark.parametrize("script", UNSPACED)
@pytest.mark.parametrize("around", ["Lesson 5.\n{}\nNow answer.", "{0}", "x{}x", "1{}2", "same"], ids=repr)
def test_an_item_without_spaces_is_found_word_for_word_in_a_page(tmp_path: Path, script: str, around: str) -> None:
    """`same`: amid other words of the script, with no space between."""
    item = UNSPACED[script]
    page = item[:5] + item[-5:] + item + item[:20] if around == "same" else around.format(item)
    rows = [{"text": page}, {"text": item[:10]}, {"text": "an ordinary page of words with nothing in it"}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "bench.jsonl").write_text(json.dumps({"q": item}) + "\n")
    data = {
        "datasets": {"d": {"paths": str(tmp_path / "in.jsonl")}},
        "stages": [{"use": "decontaminate", "benchmarks": [f"b={tmp_path / 'bench.jsonl'}"]}],
        "cluster": {"kind": "inline"},
    }
    runner.run(load_data(data, "test"), str(tmp_path / "run"), with_report=False)
    ledger = pq.read_table(next((tmp_path / "run" / "ledger").glob("*.parquet")))
    assert ledger.column("kept").to_pylist() == [False, True, True]
    assert ledger.column("evidence").to_pylist()[0] == "b#0"


def told(tmp_path: Path, item: str, pages: int, others: int = 100, **more: Any) -> tuple[int, list[str]]:
    """Return how many of `pages` pages with the item were dropped, and the warnings."""
    random_ = random.Random(1)
    rows = [f"Worksheet {n}. {item} {words_of(random_, 30)}" for n in range(pages)]
    rows += [words_of(random_, 40) for _ in range(others)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    (tmp_path / "bench.jsonl").write_text(json.dumps({"q": item, "a": "42"}) + "\n")
    stage = {"use": "decontaminate", "benchmarks": [f"b={tmp_path / 'bench.jsonl'}"], **more}
    data = {
        "datasets": {"d": {"paths": str(tmp_path / "in.jsonl")}},
        "stages": [stage],
        "cluster": {"kind": "inline"},
    }
    result = runner.run(load_data(data, "test"), str(tmp_path / "run"))
    assert result.tallies["d"]["kept"] >= others
    return pages + others - result.tallies["d"]["kept"], list(result.warnings)


@pytest.mark.parametrize("pages", [20, 21, 60, 400])
def test_a_whole_item_is_found_however_many_pages_hold_it(tmp_path: Path, pages: int) -> None:
    dropped, warnings = told(tmp_path, ITEMS[0], pages)
    assert (dropped, warnings) == (pages, [])


def test_a_short_item_on_many_pages_is_set_aside_and_said(tmp_path: Path) -> None:
    dropped, [warning] = told(tmp_path, ITEMS[2], 30)
    assert dropped == 0
    assert "1 item of benchmark b" in warning
    assert "30 documents" in warning
    assert "common_share: 1.0" in warning
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["warnings"] == [warning]
    assert told(tmp_path, ITEMS[2], 30, common_share=1.0) == (30, [])


def test_what_is_set_aside_is_said_again_by_a_run_that_has_nothing_to_do(tmp_path: Path) -> None:
    first = told(tmp_path, ITEMS[2], 30)
    assert told(tmp_path, ITEMS[2], 30) == first


# --- queries and labels, folders, shares of the document, sentences --------------------------------------

QUERY = "A lady walks up to a barbell on the floor of the old hall"  # 13 words
ANSWER = "she bends down and grabs the heavy pole with both of her hands"  # 13 words


def pages(*texts: str) -> list[dict[str, str]]:
    return [{"id": str(n), "text": f"Nothing is so painful. {text} Beware of it."} for n, text in enumerate(texts)]


def found_with(tmp_path: Path, field: str, **more: Any) -> list[str]:
    rows = [{"q": QUERY, "a": ANSWER}]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    middle = " ".join([*QUERY.split()[6:], *ANSWER.split()[:6]])  # 13 words, of both
    documents = pages(QUERY + ".", ANSWER + ".", middle + ".", "Of something else.")
    ledger = run(tmp_path, documents, 1, benchmarks=[f"b={tmp_path / 'b.jsonl'}#{field}"], **more)
    return sorted(row["id"] for row in ledger if not row["kept"])


def test_n_grams_of_queries_labels_and_both(tmp_path: Path) -> None:
    assert found_with(tmp_path, "q,a") == ["0", "1"]
    assert found_with(tmp_path, "q+a") == ["0", "1", "2"]
    assert found_with(tmp_path, "q+a", find_query=False) == ["1", "2"]  # datatrove's default
    assert found_with(tmp_path, "q+a", find_query=False, find_overlap=False) == ["1"]
    assert found_with(tmp_path, "q+a", find_overlap=False) == ["0", "1"]


def test_an_overlap_that_repeats_the_query_counts(tmp_path: Path) -> None:
    one = "one two three four five six seven eight nine ten eleven twelve thirteen"
    (tmp_path / "b.jsonl").write_text(json.dumps({"q": f"{one} {one[:3]}", "a": one[4:]}) + "\n")
    stage = {"benchmarks": [f"{tmp_path / 'b.jsonl'}#q+a"], "find_query": False}
    assert [row["kept"] for row in run(tmp_path, pages(one + "."), 1, **stage)] == [False]


def test_folders_and_globs_name_files(tmp_path: Path) -> None:
    folder = tmp_path / "suite" / "quiz"
    folder.mkdir(parents=True)
    for n, item in enumerate(ITEMS[:2]):
        (folder / f"{n}.jsonl").write_text(json.dumps({"question": item}) + "\n")
    for spec in (f"quiz={tmp_path / 'suite'}#question", f"{folder}/*.jsonl", str(folder)):
        found = {r["id"]: r["evidence"] for r in run(tmp_path, pages(*ITEMS[:2], "x"), 1, benchmarks=[spec])}
        assert {key: bool(value) for key, value in found.items()} == {"0": True, "1": True, "2": False}
    assert Decontaminate(benchmarks=(str(folder),)).fact_digest()
    with pytest.raises(RecipeError, match="no data file"):
        Decontaminate(benchmarks=(f"{folder}/*.csv",)).fact_digest()


def test_the_share_of_the_document_and_the_floor(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text(json.dumps({"q": QUERY}) + "\n")
    stage: dict[str, Any] = {"benchmarks": [str(tmp_path / "b.jsonl")]}
    documents = [{"id": "half", "text": f"{QUERY} {'x' * len(QUERY)}"}, {"id": "all", "text": QUERY}]

    def dropped(**more: Any) -> set[str]:
        return {row["id"] for row in run(tmp_path, documents, 1, **stage, **more) if not row["kept"]}

    assert dropped() == dropped(min_document_share=0.49) == {"half", "all"}
    assert dropped(min_document_share=0.5) == dropped(min_document_share=1.0) == {"all"}
    assert dropped(common_floor=1, common_share=0.0) == set()  # two documents have it
    assert dropped(common_floor=2, common_share=0.0) == {"half", "all"}


def test_sentences_are_cut_to_their_ends(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text(json.dumps({"q": QUERY}) + "\n")
    text = f"It begins here. He saw that {QUERY} today, at once! It goes on.\nThe end"
    documents = [{"id": "0", "text": text}, {"id": "1", "text": f"{QUERY}\nThe end"}]

    def cut(how: str) -> list[str]:
        run(tmp_path, documents, 1, benchmarks=[str(tmp_path / "b.jsonl")], action="cut", cut=how)
        mix = pads.dataset(sorted(map(str, (tmp_path / "run" / "mix").rglob("*.parquet")))).to_table()
        return [text for _, text in sorted(zip(mix["id"].to_pylist(), mix["text"].to_pylist(), strict=True))]

    assert cut("sentences") == ["It begins here. It goes on.\nThe end", "\nThe end"]
    assert cut("ngrams") == ["It begins here. He saw that  today, at once! It goes on.\nThe end", "\nThe end"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cut": "sentences"}, "used with action cut"),
        ({"find_query": False}, r"QUERY\+LABEL"),
        ({"find_overlap": False}, r"QUERY\+LABEL"),
        ({"min_document_share": 2.0}, "min_document_share must be"),
        ({"common_floor": -1}, "common_floor must be"),
    ],
)
def test_options_that_do_not_fit_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Decontaminate(benchmarks=("x.jsonl#q",), **values)
