"""Costs that tasks declare, as the plan reads them: laws, numbers of tasks, and that nothing is left undeclared."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipelines.plan
from cluster.engines import Growth, TaskCost
from pipelines.mix import materialize
from pipelines.mix.job import part_count
from pipelines.plan import near
from pipelines.plan.clock import Call
from pipelines.plan.costs import TASK_SECONDS, kind_seconds, makespan, step_seconds
from pipelines.plan.density import Duplicates
from pipelines.plan.growth import flow
from pipelines.plan.inputs import draw, survey
from pipelines.plan.machine import Machine, machine_of
from pipelines.plan.rates import Rate, Rates
from pipelines.plan.sample import Measured, run_sample
from pipelines.plan.whole import Amounts, Whole, amounts_of_whole, candidates_of
from pipelines.recipe.recipe import Recipe, load_data
from stages import exact_dedup, semantic_dedup
from stages.core.costs import BUNDLES, DOCUMENTS, UNDECLARED, Quantity
from stages.dedup.near import buckets, known_pairs, verify
from stages.dedup.near.components import JOIN
from tests.support import run_folders
from tests.support.plans import recipe_data

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def recipe(datasets: dict[str, Any]) -> Recipe:
    """Return a recipe with a verified near_dedup, and a global shuffle."""
    stages = [dict(stage) for stage in run_folders.STAGES]
    stages[2] |= {"verify": "exact", "mode": "representative"}
    return load_data(recipe_data(datasets, stages=stages, output={"shuffle": "global"}), "test")


@pytest.fixture(scope="module")
def rates(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Rates:
    folder = tmp_path_factory.mktemp("sampled")
    drawn = [draw(survey(d), 16, 1, str(folder / "drawn" / d.name)).dataset for d in recipe.datasets_resolved()]
    pilot = run_sample(recipe, drawn, str(folder / "pilot"))
    return Rates(pilot, run_sample(recipe, recipe.datasets_resolved(), str(folder / "run")))


def whole_of(measured: Measured, times: int) -> Whole:
    """Return a whole of so many times the sample, with its bundles."""
    documents = {name: times * n for name, n in measured.documents.items()}
    text = {name: times * n for name, n in measured.text_bytes.items()}
    return Whole(
        documents=documents,
        text_bytes=text,
        hashed_bytes={},
        compressed_bytes=0,
        files=0,
        bundles=measured.run.manifest.bundles,
        missing={},
        flow=flow(measured, documents, text),
        mix_bytes=1_000_000,
        mix_parts=1,
    )


def with_calls(measured: Measured, step: str, *calls: Call) -> Measured:
    """Return a sample in which a step took what these calls say."""
    kept = [c for c in measured.calls if c.step != step]
    return dataclasses.replace(measured, calls=[*kept, *calls])


def inline(recipe: Recipe, slots: int = 1) -> Machine:
    return dataclasses.replace(machine_of(recipe, None, None), workers=slots)


def test_what_every_bundle_takes_is_told_from_what_its_text_takes(rates: Rates) -> None:
    def took(measured: Measured, bundles: int, size: int) -> Measured:
        counts = dict.fromkeys(measured.bundles, bundles), dict.fromkeys(measured.text_bytes, size)
        spent = dict.fromkeys((("read", name) for name in measured.bundles), 0.5 * bundles + 1e-6 * size)
        return dataclasses.replace(measured, bundles=counts[0], text_bytes=counts[1], annotate=spent)

    [name, *_] = rates.sample.bundles
    told = Rates(took(rates.pilot, 2, 1000), took(rates.sample, 6, 1_000_000))
    assert told.bundle(name) == pytest.approx(0.5)
    assert told.annotate("read", name) == pytest.approx(1e-6)
    small = Rates(took(rates.pilot, 2, 1000), took(rates.sample, 2, 2000))  # too little to tell them apart
    assert (small.bundle(name), small.annotate("read", name)) == (0.0, pytest.approx(1.002 / 2000))


# --- laws ------------------------------------------------------------------------------------------------


def test_work_grows_by_its_law_and_is_shared_out_over_as_many_tasks_as_are_declared() -> None:
    cost = TaskCost(name="x", tasks=BUNDLES, work=Growth(quantity=Quantity.DOCUMENTS, law=lambda n: n * n))
    rate = Rate(cost=cost, each=0.5, unit=2.0)
    amounts = Amounts({Quantity.BUNDLES: 3.0, Quantity.DOCUMENTS: 10.0})
    alone = 3 * (0.5 + TASK_SECONDS) + 2.0 * 100
    assert kind_seconds(rate, amounts, 1.0) == pytest.approx(alone)
    assert kind_seconds(rate, amounts, 64.0) == pytest.approx(alone / 3)
    assert kind_seconds(rate, amounts, 2.0) == pytest.approx(alone / 2)


def test_a_quantity_that_a_foreign_stage_made_up_grows_like_the_documents() -> None:
    amounts = Amounts({Quantity.BUNDLES: 3.0, Quantity.DOCUMENTS: 10.0})
    assert Growth(quantity="moons").at(amounts) == DOCUMENTS.at(amounts) == 10.0


def test_what_finds_repeated_keys_costs_the_same_for_every_document_since_it_sorts_so_many_at_a_time() -> None:
    grown = {Quantity.DOCUMENTS: 1.0, Quantity.ROWS: 1.0, Quantity.BAND_RECORDS: 9.0}
    few, many = (Amounts({name: n * times for name, times in grown.items()}) for n in (1e8, 1e11))
    for cost in (exact_dedup.FIND, buckets.FIND_BUCKETS):
        assert cost.work.at(many) == 1000 * cost.work.at(few)
        assert 500 < cost.tasks.at(many) / cost.tasks.at(few) < 2000


def test_a_global_shuffle_costs_the_same_for_every_byte_and_one_task_for_every_part(
    recipe: Recipe, rates: Rates
) -> None:
    calls = [Call(step="materialize", cost=materialize.WRITE_SORTED, seconds=(3.0,))]
    timed = Rates(with_calls(rates.pilot, "materialize"), with_calls(rates.sample, "materialize", *calls))
    whole = whole_of(rates.sample, 20)
    some, more = (dataclasses.replace(whole, mix_bytes=size) for size in (10**6, 10**9))

    def seconds(whole: Whole, slots: int) -> float:
        return step_seconds(timed, whole, inline(recipe, slots), "materialize") - TASK_SECONDS

    per_byte = 3.0 / rates.sample.mixed_bytes
    assert seconds(some, 1) == pytest.approx(per_byte * 10**6, rel=1e-3)
    assert seconds(more, 1) == pytest.approx(per_byte * 10**9, rel=1e-3)
    assert seconds(more, 8) == pytest.approx(seconds(more, 1), rel=1e-3)  # one part, however many workers
    several = dataclasses.replace(more, mix_parts=8)
    assert seconds(several, 8) == pytest.approx(seconds(more, 1) / 8, rel=1e-2)
    assert [part_count(size, 512_000_000) for size in (0, 10**9, 10**10)] == [1, 1, 9]


def test_verification_costs_by_the_candidates_of_the_whole_whatever_the_sample_took(
    recipe: Recipe, rates: Rates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near, "pair_seconds", lambda *_: 1e-4)
    rare = [verify.TRY, verify.NAME, verify.SORT, verify.READ, verify.COMPARE, known_pairs.KEEP]
    joined = Call(step="near_dedup", cost=JOIN, seconds=(0.0,), results=((0, 0),))

    def seconds(share: float, took: float) -> tuple[float, float]:
        calls = [Call(step="near_dedup", cost=cost, seconds=(took,)) for cost in rare]
        pilot = with_calls(rates.pilot, "near_dedup")
        sample = with_calls(rates.sample, "near_dedup", joined, *calls)
        whole = whole_of(sample, 1000)
        known = Duplicates(documents=1000, dropped=10, groups=0, in_sample=share, in_all=share)
        whole.flow.duplicates["near_dedup"] = known
        took_all = step_seconds(Rates(pilot, sample), whole, inline(recipe), "near_dedup")
        return took_all, candidates_of(whole, sample, "near_dedup")

    (few, some), (many, twice) = seconds(0.2, 1.0), seconds(0.4, 1.0)
    assert some > 0
    assert twice == pytest.approx(2 * some)
    assert many - few == pytest.approx((near.CANDIDATE_SECONDS + near.PAIRS * 1e-4) * (twice - some), rel=0.01)
    assert seconds(0.2, 50.0)[0] == few


def test_a_comparison_within_centroids_is_quadratic_until_there_are_more_centroids() -> None:
    def pairs(documents: float, centroids: int | None = None) -> float:
        return semantic_dedup.compare_cost(centroids).work.at({Quantity.DOCUMENTS: documents})

    assert pairs(4000) == 4 * pairs(2000)
    assert pairs(4_000_000) == pytest.approx(2 * pairs(2_000_000))
    assert pairs(4_000_000, 7) == pytest.approx(4 * pairs(2_000_000, 7))
    assert semantic_dedup.fit_cost(7).work.at({Quantity.DOCUMENTS: 10**6}) == 7 * 7 * semantic_dedup.SAMPLE_PER_CENTROID


def test_texts_are_read_once_at_most_and_band_records_follow_the_bands(rates: Rates) -> None:
    whole = whole_of(rates.sample, 1000)
    amounts = amounts_of_whole(whole, rates.sample, "near_dedup")
    assert amounts[Quantity.CANDIDATES] > 1
    assert amounts[Quantity.CANDIDATE_TEXTS] == whole.all_text
    assert amounts[Quantity.BAND_RECORDS] == 32 * whole.rows
    assert amounts_of_whole(whole, rates.sample, "exact_dedup")[Quantity.CANDIDATES] == 0


# --- what is declared ------------------------------------------------------------------------------------


def test_a_sample_runs_no_task_whose_cost_is_not_declared(rates: Rates) -> None:
    assert {c.step for c in rates.sample.calls if c.cost == UNDECLARED} == set()
    kinds: dict[tuple[str, str], set[TaskCost]] = {}
    for call in rates.sample.calls:
        kinds.setdefault((call.step, call.cost.name), set()).add(call.cost)
    assert all(len(costs) == 1 for costs in kinds.values())  # a name means one kind
    names = {name for _, name in kinds}
    assert {"sort and write parts", "sort wanted texts", "compute similarities"} <= names


def handed_over() -> Iterator[tuple[str, set[str | None], set[str]]]:
    """Yield (place, keywords, keywords that have to be there) of every call that hands tasks to an engine."""
    for path in [*(ROOT / "stages").rglob("*.py"), *(ROOT / "pipelines" / "mix").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                first = ast.unparse(node.args[0]) if node.args else ""
                if node.func.attr == "map" and ast.unparse(node.func.value) == "engine":
                    wanted = {"cost"}
                elif node.func.attr in ("run", "scatter") and first == "engine":
                    wanted = {"emit_cost", "receive_cost"} if node.func.attr == "run" else {"cost"}
                else:
                    continue
                yield f"{path}:{node.lineno}", {k.arg for k in node.keywords}, wanted


def test_every_stage_declares_the_costs_of_the_tasks_it_hands_over() -> None:
    calls = list(handed_over())
    assert len(calls) > 20
    assert [place for place, given_, wanted in calls if not wanted <= given_] == []


def test_the_plan_names_no_private_function_of_a_stage() -> None:
    private = re.compile(r"\b(stages|pipelines|cluster|classifiers)\.[\w.]*\._\w|^\._\w|^_[a-z]\w*$")
    for path in Path(next(iter(pipelines.plan.__path__))).rglob("*.py"):
        strings = (n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant))
        assert [s for s in strings if isinstance(s, str) and private.search(s)] == []


# --- slots -----------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 10), max_size=20), st.integers(1, 5))
def test_the_makespan_lies_between_the_bounds_of_list_scheduling(tasks: list[float], slots: int) -> None:
    found = makespan(tasks, slots)
    least = max(max(tasks, default=0.0), sum(tasks) / slots)
    assert least - 1e-9 <= found <= 2 * least + 1e-9
