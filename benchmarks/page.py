"""docs/benchmarks.md: tables stand between `<!-- bench NAME -->` and `<!-- end -->`, where this tool writes them.

A block that does not begin as the tool begins them (`WRITTEN`) was put there by hand and stays until it runs.

Guarantees: what stands outside of the marks, and tables of benchmarks that did not run, stay as they are.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from benchmarks import tables

BLOCK = re.compile(r"<!-- bench ([a-z]+) -->\n.*?<!-- end -->", re.DOTALL)
WRITTEN = re.compile(r"\d{4}-\d\d-\d\d, .* cores \(.*\bCommand: `python -m benchmarks [^.`]")  # date, machine, command
_HEADING = re.compile(r"^## (.*)$", re.MULTILINE)


def write(path: Path, results: dict[str, Any]) -> None:
    """Write the tables of `results` to their places on the page. Raises SystemExit where it has none for one."""
    page = path.read_text()
    places = set(BLOCK.findall(page))
    missing = [name for name, _ in tables.SECTIONS if name in results and name not in places]
    if missing:
        raise SystemExit(
            f"{path} has no place for {', '.join(missing)}: add <!-- bench {missing[0]} --> and <!-- end -->"
        )
    path.write_text(with_tables(page, results))


def with_tables(page: str, results: dict[str, Any]) -> str:
    """Return the page with the tables of `results`, each with the machine it was measured on."""
    sections = {name: section for name, section in tables.SECTIONS if name in results}

    def block(match: re.Match[str]) -> str:
        name = match[1]
        if name not in sections:
            return match[0]
        body = _HEADING.sub(r"**\1.**", tables.section(name, results))
        return f"<!-- bench {name} -->\n{tables.machine(results)}\n\n{body}\n<!-- end -->"

    return BLOCK.sub(block, page)


def outside(page: str) -> str:
    """Return what people wrote: the page without its blocks."""
    return BLOCK.sub("", page)
