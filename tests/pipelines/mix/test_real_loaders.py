"""The configurations in loaders/ run with the libraries that they are for (`make test-loaders`).

Each draws from a mix whose datasets have documents of different lengths, and gives every dataset its share of the
tokens, within the error of drawing; drawing documents by the weights alone would not.
"""

from __future__ import annotations

import copy
import importlib.abc
import importlib.machinery
import math
import random
import runpy
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pyarrow as pa
import pytest
import yaml

from pipelines.mix.card import write_card
from pipelines.mix.card_features import _feature
from pipelines.run import runner
from tests.support import corpora, exports, small_runs
from tests.support.streaming_library import streaming_library

pytestmark = [pytest.mark.loaders, pytest.mark.filterwarnings("ignore")]
WORDS = {"a": 20, "b": 160, "c": 60}
SHARES = {"a": 0.2, "b": 0.3, "c": 0.5}
WEIGHTS = {"mode": "all_with_weights", "weights": {"a": 2, "b": 3, "c": 5}}
COPIES = {"mode": "sample", "target_tokens": 60_000, "weights": {"a": 1, "b": 1, "c": 1}, "max_epochs": 4}
MOST = 4.5  # standard errors


def made(folder: Path, mix: dict[str, Any], seed: int = 11, **output: Any) -> Path:
    """Run a recipe over datasets of short, long and middling documents, of which one has no URL and no score."""
    random_ = random.Random(seed)
    documents = [
        {
            "dataset": name,
            "text": corpora.text(random_, random_.randint(words // 2, words * 3 // 2)),
            "id": f"{name}-{number}",
            "url": None if name == "a" else f"https://{name}.example/{number}",
            "score": random_.random(),
        }
        for name, words in WORDS.items()
        for number in range(150)
    ]
    paths = corpora.write(folder / "in", documents, 2)
    stages = [{"use": "exact_dedup"}, {"use": "quality", "model": "column:score", "datasets": ["b"]}]
    given = {"shard_bytes": 40_000, "holdout": 0.05, "columns": ["score"], **output}
    recipe = small_runs.recipe_of(paths, stages, mix=mix, output=given)
    runner.run(recipe, str(folder / "run"), with_report=False)
    write_card(str(folder / "run"))
    return folder / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("weights"), WEIGHTS)


@pytest.fixture
def place(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, in which the configurations look for EXPORTS."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "prepared"))
    return tmp_path


def exported(run: Path, place: Path, format: str, **more: Any) -> dict[str, dict[str, Any]]:
    """Export each dataset as the loaders' head says; return what export.json says of each."""
    return {name: exports.make(run, place / "EXPORTS" / name, format, dataset=name, **more) for name in SHARES}


def windows(place: Path, abouts: dict[str, dict[str, Any]]) -> dict[bytes, str]:
    """Return the dataset of every window of the exports, by the bytes of its tokens."""
    found = {}
    for name, about in abouts.items():
        out = place / "EXPORTS" / name
        for part in exports.parts(out):
            for row in exports.tokens_of_part(out, about, part).reshape(-1, about["window"]):
                found[row.astype(np.int64).tobytes()] = name
    return found


def drawn(tokens: Iterable[Any], known: dict[bytes, str]) -> Counter[str]:
    """Return how many windows came from each dataset; every window must be one of the files'."""
    return Counter(known[np.asarray(row).astype(np.int64).tobytes()] for row in tokens)


def check_shares(draws: Iterable[tuple[str, int]], wanted: dict[str, float] = SHARES, most: float = MOST) -> float:
    """Compare shares of the tokens in draws of (dataset, tokens) with what is wanted; return the largest error."""
    names, tokens = zip(*draws, strict=True)
    weight, which = np.array(tokens, float), np.array(names)
    worst = 0.0
    for name, share in wanted.items():
        mine = which == name
        found = weight[mine].sum() / weight.sum()
        error = math.sqrt(((weight * (mine - share)) ** 2).sum()) / weight.sum()  # of a ratio of sums
        assert error < 0.05, f"{len(weight)} draws tell nothing"
        assert abs(found - share) < most * error + 1e-9, (name, found, share, error)
        worst = max(worst, abs(found - share))
    return worst


def of_windows(counts: Counter[str]) -> list[tuple[str, int]]:
    return [(name, exports.WINDOW) for name, count in counts.items() for _ in range(count)]


def huggingface(run: Path) -> dict[str, Any]:
    return runpy.run_path(str(run / "mix" / "loaders" / "huggingface.py"))


@pytest.mark.parametrize("form", ["parquet", "jsonl.zst"])
@pytest.mark.parametrize("streaming", [True, False])
def test_hugging_face_draws_documents_at_the_shares(
    place: Path, form: str, streaming: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = made(tmp_path_factory.mktemp("hf"), WEIGHTS, format=form)
    module = huggingface(run)
    rows = list(module["load"](streaming=streaming, seed=3))
    assert len(rows) > 450
    check_shares((row["source"], row["num_tokens"]) for row in rows)
    assert {row["url"] for row in rows if row["source"] == "a"} == {None}
    assert {row["quality_score"] is None for row in rows if row["source"] != "b"} == {True}
    with pytest.raises(AssertionError):  # documents by the weights alone: too much of the long ones
        check_shares((row["source"], row["num_tokens"]) for row in by_weights(module, streaming))
    held = list(module["load"](split="holdout", streaming=streaming))
    assert 5 < len(held) < 60
    assert len({row["doc_id"] for row in held}) == len(held)


def by_weights(module: dict[str, Any], streaming: bool) -> Any:
    from datasets import interleave_datasets, load_dataset

    parts = [load_dataset(module["ROOT"], name, split="train", streaming=streaming) for name in SHARES]
    return interleave_datasets(parts, probabilities=list(SHARES.values()), seed=3, stopping_strategy="all_exhausted")


@pytest.mark.parametrize("repeat", [True, False])
@pytest.mark.parametrize("layout", ["by_dataset", "interleaved"])
@pytest.mark.parametrize("form", ["parquet", "jsonl.zst"])
def test_load_dataset_gives_every_copy(tmp_path: Path, place: Path, form: str, layout: str, repeat: bool) -> None:
    from datasets import Value, load_dataset

    run = made(tmp_path / "copies", COPIES, format=form, layout=layout, repeat=repeat)
    ledger = small_runs.read_ledger(run).to_pylist()
    wanted = Counter({row["doc_id"]: row["copies"] for row in ledger if row["copies"]})
    assert max(wanted.values()) > 1
    plain = load_dataset(str(run / "mix"), split="train")
    if repeat:
        assert Counter(plain["doc_id"]) == wanted
    else:
        assert dict(zip(plain["doc_id"], plain["copies"], strict=True)) == dict(wanted)
    module = huggingface(run)
    assert Counter(module["copies_of"](plain)["doc_id"]) == wanted
    if layout == "interleaved":
        assert Counter(row["doc_id"] for row in module["load"]()) == wanted
    else:
        third = dict.fromkeys(SHARES, 1 / 3)
        check_shares(((row["source"], row["num_tokens"]) for row in module["load"](seed=1)), third)
    assert load_dataset(str(run / "mix"), split="holdout").column_names == plain.column_names
    known = plain.info.features
    assert known["text"] == known["url"] == Value("string")
    assert (known["quality_score"], known["score"]) == (Value("float64"), Value("float64"))


def test_a_stray_file_and_another_mix_are_not_loaded_as_this_one(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets import load_dataset
    from datasets.utils.info_utils import NonMatchingSplitsSizesError

    one, other = (made(tmp_path / name, WEIGHTS, format="jsonl.zst", seed=seed) for name, seed in (("p", 1), ("q", 2)))
    first = load_dataset(str(one / "mix"), split="train")
    assert set(load_dataset(str(other / "mix"), split="train")["text"]).isdisjoint(first["text"])
    (stray,) = sorted((other / "mix" / "a").glob("part-*"))[:1]
    shutil.copy(stray, one / "mix" / "a" / "part-00099.jsonl.zst")
    shutil.rmtree(Path(first.cache_files[0]["filename"]).parents[2])
    assert load_dataset(str(one / "mix"), split="train")["text"] == first["text"]
    assert len(list(load_dataset(str(one / "mix"), split="train", streaming=True))) == len(first)
    monkeypatch.setattr("pipelines.mix.card_files.NAMED", 3)  # as for a mix of very many files
    write_card(str(one))
    with pytest.raises(NonMatchingSplitsSizesError):
        load_dataset(str(one / "mix"), split="train")
    (one / "mix" / "a" / "part-00099.jsonl.zst").unlink()
    assert load_dataset(str(one / "mix"), split="train")["text"] == first["text"]


def test_torchtitan_trains_on_the_shares(run: Path, place: Path) -> None:
    from torchtitan.hf_datasets.text_datasets import HuggingFaceTextDataset

    module = runpy.run_path(str(run / "mix" / "loaders" / "torchtitan.py"))
    module["register"]()
    known = {row["text"]: (row["source"], row["num_tokens"]) for row in huggingface(run)["load"]()}

    class Tokenizer:
        """Gives a document as many tokens as the mix counts, all the number of its dataset."""

        drawn: list[tuple[str, int]] = []  # noqa: RUF012

        def encode(self, text: str, add_bos: bool, add_eos: bool) -> list[int]:
            source, count = known[text]
            self.drawn.append((source, count))
            return [ord(source)] * (count + 1)  # of which the last is a label only

    dataset = HuggingFaceTextDataset("winnow_mix", None, Tokenizer(), seq_len=128, infinite=True)
    tokens: Counter[int] = Counter()
    stream = iter(dataset)
    for _ in range(600):
        inputs, _ = next(stream)
        tokens.update(inputs["input"].tolist())
    check_shares(Tokenizer.drawn)
    total = sum(tokens.values())
    for name, share in SHARES.items():
        assert tokens[ord(name)] / total == pytest.approx(share, abs=0.1)
    state = copy.deepcopy(dataset.state_dict())  # as a checkpoint is written
    ahead = [next(stream)[0]["input"].tolist() for _ in range(5)]
    resumed = HuggingFaceTextDataset("winnow_mix", None, Tokenizer(), seq_len=128, infinite=True)
    resumed.load_state_dict(state)
    again = iter(resumed)
    assert [next(again)[0]["input"].tolist() for _ in range(5)] == ahead


def test_megatron_blends_prefixes_at_the_shares(run: Path, place: Path) -> None:
    import torch
    from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
    from megatron.core.datasets.utils import get_blend_from_list

    abouts = exported(run, place, "megatron", pack="concat")
    program = run / "mix" / "loaders" / "megatron.py"
    said = subprocess.run([sys.executable, program, "EXPORTS"], check=True, capture_output=True, text=True).stdout
    assert len(said.split()) // 2 == sum(about["parts"] for about in abouts.values()) > 3
    config = GPTDatasetConfig(
        random_seed=7,
        sequence_length=exports.WINDOW,
        blend=get_blend_from_list(said.split()),
        split="1,0,0",
        path_to_cache=str(place / "cache"),
        tokenizer=NoTokenizer(),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
    )
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        blended = BlendedMegatronDatasetBuilder(GPTDataset, [900, 0, 0], lambda: True, config).build()[0]
    finally:
        torch.distributed.destroy_process_group()
    prefixes = [dataset.dataset.path_prefix for dataset in blended.datasets]
    names = [Path(prefix).parent.name for prefix in prefixes]
    counts = Counter(names[int(blended[n]["dataset_id"])] for n in range(900))
    for name, share in SHARES.items():  # the blend is not random
        assert counts[name] == pytest.approx(900 * share, abs=len(prefixes))


class NoTokenizer:
    """What a GPTDataset asks of a tokenizer."""

    eod = 400
    pad = -1
    vocab_size = 80_000
    unique_identifiers: dict[str, str] = {"class": "test"}  # noqa: RUF012


def test_mosaicml_draws_streams_at_the_shares(run: Path, place: Path) -> None:
    streaming = streaming_library()
    known = windows(place, exported(run, place, "mds"))
    given = yaml.safe_load((run / "mix" / "loaders" / "mosaicml.yaml").read_text())["train_loader"]["dataset"]
    streams = [streaming.Stream(**stream) for stream in given["streams"].values()]  # as LLM Foundry makes them
    streaming.base.util.clean_stale_shared_memory()
    size = 2000
    dataset = streaming.StreamingDataset(
        streams=streams, shuffle=given["shuffle"], batch_size=1, epoch_size=size, num_canonical_nodes=1
    )
    counts = drawn((row["tokens"] for row in dataset), known)
    assert sum(counts.values()) == size
    for name, share in SHARES.items():  # samples are shared out, not drawn
        assert counts[name] == pytest.approx(size * share, abs=2)


def test_litdata_draws_datasets_at_the_shares(run: Path, place: Path) -> None:
    known = windows(place, exported(run, place, "litdata"))
    load = runpy.run_path(str(run / "mix" / "loaders" / "litdata.py"))["load"]
    counts: Counter[str] = Counter()
    for seed in range(4):
        counts += drawn((row.numpy() for row in load("EXPORTS", exports.WINDOW, seed=seed)), known)
    assert sum(counts.values()) > 400
    check_shares(of_windows(counts))


def test_olmo_core_mixes_sources_at_the_shares(run: Path, place: Path) -> None:
    from olmo_core.data import NumpyFSLDatasetConfig, TokenizerConfig
    from olmo_core.data.source_mixture import SourceMixtureDatasetConfig
    from olmo_core.data.types import NumpyDatasetDType

    abouts = exported(run, place, "olmo")
    known = windows(place, abouts)
    sources = runpy.run_path(str(run / "mix" / "loaders" / "olmo_core.py"))["sources"]("EXPORTS", max_repetition=4.0)
    size = 800
    mixture = SourceMixtureDatasetConfig(
        source_list=sources,
        requested_tokens=size * exports.WINDOW,
        global_batch_size=8 * exports.WINDOW,
        seed=1,
        render_tables=False,
    )
    about = abouts["a"]
    config = NumpyFSLDatasetConfig.from_src_mix(
        mixture,
        sequence_length=exports.WINDOW,
        tokenizer=TokenizerConfig(vocab_size=80_000, eos_token_id=about["eod"], pad_token_id=about["pad"]),
        dtype=getattr(NumpyDatasetDType, about["dtype"]),
        work_dir=str(place / "work"),
    )
    dataset = config.build()
    dataset.prepare()
    counts = drawn((dataset[n]["input_ids"].numpy() for n in range(len(dataset))), known)
    files = sum(about["parts"] for about in abouts.values())
    assert size <= sum(counts.values()) <= size + files
    for name, share in SHARES.items():  # files are rounded to whole windows
        assert counts[name] == pytest.approx(size * share, abs=files)


def test_nanotron_reads_the_folders(run: Path, place: Path) -> None:
    from datatrove.utils.dataset import DatatroveFolderDataset

    abouts = exported(run, place, "nanotron")
    stages = yaml.safe_load((run / "mix" / "loaders" / "nanotron.yaml").read_text())["data_stages"]
    given = stages[0]["data"]["dataset"]
    assert dict(zip(given["dataset_folder"], given["dataset_weights"], strict=True)) == {
        f"EXPORTS/{name}": pytest.approx(share) for name, share in SHARES.items()
    }
    for name, about in abouts.items():
        dataset = DatatroveFolderDataset(
            f"EXPORTS/{name}", exports.WINDOW, filename_pattern="*.ds", recursive=False, token_size=2, shuffle=True
        )
        assert len(dataset) == about["sequences"]


class CudaOnly(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for the kernels that nanotron imports with its configuration, and that are built with CUDA alone."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        mine = name.partition(".")[0] in ("flash_attn", "grouped_gemm")
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if mine else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Any:
        return MagicMock(name=spec.name, __spec__=spec, __path__=[], __version__="2.6")

    def exec_module(self, module: Any) -> None:
        pass


def test_nanotron_draws_folders_at_the_shares(run: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, CudaOnly()])
    reason = "the package index has no nanotron that reads tokens: see the Makefile"
    config = pytest.importorskip("nanotron.config", reason=reason, exc_type=ImportError)
    if not hasattr(config, "NanosetDatasetsArgs"):
        pytest.skip(reason)
    from dacite import Config, from_dict
    from nanotron.data.nanoset import build_nanoset_index_helper

    abouts = exported(run, place, "nanotron")
    given = yaml.safe_load((run / "mix" / "loaders" / "nanotron.yaml").read_text())["data_stages"]
    first = next((place / "EXPORTS" / "a").glob("*.metadata")).read_text().splitlines()[0]
    name, size = first.split("|")  # a tokenizer that is a file, as the configuration's comment says
    given[0]["data"]["dataset"] |= {"tokenizer_name": name, "token_size_in_bytes": int(size), "vocab_size": 401}
    (stage,) = [from_dict(config.DatasetStageArgs, one, Config(strict=True)) for one in given]
    data = stage.data.dataset
    assert isinstance(data, config.NanosetDatasetsArgs)
    names = [Path(folder).name for folder in data.dataset_folder]
    sizes = np.array([abouts[name]["sequences"] for name in names])
    index, _ = build_nanoset_index_helper(900, np.array(data.dataset_weights), sizes)
    counts = Counter(names[n] for n in index.astype(int).tolist())
    for name, share in SHARES.items():
        assert counts[name] == pytest.approx(900 * share, abs=2)


INNER = pa.struct([("a", pa.string()), ("n", pa.int64())])
TYPES = [
    *(pa.string(), pa.null(), pa.bool_(), pa.uint16(), pa.float32(), pa.binary(), pa.date32(), pa.time64("us")),
    *(pa.decimal128(20, 3), pa.duration("ms"), pa.timestamp("us", tz="UTC"), pa.timestamp("s"), INNER),
    *(pa.list_(pa.int64()), pa.list_(INNER), pa.list_(pa.list_(pa.float32())), pa.struct([("x", pa.list_(INNER))])),
]


def test_datasets_reads_the_types_that_the_card_names() -> None:
    from datasets import Features

    schema = pa.schema([(f"column{n}", kind) for n, kind in enumerate(TYPES)])
    assert Features._from_yaml_list([_feature(field) for field in schema]).arrow_schema.types == schema.types
