"""manifest.json of a mix: what lies in it, per dataset, cell and file, with digests.

Guarantees: no times, so that the manifests of two runs can be compared byte for byte.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from cluster import storage
from cluster.files.sealed import write_public_json
from pipelines.artefacts import CellCount, HoldoutSimilarity, MixCell, MixDataset, MixManifest
from pipelines.mix.files import MixFile
from pipelines.mix.job import MixJob
from pipelines.recipe.output import INTERLEAVED
from pipelines.recipe.to_run import Prepared
from stages.core.digests import DATA_FORMAT
from stages.outcome.cell_shares import CellShare
from stages.outcome.holdout_similarity import Similarity
from stages.outcome.mixing import Portion


@dataclass(frozen=True, kw_only=True)
class WrittenMix:
    """One mix that was written: what its cells and datasets give, what survived of these, and its files.

    portions: of the datasets where they are the cells. left: (documents, tokens) that are in no cell. files: of each
    dataset, or all under `INTERLEAVED`.
    """

    job: MixJob
    shares: Mapping[str, CellShare]
    portions: Mapping[str, Portion]
    survivors: Mapping[str, tuple[int, int]]
    left: tuple[int, int]
    files: Mapping[str, Sequence[MixFile]]
    similarity: Similarity | None = None

    @functools.cached_property
    def _counted(self) -> dict[str, dict[str, CellCount]]:
        """What all files hold, by dataset and cell ("": held out)."""
        found: dict[str, dict[str, CellCount]] = {}
        for file in (f for files in self.files.values() for f in files):
            for dataset, cells in file.cells.items():
                mine = found.setdefault(dataset, {})
                for cell, counted in cells.items():
                    _add(mine.setdefault(cell, _nothing()), counted)
        return found

    def counts(self, dataset: str, cell: str | None = None) -> CellCount:
        """Return what was written of a dataset, or of one of its cells; "": held out."""
        cells, total = self._counted.get(dataset, {}), _nothing()
        for name in filter(None, cells) if cell is None else [cell]:
            _add(total, cells.get(name, _nothing()))
        return total

    def of_cell(self, cell: str) -> CellCount:
        """Return what was written of a cell."""
        total = _nothing()
        for dataset in self.survivors:
            if self.job.counts_cells:
                _add(total, self.counts(dataset, cell))
            elif dataset == cell:
                for file in _main(self.files[dataset]):
                    _add(total, {"documents": file.documents, "rows": file.rows, "tokens": file.tokens})
        return total


def _nothing() -> CellCount:
    return {"documents": 0, "rows": 0, "tokens": 0}


def _add(total: CellCount, more: CellCount) -> None:
    total["documents"] += more["documents"]
    total["rows"] += more["rows"]
    total["tokens"] += more["tokens"]


def write_mix_manifest(prepared: Prepared, mix: WrittenMix, warnings: Sequence[str] = ()) -> dict[str, MixCell]:
    """Commit the manifest of a mix; return its cells. warnings : what the mix could not be."""
    cells = {name: _mix_cell(share, mix.of_cell(name)) for name, share in mix.shares.items()}
    wish = mix.job.mix
    data: MixManifest = {
        "format": DATA_FORMAT,
        "name": prepared.name,
        "recipe_digest": prepared.digest,
        "manifest_digest": prepared.run.manifest_digest,
        "tokens_are": prepared.tokens_are,
        "mode": wish.mode,
        "layout": mix.job.output.layout,
        "repeat": bool(mix.job.output.repeat),
        "warnings": list(warnings),
        "datasets": {name: _mix_dataset(mix, name) for name in mix.survivors},
        "cells": cells,
    }
    if wish.name:
        data["mix"] = wish.name
    if wish.exclude:
        data["exclude"] = list(wish.exclude)
    if wish.cells:
        data["documents_in_no_cell"], data["tokens_in_no_cell"] = mix.left
    if mix.similarity:
        data["holdout"] = cast(HoldoutSimilarity, dataclasses.asdict(mix.similarity))
    if mix.job.interleaved:
        data["files"] = [file.entry() for file in mix.files[INTERLEAVED]]
    write_public_json(storage.join(mix.job.root, "manifest.json"), data)
    return cells


def _mix_cell(share: CellShare, written: CellCount) -> MixCell:
    wanted = share.wanted
    levels = zip(share.factors, share.documents, share.tokens, share.epochs, strict=True)
    return {
        "weight": share.weight,
        "tokens_wanted": wanted,
        "documents_available": sum(share.documents),
        "tokens_available": share.available,
        "documents_written": written["documents"],
        "rows_written": written["rows"],
        "tokens_written": written["tokens"],
        "epochs": share.mean_epochs,
        "max_epochs": share.max_epochs,
        "tokens_over": 0 if wanted is None else max(0, written["tokens"] - wanted),
        "tokens_under": 0 if wanted is None else max(0, wanted - written["tokens"]),
        "digest": share.content,
        "levels": [
            {"factor": factor, "documents": documents, "tokens": tokens, "epochs": epochs}
            for factor, documents, tokens, epochs in levels
        ]
        if len(share.factors) > 1
        else [],
    }


def _main(files: Iterable[MixFile]) -> list[MixFile]:
    """Return the files of the training part."""
    return [f for f in files if "/part-" in f.path]


def _mix_dataset(mix: WrittenMix, name: str) -> MixDataset:
    files = [] if mix.job.interleaved else list(mix.files[name])
    written = _main(files)
    held = sum(f.documents for f in files if "/holdout-" in f.path)
    counts: CellCount = {
        "documents": sum(f.documents for f in written),
        "rows": sum(f.rows for f in written),
        "tokens": sum(f.tokens for f in written),
    }
    if mix.job.interleaved:
        counts, held = mix.counts(name), mix.counts(name, "")["documents"]
    portion, survivors = mix.portions.get(name), mix.survivors[name]
    target = portion.target_tokens if portion else None
    entry: MixDataset = {
        **counts,
        "bytes": sum(f.bytes for f in written),
        "epochs": portion.epochs if portion else counts["tokens"] / survivors[1] if survivors[1] else 0.0,
        "weight": portion.weight if portion else None,
        "target_tokens": target,
        "shortfall_tokens": None if target is None else max(0, target - counts["tokens"]),
        "survivors": {
            "documents": portion.documents if portion else survivors[0],
            "tokens": portion.tokens if portion else survivors[1],
        },
        "holdout_documents": held,
        "files": [f.entry() for f in files],
    }
    return entry
