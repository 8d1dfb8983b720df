"""Which rules can judge a language, and what is known of the languages of a batch of texts.

Guarantees: a rule made for English judges another language only where its meaning carries over; limits that were
learned for a language (limits_file.py) always judge it. Memory: the words of a batch's texts in spaceless scripts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifiers import language
from stages.core.arrays import whole
from stages.inputs.ids import scalar_texts
from stages.kernels.dispatch.resident import Resident, texts_at
from stages.kernels.text.heuristic_facts import REPEATED, TOP
from stages.kernels.text.known_words import ENGLISH, UNKNOWN, Known, hash_table, nothing_known
from stages.kernels.text.scripts import NAMES, SPACELESS, scripts_of
from stages.languages import stop_words, words
from stages.languages.limits_file import LanguageLimits

# Gopher's mean word length (3 to 10) is about words between blanks that spell their vowels or nearly so.
ALPHABETS = frozenset({"Latn", "Cyrl", "Grek", "Armn", "Geor", "Hebr", "Arab", "Deva", "Beng", "Guru", "Gujr", "Ethi"})
HANGUL_WORDS = (1.5, 8.0)  # a syllable is one character: 2.9 on average between blanks, in running text
NO_END_MARKS = frozenset({"Thai", "Laoo"})  # a sentence ends with a blank
ASCII_ENDS = frozenset({"Latn", "Cyrl", "Grek", "Geor", "Hebr", "Hang", "Taml", "Telu", "Knda", "Mlym", "Sinh", "Arab"})
NGRAMS = (*(f"top_{n}gram" for n in TOP), *(f"duplicate_{n}grams" for n in REPEATED))


def tag_of(value: str) -> str:
    """Return the language tag of a fact, a column's value or what a recipe says: `kor_Hang` is `ko-Hang`."""
    return language.normalise(value.strip()) if value.strip() else ""


def tags_in(column: pa.ChunkedArray) -> list[str]:
    """Return the language tag of every value of a fact or an input column, "" where it has none."""
    values = scalar_texts(whole(column)).dictionary_encode()
    tags = [tag_of(value) for value in values.dictionary.to_pylist()]
    return ["" if place is None else tags[place] for place in values.indices.to_pylist()]


def checked_tag(value: str) -> str:
    """Return the tag of a language that a user names. Raises RecipeError where it is none."""
    return language.check_code(value)


def base_of(tag: str) -> str:
    """Return a tag without its script."""
    return tag.partition("-")[0]


def unknown_to_rules(tag: str, script: str, how: str) -> frozenset[str]:
    """Return the facts whose English limits cannot judge a language in a script, whose words are found by `how`."""
    if base_of(tag) == "en":
        return frozenset()
    found = set()
    if script not in ALPHABETS and script != "Hang":
        found.add("mean_word_length")
    if script in NO_END_MARKS:
        found.add("line_punctuation")
    if script not in ASCII_ENDS or base_of(tag) == "ur":
        found.add("sentences")
    if script in SPACELESS and how == words.CHARACTERS:
        found.update(NGRAMS, ("newlines_per_word",))
    return frozenset(found)


@dataclass(frozen=True)
class Languages:
    """What is known of the languages of some texts, for the kernel and as facts."""

    known: Known
    tags: list[str]
    scripts: npt.NDArray[np.uint8]  # (texts,) places in `scripts.NAMES`


def known_of(
    texts: pa.Array | Resident, tags: list[str] | None, learned: dict[str, LanguageLimits], how: str
) -> Languages:
    """Return what is known of the languages of texts; tags: one for each text, "" where unknown; None: English."""
    scripts = scripts_of(texts)
    if tags is None:
        return Languages(nothing_known(len(texts)), [""] * len(texts), scripts)
    lists: list[tuple[str, ...]] = []
    places: dict[tuple[str, str], int] = {}
    place = np.empty(len(texts), np.int32)
    for row, tag in enumerate(tags):
        key = (tag, NAMES[scripts[row]])
        if key not in places:
            places[key] = _list_of(*key, learned, how, lists)
        place[row] = places[key]
    tables = [hash_table(each) for each in lists]
    bounds = np.cumsum([0, *map(len, tables)]).astype(np.int64)
    joined = np.concatenate([np.empty(0, np.uint64), *tables])
    shortest, longest = (np.array([pick(map(len, each)) for each in lists], np.int64) for pick in (min, max))
    starts, stops, given = _given_words(texts, scripts, how)
    known = Known(place, joined, bounds, shortest, longest, starts, stops, given)
    return Languages(known, tags, scripts)


def _list_of(tag: str, script: str, learned: dict[str, LanguageLimits], how: str, lists: list[tuple[str, ...]]) -> int:
    """Return the kernel's place of a language's stop words; adds its list to `lists`."""
    limits = limits_of(tag, learned)
    if limits is not None:
        found = limits.stop_words
    elif base_of(tag) == "en":
        return ENGLISH
    elif script in SPACELESS and how == words.CHARACTERS and script not in ("Hani", "Jpan"):
        return UNKNOWN  # a word is a letter there: none of the list can be found
    else:
        found = stop_words.listed(base_of(tag))
    if not found:
        return UNKNOWN
    lists.append(found)
    return len(lists) - 1


def limits_of(tag: str, learned: dict[str, LanguageLimits]) -> LanguageLimits | None:
    """Return what was learned of a language: under its tag, or without the script."""
    return learned.get(tag) or learned.get(base_of(tag))


def _given_words(
    texts: pa.Array | Resident, scripts: npt.NDArray[np.uint8], how: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    starts, stops = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    counts = np.zeros(len(texts) + 1, np.int64)
    spaceless = np.isin(scripts, [NAMES.index(name) for name in sorted(SPACELESS)])
    rows = np.flatnonzero(spaceless)
    for row, text in zip(rows, texts_at(texts, rows), strict=True):
        begin, end = words.words(text.as_py(), NAMES[scripts[row]], how)
        starts.append(begin)
        stops.append(end)
        counts[row + 1] = len(begin)
    return np.concatenate(starts), np.concatenate(stops), np.cumsum(counts)


def kinds(facts: pa.Table) -> Iterator[tuple[tuple[str, str], npt.NDArray[np.int64]]]:
    """Yield (language tag, script) and the rows of each pair that occurs, sorted."""
    columns = [whole(facts.column(name)).fill_null("").dictionary_encode() for name in ("language", "script")]
    names = [column.dictionary.to_pylist() for column in columns]
    codes = [column.indices.to_numpy(zero_copy_only=False).astype(np.int64) for column in columns]
    both = codes[0] * max(len(names[1]), 1) + codes[1]
    found = {}
    for code in np.unique(both).tolist():
        tag, script = divmod(code, max(len(names[1]), 1))
        found[names[0][tag], names[1][script]] = np.flatnonzero(both == code)
    yield from sorted(found.items())
