"""What only a GPU can prove: cuDF's own bits, every kernel's parity with the host, a whole recipe CPU == GPU.

Run with `make test-gpu` after installing an extra gpu-cu12 or gpu-cu13. The first test settles how cuDF forms
h * a + b in 32 bits: if it fails, near duplicates found on CPUs and GPUs differ, and nothing below it matters.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifiers import fasttext_model
from cluster.device import backend, halving
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from stages.implicit.read import Read
from stages.inputs import device_reader
from stages.inputs.reader import read_piece
from stages.kernels.dispatch.dispatch import HOST_KERNELS
from stages.kernels.hashes import hashing
from stages.kernels.hashes.hashing import buffers
from stages.kernels.hashes.text_digest import text_digest
from stages.kernels.similarity import bands, kmeans, minhash
from stages.kernels.survivors import components
from tests.stages.inputs.test_device_reader import WEB, rows_of, shard
from tests.stages.inputs.test_second_reads import seen
from tests.support import corpora, fasttext_variants

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]

DATA = Path(__file__).parent / "stages/kernels/data"
TEXTS = st.lists(st.text(max_size=200), max_size=40)
RANDOM = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def on_gpu() -> Iterator[backend.Device]:
    """Compute on this machine's first GPU; skip where there is none."""
    found = backend.probe()
    if found.problem or found.device is None:
        pytest.skip(f"no GPU: {found.problem}")
    backend.use("gpu")
    yield found.device
    backend.use("cpu")


def golden(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((DATA / name).read_text())
    return found


@pytest.mark.parametrize("name", ["minhash_predicted.json", "minhash_vectors.json"])
def test_cudf_computes_the_signatures_that_were_predicted(name: str) -> None:
    import cudf

    for case in golden(name):
        kind = np.uint32 if case["bits"] == 32 else np.uint64
        texts = cudf.Series.from_arrow(pa.array(case["strings"], pa.large_string()))
        method = texts.str.minhash if case["bits"] == 32 else texts.str.minhash64
        a, b = (cudf.Series(np.array(case[key], kind)) for key in ("a", "b"))
        found = method(seed=case["seed"], a=a, b=b, width=case["width"]).to_arrow().to_pylist()
        assert found == case["expected"], case


@RANDOM
@given(TEXTS, st.integers(2, 30), st.sampled_from([32, 64]))
def test_signatures_are_those_of_the_host(texts: list[str], width: int, bits: int) -> None:
    given_ = buffers(pa.array(texts, pa.large_string()))
    family = minhash.nemo_parameters(32, 42, bits)
    assert np.array_equal(
        minhash.signatures(*given_, family, width), HOST_KERNELS["signatures"](*given_, family, width)
    )


def test_signatures_of_very_long_texts_are_those_of_the_host() -> None:
    """From 256 KB on, cuDF has 64 blocks share a text and join their minima by atomics."""
    words = np.random.default_rng(5).integers(0, 26**4, 300_000)
    text = " ".join(np.base_repr(w, 36) + "é" * (w % 7 == 0) for w in words)
    texts = [text[: 1 << 18], "short", text, "", text[1 : (1 << 18) - 3]]
    given_ = buffers(pa.array(texts, pa.large_string()))
    for bits in (32, 64):
        family = minhash.nemo_parameters(128, 42, bits)
        assert np.array_equal(minhash.signatures(*given_, family, 24), HOST_KERNELS["signatures"](*given_, family, 24))


@RANDOM
@given(TEXTS, st.integers(2, 30))
def test_signatures_by_seeds_are_those_of_the_host(texts: list[str], width: int) -> None:
    given_ = buffers(pa.array(texts, pa.large_string()))
    seeds = minhash.zyda2_seeds(8)
    found = minhash.signatures_by_seeds(*given_, seeds, width)
    assert np.array_equal(found, HOST_KERNELS["signatures_by_seeds"](*given_, seeds, width))


@pytest.mark.parametrize("variant", fasttext_variants.VARIANTS)
def test_fasttext_models_judge_as_on_the_host(variant: str, tmp_path: Path) -> None:
    path = str(fasttext_variants.builder(tmp_path)(variant))
    texts = fasttext_variants.array(fasttext_variants.TEXTS * 50)
    model = fasttext_model.load(path)
    every = range(len(model.labels))
    found = [*model.best(texts), model.scores(texts, every)]
    backend.use("cpu")
    expected = [*model.best(texts), model.scores(texts, every)]
    for mine, theirs in zip(found, expected, strict=True):
        assert np.array_equal(mine, theirs)


@RANDOM
@given(TEXTS)
def test_content_hashes_are_those_of_the_host(texts: list[str]) -> None:
    given_ = buffers(pa.array(texts, pa.large_string()))
    for found, expected in zip(hashing.content_hash(*given_), HOST_KERNELS["content_hash"](*given_), strict=True):
        assert np.array_equal(found, expected)


@RANDOM
@given(TEXTS)
def test_text_digests_are_those_of_the_host(texts: list[str]) -> None:
    given_ = buffers(pa.array(texts, pa.large_string()))
    for found, expected in zip(text_digest(*given_), HOST_KERNELS["text_digest"](*given_), strict=True):
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("kind", [np.uint32, np.uint64])
def test_band_keys_are_those_of_the_host(kind: Any) -> None:
    signatures = np.random.default_rng(1).integers(0, np.iinfo(kind).max, (5000, 128), kind, endpoint=True)
    assert np.array_equal(bands.band_keys(signatures, 16, 8, 3, 5), HOST_KERNELS["band_keys"](signatures, 16, 8, 3, 5))


def test_records_of_the_exchange_are_those_of_the_host() -> None:
    rng = np.random.default_rng(6)
    signatures, doc = rng.integers(0, 3, (5000, 16), np.uint32), np.arange(5000) << 20
    found = bands.band_records(signatures, doc, 8, 2, 0, 8)
    expected = HOST_KERNELS["band_records"](signatures, doc, 8, 2, 0, 8)
    for give in (lambda x: x, lambda x: bands.shared_records(*x)):
        ours, theirs = (sorted(zip(*give(x), strict=True)) for x in (found, expected))
        assert ours == theirs


BROKEN = [b"\xff", b"\xed\xa0\x80", b"a\xe2\x82"]
ODD = ["plain", "", " \u3000\x1f", "naïve — 文字 🎉", None, "\u200b", "z" * 3000, "\t\n", *BROKEN]


@RANDOM
@given(st.lists(st.one_of(st.sampled_from(ODD), st.text(max_size=300)), max_size=60), st.integers(1, 20))
def test_texts_read_to_the_device_are_those_of_the_host(
    tmp_path_factory: pytest.TempPathFactory, texts: list[Any], group: int
) -> None:
    piece = shard(tmp_path_factory.mktemp("read") / "a.parquet", texts, group)
    found = list(device_reader.read(WEB, piece, ["text", "id", "url"]))
    expected = list(read_piece(WEB, piece, ["text", "id", "url"]))
    assert rows_of(found) == rows_of(expected)
    read = Read()
    ours, theirs = (pa.concat_tables([read.facts_of(batch) for batch in each] or [read.schema.empty_table()])
                    for each in (found, expected))  # fmt: skip
    names = ["status", "h1", "h2", "d1", "d2", "num_chars", "num_bytes"]
    assert ours.select(names).to_pylist() == theirs.select(names).to_pylist()
    if texts and not any(isinstance(text, bytes) for text in texts):
        assert all(batch.resident is not None for batch in found)


@RANDOM
@given(st.lists(st.one_of(st.sampled_from(ODD), st.text(max_size=300)), max_size=60), st.integers(1, 20), st.data())
def test_texts_that_the_device_reads_again_are_those_of_the_host(
    tmp_path_factory: pytest.TempPathFactory, texts: list[Any], group: int, data: st.DataObject
) -> None:
    piece = shard(tmp_path_factory.mktemp("again") / "a.parquet", texts, group)
    rows = sorted(data.draw(st.sets(st.sampled_from(range(len(texts)))))) if texts else []
    given = {"columns": ["text", "id"], "rows": np.array(rows, np.int64)}
    found = list(read_piece(WEB, piece, gather=device_reader.gather, **given))
    assert seen(found) == seen(list(read_piece(WEB, piece, **given)))


@pytest.mark.parametrize("edges", [1, 500, 5000])
def test_components_are_those_of_the_host(edges: int) -> None:
    rng = np.random.default_rng(edges)
    label = np.arange(5000, dtype=np.int64)
    expected = label.copy()
    for _ in range(3):
        left, right = rng.integers(0, 5000, (2, edges))
        components.join(label, left, right)
        HOST_KERNELS["join"](expected, left, right)
        assert np.array_equal(label, expected)


def test_kmeans_finds_the_centres_that_are_there_and_repeats_itself_nearly() -> None:
    rng = np.random.default_rng(4)
    centres = rng.normal(size=(5, 16)) * 10
    sample = (centres[rng.integers(0, 5, 2000)] + rng.normal(size=(2000, 16))).astype(np.float32)
    found = kmeans.kmeans(sample, 5, 7)
    assert np.allclose(found, kmeans.kmeans(sample, 5, 7), atol=1e-3)  # sums on a device may differ in the last bits
    distance = np.linalg.norm(found[:, None] - centres[None], axis=2)
    assert sorted(distance.argmin(axis=1).tolist()) == [0, 1, 2, 3, 4]


def test_a_part_too_large_for_the_device_is_halved(on_gpu: backend.Device) -> None:
    import cupy

    def work(start: int, stop: int) -> list[int]:
        cupy.empty((stop - start) * (on_gpu.memory // 4), cupy.uint8)
        return list(range(start, stop))

    assert halving.in_parts(work, 16) == list(range(16))


def test_semantic_duplicates_of_other_centroids_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """K-means differs between devices: how many verdicts does that change?"""
    rng = np.random.default_rng(8)
    vectors = rng.normal(size=(1500, 32))[rng.integers(0, 1500, 4000)] + rng.normal(size=(4000, 32)) * 0.15
    (tmp_path / "in").mkdir()
    table = pa.table({"text": [f"text {i}" for i in range(4000)], "v": vectors.tolist()})
    pq.write_table(table, tmp_path / "in" / "a.parquet")
    stages = [{"use": "semantic_dedup", "model": "column:v", "cosine_threshold": 0.9, "centroids": 8}]
    paths = {"web": str(tmp_path / "in")}
    kept = [
        ledger(tmp_path, paths, name, stages, {"text": "text"}, kind="inline", backend=name)["kept"].to_numpy()
        for name in ("gpu", "cpu")
    ]
    other = int((kept[0] != kept[1]).sum())
    dropped = int((~kept[1]).sum())
    with capsys.disabled():
        print(f"\nsemantic_dedup, 8 centroids: {other} of 4000 verdicts differ; the CPU drops {dropped}")
    assert other < 100


NEAR = {"use": "near_dedup", "jaccard_threshold": 0.7, "bands": 32, "rows_per_band": 4}
COLUMNS = {"text": "text", "id": "id", "url": "url"}
STAGES = [
    {"use": "exact_dedup"},
    {"use": "minhash", "shingle_width": 8},
    NEAR,
    {"use": "quality", "model": "column:score", "min_score": 0.3},
]


def ledger(
    root: Path, paths: dict[str, str], name: str, stages: list[dict[str, Any]], columns: Any = COLUMNS, **cluster: Any
) -> pa.Table:
    datasets = {key: {"paths": path, "columns": columns} for key, path in paths.items()}
    recipe = load_data({"name": "t", "datasets": datasets, "stages": stages, "cluster": cluster}, "test")
    runner.run(recipe, str(root / name), with_report=False)
    return pa.concat_tables([pq.read_table(p) for p in sorted((root / name / "ledger").glob("*.parquet"))])


@pytest.mark.parametrize("kind", ["inline", "local-cuda"])
def test_a_recipe_gives_the_same_ledger_on_cpu_and_gpu(tmp_path: Path, kind: str) -> None:
    paths = corpora.write(tmp_path / "in", corpora.corpus(9, 2000), 3)
    on_device = ledger(tmp_path, paths, "gpu", STAGES, kind=kind, backend="gpu")
    on_host = ledger(tmp_path, paths, "cpu", STAGES, kind="inline", backend="cpu")
    assert on_device.equals(on_host)
    assert on_host["kept"].to_pylist().count(False) > 100


def test_the_demo_gives_the_same_survivors_on_cpu_and_gpu(tmp_path: Path) -> None:
    """The demo recipe over the data that `make demo` builds; its models compute on the host, so facts are equal."""
    from pipelines.recipe.recipe import load_recipe

    root = Path(__file__).resolve().parent.parent
    if not (root / "demo-data").is_dir():
        pytest.skip("no demo-data: run `make demo` once")
    kept = []
    for name in ("cpu", "gpu"):
        recipe = load_recipe("demo", [f"cluster.backend={name}", "cluster.kind=inline"])
        runner.run(recipe, str(tmp_path / name), with_report=False)
        tables = [pq.read_table(p) for p in sorted((tmp_path / name / "ledger").glob("*.parquet"))]
        rows = pa.concat_tables(tables).select(["dataset", "path", "row", "kept", "reason", "representative"])
        kept.append(rows)
    assert kept[0].equals(kept[1])
