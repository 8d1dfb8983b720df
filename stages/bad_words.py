"""Filter by lists of bad words: C4's rule for pages (Raffel et al. 2020, 2.2), and mC4's for other languages.

Guarantees: reads the lists that the recipe names, no network; facts carry their digest; what is kept by `keep_share`
depends on the text alone. Memory: the lists, one batch of text.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.errors import RecipeError
from stages.core.arrays import array, whole
from stages.core.stage import Decisions, ShardStage, param
from stages.inputs import side_files
from stages.kernels.hashes.hashing import buffers, content_hash, mix64

SALT = 0xBAD_3D5
REASONS = ("bad_words",)


@dataclass(frozen=True, kw_only=True)
class BadWords(ShardStage):
    """Drop documents with listed words, without regard to case.

    Reads: text. Writes: how many different listed words it holds, the first of them by the alphabet, a number in
    [0, 1) drawn by content. Drops: `bad_words` (more than `max_words`), except the share `keep_share` of them. A word
    counts where no letter or digit touches it (`match: word`, C4), or anywhere (`match: substring`: mC4 for Chinese,
    Japanese and Thai). One list serves one language: use the stage once for each, with `datasets`.
    """

    use: ClassVar[str] = "bad_words"
    summary: ClassVar[str] = "Drop documents with words of a list (C4)"
    schema: ClassVar[pa.Schema] = pa.schema([("found", pa.int32()), ("first", pa.string()), ("draw", pa.float64())])

    words: tuple[str, ...] = param((), "files of words or phrases, one a line, or PATH#COLUMN", fact=True)
    match: str = param(
        "word", "where no letter or digit touches it, or anywhere", fact=True, choices=("word", "substring")
    )
    max_words: int = param(0, "drop documents with more different words than this", ge=0)
    keep_share: float = param(0.0, "share of those documents that stays all the same", ge=0, le=1)

    def validate(self) -> None:
        if not self.words:
            raise self.error("words", [], "at least one file", "For instance words.txt, a word a line.")

    def model_digest(self) -> str:
        return hashlib.blake2b("\n".join(_listed(self.words)).encode(), digest_size=8).hexdigest()

    def annotate(self, documents: pa.Table) -> pa.Table:
        texts = whole(documents.column("text"))
        count, first = np.zeros(len(texts), np.int32), list[str | None]([None]) * len(texts)
        hit = pc.match_substring_regex(texts, _pattern(self.words, self.match), ignore_case=True)
        for row in np.flatnonzero(hit.to_numpy(zero_copy_only=False)).tolist():
            found = _found(texts[row].as_py(), self.words, self.match)
            count[row], first[row] = len(found), min(found, default=None)
        h1, _ = content_hash(*buffers(texts))
        draw = mix64(h1, SALT).astype(np.float64) / 2.0**64
        return pa.table([pa.array(count), pa.array(first, pa.string()), pa.array(draw)], schema=self.schema)

    def decide(self, facts: pa.Table) -> Decisions:
        found = array(facts, "found").astype(np.float64)
        dropped = (found > self.max_words) & (array(facts, "draw") >= self.keep_share)
        return Decisions(
            np.where(dropped, 0, -1).astype(np.int16), REASONS, found, np.full(len(found), float(self.max_words))
        )


@functools.lru_cache(maxsize=8)
def _listed(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Return the entries of lists in lower case, sorted. Raises RecipeError where there is none."""
    found = {entry.strip().lower() for path in paths for entry in side_files.entries(path)} - {""}
    if not found:
        raise RecipeError(f"the lists {', '.join(paths)} hold no word. Name files with a word a line.")
    return tuple(sorted(found))


@functools.lru_cache(maxsize=8)
def _pattern(paths: tuple[str, ...], match: str) -> str:
    """Return an RE2 pattern that every text with a listed word matches."""
    words = "|".join(re.escape(word) for word in _listed(paths))
    return f"(?:{words})" if match == "substring" else f"(?:^|[^\\pL\\pN])(?:{words})(?:[^\\pL\\pN]|$)"


@functools.lru_cache(maxsize=8)
def _words_of(paths: tuple[str, ...]) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((word, re.compile(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])")) for word in _listed(paths))


def _found(text: str, paths: tuple[str, ...], match: str) -> set[str]:
    """Return the listed words of a text."""
    lower = text.lower()
    return {
        word for word, pattern in _words_of(paths) if word in lower and (match == "substring" or pattern.search(lower))
    }
