"""Dask on a Ray cluster: the scheduler and, on every node, workers as Ray actors.

Guarantees: actors are pinned to their nodes, one for each GPU or one for every THREADS_PER_WORKER cores;
Ray restarts a worker that dies, nodes that join get workers while the run goes on; everything ends with this
process. Connections between the actors are encrypted and need the run's own certificate.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Mapping
from typing import Any

from cluster.engines.engine import Engine
from cluster.errors import BackendError
from cluster.kinds import certificate as security
from cluster.kinds.local import OWN_PAGES, QUIET, ClusterOptions, pages, size

LOOK = 10.0  # seconds between looks for nodes that joined
PLACED = 120.0  # seconds for an actor to start on its node
MEMORY_SHARE = 0.8  # of a node's memory for the workers; the rest is for Ray and the system
Node = Mapping[str, Any]


def start(options: ClusterOptions, run_dir: str | None) -> Engine:
    """Start scheduler and workers on the Ray cluster of this job and return the engine on them."""
    ray = _ray()
    here = os.getcwd()
    if not ray.is_initialized():
        ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), log_to_driver=False, logging_level=logging.WARNING)
    placed = Placement(options)
    try:
        client = placed.client()
        os.chdir(here)  # nodes that share a machine unpack the upload again, under this process
    except BaseException:
        placed.close()
        raise
    from cluster.kinds import running_scheduler

    def close() -> None:
        placed.stop_watching()
        with contextlib.suppress(OSError, RuntimeError):
            client.close()
        placed.close()

    return running_scheduler.attach(client, close, options, run_dir, f"Ray, {placed.address}")


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise BackendError(
            "cluster.kind ray needs Ray in this Python: pip install 'winnow[ray]'. To run on a Ray cluster from "
            "outside, use `winnow submit RECIPE --address http://HEAD:8265`."
        ) from None
    return ray


class Placement:
    """The actors of one run. Holds a few hundred bytes per actor."""

    def __init__(self, options: ClusterOptions) -> None:
        self._ray = _ray()
        self._options = options
        self._security = security.temporary()
        self._workers: dict[str, list[Any]] = {}  # actors by node id
        self._stop = threading.Event()
        here = self._ray.get_runtime_context().get_node_id()
        self._scheduler = _actor(self._ray, SchedulerActor, here, restarts=0).remote(self._security, pages(options))
        self.address = str(self._wait(self._scheduler.address.remote(), "the scheduler"))
        self.look()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def client(self) -> Any:
        """Return a client of the scheduler, as soon as the first node's workers are there."""
        import distributed

        if not self._workers:
            raise BackendError("no node of the Ray cluster has a CPU or GPU to give. See `ray status`.")
        make: Any = distributed.Client
        return make(self.address, security=self._security, set_as_default=False, timeout=PLACED)

    def look(self) -> None:
        """Start workers on nodes that have none yet; forget nodes that are gone."""
        nodes = {node["NodeID"]: node for node in self._ray.nodes() if node["Alive"]}
        for gone in self._workers.keys() - nodes.keys():
            del self._workers[gone]
        for name in nodes.keys() - self._workers.keys():
            actors = self._place(nodes[name])
            if actors:
                self._workers[name] = actors

    def _place(self, node: Node) -> list[Any]:
        """Start the worker actors of one node."""
        cores = int(node["Resources"].get("CPU", 0))
        gpus = int(node["Resources"].get("GPU", 0))
        if cores < 1:
            return []
        memory = int(node["Resources"].get("memory", 0) * MEMORY_SHARE)
        processes, threads = (gpus, 1) if gpus else size(self._options, cores, memory)
        limit = self._options.memory_limit or memory // processes
        kind = _actor(
            self._ray,
            WorkerActor,
            node["NodeID"],
            restarts=-1,
            cpus=min(threads, cores // processes),
            gpus=1 if gpus else 0,
        )
        return [kind.remote(self.address, self._security, threads, limit) for _ in range(processes)]

    def _watch(self) -> None:
        while not self._stop.wait(LOOK):
            with contextlib.suppress(self._ray.exceptions.RayError, OSError, RuntimeError):
                self.look()

    def _wait(self, reference: Any, what: str) -> Any:
        try:
            return self._ray.get(reference, timeout=PLACED)
        except self._ray.exceptions.RayError as error:
            raise BackendError(f"{what} did not start on the Ray cluster: {type(error).__name__}: {error}") from None

    def stop_watching(self) -> None:
        self._stop.set()

    def close(self) -> None:
        """End every actor of this run."""
        self.stop_watching()
        for actor in [a for actors in self._workers.values() for a in actors] + [self._scheduler]:
            with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
                self._ray.kill(actor, no_restart=True)


def _actor(ray: Any, cls: type, node: str, *, restarts: int, cpus: int = 0, gpus: int = 0) -> Any:
    """Return an actor class that is started on one node only."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return ray.remote(cls).options(
        num_cpus=cpus,
        num_gpus=gpus,
        max_restarts=restarts,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node, soft=False),
    )


class SchedulerActor:
    """Dask's scheduler in an actor. When it is lost the run stops, and goes on when started again."""

    def __init__(self, certificate: Any, pages: dict[str, Any]) -> None:
        self._security = certificate
        self._pages = pages
        self._scheduler: Any = None

    async def address(self) -> str:
        """Start the scheduler at the first call; return where it listens."""
        import dask
        import ray
        from distributed import Scheduler

        if self._scheduler is None:
            dask.config.set(QUIET)
            make: Any = Scheduler
            self._scheduler = await make(
                host=ray.util.get_node_ip_address(),
                port=0,
                protocol="tls" if self._security else "tcp",
                security=self._security,
                **self._pages,
            )
        return str(self._scheduler.address)


class WorkerActor:
    """One Dask worker in an actor. Ends itself when its scheduler is gone; Ray starts it again if it dies."""

    def __init__(self, address: str, certificate: Any, threads: int, memory: int | str) -> None:
        self._make = {"nthreads": threads, "memory_limit": memory or "auto", "security": certificate}
        self._address = address
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        """Run the worker on a loop of its own until it closes, then end this process."""
        import asyncio

        code = 1
        try:
            asyncio.run(self._work())
            code = 0
        finally:
            logging.getLogger(__name__).info("the Dask worker ended")
            os._exit(code)

    async def _work(self) -> None:
        import dask
        import ray
        from distributed import Worker

        dask.config.set(QUIET)
        make: Any = Worker
        worker = await make(
            self._address,
            host=ray.util.get_node_ip_address(),
            dashboard=False,
            dashboard_address=OWN_PAGES,
            death_timeout=PLACED,
            **self._make,
        )
        await worker.finished()
