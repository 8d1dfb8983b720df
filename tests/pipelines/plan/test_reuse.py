"""Which bundles a plan takes for done where files were added to a run folder."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.plan.reuse import Present
from stages.core.manifest import Manifest
from stages.core.shard import Bundle, Piece, Shard


class Walked(tuple[Bundle, ...]):
    """Bundles that count how often they are walked."""

    times = 0

    def __iter__(self) -> Iterator[Bundle]:
        Walked.times += 1
        return super().__iter__()


def bundle(number: int, dataset: str, path: str) -> Bundle:
    shard = Shard(
        ordinal=number, dataset=dataset, path=path, relative_path=path, rows=1, bytes=1, fingerprint=str(number)
    )
    return Bundle(number=number, dataset=dataset, pieces=(Piece(shard=shard, start=0, stop=1),))


def test_frozen_bundles_are_walked_once_and_a_dataset_that_lacks_facts_has_none() -> None:
    frozen = [bundle(0, "a", "0"), bundle(1, "a", "1"), bundle(2, "b", "2"), bundle(3, "b", "3")]
    here = Present(
        run=None,
        manifest=Manifest(shards=(), bundles=Walked(frozen)),
        changed=True,
        done={"words": [True, True, False, True], "other": [True] * 4},
        complete=frozenset(),
        known=frozenset((b.dataset, b.pieces[0].shard.path) for b in frozen),
    )
    planned = [*frozen, bundle(4, "a", "new"), bundle(5, "c", "new")]
    Walked.times = 0
    assert here.have_facts("words", planned) == [True, True, False, False, False, False]
    assert Walked.times == 1
    assert here.have_facts("other", planned) == [True, True, True, True, False, False]
    assert here.have_facts("unknown", planned) == [False] * 6
