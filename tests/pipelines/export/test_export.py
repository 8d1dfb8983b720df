"""Exports hold every token of every copy, in the bytes of each format, whatever the workers and the way of the text."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from cluster.errors import RecipeError
from pipelines.export import job as tasks
from pipelines.recipe.recipe import load_recipe
from pipelines.run import runner
from tests.support import exports, run_folders


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exports.small_run(tmp_path_factory.mktemp("export"))


@pytest.mark.parametrize(("format", "pack"), exports.PAIRS)
def test_every_token_of_every_copy_is_in_once(run: Path, tmp_path: Path, format: str, pack: str) -> None:
    about = exports.make(run, tmp_path / "out", format, pack=pack)
    wanted = exports.wanted(run)
    assert max(wanted.values()) > 1
    assert exports.documents_of(tmp_path / "out", about) == wanted
    assert about["tokens"] == sum(len(tokens) * many for tokens, many in wanted.items())
    assert about["copies"] == sum(wanted.values())
    assert about["dtype"] == "uint16"
    rows = exports.parts(tmp_path / "out")
    assert len(rows) > 2 or format in ("megatron", "nanotron", "olmo")
    stored = sum(len(exports.tokens_of_part(tmp_path / "out", about, part)) for part in rows)
    assert stored == about["tokens"] + about["padding_tokens"]


@pytest.mark.parametrize("format", ["megatron", "litdata", "hf"])
def test_large_vocabularies_take_four_bytes(run: Path, tmp_path: Path, format: str) -> None:
    about = exports.make(run, tmp_path / "out", format, vocabulary=70_000)
    assert about["dtype"] in ("uint32", "int32")
    assert exports.documents_of(tmp_path / "out", about) == exports.wanted(run, 70_000)


def test_windows_are_shuffled_and_documents_too(run: Path, tmp_path: Path) -> None:
    exports.make(run, tmp_path / "out", "olmo")
    order = np.concatenate(
        [
            pq.read_table(tmp_path / "out" / "trace" / f"part-{p['part']:05d}.parquet")["doc_id"].to_numpy()
            for p in exports.parts(tmp_path / "out")
        ]
    )
    assert np.mean(np.diff(order) > 0) < 0.7
    exports.make(run, tmp_path / "other", "olmo", seed=1)
    first, other = (tmp_path / name / "part-00000.npy" for name in ("out", "other"))
    assert first.read_bytes() != other.read_bytes()


def test_any_number_of_workers_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    exports.make(run, tmp_path / "one", "megatron", pack="best_fit")
    recipe = load_recipe(str(run / "recipe.lock.yaml"), ["cluster.kind=threads", "cluster.workers=3"])
    copied = run_folders.copy(run, tmp_path / "run")
    runner.run(recipe, str(copied), with_report=False)
    exports.make(copied, tmp_path / "three", "megatron", pack="best_fit")
    assert exports.files(tmp_path / "one") == exports.files(tmp_path / "three")


def test_without_the_mix_the_inputs_give_the_same_bytes(run: Path, tmp_path: Path) -> None:
    exports.make(run, tmp_path / "mix", "mds")
    bare = run_folders.copy(run, tmp_path / "bare", without=("mix",))
    exports.make(bare, tmp_path / "inputs", "mds")
    ours, theirs = exports.files(tmp_path / "mix"), exports.files(tmp_path / "inputs")
    for name in ("export.json",):  # which states the digest of where the texts came from
        ours.pop(name), theirs.pop(name)
    assert ours == theirs


@pytest.mark.parametrize("output", [{"format": "jsonl.zst"}, {"repeat": True, "shard_bytes": 20_000}])
def test_the_layout_of_the_mix_has_no_say(run: Path, tmp_path: Path, output: dict[str, Any]) -> None:
    exports.make(run, tmp_path / "plain", "nanotron")
    recipe = load_recipe(str(run / "recipe.lock.yaml"), [f"output.{k}={v}" for k, v in output.items()])
    copied = run_folders.copy(run, tmp_path / "run")
    runner.run(recipe, str(copied), with_report=False)
    exports.make(copied, tmp_path / "other", "nanotron")
    ours, theirs = exports.files(tmp_path / "plain"), exports.files(tmp_path / "other")
    ours.pop("export.json"), theirs.pop("export.json")
    assert ours == theirs


@pytest.mark.parametrize("layout", ["by_dataset", "interleaved"])
def test_one_dataset_alone(run: Path, tmp_path: Path, layout: str) -> None:
    recipe = load_recipe(str(run / "recipe.lock.yaml"), [f"output.layout={layout}"])
    copied = run_folders.copy(run, tmp_path / "run")
    runner.run(recipe, str(copied), with_report=False)
    for name in ("a", "b", "c"):
        exports.make(copied, tmp_path / name, "hf", dataset=name)
    each = [exports.documents_of(tmp_path / n, {"format": "hf", "dtype": "uint16"}) for n in "abc"]
    assert each[0] + each[1] + each[2] == exports.wanted(run)
    assert all(each)
    with pytest.raises(RecipeError, match="--dataset must be one of a, b, c"):
        exports.make(copied, tmp_path / "d", "hf", dataset="d")


def test_held_out_documents_are_an_export_of_their_own(run: Path, tmp_path: Path) -> None:
    about = exports.make(run, tmp_path / "out", "hf", split="holdout")
    wanted = exports.wanted(run, split="holdout")
    assert wanted
    assert exports.documents_of(tmp_path / "out", about) == wanted
    bare = run_folders.copy(run, tmp_path / "bare", without=("mix",))
    assert (
        exports.documents_of(tmp_path / "again", exports.make(bare, tmp_path / "again", "hf", split="holdout"))
        == wanted
    )


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("place", ["_tokenise", "_write_part"])
def test_a_killed_export_goes_on(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    exports.make(run, tmp_path / "whole", "litdata", pack="none")
    original, calls = getattr(tasks, place), []

    def failing(*arguments: Any) -> Any:
        calls.append(arguments[-1])
        if len(calls) == 3:
            raise _Killed
        return original(*arguments)

    monkeypatch.setattr(tasks, place, failing)
    with pytest.raises(_Killed):
        exports.make(run, tmp_path / "out", "litdata", pack="none")
    assert not (tmp_path / "out" / "export.json").exists()
    first = list(calls)
    exports.make(run, tmp_path / "out", "litdata", pack="none")
    assert not set(map(str, first[:2])) & set(map(str, calls[3:])), "finished tasks were done again"
    assert exports.files(tmp_path / "out") == exports.files(tmp_path / "whole")
    assert not (tmp_path / "out" / ".work").exists()


def test_another_export_is_never_written_over(run: Path, tmp_path: Path) -> None:
    exports.make(run, tmp_path / "out", "olmo")
    before = exports.files(tmp_path / "out")
    again = exports.make(run, tmp_path / "out", "olmo")
    assert exports.files(tmp_path / "out") == before
    assert again["sequences"] > 0
    with pytest.raises(RecipeError, match="holds another export"):
        exports.make(run, tmp_path / "out", "megatron")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(RecipeError, match="holds notes"):
        exports.make(run, tmp_path / "mine", "megatron")
    assert exports.files(tmp_path / "out") == before


def test_a_page_cannot_end_its_document(tmp_path: Path) -> None:
    from pipelines.export.tokens import encode, tokenizer_of

    tokenizer = tokenizer_of(exports.tokenizer_json(), "test")
    end = tokenizer.token_to_id(exports.EOD)
    tokens, sizes = encode(tokenizer, [f"one {exports.EOD} two", "word " * 100], "uint16")
    assert end not in tokens
    assert tokenizer.decode(tokens[: sizes[0]].tolist()) == f"one {exports.EOD} two"
    assert sizes[1] >= 100, "a truncation in the file was kept"


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"sequence_length": 0}, "--sequence-length must be from 1"),
        ({"eod": "<nothing>"}, "--eod: the tokenizer has no token '<nothing>'"),
        ({"shard_tokens": 10}, "--shard-tokens must be at least one window"),
        ({"pack": "worst_fit"}, "--pack must be one of concat, best_fit, none"),
        ({"format": "webdataset"}, "--format must be one of megatron"),
        ({"mix": "anneal"}, "no mix is called"),
    ],
)
def test_what_is_no_setting_is_said(run: Path, tmp_path: Path, more: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        exports.make(run, tmp_path / "out", **more)


def test_a_damaged_tokenizer_is_said(run: Path, tmp_path: Path) -> None:
    from pipelines.export.export import Wishes, export

    path = tmp_path / "tokenizer.json"
    path.write_bytes(exports.tokenizer_json()[:2000])
    with pytest.raises(RecipeError, match="is no whole tokenizer"):
        export(str(run), str(tmp_path / "out"), Wishes(format="olmo", tokenizer=str(path), sequence_length=8))
    with pytest.raises(RecipeError, match="does not exist"):
        export(str(run), str(tmp_path / "out"), Wishes(format="olmo", tokenizer="gone/t.json", sequence_length=8))


def test_megatron_index(run: Path, tmp_path: Path) -> None:
    about = exports.make(run, tmp_path / "out", "megatron", pack="none", shard_tokens=1 << 20)
    index = (tmp_path / "out" / "part-00000.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, sequences, documents = struct.unpack_from("<QBQQ", index, 9)
    assert (version, code, documents) == (1, 8, sequences + 1)
    lengths = np.frombuffer(index, "<i4", sequences, 34)
    assert sequences == about["copies"] == about["sequences"]
    pointers = np.frombuffer(index, "<i8", sequences, 34 + 4 * sequences)
    assert pointers.tolist() == (2 * (np.cumsum(lengths) - lengths)).tolist()
    assert (tmp_path / "out" / "part-00000.bin").stat().st_size == 2 * lengths.sum()


def test_lengths_of_documents_in_windows(run: Path, tmp_path: Path) -> None:
    exports.make(run, tmp_path / "out", "hf", pack="best_fit")
    for part in exports.parts(tmp_path / "out"):
        for row in pq.read_table(tmp_path / "out" / part["path"]).to_pylist():
            assert len(row["input_ids"]) == exports.WINDOW
            assert 0 < sum(row["seq_lengths"]) <= exports.WINDOW
            assert min(row["seq_lengths"]) > 0


def test_nanotron_document_ends(run: Path, tmp_path: Path) -> None:
    about = exports.make(run, tmp_path / "out", "nanotron", pack="none", shard_tokens=1 << 20)
    ends = np.frombuffer((tmp_path / "out" / "part-00000.ds.index").read_bytes(), "<u8")
    tokens = np.frombuffer((tmp_path / "out" / "part-00000.ds").read_bytes(), "<u2")
    assert (tokens[ends.astype(np.int64) - 1] == about["eod"]).all()
    assert (tokens == about["eod"]).sum() == len(ends)
    lines = (tmp_path / "out" / "part-00000.ds.metadata").read_text().split("\n")
    assert lines[0].endswith("|2")
    assert int(lines[1]) == about["tokens"]
