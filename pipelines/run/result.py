"""What a run came to: documents and tokens per dataset, where the report is, and what there is to say of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pipelines.run.funnel import funnel_html
from pipelines.run.tallies import DatasetTally, MixTally, sums
from stages.inputs.files.left_out import PassedOver

TELLING = 0.02  # of the mix: a share that misses its weight by less is sampling


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run came to: documents and tokens per dataset, and where the report is. stages: names, in order."""

    root: str
    name: str = ""
    stages: tuple[str, ...] = ()
    tallies: dict[str, DatasetTally] = field(default_factory=dict)
    report: str | None = None
    warnings: tuple[str, ...] = ()  # what the mix cannot be as the recipe wishes, and what was set aside
    passed_over: dict[str, list[PassedOver]] = field(default_factory=dict)  # by folders and globs, per dataset
    mixes: tuple[str, ...] = ()  # names of those that were written, where a recipe has several
    changes: tuple[str, ...] = ()  # cells that give something else than when the mix was last written
    was_done: bool = False  # nothing was left to do

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data; `result_of` makes it again."""
        return {
            **asdict(self),
            "passed_over": {n: [i.to_json() for i in items] for n, items in self.passed_over.items()},
        }

    def notes(self) -> list[str]:
        """Return what is worth knowing: rows that could not be read, hold-out, shares beside their weights."""
        found = [text for name, tally in self.tallies.items() for text in _notes(name, tally, self.root)]
        total = sums(list(self.tallies.values()))
        if held := total["held_out"]:
            kept, tokens = total["kept"], total["held_out_tokens"]
            found.append(f"held out of the mix: {held:,} of {kept:,} kept documents ({tokens:,} tokens).")
        return found

    def _repr_html_(self) -> str:
        return funnel_html(self, [*self.warnings, *self.notes()], self.report or self.root)


def result_of(data: Mapping[str, Any]) -> RunResult:
    """Return the result that `to_json` made plain data of."""
    passed = {
        name: [PassedOver(i["reason"], i["count"], tuple(i["examples"])) for i in items]
        for name, items in data["passed_over"].items()
    }
    lists = {key: tuple(data[key]) for key in ("stages", "warnings", "mixes", "changes")}
    return RunResult(**{**data, **lists, "passed_over": passed})


def _notes(name: str, tally: DatasetTally, root: str) -> Iterator[str]:
    if unreadable := tally.get("unreadable"):
        yield f"{name}: {unreadable:,} of {tally['rows']:,} rows could not be read; {root}/quarantine lists them."
    for mix, taken in tally.get("mixes", {}).items():
        yield from _misses(f"{name} in mix {mix}" if mix else name, taken)


def _misses(of: str, taken: MixTally) -> Iterator[str]:
    """Say how far a dataset's part of a mix is from what was asked for."""
    share, asked, wanted = taken["share"], taken["wanted"], taken["tokens_wanted"]
    if asked is not None and abs(share - asked) >= TELLING:
        word = "more" if share > asked else "less"
        yield f"{of}: {share:.1%} of the tokens, {word} than the {asked:.1%} that its weight asks for."
    missing = (wanted or 0) - taken["tokens"]
    if wanted and abs(missing) > TELLING * wanted:
        word = "short by" if missing > 0 else "over by"
        by = f"{word} {abs(missing):,} ({abs(missing) / wanted:.1%})"
        yield f"{of}: {taken['tokens']:,} of {wanted:,} tokens, {by}."
