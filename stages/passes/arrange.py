"""Number and bundle the shards of a manifest as a new folder would, whatever was frozen before.

So what is written of a folder that grew equals what is written of a new one, byte for byte. Facts stay where they are:
a bundle of the same content keeps its number, and the facts of one that is cut in another way are put together from
those there are (`adopt.py`). Memory: the manifest, and the row groups of shards that are looked at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from stages.core.manifest import Cut, Manifest, bundle_bytes, bundle_shards
from stages.core.shard import Bundle, Piece, Shard
from stages.inputs.reader import Layout

Known = tuple[str, str, int]  # dataset, fingerprint and number of a bundle
LookAgain = Callable[[Sequence[Shard]], Sequence[Layout]]


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A live shard of the new manifest, not numbered yet. layout: None of one that was frozen before."""

    shard: Shard
    layout: Layout | None


def arrange(
    old: Manifest | None,
    taken: Sequence[Taken],
    retired: Iterable[Shard],
    limit: int | None,
    look_again: LookAgain,
) -> Manifest:
    """Return the manifest of the shards `taken`, numbered and bundled in this order; retired ones come after them.

    look_again : lays out shards that were frozen before, where they may be cut in another way than they are.
    """
    live = [replace(each.shard, ordinal=number) for number, each in enumerate(taken)]
    cuts = list(_cuts(old, taken, live, look_again))
    size = bundle_bytes(sum(cut.text_bytes for cut in cuts))
    gone = [*(s for s in (old.shards if old else ()) if s.retired), *retired]
    last = [replace(shard, ordinal=len(live) + n, retired=True) for n, shard in enumerate(gone)]
    shards = [replace(cut.shard, text_bytes=cut.text_bytes) for cut in cuts]
    bundles = bundle_shards([replace(cut, shard=s) for cut, s in zip(cuts, shards, strict=True)], 0)
    numbered, past = _numbered(bundles, old)
    return Manifest((*shards, *last), tuple(numbered), limit, size, tuple(past))


def _cuts(old: Manifest | None, taken: Sequence[Taken], live: Sequence[Shard], look_again: LookAgain) -> Iterator[Cut]:
    """Yield where each shard may be cut; those frozen before are cut as they are while `bundle_bytes` stays."""
    known = _text_bytes(taken)
    same = old is not None and known is not None and bundle_bytes(known) == old.bundle_bytes
    pieces = _pieces(old) if old is not None and same else {}
    anew = [each.shard for each in taken if each.layout is None and not pieces]
    layouts = dict(zip((s.ordinal for s in anew), look_again(anew) if anew else (), strict=True))
    for each, shard in zip(taken, live, strict=True):
        layout = each.layout or layouts.get(each.shard.ordinal)
        if layout is not None:
            yield Cut(shard=shard, row_groups=tuple(layout.row_groups or ()))
        else:
            yield Cut(shard=shard, pieces=_sized(pieces[each.shard.ordinal], each.shard))


def _text_bytes(taken: Sequence[Taken]) -> int | None:
    """Return the text of all shards; None where that of one is not known."""
    total = 0
    for each in taken:
        if each.layout is not None:
            total += Cut(shard=each.shard, row_groups=tuple(each.layout.row_groups or ())).text_bytes
        elif each.shard.text_bytes is None:
            return None
        else:
            total += each.shard.text_bytes
    return total


def _pieces(old: Manifest) -> dict[int, list[Piece]]:
    """Return the pieces of each live shard by its ordinal, in order of their rows."""
    found: dict[int, list[Piece]] = {}
    for bundle in old.bundles:
        for piece in bundle.pieces:
            found.setdefault(piece.shard.ordinal, []).append(piece)
    return {ordinal: sorted(pieces, key=lambda piece: piece.start) for ordinal, pieces in found.items()}


def _sized(pieces: Sequence[Piece], shard: Shard) -> tuple[tuple[int, int], ...]:
    """Return (rows, bytes) of the pieces of a shard; how the bytes lie in several of them bears on nothing."""
    first, *rest = pieces
    return ((first.rows, shard.text_bytes or 0), *((piece.rows, 0) for piece in rest))


def _numbered(bundles: Sequence[Bundle], old: Manifest | None) -> tuple[list[Bundle], list[Known]]:
    """Return the bundles, numbered as those of the same dataset and content were, else anew; and the past ones."""
    known = [*(old.past if old else ()), *((b.dataset, b.fingerprint, b.number) for b in (old.bundles if old else ()))]
    free: dict[tuple[str, str], list[int]] = {}
    for dataset, mark, number in sorted(known, key=lambda entry: entry[2]):
        free.setdefault((dataset, mark), []).append(number)
    following = 1 + max((number for _, _, number in known), default=-1)
    found: list[Bundle] = []
    for bundle in bundles:
        same = free.get((bundle.dataset, bundle.fingerprint)) or [following]
        following = max(following, same[0] + 1)
        found.append(dataclasses.replace(bundle, number=same.pop(0)))
    return found, [(dataset, mark, number) for (dataset, mark), numbers in free.items() for number in numbers]
