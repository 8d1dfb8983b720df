"""mix/manifest.json: what lies in the mix, per dataset and file, with digests.

Guarantees: no times, so that the manifests of two runs can be compared byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cluster import storage
from cluster.sealed import write_public_json
from pipelines.artefacts import MixDataset, MixManifest
from pipelines.mix.files import MixFile
from pipelines.recipe.to_run import Prepared
from stages.core.digests import DATA_FORMAT
from stages.outcome.mixing import Portion


def write_mix_manifest(
    prepared: Prepared,
    shares: Mapping[str, Portion],
    files: Mapping[str, Sequence[MixFile]],
    warnings: Sequence[str] = (),
) -> None:
    """Commit mix/manifest.json.

    shares, files : what each dataset contributes, and what was written of it. warnings : what the mix could not be.
    """
    data: MixManifest = {
        "format": DATA_FORMAT,
        "name": prepared.name,
        "recipe_digest": prepared.digest,
        "manifest_digest": prepared.run.manifest_digest,
        "tokens_are": prepared.tokens_are,
        "mode": prepared.mix.mode,
        "warnings": list(warnings),
        "datasets": {name: _mix_dataset(portion, files[name]) for name, portion in shares.items()},
    }
    path = storage.join(prepared.run.root, "mix", "manifest.json")
    write_public_json(path, data)


def _mix_dataset(portion: Portion, files: Sequence[MixFile]) -> MixDataset:
    written = [f for f in files if "/part-" in f.path]
    tokens = sum(f.tokens for f in written)
    target = portion.target_tokens
    return {
        "documents": sum(f.documents for f in written),
        "rows": sum(f.rows for f in written),
        "tokens": tokens,
        "bytes": sum(f.bytes for f in written),
        "epochs": portion.epochs,
        "weight": portion.weight,
        "target_tokens": target,
        "shortfall_tokens": None if target is None else max(0, target - tokens),
        "survivors": {"documents": portion.documents, "tokens": portion.tokens},
        "holdout_documents": sum(f.documents for f in files if "/holdout-" in f.path),
        "files": [f.entry() for f in files],
    }
