"""What a plan says of requests, hops, bounds and walls: against the requests of real runs, and by its own laws."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster import counting_store
from cluster.counting_store import SCHEME, CountingStore
from cluster.errors import RecipeError
from cluster.requests import Requests
from pipelines.plan.growth import flow
from pipelines.plan.rates import Rates
from pipelines.plan.sample import Measured, run_sample
from pipelines.plan.scale import wind_tunnel
from pipelines.plan.scale.demands import requests_of_steps
from pipelines.plan.scale.hops import hops_of
from pipelines.plan.scale.prices import STORES, store_of
from pipelines.plan.scale.rehearse import Rehearsal, fit, line
from pipelines.plan.scale.section import running
from pipelines.plan.scale.walls import first_sentence, walls
from pipelines.plan.whole import Whole
from pipelines.recipe.recipe import Recipe, load_data
from pipelines.run import runner
from tests.support.plans import recipe_data

STAGES = [{"use": "exact_dedup"}, {"use": "minhash"}, {"use": "near_dedup", "jaccard_threshold": 0.8}]
STEPS = ["freeze", "annotate", "exact_dedup", "near_dedup", "lineage", "tally", "ledger", "materialize"]
ROWS = 20  # of a file


@pytest.fixture(autouse=True)
def store() -> Iterator[None]:
    counting_store.use()
    yield
    CountingStore.empty()


def corpus(place: str, files: int) -> Recipe:
    """Write files of ROWS documents to the counting store, one document in ten a copy; return the recipe."""
    rng = random.Random(files)
    for number in range(files):
        texts = [" ".join(f"w{rng.randrange(400 * files)}" for _ in range(40)) for _ in range(ROWS)]
        texts[:2] = texts[2:4]
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        counting_store.CountingStore().pipe_file(f"/{place}/{number:04d}.jsonl", lines.encode())
    return load_data(recipe_data({"a": {"paths": [f"{SCHEME}://{place}"]}}, stages=STAGES), "test")


def sampled(files: int) -> tuple[Recipe, Measured]:
    recipe = corpus(f"in-{files}", files)
    return recipe, run_sample(recipe, recipe.datasets_resolved(), f"{SCHEME}://sample-{files}", with_report=False)


def whole_like(measured: Measured, sample: Measured) -> Whole:
    """Return the whole that a run turned out to be, with what the sample tells of its duplicates."""
    return Whole(
        documents=measured.documents,
        text_bytes=measured.text_bytes,
        hashed_bytes={},
        compressed_bytes=0,
        files=len(measured.run.manifest.shards),
        bundles=measured.run.manifest.bundles,
        missing={},
        flow=flow(sample, measured.documents, measured.text_bytes),
        mix_bytes=measured.mixed_bytes,
        mix_parts=1,
    )


def test_planned_requests_are_those_of_real_runs_of_several_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in wind_tunnel.SIZES:
        for holder in wind_tunnel.holders(module, name):
            monkeypatch.setattr(holder, name, max(1, getattr(holder, name) // 5000))
    _, pilot = sampled(2)
    _, sample = sampled(6)
    rates = Rates(pilot, sample)
    counts = [wind_tunnel.count(corpus(f"t-{n}", n), f"{SCHEME}://tunnel-{n}") for n in (3, 6, 9)]
    rehearsal = Rehearsal(runs=tuple(counts), divisor=1.0)
    for files in (12, 24, 40):
        recipe, real = sampled(files)
        whole = whole_like(real, sample)
        planned = requests_of_steps(rates, whole, hops_of(rates, whole, STEPS), rehearsal, STEPS, 0)
        CountingStore.watch(lambda path: None)
        runner.run(recipe, f"{SCHEME}://run-{files}", with_report=False)
        counted, total = CountingStore.counts[None], sum(planned.values(), Requests())
        assert len(whole.bundles) >= files // 2
        assert total.total == pytest.approx(counted.total, rel=0.15)
        assert total.put == pytest.approx(counted.put, rel=0.2)
        assert total.get == pytest.approx(counted.get, rel=0.25)


# --- fits ------------------------------------------------------------------------------------------------


def test_a_square_is_fitted_as_one() -> None:
    assert fit([3, 6, 12], [9, 36, 144]).exponent == pytest.approx(2)
    assert fit([5, 5, 5], [10, 10, 10]).at(50) == pytest.approx(100)
    assert line([8, 8], [4, 4]) == (0.0, 0.5)


# --- prices ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run_dir", "asked", "kind"),
    [
        (None, None, "local"),
        ("/x/RUN", None, "local"),
        ("s3://b/RUN", None, "s3"),
        ("gs://b/R", None, "gcs"),
        ("/x", "lustre", "lustre"),
    ],
)
def test_the_store_is_asked_for_or_that_of_the_run_folder(run_dir: str | None, asked: str | None, kind: str) -> None:
    assert store_of(run_dir, asked).kind == kind


def test_prices_can_be_given() -> None:
    store = store_of(None, "s3", "put=0.01, tb-month=5")
    assert store.price(Requests(put=2000, get=1000)) == pytest.approx(0.02 + STORES["s3"].thousand["get"])
    assert store.tb_month == 5


@pytest.mark.parametrize("wrong", ["put", "put=-1", "post=1", "put=much", "put=nan"])
def test_a_price_that_is_none_is_an_error(wrong: str) -> None:
    with pytest.raises(RecipeError, match="is no price"):
        store_of(None, "s3", wrong)


def test_a_store_that_is_not_known_is_an_error() -> None:
    with pytest.raises(RecipeError, match="--store must be one of s3, gcs, lustre, local"):
        store_of(None, "tape")


# --- walls -----------------------------------------------------------------------------------------------


def planned() -> Any:
    """Return a plan without walls, as far as they are judged by it."""
    return {
        "machine": {"workers": 4, "threads": 8},
        "memory": {
            "process": 10**9,
            "worker": 2 * 10**9,
            "limit": 10**10,
            "tasks": {"annotate": 10**8, "x: sort": 10**7},
        },
        "limits": {
            "client": 10**8,
            "client_limit": 10**10,
            "scheduler": 10**8,
            "tmp": 10**9,
            "tmp_limit": 10**11,
            "tmp_is": "/tmp",
            "maps": 1000,
            "maps_limit": 65530,
            "descriptors": 100,
            "descriptors_limit": 1024,
        },
        "hops": [{"step": "x", "files": 60_000, "prefixes": 1, "bytes_written": 10**9}],
        "time": {"total": 10_000.0, "steps": {"freeze": 10.0, "annotate": 5000.0, "x": 4000.0}},
        "width": [
            {"step": "x", "task": "sort", "tasks": 64, "threads": 32, "longest_seconds": 60.0, "in_one_process": []}
        ],
    }


def test_a_run_without_walls_names_what_it_comes_nearest_to() -> None:
    plan = planned()
    assert walls(plan, {}, STORES["local"], 21_600.0) == []
    assert (
        first_sentence([], plan)
        == "no wall in sight; the run comes nearest to the memory of a worker: 20% of what there is"
    )


def set_in(plan: Any, path: str, value: Any) -> None:
    *above, last = path.split("/")
    for name in above:
        plan = plan[int(name) if name.isdigit() else name]
    plan[last] = value


@pytest.mark.parametrize(
    ("path", "value", "step", "setting"),
    [
        ("memory/tasks/x: sort", 2 * 10**9, "x", "cluster.threads_per_worker: 4"),
        ("limits/maps", 480_000, "x", "vm.max_map_count"),
        ("limits/tmp", 10**12, "x", "TMPDIR"),
        ("limits/client", 10**11, "freeze", "join small input files"),
        ("limits/descriptors", 5000, "start", "ulimit -n 10000"),
        ("width/0/longest_seconds", 30_000.0, "x", "cluster.task_timeout: 60000"),
        ("width/0/tasks", 2, "x", "use fewer"),
    ],
)
def test_each_limit_that_is_passed_is_a_wall_with_its_setting(path: str, value: Any, step: str, setting: str) -> None:
    plan = planned()
    set_in(plan, path, value)
    [wall] = walls(plan, {}, STORES["local"], 21_600.0)
    assert wall["step"] == step
    assert setting in wall["setting"]


def test_requests_beyond_the_rate_of_a_prefix_are_a_wall_on_an_object_store_alone() -> None:
    plan, requests = planned(), {"x": Requests(get=4000 * 9000)}
    [wall] = walls(plan, requests, STORES["s3"], None)
    assert "9,000 GET requests a second on 1 prefix(es)" in wall["sentence"]
    assert "--workers 2" in wall["setting"]
    plan["hops"][0]["prefixes"] = 257
    assert walls(plan, requests, STORES["s3"], None) == []
    assert walls(planned(), requests, STORES["local"], None) == []


def test_the_first_wall_is_that_of_the_earliest_step_and_idle_threads_come_last() -> None:
    plan = planned()
    for path, value in (("limits/maps", 480_000), ("memory/tasks/annotate", 10**10), ("width/0/tasks", 2)):
        set_in(plan, path, value)
    found = walls(plan, {}, STORES["local"], None)
    assert [wall["what"] for wall in found] == ["memory of a worker", "memory maps", "tasks"]
    assert first_sentence(found, plan).startswith("first wall, in annotate: ")


def test_steps_that_are_reused_ask_for_nothing() -> None:
    assert running({"annotate": 0.0, "x": 1.0}) == ["x"]


def test_the_sizes_of_the_wind_tunnel_are_where_they_are_said_to_be() -> None:
    for module, name in wind_tunnel.SIZES:
        assert any(holder.__name__ == module for holder in wind_tunnel.holders(module, name))
    assert Path(wind_tunnel.__file__).name == "wind_tunnel.py"
