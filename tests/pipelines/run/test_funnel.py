"""The funnel in the terminal: every stage that dropped something has a line, and the columns add up."""

from __future__ import annotations

import io

from rich.console import Console

from pipelines.run.funnel import funnel_table, funnel_tables
from pipelines.run.result import RunResult, result_of
from pipelines.run.tallies import DatasetTally


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


def mixed(share: float, wanted: float) -> DatasetTally:
    taken = {"documents": 7, "rows": 9, "tokens": 300, "share": share, "wanted": wanted, "tokens_wanted": 250}
    return {**tally(1000, {"pii": 30}), "held_out": 4, "held_out_tokens": 40, "kept_tokens": 9700, "mixes": {"": taken}}  # type: ignore[typeddict-item]


def test_a_funnel_fits_a_terminal_of_sixty_columns_and_loses_no_number() -> None:
    tallies = {f"dataset_{n}": mixed(0.2, 0.2) for n in range(5)}
    result = RunResult(root="run", name="x", stages=("pii",), tallies=tallies)
    out = io.StringIO()
    for table in funnel_tables(result, 60):
        Console(file=out, width=60).print(table)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 60
    assert "…" not in out.getvalue()
    assert all(name in out.getvalue() for name in [*tallies, "all"])
    assert "4,850" in out.getvalue()  # kept, in sum
    assert len(funnel_tables(result, 200)) == 1


def test_tokens_stand_below_the_documents_that_they_are_of() -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(
        funnel_table(RunResult(root="r", stages=("pii",), tallies={"a": mixed(0.5, 0.4)}))
    )
    cells = [[c.strip() for c in line.split("│")[1:-1]] for line in out.getvalue().splitlines() if line.startswith("│")]
    assert cells[2:] == [
        ["kept", "970"],
        ["", "97.0%"],
        ["tokens", "9,700"],
        ["- held out", "4"],
        ["tokens", "40"],
        ["in the mix", "7"],
        ["tokens", "300"],
        ["rows", "9"],
        ["wanted", "40.0%"],
        ["epochs", "1.5"],
    ]


def test_notes_tell_hold_out_and_shares_beside_their_weights() -> None:
    notes = RunResult(root="r", stages=("pii",), tallies={"a": mixed(0.5, 0.4)}).notes()
    assert "50.0% of the tokens, more than the 40.0% that its weight asks for" in notes[0]
    assert "300 of 250 tokens, over by 50 (20.0%)" in notes[1]
    assert notes[2] == "held out of the mix: 4 of 970 kept documents (40 tokens)."


def test_a_result_comes_back_from_plain_data() -> None:
    result = RunResult(root="r", name="x", stages=("pii",), tallies={"a": mixed(0.5, 0.4)}, warnings=("w",))
    assert result_of(result.to_json()) == result
