"""Good text of a language, measured: facts of its documents, counts of its words, scores of the language model.

Guarantees: the sample depends on the documents alone, not on files or their order: those with the smallest content
hashes. Memory: `documents` rows of facts for each language (a document's are 250 bytes); at most MOST_WORDS words of
each language, of which the rarest are forgotten, as lossy counting does (Manku and Motwani 2002): a word of one in
100,000 is never lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.kernels.hashes.hashing import buffers, content_hash
from stages.kernels.text.heuristic_facts import FACTS
from stages.kernels.text.heuristics import measure
from stages.kernels.text.splitting import token_bounds
from stages.languages import knowledge

MOST_WORDS = 1_000_000
I64 = npt.NDArray[np.int64]


@dataclass
class Reference:
    """What was measured of one language. documents: how many were seen, of which `facts` holds a sample."""

    most: int
    documents: int = 0
    words: Counter[str] = field(default_factory=Counter)
    forgotten: int = 1  # words that occurred no more often than this may be missing
    hashes: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    rows: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty((0, len(FACTS) + 1), np.float32))

    def facts(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return the sample's facts by name."""
        return {name: self.rows[:, i].astype(np.float64) for i, name in enumerate(FACTS)}

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """Scores of the language model, of those documents that it scored."""
        found = self.rows[:, -1].astype(np.float64)
        return found[~np.isnan(found)]

    def add(self, texts: pa.Array, tag: str, how: str, scores: npt.NDArray[np.float32] | None = None) -> None:
        """Measure texts of the language. scores: of the language model, NaN where it named another language."""
        about = knowledge.known_of(texts, [tag] * len(texts), {}, how)
        extra = scores if scores is not None else np.full(len(texts), np.nan, np.float32)
        rows = np.column_stack([measure(texts, known=about.known), extra]).astype(np.float32)
        self.documents += len(texts)
        self.hashes = np.concatenate([self.hashes, content_hash(*buffers(texts))[0].astype(np.uint64)])
        self.rows = np.concatenate([self.rows, rows])
        if len(self.hashes) > 2 * self.most:
            self.cut()
        given = about.known
        for row, text in enumerate(texts.to_pylist()):
            mine = slice(given.bounds[row], given.bounds[row + 1])
            self.words.update(words_in(text, given.starts[mine], given.stops[mine]))
            if len(self.words) > MOST_WORDS:
                self._forget()

    def cut(self) -> None:
        """Keep the documents with the smallest hashes, in the order of the hashes."""
        order = np.lexsort((*self.rows.T, self.hashes))[: self.most]
        self.hashes, self.rows = self.hashes[order], self.rows[order]

    def _forget(self) -> None:
        while len(self.words) > MOST_WORDS // 2:
            self.words = Counter({word: n for word, n in self.words.items() if n > self.forgotten})
            self.forgotten *= 2


def words_in(text: str, starts: I64, stops: I64) -> Iterable[str]:
    """Yield the words of a text that hold a letter, in lower case, as the rules count them.

    starts, stops : code points at which given words start and stop; none: the text is split as English is.
    """
    if not len(starts):
        starts, stops = token_bounds(text)
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        word = text[start:stop].lower()
        if any(map(str.isalpha, word)):
            yield word
