"""What a mix cannot be as its recipe wishes: empty datasets, weights that cannot be kept, a share that caps it.

Guarantees: follows from the wish and the surviving documents and tokens alone, so that a resumed run says the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cluster.errors import RecipeError
from stages.outcome.cell_shares import CellShare
from stages.outcome.mixing import CONTENT, Mix, Portion

SMALL = 0.5  # a mix of a smaller share of what survived is worth a warning


def mix_warnings(mix: Mix, shares: Mapping[str, Portion], rows: Mapping[str, int]) -> list[str]:
    """Return one sentence for everything that the mix cannot be.

    Parameters
    ----------
    mix : the wish.
    shares : what each dataset contributes.
    rows : rows read, per dataset.
    """
    wanted = {name: share for name, share in shares.items() if not mix.weights or mix.weights.get(name)}
    found = [
        text
        for name, share in wanted.items()
        for text in (_empty(mix, name, share, rows) if not share.documents else _short(mix, name, share, shares))
    ]
    if not any(share.expected_tokens for share in shares.values()):
        return [*found, "the mix is empty: no dataset with a weight has a surviving document."]
    return [*found, *_capped(mix, wanted)]


def cell_warnings(mix: Mix, shares: Mapping[str, CellShare], left: tuple[int, int]) -> list[str]:
    """Return one sentence for everything that a mix of cells cannot be. left: (documents, tokens) in no cell."""
    wanted = {name: share for name, share in shares.items() if share.weight != 0}
    found = [text for share in wanted.values() for text in _short_cell(share)]
    if left[0]:
        found.append(
            f"{left[0]:,} documents ({left[1]:,} tokens) are in no cell and are left out. Add a cell without `where` "
            "at the end to take them."
        )
    if not any(share.expected_tokens for share in shares.values()):
        return [*found, "the mix is empty: no cell that is wanted has a document."]
    return [*found, *_over_target(mix, shares)]


def holdout_warnings(mix: Mix, kept: int, held: int) -> list[str]:
    """Return a sentence where far more or fewer documents are held out than asked: values are drawn, not documents.

    kept, held : surviving documents that can be mixed, and those of them that are held out.
    """
    if mix.holdout_by == CONTENT or not kept or not mix.holdout or 0.5 <= held / kept / mix.holdout <= 2:
        return []
    return [
        f"{held:,} of {kept:,} documents ({held / kept:.1%}) are held out instead of {mix.holdout:.1%}: those that "
        f"share a value of {mix.holdout_by} are held out together. Choose another output.holdout.share or by."
    ]


def _short_cell(share: CellShare) -> Iterator[str]:
    if not sum(share.documents):
        yield f"cell {share.name} is empty: no surviving document meets its conditions and is in no earlier cell."
    elif share.wanted is not None and share.under > 1:
        yield (
            f"cell {share.name} gives {share.expected_tokens:,} of {share.wanted:,} tokens wanted: it has "
            f"{share.available:,} and max_epochs {share.max_epochs:g}. Raise its max_epochs, or want less of it."
        )


def _over_target(mix: Mix, shares: Mapping[str, CellShare]) -> Iterator[str]:
    """Say so where what cells ask for apart from weights is more than the whole mix."""
    fixed = sum(s.wanted if s.wanted is not None else s.expected_tokens for s in shares.values() if s.weight is None)
    if mix.target_tokens is not None and fixed > mix.target_tokens:
        yield (
            f"cells without a weight take {fixed:,} tokens, more than target_tokens {mix.target_tokens:,}: nothing is "
            "left for the weights. Raise target_tokens, or give these cells a weight."
        )


def check_strict(warnings: list[str]) -> None:
    """Raise RecipeError where a mix that must be as wished (mix.strict) cannot be."""
    if warnings:
        raise RecipeError(
            "mix.strict: " + " ".join(warnings) + " Change mix.weights, mix.max_epochs or the stages, or set "
            "mix.strict: false to write what there is."
        )


def unwritten(shares: Mapping[str, Portion], written: Mapping[str, int]) -> list[str]:
    """Return a sentence for every dataset of which documents were to be drawn, and none was."""
    return [
        f"no document of dataset {name} was drawn: {share.epochs:.3g} of its {share.documents:,} were to be. Raise "
        "mix.target_tokens or its weight."
        for name, share in shares.items()
        if share.documents and share.epochs > 0 and not written[name]
    ]


def _empty(mix: Mix, name: str, share: Portion, rows: Mapping[str, int]) -> Iterator[str]:
    why = f"of its {rows[name]:,} rows none survived" if rows.get(name) else "it has no rows"
    weight = ""
    if mix.weights:
        weight = f", and its weight of {mix.weights[name]:g} in {sum(mix.weights.values()):g} cannot be kept"
    yield f"nothing of dataset {name} can be in the mix: {why}{weight}; the other datasets make it up."


def _short(mix: Mix, name: str, share: Portion, shares: Mapping[str, Portion]) -> Iterator[str]:
    """Say so where a dataset has too few tokens for its weight."""
    target, whole = share.target_tokens, sum(s.expected_tokens for s in shares.values())
    allowed = mix.epochs_allowed(name)
    if target is None or not whole or target <= share.tokens * allowed + 1:
        return
    wished = (share.weight or 0.0) / sum(s.weight or 0.0 for s in shares.values())
    yield (
        f"the weight of dataset {name} cannot be kept: it gives {share.expected_tokens:,} of {target:,} tokens at "
        f"max_epochs {allowed:g}, {share.expected_tokens / whole:.1%} of the mix instead of {wished:.1%}. Raise its "
        "max_epochs, or lower its weight or mix.target_tokens."
    )


def _capped(mix: Mix, wanted: Mapping[str, Portion]) -> Iterator[str]:
    """Say so where one dataset's share makes the mix a small part of what survived."""
    if mix.mode != "sample" or mix.target_tokens is not None or not mix.weights:
        return
    alive = {name: share for name, share in wanted.items() if share.tokens}
    total, there = sum(s.expected_tokens for s in alive.values()), sum(s.tokens for s in alive.values())
    if total >= SMALL * there:
        return
    limit = min(alive, key=lambda name: alive[name].tokens * mix.epochs_allowed(name) / (alive[name].weight or 1.0))
    yield (
        f"the share of dataset {limit} caps the mix at {total:,} of {there:,} surviving tokens ({total / there:.1%}): "
        f"it has {alive[limit].tokens:,} tokens and a weight of {alive[limit].weight:g} in "
        f"{sum(s.weight or 0.0 for s in alive.values()):g}. Lower its weight, or raise its max_epochs."
    )
