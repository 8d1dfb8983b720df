"""What given files seem to be: datasets, presets, columns, scores. Guesses for a first recipe, from a few rows.

Guarantees: reads the first rows of one file of every dataset and of every subfolder; the same files, the same answer.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from cluster import storage
from cluster.errors import RecipeError, WinnowError
from stages.core.shard import Columns, Dataset
from stages.inputs import side_files
from stages.inputs.files.discover import Found, discover
from stages.inputs.presets import PRESETS

ROWS = 200  # looked at in a file
LISTED = 20  # files that a recipe names one by one; more become a glob
TEXTS = ("text", "content", "raw_content", "body", "document", "markdown", "article", "page", "completion", "code")
IDS = ("id", "uid", "uuid", "_id", "doc_id", "docid", "document_id", "record_id", "warc_record_id", "WARC-Record-ID")
URLS = ("url", "uri", "link", "source_url", "page_url", "warc_target_uri", "WARC-Target-URI")
LONG = 100  # characters of a text on average, where no name tells which column it is
SIGNATURES = {  # columns that files of a published dataset have and others hardly have
    "dclm": ("bff_contained_ngram_count_before_dedupe", "language_id_whole_page_fasttext"),
    "fineweb-edu": ("int_score", "dump", "file_path"),
    "zyda1": ("source_other", "filtering_features"),
}
SCORE = re.compile(
    r"(?:^|[_.])(?:score|quality|prob|probability|edu|toxic|toxicity|perplexity)(?:$|[_.])", re.IGNORECASE
)


@dataclass(frozen=True)
class Score:
    """A column of numbers that may be a score, with what was seen of it."""

    column: str
    low: float
    median: float
    high: float


@dataclass(kw_only=True)
class Guess:
    """One dataset as it seems to be. doubts: what somebody should look at, in sentences."""

    name: str
    paths: list[str]
    preset: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    scores: list[Score] = field(default_factory=list)
    others: list[str] = field(default_factory=list)  # columns that could be passed through
    doubts: list[str] = field(default_factory=list)


def look(paths: Sequence[str]) -> tuple[list[Guess], list[str]]:
    """Return the datasets that files, folders and globs hold, and in sentences what of it is none.

    A folder whose files and subfolders have different columns is a dataset for each kind of columns; files named one by
    one are a dataset for each folder that they lie in.

    Raises
    ------
    RecipeError
        A path holds no data that can be read, or nothing has a column that can be a text.
    """
    found: list[Guess] = []
    left: list[str] = []
    for name, places in _places(paths):
        for below, paths_here, files in _split(places, left):
            guess = _guess(below.partition(".")[0] or name, paths_here, files, left)
            if guess is not None:
                guess.name = _unique(guess.name, [g.name for g in found])
                found.append(guess)
    if not found:
        raise RecipeError(f"{' '.join(left)} Write the recipe by hand, with columns.text.")
    return found, left


def _places(paths: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield (name, paths) of what may be one dataset each; files of one folder go together."""
    files: dict[str, list[str]] = {}
    for path in paths:
        if storage.is_local(path) and os.path.isfile(path):
            files.setdefault(os.path.dirname(path), []).append(path)
        else:
            yield _name_of(path), [path]
    for folder, names in files.items():
        if len(names) > LISTED:
            ends = {"".join(PurePosixPath(name).suffixes[-2:]) for name in names}
            names = [f"{folder or '.'}/*{end}" for end in sorted(ends)]
        name = _name_of(names[0]) if len(names) == 1 else _name_of(folder or os.path.basename(os.getcwd()))
        yield name, names


def _split(places: list[str], left: list[str]) -> Iterator[tuple[str, list[str], list[Found]]]:
    """Yield (name, paths, files) of the entries of a folder that have the same columns; all as ("", places, files).

    left : takes a sentence on every entry that holds nothing, where there are several kinds.
    """
    files = _files(places)
    entries: dict[str, list[Found]] = {}
    for file in files:
        entries.setdefault(file.relative_path.partition("/")[0], []).append(file)
    one_folder = len(places) == 1 and storage.is_local(places[0]) and os.path.isdir(places[0])
    kinds: dict[frozenset[str], list[str]] = {}
    for entry, group in sorted(entries.items()) if one_folder else ():
        kinds.setdefault(_shape(group[0].path), []).append(entry)
    if len(kinds) < 2:
        yield "", places, files
        return
    for name in sorted(name for name in storage.names(places[0]) - entries.keys() if name[0] not in "._"):
        left.append(f"{_inside(places[0], name)} is left out: it holds no documents in a format that is read.")
    for alike in sorted(kinds.values()):
        yield alike[0], _paths_of(places[0], alike, entries), [file for entry in alike for file in entries[entry]]


def _paths_of(folder: str, alike: list[str], entries: dict[str, list[Found]]) -> list[str]:
    """Return the paths of entries of a folder; of more than a recipe can list, a glob for each ending of theirs."""
    if len(alike) <= LISTED:
        return [_inside(folder, entry) for entry in alike]
    ends = {"".join(PurePosixPath(entry).suffixes[-2:]) for entry in alike}
    others = [entry for entry in entries if entry not in alike and entry.endswith(tuple(filter(None, ends)))]
    if "" in ends or others:
        return [_inside(folder, entry) for entry in alike]
    return [_inside(folder, f"*{end}") for end in sorted(ends)]


def _shape(path: str) -> frozenset[str]:
    """Return the columns of a file, by its first row."""
    return frozenset(next(iter(_head(path, 1)), {}))


def _files(places: list[str]) -> list[Found]:
    problem: RecipeError | None = None
    found: dict[str, Found] = {}
    for text in TEXTS:  # a JSON or CSV file without the text column counts as a side file
        try:
            dataset = Dataset(name="data", paths=tuple(places), columns=Columns(text=text))
            found.update((file.path, file) for file in discover(dataset).files if file.path not in found)
        except RecipeError as error:
            problem = problem or error
    if not found:
        assert problem is not None
        raise RecipeError(str(problem).replace("dataset data: ", "", 1))
    return sorted(found.values(), key=lambda file: (file.relative_path, file.path))


def _head(path: str, rows: int = ROWS) -> list[dict[str, Any]]:
    """Return the first rows of a file, up to one that cannot be read, which `winnow check` explains."""
    found: list[dict[str, Any]] = []
    with contextlib.suppress(WinnowError, OSError):
        found.extend(itertools.islice(side_files.rows(path), rows))  # what came before an error stays
    return found


def _guess(name: str, places: list[str], files: list[Found], left: list[str]) -> Guess | None:
    """Return what a dataset seems to be; None, and a sentence in `left`, where nothing in it can be a text."""
    rows = next((rows for file in files[:5] if (rows := _head(file.path))), [])
    guess = Guess(name=_valid(name), paths=places)
    values = _values(rows)
    guess.preset = _preset(rows, values, files)
    if guess.preset is None:
        guess.columns = _columns(values, guess.doubts)
    if not guess.preset and not guess.columns:
        shown = ", ".join(values) or "none that could be read"
        left.append(
            f"{', '.join(places[:3])} is left out: no column looks like the text of documents; there are {shown}."
        )
        return None
    used = {*guess.columns.values(), "text", "id", "url"}
    guess.scores = [score for key, seen in values.items() if (score := _score(key, seen)) is not None]
    guess.others = [key for key in values if key not in used and "." not in key]
    return guess


def _values(rows: Iterable[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the values seen of every column, those of structs under dotted paths; nulls left out."""
    found: dict[str, list[Any]] = {}
    for row in rows:
        for key, value in _flat(row):
            seen = found.setdefault(key, [])
            if value is not None:
                seen.append(value)
    return found


def _flat(row: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in row.items():
        path = f"{above}{key}"
        yield path, value
        if isinstance(value, dict) and not above and "." not in key:
            yield from _flat(value, f"{path}.")


def _preset(rows: list[dict[str, Any]], values: dict[str, list[Any]], files: list[Found]) -> str | None:
    """Return the published dataset that these files come from; None where they may be anything."""
    for name, preset in PRESETS.items():
        columns = [c for c in (preset.columns.text, preset.columns.id, preset.columns.url) if c is not None]
        tops = {column.partition(".")[0] for column in columns}
        signed = all(
            any(key == mark or key.startswith(f"{mark}.") for key in values) for mark in SIGNATURES.get(name, ())
        )
        named = any(preset.expects(file.relative_path) for file in files)
        if rows and tops <= set(rows[0]) and (named or (name in SIGNATURES and signed)):
            return name
    return None


def _columns(values: dict[str, list[Any]], doubts: list[str]) -> dict[str, str]:
    """Return the columns of text, id and URL by role; empty where nothing can be a text."""
    texts = {key: seen for key, seen in values.items() if seen and all(isinstance(v, str) for v in seen)}
    text = _by_name(TEXTS, texts) or _longest(texts)
    if text is None:
        return {}
    if text.rpartition(".")[2] not in TEXTS:
        doubts.append(f"the text is taken from {text}, whose values are the longest")
    found = {"text": text}
    plain = {key: seen for key, seen in values.items() if key != text and seen and not isinstance(seen[0], list | dict)}
    for role, names in (("id", IDS), ("url", URLS)):
        column = _by_name(names, plain)
        if column is not None:
            found[role] = column
    return found


def _by_name(names: Sequence[str], values: dict[str, list[Any]]) -> str | None:
    """Return the column with the first of these names, whole names before the ends of dotted ones."""
    lower = {key.lower(): key for key in reversed(values)}
    ends = {key.rpartition(".")[2].lower(): key for key in reversed(values)}
    for known in (lower, ends):
        for name in names:
            if name.lower() in known:
                return known[name.lower()]
    return None


def _longest(texts: dict[str, list[str]]) -> str | None:
    means = {key: statistics.fmean(map(len, seen)) for key, seen in texts.items()}
    best = max(means, key=lambda key: means[key], default=None)
    return best if best is not None and means[best] >= LONG else None


def _score(key: str, seen: list[Any]) -> Score | None:
    numbers = [float(v) for v in seen if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(seen) or not numbers or not SCORE.search(key):
        return None
    return Score(key, min(numbers), statistics.median(numbers), max(numbers))


def _inside(folder: str, below: str) -> str:
    return f"{folder.rstrip('/')}/{below}"


def _name_of(path: str) -> str:
    """Return a name for what lies at a path or pattern: the last part without wildcards and endings."""
    parts = [part for part in re.split(r"[/\\]", path) if part and part != "." and not set(part) & set("*?[")]
    last = parts[-1] if parts else os.path.basename(os.getcwd())
    return last.partition(".")[0] or last


def _valid(name: str) -> str:
    """Return a name with the signs that a dataset's name may have.

    >>> _valid("my data (2024)")
    'my_data_2024'
    """
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_-") or "data"


def _unique(name: str, taken: Sequence[str]) -> str:
    numbered = (f"{name}_{i}" for i in itertools.count(2))
    return next(n for n in itertools.chain([name], numbered) if n not in taken)
