"""A node of GPUs and cores, simulated: with measured work of two recipes, and as part of a plan."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers import fasttext_model
from cluster.device import kernel_times
from pipelines.cli.main import main
from pipelines.plan.gpu import device_rates, node
from pipelines.plan.gpu.simulated import Task, simulate
from pipelines.plan.plan import plan
from pipelines.recipe.recipe import load_data
from stages.kernels.dispatch.dispatch import HOST_KERNELS
from tests.support.plans import recipe_data

MEASURED = json.loads((Path(__file__).parent / "data" / "node.json").read_text())  # benchmarks.node, 8 TB


def work(recipe: str) -> Any:
    return copy.deepcopy(MEASURED[recipe]["work"])


@pytest.mark.parametrize("gpus", [8, 16])
def test_a_recipe_whose_filters_hold_a_neural_model_takes_less_than_a_third_of_the_time(gpus: int) -> None:
    found = node.section(work("neural"), gpus)
    assert found["cores"] == 112
    assert found["times_faster"] >= 3
    assert [model["stage"] for model in found["work"]["models"]] == ["onnx"]


def test_sixteen_gpus_beside_112_cores_take_a_third_of_the_time_for_a_recipe_with_cheap_filters() -> None:
    found = node.section(work("filters"), 16)
    assert found["first_read"]["cores"] >= 5 * found["first_read"]["gpus"]
    assert found["again"]["cores"] >= 1.2 * found["again"]["gpus"]
    assert found["times_faster"] >= 3
    assert found["even_at"] > 3
    assert found["models"] == {"cores": 0, "gpus": 0}
    assert node.section(work("filters"), 8)["times_faster"] < found["times_faster"]


@pytest.mark.parametrize("gpus", [8, 16])
def test_deduplication_alone_is_never_slower_with_gpus(gpus: int) -> None:
    found = node.section(work("dedup"), gpus)
    assert found["times_faster"] >= 1
    assert found["even_at"] > 2  # also where devices are half as fast as on paper
    assert node.warnings({"node": found}) == []  # type: ignore[typeddict-item]


def test_texts_that_are_read_again_are_read_by_the_gpus_as_fast_as_disks_and_bus_allow() -> None:
    given = work("filters")
    assert [read["step"] for read in given["again"]] == ["near_dedup", "materialize"]
    assert all(set(read["kernels"]) <= {*node.AGAIN} for read in given["again"])
    by_disks = sum(node._from_disk(given, read) for read in given["again"])
    on_cores = node.again_on_cores(given)
    assert on_cores >= node.again_on_gpus(given, 8) >= node.again_on_gpus(given, 16) >= by_disks > 0
    for gpus in (1, 2, 4, 8, 16):  # where GPUs are few or slow, the cores read as well
        assert node.again_on_gpus(given, gpus, slower=3) <= 1.1 * on_cores
    for read in given["again"]:
        read["copied"], read["host"], read["kernels"]["read_parquet"] = 1.0, 0.0, 1e-6
    copied = sum(read["text_bytes"] for read in given["again"]) / device_rates.OUT / 16
    assert node.again_on_gpus(given, 16) >= 0.95 * copied  # of which the cores do little now


def test_gpus_that_are_in_the_way_are_named() -> None:
    given = work("dedup")
    given["first_read"][0]["host"] += 1e-7  # of which one thread for each GPU does less than all cores
    given["cores"] = 15
    found = node.section(given, 8)
    assert found["times_faster"] < 1
    assert ["--backend cpu" in text for text in node.warnings({"node": found})] == [True]  # type: ignore[typeddict-item]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.floats(0, 2), st.floats(0, 2)), max_size=30),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_no_task_is_done_before_its_parts_can_be(
    given: list[tuple[int, float, float]], gpus: int, threads: int
) -> None:
    tasks = [Task(chunks=c, device=d, host=h) for c, d, h in given]
    end, busy = simulate(tasks, gpus, threads)
    device, whole = sum(t.chunks * t.device for t in tasks), sum(t.chunks * (t.device + t.host) for t in tasks)
    longest = max((t.chunks * (t.device + t.host) for t in tasks), default=0.0)
    assert end + 1e-9 >= max(device / gpus, whole / (gpus * threads), longest)
    assert end <= whole + 1e-9
    assert busy <= min(device, end) + 1e-9


def test_a_gpu_serves_one_task_while_the_host_works_on_another() -> None:
    assert simulate([Task(chunks=3, device=1, host=2)] * 3, gpus=1, threads=3) == (11.0, 9.0)  # never idle till the end
    assert simulate([Task(chunks=1, device=0, host=1)] * 100, gpus=4, threads=5) == (5.0, 0.0)


def without_help(tasks: list[Task]) -> list[Task]:
    return [replace(task, alone=None, whole=False) for task in tasks]


SHARED = st.builds(
    lambda chunks, device, host, alone: Task(
        chunks=chunks, device=device, host=device * host, alone=device * (host + alone), whole=True
    ),
    st.integers(1, 3), st.floats(0.01, 2), st.floats(0, 5), st.floats(0.5, 60),
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(SHARED, st.integers(0, 1500), st.integers(1, 16), st.integers(1, 14))
def test_cores_that_help_never_make_a_read_longer(task: Task, tasks: int, gpus: int, threads: int) -> None:
    with_help, _ = simulate([task] * tasks, gpus, threads)
    alone, _ = simulate(without_help([task] * tasks), gpus, threads)
    assert with_help <= alone * (1 + 1e-9)


@settings(deadline=None, max_examples=60)
@given(SHARED, st.integers(1, 16), st.integers(1, 14))
def test_a_small_read_is_left_to_the_gpus(task: Task, gpus: int, threads: int) -> None:
    tasks = [task] * (16 * gpus)
    assert simulate(tasks, gpus, threads) == simulate(without_help(tasks), gpus, threads)


def test_idle_cores_read_what_gpus_have_no_time_for() -> None:
    tasks = [Task(chunks=2, device=0.1, host=0.1, alone=2, whole=True)] * 8000
    with_help, _ = simulate(tasks, gpus=4, threads=14)
    alone, _ = simulate(without_help(tasks), gpus=4, threads=14)
    assert alone == pytest.approx(8000 * 2 * 0.1 / 4, rel=0.01)
    together = 4 / 0.2 + 4 * (14 - 3) / 4  # tasks a second: two turns and a thread for the host's part; the others
    assert 8000 / together < with_help < 1.05 * 8000 / together
    few, _ = simulate(tasks, gpus=4, threads=3)
    assert few == alone  # of which none is idle


@pytest.mark.parametrize("recipe", ["dedup", "filters"])
@pytest.mark.parametrize("slower", [0.5, 1.0, 4.0])
def test_cores_help_in_the_first_read_of_a_node_with_any_number_of_gpus(recipe: str, slower: float) -> None:
    given, gains = work(recipe), []
    [read] = given["first_read"]
    read["text_bytes"], read["tasks"] = read["text_bytes"] * 6_000 // read["tasks"], 6_000
    for gpus in (1, 2, 3, 5, 8, 16, 40, 112, 200):
        task = node._task(given, read, slower)
        threads = max(1, given["cores"] // gpus)
        with_help, _ = simulate([task] * 6_000, gpus, threads)
        alone, _ = simulate(without_help([task] * 6_000), gpus, threads)
        gains.append(alone / with_help)
    assert min(gains) >= 1
    assert max(gains) > 1.2


def test_a_plan_simulates_the_node_that_is_asked_for(datasets: dict[str, Any]) -> None:
    only = {"web": next(iter(datasets.values()))}
    data = recipe_data(only, stages=[{"use": "heuristics", "presets": []}, {"use": "minhash"}])
    found = plan(load_data(data, "test"), gpus=16, cores=112, store="local", sample_documents=60)
    part = found["node"]
    [read] = part["work"]["first_read"]
    assert (part["gpus"], part["cores"], part["work"]["straight"]) == (16, 112, True)
    assert set(read["calls"]) >= {"content_hash", "text_digest", "heuristic_counts", "signatures", "script_places"}
    assert read["calls"]["heuristic_counts"] == 1
    assert 0 < read["calls"]["signatures"] <= 1  # what reaches it
    more = {*node.READ, node.GATHER} if part["work"]["again"] else set()
    assert set(part["device_rates"]) == {*read["kernels"], *more} <= set(device_rates.KERNELS)
    assert all(seconds >= 0 for seconds in read["kernels"].values())
    again = {read["step"]: read for read in part["work"]["again"]}
    assert again.keys() <= {"materialize"}  # none where the sample's few parts show no time that grows with their bytes
    assert part["seconds"]["cores"] == pytest.approx(
        part["first_read"]["cores"] + part["again"]["cores"] + part["other_steps"]
    )
    steps = {s["stage"]: s["seconds"] for s in found["stages"]}
    whole = steps["materialize"] * found["machine"]["slots"]
    assert 0 <= part["work"]["steps"]["materialize"] <= whole * 1.001
    if again:
        assert 0 < again["materialize"]["copied"] <= 1
        assert part["work"]["steps"]["materialize"] < whole
    assert "annotate" not in part["work"]["steps"]
    one, rates, host = node.lines(found)
    assert one.startswith("one node of 16 GPU(s) and 112 cores, simulated")
    assert "on paper, not measured" in rates
    assert "measured on this machine" in host


def test_cores_are_of_a_node_of_gpus(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("{}")
    assert main(["plan", str(tmp_path / "r.yaml"), "--cores", "8"]) == 2
    assert "give --gpus as well" in capsys.readouterr().err


def test_paper_names_kernels_that_there_are() -> None:
    others = {*node.READ, node.GATHER, *fasttext_model.SUMS}
    assert set(device_rates.KERNELS) - others <= set(HOST_KERNELS)
    for name, paper in device_rates.KERNELS.items():
        assert paper.source
        assert 1e8 < device_rates.rate(name) < 1e12
    assert device_rates.rate("signatures", 256) == device_rates.rate("signatures") / 2


def test_only_the_innermost_watch_is_told() -> None:
    with kernel_times.watched() as outer:
        with kernel_times.timed("a"):
            pass
        with kernel_times.watched() as inner, kernel_times.timed("b"):
            pass
        with kernel_times.timed("a"):
            pass
    with kernel_times.timed("c"):
        pass
    assert (list(outer), list(inner)) == (["a"], ["b"])
