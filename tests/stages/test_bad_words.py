"""Bad words as C4 looks for them; cases of TensorFlow Datasets' kind, worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cluster.errors import RecipeError
from stages.bad_words import BadWords


def judged(folder: Path, texts: list[str], words: str = "ass\nstrap on\nŠpatný", **parameters: Any) -> list[bool]:
    (folder / "w.txt").write_text(words, encoding="utf-8")
    stage = BadWords(words=(str(folder / "w.txt"),), **parameters)
    facts = stage.annotate(pa.table({"text": pa.array(texts, pa.large_string())}))
    assert facts.schema == stage.schema
    return stage.decide(facts).dropped.tolist()


def test_words_stand_alone_in_any_case(tmp_path: Path) -> None:
    texts = [
        "I asked my friend for assistance polishing my cutlass.",
        "He took the saddle and put it on his ass in preparation.",
        "Ass is one of several species.",
        'Donkey is a synonym for the word "ass".',
        "If I say strap on, it is still one.",
        "strapon",
        "to je ŠPATNÝ den",
        "assé",
        "ass",
        "",
    ]
    assert judged(tmp_path, texts) == [False, True, True, True, True, False, True, False, True, False]


def test_substrings_where_no_blanks_part_words(tmp_path: Path) -> None:
    texts = ["这是坏字的文", "这是好的文"]
    assert judged(tmp_path, texts, "坏字") == [False, False]
    assert judged(tmp_path, texts, "坏字", match="substring") == [True, False]


def test_how_many_and_which_are_facts(tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_text("b\na\n")
    stage = BadWords(words=(str(tmp_path / "w.txt"),), max_words=1)
    facts = stage.annotate(pa.table({"text": pa.array(["b a b", "b", "c"], pa.large_string())}))
    assert facts.column("found").to_pylist() == [2, 1, 0]
    assert facts.column("first").to_pylist() == ["a", "b", None]
    assert stage.decide(facts).dropped.tolist() == [True, False, False]


def test_a_share_stays_by_content(tmp_path: Path) -> None:
    texts = [f"an ass of number {n}" for n in range(400)]
    kept = [not dropped for dropped in judged(tmp_path, texts, keep_share=0.25)]
    assert 60 < sum(kept) < 140
    assert kept == [not dropped for dropped in judged(tmp_path, texts[::-1], keep_share=0.25)][::-1]
    assert judged(tmp_path, texts, keep_share=1.0) == [False] * 400


def test_lists_are_checked(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="words must be at least one file"):
        BadWords()
    with pytest.raises(RecipeError, match="hold no word"):
        judged(tmp_path, ["a"], "\n\n")
    with pytest.raises(RecipeError, match=r"nowhere\.txt"):
        BadWords(words=("nowhere.txt",)).fact_digest()
