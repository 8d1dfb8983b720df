"""Traced tokens are those of the documents named, which are the ones that the ledger and the inputs have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from cluster.errors import RecipeError
from cluster.files.sealed import read_public_json, write_public_json
from pipelines.cli.main import main
from pipelines.export.trace import trace
from tests.support import exports, run_folders


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exports.small_run(tmp_path_factory.mktemp("trace"))


def source_texts(run: Path) -> dict[tuple[str, int], str]:
    """Return every text of the inputs by file and row."""
    found = {}
    for path in sorted((run.parent / "in").rglob("*.parquet")):
        for row, text in enumerate(pq.read_table(path, columns=["text"]).column(0).to_pylist()):
            found[(str(path), row)] = text
    return found


def check(run: Path, found: dict[str, Any], about: dict[str, Any]) -> None:
    """Check a trace against inputs and ledger, and its tokens against the tokenizer."""
    texts, ledger = source_texts(run), {row["doc_id"]: row for row in run_folders.ledger(run)}
    tokenizer = exports.loaded(exports.tokenizer(run.parent))
    documents = {document["doc_id"]: document for document in found["documents"]}
    for sequence in found["sequences"]:
        assert sum(piece["tokens"] for piece in sequence["pieces"]) + sequence["padding"] == sequence["tokens"]
        for piece in sequence["pieces"]:
            document = documents[piece["doc_id"]]
            text = texts[(document["path"], document["row"])]
            whole = [*tokenizer.encode(text, add_special_tokens=False).ids, about["eod"]]
            assert len(whole) == piece["document_tokens"]
            mine = whole[piece["document_from"] : piece["document_from"] + piece["tokens"]]
            assert piece["text"] == tokenizer.decode(mine, skip_special_tokens=True)
            if piece["tokens"] == piece["document_tokens"]:
                assert piece["text"] == text
            row = ledger[piece["doc_id"]]
            assert document["kept"]
            assert 0 <= piece["copy"] < row["copies"] == document["copies"]
            assert document["group"]["size"] == row["group_size"]
            assert [d["verdict"] for d in document["decisions"]] == ["passed"] * len(document["decisions"])
            others = [r for r in ledger.values() if r["survivor"] == piece["doc_id"] and not r["kept"]]
            assert len(document["group"]["members"]) == min(20, len(others))


@pytest.mark.parametrize(("format", "pack"), exports.PAIRS)
def test_traced_tokens_are_those_of_the_source(run: Path, tmp_path: Path, format: str, pack: str) -> None:
    about = exports.make(run, tmp_path / "out", format, pack=pack)
    for sequence in (0, about["sequences"] // 2, about["sequences"] - 1):
        found = trace(str(tmp_path / "out"), sequence=sequence)
        assert found["documents"]
        check(run, found, about)


def test_a_step_is_the_sequences_of_its_batch(run: Path, tmp_path: Path) -> None:
    exports.make(run, tmp_path / "out", "mds", pack="best_fit")
    batch = trace(str(tmp_path / "out"), step=3, batch_size=2)
    single = [trace(str(tmp_path / "out"), sequence=number) for number in (6, 7)]
    assert batch["sequences"] == [one["sequences"][0] for one in single]


@pytest.mark.parametrize("pack", ["concat", "none"])
def test_megatrons_samples(run: Path, tmp_path: Path, pack: str) -> None:
    about = exports.make(run, tmp_path / "out", "megatron", pack=pack, shard_tokens=1 << 20)
    found = trace(str(tmp_path / "out"), step=5, batch_size=2)
    check(run, found, about)
    assert [one["tokens"] for one in found["sequences"]] == [exports.WINDOW + 1] * 2
    assert found["sequences"] != trace(str(tmp_path / "out"), step=5, batch_size=2, seed=1)["sequences"]
    many = about["tokens"] // exports.WINDOW * 2
    check(run, trace(str(tmp_path / "out"), step=many - 5, batch_size=1, samples=many), about)
    with pytest.raises(RecipeError, match="samples in 1 epochs"):
        trace(str(tmp_path / "out"), step=many, batch_size=2)


def test_what_cannot_be_traced_is_said(run: Path, tmp_path: Path) -> None:
    exports.make(run, tmp_path / "out", "megatron")
    with pytest.raises(RecipeError, match="--sequence must be from 0 to"):
        trace(str(tmp_path / "out"), sequence=10**9)
    with pytest.raises(RecipeError, match="prefixes"):
        trace(str(tmp_path / "out"), step=0, batch_size=1)
    with pytest.raises(RecipeError, match="no finished export"):
        trace(str(tmp_path), sequence=0)
    about = {**read_public_json(str(tmp_path / "out" / "export.json")), "manifest_digest": "of another run"}
    write_public_json(str(tmp_path / "out" / "export.json"), about)
    with pytest.raises(RecipeError, match="is not the run"):
        trace(str(tmp_path / "out"), sequence=0)


def test_export_and_run_may_be_moved_together(run: Path, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    copied = run_folders.copy(run, tmp_path / "old" / "run")
    exports.make(copied, tmp_path / "old" / "out", "hf")
    (tmp_path / "old").rename(tmp_path / "new")
    found = trace(str(tmp_path / "new" / "out"), sequence=0)
    assert Path(found["run"]) == tmp_path / "new" / "run"


def test_commands(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def winnow(*arguments: str) -> tuple[int, str]:
        return main(list(arguments)), capsys.readouterr().out

    out, name = str(tmp_path / "out"), exports.tokenizer(run.parent)
    given = ["--format", "hf", "--tokenizer", name, "--sequence-length", "64", "-o", out, "-q"]
    code, text = winnow("export", str(run), *given)
    assert (code, "tokens (uint16) of" in text) == (0, True)
    code, text = winnow("trace", out, "--sequence", "1")
    assert (code, "sequence 1: 64 tokens" in text, "decisions" in text) == (0, True, True)
    assert winnow("trace", out, "--step", "1")[0] == 2
    ids = pq.read_table(tmp_path / "out" / "data" / "part-00000.parquet").column("input_ids").to_pylist()
    assert np.shape(ids)[1] == 64
