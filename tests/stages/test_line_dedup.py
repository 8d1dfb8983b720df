"""Lines that stand in many documents: found as plain Python finds them, cut the same way however data is cut."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from stages.kernels.text import fold
from stages.line_dedup import NORMALISATIONS, UNITS, LineHashes
from tests.support import fold_reference

TEXT = st.lists(
    st.sampled_from(
        [
            "\n",
            "\n\n",
            " ",
            "\r\n",
            "\t",
            "Home",
            "it\u2019s",
            "it's",
            "É",
            "e\u0301",
            "ﬁ",
            "12",
            "\uff13",
            "中文",
            "가",
            "-",
            "_",
            "ß",
            "\u0e01\u0e31\u0e49",  # Thai
            "\u0e02",
            "\u0e31",
            "\u0e52",
            "\u1000\u103b",  # Burmese
            "\u1780\u17d2\u1781",  # Khmer
            "\uff76",
        ]
    ),
    max_size=14,
).map("".join)


@given(st.lists(TEXT, min_size=1, max_size=5), st.sampled_from(NORMALISATIONS[:2]), st.sampled_from(UNITS))
def test_lines_are_those_of_the_plain_rule(texts: list[str], normalise: str, unit: str) -> None:
    keys, spans = fold.lines(pa.array(texts, pa.large_string()), normalise, unit, 1)
    want = [(d, *line) for d, text in enumerate(texts) for line in fold_reference.lines(text, normalise, unit, 1)]
    assert spans.tolist() == [[d, start, stop] for d, _, start, stop in want]
    meaning: dict[int, object] = {}
    for key, (_, what, _, _) in zip(keys.tolist(), want, strict=True):
        assert meaning.setdefault(key, what) == what  # equal hashes, equal lines
    assert len(set(keys.tolist())) == len({what for _, what, _, _ in want})


@given(st.text(max_size=30))
def test_words_of_any_text_are_those_of_the_plain_rule(text: str) -> None:
    text = text.replace("\n", " ").strip()
    keys, _ = fold.lines(pa.array([text, " " + text + " "], pa.large_string()), "words", "line", 1)
    assert len(keys) == 2 * bool(fold_reference.words(text))
    assert len(set(keys.tolist())) <= 1


def test_only_bytes_count_without_normalisation() -> None:
    keys, _ = fold.lines(pa.array(["a b c", " a b c\r", "A b c"], pa.large_string()), "none", "line", 1)
    assert keys[0] == keys[1] != keys[2]


def test_the_spans_of_all_lines_cover_a_text() -> None:
    text = "\n\n one\n\n two \nthree"
    _, spans = fold.lines(pa.array([text], pa.large_string()), "words", "line", 1)
    assert spans[:, 1:].tolist() == [[0, 8], [8, 14], [14, 19]]


BOILER = ["Home | About us | Contact", "Subscribe to our newsletter", "All rights reserved 2024", "Read more about it"]


def corpus(seed: int, documents: int) -> list[dict[str, str]]:
    random_ = random.Random(seed)
    made = []
    for n in range(documents):
        own = [f"line {n} {i} with its own words {random_.random()}" for i in range(random_.randint(0, 3))]
        lines = own + random_.choices([*BOILER, BOILER[0].upper(), "", "Hi"], k=random_.randint(1, 4))
        random_.shuffle(lines)
        text = "\n".join(lines)
        made.append({"id": str(n), "text": text if text.strip() else "nothing but this"})
    return made


def expected(documents: list[dict[str, str]], over: int, max_share: float | None) -> dict[str, str | None]:
    """Return what is written of each document; None: dropped."""
    seen: dict[object, set[str]] = defaultdict(set)
    for d in documents:
        for key, _, _ in fold_reference.lines(d["text"], "words", "line", 3):
            seen[key].add(d["id"])
    found: dict[str, str | None] = {}
    for d in documents:
        data, out, at = d["text"].encode(), b"", 0
        for key, start, stop in fold_reference.lines(d["text"], "words", "line", 3):
            if len(seen[key]) > over:
                out, at = out + data[at:start], stop
        out += data[at:]
        lost = 1 - len(out) / len(data)
        found[d["id"]] = None if not out.strip() or (max_share is not None and lost > max_share) else out.decode()
    return found


def run(
    folder: Path, files: list[list[dict[str, str]]], stage: dict[str, Any], **cluster: Any
) -> dict[str, str | None]:
    for n, rows in enumerate(files):
        path = folder / "in" / f"{n}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {
        "datasets": {"web": {"paths": str(folder / "in"), "columns": {"id": "id"}}},
        "stages": [{"use": "line_dedup", **stage}],
        "cluster": {"kind": "inline", **cluster},
    }
    runner.run(load_data(data, "test"), str(folder / "run"), with_report=False)
    mix = pads.dataset(sorted(map(str, (folder / "run" / "mix").rglob("*.parquet")))).to_table(columns=["id", "text"])
    found: dict[str, str | None] = {
        row["id"]: None
        for file in (folder / "run" / "ledger").glob("*.parquet")
        for row in pq.read_table(file).to_pylist()
        if not row["kept"] and row["reason"] in ("nothing_left", "repeated_lines")
    }
    return found | {row["id"]: row["text"] for row in mix.to_pylist()}


@pytest.mark.parametrize("max_share", [None, 0.6])
def test_what_is_written_is_what_the_plain_rule_leaves_for_any_partitioning(
    tmp_path: Path, max_share: float | None
) -> None:
    documents = corpus(1, 80)
    want = expected(documents, 20, max_share)
    assert None in want.values()
    assert any(want[d["id"]] not in (None, d["text"]) for d in documents)
    for turn, size in enumerate((80, 7)):
        random.Random(turn).shuffle(documents)
        files = [documents[i : i + size] for i in range(0, len(documents), size)]
        stage = {"max_documents": 20, "max_share": max_share}
        assert run(tmp_path / str(turn), files, stage) == want


def test_another_frequency_reads_no_text_and_equals_a_new_run(tmp_path: Path) -> None:
    documents = corpus(2, 40)
    run(tmp_path / "a", [documents], {"max_documents": 5})
    facts = {p: p.stat().st_mtime_ns for p in (tmp_path / "a" / "run" / "facts").rglob("*.arrow")}
    again = run(tmp_path / "a", [documents], {"max_documents": 15})
    assert facts == {p: p.stat().st_mtime_ns for p in (tmp_path / "a" / "run" / "facts").rglob("*.arrow")}
    assert again == expected(documents, 15, None)


def test_protected_datasets_lose_no_line(tmp_path: Path) -> None:
    documents = corpus(3, 40)
    got = run(tmp_path, [documents], {"max_documents": 5, "protect": ["web"]})
    assert got == {d["id"]: d["text"] for d in documents}


def test_facts_have_the_schema_of_the_stage() -> None:
    stage = LineHashes()
    facts = stage.annotate(pa.table({"text": pa.array(["a b c\nd", "", "x"], pa.large_string())}))
    assert facts.schema == stage.schema
    assert [len(lines) for lines in facts.column("lines").to_pylist()] == [1, 0, 0]


@pytest.mark.parametrize(
    "line",
    [
        "ลงทะเบียนเพื่อรับข่าวสารล่าสุดจากเรา",
        "ចុះឈ្មោះដើម្បីទទួលព័ត៌មានថ្មីៗពីយើង",
        "ລົງທະບຽນເພື່ອຮັບຂ່າວສານຫຼ້າສຸດຈາກພວກເຮົາ",
        "နောက်ဆုံးရသတင်းများရယူရန်စာရင်းသွင်းပါ",
        "订阅我们的最新消息",
    ],
)
def test_a_line_without_spaces_is_cut_where_it_stands_in_many_documents(tmp_path: Path, line: str) -> None:
    rows = [{"text": f"{line}\nThe text of page number {n} is its own.\n{line[:3]}"} for n in range(8)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {
        "datasets": {"d": {"paths": str(tmp_path / "in.jsonl")}},
        "stages": [{"use": "line_dedup", "max_documents": 3, "min_words": 5}],
        "cluster": {"kind": "inline"},
    }
    runner.run(load_data(data, "test"), str(tmp_path / "run"), with_report=False)
    texts = pads.dataset(str(tmp_path / "run" / "mix" / "d"), format="parquet").to_table().column("text").to_pylist()
    assert sorted(texts) == [row["text"].removeprefix(f"{line}\n") for row in rows]
