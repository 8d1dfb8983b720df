"""Near deduplication: MinHash-LSH candidates, verified by true Jaccard; one document of each group is kept.

Guarantees: the same verdicts for every partitioning, order and worker count. In mode `representative`
every dropped document has a kept representative whose similarity reached the threshold. Every hop through the
exchange is resumable. Steps, in stages/dedup/near: buckets.py (bands -> buckets -> components), verify.py
(survivors, by true similarities where the estimate decides no pair).
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import ClassVar, Self

from cluster.engines import Engine
from stages.core.exchange_stage import is_complete
from stages.core.run import Run, StageRun
from stages.core.stage import param
from stages.dedup.dedup_stage import DedupStage
from stages.dedup.near.job import NearJob, Shingling
from stages.dedup.near.signatures import signatures_before
from stages.kernels.similarity.banding import probability, solve, warnings

MAX_SOLVED = 1024  # permutations for which bands are solved by areas: a second; four times as many take 20 s
RECALL_AT_THRESHOLD = 0.94  # solved bandings find at least this share of pairs at the threshold


@dataclass(frozen=True, kw_only=True)
class NearDedup(DedupStage):
    """Reads signatures, some text / Writes representatives / Drops near duplicates of a kept document."""

    jaccard_threshold: float | None = param(
        None, "similarity from which two documents are duplicates (not needed with verify: none)", ge=0, le=1
    )
    bands: int | None = param(None, "LSH bands; solved from the threshold if not given", ge=1, le=4096)
    rows_per_band: int | None = param(None, "signature slots in a band", ge=1, le=4096)
    solve: str = param(
        "recall",
        "how bands are solved. recall: for min_recall; area: the least false-positive and false-negative area",
        choices=("recall", "area"),
    )
    min_recall: float | None = param(
        None, "least share of pairs to find at recall_at (default: 0.94 at the threshold)", ge=0, le=1
    )
    recall_at: float | None = param(None, "similarity that min_recall is for (default: the threshold)", ge=0, le=1)
    verify: str = param(
        "exact",
        "exact: true Jaccard near the threshold; every: of every pair that may reach it, whatever signatures "
        "were forged; signature: its estimate; none: every bucket is a group",
        choices=("exact", "every", "signature", "none"),
    )
    mode: str = param(
        "representative",
        "representative: no transitive chains; component: a connected component is one group",
        choices=("representative", "component"),
    )
    further_tries: int = param(3, "kept bucket members tried after the first one", ge=0, le=1_000_000)
    max_component: int | None = param(None, "stop if more documents than this are connected", ge=2, guard=True)
    signatures: str = param("", "name of the minhash stage to use (default: the nearest one before)")

    use: ClassVar[str] = "near_dedup"
    version: ClassVar[int] = 3  # 1 compared wrong texts where a folder was refreshed twice, 2 trusted content hashes
    summary: ClassVar[str] = "drop near duplicates found by MinHash-LSH"
    drop_reason: ClassVar[str] = "near_duplicate"

    @property
    def threshold(self) -> float:
        return math.nan if self.jaccard_threshold is None else self.jaccard_threshold

    def validate(self) -> None:
        if self.jaccard_threshold is None and self.verify != "none":
            raise self.error("jaccard_threshold", None, "a number in [0, 1] unless verify is none", "Try 0.8.")
        if (self.bands is None) != (self.rows_per_band is None):
            raise self.error("bands and rows_per_band", (self.bands, self.rows_per_band), "given together")
        if self.bands is None and self.jaccard_threshold is None:
            raise self.error("bands", None, "given where there is no jaccard_threshold")
        if self.bands is not None and (self.min_recall is not None or self.solve == "area"):
            raise self.error("bands", self.bands, "left out where they are solved (min_recall, solve: area)")
        if self.min_recall is not None and self.solve == "area":
            raise self.error("min_recall", self.min_recall, "left out with solve: area")
        if self.recall_at is not None and self.min_recall is None:
            raise self.error("recall_at", self.recall_at, "given with min_recall")
        if self.mode == "representative" and self.verify == "none":
            raise self.error("mode", self.mode, "component where verify is none")

    def banding(self, num_permutations: int) -> tuple[int, int]:
        """Return (bands, rows_per_band): the given ones, or those solved from the threshold.

        By default the most rows in a band for which 1 - (1 - t^rows)^(k // rows) is at least `RECALL_AT_THRESHOLD`
        at the threshold t: 128 permutations at .8 give 16 x 8. With min_recall, the banding with the least
        false-positive area that keeps it; with solve: area, datasketch's optimum.
        """
        if self.bands is not None and self.rows_per_band is not None:
            if self.bands * self.rows_per_band > num_permutations:
                raise self.error(
                    "bands x rows_per_band",
                    f"{self.bands} x {self.rows_per_band}",
                    f"at most num_permutations ({num_permutations})",
                )
            return self.bands, self.rows_per_band
        if self.solve == "area" or self.min_recall is not None:
            if num_permutations > MAX_SOLVED:
                right = f"given with more than {MAX_SOLVED} permutations, for which solving takes too long"
                raise self.error("bands and rows_per_band", None, right)
            return solve(self.threshold, num_permutations, min_recall=self.min_recall, at=self.recall_at)
        for rows in range(num_permutations, 1, -1):
            if probability(self.threshold, num_permutations // rows, rows) >= RECALL_AT_THRESHOLD:
                return num_permutations // rows, rows
        return num_permutations, 1

    def notes(self, stage_run: StageRun[Self]) -> list[str]:
        """Say what signatures alone can promise, where the threshold asks them for more."""
        from stages.kernels.similarity.jaccard import FEW, passes

        k = self.job(stage_run).num_permutations
        if self.verify != "signature" or k * (1.0 - self.threshold) >= FEW:
            return []
        similarity = next(s / 1000 for s in range(1001) if passes(s / 1000, self.threshold, k) >= 0.05)
        return [
            f"{self.name}: verify is signature, so jaccard_threshold {self.threshold:g} holds for estimates from {k} "
            f"slots: one pair in 20 of true similarity {similarity:g} passes it. verify: exact compares the texts."
        ]

    def job(self, stage_run: StageRun[NearDedup]) -> NearJob:
        """Return what the tasks of this stage in a run are given. Raises RecipeError where it has no signatures."""
        place, signed = signatures_before(stage_run.run.stages[: stage_run.index], self.signatures, self.name)
        bands, rows_per_band = self.banding(signed.num_permutations)
        return NearJob(
            run=stage_run.run,
            index=stage_run.index,
            signatures_at=place,
            num_permutations=signed.num_permutations,
            least_slots=getattr(signed, "least_slots", signed.num_permutations),  # stages of others need not say
            hash_bits=signed.hash_bits,
            shingling=Shingling(width=signed.shingle_width, unit=signed.shingles, normalise=signed.normalise),
            bands=bands,
            rows_per_band=rows_per_band,
            threshold=self.threshold,
            verify=self.verify,
            mode=self.mode,
            further_tries=self.further_tries,
            max_component=self.max_component,
        )

    def resolve(self, engine: Engine, stage_run: StageRun[Self]) -> None:
        if is_complete(stage_run):
            return
        from stages.dedup.near import again, known_pairs, verify

        near = self.job(stage_run)
        if self.jaccard_threshold is not None:
            for text in warnings(near.bands, near.rows_per_band, self.threshold):
                logging.getLogger("winnow.near_dedup").warning("%s: %s", self.name, text)
        part = again.begin(engine, near)
        groups = again.group_candidates(engine, part)
        found = verify.choose_survivors(engine, part.near, groups) if groups else []
        again.write_decisions(engine, part, found)
        if groups and near.compares_texts:
            known_pairs.keep_pairs(engine, part.near, groups)
        again.keep(engine, part)


def near_job(run: Run, index: int) -> NearJob:
    """Return what the tasks of the near_dedup at `index` are given."""
    here: StageRun[NearDedup] = StageRun(run, index)
    return here.stage.job(here)
