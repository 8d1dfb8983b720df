"""The repair stage in runs: what is written, what later stages judge, what is counted, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.errors import RecipeError
from pipelines.audit.audit import audit
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from stages.core import edits
from stages.core.composition import compose_edits
from stages.kernels.text.repairs import KINDS, edited, repairs
from stages.pii import Pii
from stages.repair import Repair
from tests.stages.kernels.test_repairs import PIECES
from tests.support.judges import score

BROKEN = [
    "Das ist schön &amp; gut.\r\nZweite Zeile".replace("schön", "schön".encode().decode("latin-1")),
    "write to jo\u200bhn&#64;example.com\r\n&lt;or&gt; call +49 30 1234567",
    "cafe\u0301 \x00ok",
    "&#106;ane@example.com\r\n",
    "nothing to repair here",
]
MENDED = [edited(text, repairs(text, KINDS)[0]) for text in BROKEN]


def run(folder: Path, texts: list[str], stages: list[dict[str, Any]], **more: Any) -> tuple[dict[str, str], Any]:
    """Run the stages; return the texts of the mix by id, and the result."""
    folder.mkdir(exist_ok=True, parents=True)
    rows = [{"text": text, "id": str(n)} for n, text in enumerate(texts)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "in.parquet")
    data = {
        "datasets": {"web": {"paths": str(folder / "in.parquet"), "columns": {"id": "id"}}},
        "stages": stages,
        "cluster": {"kind": "inline"},
        **more,
    }
    result = runner.run(load_data(data, "test"), str(folder / "run"))
    files = sorted(map(str, (folder / "run" / "mix").rglob("*.parquet")))
    mix = pads.dataset(files).to_table().to_pylist() if files else []
    return {row["id"]: row["text"] for row in mix}, result


def ledger(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "run" / "ledger").glob("*.parquet"))
    return list(pa.concat_tables([pq.read_table(file) for file in files]).to_pylist())


def test_texts_are_written_repaired_and_counted(tmp_path: Path) -> None:
    texts, _ = run(tmp_path, BROKEN, [{"use": "repair"}])
    assert texts == {str(n): text for n, text in enumerate(MENDED)}
    assert [row["num_tokens"] for row in ledger(tmp_path)] == [-(-len(text.encode()) // 4) for text in MENDED]
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    counts = [repairs(text, KINDS)[1] for text in BROKEN]
    want = {kind: sum(count.get(kind, 0) for count in counts) for kind in KINDS}
    assert report["figures"] == {"repair": {"web": want}}
    assert "what it found in the documents that are kept" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_each_repair_can_be_switched_off(tmp_path: Path, kind: str) -> None:
    texts, _ = run(tmp_path, BROKEN, [{"use": "repair", kind: False}])
    others = [k for k in KINDS if k != kind]
    assert texts == {str(n): edited(text, repairs(text, others)[0]) for n, text in enumerate(BROKEN)}


def test_later_stages_judge_the_repaired_text_and_their_spans_are_of_the_original(tmp_path: Path) -> None:
    stages = [{"use": "repair", "judge": "repaired"}, {"use": "pii"}]
    texts, _ = run(tmp_path / "a", BROKEN, stages)
    want, _ = run(tmp_path / "b", MENDED, [{"use": "pii"}])
    assert texts == want
    assert texts["1"] == "write to <EMAIL>\n<or> call <PHONE>"
    original, _ = run(tmp_path / "c", BROKEN, [{"use": "repair"}, {"use": "pii"}])
    assert original["1"] == "write to john@example.com\n<or> call <PHONE>"
    before, _ = run(tmp_path / "d", BROKEN, [{"use": "pii"}, {"use": "repair", "judge": "repaired"}])
    assert before == original


RECIPE = [
    {"use": "heuristics", "presets": [], "limits": ["num_words>=3"]},
    {"use": "exact_dedup"},
    {"use": "minhash", "shingle_width": 5},
    {"use": "near_dedup", "jaccard_threshold": 0.7},
    {"use": "line_dedup", "max_documents": 2, "min_words": 1},
    {"use": "line_rules", "rules": ["few_words"]},
    {"use": "quality", "model": "python:tests.support.judges:first", "min_score": -1.0},
    {"use": "pii", "phone": "drop"},
]


def corpus() -> list[str]:
    lines = [
        "Das Wetter ist heute sehr schön und warm.",
        "Menu &amp; more\u200b",
        "mail me: a&#64;example.com",
        "x y z",
    ]
    texts = []
    for n in range(30):
        words = " ".join(f"wort{n * k % 97}in{n}" for k in range(30))
        text = f"{lines[0]} {words}\n{lines[1]}\n{lines[n % 4]}\n{words[:n]}"
        texts += [text, text.encode().decode("latin-1"), text.replace("\n", "\r\n") + ("" if n % 2 else " Ende")]
    return texts


@pytest.mark.parametrize("orphans", ["promote", "allow"])
def test_a_whole_recipe_after_a_repair_is_that_recipe_on_repaired_input(tmp_path: Path, orphans: str) -> None:
    stages = [
        {**stage, "orphans": orphans} if "dedup" in stage["use"] and stage["use"] != "line_dedup" else stage
        for stage in RECIPE
    ]
    texts = corpus()
    mended = [edited(text, repairs(text, KINDS)[0]) for text in texts]
    got, _ = run(tmp_path / "a", texts, [{"use": "repair", "judge": "repaired"}, *stages])
    want, _ = run(tmp_path / "b", mended, stages)
    mine, other = ledger(tmp_path / "a"), ledger(tmp_path / "b")
    reasons = [sorted((str(row["stage"]), str(row["reason"])) for row in rows) for rows in (mine, other)]
    assert reasons[0] == reasons[1]
    # which of two near copies stays is decided by the hash of what was read
    assert sorted(text.removesuffix(" Ende") for text in got.values()) == sorted(
        text.removesuffix(" Ende") for text in want.values()
    )
    assert 20 < len(got) < len(texts) / 2
    table = pads.dataset(sorted(map(str, (tmp_path / "a" / "run" / "mix").rglob("*.parquet")))).to_table()
    for row in table.select(["id", "quality_score"]).to_pylist():
        assert row["quality_score"] == score("first", mended[int(row["id"])])
    found = audit(str(tmp_path / "a" / "run"))["stages"]
    assert found["near_dedup"]["precision"]["estimate"] in (None, 1.0)
    assert found["exact_dedup"]["precision"]["estimate"] == 1.0


def test_facts_of_later_stages_depend_on_the_repair(tmp_path: Path) -> None:
    facts = tmp_path / "run" / "facts" / "pii"
    for number, stages in enumerate(
        (
            [{"use": "pii"}],
            [{"use": "repair"}, {"use": "pii"}],  # the same facts: the original is judged
            [{"use": "repair", "judge": "repaired"}, {"use": "pii"}],
            [{"use": "repair", "judge": "repaired", "entities": False}, {"use": "pii"}],
        )
    ):
        run(tmp_path, BROKEN, stages)
        assert len(list(facts.iterdir())) == (1, 1, 2, 3)[number]


def test_a_text_of_which_repairs_leave_white_space_is_dropped(tmp_path: Path) -> None:
    texts, _ = run(tmp_path, ["&nbsp;\r\n\u200b", "ok"], [{"use": "repair"}])
    assert texts == {"1": "ok"}
    assert ledger(tmp_path)[0]["reason"] == "nothing_left"
    texts, _ = run(
        tmp_path / "b",
        ["\r\na&#64;example.com\r\n", "ok"],
        [{"use": "repair", "judge": "repaired"}, {"use": "pii", "email": "drop"}],
    )
    assert texts == {"1": "ok"}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from([*PIECES, "a@example.com", "&#64;", "jo", "+49 30 1234567"]), max_size=8).map("".join),
        max_size=4,
    )
)
def test_spans_of_later_stages_end_as_spans_of_the_original(texts: list[str]) -> None:
    column = pa.array(texts, pa.large_string())
    stage, later = Repair(), Pii(email="drop")
    first = edits.merge([stage.edits(stage.annotate(pa.table({"text": column})))])
    mended = edits.apply(column, first)
    second = edits.merge([later.edits(later.annotate(pa.table({"text": mended})))])
    both = compose_edits(first, second)
    result = edits.apply(mended, second)
    assert edits.apply(column, both).to_pylist() == result.to_pylist()
    assert ((both.left <= both.start) & (both.right >= both.stop)).all()
    sizes = [len(text.encode()) for text in texts]
    empty = {row for row, text in enumerate(result.to_pylist()) if texts[row].strip() and not text.strip()}
    lost = edits.nothing_left(both, np.array(sizes, np.int64)).tolist()
    assert {row for row in lost if texts[row].strip()} == empty


@pytest.mark.parametrize(
    "stages",
    [
        [{"use": "repair", **dict.fromkeys(KINDS, False)}],
        [{"use": "repair", "judge": "mended"}],
        [{"use": "repair", "judge": "repaired"}, {"use": "repair", "name": "again", "judge": "repaired"}],
    ],
)
def test_what_makes_no_sense_is_refused(stages: list[dict[str, Any]]) -> None:
    with pytest.raises(RecipeError):
        load_data({"datasets": {"d": {"paths": "x"}}, "stages": stages}, "test")
