"""The report of a run: report.json with every number, and report.html that shows them.

Guarantees: numbers come from the ledger, the mix and the facts, never from the run's memory, so that anybody
can recompute them; the funnel closes for every dataset or there is no report. Apart from `timings`, the
same run folder gives the same report. Memory: one ledger batch, the samples' texts.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import pyarrow.compute as pc

from cluster import storage
from cluster.engines import Engine, InlineEngine
from cluster.errors import LedgerError, WinnowError
from pipelines.report import passes
from pipelines.report import scores as report_scores
from pipelines.report.samples import pairs, samples
from pipelines.report.tally import (
    GROUP_SIZES,
    SIMILARITIES,
    SIMILARITY_BINS,
    Amount,
    DatasetTally,
    DedupTally,
    Tally,
)
from pipelines.runfolder import RunFolder, StageInfo, open_run
from stages.core.digests import DATA_FORMAT, digest

TOTAL = "all datasets"


def write(run_dir: str, engine: Engine | None = None) -> str:
    """Write report.json and report.html into the run folder; return the path of the page.

    Parameters
    ----------
    engine : reads the ledger; None: this process.

    Raises
    ------
    LedgerError
        The numbers of a dataset do not close.
    """
    from pipelines.report import page

    run = open_run(run_dir)
    report = build(run, engine)
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    storage.write_bytes(run.path("report.json"), (text + "\n").encode("utf-8", "replace"))
    path = run.path("report.html")
    storage.write_bytes(path, page.render(report).encode("utf-8", "replace"))
    return path


def build(run: RunFolder, engine: Engine | None = None) -> dict[str, Any]:
    """Return the report of a run folder as JSON-able values."""
    engine = engine or InlineEngine()
    tally = count(run, engine)
    scores, languages, source = report_scores.read(run)
    digests = _stage_digests(run)
    total = funnel(run, None, _sum(tally, run.datasets))
    return {
        "format": DATA_FORMAT,
        "name": run.recipe.get("name", ""),
        "tokens_are": tokens_are(run),
        "digests": _digests(run),
        "recipe": storage.read_bytes(run.path("recipe.lock.yaml")).decode(),
        "stages": [_stage(stage, digests.get(stage.name)) for stage in run.stages],
        "datasets": [_dataset(run, name) for name in run.datasets],
        "funnel": {name: funnel(run, name, tally.datasets[name]) for name in run.datasets},
        "total": total,
        "overlap": _overlap(run, tally),
        "dedup": [_similarities(name, tally) for name in _in_order(run, tally.dedup)],
        "groups": _groups(run, engine, tally),
        "scores": scores,
        "languages": languages,
        "scores_from": source,
        "mix": mix(run, tally),
        "samples": samples(run, tally),
        "pairs": pairs(run, tally),
        "quarantine": _quarantine(run),
        "timings": timings(run, total),
    }


def timings(run: RunFolder, total: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the last call took per step, with rates; where a step counts no documents, those that reached it."""
    found = run.json("timings.json")
    reached = {step["stage"]: step["before"]["documents"] for step in total["stages"]}
    for step in (found or {}).get("stages", []):
        step["documents"] = step.get("documents") or reached.get(step["name"], 0)
        step.setdefault("parts", [])
        for each in (step, *step["parts"]):
            for what in ("documents", "bytes"):
                each[f"{what}_per_second"] = (
                    each[what] / each["seconds"] if each.get(what) and each["seconds"] else None
                )
    return found


def count(run: RunFolder, engine: Engine | None = None) -> Tally:
    """Return the sums over the whole ledger."""
    tally = passes.tally(run, engine or InlineEngine())
    for name in run.datasets:
        check(run, name, tally.datasets[name])
    return tally


def check(run: RunFolder, name: str, tally: DatasetTally) -> None:
    """Raise LedgerError unless rows in = kept + dropped, and the mix is what the ledger says."""
    dropped = sum((a.documents for a in tally.dropped.values()), 0)
    rows = pc.sum(run.manifest.filter(pc.equal(run.manifest.column("dataset"), name)).column("rows")).as_py() or 0
    if not (tally.rows.documents == rows == tally.kept.documents + dropped):
        raise LedgerError(
            f"the funnel of {name} does not close: {rows:,} rows in the manifest, "
            f"{tally.rows.documents:,} in the ledger, {tally.kept.documents:,} kept + {dropped:,} dropped. "
            "Delete the ledger folder and run again."
        )
    written = (run.mix_manifest.get("datasets") or {}).get(name) or {}
    for what, mine in (("documents", tally.mix.documents), ("tokens", tally.mix.tokens)):
        if written.get(what, mine) != mine:
            raise LedgerError(
                f"the mix of {name} is not what the ledger says: mix/manifest.json counts {written[what]:,} "
                f"{what}, the ledger {mine:,}. Delete the mix folder and run again."
            )


def tokens_are(run: RunFolder) -> str:
    """Say whether tokens were counted or estimated."""
    counted = (run.recipe.get("mix") or {}).get("tokenizer")
    return str(run.mix_manifest.get("tokens_are") or ("counted" if counted else "estimated as UTF-8 bytes / 4"))


def funnel(run: RunFolder, dataset: str | None, tally: DatasetTally) -> dict[str, Any]:
    """Return documents and tokens before and after every stage, and why they went."""
    before = tally.rows
    steps = []
    for stage in _in_order(run, [stage for stage, _ in tally.dropped]):
        mine = [(r, a) for (s, r), a in tally.dropped.items() if s == stage]
        reasons = dict(sorted(mine, key=lambda item: (-item[1].documents, item[0])))
        after = before - sum(reasons.values(), Amount())
        info = next((s for s in run.stages if s.name == stage), None)
        steps.append(
            {
                "stage": stage,
                "applies": dataset is None or info is None or info.applies_to(dataset),
                "before": before.to_json(),
                "dropped": {reason: amount.to_json() for reason, amount in reasons.items()},
                "after": after.to_json(),
            }
        )
        before = after
    return {
        "rows": tally.rows.to_json(),
        "stages": steps,
        "kept": tally.kept.to_json(),
        "mix": {**tally.mix.to_json(), "copies": tally.copies},
    }


def _in_order(run: RunFolder, names: Any) -> list[str]:
    """Return every stage of the recipe, or for a mapping those in it, in order; unknown ones last."""
    known = [stage.name for stage in run.stages]
    found = set(names)
    wanted = [n for n in known if n in found] if isinstance(names, dict) else known
    return [*wanted, *sorted(found.difference(known))]


def _sum(tally: Tally, names: list[str]) -> DatasetTally:
    total = DatasetTally()
    for name in names:
        mine = tally.datasets[name]
        total.rows, total.kept, total.mix = (
            total.rows + mine.rows,
            total.kept + mine.kept,
            total.mix + mine.mix,
        )
        total.copies += mine.copies
        for key, amount in mine.dropped.items():
            total.dropped[key] = total.dropped[key] + amount
    return total


def _digests(run: RunFolder) -> dict[str, str]:
    shards = run.manifest.select(["ordinal", "dataset", "rows", "fingerprint"]).to_pylist()
    found = {
        "recipe": run.mix_manifest.get("recipe_digest") or digest(run.recipe),
        "inputs": run.mix_manifest.get("manifest_digest") or digest(shards),
    }
    return {name: str(value) for name, value in found.items()}


def _stage_digests(run: RunFolder) -> dict[str, str]:
    """Return the digest of every stage's parameters and model; nothing where a model is gone."""
    try:
        return {stage.name: stage.digest() for stage in run.job.stages}
    except (WinnowError, OSError):
        return {}


def _stage(stage: StageInfo, digest: str | None) -> dict[str, Any]:
    return {
        "name": stage.name,
        "use": stage.use,
        "digest": digest,
        "datasets": list(stage.datasets),
        "parameters": stage.parameters,
    }


def _dataset(run: RunFolder, name: str) -> dict[str, Any]:
    entry = run.recipe["datasets"][name] or {}
    shards = run.manifest.filter(pc.equal(run.manifest.column("dataset"), name))
    priority = list(run.recipe.get("priority") or [])
    return {
        "name": name,
        "licence": run.licence(name),
        "preset": entry.get("preset"),
        "role": entry.get("role") or "source",
        "priority": priority.index(name) + 1 if name in priority else None,
        "shards": shards.num_rows,
        "rows": pc.sum(shards.column("rows")).as_py() or 0,
        "bytes": pc.sum(shards.column("bytes")).as_py() or 0,
    }


def _overlap(run: RunFolder, tally: Tally) -> dict[str, Any]:
    """Return who lost how much to whom: rows lose, columns win, both in the recipe's order."""
    names = run.datasets

    def matrix(stage: str | None) -> dict[str, Any]:
        cells = [[_lost(tally.datasets[a], stage, b) for b in names] for a in names]
        return {
            "documents": [[c.documents for c in row] for row in cells],
            "tokens": [[c.tokens for c in row] for row in cells],
        }

    return {
        "datasets": names,
        "all": matrix(None),
        "stages": {stage: matrix(stage) for stage in _in_order(run, tally.dedup)},
        "shared_groups": [{"datasets": list(pair), "groups": number} for pair, number in sorted(tally.shared.items())],
    }


def _lost(tally: DatasetTally, stage: str | None, winner: str) -> Amount:
    mine = (a for (s, w), a in tally.lost_to.items() if w == winner and stage in (None, s))
    return functools.reduce(Amount.__add__, mine, Amount())


def _similarities(stage: str, tally: Tally) -> dict[str, Any]:
    mine = tally.dedup[stage]
    return {
        "stage": stage,
        "thresholds": sorted(mine.thresholds),
        "edges": SIMILARITIES.tolist(),
        "dropped": mine.similarity.tolist(),
        "kinds": dict(sorted(mine.kinds.items())),
        "at_least": _at_least(mine),
        "without_similarity": mine.unknown,
        "below_one": mine.below_one,
        "below_threshold": mine.below,
    }


def _at_least(mine: DedupTally) -> list[dict[str, Any]]:
    """Return how many of the dropped documents are at least so similar, in steps of .05 from the threshold on."""
    lowest = min(mine.thresholds, default=0.0)
    above = mine.similarity[::-1].cumsum()[::-1].tolist()
    steps = range(round(lowest * SIMILARITY_BINS), SIMILARITY_BINS, SIMILARITY_BINS // 20)
    return [{"similarity": float(SIMILARITIES[at]), "documents": above[at]} for at in steps]


def _groups(run: RunFolder, engine: Engine, tally: Tally) -> dict[str, Any]:
    ends = [*(low - 1 for low in GROUP_SIZES[1:]), None]
    sizes = [
        {"from": low, "to": high, "groups": int(groups), "documents": int(documents)}
        for low, high, (groups, documents) in zip(GROUP_SIZES, ends, tally.groups, strict=True)
    ]
    while len(sizes) > 1 and not sizes[-1]["groups"]:
        sizes.pop()
    return {"sizes": sizes, "largest": _largest(run, engine, tally.largest.docs)}


def _largest(run: RunFolder, engine: Engine, docs: list[int]) -> list[dict[str, Any]]:
    """Return the largest groups with the text of their survivor and some of their members."""
    from pipelines.report.samples import card

    members = passes.members(run, engine, docs)
    shown = [m for group in members.values() for m in group]
    rows = run.rows([*docs, *shown])
    texts = run.texts([*docs, *shown])
    return [
        {
            **card(rows[doc], texts.get(doc)),
            "group_size": rows[doc]["group_size"],
            "group_datasets": json.loads(rows[doc]["group_datasets"] or "{}"),
            "members": [card(rows[m], texts.get(m), 160) for m in members[doc]],
        }
        for doc in docs
    ]


def mix(run: RunFolder, tally: Tally) -> dict[str, Any]:
    """Return what each dataset gives to the mix, against what was wished."""
    wish = run.recipe.get("mix") or {}
    total = sum(tally.datasets[name].mix.tokens for name in run.datasets)
    weights = {name: float(w) for name, w in (wish.get("weights") or {}).items()}
    allowed = wish.get("max_epochs", 1.0)
    datasets = {}
    for name in run.datasets:
        written = (run.mix_manifest.get("datasets") or {}).get(name) or {}
        mine = tally.datasets[name]
        datasets[name] = {
            **mine.mix.to_json(),
            "copies": mine.copies,
            "share": mine.mix.tokens / total if total else 0.0,
            "weight_share": weights.get(name, 0.0) / sum(weights.values()) if sum(weights.values()) else None,
            "available": mine.kept.to_json(),
            **{k: written.get(k) for k in ("epochs", "target_tokens", "shortfall_tokens", "rows", "bytes")},
            "max_epochs": allowed.get(name, 1.0) if isinstance(allowed, dict) else allowed,
            "holdout_documents": written.get("holdout_documents"),
            "files": len(written.get("files") or []),
        }
    return {
        "mode": wish.get("mode") or run.mix_manifest.get("mode"),
        "target_tokens": wish.get("target_tokens"),
        "documents": sum(tally.datasets[n].mix.documents for n in run.datasets),
        "tokens": total,
        "datasets": datasets,
    }


def _quarantine(run: RunFolder) -> dict[str, Any]:
    """Return how many problems were set aside, and the first of them."""
    problems, first = 0, list[dict[str, Any]]()
    for name in sorted(storage.names(run.path("quarantine"))):
        for line in storage.read_bytes(run.path("quarantine", name)).decode().splitlines():
            problems += 1
            if len(first) < 10:
                first.append(json.loads(line))
    return {"problems": problems, "first": first}
