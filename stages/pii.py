"""Personal data: found once as spans, replaced, hashed or cut when the mix is written.

Guarantees: the input is never changed; another mode reads no text again; spans are bytes of the original text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.core.arrays import whole
from stages.core.edits import Edits, apply, from_spans, merge
from stages.core.stage import Decisions, ShardStage, param
from stages.detect import national_ids, own_patterns
from stages.detect.identifier_forms import IDENTIFIERS
from stages.detect.personal_data import KINDS, Found, found_in, resolved
from stages.detect.spans import with_white_space

MODES = ("replace", "hash", "drop", "keep")
SPAN = pa.struct(
    [
        ("start", pa.int32()),
        ("stop", pa.int32()),
        ("left", pa.int32()),
        ("right", pa.int32()),
        ("kind", pa.string()),
        ("hash", pa.uint64()),
    ]
)
_OWN_TEXT = re.compile(r"(\w+)=(.*)", re.DOTALL)


def _mode(kind: str) -> Any:
    return param("replace", f"what becomes of {kind}: {', '.join(MODES)}", choices=MODES)


@dataclass(frozen=True, kw_only=True)
class Pii(ShardStage):
    """Find personal data; replace, hash or cut it out of what is written.

    Reads: text. Writes: spans (bytes of the original text, kind, keyed hash). Drops: documents with more than
    `max_found` spans (`personal_data`). `replace` writes <EMAIL>, `hash` <EMAIL-0123456789abcdef>, equal for equal
    data; `drop` leaves nothing. Other stages judge the text as it was read. What overlaps is one span: of your own
    patterns first, then national identifiers, then the others in the order of the parameters.
    """

    use: ClassVar[str] = "pii"
    version: ClassVar[int] = 3  # 2 masked some addresses in part, or not at all
    summary: ClassVar[str] = "Find personal data and replace, hash or cut it in what is written"
    schema: ClassVar[pa.Schema] = pa.schema([("spans", pa.list_(SPAN))])

    email: str = _mode("e-mail addresses")
    ip: str = _mode("public IP addresses")
    phone: str = _mode("phone numbers")
    credit_card: str = _mode("payment card numbers that pass Luhn's check")
    iban: str = _mode("IBANs that pass mod 97")
    other: str = _mode("what else Presidio finds")
    national_ids: tuple[str, ...] = param(
        (), "national identifiers to look for: " + ", ".join(IDENTIFIERS), fact=True, metavar="KIND"
    )
    national_id: str = _mode("the national identifiers looked for")
    patterns: tuple[str, ...] | Mapping[str, str] = param(
        (), "what else to look for: a mapping of names to regular expressions (RE2), or NAME=REGEX", fact=True
    )
    pattern: str = _mode("what the patterns match")
    replacements: tuple[str, ...] = param((), "texts to put instead, for instance email=email@example.com")
    max_found: int | None = param(None, "drop documents with more personal data than this", ge=0)
    salt: str = param(
        "", "secret that hashes are keyed with; without one short numbers can be guessed", fact=True, secret=True
    )
    redact_columns: tuple[str, ...] = param(
        (), "columns of the mix to redact besides the text, such as url or one of output.columns", metavar="COLUMN"
    )
    detector: str = param(
        "builtin", "builtin, or presidio (extra presidio)", fact=True, choices=("builtin", "presidio")
    )
    entities: tuple[str, ...] = param((), "Presidio's entities to look for (default: the five kinds)", fact=True)
    language: str = param("en", "language that Presidio analyses in", fact=True)
    presidio_config: str = param(
        "", "Presidio's analyzer configuration, a YAML file (default: its own, with en_core_web_lg)", metavar="PATH"
    )

    def __post_init__(self) -> None:
        if isinstance(self.patterns, Mapping):
            pairs = tuple(f"{name}={regex}" for name, regex in sorted(self.patterns.items()))
            object.__setattr__(self, "patterns", pairs)
        super().__post_init__()

    @property
    def own(self) -> dict[str, str]:
        """The patterns by name."""
        return own_patterns.split(tuple(self.patterns))

    @property
    def kinds(self) -> tuple[str, ...]:
        """What is looked for by name, the more important first."""
        return (*self.own, *self.national_ids, *KINDS)

    def validate(self) -> None:
        self._check_names()
        for text in self.replacements:
            m = _OWN_TEXT.fullmatch(text)
            if not m or m[1] not in (*self.kinds, "other"):
                raise self.error(
                    "replacements", text, "KIND=TEXT with KIND one of " + ", ".join((*self.kinds, "other"))
                )
        for key, value in (("entities", list(self.entities)), ("presidio_config", self.presidio_config)):
            if value and self.detector != "presidio":
                raise self.error(key, value, "empty unless detector is presidio")
        if "text" in self.redact_columns or len(set(self.redact_columns)) < len(self.redact_columns):
            raise self.error("redact_columns", list(self.redact_columns), "other columns than text, each once")
        for key in ("national_ids", "patterns"):
            if getattr(self, key) and self.detector != "builtin":
                raise self.error(
                    key, list(getattr(self, key)), "empty unless detector is builtin", "Use two pii stages."
                )

    def _check_names(self) -> None:
        for name in self.national_ids:
            if name not in IDENTIFIERS:
                raise self.error("national_ids", name, "among " + ", ".join(IDENTIFIERS))
        taken = {*KINDS, *IDENTIFIERS, "other"}
        for text in self.patterns:
            name, equals, regex = text.partition("=")
            if not equals or not own_patterns.NAME.fullmatch(name) or name in taken:
                raise self.error("patterns", text, "NAME=REGEX with a name of a-z, 0-9 and _ that no other kind has")
            taken.add(name)
            if wrong := own_patterns.problem(regex):
                raise self.error("patterns", regex, f"a regular expression that RE2 takes; {name}: {wrong}")

    @property
    def costly(self) -> bool:
        return self.detector == "presidio"

    @property
    def drops(self) -> bool:
        return self.max_found is not None

    def model_digest(self) -> str:
        if self.detector == "presidio":
            from stages.detect import presidio

            return presidio.version(self.presidio_config)
        from stages.detect.urls import list_version

        return list_version()

    def annotate(self, documents: pa.Table) -> pa.Table:
        texts = whole(documents.column("text"))
        found = self._presidio(texts) if self.detector == "presidio" else self._builtin(texts)
        offsets = np.zeros(len(texts) + 1, np.int32)
        spans: list[dict[str, object]] = []
        for row, text, items in found:
            offsets[row + 1] = len(items)
            spans.extend(self._span(text, *item) for item in items)
        column = pa.ListArray.from_arrays(pa.array(np.cumsum(offsets, dtype=np.int32)), pa.array(spans, SPAN))
        return pa.table([column], schema=self.schema)

    def _builtin(self, texts: pa.Array) -> Iterator[tuple[int, bytes, list[Found]]]:
        if not self.national_ids and not self.patterns:
            return builtin(texts)
        return builtin(texts, self.national_ids, self.own)

    def _presidio(self, texts: pa.Array) -> Iterator[tuple[int, bytes, list[Found]]]:
        from stages.detect import presidio

        return presidio.find(texts, self.entities, self.language, self.presidio_config)

    def _span(self, text: bytes, start: int, stop: int, kind: str) -> dict[str, object]:
        key = hashlib.blake2b(self.secret("salt").encode()).digest()
        value = hashlib.blake2b(canonical(text[start:stop], kind), digest_size=8, key=key).digest()
        left, right = with_white_space(text, start, stop)
        found = {"start": start, "stop": stop, "left": left, "right": right}
        return {**found, "kind": kind, "hash": int.from_bytes(value, "big")}

    def decide(self, facts: pa.Table) -> Decisions:
        if self.max_found is None:
            return Decisions.keep_all(facts.num_rows)
        count = pc.list_value_length(facts.column("spans")).to_numpy().astype(np.float64)
        reason = np.where(count > self.max_found, 0, -1).astype(np.int16)
        return Decisions(reason, ("personal_data",), count, np.full(len(count), float(self.max_found)))

    def figures(self, facts: pa.Table) -> dict[str, int]:
        kinds = pc.struct_field(pc.list_flatten(whole(facts.column("spans"))), "kind")
        counts = {entry["values"]: entry["counts"] for entry in pc.value_counts(kinds).to_pylist()}
        names = self.kinds if self.detector == "builtin" else ()
        return {name: counts.pop(name, 0) for name in names} | dict(sorted(counts.items()))

    def edits(self, facts: pa.Table) -> Edits:
        lists = whole(facts.column("spans"))
        spans = pc.list_flatten(lists)
        kinds, hashes = pc.struct_field(spans, "kind").to_pylist(), pc.struct_field(spans, "hash").to_pylist()
        own = {m[1]: m[2] for text in self.replacements if (m := _OWN_TEXT.fullmatch(text))}
        modes = [getattr(self, self._parameter(kind)) for kind in kinds]
        shown = [kind if kind in self.kinds else "other" for kind in kinds]
        texts = [_instead(*found, own) for found in zip(modes, kinds, hashes, shown, strict=True)]
        every = from_spans(lists, pa.array(texts, pa.large_string()))
        return every.take(np.array([mode != "keep" for mode in modes], np.bool_))

    def masked(self, values: pa.Array) -> pa.Array:
        """Return the values of a column with what is found in them edited; nulls stay.

        What stands percent-encoded in a URL is found too; such a value is written decoded.
        """
        texts = pc.fill_null(values.cast(pa.large_string()), "")
        done = self._edited(texts)
        coded = np.flatnonzero(pc.match_substring(texts, "%").to_numpy(zero_copy_only=False))
        if len(coded):
            plain = pa.array([unquote(done[int(i)].as_py(), errors="replace") for i in coded], pa.large_string())
            again = self._edited(plain)
            found = pc.not_equal(plain, again).to_numpy(zero_copy_only=False)
            new = done.to_pylist()
            for place, text in zip(coded[found].tolist(), again.filter(pa.array(found)).to_pylist(), strict=True):
                new[place] = text
            done = pa.array(new, pa.large_string())
        return pc.if_else(values.is_valid(), done, pa.scalar(None, pa.large_string()))

    def _edited(self, texts: pa.Array) -> pa.Array:
        return apply(texts, merge([self.edits(self.annotate(pa.table([texts], names=["text"])))]))

    def _parameter(self, kind: str) -> str:
        """Return the parameter that says what becomes of a kind."""
        if kind in KINDS:
            return kind
        return "national_id" if kind in self.national_ids else "pattern" if kind in self.own else "other"


def _instead(mode: str, kind: str, value: int, shown: str, own: dict[str, str]) -> str:
    if mode == "hash":
        return f"<{kind.upper()}-{value:016x}>"
    return own.get(shown, f"<{kind.upper()}>") if mode == "replace" else ""


def canonical(data: bytes, kind: str) -> bytes:
    """Return what is hashed, so that one number written in two ways has one hash."""
    if kind in ("phone", "credit_card", "kr_phone"):
        return bytes(byte for byte in data if 48 <= byte <= 57)
    if kind == "iban" or kind in IDENTIFIERS:
        return bytes(byte for byte in data.lower() if byte not in b" -./")
    return data.lower()


def builtin(
    texts: pa.Array, ids: tuple[str, ...] = (), patterns: Mapping[str, str] | None = None
) -> Iterator[tuple[int, bytes, list[Found]]]:
    """Yield (row, text, what is found) of the texts that hold personal data.

    ids : national identifiers to look for; patterns : regular expressions by name.
    """
    from stages.kernels.text.pii_windows import windows

    found = windows(texts)
    first = np.flatnonzero(np.diff(found[:, 0], prepend=-1))
    parts = np.split(found, first[1:]) if len(found) else []
    looks = {int(rows[0, 0]): rows[:, 1:] for rows in parts}
    matches = own_patterns.find(texts, patterns or {})
    kinds = (*(patterns or {}), *ids, *KINDS)
    for row in range(len(texts)) if ids else sorted(looks.keys() | matches.keys()):
        text = texts[row].as_buffer().to_pybytes()
        every = (
            *matches.get(row, ()),
            *national_ids.find(text, ids),
            *(found_in(text, looks[row].tolist()) if row in looks else ()),
        )
        if items := resolved(text, every, kinds):
            yield row, text, items
