"""Lines cut and edited as C4's and RefinedWeb's publications say, worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cluster.errors import RecipeError
from stages.core import edits
from stages.line_rules import LineRules


def rewritten(text: str, **parameters: Any) -> str:
    stage, column = LineRules(**parameters), pa.array([text], pa.large_string())
    found = edits.merge([stage.edits(stage.annotate(pa.table({"text": column})))])
    return str(edits.apply(column, found)[0])


def verdict(text: str, **parameters: Any) -> tuple[str | None, float, float]:
    stage = LineRules(**parameters)
    found = stage.decide(stage.annotate(pa.table({"text": pa.array([text], pa.large_string())})))
    reason = found.reasons[found.reason[0]] if found.reason[0] >= 0 else None
    return reason, float(found.value[0]), float(found.threshold[0])


# --- C4, Raffel et al. 2020 ------------------------------------------------------------------------------

LINES = {
    "This line has enough words and a mark, Dr. No!": True,
    "History | Institutions | Open Access | Network": False,
    '"Open Access. Powered by Scholars. Published by us."': True,
    "Social and Behavioral Sciences and more...": False,
    "Too few words here.": False,
    "You need to enable JavaScript in your browser now.": False,
    "Somebody has a Cookie Policy: always eat them.": False,
    "You had better follow our terms of use!": False,
}


def test_c4_keeps_lines_of_prose() -> None:
    text = "\n".join(LINES)
    assert rewritten(text).split("\n")[:-1] == [line for line, stays in LINES.items() if stays]


def test_words_in_a_line_by_publication() -> None:
    text = "This has only four.\nThese are three.\nOnly two.\n"
    assert rewritten(text) == ""
    assert rewritten(text, rules=("c4_jmlr",)) == "This has only four.\nThese are three.\n"
    assert rewritten(text, rules=("c4", "c4_jmlr")) == ""
    assert rewritten(text, min_words=4) == "This has only four.\n"
    six = "Here are six words in all.\n"
    assert (rewritten(six, min_words=6), rewritten(six, min_words=7)) == (six, "")


def test_citations_go_and_the_line_is_judged_without_them() -> None:
    text = "And some of these end with citations.[3]\nThey have requests[citation needed]. Or an edit is due.[edit]\n"
    assert rewritten(text) == "And some of these end with citations.\nThey have requests. Or an edit is due.\n"
    assert rewritten("Three words are [1] here.[2]\n") == ""
    assert rewritten("Five words are in here [12]\n") == ""
    assert rewritten("Five words are in here. [12]\n") == "Five words are in here. \n"
    assert rewritten("It ends in five words.[1]\n", rules=("end_mark",)) == ""
    assert rewritten("An array[i] stays in here, as it is.\n") == "An array[i] stays in here, as it is.\n"


def test_longest_word_and_end_marks() -> None:
    text = "This is a line with one " + "x" * 1000 + ".\n"
    assert rewritten(text, rules=("long_word",)) == ""
    assert rewritten(text, rules=("long_word",), max_word_length=1001) == text
    line = "'Five words are in here'\n"
    assert (rewritten(line), rewritten(line, end_marks=".'")) == ("", line)
    assert (
        rewritten("Five words \u2014 and a stop\u3002\n", end_marks=".\u3002") == "Five words \u2014 and a stop\u3002\n"
    )


def test_sentences_are_counted_in_the_lines_that_stay() -> None:
    text = "This page starts with some text. It goes on.\nShort one. Two. Three\nIt looks like two...but it is one.\n"
    assert verdict(text, min_sentences=3) == (None, 3, 3)
    assert verdict(text, min_sentences=4) == ("few_sentences", 3, 4)
    assert verdict(text, rules=("javascript",), min_sentences=6)[:2] == ("few_sentences", 5)
    assert verdict(text, min_sentences=1, max_removed=0.1)[0] == "bad_lines"


# --- RefinedWeb, Penedo et al. 2023, G.2 -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("Please see the full report, read more...", "Please see the full report,"),
        ("Sign in to see all of it", "to see all of it"),
        ("sign-in", None),
        ("The shop has 3 items in your cart today", "The shop has today"),
        ("Read more \u00bb", None),
        ("2 items in cart", None),
        ("This line has more than ten words in it, so that it stays, read more...", "="),
        ("Unread more", "="),
        ("He signed in", "="),
        ("$5.00 (+10%)", "="),
        ("01-02 2024", "="),
        ("3.14 and so on", "="),
        ("12 345", None),
        ("12345", None),
        ("\u0661\u0662", None),
        ("10K likes", None),
        ("5.3M Views", None),
        ("3B followers", None),
        ("(10,000 downloads)", None),
        ("3 likes for this one", "="),
        ("HOME PAGE of it", None),
        ("HALF uppercase", "="),
        ("Word", None),
    ],
)
def test_refinedweb_cuts_and_edits(line: str, left: str | None) -> None:
    want = "" if left is None else f"{line if left == '=' else left}\n"
    assert rewritten(f"{line}\nThe end is prose.\n", rules=("refinedweb",)) == want + "The end is prose.\n"


def test_navigation_is_cut_with_its_line_on_request() -> None:
    text = "Please see the full report, read more...\nThe end is prose.\n"
    assert rewritten(text, rules=("refinedweb",), navigation="cut") == "The end is prose.\n"


def test_words_of_flagged_lines_count_where_only_a_part_goes() -> None:
    text = "one two three four read more\n" + "word " * 94
    assert verdict(text, rules=("refinedweb",), max_removed=0.06) == (None, 0.06, 0.06)
    assert verdict(text, rules=("refinedweb",), max_removed=0.05) == ("bad_lines", 0.06, 0.05)


def test_shares_of_capitals_and_digits() -> None:
    text = "Another 50% UPPERCASE line\nThis has 12345 numbers\nprose stays\n"
    assert rewritten(text, rules=("uppercase",), max_uppercase=0.3) == "".join(text.splitlines(keepends=True)[1:])
    characters = {"rules": ("uppercase",), "uppercase_of": "characters"}
    assert rewritten(text, **characters, max_uppercase=0.4) == text  # 10 of 26 characters
    assert rewritten(text, **characters, max_uppercase=0.38) == "".join(text.splitlines(keepends=True)[1:])
    assert rewritten(text, rules=("numeric",)) == text
    assert rewritten(text, rules=("numeric",), max_digits=0.2) == text.replace("This has 12345 numbers\n", "")


def test_wrong_parameters_are_refused() -> None:
    for key, value in (
        ("min_words", 0),
        ("max_uppercase", 1.5),
        ("max_digits", -0.1),
        ("end_marks", ""),
        ("navigation", "x"),
    ):
        with pytest.raises(RecipeError, match=f"{key} must be"):
            LineRules(**{key: value})


def test_texts_without_lines() -> None:
    stage = LineRules(max_removed=0.05, min_sentences=1)
    found = stage.decide(stage.annotate(pa.table({"text": pa.array(["", " \n ", "\n"], pa.large_string())})))
    assert found.reason.tolist() == [1, 1, 1]
    assert np.isfinite(found.value).all()
