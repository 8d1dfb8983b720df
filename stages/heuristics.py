"""Heuristic quality filters on words, lines and repetition: Gopher, C4 and FineWeb as presets.

Every number is a fact, measured in one pass over the text, so presets and limits change without reading text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from stages.core.arrays import BoolArray, FloatArray
from stages.core.stage import Decisions, ShardStage, param
from stages.kernels.text.heuristic_facts import FACTS


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


GOPHER_QUALITY = _limits(  # Rae et al. 2021, A1.1
    Limit("num_words", 50, 100_000),
    Limit("mean_word_length", 3, 10),
    Limit("hash_ratio", high=0.1),
    Limit("ellipsis_ratio", high=0.1),
    Limit("bullet_lines", high=0.9),
    Limit("ellipsis_lines", high=0.3),
    Limit("alpha_words", 0.8),
    Limit("stop_words", 2),
)
GOPHER_REPETITION = _limits(  # Rae et al. 2021, table A1
    Limit("duplicate_lines", high=0.3),
    Limit("duplicate_line_chars", high=0.2),
    Limit("duplicate_paragraphs", high=0.3),
    Limit("duplicate_paragraph_chars", high=0.2),
    *(Limit(f"top_{n}gram", high=0.24 - 0.02 * n) for n in (2, 3, 4)),
    *(Limit(f"duplicate_{n}grams", high=round(0.20 - 0.01 * n, 2)) for n in range(5, 11)),
)
FINEWEB = _limits(  # Penedo et al. 2024, 3.6
    Limit("line_punctuation", 0.12, strict=True),
    Limit("short_lines", high=0.67),
    Limit("line_duplicate_chars", high=0.01),
    Limit("newlines_per_word", high=0.3),
)
C4 = _limits(  # Raffel et al. 2020, 2.2: the rules that drop a whole page
    Limit("curly_brackets", high=0),
    Limit("lorem_ipsum", high=0),
    Limit("sentences", 5),
)
PRESETS: dict[str, dict[str, Limit]] = {
    "gopher": GOPHER_QUALITY | GOPHER_REPETITION,
    "gopher_quality": GOPHER_QUALITY,
    "gopher_repetition": GOPHER_REPETITION,
    "fineweb": FINEWEB,
    "c4": C4,
}
_LIMIT = re.compile(r"\s*(\w+)\s*(<=|>=)\s*([-+.\deE]+)\s*")


@dataclass(frozen=True, kw_only=True)
class Heuristics(ShardStage):
    """Measure words, lines and repetition; keep documents within the limits of the presets.

    Reads: text. Writes: one number per fact (see `stages.kernels.text.heuristic_facts`). Drops: under the name of
    the fact whose limit is broken first, in the order of the presets; value and threshold say by how much.
    """

    use: ClassVar[str] = "heuristics"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "Rules of Gopher, C4 and FineWeb about words, lines and repetition"
    schema: ClassVar[pa.Schema] = pa.schema([(name, pa.float32()) for name in FACTS])
    expansion: ClassVar[float] = 3.0

    presets: tuple[str, ...] = param(("gopher", "fineweb"), "sets of limits: " + ", ".join(PRESETS))
    limits: tuple[str, ...] = param((), "limits of single facts, for instance num_words>=20; replace the presets'")

    def validate(self) -> None:
        for name in self.presets:
            if name not in PRESETS:
                raise self.error("presets", name, "one of " + ", ".join(PRESETS))
        self.rules()

    def rules(self) -> dict[str, Limit]:
        """Return the limits in force as a mapping from fact to limit."""
        rules: dict[str, Limit] = {}
        for name in self.presets:
            rules |= PRESETS[name]
        own: dict[str, Limit] = {}
        for text in self.limits:
            found = _LIMIT.fullmatch(text)
            if not found or found[1] not in FACTS:
                remedy = "Facts are " + ", ".join(FACTS) + "."
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

        found = measure(documents.column("text").combine_chunks()).astype(np.float32)
        return pa.table([pa.array(found[:, i]) for i in range(len(FACTS))], schema=self.schema)

    def decide(self, facts: pa.Table) -> Decisions:
        rules = self.rules()
        reason = np.full(facts.num_rows, -1, np.int16)
        value, threshold = np.full(facts.num_rows, np.nan), np.full(facts.num_rows, np.nan)
        for code, rule in enumerate(rules.values()):
            number = facts.column(rule.fact).to_numpy().astype(np.float64)
            broken = rule.breaks(number) & (reason < 0)
            reason[broken], value[broken] = code, number[broken]
            threshold[broken] = np.where(number[broken] > rule.high, rule.high, rule.low)
        return Decisions(reason, tuple(rules), value, threshold)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
