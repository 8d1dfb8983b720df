"""What rules about texts take of each language, and what they do not judge of it: counted, and said.

Guarantees: follows from facts and verdicts alone, so that a resumed run says the same. Memory: a few facts of one
bundle, one number for each rule and language.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stages.core.arrays import whole
from stages.core.run import Run, has_fact
from stages.core.stage import ShardStage
from stages.core.view import View

MUCH = 0.5  # of a language; a rule that takes more of it probably was not made for it
LEAST = 10  # documents of a language below which shares say nothing
NAMED = 5  # languages named in a sentence, the largest first
UNKNOWN = "unknown"


@dataclass(frozen=True)
class ByLanguage:
    """Documents of one bundle. A language is known by its tag, else by its script."""

    judged: Counter[tuple[str, str]] = field(default_factory=Counter)  # (stage, language)
    dropped: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # (stage, language, reason)
    remarks: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # (stage, remark, language)


def count_by_language(view: View) -> ByLanguage:
    """Return the counts of a bundle, of those stages that can tell languages apart."""
    found = ByLanguage()
    for index, stage in enumerate(view.run.stages):
        if isinstance(stage, ShardStage) and stage.group_columns() and stage.applies_to(view.bundle.dataset):
            _count(view, index, stage, found)
    return found


def _count(view: View, index: int, stage: ShardStage, found: ByLanguage) -> None:
    rows, decisions = view.decided(index)
    facts = view.facts(index, rows, list(stage.group_columns()))
    names, place = _languages(view, index, stage, rows, facts)
    for at, count in _counted(place):
        found.judged[stage.name, names[at]] += count
    lost, kinds = decisions.dropped, len(decisions.reasons)
    for at, count in _counted(place[lost] * kinds + decisions.reason[lost]):
        found.dropped[stage.name, names[at // kinds], decisions.reasons[at % kinds]] += count
    for remark, mask in stage.remarks(facts).items():
        for at, count in _counted(place[mask]):
            found.remarks[stage.name, remark, names[at]] += count


def _counted(numbers: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the numbers that occur, which are small, and how often each does."""
    counts = np.bincount(numbers)
    there = np.flatnonzero(counts)
    return list(zip(there.tolist(), counts[there].tolist(), strict=True))


def _languages(
    view: View, index: int, stage: ShardStage, rows: npt.NDArray[np.int64], facts: pa.Table
) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return (languages, the place of each row's among them): those of a stage before this one, or as it sees them."""
    names = stage.groups(facts)
    before = (i for i in range(index - 1, -1, -1) if has_fact(view.run.stages[i], "language", [view.bundle.dataset]))
    source = next(before, None)
    if source is not None and not stage.facts_needed():
        names = pc.coalesce(whole(view.facts(source, rows, ["language"]).column("language")), names)
    codes = pc.fill_null(names, UNKNOWN).dictionary_encode()
    return codes.dictionary.to_pylist(), codes.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def language_warnings(run: Run, parts: Iterable[ByLanguage]) -> list[str]:
    """Return a sentence for every rule that takes much of a language, and for what was not judged of some."""
    total = ByLanguage()
    for part in parts:
        total.judged.update(part.judged)
        total.dropped.update(part.dropped)
        total.remarks.update(part.remarks)
    found: list[str] = []
    for stage in run.stages:
        if isinstance(stage, ShardStage) and stage.group_columns():
            found += [*_losses(stage, total), *_remarks(stage.name, total)]
    return found


def _losses(stage: ShardStage, total: ByLanguage) -> list[str]:
    """Return a sentence for each language that loses much, the largest losses first, and one for those beyond NAMED."""
    lost: Counter[str] = Counter()
    for (use, name, _), documents in total.dropped.items():
        lost[name] += documents if use == stage.name else 0
    judged = {name: n for (use, name), n in total.judged.items() if use == stage.name}
    much = [name for name, n in judged.items() if n >= LEAST and lost[name] > MUCH * n]
    much.sort(key=lambda name: (-lost[name], name))
    alone, found = much if len(much) <= NAMED else much[: NAMED - 1], []
    for name in alone:
        rules = [(rule, n) for (use, tag, rule), n in total.dropped.items() if (use, tag) == (stage.name, name)]
        what = f"language {name}" if not name.startswith("script ") else f"texts in {name}"
        found.append(f"{_share(stage, what, lost[name], judged[name])}: {_largest(rules)}.")
    if rest := much[len(alone) :]:
        counts = _largest([(name, lost[name]) for name in rest])
        dropped, seen = sum(lost[name] for name in rest), sum(judged[name] for name in rest)
        found.append(f"{_share(stage, f'{len(rest)} more languages', dropped, seen)}: {counts}.")
    return [*found[:-1], f"{found[-1]} {_remedy(stage)}"] if found else []


def _share(stage: ShardStage, what: str, lost: int, documents: int) -> str:
    return f"{stage.name} drops {lost:,} of {documents:,} documents of {what} ({lost / documents:.0%})"


def _remedy(stage: ShardStage) -> str:
    learn = "learn its limits from good text with `winnow rules fit`"
    if getattr(stage, "language", ""):
        return f"If that is not what these texts deserve, {learn}."
    return (
        "Its words and limits are those of English. For other languages set `language: auto` after a language_id "
        f"stage, or {learn}; or limit the stage to English."
    )


def _remarks(stage: str, total: ByLanguage) -> Iterator[str]:
    names = sorted({remark for use, remark, _ in total.remarks if use == stage})
    for remark in names:
        mine = {tag: n for (use, other, tag), n in sorted(total.remarks.items()) if (use, other) == (stage, remark)}
        yield f"{stage}: {remark}: {sum(mine.values()):,} documents ({_largest(list(mine.items()))})."


def _largest(counts: Sequence[tuple[str, int]]) -> str:
    ordered = sorted(counts, key=lambda item: (-item[1], item[0]))
    more = f", {len(ordered) - NAMED} more" if len(ordered) > NAMED else ""
    return ", ".join(f"{name} {n:,}" for name, n in ordered[:NAMED]) + more
