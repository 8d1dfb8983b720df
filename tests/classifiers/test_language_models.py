"""Languages get normalised codes; the stage keeps the wanted ones and can change its mind without text."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers import language, models, segments
from classifiers.language import LanguageIdentifier, normalise
from cluster.errors import RecipeError
from stages.language_id import CASES, LanguageId

SAMPLES = {
    "__label__eng_Latn": "the quick brown fox jumps over the lazy dog and runs away",
    "__label__deu_Latn": "der schnelle braune fuchs springt und läuft über den hund",
    "__label__srp_Cyrl": "брза смеђа лисица скаче преко лењог пса и бежи",
    "__label__srp_Latn": "brza smeđa lisica skače preko lenjog psa i beži",
    "__label__ceb_Latn": "ang dali nga tabunon nga milo miambak ibabaw sa tapolan nga iro",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("language")
    lines = [f"{label} {text}" for label, text in SAMPLES.items()] * 40
    (folder / "train.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    trained = fasttext.train_supervised(
        str(folder / "train.txt"), dim=8, minn=1, maxn=3, bucket=2000, lr=0.5, epoch=20, thread=1, verbose=0
    )
    trained.save_model(str(folder / "model.bin"))
    return f"fasttext:{folder / 'model.bin'}"


def documents(*texts: str) -> pa.Table:
    return pa.table({"text": pa.array(texts, pa.large_string())})


@pytest.mark.parametrize(
    ("label", "tag"),
    [
        ("__label__en", "en"),
        ("__label__eng_Latn", "en-Latn"),
        ("zho_Hant", "zh-Hant"),
        ("cmn_Hani", "zh-Hani"),
        ("arb_Arab", "ar-Arab"),
        ("ceb", "ceb"),
        ("als", "gsw"),
        ("als_Latn", "sq-Latn"),
        ("iw", "he"),
        ("no", "no"),
        ("nob_Latn", "nb-Latn"),
        ("EN", "en"),
        ("zh-hans", "zh-Hans"),
        ("__label__whatever", "whatever"),
    ],
)
def test_codes_are_iso_639_1_where_one_exists_and_scripts_are_kept(label: str, tag: str) -> None:
    assert normalise(label) == tag


@given(st.sampled_from(sorted(language.TO_ISO1)))
def test_normalising_twice_changes_nothing(code: str) -> None:
    assert normalise(normalise(code)) == normalise(code)
    assert normalise(normalise(f"{code}_Latn")) == normalise(f"{code}_Latn")


def test_every_two_letter_code_has_one_three_letter_code() -> None:
    assert len(language.ISO1) == 185  # 183 of ISO 639-1, and bh and sh, which it withdrew
    assert all(len(short) == 2 and len(long) == 3 for long, short in language.TO_ISO1.items())


def test_the_language_is_found_and_spelled_as_a_tag(model: str) -> None:
    identifier = LanguageIdentifier(model)
    found = identifier.identify(pa.array(SAMPLES.values(), pa.large_string()))
    assert identifier.names(found).to_pylist() == ["en-Latn", "de-Latn", "sr-Cyrl", "sr-Latn", "ceb-Latn"]
    assert (found.score > 0.5).all()
    assert (found.score <= 1).all()


@pytest.mark.parametrize("text", ["", "   ", "12 34,5", "?!…", "\n\n", "🙂"])
def test_a_text_without_a_letter_is_undetermined(model: str, text: str) -> None:
    facts = LanguageId(model=model).annotate(documents(text))
    assert facts.to_pylist() == [{"language": "und", "language_score": 0.0, "language_shares": None, "script": "Zyyy"}]


def test_newlines_count_as_spaces_and_nul_too(model: str) -> None:
    text = SAMPLES["__label__deu_Latn"]
    stage = LanguageId(model=model)
    plain = stage.annotate(documents(text)).to_pylist()
    for mark in ("\n", "\r\n", "\t", "\x0b", "\x00"):
        assert stage.annotate(documents(text.replace(" ", mark))).to_pylist() == plain


def test_a_long_document_is_judged_by_its_beginning(model: str) -> None:
    english, german = SAMPLES["__label__eng_Latn"], SAMPLES["__label__deu_Latn"]
    stage = LanguageId(model=model, max_chars=len(english))
    text = english + german * 20
    assert stage.annotate(documents(text)).to_pylist() == stage.annotate(documents(english)).to_pylist()


def facts(*rows: tuple[str, float]) -> pa.Table:
    names, scores = zip(*rows, strict=True)
    shares = pa.nulls(len(rows), LanguageId.schema.field("language_shares").type)
    scripts = pa.nulls(len(rows), pa.string())
    return pa.table([pa.array(names), pa.array(scores, pa.float32()), shares, scripts], schema=LanguageId.schema)


def test_decisions_name_the_reason_the_score_and_the_threshold() -> None:
    stage = LanguageId(languages=("en", "deu"), min_score=0.5)
    found = stage.decide(facts(("en", 0.9), ("en", 0.25), ("fr", 0.99), ("de-Latn", 0.5), ("und", 0.0)))
    assert [found.reasons[i] if i >= 0 else None for i in found.reason] == [
        None,
        "low_language_score",
        "language",
        None,
        "language",
    ]
    np.testing.assert_allclose(found.value, [0.9, 0.25, 0.99, 0.5, 0.0], atol=1e-6)
    np.testing.assert_array_equal(found.threshold, 0.5)


def test_a_language_has_its_own_threshold() -> None:
    stage = LanguageId(min_score=0.2, thresholds=("en:0.65", "zh-Hant:0.9"))
    found = stage.decide(facts(("en", 0.6), ("en", 0.7), ("fr", 0.3), ("zh-Hant", 0.8), ("zh-Hans", 0.8)))
    assert found.dropped.tolist() == [True, False, False, True, False]


def test_thresholds_may_be_written_as_a_mapping() -> None:
    given_mapping: Any = {"fr": 0.4, "en": 0.65}
    stage = LanguageId(thresholds=given_mapping)
    assert stage.thresholds == ("en:0.65", "fr:0.4")
    assert hash(stage) == hash(LanguageId(thresholds=("en:0.65", "fr:0.4")))


def test_a_language_means_all_its_scripts_and_a_script_only_itself() -> None:
    rows = facts(("sr-Cyrl", 1.0), ("sr-Latn", 1.0), ("hr-Latn", 1.0))
    assert LanguageId(languages=("sr",)).decide(rows).dropped.tolist() == [False, False, True]
    assert LanguageId(languages=("srp_Cyrl",)).decide(rows).dropped.tolist() == [False, True, True]


def test_thresholds_change_no_fact_but_model_and_cut_do(model: str) -> None:
    base = LanguageId(model=model)
    assert LanguageId(model=model, languages=("en",), min_score=0.9).fact_digest() == base.fact_digest()
    assert LanguageId(model=model, max_chars=50).fact_digest() != base.fact_digest()
    assert LanguageId(model=model, min_score=0.9).digest() != base.digest()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"min_score": 65}, r"min_score must be in \[0, 1\.0\]|min_score must be in"),
        ({"languages": ("english",)}, "languages must be an ISO 639"),
        ({"languages": ("xx",)}, "languages must be an ISO 639"),
        ({"thresholds": ("en=0.5",)}, "LANGUAGE:SCORE"),
        ({"thresholds": ("en:5",)}, "LANGUAGE:SCORE"),
        ({"model": "lid.176.ftz"}, "fasttext:NAME"),
        ({"max_chars": 0}, "max_chars"),
    ],
)
def test_a_wrong_parameter_is_refused_with_its_value(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        LanguageId(**parameters)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"languages": ("en", "fr")}, r"languages must be a language of fasttext:.*, got 'fr'.*It has 6 others"),
        ({"languages": ("en-Cyrl",)}, "It has en-Latn"),
        ({"thresholds": ("srb:0.5",)}, r"thresholds must be .*got 'srb'.*Of those with s it has sr-Cyrl, sr-Latn"),
    ],
)
def test_a_language_that_the_model_never_names_is_refused_before_any_work(
    model: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        LanguageId(model=model, **parameters).fact_digest()
    assert LanguageId(model=model, languages=("en", "srp", "sr-Latn", "und")).fact_digest()


def test_norwegian_means_both_written_languages_and_a_model_that_has_only_it_is_told() -> None:
    assert language.matches(("no", "nb-Latn", "nn", "nl"), "no").tolist() == [True, True, True, False]
    assert language.matches(("no", "nb-Latn", "nn"), "nn").tolist() == [False, False, True]
    assert language.remedy(("en", "no"), "nb") == "It has no."


def test_a_document_in_another_language_is_dropped_for_its_language_and_score() -> None:
    facts = pa.table(
        {
            "language": ["de", "en"],
            "language_score": pa.array([0.9, 0.8], pa.float32()),
            "language_shares": [[{"language": "de", "share": 1.0}], [{"language": "en", "share": 0.5}]],
        }
    )
    found = LanguageId(languages=("en",), segment_chars=100, min_share=0.7, min_score=0.2).decide(facts)
    assert [found.reasons[i] for i in found.reason] == ["language", "mixed_language"]
    assert np.allclose(found.value, [0.9, 0.5])
    assert np.allclose(found.threshold, [0.2, 0.7])


def test_no_document_gives_an_empty_table_of_the_schema() -> None:
    stage = LanguageId(model="fasttext:not-even-there.bin")
    assert stage.annotate(documents()).schema == LanguageId.schema
    assert stage.decide(LanguageId.schema.empty_table()).reason.shape == (0,)


def test_a_stage_is_small_when_pickled_even_after_use(model: str) -> None:
    stage = LanguageId(model=model)
    stage.annotate(documents("some text"))
    assert len(pickle.dumps(stage)) < 2000


def test_the_card_says_what_model_it_was(model: str) -> None:
    card = LanguageIdentifier(model).card()
    assert len(card["digest"]) == 64
    assert Path(card["source"]).name == "model.bin"


def test_shares_say_how_much_of_a_document_is_in_which_language(model: str) -> None:
    english, german = SAMPLES["__label__eng_Latn"], SAMPLES["__label__deu_Latn"]
    stage = LanguageId(model=model, segment_chars=40)
    found = stage.annotate(documents("\n".join([english, german, german, german]), english, "", german)).column(2)
    shares = [{s["language"]: s["share"] for s in row} for row in found.to_pylist()]
    assert list(shares[0]) == ["de-Latn", "en-Latn"]
    assert shares[0]["de-Latn"] == pytest.approx(0.75, abs=0.02)
    assert shares[1:] == [{"en-Latn": 1.0}, {}, {"de-Latn": 1.0}]


def test_a_mixed_document_is_dropped_by_its_share(model: str) -> None:
    english, german = SAMPLES["__label__eng_Latn"], SAMPLES["__label__deu_Latn"]
    stage = LanguageId(model=model, segment_chars=40, min_share=0.9, languages=("en", "de"))
    table = stage.annotate(documents("\n".join([english, german, german]), german))
    assert not stage.decide(table).dropped.any()
    found = LanguageId(model=model, segment_chars=40, min_share=0.9, languages=("de",)).decide(table)
    assert [found.reasons[i] if i >= 0 else None for i in found.reason] == ["mixed_language", None]
    assert found.value[0] == pytest.approx(2 / 3, abs=0.03)
    assert found.threshold[0] == 0.9
    with pytest.raises(RecipeError, match="min_share"):
        LanguageId(min_share=0.5)


@given(texts=st.lists(st.text(max_size=50), max_size=6), length=st.integers(1, 20), skip=st.integers(0, 2))
def test_parts_are_the_document_end_to_end(texts: list[str], length: int, skip: int) -> None:
    array = pa.array(texts, pa.large_string()).slice(skip)
    parts, firsts = segments.cut(array, length)
    parts.validate(full=True)
    values = parts.to_pylist()
    assert ["".join(values[a:b]) for a, b in pairwise(firsts)] == texts[skip:]
    assert all(len(value.encode()) <= 4 * length + 4 and value for value in values)


def test_scripts_are_facts(model: str) -> None:
    facts = LanguageId(model=model).annotate(documents("лисица скаче", "the fox", "12", "한국어"))
    assert facts.column("script").to_pylist() == ["Cyrl", "Latn", "Zyyy", "Hang"]


def test_capitals_may_be_judged_in_lower_case(model: str) -> None:
    loud = SAMPLES["__label__eng_Latn"].upper()
    quiet, mixed = loud.lower(), "The Quick Brown Fox jumps"
    plain = [LanguageId(model=model, case=case).annotate(documents(loud, quiet, mixed)) for case in CASES]
    scores = {case: facts.column("language_score").to_pylist() for case, facts in zip(CASES, plain, strict=True)}
    assert scores["lower"][0] == scores["lower"][1] == scores["keep"][1] == scores["capitals"][0]
    assert scores["keep"][0] != scores["keep"][1]
    assert scores["capitals"][2] == scores["keep"][2] != scores["lower"][2]


def test_english_in_capitals_is_english(tmp_path: Path) -> None:
    try:
        models.resolve("fasttext:lid.176.ftz")
    except RecipeError as error:
        pytest.skip(str(error))
    loud = documents("THIS IS THE HOUSE THAT THE PEOPLE OF THE TOWN HAVE BUILT BY THE RIVER")
    found = LanguageId(case="capitals").annotate(loud)
    assert found.column("language").to_pylist() == ["en"]
    assert found.column("language_score").to_pylist()[0] > 0.5


def limits(folder: Path, model: str, **scores: float) -> str:
    entries = "".join(f"  {code}: {{language_score: {score}}}\n" for code, score in scores.items())
    (folder / "limits.yaml").write_text(f"language_id: {model}\nlanguages:\n{entries}")
    return str(folder / "limits.yaml")


def test_thresholds_are_taken_from_learned_limits_and_what_is_written_comes_first(tmp_path: Path) -> None:
    path = limits(tmp_path, "fasttext:lid.176.ftz", en=0.7, fr=0.4)
    rows = facts(("en", 0.6), ("fr", 0.5), ("de", 0.1))
    assert LanguageId(thresholds=path).decide(rows).dropped.tolist() == [True, False, False]
    assert LanguageId(thresholds=(path, "en:0.5", "de:0.2")).decide(rows).dropped.tolist() == [False, False, True]


def test_decisions_follow_a_file_of_thresholds_and_facts_do_not(tmp_path: Path, model: str) -> None:
    stage = LanguageId(model=model, thresholds=limits(tmp_path, model, en=0.7))
    before = stage.digest(), stage.fact_digest()
    limits(tmp_path, model, en=0.8)
    assert stage.digest() != before[0]
    assert stage.fact_digest() == before[1] == LanguageId(model=model).fact_digest()


def test_scores_of_another_model_are_refused(tmp_path: Path, model: str) -> None:
    stage = LanguageId(model=model, thresholds=limits(tmp_path, "fasttext:glotlid_v3.bin", en=0.7))
    with pytest.raises(
        RecipeError, match=r"thresholds must be scores of fasttext:.*This file's are of fasttext:glotlid"
    ):
        stage.digest()


def test_a_calibration_changes_scores_and_learned_thresholds_alike(tmp_path: Path, model: str) -> None:
    path = tmp_path / "limits.yaml"
    path.write_text(
        f"language_id: {model}\ncalibration: [[0.0, 0.0], [1.0, 0.5]]\nlanguages: {{en: {{language_score: 0.8}}}}"
    )
    plain = LanguageId(model=model, thresholds=str(path))
    stage = LanguageId(model=model, thresholds=str(path), calibration=str(path))
    texts = documents(SAMPLES["__label__eng_Latn"], "12")
    before, after = (s.annotate(texts).column("language_score").to_pylist() for s in (plain, stage))
    assert after == pytest.approx([before[0] / 2, 0.0])
    assert stage.scores_by_language() == {"en": pytest.approx(0.4)}
    assert stage.fact_digest() != plain.fact_digest()
    path.write_text(f"language_id: {model}\nlanguages: {{en: {{}}}}")
    with pytest.raises(RecipeError, match="calibration must be a file with a calibration"):
        stage.fact_digest()
