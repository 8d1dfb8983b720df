"""Chunks of a number of tokens; what makes an output unusable."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.endpoint import prompt
from pipelines.synthesise.checks import copied, fault, tidy
from pipelines.synthesise.chunks import chunks, estimated
from pipelines.synthesise.settings import Checks

TEXT = st.text(st.sampled_from("ab .!?\n\u3002\u00e4"), max_size=400)


@given(TEXT, st.integers(1, 30))
def test_chunks_are_the_text_but_for_white_space(text: str, most: int) -> None:
    found = chunks(text, most, 0)
    assert "".join("".join(found).split()) == "".join(text.split())
    for chunk in found:
        assert estimated([chunk])[0] <= most or len(chunk.split()) == 1
        assert chunk == chunk.strip()


@given(TEXT, st.integers(1, 30), st.integers(1, 10))
def test_short_chunks_are_left_out_and_no_other(text: str, most: int, least: int) -> None:
    every = chunks(text, most, 0)
    assert chunks(text, most, least) == [chunk for chunk in every if estimated([chunk])[0] >= least]


def test_two_neighbours_do_not_fit_into_one_chunk() -> None:
    text = " ".join(f"Sentence number {i} is here." for i in range(100))
    found = chunks(text, 50, 1)
    sizes = estimated(found)
    assert max(sizes) <= 50
    assert min(a + b for a, b in itertools.pairwise(sizes)) > 40


@pytest.mark.parametrize("name", prompt.names("rewrite"))
def test_every_rewriting_prompt_asks_for_plain_text(name: str) -> None:
    found = prompt.load(name, "rewrite")
    assert found.plain
    assert found.name == name


SOURCE = " ".join(f"source{i}" for i in range(60))
SAID = " ".join(f"other{i}" for i in range(60))


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (SAID, ""),
        ("too few words", "too_short"),
        (" ".join([SAID] * 9), "too_long"),
        (f"I'm sorry, but I can't. {SAID}", "refusal"),
        (f"As an AI language model I say {SAID}", "refusal"),
        (f"Here is the rewritten version of it. {SAID}", "prompt_leak"),
        (f"{SAID} <|im_end|>", "prompt_leak"),
        (f"{SAID} one two three four five six seven eight", "prompt_leak"),
        (SOURCE, "copied"),
    ],
)
def test_unusable_outputs_have_a_reason(output: str, reason: str) -> None:
    told = "Tell it again: one two three four five six seven eight nine"
    assert fault(SOURCE, output, told, Checks()) == reason


def test_another_language_is_a_fault() -> None:
    assert fault(SOURCE, SAID, "", Checks(), lambda one, other: False) == "language"
    assert fault(SOURCE, SAID, "", Checks(language=False), lambda one, other: False) == ""


def test_what_the_source_says_too_is_no_fault() -> None:
    assert fault(f"I'm sorry, but I left. {SOURCE}", f"I'm sorry, but I went. {SAID}", "", Checks()) == ""


def test_the_share_that_was_copied() -> None:
    assert copied(SOURCE, SOURCE) == 1.0
    assert copied(SOURCE, SAID) == 0.0
    assert copied(SOURCE, "few words") == 0.0


@pytest.mark.parametrize(
    "output",
    [
        "Water boils.",
        "Sure! \n\nWater boils.",
        "Here is the text:\nWater boils.",
        "```\nWater boils.\n```",
        "<think>how?</think>\n\nWater boils.",
    ],
)
def test_what_surrounds_an_output_is_taken_off(output: str) -> None:
    assert tidy(output) == "Water boils."
