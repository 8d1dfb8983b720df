"""Loader configurations give each dataset its share of tokens; the card says the type of every column."""

from __future__ import annotations

import runpy
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.mix.card import write_card
from pipelines.mix.loaders import Share, document_probabilities, shares_of
from pipelines.runfolder import open_run
from tests.support import exports, run_folders, small_runs

WEIGHTS = {"mode": "all_with_weights", "weights": {"a": 1, "b": 3, "c": 1}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = exports.small_run(tmp_path_factory.mktemp("loaders"), mix=WEIGHTS)
    write_card(str(made))
    return made


def test_probabilities_give_the_shares_of_tokens(run: Path) -> None:
    folder = open_run(str(run))
    shares = shares_of(folder, folder.counts)
    assert {name: one.share for name, one in shares.items()} == {"a": 0.2, "b": 0.6, "c": 0.2}
    found = document_probabilities(shares)
    assert abs(sum(found.values()) - 1) < 1e-12
    tokens = {}
    for name in shares:
        rows = [r for p in (run / "mix" / name).glob("part-*") for r in pq.read_table(p).to_pylist()]
        tokens[name] = found[name] * sum(r["num_tokens"] for r in rows) / len(rows)
    for name, one in shares.items():
        assert tokens[name] / sum(tokens.values()) == pytest.approx(one.share, abs=1e-6)


def test_a_drawn_mix_keeps_its_shares(tmp_path: Path) -> None:
    made = exports.small_run(tmp_path)
    folder = open_run(str(made))
    shares = shares_of(folder, folder.counts)
    total = sum(folder.mix_dataset(name)["tokens"] for name in folder.datasets)
    for name, one in shares.items():
        assert one.share == pytest.approx(folder.mix_dataset(name)["tokens"] / total)
        copies = sum(r["copies"] for r in run_folders.ledger(made) if r["dataset"] == name)
        assert one.mean_tokens == pytest.approx(folder.mix_dataset(name)["tokens"] / copies)


def test_long_documents_are_drawn_less_often() -> None:
    found = document_probabilities({"x": Share(share=0.5, mean_tokens=900), "y": Share(share=0.5, mean_tokens=100)})
    assert found == {"x": 0.1, "y": 0.9}


def test_configurations_are_written(run: Path, tmp_path: Path) -> None:
    folder = run / "mix" / "loaders"
    shares = {"a": 0.2, "b": 0.6, "c": 0.2}
    streams = yaml.safe_load((folder / "mosaicml.yaml").read_text())["train_loader"]["dataset"]["streams"]
    assert {name: stream["proportion"] for name, stream in streams.items()} == shares
    dataset = yaml.safe_load((folder / "nanotron.yaml").read_text())["data_stages"][0]["data"]["dataset"]
    assert dict(zip(dataset["dataset_folder"], dataset["dataset_weights"], strict=True)) == {
        f"EXPORTS/{name}": share for name, share in shares.items()
    }
    for name in ("litdata.py", "olmo_core.py", "megatron.py"):
        assert runpy.run_path(str(folder / name))["SHARES"] == shares
    for path in folder.glob("*.py"):
        compile(path.read_text(), str(path), "exec")
    for name, sizes in (("a", [300, 100]), ("b", [50]), ("c", [10])):
        (tmp_path / name).mkdir()
        for number, size in enumerate(sizes):
            (tmp_path / name / f"part-{number:05d}.bin").write_bytes(bytes(size))
    blend = runpy.run_path(str(folder / "megatron.py"))["blend"](str(tmp_path))
    assert [float(weight) for weight in blend[::2]] == pytest.approx([0.15, 0.05, 0.6, 0.2])
    assert blend[1::2] == [str(tmp_path / p) for p in ("a/part-00000", "a/part-00001", "b/part-00000", "c/part-00000")]


@pytest.mark.parametrize("form", ["parquet", "jsonl.zst"])
def test_the_card_names_the_type_of_every_column(tmp_path: Path, form: str) -> None:
    stages = [*small_runs.STAGES[:3], {**small_runs.STAGES[3], "datasets": ["b"]}]
    output = {"format": form, "columns": ["score"]}
    made = exports.small_run(tmp_path, stages=stages, output=output)
    write_card(str(made))
    head = yaml.safe_load((made / "mix" / "README.md").read_text().split("---")[1])
    infos = {info["config_name"]: {f["name"]: f["dtype"] for f in info["features"]} for info in head["dataset_info"]}
    assert set(infos) == {"default", "a", "b", "c"}
    for found in infos.values():
        assert found["text"] == found["id"] == found["language"] == "string"
        assert (found["quality_score"], found["score"], found["copies"]) == ("float64", "float64", "int32")
