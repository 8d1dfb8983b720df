"""Checks that every shard stage should pass, to be inherited by the tests of a stage of your own.

    from stages.testing import StageSuite

    class TestShouting(StageSuite):
        stage = Shouting(min_calm=0.7)

pytest finds the methods; nothing here imports it, so the module can be imported wherever winnow is installed.
Guarantees: each check states one promise that runs rely on: facts are stored under the digest of the parameters marked
`fact=True` and used again, batches are cut wherever memory asks for it, and stages travel to workers by pickle.
"""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
import typing
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from stages.core.stage import Decisions, ShardStage
from stages.registry import stage_class

__all__ = ["StageSuite", "same", "sample_documents"]

NAME = re.compile("[a-z][a-z0-9_]*")
PLAIN = (
    "The library lends books to everybody who lives in the town, and to guests for a week.",
    "WE ARE OPEN TODAY. CALL 555-0100 OR WRITE TO DESK@EXAMPLE.COM NOW!!!",
    "one two three four five six seven eight nine ten\n- eleven\n- twelve\n\nThirteen, fourteen; fifteen.",
    "a",
)
ODD = (
    "",
    " \t\n",
    "\x00 between \x00 nulls \x7f",
    "\ufeffbyte order mark, line\u2028and paragraph\u2029separators, \r\n and \x85",
    "e\u0301\u0323 combining, \u202eright to left\u202c, \u200bzero width\u200d",
    "\U0001f469\u200d\U0001f4bb \U0001f1fa\U0001f1f3 \U0010ffff",
    "\u7f51\u9875\u6587\u672c\uff0c\u6ca1\u6709\u7a7a\u683c\u3002",
    "نص عربي مع أرقام ١٢٣",
    "\ufb01ne \uff37\uff29\uff24\uff25 \u0130stanbul \xdf \u01c5",
)
LONG = ("x" * 70_000, "ä word, " * 20_000, "\n" * 5_000 + "end")  # one word; many words; many lines


def sample_documents(columns: tuple[str, ...]) -> pa.Table:
    """Return plain, odd and long documents with these columns: "text", "id", "url" or "column:NAME" (numbers)."""
    texts = [*PLAIN, *ODD, *LONG]
    urls = ["https://www.example.com/a-b?c=d", "http://münchen.example/", "not a url", "", None]
    made = {
        "text": pa.array(texts, pa.large_string()),
        "id": pa.array([None if i % 5 == 4 else f"id-{i}" for i in range(len(texts))], pa.large_string()),
        "url": pa.array([urls[i % len(urls)] for i in range(len(texts))], pa.large_string()),
    }
    numbers = pa.array([None if i % 7 == 6 else float(i % 5) for i in range(len(texts))], pa.float64())
    return pa.table({name: made.get(name, numbers) for name in columns})


def same(one: pa.Table, other: pa.Table) -> bool:
    """Tell whether two tables hold the same values under the same schema; NaN equals NaN."""
    return bool(one.schema.equals(other.schema)) and repr(one.to_pylist()) == repr(other.to_pylist())


def _plain(decisions: Decisions) -> list[tuple[str | None, str, str]]:
    """Return reason, value and threshold of each row."""
    names = [decisions.reasons[code] if code >= 0 else None for code in decisions.reason.tolist()]
    value, threshold = (list(map(repr, a.tolist())) for a in (decisions.value, decisions.threshold))
    return list(zip(names, value, threshold, strict=True))


class StageSuite:
    """Inherit it, name the class Test…, and give it the `stage` to check.

    Override `documents` where the stage needs other columns or texts than `sample_documents` gives, and `other_values`
    to say which values its parameters may take besides.
    """

    stage: ShardStage

    def documents(self) -> pa.Table:
        """Return the documents that the stage is tried on: columns of `stage.columns()`, text without nulls."""
        return sample_documents(self.stage.columns())

    def other_values(self) -> dict[str, Any]:
        """Return another value for each parameter that has an obvious one."""
        fields = dataclasses.fields(self.stage)
        found = {f.name: _another(f, getattr(self.stage, f.name)) for f in fields}
        return {name: value for name, value in found.items() if value is not None}

    # --- what the class declares ---------------------------------------------------------------------------

    def test_it_is_a_frozen_dataclass_with_keywords_only(self) -> None:
        cls = type(self.stage)
        parameters = cls.__dict__.get("__dataclass_params__")
        assert parameters is not None, f"{cls.__name__} must have @dataclass(frozen=True, kw_only=True) of its own"
        assert parameters.frozen, f"{cls.__name__} must be frozen"
        assert all(f.kw_only for f in dataclasses.fields(cls)), f"{cls.__name__} must be kw_only"

    def test_every_parameter_is_declared_with_param_and_a_type(self) -> None:
        cls = type(self.stage)
        hints = typing.get_type_hints(cls)
        for f in dataclasses.fields(cls):
            assert f.metadata.get("help"), f"{cls.__name__}.{f.name} must be declared with param(default, help)"
            assert f.name in hints, f"{cls.__name__}.{f.name} has no type"

    def test_it_has_a_name_a_summary_and_a_docstring(self) -> None:
        cls = type(self.stage)
        assert NAME.fullmatch(cls.use), f"use must be lower-case letters, digits and _, got {cls.use!r}"
        assert cls.__doc__, f"{cls.__name__} has no docstring"
        assert not cls.__doc__.startswith(f"{cls.__name__}("), f"{cls.__name__} has only the docstring of a dataclass"
        if not cls.hidden:
            assert cls.summary, f"{cls.__name__} has no summary"
            assert "\n" not in cls.summary, "the summary is one line"
        assert isinstance(cls.version, int)

    def test_recipes_find_it_by_its_key(self) -> None:
        if not type(self.stage).hidden:
            assert stage_class(type(self.stage).key()) is type(self.stage)

    def test_it_names_columns_that_winnow_can_read(self) -> None:
        columns = self.stage.columns()
        assert columns, "columns() must name what annotate reads"
        for name in columns:
            assert name in ("text", "id", "url") or name.removeprefix("column:") not in ("", name), (
                f"no column {name!r}"
            )
        assert "row" not in self.stage.schema.names, "facts get a column row when they are stored"

    # --- facts ---------------------------------------------------------------------------------------------

    def test_facts_have_the_declared_schema_and_a_row_per_document(self) -> None:
        documents = self.documents()
        facts = self.stage.annotate(documents)
        assert facts.schema.equals(self.stage.schema), f"annotate gave {facts.schema}"
        assert facts.num_rows == documents.num_rows

    def test_an_empty_batch_has_facts_without_rows(self) -> None:
        facts = self.stage.annotate(self.documents().slice(0, 0))
        assert facts.schema.equals(self.stage.schema)
        assert facts.num_rows == 0
        assert len(self.stage.decide(facts).reason) == 0

    def test_the_same_documents_give_the_same_facts(self) -> None:
        documents = self.documents()
        assert same(self.stage.annotate(documents), self.stage.annotate(documents))

    def test_facts_do_not_depend_on_how_documents_are_cut_into_batches(self) -> None:
        documents = self.documents()
        whole = self.stage.annotate(documents)
        for rows in (1, 3, max(1, documents.num_rows - 1)):
            batches = [self.stage.annotate(documents.slice(i, rows)) for i in range(0, documents.num_rows, rows)]
            assert same(pa.concat_tables(batches), whole), f"batches of {rows} documents give other facts"

    def test_facts_do_not_depend_on_the_chunks_of_a_column(self) -> None:
        documents = self.documents()
        chunked = pa.concat_tables([documents.slice(0, 2), documents.slice(2, 0), documents.slice(2)])
        assert same(self.stage.annotate(chunked), self.stage.annotate(documents))

    def test_facts_do_not_depend_on_the_order_of_documents(self) -> None:
        documents = self.documents()
        order = pa.array(np.random.default_rng(5).permutation(documents.num_rows))
        assert same(self.stage.annotate(documents.take(order)), self.stage.annotate(documents).take(order))

    # --- decisions -----------------------------------------------------------------------------------------

    def test_decisions_have_a_row_per_fact_and_name_their_reasons(self) -> None:
        facts = self.stage.annotate(self.documents())
        found = self.stage.decide(facts)
        for name in ("reason", "value", "threshold"):
            assert getattr(found, name).shape == (facts.num_rows,), f"{name} must be of shape (rows,)"
        assert found.reason.dtype == np.int16
        assert all(-1 <= code < len(found.reasons) for code in found.reason.tolist()), "a reason is not in reasons"
        assert self.stage.drops or not found.dropped.any(), "drops is False, yet decide drops documents"

    def test_decide_is_pure(self) -> None:
        facts = self.stage.annotate(self.documents())
        before = repr(facts.to_pylist())
        assert _plain(self.stage.decide(facts)) == _plain(self.stage.decide(facts))
        assert repr(facts.to_pylist()) == before, "decide changed its facts"

    def test_a_document_is_decided_alone(self) -> None:
        facts = self.stage.annotate(self.documents())
        together = _plain(self.stage.decide(facts))
        alone = [_plain(self.stage.decide(facts.slice(i, 1)))[0] for i in range(facts.num_rows)]
        assert alone == together, "a decision depends on other documents"

    def test_edits_lie_inside_their_texts_in_order(self) -> None:
        if not self.stage.rewrites():
            return
        documents = self.documents()
        texts = [text.encode() for text in documents.column("text").to_pylist()]
        edits = self.stage.edits(self.stage.annotate(documents))
        places = list(
            zip(*(a.tolist() for a in (edits.row, edits.left, edits.start, edits.stop, edits.right)), strict=True)
        )
        assert places == sorted(places, key=lambda place: (place[0], place[2])), "edits are sorted by row, then start"
        for row, left, start, stop, right in places:
            assert 0 <= left <= start < stop <= right <= len(texts[row]), f"edit {start}-{stop} of document {row}"
            texts[row][:start].decode(), texts[row][:stop].decode()  # ends between characters

    # --- parameters ----------------------------------------------------------------------------------------

    def _variants(self) -> Iterator[tuple[dataclasses.Field[Any], ShardStage]]:
        """Yield each parameter with the stage that has another value of it."""
        from cluster.errors import RecipeError

        values = self.other_values()
        for f in dataclasses.fields(self.stage):
            if f.name in values:
                try:
                    yield f, dataclasses.replace(self.stage, **{f.name: values[f.name]})
                except RecipeError:  # does not go with the other parameters
                    continue

    def test_the_facts_digest_follows_the_parameters_marked_as_facts(self) -> None:
        for f, other in self._variants():
            changed = other.fact_digest() != self.stage.fact_digest()
            assert changed == bool(f.metadata.get("fact")), f"fact_digest and parameter {f.name}"

    def test_the_digest_follows_every_parameter_but_guards(self) -> None:
        for f, other in self._variants():
            changed = other.digest() != self.stage.digest()
            assert changed != bool(f.metadata.get("guard")), f"digest and parameter {f.name}"

    def test_facts_depend_on_no_parameter_that_is_not_marked(self) -> None:
        documents = self.documents()
        facts = self.stage.annotate(documents)
        for f, other in self._variants():
            if not f.metadata.get("fact") and other.columns() == self.stage.columns():
                assert same(other.annotate(documents), facts), f"facts depend on {f.name}: mark it fact=True"

    # --- travelling ----------------------------------------------------------------------------------------

    def test_a_pickled_copy_is_equal_and_gives_the_same(self) -> None:
        twin = pickle.loads(pickle.dumps(self.stage))
        assert twin == self.stage
        assert twin.fact_digest() == self.stage.fact_digest()
        assert twin.digest() == self.stage.digest()
        documents = self.documents()
        facts = twin.annotate(documents)
        assert same(facts, self.stage.annotate(documents))
        assert _plain(twin.decide(facts)) == _plain(self.stage.decide(facts))

    def test_annotating_changes_no_parameter(self) -> None:
        before = copy.deepcopy(self.stage)
        self.stage.decide(self.stage.annotate(self.documents()))
        assert self.stage == before


def _another(f: dataclasses.Field[Any], value: Any) -> Any:
    """Return another value of a parameter's kind within its bounds; None where none is obvious."""
    low, high = f.metadata.get("ge"), f.metadata.get("le")
    if f.metadata.get("choices"):
        return next((choice for choice in f.metadata["choices"] if choice != value), None)
    if f.name == "name":
        return f"{value}_2"
    if f.name == "datasets":
        return ("another",)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1 if high is None or value + 1 <= high else value - 1
    if isinstance(value, float):
        return value / 2 if value and (low is None or value / 2 >= low) else (1.0 if high is None else high / 2)
    if value is None and low is not None:
        return low
    return None
