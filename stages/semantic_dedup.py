"""Semantic deduplication by embeddings: SemDeDup (Abbas et al. 2023, arXiv:2303.09540).

Embeddings are facts; k-means on a sample splits the space; documents of one centroid are compared pair by pair.
Beyond `clusters.CHILDREN` centroids k-means grows a tree of them in many tasks (stages/dedup/clusters.py).
Guarantees: given the embeddings, the same verdicts for every partitioning, order, block size and worker count: the
sample is chosen by content hash and sorted, and cosines are exact (kernels/cosine.py), which is why
`similarity_kind` is exact: the true cosine of the stored vectors. Two similar documents on either side of a border
between centroids are compared with `borders: true` only (stages/dedup/borders.py). Memory: the sample in
one task (SAMPLE_PER_CENTROID vectors for each of up to CHILDREN centroids, in single precision); the documents of one
destination, half precision, in another.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifiers import embeddings
from cluster.engines import Engine
from cluster.errors import RecipeError
from cluster.exchange import Exchange
from cluster.seed import DEFAULT_SEED
from stages.core.arrays import array, whole
from stages.core.costs import per_bundle
from stages.core.exchange_stage import is_complete, mark_complete
from stages.core.run import Run, StageRun
from stages.core.stage import ShardStage, Stage, param
from stages.core.view import View
from stages.dedup import borders, promotion
from stages.dedup.centroid_counts import centroids_for, compare_cost, destination_count, fit_cost, receive_cost
from stages.dedup.clusters import (
    CHILDREN,
    PART,
    SAMPLE,
    SAMPLE_PER_CENTROID,
    Growing,
    grow,
    read_tree,
    sorted_part,
)
from stages.dedup.dedup_stage import (
    EXACT,
    DedupStage,
    candidate_schema,
    candidates,
    chosen_among,
    verdicts,
    write_decisions,
)
from stages.inputs.vectors import VECTOR, column_vectors, to_column, to_matrix
from stages.kernels.dispatch.space import space
from stages.kernels.hashes.hashing import mix64
from stages.kernels.similarity import cosine
from stages.kernels.similarity.kmeans import kmeans

I64 = npt.NDArray[np.int64]
COLUMN = "column:"
KINDS = "onnx:FOLDER, sentence-transformers:PATH_OR_ID or column:NAME"

SAMPLE_SEED = 3


@dataclass(frozen=True, kw_only=True)
class Embedding(ShardStage):
    """Reads text, or an input column / Writes unit vectors in half precision / Drops nothing."""

    model: str = param("", "embedding model, or a column that holds vectors", fact=True)
    max_tokens: int = param(256, "tokens of a text that the model sees", fact=True, ge=2, le=1_000_000)

    use: ClassVar[str] = "embedding"
    hidden: ClassVar[bool] = True
    schema: ClassVar[pa.Schema] = pa.schema([("embedding", VECTOR)])  # null: no direction, compared with nothing

    @property
    def costly(self) -> bool:
        return not self.model.startswith(COLUMN)

    def columns(self) -> tuple[str, ...]:
        return (self.model,) if self.model.startswith(COLUMN) else ("text",)

    def model_digest(self) -> str:
        return "" if self.model.startswith(COLUMN) else embeddings.digest_of(self.model)

    @property
    def neural(self) -> bool:
        return not self.model.startswith(COLUMN)

    def annotate(self, documents: pa.Table) -> pa.Table:
        if not documents.num_rows:
            return self.schema.empty_table()
        if self.model.startswith(COLUMN):
            unit = cosine.unit(column_vectors(documents.column(self.model), self.model))
        else:
            settings = embeddings.Settings(spec=self.model, max_tokens=self.max_tokens)
            unit = cosine.unit(embeddings.load(settings).embed(whole(documents.column("text"))))
        return pa.table([to_column(*unit)], schema=self.schema)


@dataclass(frozen=True, kw_only=True)
class SemanticDedup(DedupStage):
    """Reads embeddings / Writes representatives / Drops documents close in meaning to a better one.

    A document is dropped iff a kept, eligible one before it in the total order, of the same centroid, has a
    cosine similarity of at least `cosine_threshold` to it.

    `mode: paper` is the rule of SemDeDup (Abbas et al. 2023, arXiv:2303.09540v3, section 3 and algorithm A7): a
    document is dropped iff any eligible one before it is that similar, dropped or not. Documents come in the order of
    `first`, after the datasets' priority: farthest from the mean of their centroid's documents (the paper's choice),
    nearest, or the total order. The representative in the ledger is the kept document to which the chain of dropped
    ones leads; its similarity may be below the threshold.
    """

    model: str = param("", KINDS, fact=True, metavar="SPEC")
    cosine_threshold: float = param(0.9, "cosine similarity from which two documents mean the same", ge=-1, le=1)
    max_tokens: int = param(256, "tokens of a text that the model sees", fact=True, ge=2, le=1_000_000)
    centroids: int | None = param(
        None,
        "k-means centroids; only documents of the same one are compared (default: one per 10,000)",
        ge=1,
        le=1_000_000,
    )
    borders: bool = param(False, "compare a document with those of its second-nearest centroid too")
    seed: int = param(DEFAULT_SEED, "seed of k-means", ge=0, le=2**32 - 1)
    mode: str = param(
        "kept",
        "what drops a document: a similar one before it that is kept, or any (SemDeDup's rule)",
        choices=("kept", "paper"),
    )
    first: str = param(
        "farthest",
        "mode paper: which documents of a centroid come first: farthest from its mean, nearest, or total order",
        choices=("farthest", "nearest", "order"),
    )

    use: ClassVar[str] = "semantic_dedup"
    summary: ClassVar[str] = "drop documents that mean the same, by embeddings"
    drop_reason: ClassVar[str] = "semantic_duplicate"

    @property
    def threshold(self) -> float:
        return self.cosine_threshold

    def validate(self) -> None:
        if self.borders and self.mode == "paper":
            raise self.error("borders", True, "left out with mode: paper, whose order is one of each centroid's own")
        if self.model.startswith(COLUMN) and len(self.model) > len(COLUMN):
            return
        try:
            embeddings.split_spec(self.model)
        except RecipeError:
            raise self.error("model", self.model, KINDS) from None

    def companions(self) -> tuple[Stage, ...]:
        name = f"{self.name}.embedding"
        return (Embedding(name=name, datasets=self.datasets, model=self.model, max_tokens=self.max_tokens),)

    def model_digest(self) -> str:
        return self.companions()[0].model_digest()

    def resolve(self, engine: Engine, stage_run: StageRun[Self]) -> None:
        if is_complete(stage_run):
            return
        documents = _documents(engine, stage_run)
        found = _compare(engine, stage_run, documents) if documents > 1 else []
        write_decisions(engine, stage_run, found)
        mark_complete(stage_run, engine)


# --- finding -------------------------------------------------------------------------------------------


def _live(stage_run: StageRun[SemanticDedup], view: View) -> I64:
    applies = stage_run.stage.applies_to(view.bundle.dataset)
    return np.flatnonzero(view.live(stage_run.index)) if applies else np.empty(0, np.int64)


def _embedded(stage_run: StageRun[SemanticDedup], view: View) -> tuple[I64, pa.ChunkedArray]:
    """Return the live rows of a bundle that have an embedding, and the embeddings."""
    rows = _live(stage_run, view)
    if not len(rows):
        return rows, pa.chunked_array([], VECTOR)
    column = view.facts(view.run.index(f"{stage_run.stage.name}.embedding"), rows).column("embedding")
    has = column.is_valid()
    return rows[has.to_numpy()], column.filter(has)


def _documents(engine: Engine, stage_run: StageRun[SemanticDedup]) -> int:
    """Return the number of documents with an embedding. Raises RecipeError if none has, or their lengths differ."""
    live, documents, seen, stage = 0, 0, dict[int, str](), stage_run.stage
    counts = engine.map(partial(_count, stage_run), stage_run.positions, cost=COUNT)
    for dataset, rows, count, dimensions in counts:
        live, documents = live + rows, documents + count
        for size in dimensions:
            seen.setdefault(size, dataset)
    if live and not documents:
        raise RecipeError(
            f"{stage.name}: none of {live:,} documents has an embedding in {stage.model}. "
            "Correct the column's name, or embed with a model."
        )
    if len(seen) > 1:
        each = ", ".join(f"{size} numbers in {dataset}" for size, dataset in sorted(seen.items()))
        raise RecipeError(
            f"{stage.name}: embeddings must have one length, got {each}. Name a column that every dataset "
            "filled with the same model, or limit the stage with `datasets`."
        )
    return documents


COUNT = per_bundle("count embeddings")


def _count(stage_run: StageRun[SemanticDedup], position: int) -> tuple[str, int, int, list[int]]:
    view = View.at(stage_run.run, position)
    rows, column = _embedded(stage_run, view)
    sizes = whole(column).value_lengths().unique().to_pylist() if len(rows) else []
    return view.bundle.dataset, len(_live(stage_run, view)), len(rows), sizes


def _compare(engine: Engine, stage_run: StageRun[SemanticDedup], documents: int) -> Sequence[str | None]:
    """Compare documents of the same centroid; return the files of verdicts, one per destination."""
    given, positions = stage_run.stage.centroids, stage_run.positions
    clusters, count = given or centroids_for(documents), destination_count(given, documents)
    centroids = _centroids(engine, stage_run, clusters, documents) if clusters > 1 else None
    across = stage_run.stage.borders and centroids is not None
    in_rounds = across or promotion.is_needed(stage_run)
    hop = Exchange(
        folder=stage_run.folder("candidates" if in_rounds else "centroids"),
        destinations=count,
        schema=_schema(stage_run.run, across=across),
        route="destination",
    )
    receive = _receive if in_rounds else partial(_resolve, stage_run)
    emit, compare = partial(_emit, stage_run, centroids, count, across), compare_cost(given)
    cost = receive_cost(given) if in_rounds else compare
    found = hop.run(engine, positions, emit, receive, emit_cost=EMIT, receive_cost=cost)
    if across:
        return borders.decide(engine, stage_run, found, stage_run.stage.cosine_threshold, cost=compare)
    if not in_rounds:
        return found
    return promotion.decide_in_rounds(engine, stage_run, found, partial(_decide, stage_run), cost=compare)


def _centroids(engine: Engine, stage_run: StageRun[SemanticDedup], clusters: int, documents: int) -> str | None:
    """Return the file of the centroids: of k-means in one task, or of a tree where they are many."""
    stage, positions = stage_run.stage, stage_run.positions
    share = min(1.0, clusters * SAMPLE_PER_CENTROID / documents)
    emit = partial(_emit_sample, stage_run, share)
    if clusters <= CHILDREN:
        sample = Exchange(folder=stage_run.folder("sample"), destinations=1, schema=SAMPLE)
        fit, cost = partial(_fit, clusters, stage.seed), fit_cost(stage.centroids)
        return sample.run(engine, positions, emit, fit, emit_cost=SAMPLE_VECTORS, receive_cost=cost)[0]
    # Keys fill the first `share` of the range, which is cut into equal parts.
    parts = max(1, round(share * documents / PART))
    sample = Exchange(folder=stage_run.folder("sample"), destinations=max(1, round(parts / share)), schema=SAMPLE)
    found = sample.run(engine, positions, emit, sorted_part, emit_cost=SAMPLE_VECTORS, receive_cost=PREPARE)
    growing = Growing(folder=stage_run.folder("tree"), share=share, per_leaf=documents / clusters)
    return grow(engine, growing, found, documents)


# --- what it costs ---------------------------------------------------------------------------------------

SAMPLE_VECTORS = per_bundle("sample embeddings")
PREPARE = per_bundle("sort sampled embeddings")
EMIT = per_bundle("send documents to centroids")


def _schema(run: Run, *, across: bool) -> pa.Schema:
    fields = [("destination", pa.int32()), ("centroid", pa.int32()), ("embedding", VECTOR)]
    return pa.schema([*fields, *(borders.FIELDS if across else ()), *candidate_schema(run)])


def _emit_sample(stage_run: StageRun[SemanticDedup], share: float, position: int) -> Iterable[pa.Table]:
    """Yield the embeddings of a sample: documents whose content hash falls into the share."""
    view = View.at(stage_run.run, position)
    rows, column = _embedded(stage_run, view)
    key = mix64(array(view.read, "h1").astype(np.uint64)[rows], SAMPLE_SEED)
    chosen = pa.array(key.astype(np.float64) < share * 2.0**64)
    yield pa.table([pa.array(key).filter(chosen), column.filter(chosen)], schema=SAMPLE)


def _fit(clusters: int, seed: int, _: int, table: pa.Table) -> pa.Table | None:
    """Return the centroids, as unit vectors; none where the sample holds fewer than two vectors."""
    vectors = to_matrix(table.column("embedding"))
    if len(vectors) < 2:
        return None
    rows = np.ascontiguousarray(vectors).view(np.dtype((np.void, vectors.shape[1] * 2))).reshape(-1)
    vectors = vectors[np.unique(rows, return_index=True)[1]]  # each vector once, in an order of its own
    found = kmeans(vectors.astype(np.float32), min(clusters, len(vectors)), seed)
    centroids, good = cosine.unit(found)
    return pa.table({"embedding": to_column(centroids[good], good[good])})


def _emit(
    stage_run: StageRun[SemanticDedup], centroids: str | None, count: int, across: bool, position: int
) -> Iterable[pa.Table]:
    """Yield the live documents of a bundle as candidates, routed to the destination of their nearest centroid.

    across : to that of the second-nearest one too.
    """
    view = View.at(stage_run.run, position)
    rows, column = _embedded(stage_run, view)
    if not len(rows):
        return
    nearest = second = np.zeros(len(rows), np.int32)
    if centroids is not None:
        nearest, second = read_tree(centroids).descend(to_matrix(column), second_too=across)
    documents, schema = candidates(stage_run, view, rows), _schema(view.run, across=across)
    columns: list[Any] = [pa.array(nearest % np.int32(count)), pa.array(nearest), column]
    if not across:
        yield pa.table([*columns, *documents.columns], schema=schema)
        return
    yield pa.table([*columns, *borders.sides(nearest, second, count, home=True), *documents.columns], schema=schema)
    away = pa.array(second != nearest)
    columns = [pa.array(second % np.int32(count)), pa.array(second), column]
    sides = borders.sides(second, nearest, count, home=False)
    yield pa.table([*columns, *sides, *documents.columns], schema=schema).filter(away)


def _receive(_: int, table: pa.Table) -> pa.Table | None:
    return table.combine_chunks() if table.num_rows > 1 else None


def _resolve(stage_run: StageRun[SemanticDedup], _: int, table: pa.Table) -> pa.Table | None:
    found = _decide(stage_run, table).verdicts
    return found if found.num_rows else None


def _decide(stage_run: StageRun[SemanticDedup], table: pa.Table) -> promotion.Decided:
    """Choose survivors among the candidates of a destination, centroid by centroid."""
    centroid = array(table, "centroid")
    order = np.argsort(centroid, kind="stable")
    bounds = np.flatnonzero(np.r_[True, np.diff(centroid[order]) != 0, True][: len(order) + 1])
    winner, similarity = np.full(len(order), -1, np.int64), np.zeros(len(order))
    for start, stop in itertools.pairwise(bounds):
        if stop - start > 1:
            rows = order[start:stop]
            won, cosines = _survivors(stage_run, table.take(pa.array(rows)))
            lost = np.flatnonzero(won >= 0)
            winner[rows[lost]], similarity[rows[lost]] = rows[won[lost]], cosines
    lost = np.flatnonzero(winner >= 0)
    doc = array(table, "doc").astype(np.int64)
    found = verdicts(doc[lost], doc[winner[lost]], similarity[lost], np.full(len(lost), EXACT))
    return promotion.Decided(winner, centroid, found)


def _survivors(stage_run: StageRun[SemanticDedup], table: pa.Table) -> tuple[I64, npt.NDArray[np.float64]]:
    """Return (representative of each document of a centroid, -1 where kept; cosines of the dropped ones)."""
    stage = stage_run.stage
    vectors = to_matrix(table.column("embedding"))
    chosen = chosen_among(stage_run.run, table)
    order = None if stage.mode == "kept" else cosine.paper_order(vectors, chosen, stage.first)
    winner = cosine.survivors(
        vectors,
        chosen,
        keep_all=stage.keeps_all_within,
        threshold=stage.cosine_threshold,
        space=space(),
        paper=order,
    )
    lost = np.flatnonzero(winner >= 0)
    return winner, cosine.pair_cosines(vectors, winner[lost], lost)
