"""Prompt files: what they must be, and what counts as an answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.endpoint import prompt
from classifiers.endpoint.prompt import Verdict, load, names, parse
from cluster.errors import RecipeError

LABELLED = """
user: "Name it: {text}"
answer: {label: [news, recipe], score: {minimum: 0, maximum: 1}, reason: true}
"""


@pytest.mark.parametrize("name", names("judge"))
def test_every_prompt_of_winnow_loads_and_asks_for_a_score(name: str) -> None:
    found = load(name)
    assert found.name == name
    assert found.scale is not None
    assert found.schema["required"] == list(found.schema["properties"])


def test_a_text_stands_in_the_message_as_it_is() -> None:
    text = 'braces {text} {0} %s "quotes"\n\x00'
    assert load("edu").messages(text)[-1]["content"].count(text) == 1


@given(st.text())
def test_no_text_breaks_a_message(text: str) -> None:
    assert text in load("edu").messages(text)[-1]["content"]


@pytest.mark.parametrize(
    ("content", "score"),
    [
        ('{"reason": "x", "score": 3}', 3.0),
        ('  {"score": 3.0, "reason": ""}  ', 3.0),
        ('```json\n{"reason": "x", "score": 0}\n```', 0.0),
        ('<think>{"score": 5}</think>\n{"reason": "x", "score": 2}', 2.0),
    ],
)
def test_answers_of_the_asked_form_are_taken(content: str, score: float) -> None:
    found = load("edu").verdict(content)
    assert found is not None
    assert found.score == score


@pytest.mark.parametrize(
    "content",
    [
        "",
        "3",
        "score: 3",
        '{"score": 3}',
        '{"reason": "x"}',
        '{"reason": "x", "score": 6}',
        '{"reason": "x", "score": -1}',
        '{"reason": "x", "score": 2.5}',
        '{"reason": "x", "score": "3"}',
        '{"reason": "x", "score": true}',
        '{"reason": "x", "score": NaN}',
        '{"reason": null, "score": 3}',
        '{"reason": "x", "score": 3, "more": 1}',
        '{"reason": "x", "score": 3',
        'Sure! {"reason": "x", "score": 3}',
        '[{"reason": "x", "score": 3}]',
    ],
)
def test_other_answers_are_none(content: str) -> None:
    assert load("edu").verdict(content) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_no_answer_breaks_the_reader(value: object) -> None:
    assert load("edu").verdict(json.dumps(value)) is None


def test_labels_are_one_of_those_asked_for() -> None:
    found = parse(LABELLED, "mine")
    assert found.verdict('{"reason": "r", "score": 0.25, "label": "news"}') == Verdict(
        score=0.25, label="news", reason="r"
    )
    assert found.verdict('{"reason": "r", "score": 0.25, "label": "sport"}') is None


def test_the_digest_follows_every_word() -> None:
    other = LABELLED.replace("Name it", "Name  it")
    assert parse(LABELLED, "a").digest() == parse(LABELLED, "b").digest()
    assert parse(other, "a").digest() != parse(LABELLED, "a").digest()
    assert parse(LABELLED.replace("recipe", "sport"), "a").digest() != parse(LABELLED, "a").digest()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("user: no place", "stands once"),
        ("user: '{text} {text}'", "stands once"),
        ("- a list", "must be a mapping"),
        ("user: '{text}'\nanswers: {}", "unknown key 'answers'"),
        ("user: '{text}'\nanswer: {reason: true}", "a score or a label"),
        ("user: '{text}'\nanswer: {score: {minimum: 5, maximum: 0}}", "numbers in order"),
        ("user: '{text}'\nanswer: {label: [one]}", "two or more"),
        ("user: '{text}'\nmax_chars: 0", "max_chars"),
        ("user: [", "no YAML"),
    ],
)
def test_what_is_wrong_with_a_prompt_is_said(text: str, what: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=what) as error:
        load(str(path))
    assert "mine.yaml" in str(error.value)


def test_an_unknown_name_lists_those_that_exist() -> None:
    with pytest.raises(RecipeError, match="edu, instruction, language_quality, safety"):
        load("education")
    with pytest.raises(RecipeError, match="does not exist"):
        load("nowhere.yaml")
    assert prompt.names("judge") == ["edu", "instruction", "language_quality", "safety"]
