"""Filters by import path: NeMo Curator's protocol, its arguments, and what is said where something is wrong."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from cluster.errors import RecipeError
from stages.document_filter import DocumentFilter

SOURCE = """
class WordCount:
    def __init__(self, min_words=2, label="x"):
        self.min_words, self.label = min_words, label

    def score_document(self, text):
        return len(text.split())

    def keep_document(self, score):
        return score >= self.min_words


class Ready:
    def score_document(self, text):
        return {"ready": text}

    def keep_document(self, scores):
        return "yes" in scores["ready"]


class NoFilter:
    pass


class Prepared(WordCount):
    def model_check_or_download(self):
        self.steps = ["checked"]

    def load_model(self):
        self.steps.append("loaded")

    def score_document(self, text):
        return len(self.steps)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_filters.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "own_filters"


def judge(stage: DocumentFilter, *texts: str) -> tuple[list[float | None], list[bool]]:
    facts = stage.annotate(pa.table({"text": pa.array(texts, pa.large_string())}))
    assert facts.schema == stage.schema
    verdict = stage.decide(facts)
    assert verdict.reasons == ("filtered",)
    return facts.column("score").to_pylist(), (~verdict.dropped).tolist()


def test_a_filter_scores_and_keeps(module: str) -> None:
    assert judge(DocumentFilter(filter=f"{module}:WordCount"), "one", "one two") == ([1, 2], [False, True])
    stage = DocumentFilter(filter=f"{module}:WordCount", arguments=("min_words=1", "label=a b"))
    assert judge(stage, "one", "") == ([1, 0], [True, False])


def test_a_filter_inverted_keeps_the_rest(module: str) -> None:
    assert judge(DocumentFilter(filter=f"{module}:WordCount", invert=True), "one", "one two") == ([1, 2], [True, False])


def test_a_filter_with_a_model_is_prepared_as_nemo_curator_does(module: str) -> None:
    assert judge(DocumentFilter(filter=f"{module}:Prepared"), "one") == ([2], [True])


def test_scores_that_are_no_numbers_decide_too(module: str) -> None:
    assert judge(DocumentFilter(filter=f"{module}:Ready"), "yes", "no") == ([None, None], [True, False])


def test_arguments_and_source_are_part_of_the_facts_address(module: str) -> None:
    one = DocumentFilter(filter=f"{module}:WordCount")
    assert one.fact_digest() != DocumentFilter(filter=f"{module}:WordCount", arguments=("min_words=3",)).fact_digest()
    assert one.fact_digest() == DocumentFilter(filter=f"{module}:WordCount", name="words").fact_digest()


@pytest.mark.parametrize(
    ("path", "arguments", "message"),
    [
        ("own_filters:Nothing", (), "has no Nothing.*it has WordCount, Ready, NoFilter"),
        ("own_filters:NoFilter", (), "no method score_document"),
        ("own_filters:WordCount", ("size=3",), r"own_filters:WordCount with size=3 failed with TypeError.*size"),
        ("not_there:X", (), "PYTHONPATH"),
        ("nemo_curator.not_there:X", (), r"winnow-mix\[nemo\]"),
        ("own_filters", (), "MODULE:CLASS"),
        ("own_filters:WordCount", ("3",), "NAME=VALUE"),
    ],
)
def test_what_is_wrong_with_a_filter_is_said(module: str, path: str, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        judge(DocumentFilter(filter=path, arguments=arguments), "text")
