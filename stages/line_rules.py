"""Line filters of C4 and RefinedWeb: lines that are not prose are cut when the mix is written.

Guarantees: every rule is a fact of every line, so the choice of rules reads no text again; spans are bytes of the
original text. Memory: one number per line and rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stages.core.arrays import array, list_column, whole
from stages.core.edits import Edits, from_spans, merge
from stages.core.stage import Decisions, ShardStage, param
from stages.detect.line_signs import (
    FEWEST_WORDS,
    NO_MARK_UNCITED,
    ONLY_NAVIGATION,
    RULES,
    Signs,
    bits_of,
    find_lines,
)
from stages.kernels.dispatch.resident import Resident, portions

I64 = npt.NDArray[np.int64]
C4 = ("end_mark", "few_words", "javascript", "policy", "long_word", "citations")
PRESETS = {
    "c4": C4,  # Raffel et al. 2020, arXiv:1910.10683v4, 2.2, and the code in TensorFlow Datasets
    "c4_jmlr": C4,  # Raffel et al. 2020, JMLR 21(140), 2.2: 3 words
    "refinedweb": RULES[4:9],  # Penedo et al. 2023, arXiv:2306.01116v1, G.2
}
JMLR_WORDS = 3
LINE = pa.struct(
    [
        ("start", pa.int32()),
        ("stop", pa.int32()),
        ("words", pa.int32()),
        ("uncited", pa.int32()),  # words without citations
        ("sentences", pa.int32()),
        ("rules", pa.uint16()),
    ]
)
CUT = pa.struct([("start", pa.int32()), ("stop", pa.int32()), ("rule", pa.uint16())])
REASONS = ("bad_lines", "few_sentences")


@dataclass(frozen=True, kw_only=True)
class LineRules(ShardStage):
    """Cut lines that break rules of C4 or RefinedWeb; citation markers and navigation go out of lines that stay.

    Reads: text. Writes: the lines that break a rule, and which; spans inside lines. Drops: documents that lose more
    than `max_removed` of their words, counted in all lines that break a rule (`bad_lines`; RefinedWeb: 0.05), and
    those whose remaining lines hold fewer than `min_sentences` (`few_sentences`; C4's code: 3 after lines were cut).
    Words are runs of characters that are no white space, sentences end in . ! or ? before white space.

    References: C4, Raffel et al. 2020 (arXiv:1910.10683v4 and TensorFlow Datasets, preset `c4`; JMLR 21(140), preset
    `c4_jmlr`: 3 words); RefinedWeb, Penedo et al. 2023 (arXiv:2306.01116v1, appendix G.2).
    """

    use: ClassVar[str] = "line_rules"
    version: ClassVar[int] = 2  # 1 cut lines of navigation whole, and every line of signs and digits
    summary: ClassVar[str] = "cut lines by the rules of C4 and RefinedWeb out of what is written"
    schema: ClassVar[pa.Schema] = pa.schema(
        [
            ("num_words", pa.int32()),
            ("num_sentences", pa.int32()),
            ("lines", pa.list_(LINE)),
            ("cuts", pa.list_(CUT)),
        ]
    )
    expansion: ClassVar[float] = 3.0
    device_expansion: ClassVar[float] = 15.0  # COLUMNS of line_counts for lines of eight bytes, and where texts begin

    rules: tuple[str, ...] = param(("c4",), "presets or rules: " + ", ".join((*PRESETS, *RULES)))
    max_removed: float | None = param(None, "drop documents that lose a larger share of their words", ge=0, le=1)
    min_sentences: int | None = param(None, "drop documents with fewer sentences in the lines that stay", ge=1)
    navigation: str = param(
        "edit", "what is cut of lines with navigation: it alone, or the line", choices=("edit", "cut")
    )
    min_words: int | None = param(
        None, "words that few_words asks for (default: 5; with preset c4_jmlr 3)", fact=True, ge=1, le=100_000
    )
    end_marks: str = param('.!?"', "characters that end_mark accepts", fact=True)
    max_word_length: int = param(1000, "characters of a word that long_word accepts", fact=True, ge=1)
    max_uppercase: float = param(0.5, "share of capitals that uppercase accepts", fact=True, ge=0, le=1)
    uppercase_of: str = param("letters", "what capitals are a share of", fact=True, choices=("letters", "characters"))
    max_digits: float | None = param(
        None, "share of digits that numeric accepts (default: cut lines of digits alone)", fact=True, ge=0, le=1
    )

    def validate(self) -> None:
        for name in self.rules:
            if name not in PRESETS and name not in RULES:
                raise self.error("rules", name, "one of " + ", ".join((*PRESETS, *RULES)))
        if not self.end_marks or any(mark.isspace() for mark in self.end_marks):
            raise self.error("end_marks", self.end_marks, "characters that are no white space")

    @property
    def host_text(self) -> bool:
        return False

    @property
    def _names(self) -> set[str]:
        return {rule for name in self.rules for rule in PRESETS.get(name, (name,))}

    @property
    def _fewest_words(self) -> int:
        if self.min_words is not None:
            return self.min_words
        return JMLR_WORDS if "c4_jmlr" in self.rules and "c4" not in self.rules else FEWEST_WORDS

    def annotate(self, documents: pa.Table) -> pa.Table:
        found = [self._facts(texts) for texts in portions(whole(documents.column("text")))]
        return pa.concat_tables(found).combine_chunks()

    def _facts(self, texts: pa.Array | Resident) -> pa.Table:
        signs = Signs(
            end_marks=self.end_marks,
            min_words=self.min_words or FEWEST_WORDS,
            max_word_length=self.max_word_length,
            max_uppercase=self.max_uppercase,
            uppercase_of=self.uppercase_of,
            max_digits=self.max_digits,
        )
        found = find_lines(texts, signs)
        sums = (np.bincount(found.text, weights=w, minlength=len(texts)) for w in (found.words, found.sentences))
        bad = found.rules > 0
        numbers = (found.start, found.stop, found.words, found.uncited, found.sentences, found.rules)
        lines = _structs([a[bad] for a in numbers], LINE)
        cuts = _structs(list(found.cuts[:, 1:].T), CUT)
        columns = [
            *(pa.array(total.astype(np.int32)) for total in sums),
            list_column(len(texts), found.text[bad], lines),
            list_column(len(texts), found.cuts[:, 0], cuts),
        ]
        return pa.table(columns, schema=self.schema)

    @property
    def drops(self) -> bool:
        return self.max_removed is not None or self.min_sentences is not None

    def decide(self, facts: pa.Table) -> Decisions:
        rows = facts.num_rows
        if not self.drops:
            return Decisions.keep_all(rows)
        lists = whole(facts.column("lines"))
        place, flat = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False), pc.list_flatten(lists)
        flagged, cut = self._in_force(flat)
        reason = np.full(rows, -1, np.int16)
        value, threshold = np.full(rows, np.nan), np.full(rows, np.nan)
        if self.min_sentences is not None:
            lost = np.bincount(place[cut], weights=_numbers(flat, "sentences")[cut], minlength=rows)
            value, threshold = array(facts, "num_sentences") - lost, np.full(rows, float(self.min_sentences))
            reason[value < self.min_sentences] = 1
        if self.max_removed is not None:
            lost = np.bincount(place[flagged], weights=_numbers(flat, "words")[flagged], minlength=rows)
            share = lost / np.maximum(array(facts, "num_words"), 1)
            by_lines = (share > self.max_removed) | (reason < 0)
            value, threshold = np.where(by_lines, share, value), np.where(by_lines, self.max_removed, threshold)
            reason[share > self.max_removed] = 0
        return Decisions(reason, REASONS, value, threshold)

    def edits(self, facts: pa.Table) -> Edits:
        lists, inside = whole(facts.column("lines")), whole(facts.column("cuts"))
        of = self._names & ({"citations", "navigation"} if self.navigation == "edit" else {"citations"})
        cuts = (_numbers(pc.list_flatten(inside), "rule") & bits_of(of)) > 0
        lines = from_spans(lists).take(self._in_force(pc.list_flatten(lists))[1])
        return merge([lines, from_spans(inside).take(cuts)])

    def _in_force(self, lines: pa.Array) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return which lines break a rule in force, and which of them are cut as a whole."""
        names, rules = self._names, _numbers(lines, "rules")
        cited = "citations" in names
        bits = bits_of(names - {"citations", "navigation", "few_words", "end_mark"})
        cut: npt.NDArray[np.bool_] = (rules & bits) > 0
        if "end_mark" in names:
            cut |= (rules & (NO_MARK_UNCITED if cited else bits_of({"end_mark"}))) > 0
        if "few_words" in names:
            cut |= _numbers(lines, "uncited" if cited else "words") < self._fewest_words
        navigation = (rules & bits_of({"navigation"} & names)) > 0
        flagged = cut | navigation
        return flagged, cut | (navigation & ((rules & ONLY_NAVIGATION > 0) | (self.navigation == "cut")))


def _structs(numbers: list[I64], kind: pa.StructType) -> pa.Array:
    fields = [kind.field(i) for i in range(kind.num_fields)]
    arrays = [pa.array(n.astype(f.type.to_pandas_dtype())) for n, f in zip(numbers, fields, strict=True)]
    return pa.StructArray.from_arrays(arrays, fields=fields)


def _numbers(structs: pa.Array, name: str) -> I64:
    return np.asarray(pc.struct_field(structs, name).to_numpy(zero_copy_only=False), np.int64)
