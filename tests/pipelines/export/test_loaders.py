"""Exports read by the libraries that they are for (`make test-loaders`, in an environment of its own).

Every token that a library hands out is compared with what its format's file holds by `tests/support/exports.py`, and
the documents with the tokenizer's own encoding of each text.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.export.megatron_order import MegatronOrder
from pipelines.export.trace import trace
from tests.support import exports
from tests.support.streaming_library import streaming_library

pytestmark = [pytest.mark.loaders, pytest.mark.filterwarnings("ignore")]
VOCABULARIES = [0, 70_000]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exports.small_run(tmp_path_factory.mktemp("loaders"))


def stored(out: Path, about: dict[str, Any]) -> np.ndarray:
    """Return all tokens of an export as its files hold them, (sequences, window)."""
    tokens = np.concatenate([exports.tokens_of_part(out, about, part) for part in exports.parts(out)])
    return tokens.astype(np.int64).reshape(-1, about["window"])


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("pack", ["none", "best_fit", "concat"])
def test_megatron_indexed_dataset(run: Path, tmp_path: Path, pack: str, vocabulary: int) -> None:
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    about = exports.make(run, tmp_path / "out", "megatron", pack=pack, vocabulary=vocabulary)
    documents, sequences = [], 0
    for part in exports.parts(tmp_path / "out"):
        dataset = IndexedDataset(str(tmp_path / "out" / part["path"].removesuffix(".bin")))
        tokens = exports.tokens_of_part(tmp_path / "out", about, part)
        assert np.concatenate([dataset[n] for n in range(len(dataset))]).tolist() == tokens.tolist()
        assert dataset.document_indices.tolist() == list(range(len(dataset) + 1))
        sequences += len(dataset)
        documents += [tuple(dataset[n].tolist()) for n in range(len(dataset))]
    assert sequences == about["sequences"]
    if pack == "none":
        wanted = exports.wanted(run, vocabulary)
        assert sorted(documents) == sorted(wanted.elements())


class _Tokenizer:
    """What a GPTDataset asks of a tokenizer."""

    eod = 400
    pad = -1
    vocab_size = 80_000
    unique_identifiers: dict[str, str] = {"class": "test"}  # noqa: RUF012


def gpt_dataset(prefix: str, samples: int | None, seed: int, cache: Path) -> Any:
    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
    from megatron.core.datasets.indexed_dataset import IndexedDataset
    from megatron.core.datasets.utils import Split

    config = GPTDatasetConfig(
        random_seed=seed,
        sequence_length=exports.WINDOW,
        blend=([prefix], None),
        split="1,0,0",
        path_to_cache=str(cache),
        tokenizer=_Tokenizer(),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
    )
    indexed = IndexedDataset(prefix)
    every = np.arange(len(indexed), dtype=np.int32)
    return GPTDataset(indexed, prefix, every, samples, Split.train, config)


@pytest.mark.parametrize("pack", ["none", "best_fit"])
@pytest.mark.parametrize("epochs", [None, 0.5, 1.3, 2.95])
def test_megatron_samples_are_those_that_trace_names(
    run: Path, tmp_path: Path, pack: str, epochs: float | None
) -> None:
    about = exports.make(run, tmp_path / "out", "megatron", pack=pack, shard_tokens=1 << 20)
    prefix = str(tmp_path / "out" / "part-00000")
    stored = about["tokens"] + about["padding_tokens"]
    samples = None if epochs is None else int(epochs * stored / exports.WINDOW)
    theirs = gpt_dataset(prefix, samples, 1234, tmp_path / "cache")
    ours = MegatronOrder(
        lengths=theirs.dataset.sequence_lengths.astype(np.int64),
        sequence_length=exports.WINDOW,
        seed=1234,
        samples=samples,
    )
    assert ours.count == len(theirs)
    for number in range(0, len(theirs), 7):
        text, sequences = theirs._query_document_sample_shuffle_indices(number)
        mine = np.concatenate([theirs.dataset.get(s, offset=f, length=n) for s, f, n in ours.sample(number)])
        assert mine.tolist() == text.tolist()
        assert set(sequences) >= {s for s, _, _ in ours.sample(number)}
    found = trace(str(tmp_path / "out"), step=2, batch_size=3, samples=samples)
    for number, sequence in zip(range(6, 9), found["sequences"], strict=True):
        item = theirs[number]
        tokens = [*item["tokens"].tolist(), int(item["labels"][-1])]
        tokenizer = exports.loaded(exports.tokenizer(run.parent))
        for piece in sequence["pieces"]:
            mine = tokens[piece["at"] : piece["at"] + piece["tokens"]]
            assert tokenizer.decode(mine, skip_special_tokens=True) == piece["text"]


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("pack", ["concat", "best_fit"])
def test_nanotron_reads_by_datatrove(run: Path, tmp_path: Path, pack: str, vocabulary: int) -> None:
    from datatrove.utils.dataset import DatatroveFolderDataset

    about = exports.make(run, tmp_path / "out", "nanotron", pack=pack, vocabulary=vocabulary)
    size = np.dtype(about["dtype"]).itemsize
    dataset = DatatroveFolderDataset(
        str(tmp_path / "out"), seq_len=exports.WINDOW, token_size=size, recursive=False, return_positions=True,
        filename_pattern="*.ds",
    )  # fmt: skip
    items = [dataset[n] for n in range(about["sequences"])]
    assert len(dataset) == about["sequences"]
    assert [item["input_ids"].tolist() for item in items] == stored(tmp_path / "out", about).tolist()
    rows = {p["part"]: p for p in exports.parts(tmp_path / "out")}
    for number in range(0, len(items), 11):  # positions begin anew at every document
        found = trace(str(tmp_path / "out"), sequence=number)["sequences"][0]
        starts = {piece["at"] for piece in found["pieces"]}
        zeros = set(np.flatnonzero(items[number]["positions"].numpy() == 0).tolist())
        assert starts <= zeros
    assert rows


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("pack", ["concat", "best_fit", "none"])
def test_olmo_core(run: Path, tmp_path: Path, pack: str, vocabulary: int) -> None:
    from olmo_core.data import NumpyFSLDataset

    about = exports.make(run, tmp_path / "out", "olmo", pack=pack, vocabulary=vocabulary)
    paths = sorted((tmp_path / "out").glob("*.npy"))
    masks = sorted((tmp_path / "out" / "label_mask").glob("*.npy")) or None
    dataset = NumpyFSLDataset(
        *paths, sequence_length=exports.WINDOW, pad_token_id=about["pad"], eos_token_id=about["eod"],
        vocab_size=80_000, dtype=getattr(np, about["dtype"]), label_mask_paths=masks, include_instance_metadata=False,
    )  # fmt: skip
    dataset.work_dir = tmp_path / "work"
    dataset.prepare()
    assert len(dataset) == about["sequences"]
    items = [dataset[n] for n in range(len(dataset))]
    if pack == "none":
        tokens = [exports.tokens_of_part(tmp_path / "out", about, part) for part in exports.parts(tmp_path / "out")]
        whole = [one[: len(one) // about["window"] * about["window"]] for one in tokens]
        assert np.concatenate(whole).tolist() == np.concatenate([i["input_ids"] for i in items]).tolist()
        return
    assert [i["input_ids"].tolist() for i in items] == stored(tmp_path / "out", about).tolist()
    assert sum(int((~i["label_mask"]).sum()) for i in items) == about["padding_tokens"]


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("pack", ["concat", "best_fit", "none"])
def test_mosaicml_streaming(run: Path, tmp_path: Path, pack: str, vocabulary: int) -> None:
    about = exports.make(run, tmp_path / "out", "mds", pack=pack, vocabulary=vocabulary)
    dataset = streaming_library().StreamingDataset(local=str(tmp_path / "out"), shuffle=False, batch_size=1)
    assert len(dataset) == about["sequences"]
    found = [dataset[n]["tokens"] for n in range(len(dataset))]
    assert found[0].dtype == np.dtype(about["dtype"])
    assert np.stack(found).tolist() == stored(tmp_path / "out", about).tolist()


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("pack", ["concat", "best_fit"])
def test_litdata(run: Path, tmp_path: Path, pack: str, vocabulary: int) -> None:
    from litdata import StreamingDataset, TokensLoader

    about = exports.make(run, tmp_path / "out", "litdata", pack=pack, vocabulary=vocabulary)
    dataset = StreamingDataset(
        str(tmp_path / "out"), item_loader=TokensLoader(block_size=exports.WINDOW), shuffle=False
    )
    assert len(dataset) == about["sequences"]
    found = [dataset[n].tolist() for n in range(len(dataset))]
    assert found == stored(tmp_path / "out", about).tolist()


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_hugging_face_datasets(run: Path, tmp_path: Path, vocabulary: int) -> None:
    import datasets

    about = exports.make(run, tmp_path / "out", "hf", pack="best_fit", vocabulary=vocabulary)
    found = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert found.num_rows == about["sequences"]
    assert found.features["input_ids"].feature.dtype == about["dtype"]
    assert found["input_ids"][:] == stored(tmp_path / "out", about).tolist()


def test_numpy(run: Path, tmp_path: Path) -> None:
    about = exports.make(run, tmp_path / "out", "olmo")
    for part in exports.parts(tmp_path / "out"):
        windows = np.memmap(tmp_path / "out" / part["path"], dtype=about["dtype"], mode="r").reshape(-1, exports.WINDOW)
        assert len(windows) == part["sequences"]
        assert json.loads(part["files"])
