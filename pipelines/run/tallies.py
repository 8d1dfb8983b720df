"""Documents and tokens of each dataset, from the rows of its files to what mixes took of them.

Guarantees: tokens stand beside the documents that they are of: kept, held out, or written, each counted alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NotRequired

from typing_extensions import TypedDict

from pipelines.artefacts import MixManifest
from stages.implicit.read import FAULTS
from stages.outcome.ledger import Tally
from stages.outcome.mixing import Portion


class MixTally(TypedDict):
    """What one mix took of a dataset. share, wanted: of the tokens of the mix; wanted: None without weights."""

    documents: int
    rows: int
    tokens: int
    share: float
    wanted: float | None
    tokens_wanted: int | None


class DatasetTally(TypedDict):
    """Documents of one dataset. dropped: per stage; tokens: of the documents that can be mixed, so held-out ones apart.

    kept_tokens: of all kept documents; unreadable: rows that the file is at fault for; mixes: by name, "" the only one.
    """

    rows: int
    dropped: dict[str, int]
    kept: int
    tokens: int
    epochs: float
    kept_tokens: NotRequired[int]
    held_out: NotRequired[int]
    held_out_tokens: NotRequired[int]
    unreadable: NotRequired[int]
    mixes: NotRequired[dict[str, MixTally]]


def tallies_of(
    tallies: Iterable[Tally], portions: Mapping[str, Portion], manifests: Mapping[str, MixManifest]
) -> dict[str, DatasetTally]:
    """Return the counts per dataset. portions: of the first mix; manifests: of each mix, by name."""
    found: dict[str, DatasetTally] = {}
    for tally in tallies:
        entry = found.setdefault(tally.dataset, _nothing())
        entry["rows"] += tally.rows
        entry["kept"] += tally.kept
        entry["tokens"] += tally.mixable[1]
        entry["kept_tokens"] = entry.get("kept_tokens", 0) + tally.tokens
        entry["held_out"] = entry.get("held_out", 0) + tally.kept - tally.mixable[0]
        entry["held_out_tokens"] = entry.get("held_out_tokens", 0) + tally.tokens - tally.mixable[1]
        for (stage, reason), count in tally.dropped.items():
            entry["dropped"][stage] = entry["dropped"].get(stage, 0) + count
            if stage == "read" and reason in FAULTS:
                entry["unreadable"] = entry.get("unreadable", 0) + count
    for name, entry in found.items():
        if name in portions:
            entry["epochs"] = portions[name].epochs
        mine = {mix: _taken(manifest, name) for mix, manifest in manifests.items() if name in manifest["datasets"]}
        if not mine:
            entry["held_out"] = entry["held_out_tokens"] = 0  # reference data is compared against, never written
        entry["mixes"] = mine
    return found


def _nothing() -> DatasetTally:
    return {"rows": 0, "dropped": {}, "kept": 0, "tokens": 0, "epochs": 1.0}


def _taken(manifest: MixManifest, name: str) -> MixTally:
    datasets = manifest["datasets"]
    entry, whole = datasets[name], sum(d.get("tokens", 0) for d in datasets.values())
    weights = [d.get("weight") for d in datasets.values()]
    weighed = sum(w for w in weights if w is not None)
    weight = entry.get("weight")
    return {
        "documents": entry.get("documents", 0),
        "rows": entry.get("rows", 0),
        "tokens": entry.get("tokens", 0),
        "share": entry.get("tokens", 0) / whole if whole else 0.0,
        "wanted": weight / weighed if weight is not None and weighed else None,
        "tokens_wanted": entry.get("target_tokens"),
    }


def sums(tallies: Sequence[DatasetTally]) -> DatasetTally:
    """Return the sums over datasets; epochs and shares have none."""
    total = _nothing()
    total.update({"kept_tokens": 0, "held_out": 0, "held_out_tokens": 0, "unreadable": 0, "mixes": {}, "epochs": 0.0})
    for tally in tallies:
        total["rows"] += tally["rows"]
        total["kept"] += tally["kept"]
        total["tokens"] += tally["tokens"]
        total["kept_tokens"] += tally.get("kept_tokens", 0)
        total["held_out"] += tally.get("held_out", 0)
        total["held_out_tokens"] += tally.get("held_out_tokens", 0)
        total["unreadable"] += tally.get("unreadable", 0)
        for stage, count in tally["dropped"].items():
            total["dropped"][stage] = total["dropped"].get(stage, 0) + count
        for mix, taken in tally.get("mixes", {}).items():
            nothing: MixTally = {**taken, "documents": 0, "rows": 0, "tokens": 0, "share": 0.0, "wanted": None}
            mine = total["mixes"].setdefault(mix, nothing)
            mine["share"] += taken["share"]
            mine["documents"] += taken["documents"]
            mine["rows"] += taken["rows"]
            mine["tokens"] += taken["tokens"]
    return total
