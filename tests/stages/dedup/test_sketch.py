"""near_dedup over one-permutation sketches: verdicts by true similarity, few shingles, other sketches, additions."""

from __future__ import annotations

import inspect
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.errors import RecipeError
from pipelines.cli.files import dedup_files
from pipelines.commands import dedup as command
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from stages.core.digests import digest
from stages.kernels.hashes.hashing import buffers
from stages.kernels.similarity.jaccard import exact_pairs

WIDTH, THRESHOLD = 8, 0.8


def pairs(count: int, longest: int) -> list[str]:
    """Return texts, neighbours of which differ in a few words; lengths from one word on."""
    choose = random.Random(count)
    texts: list[str] = []
    for number in range(count):
        words = [f"{number}w{choose.randrange(10**4)}" for _ in range(choose.randint(1, longest))]
        other = words.copy()
        for _ in range(choose.randint(0, 1 + len(words) // 20)):
            other[choose.randrange(len(words))] = f"changed{choose.randrange(10**4)}"
        texts += [" ".join(words), " ".join(other)]
    return texts


def recipe(folder: Path, sketch: str, **more: Any) -> Any:
    signed = {"use": "minhash", "shingle_width": WIDTH, "sketch": sketch}
    near = {"use": "near_dedup", "jaccard_threshold": THRESHOLD, **more}
    data = {
        "datasets": {"d": {"paths": str(folder)}},
        "stages": [signed, near],
        "cluster": {"kind": "inline"},
    }
    return load_data(data, "test")


def written(folder: Path, texts: list[str], name: str = "0.parquet") -> Path:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table({"text": texts}), folder / name)
    return folder


def ledger(run: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted((run / "ledger").glob("*.parquet"))])


@pytest.mark.parametrize("longest", [6, 40, 400])
def test_pairs_are_dropped_by_their_true_similarity_however_few_their_shingles(tmp_path: Path, longest: int) -> None:
    texts = pairs(150, longest)
    first = np.arange(0, len(texts), 2)
    similarity = exact_pairs(*buffers(pa.array(texts, pa.large_string())), first, first + 1, WIDTH)
    runner.run(recipe(written(tmp_path / "in", texts), "oph", bands=64, rows_per_band=2), str(tmp_path / "run"))
    kept = ledger(tmp_path / "run").column("kept").to_numpy().reshape(-1, 2)
    assert ((~kept).any(axis=1) == (similarity >= THRESHOLD)).all()
    assert 20 < (similarity >= THRESHOLD).sum() < len(similarity)


def test_another_sketch_and_added_files_give_what_a_new_folder_gives(tmp_path: Path) -> None:
    texts = pairs(120, 60)
    source = written(tmp_path / "in", texts[:100])
    runner.run(recipe(source, "permutations"), str(tmp_path / "run"))
    runner.run(recipe(source, "oph"), str(tmp_path / "run"))
    runner.run(recipe(source, "oph"), str(tmp_path / "oph"))
    assert ledger(tmp_path / "run").equals(ledger(tmp_path / "oph"))
    written(source, texts[99:1:-1] + texts[100:], "1.parquet")
    for sketch, folder in (("oph", "run"), ("permutations", "run"), ("permutations", "other"), ("oph", "new")):
        runner.run(recipe(source, sketch), str(tmp_path / folder))
        if folder == "run" and sketch == "oph":
            grown = ledger(tmp_path / "run")
    assert ledger(tmp_path / "run").equals(ledger(tmp_path / "other"))
    assert grown.equals(ledger(tmp_path / "new"))
    assert grown.column("kept").to_pylist().count(False) > 90


def test_the_default_leaves_the_digests_of_recipes_and_of_finished_folders_as_they_were() -> None:
    stages = [{"use": "minhash"}, {"use": "near_dedup", "jaccard_threshold": 0.8}]
    data: dict[str, Any] = {"datasets": {"d": {"paths": ["/x/a"]}}, "stages": stages}
    assert load_data(data, "test").digest() == "88bca94e9e25b0cb"  # of the version before the sketch
    stages[0]["sketch"] = "permutations"
    assert load_data(data, "test").digest() == "88bca94e9e25b0cb"
    stages[0]["sketch"] = "oph"
    chosen = load_data(data, "test")
    assert chosen.digest() != "88bca94e9e25b0cb"
    assert load_data(chosen.to_data(), "again").stages == chosen.stages
    told = (["/x/a"], {"text": "text"}, 0.8, 24)
    usual, oph = (command._recipe(*told, sketch, 1).digest() for sketch in ("permutations", "oph"))
    assert digest(usual) == "1dcc4c47c95bfd87" != digest(oph)


def test_a_folder_finished_by_default_is_refused_to_the_other_sketch(tmp_path: Path) -> None:
    source = written(tmp_path / "in", pairs(20, 30))
    counts = command.dedup(str(source), str(tmp_path / "out"), shingle_width=WIDTH, workers=1)
    again = command.dedup(str(source), str(tmp_path / "out"), shingle_width=WIDTH, workers=1, sketch="oph")
    assert counts == again
    with pytest.raises(RecipeError, match="another"):
        command.dedup(str(source), str(tmp_path / "out"), shingle_width=WIDTH, workers=1, sketch="permutations")


def test_the_command_line_has_the_default_of_the_function() -> None:
    default = inspect.signature(dedup_files).parameters["sketch"].default
    assert default == command.SKETCH == inspect.signature(command.dedup).parameters["sketch"].default
