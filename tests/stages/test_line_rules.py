"""Rules about lines equal plain Python's; what breaks them is cut."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import RecipeError
from stages.core import edits
from stages.detect import line_signs
from stages.detect.line_signs import NO_MARK_UNCITED, ONLY_NAVIGATION, RULES, Signs, find_lines
from stages.kernels.text import line_counts
from stages.line_rules import PRESETS, LineRules

POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
COUNTER = re.compile(
    r"[^\w_]*[\d.,]+\s*[kmb]?\s+(likes?|shares?|comments?|retweets?|reposts?|quotes?|bookmarks?|upvotes?|downvotes?|"
    r"downloads?|views?|followers?)[^\w_]*",
    re.IGNORECASE,
)


NAVIGATION = (
    r"^[\W_]*sign[ -]?in\b\s*",
    r"\s*(?<!\w)read more[\W_]*$",
    r"\s*\b(?:\d+ )?items? in (?:your )?(?:cart|basket)\b",
)
CITATION = r"\[\d*\]|\[edit\]|\[citation needed\]"


def no_mark(line: str) -> bool:
    return not line.endswith((".", "!", "?", '"')) or line.endswith("...")


def broken(line: str) -> set[str]:
    """Return the rules that one line breaks."""
    bare, words = line.strip(), line.split()
    letters = [c for c in line if c.isalpha()]
    few = len(words) <= 10
    low = line.lower()
    uncited = re.sub(CITATION, "", bare, flags=re.ASCII).rstrip()
    navigation = few and any(re.search(p, bare, re.IGNORECASE) for p in NAVIGATION)
    left = re.sub("|".join(NAVIGATION), " ", bare, flags=re.IGNORECASE)
    signs = {
        "end_mark": no_mark(bare),
        "few_words": len(words) < 5,
        "javascript": "javascript" in low,
        "policy": any(word in low for word in POLICY),
        "uppercase": 2 * sum(c.isupper() for c in letters) > len(letters),
        "numeric": all(c.isdecimal() or c.isspace() for c in line),
        "counter": few and COUNTER.fullmatch(bare) is not None,
        "one_word": len(words) == 1,
        "navigation": navigation,
        "long_word": max(map(len, words)) > 1000,
        "citations": re.search(CITATION, bare, re.ASCII) is not None,
        "uncited": no_mark(uncited),
        "only_navigation": navigation and not any(c.isalnum() for c in left),
    }
    return {name for name, sign in signs.items() if sign}


NAMED = {**{name: 1 << bit for bit, name in enumerate(RULES)}, "uncited": NO_MARK_UNCITED}
NAMED["only_navigation"] = ONLY_NAVIGATION

PIECES = [
    *(
        "\n",
        "\n\n",
        " \t\n",
        "HOME PAGE",
        "A line of prose with words.",
        "3 likes",
        "1.2k Views!",
        "Sign-in here",
        "12,5",
    ),
    *(
        "Read more \u00bb",
        "2 items in cart",
        "wait...",
        "JavaScript",
        'say "yes"',
        "Privacy Policy",
        " ",
        "\u041f\u0420\u0418 x",
    ),
    *(
        "The end.[1]",
        "[citation needed]",
        "[2]",
        "Read on, read more...",
        "sign in",
        "5 items in your basket",
        "$5.00 (+10%)",
    ),
    *("\u00c9T\u00c9", "\u4e2d\u6587", "?", "!", "7", "one"),
]


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=8).map("".join), min_size=1, max_size=5))
def test_every_rule_equals_the_plain_one_on_every_line(texts: list[str]) -> None:
    found = find_lines(pa.array(["skipped\nline", *texts], pa.large_string()).slice(1), Signs())
    got = []
    for d, a, b, count, code in zip(found.text, found.start, found.stop, found.words, found.rules, strict=True):
        names = {name for name, bit in NAMED.items() if int(code) & bit}
        got.append((int(d), int(a), int(b), int(count), names))
    want = []
    for d, text in enumerate(texts):
        lines = [(m.start(), m[0]) for m in re.finditer(r"[^\n]*\n|[^\n]+", text) if m[0].strip()]
        ends = [at for at, _ in lines[1:]] + [len(text)] * bool(lines)
        for n, ((at, line), end) in enumerate(zip(lines, ends, strict=True)):
            first = 0 if n == 0 else len(text[:at].encode())
            want.append((d, first, len(text[:end].encode()), len(line.split()), broken(line)))
    assert got == want


PAGE = """HOME PAGE
This is a line of prose with an end.

3 likes
Please enable javascript to see this page.
This one has no end mark at all
He said "this is the end of it"
"""


PHRASES = (*POLICY, "javascript", "sign in", "sign-in", "signin", "read more", "item in", "items in", "[12]", "[edit]")
PHRASES += ("[]", "[citation needed]", "x[", "read", "of", "v", "items", "\u0130", "\u0131n", "\u017f")


@st.composite
def any_case(draw: st.DrawFn) -> str:
    """Return phrases and parts of them, letters in any case that RE2 takes for the same."""
    text = "".join(draw(st.lists(st.sampled_from(PHRASES) | st.sampled_from(" -\n\t\xa0x"), max_size=6)))
    for new in draw(st.lists(st.sampled_from([("k", "\u212a"), ("s", "\u017f"), ("k", "K"), ("o", "O")]), max_size=2)):
        text = text.replace(*new)
    return text.upper() if draw(st.booleans()) else text[draw(st.integers(0, 3)) :]


@given(st.lists(any_case(), max_size=4))
def test_patterns_are_tried_wherever_they_could_match(texts: list[str]) -> None:
    lines = [line for text in texts for line in text.split("\n") if line.strip()]
    signs = line_counts.count_lines(pa.array(lines, pa.large_string()))["signs"]
    named, navigates = (
        line_signs._match(pa.array(lines, pa.large_string()), pattern)
        for pattern in (f"javascript|{line_signs._POLICY}", line_signs._MAY_NAVIGATE)
    )
    assert (signs[named] & line_counts.NAMED > 0).all()
    assert (signs[navigates] & line_counts.NAVIGATES > 0).all()
    cited = line_counts.CITED
    assert all(sign & cited for line, sign in zip(lines, signs, strict=True) if re.search(CITATION, line, re.ASCII))


def rewritten(stage: LineRules, texts: list[str]) -> list[str]:
    column = pa.array(texts, pa.large_string())
    facts = stage.annotate(pa.table({"text": column}))
    assert facts.schema == stage.schema
    return list(edits.apply(column, edits.merge([stage.edits(facts)])).to_pylist())


def test_the_rules_in_force_are_cut() -> None:
    lines = PAGE.splitlines(keepends=True)
    assert rewritten(LineRules(), [PAGE, ""]) == [lines[1] + lines[2] + lines[6], ""]
    assert rewritten(LineRules(rules=("refinedweb",)), [PAGE]) == ["".join(lines[1:3] + lines[4:])]
    assert rewritten(LineRules(rules=("javascript",)), [PAGE]) == [PAGE.replace(lines[4], "")]


def test_a_document_that_loses_too_many_words_is_dropped() -> None:
    stage = LineRules(rules=("refinedweb",), max_removed=0.05)
    texts = [PAGE, "This is prose, and nothing else stands here."]
    verdict = stage.decide(stage.annotate(pa.table({"text": pa.array(texts, pa.large_string())})))
    assert verdict.reason.tolist() == [0, -1]
    assert verdict.value[0] == pytest.approx(4 / len(PAGE.split()))
    assert np.isclose(verdict.threshold, 0.05).all()


def test_rules_change_no_fact_and_wrong_ones_are_refused() -> None:
    assert LineRules().fact_digest() == LineRules(rules=("refinedweb", "policy"), max_removed=0.1).fact_digest()
    assert set(PRESETS["c4"]) | set(PRESETS["refinedweb"]) == set(RULES)
    assert LineRules(rules=("c4_jmlr",)).fact_digest() == LineRules().fact_digest()
    with pytest.raises(RecipeError, match="rules must be one of"):
        LineRules(rules=("c5",))
