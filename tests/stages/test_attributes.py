"""Attribute files joined by id through a whole run: Dolma's and datatrove's layouts, any order, missing counted."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from cluster.errors import RecipeError, ShardError
from pipelines.explain.explain import explain
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from stages.attributes import JoinedAttributes

TEXTS = [f"D\u00f6cument {n} of mail a{n}@x.org in it" for n in range(30)]
DOLMA = ["words=attributes.gopher__gopher__word_count", "mail=attributes.pii__pii__EMAIL"]


def run(
    root: Path, stage: dict[str, Any], files: int = 3, **cluster: Any
) -> tuple[dict[str, Any], dict[str, str], Any]:
    """Return ledger rows and texts of the mix by id, and the result."""
    (root / "in").mkdir(parents=True, exist_ok=True)
    for part in range(files):
        rows = [{"id": str(n), "text": text} for n, text in enumerate(TEXTS)][part::files]
        (root / "in" / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {
        "datasets": {"web": {"paths": str(root / "in"), "columns": {"id": "id"}}},
        "stages": [{"use": "attributes", **stage}],
        "cluster": {"kind": "inline"},
    }
    result = runner.run(load_data(data, "test"), str(root / "run"), with_report=False)
    ledger = {r["id"]: r for f in (root / "run" / "ledger").glob("*.parquet") for r in pq.read_table(f).to_pylist()}
    mix = pads.dataset(sorted(map(str, (root / "run" / "mix").rglob("*.parquet")))).to_table().to_pylist()
    return ledger, {row["id"]: row["text"] for row in mix}, result


def dolma(folder: Path, shuffled: bool) -> str:
    """Write attributes as Dolma's taggers do, of all documents but 7; 9 has no mail."""
    folder.mkdir(parents=True)
    rows = []
    for n, text in enumerate(TEXTS):
        at = text.index(f"a{n}")
        spans = [] if n == 9 else [[at, text.index(" in it"), 0.5 + n / 100]]
        values = {"gopher__gopher__word_count": [[0, len(text), float(n)]], "pii__pii__EMAIL": spans}
        rows += [{"id": str(n), "attributes": values}] * (n != 7)
    if shuffled:
        random.Random(1).shuffle(rows)
    for part in range(2):
        lines = "".join(json.dumps(row) + "\n" for row in rows[part::2])
        (folder / f"{part}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    return str(folder)


@pytest.mark.parametrize("shuffled", [False, True])
def test_dolmas_scores_limit_and_its_spans_are_cut(tmp_path: Path, shuffled: bool) -> None:
    where = dolma(tmp_path / "attributes", shuffled)
    stage = {"files": [where], "fields": DOLMA, "limits": ["words>=3"], "cut": ["mail"], "min_span_score": 0.55}
    ledger, mix, result = run(tmp_path, stage, files=1 + 4 * shuffled)
    dropped = {key: row["reason"] for key, row in ledger.items() if not row["kept"]}
    assert dropped == {"0": "words", "1": "words", "2": "words", "7": "no_attributes"}
    assert (ledger["1"]["value"], ledger["1"]["threshold"]) == (1.0, 3.0)
    assert set(mix) == set(ledger) - set(dropped)
    assert mix["9"] == TEXTS[9]
    assert mix["4"] == TEXTS[4]  # its span has a score of .54
    assert mix["20"] == "D\u00f6cument 20 of mail  in it"
    assert any("1 of 30 documents of web have no attributes" in text for text in result.warnings)
    told = explain(str(tmp_path / "run"), id="4")["documents"][0]["facts"]["attributes"]
    assert told["words"] == 4.0


def test_numbers_of_a_table_join_in_any_order_and_missing_ones_may_stay(tmp_path: Path) -> None:
    rows = [{"id": str(n), "metadata": {"score": n / 10, "flag": n % 2 == 0}} for n in reversed(range(20))]
    rows += [{"id": "3", "metadata": {"score": 9.0, "flag": False}}]  # a second row of 3 does not count
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "scores.parquet")
    stage = {"files": [str(tmp_path / "scores.parquet")], "fields": ["score=metadata.score", "flag=metadata.flag"]}
    limits = {"limits": ["score>=0.3", "score<=1.5", "flag<=0"], "keep_missing": True}
    ledger, mix, _ = run(tmp_path, {**stage, **limits})
    assert {int(key) for key in mix} == {3, 5, 7, 9, 11, 13, 15, *range(20, 30)}
    assert {ledger[key]["reason"] for key in ("2", "16", "4")} == {"score", "flag"}
    assert set(run(tmp_path, {**stage, "limits": ["score<=1.5"]})[1]) == {str(n) for n in range(16)}
    assert len(run(tmp_path, stage)[1]) == 30


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "files must be"),
        ({"files": ("x",)}, "fields must be"),
        ({"files": ("x",), "fields": ("a=b", "a=c")}, "different names"),
        ({"files": ("x",), "fields": ("a=",)}, "fields must be"),
        ({"files": ("x",), "fields": ("a=b",), "limits": ("c>=1",)}, "Fields are a"),
        ({"files": ("x",), "fields": ("a=b",), "cut": ("c",)}, "cut must be one of the fields a"),
    ],
)
def test_wrong_parameters_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        JoinedAttributes(**values)


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="nowhere"):
        JoinedAttributes(files=(str(tmp_path / "nowhere"),), fields=("a=b",)).digest()
    for line, message in (({"x": 1}, "no id under 'id'"), ({"id": "1", "b": "text"}, "a number or a list")):
        (tmp_path / "a.jsonl").write_text(json.dumps(line) + "\n")
        with pytest.raises(ShardError, match=rf"a\.jsonl, row 1.*{message}"):
            run(tmp_path / message[:4], {"files": [str(tmp_path / "a.jsonl")], "fields": ["b=b"]})
