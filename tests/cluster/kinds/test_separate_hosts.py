"""Scheduler, workers and client on hosts of their own, whose links go down in the middle of a run: the same bytes."""

from __future__ import annotations

import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.options import LEAST_LINK_SECONDS, LINK_SECONDS, link_settings
from tests.support import corpora
from tests.support.cluster_runs import outcome, recipe, run
from tests.support.dask_processes import wait_for
from tests.support.hosts import Hosts, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")

SHORT, LONG = 4.0, 75.0  # seconds of a cut that connections outlive, in every test run and in a nightly one
LOST = 1.5 * LEAST_LINK_SECONDS  # seconds of a cut that ends connections


class Cluster:
    """A scheduler, two workers and a client, each on its host; the run folder is on a file system that all see."""

    def __init__(self, hosts: Hosts, folder: Path, link: float) -> None:
        self.hosts, self.folder, self.link = hosts, folder, link
        settings = link_settings(link)
        self.environment = {"DASK_" + k.replace(".", "__").replace("-", "_").upper(): v for k, v in settings.items()}
        self.address = f"tcp://{hosts.address['scheduler']}:8786"
        scheduler = ["-m", "distributed.cli.dask_scheduler", "--host", hosts.address["scheduler"], "--port", "8786"]
        hosts.start(
            "scheduler", folder / "scheduler.log", sys.executable, *scheduler, "--no-dashboard", **self.environment
        )
        for name in ("one", "two"):
            self.start_worker(name)

    def start_worker(self, name: str) -> None:
        place = self.folder / f"scratch-{name}"
        worker = (
            f"{sys.executable} -m distributed.cli.dask_worker {self.address} --host {self.hosts.address[name]} "
            f"--nthreads 1 --no-dashboard --local-directory {place} --memory-limit 2GB --death-timeout 30"
        )
        loop = f"while true; do {worker}; sleep 0.5; done"
        self.hosts.start(name, self.folder / f"{name}.log", "bash", "-c", loop, **self.environment)

    def run(self, inputs: dict[str, str], root: Path) -> object:
        """Start a run on the client's host."""
        data = recipe(inputs, kind="scheduler", address=self.address, wait=120, workers=2).to_data()
        data["cluster"]["link_timeout"] = self.link
        path = self.folder / "recipe.yaml"
        path.write_text(json.dumps(data))
        command = [sys.executable, "-m", "pipelines", "run", str(path), "--run-dir", str(root)]
        return self.hosts.start("client", self.folder / "client.log", *command, **self.environment)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return corpora.write(tmp_path_factory.mktemp("in"), corpora.corpus(11, 300), 6)


@pytest.fixture(scope="module")
def expected(inputs: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return outcome(run(tmp_path_factory.mktemp("expected"), inputs, kind="inline"))


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with Hosts("scheduler", "one", "two", "client") as made:
        yield made


def cut_in_the_middle(cluster: Cluster, host: str, seconds: float, root: Path) -> None:
    """Cut a host's link once the first facts are there, for so many seconds."""
    wait_for(lambda: any(root.glob("facts/read/*/*.arrow")), 180)
    cluster.hosts.cut(host)
    time.sleep(seconds)
    cluster.hosts.join(host)


CASES = [
    pytest.param("one", SHORT, 60.0, id="worker-waits"),
    pytest.param("client", SHORT, 60.0, id="client-waits"),
    pytest.param("one", LOST, LEAST_LINK_SECONDS, id="worker-comes-back"),
    pytest.param("client", LOST, LEAST_LINK_SECONDS, id="client-reconnects"),
    pytest.param("one", LONG, LINK_SECONDS, id="worker-75s", marks=[pytest.mark.nightly, pytest.mark.timeout(900)]),
    pytest.param("client", LONG, LINK_SECONDS, id="client-75s", marks=[pytest.mark.nightly, pytest.mark.timeout(900)]),
]


@pytest.mark.parametrize(("host", "seconds", "link"), CASES)
def test_a_link_that_is_down_for_a_while_changes_nothing(
    hosts: Hosts,
    tmp_path: Path,
    inputs: dict[str, str],
    expected: dict[str, str],
    host: str,
    seconds: float,
    link: float,
) -> None:
    cluster = Cluster(hosts, tmp_path / "logs", link)
    client = cluster.run(inputs, tmp_path / "run")
    cut_in_the_middle(cluster, host, seconds, tmp_path / "run")
    code = client.wait(timeout=600)  # type: ignore[attr-defined]
    assert code == 0, "\n".join(cluster.log(name)[-2000:] for name in ("client", "scheduler", "one", "two"))
    assert outcome(tmp_path / "run") == expected


# --- Ray -------------------------------------------------------------------------------------------------


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_a_ray_node_that_is_cut_off_changes_nothing(
    tmp_path: Path, inputs: dict[str, str], expected: dict[str, str]
) -> None:
    """A head and two nodes; the job is sent over HTTP from a fourth host, and one node is away for LONG seconds."""
    pytest.importorskip("ray")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    more = {**token, "RAY_USAGE_STATS_ENABLED": "0", "HOME": str(tmp_path), "PATH": path}
    more["XDG_CACHE_HOME"] = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # compiled kernels
    logs, root = tmp_path / "logs", tmp_path / "run"
    # the names of sockets are short: Ray's folder is not below tmp_path
    with tempfile.TemporaryDirectory(prefix="wr") as short, Hosts("head", "one", "two", "client") as hosts:

        def start(host: str, *flags: str) -> None:
            command = ["ray", "start", "--block", f"--node-ip-address={hosts.address[host]}", "--num-cpus=1", *flags]
            memory = "--object-store-memory=100000000"
            hosts.start(
                host, logs / f"{host}.log", sys.executable, "-m", "ray.scripts.scripts", *command[1:], memory, **more
            )

        start("head", "--head", "--port=6379", "--dashboard-host=0.0.0.0", f"--temp-dir={short}")
        wait_for(lambda: "Ray runtime started" in (logs / "head.log").read_text(), 120)
        for host in ("one", "two"):
            start(host, f"--address={hosts.address['head']}:6379")
        data = recipe(inputs).to_data()
        data["cluster"] = {"wait": 200}
        (tmp_path / "recipe.yaml").write_text(json.dumps(data))
        command = ["-m", "pipelines", "submit", str(tmp_path / "recipe.yaml"), "--run-dir", str(root)]
        url = f"http://{hosts.address['head']}:8265"
        client = hosts.start("client", logs / "client.log", sys.executable, *command, "--address", url, **more)
        wait_for(lambda: any(root.glob("facts/read/*/*.arrow")), 600)
        hosts.cut("one")
        time.sleep(LONG)
        hosts.join("one")
        assert client.wait(timeout=700) == 0, (logs / "client.log").read_text()[-3000:]
    assert outcome(root) == expected
