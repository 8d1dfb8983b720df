"""Warnings about languages that rules take much of: the largest losses by name, all others in one sentence."""

from __future__ import annotations

from collections import Counter

from stages.core.run import Run
from stages.core.stage import Stage
from stages.heuristics import Heuristics
from stages.implicit.read import Read
from stages.outcome.by_language import NAMED, ByLanguage, language_warnings


def warnings_of(languages: dict[str, tuple[int, int]]) -> list[str]:
    """Return the warnings of a run whose heuristics saw and dropped so many documents of each language."""
    judged = Counter({("heuristics", name): seen for name, (seen, _) in languages.items()})
    dropped = Counter({("heuristics", name, "stop_words"): lost for name, (_, lost) in languages.items()})
    stages: tuple[Stage, ...] = (Read(name="read"), Heuristics(name="heuristics"))
    run = Run(root="", datasets=(), stages=stages, priority=())
    return language_warnings(run, [ByLanguage(judged=judged, dropped=dropped), ByLanguage()])


def test_few_languages_are_named_each_and_the_remedy_is_said_once() -> None:
    found = warnings_of({"en": (100, 10), "ko": (20, 20), "hi": (30, 29), "la": (9, 9)})
    assert [text.partition(":")[0] for text in found] == [
        "heuristics drops 29 of 30 documents of language hi (97%)",
        "heuristics drops 20 of 20 documents of language ko (100%)",
    ]
    assert ["language: auto" in text for text in found] == [False, True]


def test_many_languages_are_as_many_sentences_as_a_terminal_can_show() -> None:
    found = warnings_of({f"x{n:02}": (100 + n, 90 + n) for n in range(80)})
    assert len(found) == NAMED
    assert [text.split()[7] for text in found[:-1]] == ["language"] * (NAMED - 1)
    assert [text.split()[8] for text in found[:-1]] == ["x79", "x78", "x77", "x76"]
    rest = NAMED - 1
    lost, seen = sum(90 + n for n in range(80 - rest)), sum(100 + n for n in range(80 - rest))
    assert found[-1].startswith(f"heuristics drops {lost:,} of {seen:,} documents of {80 - rest} more languages")
    assert "x75 165" in found[-1]
    assert "language: auto" in found[-1]
