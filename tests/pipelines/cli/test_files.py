"""Commands that need no recipe: dedup, minhash, classifier."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stages.minhash import MAX_SHINGLES
from tests.support.command_line import Winnow


def test_dedup_keeps_all_columns_and_the_longer_text(winnow: Winnow, tmp_path: Path) -> None:
    words = [f"word{i}" for i in range(60)]
    texts = [" ".join(words[:58]), " ".join(words), "something else altogether, of no other document"]
    rows = {"body": texts, "key": ["x", "y", "z"], "extra": [1, 2, 3]}
    pq.write_table(pa.table(rows), tmp_path / "in.parquet")
    arguments = ["--text-column", "body", "--id-column", "key", "--workers", "1", "-q"]
    code, out, _ = winnow("dedup", str(tmp_path / "in.parquet"), "-o", str(tmp_path / "out"), *arguments)
    assert code == 0
    assert out.startswith("3 documents in, 2 kept, 1 dropped")
    kept = pa.concat_tables([pq.read_table(p) for p in sorted((tmp_path / "out").glob("part-*.parquet"))])
    assert sorted(kept.select(["key", "extra"]).to_pylist(), key=str) == [
        {"key": "y", "extra": 2},
        {"key": "z", "extra": 3},
    ]


def test_minhash_writes_signatures_with_ids(winnow: Winnow, tmp_path: Path) -> None:
    raw = pa.array([b"a text of some length", b"no \xff UTF-8", b"a text of some length"])
    text = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
    pq.write_table(pa.table({"text": text, "id": ["p", "bad", "q"]}), tmp_path / "in.parquet")
    code, out, _ = winnow(
        "minhash", str(tmp_path / "in.parquet"), "-o", str(tmp_path / "out"), "--num-permutations", "16"
    )
    assert (code, out.startswith("2 signatures"), "1 documents have none" in out) == (0, True, True)
    [file] = (tmp_path / "out").glob("*.parquet")
    table = pq.read_table(file)
    assert table.column("id").to_pylist() == ["p", "bad", "q"]
    assert [s and len(s) for s in table.column("signature").to_pylist()] == [16, None, 16]


def test_minhash_samples_no_text(winnow: Winnow, tmp_path: Path) -> None:
    texts = ["ab cde " * (MAX_SHINGLES // 6), "ab cde " * 10]  # the same seven shingles
    pq.write_table(pa.table({"text": texts, "id": ["long", "short"]}), tmp_path / "in.parquet")
    winnow("minhash", str(tmp_path / "in.parquet"), "-o", str(tmp_path / "out"), "--num-permutations", "4")
    [file] = (tmp_path / "out").glob("*.parquet")
    long, short = pq.read_table(file).column("signature").to_pylist()
    assert long == short


def test_a_classifier_is_trained_evaluated_and_applied(winnow: Winnow, tmp_path: Path) -> None:
    for name, word in (("good", "lucid"), ("bad", "spam")):
        lines = [json.dumps({"text": f"{word} {word} line number {i} {word}"}) for i in range(200)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    good, bad, model = (str(tmp_path / name) for name in ("good.jsonl", "bad.jsonl", "q.bin"))
    code, out, err = winnow("classifier", "train", "--positive", good, "--negative", bad, "-o", model)
    assert (code, "AUC" in out) == (0, True), err
    code, out, _ = winnow("classifier", "evaluate", model, "--positive", good, "--negative", bad)
    assert code == 0
    assert json.loads(out)["auc"] > 0.9
    plot = tmp_path / "p.svg"
    turned = ("--positive", bad, "--negative", good, "--positive-label", "cc", "--plot", str(plot))
    assert json.loads(winnow("classifier", "evaluate", model, *turned)[1])["auc"] > 0.9
    assert plot.read_text().startswith("<svg")
    code, out, _ = winnow("classifier", "score", model, good, "-o", str(tmp_path / "s.parquet"))
    assert code == 0
    scores = pq.read_table(tmp_path / "s.parquet")
    assert scores.column("label").to_pylist() == ["hq"] * 200
    assert min(scores.column("score").to_pylist()) > 0.5
