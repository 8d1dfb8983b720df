"""Limits learned from text: formulas on known numbers, and half a corpus judged by what the other half taught."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from cluster.errors import RecipeError
from pipelines.cli.main import main
from pipelines.commands.rules import Choices, Judged, fit_rules
from stages.heuristics import Heuristics
from stages.languages import fit, limits_file
from stages.languages.reference import Reference
from tests.support import languages

HIGH = {"duplicate_lines": (-np.inf, 0.3)}


def test_tail_cuts_a_share_of_the_reference() -> None:
    values = {"duplicate_lines": np.linspace(0, 1, 10_001)}
    [cut] = fit.cuts(values, HIGH, method="tail", share=0.1)
    assert cut.high == pytest.approx(0.9, abs=0.006)
    assert cut.beyond == pytest.approx(0.1, abs=0.006)
    [low] = fit.cuts({"alpha_words": np.linspace(0, 1, 10_001)}, {"alpha_words": (0.8, np.inf)}, share=0.1)
    assert low.low == pytest.approx(0.1, abs=0.006)


def test_a_small_reference_leaves_a_margin() -> None:
    """The other half of a corpus lies beyond a cut no more often than wished, nineteen times in twenty."""
    draw = np.random.default_rng(7)
    beyond = []
    for _ in range(200):
        one, other = draw.gamma(2.0, size=(2, 400))
        [cut] = fit.cuts({"newlines_per_word": one}, {"newlines_per_word": (-np.inf, 0.3)}, share=0.05)
        beyond.append(float((other > cut.high).mean()))
    assert np.mean(np.array(beyond) > 0.05) < 0.25
    assert np.mean(beyond) < 0.04


def test_mean_and_spread_carry_a_limit_over() -> None:
    """English: mean .1, deviation .1, limit .3, so two deviations; here mean .5, deviation .2."""
    english, here = np.array([0.0, 0.2] * 50), np.array([0.3, 0.7] * 50)
    [cut] = fit.cuts({"duplicate_lines": here}, HIGH, method="mean_std", english={"duplicate_lines": english})
    assert cut.high == pytest.approx(0.9)
    [cut] = fit.cuts({"duplicate_lines": here}, HIGH, method="median_ratio", english={"duplicate_lines": english + 0.1})
    assert cut.high == pytest.approx(0.3 * 0.5 / 0.2)


def test_quantile_drops_as_much_as_the_limit_drops_of_english() -> None:
    english = np.concatenate([np.zeros(80), np.ones(20)])
    here = np.linspace(0, 1, 101)
    [cut] = fit.cuts({"duplicate_lines": here}, HIGH, method="quantile", english={"duplicate_lines": english})
    assert cut.high == pytest.approx(0.8)


def test_a_clean_reference_makes_no_limit_absurd() -> None:
    [cut] = fit.cuts({"duplicate_lines": np.zeros(200)}, HIGH)
    assert cut.high == 0.15
    low = {"line_punctuation": (0.12, np.inf)}
    [cut] = fit.cuts({"line_punctuation": np.ones(200)}, low)
    assert cut.low == 0.56


def test_the_mean_length_of_words_is_rounded_outwards_to_whole_numbers() -> None:
    [cut] = fit.cuts({"mean_word_length": np.linspace(2.4, 3.1, 50)}, {"mean_word_length": (3, 10)})
    assert (cut.low, cut.high) == (2, 4)


@pytest.mark.parametrize(("scores", "least"), [([0.5] * 9, 0.5), ([1.0] * 9, 0.9), ([0.1] * 9, 0.3)])
def test_the_least_score_of_a_language_is_fineweb2s(scores: list[float], least: float) -> None:
    assert fit.language_score(np.array(scores)) == least


def test_a_sample_does_not_depend_on_the_order_of_texts() -> None:
    texts = languages.good("de", 12)
    found = []
    for order in (texts, texts[::-1]):
        one = Reference(5)
        for start in range(0, 12, 4):
            one.add(pa.array(order[start : start + 4], pa.large_string()), "de", "characters")
        one.cut()
        found.append(one)
    np.testing.assert_array_equal(found[0].rows, found[1].rows)
    assert found[0].words == found[1].words
    assert len(found[0].rows) == 5


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One half of each corpus, as files, and the limits learned from it."""
    folder = tmp_path_factory.mktemp("fit")
    for code in ("ko", "th", "ar", "de", "hi"):
        lines = [json.dumps({"text": text}) + "\n" for text in languages.good(code, 120)]
        (folder / f"{code}.jsonl").write_text("".join(lines))
    specs = [f"{code}={folder / code}.jsonl" for code in ("ko", "th", "ar", "de", "hi")]
    fit_rules(specs, str(folder / "limits.yaml"), Choices(words="characters", share=0.01))
    return folder


@pytest.mark.parametrize("code", ["ko", "th", "ar", "de", "hi"])
def test_the_other_half_stays_and_junk_and_foreign_text_go(halves: Path, code: str) -> None:
    stage = Heuristics(language=code, limits=str(halves / "limits.yaml"))

    def share_kept(texts: list[str]) -> float:
        facts = stage.annotate(pa.table({"text": pa.array(texts, pa.large_string())}))
        assert not any("stop_words" in name for name in stage.remarks(facts))
        return float(np.mean(~stage.decide(facts).dropped))

    assert share_kept(languages.good(code, 60, seed=1)) >= 0.85
    assert share_kept(languages.junk(code, 20)) == 0
    assert share_kept(languages.good("en", 20)) <= 0.05


def test_the_page_shows_every_cut(halves: Path) -> None:
    shown = (halves / "limits.html").read_text()
    entry = yaml.safe_load((halves / "limits.yaml").read_text())["languages"]["ko"]
    assert all(f"<h3>{fact}</h3>" in shown for fact in entry["limits"] if fact in fit.LEARNED)
    assert "<script" not in shown
    assert all(word in shown for word in entry["stop_words"])


def test_limits_change_facts_only_by_their_stop_words(halves: Path, tmp_path: Path) -> None:
    text = (halves / "limits.yaml").read_text()
    looser = tmp_path / "looser.yaml"
    looser.write_text(text.replace("duplicate_lines:\n        max: 0.15", "duplicate_lines:\n        max: 0.99"))
    other = tmp_path / "other.yaml"
    other.write_text(text.replace("- 나는\n", ""))
    stages = [Heuristics(language="ko", limits=str(path)) for path in (halves / "limits.yaml", looser, other)]
    assert len({stage.digest() for stage in stages}) == 3
    assert stages[0].fact_digest() == stages[1].fact_digest() != stages[2].fact_digest()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("languages: {ko: {limits: {words: {min: 1}}}}", "limits of ko has no key 'words'"),
        ("languages: {ko: {limits: {num_words: {min: many}}}}", "min of num_words of ko must be a number"),
        ("languages: {ko: {limits: {num_words: {min: 9, max: 2}}}}", "must be at most max, got 9 and 2"),
        ("languages: {klingon: {}}", "'klingon' is no language code"),
        ("languages: {ko: {stop_words: [1]}}", "stop_words of ko must be a list of words"),
        ("languages: {ko: {language_score: 70}}", "language_score of ko must be in [0, 1], got 70"),
        ("limits: {}", "the file has no key 'limits'"),
        ("languages: [ko]", "languages must be a mapping"),
        ("words: spaces\nlanguages: {ko: {}}", "words must be icu or characters"),
        ("languages: {ko", "is no YAML"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "limits.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        limits_file.load(str(path))
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_norwegian_is_a_language(tmp_path: Path) -> None:
    path = tmp_path / "limits.yaml"
    path.write_text("languages: {no: {stop_words: [og]}}")
    assert list(limits_file.load(str(path)).languages) == ["no"]


def test_limits_count_the_words_that_they_were_learned_from(halves: Path) -> None:
    stage = Heuristics(language="ko", limits=str(halves / "limits.yaml"), words="icu")
    with pytest.raises(RecipeError, match="words must be characters, as in"):
        stage.fact_digest()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--method", "std"], "method must be one of tail"),
        (["--method", "quantile"], "compares with English text"),
        (["--share", "0.9"], "share must be above 0 and below 0.5"),
        (["--preset", "gofer"], "presets must be one of"),
    ],
)
def test_the_command_says_what_is_wrong(
    halves: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    code = main(["rules", "fit", f"ko={halves / 'ko.jsonl'}", "-o", str(tmp_path / "l.yaml"), *arguments])
    assert code != 0
    assert says in capsys.readouterr().err
    assert not (tmp_path / "l.yaml").exists()


def test_too_few_documents_are_no_reference(tmp_path: Path) -> None:
    (tmp_path / "few.jsonl").write_text(json.dumps({"text": "그리고 나는"}) + "\n")
    with pytest.raises(RecipeError, match=r"no language has 100 documents of reference text \(ko 1\)"):
        fit_rules([f"ko={tmp_path / 'few.jsonl'}"], str(tmp_path / "l.yaml"), Choices(words="characters"))


def test_calibrated_scores_are_the_share_that_is_right() -> None:
    draw = np.random.default_rng(3)
    score = draw.random(20_000)
    right = draw.random(20_000) < score**2  # a model that is surer than it should be
    judged = Judged()
    judged.add(score.astype(np.float32), right)
    knots = fit.calibration(judged.right, judged.wrong)
    learned = limits_file.LimitsFile(languages={}, calibration=tuple(knots))
    assert np.abs(learned.calibrated([0.2, 0.5, 0.9]) - np.array([0.04, 0.25, 0.81])).max() < 0.05
    assert [knot[1] for knot in knots] == sorted(knot[1] for knot in knots)


@pytest.mark.parametrize("value", ["[[0.5, 2]]", "[[0.5]]", "0.5", "[[0.5, 0.9], [0.6, 0.1]]"])
def test_a_calibration_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "limits.yaml"
    path.write_text(f"calibration: {value}\nlanguages: {{ko: {{}}}}")
    with pytest.raises(RecipeError, match="calibration must be pairs"):
        limits_file.load(str(path))
