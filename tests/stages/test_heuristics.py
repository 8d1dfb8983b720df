"""Heuristics equal the plain rules on every text, and limits decide without text."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cluster.errors import RecipeError
from stages.heuristics import PRESETS, Heuristics
from stages.kernels.text import heuristic_facts
from stages.kernels.text.heuristic_facts import DEFAULT, FACTS, Readings
from stages.kernels.text.heuristics import measure
from stages.kernels.text.splitting import token_bounds
from tests.support import heuristics_reference, word_tokens_reference

WORDS = ["the", "be", "to", "word", "don't", "3.14", "1,000", "x-y", "漢字", "é", "e\u0301", "A", "_", "\u2019s", "🙂"]
PARTS = [
    "(",
    ")",
    "'s",
    "n't",
    "'ll",
    "+",
    "1",
    "--",
    "/",
    "://",
    "@",
    ".com",
    "e.g.",
    "US$",
    "%",
    "U.S.",
    ":",
    ",",
    ".",
]
MARKS = ["...", "\u2026", "#", "{", "\n", "\n\n", " ", "  ", "\t", "-", "* item", "Lorem ipsum", "end.", "Why?", '"so"']
MARKS += ["\u2028", "\u3000", "\xa0", "\x1c", "\x85"]
MARKS += [". . .", "http://a.b/c", "HTTPS://x;", "\u25cf", "AB", "THE", "x" * 210]
PIECES = st.sampled_from(WORDS + MARKS + PARTS)


def array(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def check(texts: list[str], how: Readings = DEFAULT) -> None:
    found = measure(array(texts), how)
    for row, text in zip(found, texts, strict=True):
        expected = heuristics_reference.facts(text, how)
        assert set(expected) == set(FACTS)
        for name, value in zip(FACTS, row, strict=True):
            assert value == pytest.approx(expected[name], abs=1e-9), (name, text)


@given(st.lists(PIECES, max_size=60).map("".join))
@example("")
@example("\n\n\n")
@example("a...b.... ... \u2026")
@example("http://a\u2028b https://c\u3000d HTTP://e\xa0f http\u017f://g hTTps://h\x1ci http://j\x85k http:// l")
@settings(max_examples=300, deadline=None)
def test_facts_equal_the_plain_rules_on_telling_pieces(text: str) -> None:
    check([text])


READINGS = st.builds(
    Readings,
    split=st.sampled_from(heuristic_facts.SPLIT),
    signs=st.sampled_from(heuristic_facts.SIGNS),
    counts=st.sampled_from(heuristic_facts.COUNTS),
    overlaps=st.sampled_from(heuristic_facts.OVERLAPS),
    share_of=st.sampled_from(heuristic_facts.SHARE_OF),
    top_ties=st.sampled_from(heuristic_facts.TOP_TIES),
    stop_words_count=st.sampled_from(heuristic_facts.STOP_WORDS_COUNT),
    ellipses=st.sampled_from(heuristic_facts.ELLIPSES),
    blank_lines=st.sampled_from(heuristic_facts.BLANK_LINES),
    end_marks=st.sampled_from(["", ".x"]),
    short_line=st.sampled_from([1, 30]),
)


@given(st.lists(PIECES, max_size=60).map("".join), READINGS)
@settings(max_examples=300, deadline=None)
def test_every_reading_equals_the_plain_rules(text: str, how: Readings) -> None:
    check([text], how)


@given(st.lists(st.text(max_size=40), max_size=4))
@settings(max_examples=150, deadline=None)
def test_facts_equal_the_plain_rules_on_any_text(texts: list[str]) -> None:
    check(texts)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ('He said: "it\'s (not) done."', 'He said : " it \'s ( not ) done . "'),
        ("Don't; we'll see e.g. the U.S. -- twenty-one", "Do n't ; we 'll see e.g. the U.S. -- twenty - one"),
        ("www.example.com/a-b, x=y/z 10-20 5% $3.50...", "www.example.com/a-b , x = y / z 10 - 20 5 % $ 3.50 ..."),
        ("\u845b\U000e0100\u98fe. a\U000e01efb", "\u845b \U000e0100 \u98fe . a\U000e01efb"),
        ("==**bold**\n漢字。f(x)", "= = * * bold * * 漢 字 。 f(x )"),
    ],
)
def test_tokens_are_those_of_the_plain_splitter(text: str, tokens: str) -> None:
    assert word_tokens_reference.tokens(text) == tokens.split()
    assert [text[a:b] for a, b in zip(*token_bounds(text), strict=True)] == tokens.split()


def test_facts_equal_the_plain_rules_on_repetitive_documents() -> None:
    rng = random.Random(1)
    words = [f"w{i}" for i in range(12)]
    lines = [" ".join(rng.choices(words, k=rng.randint(1, 12))) for _ in range(15)]
    check(["\n".join(rng.choices(lines, k=40)) + "\n\n" + "\n\n".join(rng.choices(lines, k=9)) for _ in range(20)])


PROSE = " ".join(
    f"In the chapter on {topic} the author explains that people who have time read with care and often return."
    for topic in [
        "rivers",
        "bridges",
        "letters",
        "engines",
        "harbours",
        "markets",
        "gardens",
        "mountains",
        "windows",
        "voyages",
    ]
)


def reasons(stage: Heuristics, *texts: str) -> list[str | None]:
    found = stage.decide(stage.annotate(pa.table({"text": array(list(texts))})))
    return [found.reasons[i] if i >= 0 else None for i in found.reason]


def test_prose_passes_and_known_faults_are_named() -> None:
    stage = Heuristics(presets=("gopher_quality", "c4"))
    bullets = "\n".join(f"- {line}." for line in PROSE.split(". "))
    assert reasons(stage, PROSE, "too short", bullets, PROSE + " {", PROSE + " Lorem Ipsum") == [
        None,
        "num_words",
        "bullet_lines",
        "curly_brackets",
        "lorem_ipsum",
    ]
    assert reasons(Heuristics(presets=("fineweb",)), "no stop\n" * 40) == ["line_punctuation"]
    assert reasons(Heuristics(presets=("gopher_repetition",)), (PROSE[:90] + "\n") * 9) == ["duplicate_lines"]


def test_value_and_threshold_say_by_how_much() -> None:
    stage = Heuristics(presets=("gopher_quality",))
    found = stage.decide(stage.annotate(pa.table({"text": array(["one two three"])})))
    assert (found.value[0], found.threshold[0]) == (3, 50)


def test_a_limit_replaces_that_of_the_preset() -> None:
    text = "the words of this have to be few"
    assert reasons(Heuristics(presets=("gopher_quality",)), text) == ["num_words"]
    assert reasons(Heuristics(presets=("gopher_quality",), limits=("num_words>=3",)), text) == [None]
    own = Heuristics(presets=(), limits=("num_words >= 3", "num_words<=7"))
    assert reasons(own, text, "one two", "one two three") == ["num_words", "num_words", None]


def test_limits_change_no_fact() -> None:
    assert Heuristics(presets=("c4",), limits=("num_words>=3",)).fact_digest() == Heuristics().fact_digest()


def test_a_value_on_the_limit_stays_as_the_rule_says() -> None:
    facts: dict[str, Any] = {name: np.zeros(2, np.float32) for name in Heuristics.schema.names}
    facts |= {"language": [None, None], "script": [None, None]}
    facts["short_lines"][:] = [np.float32(0.67), np.float32(0.6701)]
    facts["line_punctuation"][:] = 1
    found = Heuristics(presets=("fineweb",)).decide(pa.table(facts, schema=Heuristics.schema))
    assert found.dropped.tolist() == [False, True]
    facts["short_lines"][:] = 0
    facts["line_punctuation"][:] = [np.float32(0.12), np.float32(0.1201)]
    found = Heuristics(presets=("fineweb",)).decide(pa.table(facts, schema=Heuristics.schema))
    assert found.dropped.tolist() == [True, False]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"presets": ("gofer",)}, "presets must be one of gopher"),
        ({"limits": ("num_words",)}, "FACT>=NUMBER"),
        ({"limits": ("words>=3",)}, "Facts are num_words"),
        ({"limits": ("num_words>=1e",)}, "FACT>=NUMBER"),
    ],
)
def test_a_wrong_parameter_is_refused_with_its_value(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Heuristics(**parameters)


def test_every_preset_limits_facts_that_exist() -> None:
    assert all(fact in FACTS for preset in PRESETS.values() for fact in preset)


def test_no_document_gives_an_empty_table_of_the_schema() -> None:
    assert Heuristics().annotate(pa.table({"text": array([])})).schema == Heuristics.schema
