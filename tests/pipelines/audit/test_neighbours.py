"""Pairs of kept documents are held up to a bound, whatever there are: counted at three sizes of one template."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.audit import neighbours
from pipelines.audit.audit import audit
from pipelines.audit.neighbours import FOUND, Neighbours
from pipelines.audit.view import render_audit
from pipelines.cli.app import say
from pipelines.recipe.recipe import load_data
from pipelines.run import runner

PAIRS = 40
SIZES = (60, 120, 240)


def templated(folder: Path, documents: int) -> str:
    """Run near_dedup over documents of one template, every two of them alike to about .7, and return the run folder."""
    rng = random.Random(1)
    template = [f"w{rng.randrange(10**6)}" for _ in range(300)]
    texts = [" ".join([*template, *(f"v{rng.randrange(10**6)}" for _ in range(60))]) for _ in range(documents)]
    (folder / "in").mkdir(parents=True)
    pq.write_table(pa.table({"text": texts}), folder / "in" / "a.parquet")
    stages: list[dict[str, Any]] = [
        {"use": "minhash", "shingle_width": 8},
        {"use": "near_dedup", "jaccard_threshold": 0.75},
    ]
    data = {"datasets": {"a": {"paths": str(folder / "in")}}, "stages": stages, "cluster": {"kind": "inline"}}
    runner.run(load_data(data, "test"), str(folder / "run"))
    return str(folder / "run")


@pytest.fixture(scope="module")
def audits(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[dict[str, Any], int]]:
    """Return the audit of near_dedup, and the most pairs held at once, at each of SIZES."""
    found = []
    for size in SIZES:
        run = templated(tmp_path_factory.mktemp("templated"), size)
        held = [0]

        class Counted(Neighbours):
            def add(self, number: int, count: int, rows: Any, held: list[int] = held) -> None:
                super().add(number, count, rows)
                held[0] = max(held[0], sum(len(f.rows) for f in self._found))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pipelines.audit.kept_pairs.Neighbours", Counted)
            entry: Any = audit(run, pairs=PAIRS)["stages"]["near_dedup"]
        found.append((entry, held[0]))
    return found


def test_the_pairs_held_do_not_grow_with_the_documents_of_a_template(audits: list[tuple[dict[str, Any], int]]) -> None:
    for entry, held in audits:
        assert entry["kept"]["documents"] in SIZES
        assert held <= neighbours.HELD * PAIRS
    assert audits[-1][1] <= audits[1][1] <= 2 * audits[0][1]


def test_the_audit_says_of_how_many_pairs_it_compared_a_part(
    audits: list[tuple[dict[str, Any], int]], capsys: pytest.CaptureFixture[str]
) -> None:
    for (entry, _), size in zip(audits, SIZES, strict=True):
        kept = entry["kept"]
        assert kept["seeds"] >= PAIRS // neighbours.LEAST
        assert kept["seeds_sampled"] == kept["seeds"]
        assert 0.8 < kept["pairs_of_sampled"] / (kept["seeds"] * (size - 1)) <= 1  # some estimates are too low
        assert kept["pairs"] <= PAIRS
        say(render_audit({"format": 1, "run": "", "pairs": PAIRS, "seed": 1, "stages": {"n": entry}}))
        assert f"{kept['pairs_of_sampled']:,} such pairs" in " ".join(capsys.readouterr().out.split())


@given(
    st.lists(st.lists(st.integers(0, 60), unique=True, max_size=60), min_size=1, max_size=15),
    st.integers(1, 30),
    st.randoms(use_true_random=False),
)
def test_what_is_taken_depends_on_the_pairs_alone(pairs: list[list[int]], most: int, rng: random.Random) -> None:
    seeds = np.arange(1000, 1000 + len(pairs))
    taken = []
    for _ in range(2):
        found = Neighbours(seeds, most, 7)
        portions = {tuple(rng.sample(range(61), rng.randint(1, 61))) for _ in range(4)}
        portions = [*portions, tuple(range(61))]
        given_out: set[tuple[int, int]] = set()
        for portion in portions:
            for number in range(len(pairs)):
                if number < found.open:
                    mine = [o for o in pairs[number] if o in portion and (number, o) not in given_out]
                    rng.shuffle(mine)
                    given_out |= {(number, o) for o in mine}
                    add(found, number, mine)
            found.shrink()
        taken.append([(doc, f.count, f.rows["other"].tolist()) for doc, f in found.taken()])
    assert taken[0] == taken[1]
    check(taken[0], [sorted(p) for p in pairs], most)


def add(found: Neighbours, number: int, others: list[int]) -> None:
    docs = np.array(others, np.int64)
    mark, part = found.smallest(number, docs)
    rows = np.zeros(len(part), FOUND)
    rows["mark"], rows["other"] = mark, docs[part]
    found.add(number, len(docs), rows)


def check(taken: list[tuple[int, int, list[int]]], pairs: list[list[int]], most: int) -> None:
    """Whole seeds as long as their pairs fit; where these are few, more seeds with a part of theirs."""
    whole = 0
    while whole < len(pairs) and sum(map(len, pairs[: whole + 1])) <= most:
        whole += 1
    counts = [count for _, count, _ in taken]
    assert counts == [len(p) for p in pairs[: len(taken)]]
    assert sum(len(rows) for _, _, rows in taken) <= most
    if whole >= min(neighbours.FEW_SEEDS, len(pairs)):
        assert [rows for _, _, rows in taken] == pairs[:whole]
    else:
        assert len(taken) >= max(1, whole)
        for (_, count, rows), all_of in zip(taken, pairs, strict=False):
            assert set(rows) <= set(all_of)
            assert len(rows) == min(count, most, max(neighbours.LEAST, most // neighbours.FEW_SEEDS))
