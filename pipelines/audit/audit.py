"""`winnow audit`: how right the deduplication of a finished run was, by true similarity on the texts.

Guarantees: reads the run folder and the inputs, writes to neither (the command keeps what it found: kept_audit.py);
the same run folder, seed and numbers give the same audit. Memory: the texts of some of the sampled pairs
(true_similarity.py); one bundle's signatures; what kept_pairs.py and `removed` state. What precision and recall mean
here: docs/plan-and-audit.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster.errors import RecipeError
from cluster.seed import DEFAULT_SEED
from pipelines.audit import tree
from pipelines.audit.kept_pairs import KeptPairs, Sought, find_kept_pairs
from pipelines.audit.true_similarity import true_similarities
from pipelines.run_state import from_home
from pipelines.runfolder import RunFolder, open_run
from pipelines.staleness import check_readable
from stages.core.arrays import array
from stages.core.digests import DATA_FORMAT
from stages.core.run import Run
from stages.kernels.hashes.hashing import mix64
from stages.kernels.similarity.banding import half_way
from stages.near_dedup import NearDedup, near_job

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
PAIRS = 400
BAND = 0.05  # width of a band of similarity
Z95, Z975 = 1.959964, 2.241403  # normal quantiles of two-sided 95 % and 97.5 % intervals
COLUMNS = ["doc_id", "dataset", "stage", "representative", "representative_dataset", "similarity", "similarity_kind"]


@dataclass(order=True)
class Pair:
    """A removed document and what it lost to. mark: random, orders the sample."""

    mark: int
    doc: int = field(compare=False)
    representative: int = field(compare=False)
    similarity: float = field(compare=False)
    kind: str = field(compare=False)
    true: float | None = field(compare=False, default=None)


@dataclass
class Stratum:
    """Removed pairs of one stage, pair of datasets and band of similarity, and those sampled of them."""

    count: int = 0
    pairs: list[Pair] = field(default_factory=list)


Key = tuple[str, str, str, float]  # stage, dataset of the removed, of the kept one, lower end of the band


def audit(
    run_dir: str, *, pairs: int = PAIRS, threshold: float | None = None, seed: int = DEFAULT_SEED, trust: bool = False
) -> tree.Audit:
    """Return precision and recall of every dedup stage of a run.

    Parameters
    ----------
    pairs : removed pairs per stage, and near-threshold kept pairs, whose true similarity is computed.
    threshold : also tell what the last near_dedup would keep with this jaccard_threshold.
    seed : of the sample.
    trust : see `open_run`.

    Raises
    ------
    RecipeError
        No run folder, or one without the stage that is asked for.
    """
    with from_home(run_dir) as root:
        found = _audit(open_run(root, trust=trust, warn=False), pairs, threshold, seed)
    found["run"] = run_dir.rstrip("/")
    return found


def _audit(folder: RunFolder, pairs: int, threshold: float | None, seed: int) -> tree.Audit:
    check_readable(folder.root)
    found: tree.Audit = {"format": DATA_FORMAT, "run": folder.root, "pairs": pairs, "seed": seed, "stages": {}}
    found["stale"] = folder.stale
    names = [s.name for s in folder.run.stages if isinstance(s, NearDedup) or s.use == "exact_dedup"]
    if not names:
        raise RecipeError(f"{folder.root} has no deduplication stage to audit. Add exact_dedup or near_dedup.")
    strata = removed(folder, names, pairs, seed)
    for name in names:
        found["stages"][name] = _stage(folder, name, strata.get(name, {}), pairs, seed)
    if threshold is not None:
        from pipelines.audit.other_threshold import compare_thresholds

        found["threshold"] = compare_thresholds(folder, threshold)
    return found


def _stage(folder: RunFolder, name: str, strata: dict[Key, Stratum], pairs: int, seed: int) -> tree.StageAudit:
    index = folder.run.index(name)
    stage = folder.run.stages[index]
    limit = _threshold(folder.run, index)
    measure(folder, index, [p for s in strata.values() for p in s.pairs])
    result: tree.StageAudit = {
        "use": stage.use,
        "threshold": limit,
        "removed": sum(s.count for s in strata.values()),
        "sampled": sum(len(s.pairs) for s in strata.values()),
        "precision": precision(list(strata.values()), limit),
        "strata": [_stratum(key, s, limit) for key, s in sorted(strata.items())],
    }
    if isinstance(stage, NearDedup):
        result["threshold_is"] = "half-way point of the S-curve" if math.isnan(stage.threshold) else "jaccard_threshold"
        kept = find_kept_pairs(folder, Sought(index=index, threshold=limit, pairs=pairs, seed=seed))
        values = true_similarities(folder, index, [(p.doc, p.other) for p in kept.pairs])
        for pair, value in zip(kept.pairs, values, strict=True):
            pair.true = value
        result["kept"] = kept.as_tree(limit)
        result["recall"] = recall(result["removed"], result["precision"], kept, limit)
    return result


def _threshold(run: Run, index: int) -> float:
    """Return the similarity from which a pair counts as duplicates."""
    stage = run.stages[index]
    if not isinstance(stage, NearDedup):
        return 1.0
    if math.isnan(stage.threshold):
        near = near_job(run, index)
        return half_way(near.bands, near.rows_per_band)
    return stage.threshold


# --- removed pairs ---------------------------------------------------------------------------------------


def removed(folder: RunFolder, names: Sequence[str], pairs: int, seed: int) -> dict[str, dict[Key, Stratum]]:
    """Return the strata of removed pairs per stage, `pairs` sampled of them in all, evenly over the strata.

    Memory: `pairs` for every stratum.
    """
    strata: dict[str, dict[Key, Stratum]] = {name: {} for name in names}
    for dataset in folder.datasets:
        for table in folder.ledger(dataset, COLUMNS):
            lost = table.filter(pc.is_valid(table.column("representative")))
            for key, pair in _pairs(lost, seed):
                if key[0] in strata:
                    _add(strata[key[0]].setdefault(key, Stratum()), pair, pairs)
    for found in strata.values():
        sizes = {key: len(s.pairs) for key, s in found.items()}
        for key, size in allocate(sizes, pairs).items():
            found[key].pairs = sorted(found[key].pairs)[:size]
    return strata


def _pairs(table: pa.Table, seed: int) -> Iterator[tuple[Key, Pair]]:
    mark = mix64(array(table, "doc_id").astype(np.uint64), seed).tolist() if table.num_rows else []
    for row, number in zip(table.to_pylist(), mark, strict=True):
        value = row["similarity"]
        band = 1.0 if value >= 1 else round(math.floor(value / BAND + 1e-6) * BAND, 2)
        key = (row["stage"], row["dataset"], row["representative_dataset"], band)
        yield key, Pair(number, row["doc_id"], row["representative"], value, row["similarity_kind"])


def _add(stratum: Stratum, pair: Pair, most: int) -> None:
    stratum.count += 1
    stratum.pairs.append(pair)
    if len(stratum.pairs) >= 4 * most:  # those with the smallest marks are the sample
        stratum.pairs = sorted(stratum.pairs)[:most]


def allocate(sizes: Mapping[Any, int], total: int) -> dict[Any, int]:
    """Share `total` evenly over strata of these sizes; what a small one leaves goes to the others.

    Examples
    --------
    >>> allocate({"a": 2, "b": 50, "c": 50}, 12)
    {'a': 2, 'b': 5, 'c': 5}
    """
    given = dict.fromkeys(sizes, 0)
    left = min(total, sum(sizes.values()))
    while left:
        hungry = [key for key in sizes if given[key] < sizes[key]]
        each = max(1, left // len(hungry))
        for key in hungry:
            take = min(each, sizes[key] - given[key], left)
            given[key] += take
            left -= take
    return given


# --- true similarity -------------------------------------------------------------------------------------


def measure(folder: RunFolder, index: int, pairs: Sequence[Pair]) -> None:
    """Fill in the true similarity of each pair; it stays None where a text cannot be read any more."""
    values = true_similarities(folder, index, [(p.doc, p.representative) for p in pairs])
    for pair, value in zip(pairs, values, strict=True):
        pair.true = value


# --- intervals -------------------------------------------------------------------------------------------


def wilson(share: float, number: float, z: float = Z95) -> tuple[float, float]:
    """Return Wilson's interval of a share of `number` trials (Wilson 1927); [0, 1] without trials.

    `number` may be an effective sample size, so it need not be whole.

    Examples
    --------
    >>> [round(x, 3) for x in wilson(1.0, 100)]
    [0.963, 1.0]
    """
    if number <= 0:
        return 0.0, 1.0
    middle = share + z * z / (2 * number)
    half = z * math.sqrt(share * (1 - share) / number + z * z / (4 * number * number))
    scale = 1 + z * z / number
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def precision(strata: Sequence[Stratum], limit: float, z: float = Z95) -> tree.Precision:
    """Return the share of removed pairs whose true similarity reaches the limit, each stratum by its size.

    The interval is Wilson's with Kish's effective sample size, (sum w)^2 / sum w^2 over the sampled pairs'
    weights, as Korn and Graubard (1998) do with Clopper and Pearson's.
    """
    weight = squares = right = 0.0
    sampled = 0
    for stratum in strata:
        known = [p for p in stratum.pairs if p.true is not None]
        if known:
            each = stratum.count / len(known)
            weight, squares = weight + stratum.count, squares + each * each * len(known)
            right += each * sum(reaches(p.true, limit) for p in known)
            sampled += len(known)
    number = weight * weight / squares if squares else 0.0
    share = right / weight if weight else math.nan
    low, high = wilson(share, number, z) if weight else (0.0, 1.0)
    return {"estimate": share if weight else None, "low": low, "high": high, "pairs": sampled, "effective": number}


def reaches(true: float | None, limit: float) -> bool:
    """Tell whether a true similarity reaches the limit; shares of whole numbers lie on it to the last bit."""
    return true is not None and true >= limit


def recall(removed: int, found: tree.Precision, kept: KeptPairs, limit: float) -> tree.Recall:
    """Return the share of duplicates that was removed: rightly removed / (rightly removed + left over).

    The interval joins 97.5 % intervals of both parts, so that it holds with 95 %.
    """
    share, low, high = kept.missed(limit, lambda p, n: wilson(p, n, Z975))
    left, left_low, left_high = (x * kept.documents for x in (share, low, high))
    if found["estimate"] is None:
        return {"estimate": None, "low": 0.0, "high": 1.0, "left_over": left, "left_over_high": left_high}
    right = found["estimate"] * removed
    right_low, right_high = (x * removed for x in wilson(found["estimate"], found["effective"], Z975))

    def of(rightly: float, missed: float) -> float:
        return rightly / (rightly + missed) if rightly + missed else 1.0

    return {
        "estimate": of(right, left),
        "low": of(right_low, left_high),
        "high": of(right_high, left_low),
        "left_over": left,
        "left_over_low": left_low,
        "left_over_high": left_high,
    }


def _stratum(key: Key, stratum: Stratum, limit: float) -> tree.StratumAudit:
    known = [p for p in stratum.pairs if p.true is not None]
    right = sum(reaches(p.true, limit) for p in known)
    low, high = wilson(right / len(known), len(known)) if known else (0.0, 1.0)
    return {
        "dataset": key[1],
        "representative_dataset": key[2],
        "similarity_from": key[3],
        "removed": stratum.count,
        "sampled": len(known),
        "unreadable": len(stratum.pairs) - len(known),
        "right": right,
        "low": low,
        "high": high,
        "wrong": [_wrong(p) for p in known if not reaches(p.true, limit)][:5],
    }


def _wrong(pair: Pair) -> tree.WrongPair:
    return {
        "doc_id": pair.doc,
        "representative": pair.representative,
        "similarity": pair.similarity,
        "similarity_kind": pair.kind,
        "true": pair.true,
    }
