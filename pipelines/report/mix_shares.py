"""What each dataset gives to the mix, against what was wished."""

from __future__ import annotations

from pipelines.artefacts import MixDataset
from pipelines.report import tree
from pipelines.report.ledger_sums import LedgerSums
from pipelines.runfolder import RunFolder


def mix_shares(folder: RunFolder, sums: LedgerSums) -> tree.Mix:
    """Return documents and tokens of each dataset in the mix, its share, target and epochs."""
    wish = folder.recipe.get("mix") or {}
    total = sum(sums.datasets[name].mix.tokens for name in folder.datasets)
    weights = {name: float(w) for name, w in (wish.get("weights") or {}).items()}
    allowed = wish.get("max_epochs", 1.0)
    datasets: dict[str, tree.MixShare] = {}
    for name in folder.datasets:
        written = folder.mix_dataset(name)
        mine = sums.datasets[name]
        datasets[name] = {
            **mine.mix_tree(),
            "share": mine.mix.tokens / total if total else 0.0,
            "weight_share": weights.get(name, 0.0) / sum(weights.values()) if sum(weights.values()) else None,
            "available": mine.kept.as_tree(),
            "epochs": written.get("epochs"),
            "target_tokens": written.get("target_tokens"),
            "shortfall_tokens": written.get("shortfall_tokens"),
            "over_target_tokens": _over(mine.mix.tokens, written.get("target_tokens")),
            "rows": written.get("rows"),
            "bytes": written.get("bytes"),
            "max_epochs": allowed.get(name, 1.0) if isinstance(allowed, dict) else allowed,
            "holdout_documents": written.get("holdout_documents"),
            "holdout_tokens": _held_tokens(folder, name, written),
            "files": len(written.get("files") or []),
        }
    return {
        "mode": wish.get("mode") or folder.mix_manifest.get("mode"),
        "target_tokens": wish.get("target_tokens"),
        "documents": sum(sums.datasets[name].mix.documents for name in folder.datasets),
        "tokens": total,
        "datasets": datasets,
        "cells": [_cells(mix) for mix in map(folder.of_mix, folder.mixes) if mix.mix_manifest],
    }


def _over(tokens: int, target: int | None) -> int | None:
    return None if target is None else max(0, tokens - target)


def _held_tokens(folder: RunFolder, name: str, written: MixDataset) -> int | None:
    """Return the tokens of a dataset's held-out documents, from the list of the mix's files; None where it has none."""
    if not folder.mix_manifest:
        return None
    own = sum(f["tokens"] for f in written.get("files") or [] if "/holdout-" in f["path"])
    cells = [f.get("cells", {}).get(name, {}) for f in folder.mix_manifest.get("files") or []]
    return own + sum(found[""]["tokens"] for found in cells if "" in found)


def _cells(folder: RunFolder) -> tree.MixCells:
    """Return the cells of one mix, or its datasets where it has none."""
    manifest = folder.mix_manifest
    return {
        "name": folder.mix_name or None,
        "exclude": manifest.get("exclude") or [],
        "cells": manifest.get("cells") or {},
        "documents_in_no_cell": manifest.get("documents_in_no_cell") or 0,
        "holdout": manifest.get("holdout"),
    }
