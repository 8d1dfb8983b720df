"""Rules about texts judge each language by what is known of it, and say what they do not judge and what they take."""

from __future__ import annotations

import collections
import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers import models
from cluster.errors import RecipeError
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from stages.heuristics import Heuristics
from stages.kernels.text.scripts import script_names, scripts_of
from stages.languages import stop_words, words
from stages.testing import StageSuite
from tests.support import languages
from tests.support.small_runs import read_ledger

pytest.importorskip("stopwordsiso")
HOWS = [pytest.param("icu", marks=pytest.mark.skipif(not words.installed(), reason="no ICU")), "characters"]
CODES = sorted(languages.SENTENCES)


def reasons(stage: Heuristics, texts: list[str]) -> list[str]:
    facts = stage.annotate(pa.table({"text": pa.array(texts, pa.large_string())}))
    found = stage.decide(facts)
    return [found.reasons[code] if code >= 0 else "kept" for code in found.reason.tolist()]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("code", CODES)
def test_running_text_stays_and_junk_goes_in_every_language(code: str, how: str) -> None:
    stage = Heuristics(language=code, words=how)
    assert set(reasons(stage, languages.good(code, 30))) == {"kept"}
    assert "kept" not in reasons(stage, languages.junk(code, 20))


@pytest.mark.parametrize("code", ["ko", "th", "ar", "de", "hi"])
def test_one_language_in_the_words_of_another_breaks_its_stop_words(code: str) -> None:
    stage = Heuristics(language=code, limits=("mean_word_length>=0", "newlines_per_word<=9"))
    other = ["xq", "zv", "wj", "kq", "bx", "dz"]
    text = "\n".join(" ".join(f"{other[(i + j) % 6]}{i * j}q" for j in range(9)) + "." for i in range(30))
    assert reasons(stage, [text]) == ["stop_words"]


def test_stop_words_are_found_whatever_their_case() -> None:
    facts = [
        Heuristics(language="de").annotate(pa.table({"text": pa.array([text], pa.large_string())}))
        for text in ("der und nicht oder", "DER Und NICHT odeR")
    ]
    assert facts[0].column("stop_words").to_pylist() == facts[1].column("stop_words").to_pylist() == [4.0]


def test_a_language_without_a_list_is_not_judged_by_stop_words() -> None:
    text = "\n".join(languages.good("de", 1))
    documents = pa.table({"text": pa.array([text], pa.large_string())})
    stage = Heuristics(language="gsw")  # no list of Swiss German is known
    facts = stage.annotate(documents)
    assert stop_words.listed("gsw") == ()
    assert facts.column("stop_words").to_pylist() == [None]
    assert stage.decide(facts).reason.tolist() == [-1]
    assert {name: mask.tolist() for name, mask in stage.remarks(facts).items()} == {"not_judged by stop_words": [True]}


@pytest.mark.skipif(not words.installed(), reason="no ICU")
@pytest.mark.parametrize(
    "text", ["ภาษาไทย สวย", "𠀀𠀀 日本語を勉強します。hello 3.14", "漢字𠀀か", "မြန်မာစာ", "ខ្មែរ", "   ", ""]
)
def test_icu_words_cover_a_text_in_code_points(text: str) -> None:
    for script in words.LOCALES:
        starts, stops = words.words(text, script, "icu")
        found = [text[a:b] for a, b in zip(starts, stops, strict=True)]
        assert "".join(found) == "".join(text.split())
        assert all(found)


@given(st.text(alphabet="กขคเแาิี ab1.,\n漢かမြ𠀀", max_size=40))
@settings(max_examples=100, deadline=None)
def test_words_lie_in_order_and_hold_no_white_space(text: str) -> None:
    for how in ("icu", "characters") if words.installed() else ("characters",):
        starts, stops = words.words(text, "Thai", how)
        assert (starts < stops).all()
        assert (starts[1:] >= stops[:-1]).all()
        assert not any(text[a:b].isspace() for a, b in zip(starts, stops, strict=True))


@pytest.mark.parametrize("code", CODES)
def test_the_script_is_that_of_most_letters(code: str) -> None:
    texts = pa.array([*languages.good(code, 3), "12 !?", "漢字の本です", "这是一本书"], pa.large_string())
    expected = [*[languages.SCRIPTS[code]] * 3, "Zyyy", "Jpan", "Hani"]
    assert script_names(scripts_of(texts)).to_pylist() == expected


class TestNamedLanguage(StageSuite):
    """A stage whose language is named meets what is asked of every stage."""

    stage = Heuristics(language="th", words="characters")

    def documents(self) -> pa.Table:
        texts = [*languages.good("th", 3), *languages.junk("th", 2), "", "漢字", *languages.good("ko", 2)]
        return pa.table({"text": pa.array(texts, pa.large_string())})

    def other_values(self) -> dict[str, Any]:
        values = super().other_values()
        del values["words"]  # ICU is an extra
        return {**values, "language": "ko", "presets": ("c4",)}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"language": "klingon"}, "language must be auto, column:NAME or an ISO"),
        ({"language": "column:"}, "language must be auto"),
        ({"language": "ko", "words": "spaces"}, "words must be one of auto, icu, characters"),
        ({"limits": ("a.yaml", "b.yaml")}, "limits must be one .yaml file at most"),
    ],
)
def test_wrong_parameters_are_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says.replace("(", r"\(")):
        Heuristics(**given)


# --- whole runs ------------------------------------------------------------------------------------------------------


def corpus(folder: Path, codes: tuple[str, ...], documents: int = 24) -> str:
    """Write documents of these languages by turns, with the column lang that says which; return the folder."""
    rows = [
        {"text": text, "id": f"{code}-{n}", "lang": {"ko": "kor_Hang"}.get(code, code)}
        for code in codes
        for n, text in enumerate(languages.good(code, documents))
    ]
    rows.sort(key=lambda row: row["id"].partition("-")[::-1])
    folder.mkdir()
    for part in range(3):
        pq.write_table(pa.Table.from_pylist(rows[part::3]), folder / f"{part}.parquet")
    return str(folder)


def run(root: Path, path: str, *stages: dict[str, Any], **more: Any) -> runner.RunResult:
    dataset = {"paths": path, "columns": {"text": "text", "id": "id"}}
    data = {"name": "t", "datasets": {"web": dataset}, "stages": list(stages), "cluster": {"kind": "inline"}, **more}
    return runner.run(load_data(data, "test"), str(root))


def kept(root: Path) -> dict[str, int]:
    ledger = read_ledger(root)
    pairs = zip(ledger.column("id").to_pylist(), ledger.column("kept").to_pylist(), strict=True)
    return dict(collections.Counter(name.partition("-")[0] for name, stays in pairs if stays))


def test_a_korean_corpus_lost_to_english_rules_is_a_loud_warning(tmp_path: Path) -> None:
    result = run(tmp_path / "run", corpus(tmp_path / "in", ("en", "ko")), {"use": "heuristics"})
    assert kept(tmp_path / "run") == {"en": 24}
    [warning] = [text for text in result.warnings if "documents of texts in script Hang" in text]
    assert "heuristics drops 24 of 24 documents of texts in script Hang (100%)" in warning
    assert "language: auto" in warning
    assert warning in (tmp_path / "run" / "report.json").read_text()


def test_a_language_column_says_whose_rules_are_meant(tmp_path: Path) -> None:
    path = corpus(tmp_path / "in", ("ko", "de", "en", "hi", "ar"))
    result = run(tmp_path / "run", path, {"use": "heuristics", "language": "column:lang"})
    assert kept(tmp_path / "run") == dict.fromkeys(("ko", "de", "en", "hi", "ar"), 24)
    assert not [text for text in result.warnings if "drops" in text]


def language_id(**more: Any) -> dict[str, Any]:
    try:
        models.resolve("fasttext:lid.176.ftz")
    except RecipeError as error:
        pytest.skip(str(error))
    return {"use": "language_id", **more}


def test_auto_takes_the_language_of_the_stage_before(tmp_path: Path) -> None:
    path = corpus(tmp_path / "in", ("ko", "de", "th", "en"))
    stages = [language_id(), {"use": "heuristics", "language": "auto", "words": "characters"}]
    result = run(tmp_path / "run", path, *stages)
    assert kept(tmp_path / "run") == dict.fromkeys(("ko", "de", "th", "en"), 24)
    [said] = [text for text in result.warnings if "not_judged by stop_words" in text]
    assert "24 documents (th 24)" in said
    assert any("words counted by character class, without ICU: 24 documents (th 24)" in t for t in result.warnings)
    again = run(tmp_path / "run", path, *stages)
    assert again.warnings == result.warnings


def test_auto_gives_the_same_after_an_interruption_and_other_limits(tmp_path: Path) -> None:
    """The facts of language_id lie there, those of heuristics do not: they are handed on from the sidecar."""
    path = corpus(tmp_path / "in", ("ko", "en"))
    run(tmp_path / "run", path, language_id())
    stages = [language_id(languages=["ko"]), {"use": "heuristics", "language": "auto", "limits": ["num_words>=300"]}]
    run(tmp_path / "run", path, *stages)
    run(tmp_path / "fresh", path, *stages)
    assert read_ledger(tmp_path / "run").equals(read_ledger(tmp_path / "fresh"))
    assert set(kept(tmp_path / "fresh")) == {"ko"}


def test_facts_follow_the_model_that_named_the_language(tmp_path: Path) -> None:
    """Facts of texts whose language another reading has named are other facts."""
    path = corpus(tmp_path / "in", ("ko", "en"))
    heuristics = {"use": "heuristics", "language": "auto"}
    for chars in (100_000, 2):
        run(tmp_path / "run", path, language_id(max_chars=chars), heuristics)
    folders = list((tmp_path / "run" / "facts" / "heuristics").iterdir())
    assert len(folders) == 2


@pytest.mark.parametrize("earlier", [[], [{"use": "language_id", "datasets": ["other"]}]])
def test_auto_without_a_language_is_an_error_that_says_what_to_do(earlier: list[Any]) -> None:
    datasets = {name: {"paths": "in"} for name in ("web", "other")}
    stages = [*earlier, {"use": "heuristics", "language": "auto"}]
    with pytest.raises(RecipeError, match="put a stage language_id before it, for the same datasets, or name it"):
        load_data({"name": "t", "datasets": datasets, "stages": stages}, "test")


def test_old_parameters_measure_what_they_did() -> None:
    """Without `language` the English words and limits judge all texts, and nothing is left out."""
    documents = pa.table({"text": pa.array(languages.good("ko", 5), pa.large_string())})
    facts = Heuristics().annotate(documents)
    assert facts.column("language").null_count == 5
    assert facts.column("stop_words").to_pylist() == [0.0] * 5
    assert dataclasses.replace(Heuristics(), words="characters").decide(facts).dropped.all()
