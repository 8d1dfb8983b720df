"""What deduplication did: who lost how much to whom, how similar it was, and the groups that one document stands for.

Guarantees: numbers are sums over the ledger; datasets and stages come in the recipe's order. Memory: the texts of the
documents that are shown.
"""

from __future__ import annotations

from pipelines.records import datasets_of_group
from pipelines.report import tree
from pipelines.report.funnel import in_recipe_order
from pipelines.report.ledger_sums import (
    GROUP_SIZES,
    SIMILARITIES,
    SIMILARITY_BINS,
    Amount,
    DatasetSums,
    DedupSums,
    LedgerSums,
)
from pipelines.report.samples import show_document
from pipelines.report.shown import Shown
from pipelines.runfolder import RunFolder

MEMBER_CHARS = 160  # of the text of a group's member


def overlap_of_datasets(folder: RunFolder, sums: LedgerSums) -> tree.Overlap:
    """Return who lost how much to whom: rows lose, columns win, both in the recipe's order."""
    names = folder.datasets

    def matrix(stage: str | None) -> tree.Matrix:
        cells = [[_lost(sums.datasets[loser], stage, winner) for winner in names] for loser in names]
        return {
            "documents": [[c.documents for c in row] for row in cells],
            "tokens": [[c.tokens for c in row] for row in cells],
        }

    return {
        "datasets": names,
        "all": matrix(None),
        "stages": {stage: matrix(stage) for stage in in_recipe_order(folder, sums.dedup)},
        "shared_groups": [{"datasets": list(pair), "groups": number} for pair, number in sorted(sums.shared.items())],
    }


def _lost(sums: DatasetSums, stage: str | None, winner: str) -> Amount:
    mine = (amount for (by, to), amount in sums.lost_to.items() if to == winner and stage in (None, by))
    return sum(mine, Amount())


def similarities_of_stages(folder: RunFolder, sums: LedgerSums) -> list[tree.Similarities]:
    """Return the similarities of what each deduplication stage dropped to what it lost to."""
    return [_similarities(stage, sums.dedup[stage]) for stage in in_recipe_order(folder, sums.dedup)]


def _similarities(stage: str, sums: DedupSums) -> tree.Similarities:
    return {
        "stage": stage,
        "thresholds": sorted(sums.thresholds),
        "edges": SIMILARITIES.tolist(),
        "dropped": sums.similarity.tolist(),
        "kinds": dict(sorted(sums.kinds.items())),
        "at_least": _at_least(sums),
        "without_similarity": sums.unknown,
        "below_one": sums.below_one,
        "below_threshold": sums.below,
    }


def _at_least(sums: DedupSums) -> list[tree.AtLeast]:
    """Return how many of the dropped documents are at least so similar, in steps of .05 from the threshold on."""
    lowest = min(sums.thresholds, default=0.0)
    above = sums.similarity[::-1].cumsum()[::-1].tolist()
    steps = range(round(lowest * SIMILARITY_BINS), SIMILARITY_BINS, SIMILARITY_BINS // 20)
    return [{"similarity": float(SIMILARITIES[at]), "documents": above[at]} for at in steps]


def groups_by_size(sums: LedgerSums, members: dict[int, list[int]], shown: Shown) -> tree.Groups:
    """Return how many groups there are of each size, and the largest of them.

    members : some documents of each of the largest groups, by the one that stands for it.
    """
    ends = [*(low - 1 for low in GROUP_SIZES[1:]), None]
    sizes: list[tree.GroupSizes] = [
        {"from": low, "to": high, "groups": int(groups), "documents": int(documents)}
        for low, high, (groups, documents) in zip(GROUP_SIZES, ends, sums.groups, strict=True)
    ]
    while len(sizes) > 1 and not sizes[-1]["groups"]:
        sizes.pop()
    return {"sizes": sizes, "largest": _largest_groups(sums.largest.docs, members, shown)}


def _largest_groups(docs: list[int], members: dict[int, list[int]], shown: Shown) -> list[tree.LargeGroup]:
    """Return the largest groups with the text of their survivor and some of their members."""
    rows, texts = shown.rows, shown.texts
    return [
        {
            **show_document(rows[doc], texts.get(doc)),
            "group_size": rows[doc]["group_size"],
            "group_datasets": datasets_of_group(rows[doc]["group_datasets"]),
            "members": [show_document(rows[m], texts.get(m), MEMBER_CHARS) for m in members[doc]],
        }
        for doc in docs
    ]
