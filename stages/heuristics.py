"""Heuristic quality filters on words, lines and repetition: Gopher, C4 and FineWeb as presets.

Every number is a fact, measured in one pass over the text, so presets and limits change without reading text.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from stages.core.arrays import BoolArray, FloatArray
from stages.core.stage import Decisions, ShardStage, param
from stages.implicit import count_tokens
from stages.kernels.text import heuristic_facts
from stages.kernels.text.heuristic_facts import FACTS, Readings


@dataclass(frozen=True)
class Limit:
    """A document stays if `low <= fact <= high`; with `strict` the low bound itself is not enough."""

    fact: str
    low: float = -np.inf
    high: float = np.inf
    strict: bool = False

    def breaks(self, value: FloatArray) -> BoolArray:
        """Mark float32 facts outside the limit, (rows,) bool; limits are rounded to float32 like the facts."""
        low, high = float(np.float32(self.low)), float(np.float32(self.high))
        found: BoolArray = (value <= low if self.strict else value < low) | (value > high)
        return found


def _limits(*limits: Limit) -> dict[str, Limit]:
    return {limit.fact: limit for limit in limits}


GOPHER_QUALITY = _limits(  # Rae et al. 2021, arXiv:2112.11446v2, A1.1
    Limit("num_words", 50, 100_000),
    Limit("mean_word_length", 3, 10),
    Limit("hash_ratio", high=0.1),
    Limit("ellipsis_ratio", high=0.1),
    Limit("bullet_lines", high=0.9),
    Limit("ellipsis_lines", high=0.3),
    Limit("alpha_words", 0.8),
    Limit("stop_words", 2),
)
GOPHER_REPETITION = _limits(  # Rae et al. 2021, arXiv:2112.11446v2, table A1
    Limit("duplicate_lines", high=0.3),
    Limit("duplicate_line_chars", high=0.2),
    Limit("duplicate_paragraphs", high=0.3),
    Limit("duplicate_paragraph_chars", high=0.2),
    *(Limit(f"top_{n}gram", high=0.24 - 0.02 * n) for n in (2, 3, 4)),
    *(Limit(f"duplicate_{n}grams", high=round(0.20 - 0.01 * n, 2)) for n in range(5, 11)),
)
FINEWEB = _limits(  # Penedo et al. 2024, arXiv:2406.17557v2, 3.6, and its published code
    Limit("line_punctuation", 0.12, strict=True),
    Limit("short_lines", high=0.67),
    Limit("line_duplicate_chars", high=0.01),
    Limit("newlines_per_word", high=0.3),
)
C4 = _limits(  # Raffel et al. 2020, arXiv:1910.10683v4 and the code in TensorFlow Datasets: what drops a whole page
    Limit("curly_brackets", high=0),
    Limit("lorem_ipsum", high=0),
    Limit("sentences", 3),
)
C4_JMLR = C4 | _limits(Limit("sentences", 5))  # Raffel et al. 2020, JMLR 21(140), 2.2
MC4 = _limits(Limit("long_lines", 3))  # Xue et al. 2021, arXiv:2010.11934v3, 3.1: lines of 200 characters or more
PRESETS: dict[str, dict[str, Limit]] = {
    "gopher": GOPHER_QUALITY | GOPHER_REPETITION,
    "gopher_quality": GOPHER_QUALITY,
    "gopher_repetition": GOPHER_REPETITION,
    "fineweb": FINEWEB,
    "c4": C4,
    "c4_jmlr": C4_JMLR,
    "mc4": MC4,
}
TOKENS = "num_tokens"  # a fact where the recipe names a tokenizer
LIMITED = (*FACTS, TOKENS)
INVERTED = "within_limits"  # the reason where `invert` drops what the limits keep
_LIMIT = re.compile(r"\s*(\w+)\s*(<=|>=)\s*([-+.\deE]+)\s*")


@dataclass(frozen=True, kw_only=True)
class Heuristics(ShardStage):
    """Measure words, lines and repetition; keep documents within the limits of the presets.

    Reads: text. Writes: one number per fact (see `stages.kernels.text.heuristic_facts`). Drops: under the name of
    the fact whose limit is broken first, in the order of the presets; value and threshold say by how much.

    Where a publication leaves a definition open, docs/heuristics.md says how winnow reads it, and a parameter gives the
    other readings (`split`, `signs`, `counts`, `overlaps`, `share_of`, `top_ties`, `stop_words_count`, `ellipses`,
    `blank_lines`).
    """

    use: ClassVar[str] = "heuristics"
    version: ClassVar[int] = 3  # 2 took shares of tokens for shares of words, and n-grams that occur once
    summary: ClassVar[str] = "Rules of Gopher, C4 and FineWeb about words, lines and repetition"
    schema: ClassVar[pa.Schema] = pa.schema([(name, pa.float32()) for name in LIMITED])
    expansion: ClassVar[float] = 3.0

    presets: tuple[str, ...] = param(("gopher", "fineweb"), "sets of limits: " + ", ".join(PRESETS))
    limits: tuple[str, ...] = param((), "limits of single facts, for instance num_words>=20; replace the presets'")
    invert: bool = param(False, "drop what the limits keep, and keep the rest")
    allow_no_end_marks: bool = param(False, "FineWeb's limit of line_punctuation spares texts without any end mark")
    end_marks: str = param("", "what a line of prose ends with, characters (default: sentence ends)", fact=True)
    short_line: int = param(heuristic_facts.SHORT_LINE, "characters of a short line, at most", fact=True, ge=1)
    tokenizer: str = param("", "tokenizer.json that counts num_tokens, for limits of it", fact=True, metavar="PATH")
    split: str = param(
        "tokens", "words: tokens of English, or pieces between white space", fact=True, choices=heuristic_facts.SPLIT
    )
    signs: str = param(
        "ngrams",
        "tokens without letter or digit count in n-grams, also in the words that shares are of, as words, or never",
        fact=True,
        choices=heuristic_facts.SIGNS,
    )
    counts: str = param(
        "later", "repeated: copies after the first, or all of them", fact=True, choices=heuristic_facts.COUNTS
    )
    overlaps: str = param(
        "skipped",
        "of repeated n-grams: the words of one are skipped, or each character that any covers counts",
        fact=True,
        choices=heuristic_facts.OVERLAPS,
    )
    share_of: str = param(
        "text",
        "characters that repeated ones are a share of: the text's, or the compared lines', paragraphs', words'",
        fact=True,
        choices=heuristic_facts.SHARE_OF,
    )
    top_ties: str = param(
        "first", "top n-gram among equally frequent ones", fact=True, choices=heuristic_facts.TOP_TIES
    )
    stop_words_count: str = param(
        "different", "stop words: different ones, or all", fact=True, choices=heuristic_facts.STOP_WORDS_COUNT
    )
    ellipses: str = param(
        "joined", "spaced: three points with blanks between them too", fact=True, choices=heuristic_facts.ELLIPSES
    )
    blank_lines: str = param(
        "skipped",
        "counted: blank lines are lines where bullet_lines and ellipsis_lines are taken",
        fact=True,
        choices=heuristic_facts.BLANK_LINES,
    )

    def validate(self) -> None:
        for name in self.presets:
            if name not in PRESETS:
                raise self.error("presets", name, "one of " + ", ".join(PRESETS))
        if any(mark.isspace() for mark in self.end_marks):
            raise self.error("end_marks", self.end_marks, "characters that are no white space", "Lines are stripped.")
        if TOKENS in self.rules() and not self.tokenizer:
            raise self.error("tokenizer", "", f"a tokenizer.json where limits name {TOKENS}")

    @property
    def readings(self) -> Readings:
        """How the publications are read: every parameter of that name."""
        names = (f.name for f in dataclasses.fields(Readings))
        return Readings(**{name: getattr(self, name) for name in names if hasattr(self, name)})

    def model_digest(self) -> str:
        return count_tokens.digest_of(self.tokenizer) if self.tokenizer else ""

    def rules(self) -> dict[str, Limit]:
        """Return the limits in force as a mapping from fact to limit."""
        rules: dict[str, Limit] = {}
        for name in self.presets:
            rules |= PRESETS[name]
        own: dict[str, Limit] = {}
        for text in self.limits:
            found = _LIMIT.fullmatch(text)
            if not found or found[1] not in LIMITED:
                remedy = "Facts are " + ", ".join(LIMITED) + "."
                raise self.error("limits", text, "FACT>=NUMBER or FACT<=NUMBER", remedy)
            fact, bound = found[1], _number(found[3])
            if bound is None:
                raise self.error("limits", text, "FACT>=NUMBER or FACT<=NUMBER")
            old = own.get(fact, Limit(fact))
            low, high = (bound, old.high) if found[2] == ">=" else (old.low, bound)
            own[fact] = Limit(fact, low, high)
        return rules | own

    def annotate(self, documents: pa.Table) -> pa.Table:
        from stages.kernels.text.heuristics import measure

        texts = documents.column("text").combine_chunks()
        found = measure(texts, self.readings).astype(np.float32)
        columns = [pa.array(found[:, i]) for i in range(len(FACTS))]
        return pa.table([*columns, self._tokens(texts)], schema=self.schema)

    def _tokens(self, texts: pa.Array) -> pa.Array:
        if not self.tokenizer:
            return pa.nulls(len(texts), pa.float32())
        return pa.array(count_tokens.counts(self.tokenizer, texts.to_pylist()).astype(np.float32))

    def decide(self, facts: pa.Table) -> Decisions:
        rules = self.rules()
        reason = np.full(facts.num_rows, -1, np.int16)
        value, threshold = np.full(facts.num_rows, np.nan), np.full(facts.num_rows, np.nan)
        for code, rule in enumerate(rules.values()):
            number = facts.column(rule.fact).to_numpy().astype(np.float64)
            broken = rule.breaks(number) & (reason < 0)
            if self.allow_no_end_marks and rule.fact == "line_punctuation":
                broken &= number > 0
            reason[broken], value[broken] = code, number[broken]
            threshold[broken] = np.where(number[broken] > rule.high, rule.high, rule.low)
        if self.invert:
            kept = np.where(reason < 0, 0, -1).astype(np.int16)
            return Decisions(kept, (INVERTED,), np.full(len(kept), np.nan), np.full(len(kept), np.nan))
        return Decisions(reason, tuple(rules), value, threshold)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
