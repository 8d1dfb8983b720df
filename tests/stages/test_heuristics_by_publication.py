"""Facts worked out by hand from what the publications say, and from the readings that other tools give them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cluster.errors import RecipeError
from stages.heuristics import PRESETS, Heuristics
from stages.kernels.text.heuristic_facts import FACTS, Readings
from stages.kernels.text.heuristics import measure

WORDS = ("tree", "river", "stone", "cloud", "field")


def facts(text: str, **readings: Any) -> dict[str, float]:
    return dict(zip(FACTS, measure(pa.array([text], pa.large_string()), Readings(**readings))[0].tolist(), strict=True))


def verdicts(stage: Heuristics, *texts: str) -> list[str | None]:
    found = stage.decide(stage.annotate(pa.table({"text": pa.array(texts, pa.large_string())})))
    return [found.reasons[i] if i >= 0 else None for i in found.reason]


# --- Gopher, Rae et al. 2021, A1.1 -----------------------------------------------------------------------


def test_shares_are_of_words_and_not_of_tokens() -> None:
    assert facts("#a #b #c #d")["hash_ratio"] == 1.0
    assert facts("so\u2026 it was. And... then, (yes)!")["ellipsis_ratio"] == 2 / 6
    text = " ".join(["tree,"] * 50 + ["tree"] * 35 + ["12"] * 15)
    assert facts(text)["num_words"] == 100
    assert facts(text)["alpha_words"] == 0.85


@pytest.mark.parametrize(
    ("signs", "words", "mean", "alpha", "hashes"),
    [("ngrams", 2, 4, 1.0, 0.5), ("shares", 2, 4, 0.5, 0.25), ("words", 4, 2.5, 0.5, 0.25), ("never", 2, 4, 1.0, 0.5)],
)
def test_tokens_of_signs(signs: str, words: int, mean: float, alpha: float, hashes: float) -> None:
    found = facts("tree & tree #", signs=signs)
    assert (found["num_words"], found["mean_word_length"]) == (words, mean)
    assert (found["alpha_words"], found["hash_ratio"]) == (alpha, hashes)


def test_words_between_white_space_keep_their_signs() -> None:
    found = facts("T h i s \n \n\n isoneword !!!", split="spaces", signs="words")
    assert found["num_words"] == 6
    assert found["mean_word_length"] == pytest.approx((4 + 9 + 3) / 6)
    assert facts("The.and.that", split="spaces")["stop_words"] == 0
    assert facts("The and. That", split="spaces")["stop_words"] == 2


@pytest.mark.parametrize("bullet", "\u2022\u2023\u25cf\u25cb\u2219\u00b7\u2043\u204c\u204d\u25d8\u25e6\u29be\u29bf-*")
def test_bullets(bullet: str) -> None:
    assert facts(f"{bullet} one\n {bullet}two\nthree")["bullet_lines"] == pytest.approx(2 / 3)


def test_stop_words_have_no_case_and_count_once() -> None:
    text = "THE tree The river the stone And a cloud"
    assert facts(text)["stop_words"] == 2
    assert facts(text, stop_words_count="all")["stop_words"] == 4


def test_points_in_a_row_are_no_host_name() -> None:
    text = "I think so...yeah it was well...you know"
    assert facts(text)["num_words"] == 9
    assert facts(text)["ellipsis_ratio"] == 2 / 9
    assert facts("see www.example.com/a-b or example.com.")["num_words"] == 4


def test_spaced_ellipses_and_blank_lines() -> None:
    text = "one . . .\n\ntwo...\nthree\n"
    assert facts(text)["ellipsis_lines"] == pytest.approx(1 / 3)
    assert facts(text, ellipses="spaced")["ellipsis_lines"] == pytest.approx(2 / 3)
    assert facts(text, ellipses="spaced")["ellipsis_ratio"] == pytest.approx(2 / 3)
    many = "Too many . . . of these . . . in this text."
    assert facts(many, ellipses="spaced", split="spaces", signs="words")["ellipsis_ratio"] == 2 / 9
    assert facts(text, ellipses="spaced", blank_lines="counted")["ellipsis_lines"] == 0.5


# --- Gopher, table A1 ------------------------------------------------------------------------------------


def test_a_top_ngram_occurs_twice() -> None:
    found = facts("This is a test")
    assert [found[f"top_{n}gram"] for n in (2, 3, 4)] == [0, 0, 0]
    found = facts("ab cd xyz ab cd")
    assert (found["top_2gram"], found["top_3gram"]) == (10 / 15, 0)


def test_top_ngram_overlaps_ties_and_shares() -> None:
    text = "a a a a a a"  # 11 characters; "a a" occurs 5 times
    assert facts(text)["top_2gram"] == 15 / 11
    assert facts(text, overlaps="covered")["top_2gram"] == 1.0
    assert facts(text, overlaps="covered", share_of="units")["top_2gram"] == 1.0
    text = "x y tree river x y tree river"  # 29 characters, 22 without blanks
    assert facts(text)["top_2gram"] == 6 / 29
    assert facts(text, top_ties="longest")["top_2gram"] == 20 / 29
    assert facts(text, top_ties="longest", share_of="units")["top_2gram"] == 18 / 22
    shakespeare = "to be or not to be that is the question to be or not to be I don't know the answer."
    assert facts(shakespeare, split="spaces", share_of="units", overlaps="covered")["top_2gram"] == 16 / 63


def test_repeated_ngrams_later_or_all_skipped_or_covered() -> None:
    six = "a b c d e f "  # of n = 5: abcde and bcdef, each twice; 23 characters, 12 of them words
    found = {
        (counts, overlaps): facts((six * 2).strip(), counts=counts, overlaps=overlaps)["duplicate_5grams"] * 23
        for counts in ("later", "all")
        for overlaps in ("skipped", "covered")
    }
    want = {("later", "skipped"): 5, ("later", "covered"): 6, ("all", "skipped"): 10, ("all", "covered"): 12}
    assert found == pytest.approx(want)
    assert facts((six * 2).strip(), counts="all", overlaps="covered", share_of="units")["duplicate_5grams"] == 1.0


def test_copies_of_lines_and_paragraphs_later_or_all() -> None:
    text = "short\nlooooong\nshort\nmedium"
    found = facts(text)
    assert (found["duplicate_lines"], found["duplicate_line_chars"]) == (0.25, 5 / 27)
    found = facts(text, counts="all", share_of="units")
    assert (found["duplicate_lines"], found["duplicate_line_chars"]) == (0.5, 10 / 24)
    assert found["line_duplicate_chars"] == 5 / 24  # FineWeb's, by its code
    found = facts("one\n\ntwo\n\none\n\none", counts="all")
    assert (found["duplicate_paragraphs"], found["duplicate_paragraph_chars"]) == (0.75, 9 / 18)


# --- FineWeb, C4, mC4 and plain limits -------------------------------------------------------------------


def test_end_marks_and_short_lines() -> None:
    text = "A line of prose.\nA title'\nx"
    assert facts(text)["line_punctuation"] == pytest.approx(1 / 3)
    assert facts(text, end_marks=".'")["line_punctuation"] == pytest.approx(2 / 3)
    assert facts(text, short_line=7)["short_lines"] == pytest.approx(1 / 3)
    assert facts(text, short_line=8)["short_lines"] == pytest.approx(2 / 3)
    stage = {"presets": (), "limits": ("line_punctuation>=0.4",)}
    assert verdicts(Heuristics(**stage), text, "x\ny") == ["line_punctuation"] * 2
    assert verdicts(Heuristics(**stage, allow_no_end_marks=True), text, "x\ny") == ["line_punctuation", None]


def test_presets_of_c4_by_publication() -> None:
    four = "This is one. This is two. This is three. This is four."
    assert verdicts(Heuristics(presets=("c4",)), four, "One. Two.") == [None, "sentences"]
    assert verdicts(Heuristics(presets=("c4_jmlr",)), four, four + " Five!") == ["sentences", None]
    long = "x" * 200 + "\n"
    assert verdicts(Heuristics(presets=("mc4",)), long * 3, long * 2 + "y" * 199) == [None, "long_lines"]
    assert set(PRESETS["c4"]) == set(PRESETS["c4_jmlr"])


def test_plain_facts_of_characters() -> None:
    found = facts("Ab1 2 (x)!\n see http://a.b/c; HTTPS://D")
    size = len("Ab1 2 (x)!\n see http://a.b/c; HTTPS://D")
    assert (found["num_chars"], found["num_lines"], found["longest_word"]) == (size, 2, 13)
    assert found["digit_ratio"] == pytest.approx(2 / size)
    assert found["bracket_ratio"] == pytest.approx(2 / size)
    assert found["space_ratio"] == pytest.approx(6 / size)
    assert found["url_ratio"] == pytest.approx((12 + 9) / size)
    assert found["capital_ratio"] == pytest.approx(7 / 19)
    assert found["symbol_ratio"] == pytest.approx((3 + 5 + 1 + 3) / size)


def test_limits_inverted() -> None:
    stage = Heuristics(presets=(), limits=("num_words>=2", "num_chars<=9"), invert=True)
    assert verdicts(stage, "one two", "one", "one two three") == ["within_limits", None, None]


def test_tokens_are_limited_where_a_tokenizer_is_named(tmp_path: Any) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(RecipeError, match=r"tokenizer must be a tokenizer\.json where limits name num_tokens"):
        Heuristics(limits=("num_tokens<=3",))
    stage = Heuristics(presets=(), limits=("num_tokens<=3",), tokenizer=str(tmp_path / "tokenizer.json"))
    assert verdicts(stage, "a b c", "a b c d") == [None, "num_tokens"]
    assert stage.fact_digest() != Heuristics().fact_digest()


def test_readings_are_facts_and_choices_are_checked() -> None:
    digests = {
        Heuristics(**given).fact_digest()
        for given in ({}, {"counts": "all"}, {"split": "spaces"}, {"end_marks": "."}, {"short_line": 20})
    }
    assert len(digests) == 5
    for key in ("counts", "split", "signs", "overlaps", "share_of", "top_ties", "ellipses", "blank_lines"):
        with pytest.raises(RecipeError, match=f"{key} must be one of"):
            Heuristics(**{key: "every"})
    with pytest.raises(RecipeError, match="short_line must be at least 1"):
        Heuristics(short_line=0)
    with pytest.raises(RecipeError, match="end_marks must be"):
        Heuristics(end_marks=". ")


def test_a_text_without_tokens_has_numbers() -> None:
    assert np.isfinite(measure(pa.array(["", " \n", "#"], pa.large_string()))).all()
