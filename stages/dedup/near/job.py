"""`NearJob`: the context of one near_dedup for its tasks: place of the signatures, banding, threshold, mode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cluster import storage
from cluster.files.arrow_files import read_arrow
from cluster.outputs import Outputs
from stages.core.arrays import array
from stages.core.digests import digest
from stages.core.run import Run, StageRun
from stages.core.view import View
from stages.dedup.dedup_stage import DedupStage
from stages.dedup.near.signatures import signature_matrix


@dataclass(frozen=True, kw_only=True)
class Shingling:
    """The shingles that the true Jaccard similarity of two texts compares."""

    width: int  # of a shingle, in units
    unit: str  # characters or words
    normalise: str  # normalisation before shingling, one of NORMALISATIONS


@dataclass(frozen=True, kw_only=True)
class NearJob:
    """One near_dedup of a run with everything solved and looked up. Small, frozen, picklable."""

    run: Run
    index: int  # place of the stage in the run
    signatures_at: int  # place of the stage whose facts are the signatures
    num_permutations: int
    least_slots: int  # independent slots that estimate as well as those of a signature of few shingles
    hash_bits: int
    shingling: Shingling
    bands: int
    rows_per_band: int
    threshold: float  # NaN where nothing is verified
    verify: str  # exact, every, signature or none
    mode: str  # representative or component
    further_tries: int
    max_component: int | None = None
    again: Outputs | None = None  # files of the documents to be decided again, one per group of bundles; None: all
    documents: int | None = None  # to be decided at most; None: as many as there are

    @property
    def stage_run(self) -> StageRun[DedupStage]:
        """The stage in its run."""
        return StageRun(self.run, self.index)

    @property
    def name(self) -> str:
        """The stage's name in the recipe."""
        return self.stage_run.stage.name

    @property
    def compares_texts(self) -> bool:
        """Whether verdicts rest on true similarities, of pairs near the threshold or of all that may reach it."""
        return self.verify in ("exact", "every")

    @property
    def marks_sparse(self) -> bool:
        """Whether signatures of few shingles estimate worse than others, so that candidates are marked."""
        return self.least_slots < self.num_permutations

    @property
    def keeps_all_within(self) -> bool:
        """Whether documents of one dataset never drop each other."""
        return self.stage_run.stage.keeps_all_within

    def applies_to(self, dataset: str) -> bool:
        """Tell whether the stage works on documents of a dataset."""
        return self.stage_run.stage.applies_to(dataset)

    def folder(self, hop: str) -> str:
        """Return where the files of one hop of the exchange lie."""
        return self.stage_run.folder(hop)

    def rows(self, view: View, position: int) -> npt.NDArray[np.int64]:
        """Return the rows of the bundle at `position` that reach the stage and are to be decided, ascending."""
        if self.again is None:
            return np.flatnonzero(view.live(self.index))
        path = self.again[self.run.manifest.group_at(position)]
        if path is None:
            return np.empty(0, np.int64)
        home, row = self.run.manifest.locate(array(read_arrow(path), "doc").astype(np.int64))
        mine = np.sort(row[home == position])
        return mine[view.live(self.index)[mine]] if len(mine) else mine

    def signatures(self, view: View, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.unsignedinteger]:
        """Return the MinHash signatures of rows of a bundle, (rows, num_permutations)."""
        return signature_matrix(view.facts(self.signatures_at, rows))

    @property
    def pairs_folder(self) -> str:
        """Folder of verified pairs, named by the digest of what a true similarity depends on besides the texts."""
        how = self.shingling
        repaired = self.run.text_from(self.signatures_at)
        parts = () if repaired is None else (self.run.stages[repaired].fact_digest(),)
        address = digest("pairs", self.stage_run.stage.version, how.width, how.unit, how.normalise, *parts)
        return storage.join(self.run.root, "facts", "near_dedup", address)
