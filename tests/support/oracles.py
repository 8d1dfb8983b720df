"""Slow and obviously right answers, in plain Python, that the fast code must reproduce.

Nothing here imports winnow: an oracle that shares code with what it judges proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Similar = Callable[[int, int], bool]  # (earlier, later) document -> at or above the threshold


def representatives(
    buckets: Sequence[Sequence[int]],
    dataset: Sequence[int],
    protected: Sequence[bool],
    eligible: Sequence[bool],
    keep_all: bool,
    further_tries: int,
    similar: Similar,
) -> list[int | None]:
    """Return the kept document each document lost to (None: it stays). Documents are numbered in total order.

    A document is dropped iff a kept and eligible one before it, among the first 1 + further_tries of
    such in a bucket they share, is similar to it.
    """
    mine: list[set[int]] = [{b for b, members in enumerate(buckets) if m in members} for m in range(len(dataset))]
    seats: list[list[int]] = [[] for _ in buckets]
    lost_to: list[int | None] = []
    for m in range(len(dataset)):
        examined = sorted({r for b in mine[m] for r in seats[b][: 1 + further_tries]})
        rivals = [r for r in examined if not (keep_all and dataset[r] == dataset[m])]
        winner = None if protected[m] else next((r for r in rivals if similar(r, m)), None)
        lost_to.append(winner)
        if winner is None and eligible[m]:
            for b in mine[m]:
                seats[b].append(m)
    return lost_to


def component_survivors(
    buckets: Sequence[Sequence[int]],
    dataset: Sequence[int],
    protected: Sequence[bool],
    eligible: Sequence[bool],
    keep_all: bool,
    further_tries: int,
    similar: Similar,
) -> list[int | None]:
    """Return the kept document each document lost to, where a connected component is one group.

    Edges: inside a bucket, a member joins the first leader it is similar to; one that is similar to
    none of the leaders becomes a leader, up to 1 + further_tries of them.
    """
    component = list(range(len(dataset)))
    for members in buckets:
        leaders: list[int] = []
        for m in sorted(set(members)):
            leader = next((r for r in leaders if similar(r, m)), None)
            if leader is not None:
                old, new = component[m], component[leader]
                component = [new if c == old else c for c in component]
            elif len(leaders) < 1 + further_tries:
                leaders.append(m)
    lost_to: list[int | None] = [None] * len(dataset)
    for name in set(component):
        group = [m for m in range(len(dataset)) if component[m] == name]
        best = next((m for m in group if eligible[m]), None)
        for m in group:
            saved = m == best or protected[m] or (keep_all and best is not None and dataset[m] == dataset[best])
            if best is not None and not saved:
                lost_to[m] = best
    return lost_to


def order_key(
    priority: int,
    criteria: Sequence[float],
    h1: int,
    h2: int,
    id: str | None,
    url: str | None,
    within: str,
    row: int,
) -> tuple[object, ...]:
    """Return a tuple that sorts documents by the total order of the design."""
    measured = [(c != c, 0.0 if c != c else c) for c in criteria]
    texts = [(text is None, (text or "").encode()) for text in (id, url, within)]
    return (priority, measured, h1, h2 >> 48, texts, row)


def shingle_set(text: str, width: int) -> set[str]:
    """Return the character shingles of a text; a shorter text is one shingle."""
    return {text[i : i + width] for i in range(len(text) - width + 1)} or {text}


def jaccard(a: set[str], b: set[str]) -> float:
    return len(a & b) / len(a | b)
