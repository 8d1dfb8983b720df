"""Inputs and side files on the command line: what is read, what is passed over, what damage comes to."""

from __future__ import annotations

import json
import lzma
import struct
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
import zstandard

from cluster.files.compression import CODECS, compress
from pipelines.cli import main as cli
from pipelines.commands import check
from tests.support import archives, run_folders

PAGE = "the quick brown fox jumps over the lazy dog while fourteen other animals look on, number {}"


def recipe(folder: Path, paths: str = "data", **more: Any) -> str:
    data = {
        "datasets": {"d": {"paths": str(folder / paths), "columns": {"text": "text", "id": "id"}}},
        "stages": [{"use": "exact_dedup"}],
        "cluster": {"kind": "inline"},
        **more,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(data))
    return str(folder / "recipe.yaml")


def rows(first: int, count: int) -> list[dict[str, str]]:
    return [{"text": PAGE.format(n), "id": f"id-{n}"} for n in range(first, first + count)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    kinds = (
        "jsonl.gz",
        "jsonl.bz2",
        "jsonl.xz",
        "jsonl.lz4",
        "jsonl.zst",
        "jsonl",
        "csv",
        "tsv.bz2",
        "arrow",
        "parquet",
    )
    for number, format in enumerate(kinds):
        (tmp_path / "data" / f"f{number}.{format}").write_bytes(archives.made(rows(3 * number, 3), format))
    return tmp_path


def test_every_file_of_a_mixed_folder_is_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "data" / "LICENSE").write_text("free")
    (folder / "data" / "_SUCCESS").write_text("")
    assert cli.main(["check", recipe(folder)]) == 0
    assert "the name tells no format (LICENSE)" in capsys.readouterr().out
    assert cli.main(["run", recipe(folder), "--run-dir", str(folder / "run"), "-q"]) == 0
    out = capsys.readouterr().out
    assert "d: 1 passed over: the name tells no format (LICENSE)" in out
    assert "d: 1 passed over: hidden or unfinished (_SUCCESS)" in out
    ledger = run_folders.ledger(folder / "run")
    assert sorted(row["id"] for row in ledger) == sorted(f"id-{n}" for n in range(30))
    assert all(row["kept"] for row in ledger)
    report = json.loads((folder / "run" / "report.json").read_text())
    assert {item["reason"] for item in report["passed_over"]["d"]} == {
        "the name tells no format",
        "hidden or unfinished",
    }
    assert "Files that were passed over" in (folder / "run" / "report.html").read_text()


def test_json_output_lists_what_was_passed_over(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "data" / "notes.txt").write_text("x")
    cli.main(["check", recipe(folder), "--json"])
    assert json.loads(capsys.readouterr().out)[0]["passed_over"][0]["count"] == 1
    cli.main(["run", recipe(folder), "--run-dir", str(folder / "run"), "--json-log"])
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["passed_over"]["d"][0]["examples"] == [str(folder / "data" / "notes.txt")]


def test_other_commands_read_them_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(folder / "data")
    assert cli.main(["dedup", data, "-o", str(folder / "out"), "-q", "--workers", "1"]) == 0
    assert cli.main(["minhash", data, "-o", str(folder / "signatures")]) == 0
    assert "30 signatures" in capsys.readouterr().out
    assert cli.main(["plan", recipe(folder), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["documents"]["datasets"]["d"]["documents"] == 30 if "documents" in plan else plan


@pytest.mark.parametrize("codec", CODECS)
def test_a_damaged_benchmark_stops_the_run(folder: Path, codec: str, capsys: pytest.CaptureFixture[str]) -> None:
    for format in (f"jsonl.{codec}", f"csv.{codec}"):
        path = folder / f"bench.{format}"
        whole = archives.made([{"question": PAGE.format(n % 9), "n": str(n)} for n in range(5000)], format)
        path.write_bytes(whole[: len(whole) // 2])
        stages = [{"use": "decontaminate", "benchmarks": [f"b={path}#question"]}]
        code = cli.main(["run", recipe(folder, stages=stages), "--run-dir", str(folder / format), "-q"])
        assert code == 1
        error = capsys.readouterr().err
        assert f"bench.{format}" in error
        assert "Stopped" not in error
        path.write_bytes(whole)
        assert cli.main(["run", recipe(folder, stages=stages), "--run-dir", str(folder / f"{format}-whole"), "-q"]) == 0


def test_a_damaged_input_stops_the_run_and_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("f0.jsonl.gz", "f6.csv", "f8.arrow", "f7.tsv.bz2"):
        path = folder / "data" / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-20] + (b',"' if name == "f6.csv" else b""))
        assert cli.main(["run", recipe(folder), "--run-dir", str(folder / f"run-{name}"), "-q"]) == 1
        assert name in capsys.readouterr().err
        path.write_bytes(whole)


def test_benchmarks_of_one_name_are_told_apart(folder: Path) -> None:
    for name, number in (("one", 1), ("two", 2)):
        (folder / name).mkdir()
        (folder / name / "test.jsonl").write_text(json.dumps({"q": PAGE.format(number)}) + "\n")
    benchmarks = [str(folder / "one" / "test.jsonl"), str(folder / "two" / "test.jsonl")]
    stages = [{"use": "decontaminate", "benchmarks": benchmarks, "max_items": 1, "short_ngram": 13, "ngram": 16}]
    cli.main(["run", recipe(folder, stages=stages), "--run-dir", str(folder / "run"), "-q"])
    found = {row["id"]: row["evidence"] for row in run_folders.ledger(folder / "run") if row["evidence"]}
    assert found["id-1"] == "one/test#0"
    assert found["id-2"] == "two/test#0"


def test_labelled_files_that_are_damaged_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = folder / "good.jsonl.gz"
    good.write_bytes(archives.made(rows(0, 3000), "jsonl.gz")[:-40])
    bad = folder / "bad.csv"
    bad.write_bytes(archives.made(rows(4000, 50), "csv"))
    model = str(folder / "m.bin")
    code = cli.main(["classifier", "train", "--positive", str(good), "--negative", str(bad), "-o", model])
    assert code == 1
    assert "good.jsonl.gz" in capsys.readouterr().err
    assert not (folder / "m.bin").exists()


def test_damaged_models_and_tokenizers_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = folder / "half.bin"
    model.write_bytes(struct.pack("<ii", 793712314, 12) + b"\0" * 20)
    stages = [{"use": "quality", "model": f"fasttext:{model}", "min_score": 0.5}]
    assert cli.main(["run", recipe(folder, stages=stages), "--run-dir", str(folder / "r1"), "-q"]) == 2
    assert "half.bin" in capsys.readouterr().err
    packed = folder / "half.ftz.gz"
    packed.write_bytes(compress(b"x" * 10_000, "gz")[:-9])
    stages = [{"use": "quality", "model": f"fasttext:{packed}", "min_score": 0.5}]
    assert cli.main(["run", recipe(folder, stages=stages), "--run-dir", str(folder / "r2"), "-q"]) == 2
    assert "half.ftz.gz cannot be read: the compressed file is truncated" in capsys.readouterr().err
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text('{"version": "1.0", "model"')
    made = recipe(folder, mix={"tokenizer": str(tokenizer)})
    assert cli.main(["run", made, "--run-dir", str(folder / "r3"), "-q"]) == 2
    assert "tokenizer.json" in capsys.readouterr().err


DAMAGE = [
    EOFError("Compressed file ended before the end-of-stream marker was reached"),
    EOFError(),
    zlib.error("Error -5"),
    lzma.LZMAError("Corrupt input data"),
    zstandard.ZstdError("zstd decompressor error"),
    struct.error("unpack requires a buffer of 4 bytes"),
    pa.ArrowInvalid("Not an Arrow file"),
]


@pytest.mark.parametrize("error", DAMAGE, ids=lambda e: f"{type(e).__module__}.{type(e).__name__}")
@pytest.mark.parametrize("command", [["check"], ["run", "-q", "--run-dir", "R"]])
def test_damage_is_never_an_interruption(
    folder: Path,
    error: Exception,
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.chdir(folder)
    monkeypatch.setattr(check, "check_recipe", fail)
    monkeypatch.setattr("pipelines.run.runner.run", fail)
    name, *flags = command
    assert cli.main([name, recipe(folder), *flags]) == 1
    err = capsys.readouterr().err
    assert "cut short or corrupt" in err
    assert "Stopped" not in err


def test_an_interruption_still_is_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.run.runner.run", interrupted)
    assert cli.main(["run", recipe(folder), "--run-dir", str(folder / "run"), "-q"]) == 130


def test_a_csv_without_a_first_row_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_bytes(b"")
    assert cli.main(["run", recipe(tmp_path), "--run-dir", str(tmp_path / "run"), "-q"]) == 1
    assert "a.csv" in capsys.readouterr().err
