"""Samples as CSV files for people to label: `good` is theirs to fill in, all other columns say which document it is."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from cluster import storage
from cluster.errors import RecipeError
from pipelines.shown_text import visible

COLUMNS = ("doc_id", "dataset", "language", "good", "text")
YES, NO = ("yes", "y", "1", "true", "good"), ("no", "n", "0", "false", "bad")
DELIMITERS = (",", ";", "\t")  # spreadsheets write that of the country
SHOWN = 5000  # characters
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would compute what begins so


def write(path: str, rows: pa.Table, texts: Mapping[int, str]) -> None:
    """Write the documents of a sample, in an order that does not tell the filter's verdict."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in rows.sort_by("place").to_pylist():
        text = visible(texts.get(row["doc"], ""))[:SHOWN]
        shown = f"'{text}" if text.startswith(FORMULA) else text
        writer.writerow([row["doc"], row["dataset"], row["language"], "", shown])
    storage.write_bytes(path, out.getvalue().encode("utf-8-sig"))


def read(path: str, docs: Sequence[int]) -> list[bool | None]:
    """Return the label of each document, None where `good` is empty. Raises RecipeError where they do not fit."""
    try:
        text = storage.read_bytes(path).decode("utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(
            f"{path} does not exist. Write it with --export, label it, then give it to --import."
        ) from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path} is not UTF-8 text. Save it as CSV in UTF-8.") from None
    found: dict[int, bool | None] = {}
    for line, doc, good in _rows(path, text):
        if found.setdefault(doc, good) != good:
            raise RecipeError(f"{path}, line {line}: document {doc} has two different labels.")
    wanted = set(docs)
    strange = [doc for doc in found if doc not in wanted]
    if strange or not found:
        what = f"document {strange[0]} is none of the sample" if strange else "it holds no row"
        raise RecipeError(f"{path} does not fit: {what}. Give the same run, stage, documents and seed as for --export.")
    if all(good is None for good in found.values()):
        raise RecipeError(f"{path} holds no label. Fill in column good: yes or no; rows left empty are passed over.")
    return [found.get(doc) for doc in docs]


def _rows(path: str, text: str) -> Iterator[tuple[int, int, bool | None]]:
    """Yield line, document and label of each row that is not empty."""
    first = next(iter(text.splitlines()), "")
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.DictReader(io.StringIO(text, newline=None), delimiter=delimiter)
    if missing := {"doc_id", "good"} - set(_fields(path, reader)):
        raise RecipeError(f"{path} lacks the column {min(missing)}. Keep those of --export: {', '.join(COLUMNS)}.")
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise RecipeError(f"{path}, line {reader.line_num}: {error}. Save it as CSV again.") from None
        if row is None:
            return
        doc, good = (row["doc_id"] or "").strip(), (row["good"] or "").strip().lower()
        if not any(value for value in row.values()):
            continue  # spreadsheets leave such rows at the end
        if not (doc.isascii() and doc.isdigit()):
            raise RecipeError(f"{path}, line {reader.line_num}: column doc_id must be a number, got {doc!r}.")
        if good and good not in (*YES, *NO):
            raise RecipeError(f"{path}, line {reader.line_num}: column good must be yes or no, got {good!r}.")
        yield reader.line_num, int(doc), None if not good else good in YES


def _fields(path: str, reader: csv.DictReader[str]) -> Sequence[str]:
    try:
        return reader.fieldnames or ()
    except csv.Error as error:
        raise RecipeError(f"{path}, line 1: {error}. Save it as CSV again.") from None
