"""Perplexity is CCNet's, under models made here; head, middle and tail are its quantiles."""

from __future__ import annotations

import math
import random
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers.perplexity import ModelFiles, in_folder, load, normalise
from cluster.errors import RecipeError
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from stages.perplexity import Perplexity
from stages.testing import StageSuite
from tests.support.ngram_models import BIGRAMS, UNIGRAMS, arpa
from tests.support.small_runs import read_ledger

pytest.importorskip("kenlm")


def by_hand(lines: list[str]) -> float:
    """Return the perplexity of lines, each a sentence, by the definition of a back-off model."""
    total, length = 0.0, 0
    for line in lines:
        before = "<s>"
        for word in [*line.split(), "</s>"]:
            known = word if word in UNIGRAMS else "<unk>"
            total += BIGRAMS.get((before, known), UNIGRAMS[before][1] + UNIGRAMS[known][0])
            before = known
            length += 1
    return float(10 ** (-total / length))


def ccnet(line: str) -> str:
    """Return a line as CCNet's published steps make it: each of them plain and slow."""
    marks = {
        "\u201e": '"',
        "\u201d": '"',
        "\u3002": ".",
        "\uff0c": ",",
        "\u2014": " - ",
        "\u2026": "...",
        "\u2019": "'",
    }
    line = line.strip().lower()
    line = "".join(c for c in unicodedata.normalize("NFD", line) if unicodedata.category(c) != "Mn")
    line = "".join("0" if unicodedata.category(c) == "Nd" else c for c in line)
    line = "".join(marks.get(c, c) for c in line)
    return "".join(c for c in line if not (ord(c) < 32 or 127 <= ord(c) < 160))


@pytest.mark.parametrize("seed", range(20))
def test_texts_are_normalised_as_ccnet_does(seed: int) -> None:
    random_ = random.Random(seed)
    alphabet = "aBcÉéñ\u0301한각가 12٣१\t\n\x85\x7f.,\u201e\u201d\u3002\uff0c\u2014\u2026\u2019漢İßΣ"
    text = "".join(random_.choice(alphabet) for _ in range(60))
    assert normalise(text) == ccnet(text)


def test_perplexity_is_that_of_the_back_off_model(tmp_path: Path) -> None:
    model = load(ModelFiles(lm=arpa(tmp_path / "en.arpa")))
    texts = ["the cat sat", "The Cat\nsat", "dog dog sat the", "unheard words", "the", " "]
    lines = [[normalise(line) for line in text.split("\n")] for text in texts]
    found = model.score(texts)
    assert found[:5].tolist() == pytest.approx([by_hand(each) for each in lines[:5]], rel=1e-5)
    assert math.isnan(found[5])


def test_binary_models_and_pieces_are_used(tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    random_ = random.Random(1)
    words = ["the", "cat", "dog", "sat", "mat", "hat"]
    (tmp_path / "text.txt").write_text("\n".join(" ".join(random_.choices(words, k=8)) for _ in range(400)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text.txt"),
        model_prefix=str(tmp_path / "en.sp"),
        vocab_size=24,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    files = ModelFiles(lm=arpa(tmp_path / "en.arpa"), pieces=str(tmp_path / "en.sp.model"))
    pieces = sentencepiece.SentencePieceProcessor(model_file=files.pieces).encode_as_pieces("the cat")
    assert load(files).score(["The cat"]).tolist() == pytest.approx([by_hand([" ".join(pieces)])], rel=1e-5)
    assert in_folder(str(tmp_path)) == {"en": files}
    assert math.isnan(load(files).score(["  \n"])[0])


def documents(*texts: str) -> pa.Table:
    return pa.table({"text": pa.array(texts, pa.large_string())})


class TestPerplexity(StageSuite):
    """The stage meets what is asked of every stage."""

    @pytest.fixture(autouse=True)
    def chosen(self, tmp_path: Path) -> None:
        self.stage = Perplexity(models=(f"en={arpa(tmp_path / 'en.arpa')}",), language="en", max_perplexity=12.0)

    def documents(self) -> pa.Table:
        return documents("the cat sat", "", "dog dog", "the dog\nsat", "unheard of", "the", "cat", "sat")


def test_limits_decide_without_text(tmp_path: Path) -> None:
    stage = Perplexity(models=(f"en={arpa(tmp_path / 'en.arpa')}",), language="en", max_perplexity=50.0)
    facts = stage.annotate(documents("the cat sat", "nonsense everywhere here", ""))
    good, bad, none = facts.column("perplexity").to_pylist()
    assert good < 50 < bad
    assert none is None
    assert stage.decide(facts).dropped.tolist() == [False, True, False]
    strict = Perplexity(models=stage.models, language="en", min_perplexity=good + 1, keep_missing=False)
    found = strict.decide(facts)
    assert [found.reasons[i] if i >= 0 else None for i in found.reason] == ["low_perplexity", None, "no_model"]


def test_each_language_has_its_model_and_others_none(tmp_path: Path) -> None:
    models = (f"en={arpa(tmp_path / 'en.arpa')}", f"de={arpa(tmp_path / 'de.arpa', 0.3)}")
    stage = Perplexity(models=models, language="column:lang")
    table = documents("the dog", "the dog", "the dog", "the dog")
    table = table.append_column("column:lang", pa.array(["eng_Latn", "de", "fr", None]))
    english, german, *others = stage.annotate(table).column("perplexity").to_pylist()
    assert german < english
    assert others == [None, None]


def test_facts_follow_the_files_of_the_models(tmp_path: Path) -> None:
    stage = Perplexity(models=(f"en={arpa(tmp_path / 'en.arpa')}",), language="en")
    before = stage.fact_digest()
    arpa(tmp_path / "en.arpa", 0.25)
    assert stage.fact_digest() != before


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "models must be at least one"),
        ({"models": ("klingon=a.arpa",)}, "models must be an ISO 639"),
        ({"models": ("en=",)}, "models must be CODE=LM"),
        ({"models": ("en=a",), "language": "english"}, "language must be an ISO 639"),
        ({"models": ("en=a",), "min_perplexity": 9.0, "max_perplexity": 1.0}, "min_perplexity must be at most"),
    ],
)
def test_wrong_parameters_are_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        Perplexity(**given)


@pytest.mark.parametrize("content", ["", "no model", "\\data\\\nngram 1=5\n"])
def test_a_file_that_is_no_model_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "en.arpa"
    path.write_text(content)
    stage = Perplexity(models=(f"en={path}",), language="en")
    with pytest.raises(RecipeError, match=r"en\.arpa is no KenLM model"):
        stage.annotate(documents("the cat"))


def test_head_middle_and_tail_are_quantiles_per_language(tmp_path: Path) -> None:
    """The three parts are disjoint and make up the whole, and the head is the less surprising."""
    random_ = random.Random(5)
    words = [*[*UNIGRAMS][3:], "unheard", "of"]
    rows = [{"text": " ".join(random_.choices(words, k=12)), "id": str(n)} for n in range(120)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    measure = {"use": "perplexity", "models": [f"en={arpa(tmp_path / 'en.arpa')}"], "language": "en"}
    cuts = [{"max_quantile": 0.3}, {"min_quantile": 0.3, "max_quantile": 0.6}, {"min_quantile": 0.6}]
    parts = []
    for number, cut in enumerate(cuts):
        scoring = {"use": "score_cut", "of": "perplexity", "column": "perplexity", **cut}
        dataset = {"paths": str(tmp_path / "in.parquet"), "columns": {"text": "text", "id": "id"}}
        data = {"name": "t", "datasets": {"web": dataset}, "stages": [measure, scoring], "cluster": {"kind": "inline"}}
        runner.run(load_data(data, "test"), str(tmp_path / f"run-{number}"), with_report=False)
        ledger = read_ledger(tmp_path / f"run-{number}")
        parts.append(
            {i for i, stays in zip(*(ledger.column(c).to_pylist() for c in ("id", "kept")), strict=True) if stays}
        )
    scores = dict(
        zip(
            [r["id"] for r in rows],
            load(ModelFiles(lm=measure["models"][0][3:])).score([r["text"] for r in rows]),
            strict=True,
        )
    )
    assert set.union(*parts) == set(scores)
    assert [len(part) for part in parts] == pytest.approx([36, 37, 49], abs=1)
    tops = [np.max([scores[i] for i in part]) for part in parts]
    assert tops == sorted(tops)
