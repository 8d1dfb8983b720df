"""The funnel in the terminal: every stage that dropped something has a line, and the columns add up."""

from __future__ import annotations

import io

from rich.console import Console

from pipelines.run.funnel import funnel_table
from pipelines.run.runner import DatasetTally, RunResult


def tally(rows: int, dropped: dict[str, int]) -> DatasetTally:
    kept = rows - sum(dropped.values())
    return {"rows": rows, "dropped": dropped, "kept": kept, "tokens": 10 * kept, "epochs": 1.5}


def shown(result: RunResult) -> dict[str, list[str]]:
    """Return the cells of each line of the table, by its first cell."""
    out = io.StringIO()
    Console(file=out, width=120).print(funnel_table(result))
    lines = [line.split("│")[1:-1] for line in out.getvalue().splitlines() if line.startswith("│")]
    return {first.strip(): [cell.strip() for cell in cells] for first, *cells in lines}


def test_stages_that_no_recipe_names_have_their_line_where_they_drop_something() -> None:
    tallies = {"a": tally(10, {"read": 1, "rewrite": 2}), "b": tally(1000, {"pii": 30})}
    stages = ("read", "count_tokens", "pii", "rewrite")
    lines = shown(RunResult(root="run", name="x", stages=stages, tallies=tallies))
    assert list(lines) == ["rows", "- read", "- pii", "- rewrite", "kept", "", "tokens", "epochs"]
    assert lines["rows"] == ["10", "1,000", "1,010"]
    assert lines["- rewrite"] == ["2", "", "2"]
    assert lines["kept"] == ["7", "970", "977"]
    assert lines["epochs"] == ["1.5", "1.5", ""]


def test_one_dataset_needs_no_sum() -> None:
    lines = shown(RunResult(root="run", name="x", stages=("read",), tallies={"a": tally(3, {})}))
    assert lines["kept"] == ["3"]
