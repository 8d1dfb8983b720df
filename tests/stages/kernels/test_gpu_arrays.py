"""What a GPU can prove without RAPIDS: array code on CuPy against the host's kernels, a transformer's scores.

`pytest -m gpu tests/stages/kernels/test_gpu_arrays.py` needs CuPy, its last test torch and transformers;
`make test-gpu` runs it too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.kernels.dispatch.dispatch import HOST_KERNELS
from stages.kernels.dispatch.space import Space
from stages.kernels.gpu import array_kernels, rapids_kernels
from stages.kernels.similarity import bands, cosine, minhash
from stages.kernels.survivors.candidates import Candidates
from tests.stages.inputs.test_device_reader import INVALID, encoded

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]

RANDOM = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
PARTS = st.lists(st.one_of(st.text(max_size=6).map(str.encode), st.binary(max_size=4), st.sampled_from(INVALID)))


@pytest.fixture
def device() -> Space:
    """The space of this machine's first GPU; skip where there is none."""
    cupy = pytest.importorskip("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("no GPU: CuPy finds no device")
    return rapids_kernels.space()


@pytest.mark.parametrize("kind", [np.uint32, np.uint64])
def test_band_keys_and_records_are_those_of_the_host(device: Space, kind: Any) -> None:
    assert {bands, minhash}  # they register their kernels
    rng = np.random.default_rng(1)
    wide = rng.integers(0, np.iinfo(kind).max, (5000, 128), kind, endpoint=True)
    assert np.array_equal(array_kernels.band_keys(device, wide, 8, 3, 5), HOST_KERNELS["band_keys"](wide, 16, 8, 3, 5))
    few, doc = rng.integers(0, 3, (5000, 16), kind), np.arange(5000) << 40
    found, expected = (
        array_kernels.band_records(device, few, doc, 2, 0, 8),
        HOST_KERNELS["band_records"](few, doc, 8, 2, 0, 8),
    )
    shared = array_kernels.shared_records(device, *found), HOST_KERNELS["shared_records"](*expected)
    for ours, theirs in ((found, expected), shared):
        assert sorted(zip(*ours, strict=True)) == sorted(zip(*theirs, strict=True))
        assert (ours[0][1:] >= ours[0][:-1]).all()


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_few_records_are_no_special_case(device: Space, rows: int) -> None:
    keys, doc = np.full(rows, 2**64 - 1, np.uint64), np.arange(rows)
    found = array_kernels.shared_records(device, keys, doc)
    assert [sorted(part.tolist()) for part in found] == [
        part.tolist() for part in HOST_KERNELS["shared_records"](keys, doc)
    ]


@RANDOM
@given(PARTS)
def test_utf8_is_judged_as_python_does(device: Space, parts: list[bytes]) -> None:
    valid = [part.decode(errors="ignore").encode() == part for part in parts]
    assert array_kernels.well_formed(device, *encoded(parts, device)) == all(valid)


def test_cosine_survivors_are_those_of_the_host(device: Space) -> None:
    rng = np.random.default_rng(3)
    vectors, _ = cosine.unit(rng.normal(size=(40, 64))[rng.integers(0, 40, 3000)] + rng.normal(size=(3000, 64)) * 0.3)
    flags = rng.random((2, 3000)) < [[0.05], [0.8]]
    rank, dataset = rng.permutation(3000), rng.integers(0, 3, 3000).astype(np.int32)
    who = Candidates(rank=rank, dataset=dataset, protected=flags[0], eligible=flags[1])
    for keep_all in (False, True):
        how: dict[str, Any] = {"keep_all": keep_all, "threshold": 0.9}
        expected = cosine.survivors(vectors, who, **how)
        assert np.array_equal(cosine.survivors(vectors, who, **how, space=device), expected)
        assert (expected >= 0).any()
    assert np.array_equal(cosine.nearest(vectors, vectors[:50], device), cosine.nearest(vectors, vectors[:50]))


def test_neural_scores_near_a_threshold_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A transformer computes in half precision on a GPU: how many documents change sides of the median score?"""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    if not torch.cuda.is_available():
        pytest.skip("no GPU: torch finds no device")
    from classifiers.hf_model import HuggingFaceClassifier

    words = [f"w{i}" for i in range(200)]
    save_model(tmp_path, words, torch, transformers)
    rng = np.random.default_rng(2)
    texts = pa.array([" ".join(rng.choice(words, rng.integers(1, 300))) for _ in range(2000)], pa.large_string())
    scores = [HuggingFaceClassifier(str(tmp_path), device=device).score(texts).value for device in ("cuda", "cpu")]
    assert np.ptp(scores[1]) > 0.01  # else every score is near the median
    middle = float(np.median(scores[1]))
    other = int(((scores[0] >= middle) != (scores[1] >= middle)).sum())
    most = np.abs(scores[0] - scores[1]).max()
    with capsys.disabled():
        print(f"\nhf: model: {other} of 2000 documents change sides; scores differ by {most:.4f} at most")
    assert other < 200


def save_model(folder: Path, words: list[str], torch: Any, transformers: Any) -> None:
    """Write a small BERT with random weights, and a tokenizer that knows these words."""
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", *words])}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]")
    assert made("w0 w1")["input_ids"] == [2, 3]
    made.save_pretrained(folder)
    torch.manual_seed(1)
    config = transformers.BertConfig(vocab_size=202, hidden_size=64, num_hidden_layers=2, num_attention_heads=4)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
