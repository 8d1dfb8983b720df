"""Ready configurations of training loaders, beside the mix: each draws the datasets at the mix's shares of tokens.

A loader of texts draws documents, so a dataset of long ones is drawn less often: its probability is proportional to
share / mean tokens. A loader of windows draws windows of one length, so its probability is the share itself. Loaders of
windows read exports of one dataset each (`winnow export RUN --dataset NAME -o EXPORTS/NAME`).

Guarantees: made from the manifest and the ledger's counts alone, without dates or paths. Memory: the counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from cluster import storage
from pipelines.mix.loader_texts import HUGGINGFACE, LITDATA, MEGATRON, NANOTRON, OLMO, TORCHTITAN, WINDOWS
from pipelines.runfolder import Counts, RunFolder

DIGITS = 10


@dataclass(frozen=True, kw_only=True)
class Share:
    """A dataset's share of the training tokens, and the mean tokens of its documents as a loader draws them."""

    share: float
    mean_tokens: float


def write_loaders(folder: RunFolder, counts: Mapping[str, Counts]) -> None:
    """Write the configurations into loaders/ of the mix; none where it holds no document. counts: by dataset."""
    shares = shares_of(folder, counts)
    root = storage.join(folder.mix_folder, "loaders")
    for name, text in (loader_files(folder, shares) if shares else {}).items():
        storage.write_bytes(storage.join(root, name), text.encode())


def shares_of(folder: RunFolder, counts: Mapping[str, Counts]) -> dict[str, Share]:
    """Return what each dataset gives: by the weights where the mix only records them, else as the mix was drawn."""
    entries = {n: e for n, e in (folder.mix_manifest.get("datasets") or {}).items() if e.get("tokens")}
    recorded = folder.mix_manifest.get("mode") != "sample" and any(e.get("weight") for e in entries.values())
    parts = {n: float((e.get("weight") or 0.0) if recorded else e["tokens"]) for n, e in entries.items()}
    total = sum(parts.values())
    found = {}
    for name, part in parts.items():
        copies = counts[name].copies
        if part and copies:
            found[name] = Share(share=part / total, mean_tokens=entries[name]["tokens"] / copies)
    return found


def document_probabilities(shares: dict[str, Share]) -> dict[str, float]:
    """Return how often a loader of documents draws from each dataset, so that the tokens have their shares.

    >>> document_probabilities({"long": Share(share=.5, mean_tokens=300.), "short": Share(share=.5, mean_tokens=100.)})
    {'long': 0.25, 'short': 0.75}
    """
    odds = {name: one.share / one.mean_tokens for name, one in shares.items()}
    return _rounded({name: odd / sum(odds.values()) for name, odd in odds.items()})


def loader_files(folder: RunFolder, shares: dict[str, Share]) -> dict[str, str]:
    """Return name and text of each configuration."""
    windows = _rounded({name: one.share for name, one in shares.items()})
    repeated = bool(folder.mix_manifest.get("repeat", (folder.recipe.get("output") or {}).get("repeat")))
    huggingface = (
        HUGGINGFACE.replace("PROBABILITIES_HERE", _literal(document_probabilities(shares)))
        .replace("INTERLEAVED_HERE", str(folder.interleaved))
        .replace("REPEATED_HERE", str(repeated))
    )
    return {
        "huggingface.py": huggingface,
        "torchtitan.py": TORCHTITAN,
        "megatron.py": MEGATRON.replace("SHARES_HERE", _literal(windows)),
        "litdata.py": LITDATA.replace("SHARES_HERE", _literal(windows)),
        "olmo_core.py": OLMO.replace("SHARES_HERE", _literal(windows)),
        "mosaicml.yaml": _commented(_mosaicml(windows)),
        "nanotron.yaml": _commented(_nanotron(windows), NANOTRON),
    }


def _rounded(shares: dict[str, float]) -> dict[str, float]:
    """Return shares of ten digits that add up to 1 as far as ten digits can."""
    found = {name: round(share, DIGITS) for name, share in shares.items()}
    last = max(found, key=lambda name: found[name])
    found[last] = round(1 - sum(share for name, share in found.items() if name != last), DIGITS)
    return found


def _literal(shares: dict[str, float]) -> str:
    return json.dumps(shares, indent=4, ensure_ascii=False)


def _commented(data: dict[str, Any], more: str = "") -> str:
    lines = "".join(f"# {line}\n" for line in (WINDOWS + more).splitlines())
    return lines + yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def _mosaicml(shares: dict[str, float]) -> dict[str, Any]:
    """Return the part of LLM Foundry's configuration that names streams; their proportions are shares of samples."""
    streams = {name: {"local": f"EXPORTS/{name}", "proportion": share} for name, share in shares.items()}
    return {"train_loader": {"name": "text", "dataset": {"streams": streams, "shuffle": True}}}


def _nanotron(shares: dict[str, float]) -> dict[str, Any]:
    """Return the part of nanotron's configuration that names datasets; its weights are shares of samples."""
    dataset = {
        "dataset_folder": [f"EXPORTS/{name}" for name in shares],
        "dataset_weights": list(shares.values()),
    }
    return {"data_stages": [{"name": "stable", "start_training_step": 1, "data": {"dataset": dataset}}]}
