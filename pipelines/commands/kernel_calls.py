"""Calls that compile kernels as runs do: stages on a few texts, and a deduplication of them.

One function for each family of warmup.py, by its name. Each returns the documents that it looked at.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.errors import RecipeError
from stages.core.arrays import whole
from stages.core.stage import ShardStage
from stages.registry import stage_class


def _annotated(texts: list[str], use: str, **parameters: Any) -> int:
    documents = pa.table({"text": pa.array(texts, pa.large_string())})
    return int(_stage(use, **parameters).annotate(documents).num_rows)


def _stage(use: str, **parameters: Any) -> ShardStage:
    stage = stage_class(use)(**parameters)
    assert isinstance(stage, ShardStage)
    return stage


def deduplication(texts: list[str]) -> int:
    """Deduplicate the texts, one of them twice, as `winnow dedup` does; compare two as those beyond the cap are."""
    from pipelines.commands.dedup import dedup
    from stages.kernels.hashes.hashing import buffers
    from stages.kernels.similarity.jaccard import exact_pairs

    exact_pairs(*buffers(pa.array(texts[:2], pa.large_string())), [0], [1], 24, max_shingles=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.parquet"
        pq.write_table(pa.table({"text": [*texts, texts[0]]}), path)
        return dedup(str(path), str(Path(folder) / "out"), workers=1)["rows"]


def components(texts: list[str]) -> int:
    """Deduplicate the texts by connected components and signatures of 64 bits, in a run."""
    from pipelines.recipe.recipe import load_data
    from pipelines.run import runner

    stages = [{"use": "minhash", "hash_bits": 64}, {"use": "near_dedup", "jaccard_threshold": 0.8, "mode": "component"}]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.parquet"
        pq.write_table(pa.table({"text": texts}), path)
        data = {"datasets": {"d": {"paths": str(path)}}, "stages": stages, "cluster": {"kind": "inline"}}
        runner.run(load_data(data, "winnow warmup"), str(Path(folder) / "run"), with_report=False)
    return len(texts)


def signatures(texts: list[str]) -> int:
    """Sign the texts by the parameters that few recipes give."""
    from stages.kernels.similarity.minhash import is_sparse
    from stages.minhash import MinHash

    every = pa.array(texts, pa.large_string())
    for bits in (32, 64):
        is_sparse(MinHash(sketch="oph", hash_bits=bits).signatures(every))
    _annotated(texts, "minhash", shingles="words", shingle_width=5, hash_bits=64, normalise="digits")
    return _annotated(texts, "minhash", parameters="zyda2_seeds", shingle_width=25)


def semantics(texts: list[str]) -> int:
    """Choose survivors by cosine similarity, by both rules."""
    import numpy as np

    from stages.kernels.similarity import cosine
    from stages.kernels.survivors.candidates import Candidates

    count = len(texts)
    vectors, _ = cosine.unit(np.random.default_rng(0).normal(size=(count, 8)))
    who = Candidates(
        rank=np.arange(count),
        dataset=np.zeros(count, np.int32),
        protected=np.zeros(count, np.bool_),
        eligible=np.ones(count, np.bool_),
    )
    for order in (None, cosine.paper_order(vectors, who, "farthest")):
        cosine.survivors(vectors, who, keep_all=False, threshold=0.9, paper=order)
    return count


def repair(texts: list[str]) -> int:
    return _annotated(texts, "repair")


def heuristics(texts: list[str]) -> int:
    return _annotated(texts, "heuristics")


def pii(texts: list[str]) -> int:
    """Find personal data and write the texts without it."""
    from stages.core.edits import apply, merge

    documents = pa.table({"text": pa.array(texts, pa.large_string())})
    stage = _stage("pii")
    edits = merge([stage.edits(stage.annotate(documents))])
    return len(apply(whole(documents.column("text")), edits))


def fasttext(texts: list[str]) -> int:
    """Label and score by lid.176.ftz, if it was fetched; other models use the same kernels."""
    import numpy as np

    from classifiers import fasttext_model, models
    from classifiers.native_fasttext import features

    features.parse_entries(np.zeros(10, np.uint8), 1)
    try:
        path = models.resolve("fasttext:lid.176.ftz")
    except RecipeError:
        return 0
    fasttext_model.load(path).scores(pa.array(texts, pa.large_string()), [0])
    return _annotated(texts, "language_id", segment_chars=64)


def words(texts: list[str]) -> int:
    """Sign runs of words, hash whole texts as side files are looked up."""
    from stages.kernels.hashes.hashing import buffers, xxh64

    xxh64(*buffers(pa.array(texts, pa.large_string())), 0)
    return _annotated(texts, "minhash", shingles="words", shingle_width=5)


def lines(texts: list[str]) -> int:
    """Judge lines, count them over the corpus, look for n-grams."""
    import numpy as np

    from stages.kernels.text import fold, ngrams

    every = pa.array(texts, pa.large_string())
    keys = np.unique(ngrams.grams(every, 13, 5)[0])
    ngrams.search(every, keys, 13, (), ngrams.bitmap(keys))
    fold.lines(every, "words", "line", 1)
    return _annotated(texts, "line_rules")
