"""Dask on a Ray cluster (cluster.kind ray): the scheduler and, on every node, workers as Ray actors.

Guarantees: actors are pinned to their nodes, one for each GPU or one for every THREADS_PER_WORKER cores;
Ray restarts a worker that dies, nodes that join get workers while the run goes on; all actors end with this
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
from cluster.kinds.attach import attach
from cluster.kinds.certificate import temporary_security
from cluster.options import (
    DASK_SETTINGS,
    LOOPBACK_PAGES,
    ClusterOptions,
    dashboard_keywords,
    processes_and_threads,
    threads_of_gpu_worker,
)

NODE_POLL_SECONDS = 10.0  # between two looks for nodes that joined
ACTOR_START_SECONDS = 120.0  # for an actor to start on its node
MEMORY_SHARE = 0.8  # of a node's memory for the workers; the rest is for Ray and the system
Node = Mapping[str, Any]


def start(options: ClusterOptions, run_dir: str | None) -> Engine:
    """Start scheduler and workers on the Ray cluster of this job and return the engine on them."""
    ray = _import_ray()
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

    def close() -> None:
        placed.stop_watching()
        with contextlib.suppress(OSError, RuntimeError):
            client.close()
        placed.close()

    return attach(client, close, options, run_dir, f"Ray, {placed.address}")


def _import_ray() -> Any:
    """Return the module ray. Raises BackendError where it is not installed."""
    try:
        import ray
    except ImportError:
        raise BackendError(
            "cluster.kind ray needs Ray in this Python: pip install 'winnow-mix[ray]'. To run on a Ray cluster from "
            "outside, use `winnow submit RECIPE --address http://HEAD:8265`."
        ) from None
    return ray


class Placement:
    """The actors of one run. Holds a few hundred bytes per actor."""

    def __init__(self, options: ClusterOptions) -> None:
        self._ray = _import_ray()
        self._options = options
        self._security = temporary_security()
        self._workers: dict[str, list[Any]] = {}  # actors by node id
        self._stop = threading.Event()
        here = self._ray.get_runtime_context().get_node_id()
        kind = _actor(self._ray, SchedulerActor, here, restarts=0)
        self._scheduler = kind.remote(self._security, dashboard_keywords(options))
        self.address = str(self._wait(self._scheduler.address.remote(), "the scheduler"))
        self._ask_for(self._options.cores)
        self.place_workers()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def client(self) -> Any:
        """Return a Dask client of the scheduler. Raises BackendError where no node has a CPU for a worker."""
        import distributed

        if not self._workers:
            raise BackendError("no node of the Ray cluster has a CPU or GPU to give. See `ray status`.")
        make: Any = distributed.Client
        return make(self.address, security=self._security, set_as_default=False, timeout=ACTOR_START_SECONDS)

    def _ask_for(self, cores: int | None) -> None:
        """Ask the autoscaler, where there is one, to have nodes with so many cores together; None: for nothing."""
        if self._options.cores is None:
            return
        from ray.autoscaler.sdk import request_resources

        with contextlib.suppress(self._ray.exceptions.RayError, OSError, RuntimeError):
            request_resources(num_cpus=cores or 0)

    def _free_cores(self, node: Node) -> int:
        """Return the cores of a node that no other job has taken."""
        from ray._private.state import available_resources_per_node

        free = available_resources_per_node().get(node["NodeID"], node["Resources"])
        return int(free.get("CPU", 0))

    def place_workers(self) -> None:
        """Start worker actors on nodes that have none yet; drop the records of nodes that left."""
        nodes = {node["NodeID"]: node for node in self._ray.nodes() if node["Alive"]}
        for gone in self._workers.keys() - nodes.keys():
            del self._workers[gone]
        for name in nodes.keys() - self._workers.keys():
            actors = self._place(nodes[name])
            if actors:
                self._workers[name] = actors

    def _place(self, node: Node) -> list[Any]:
        """Return the started worker actors of one node, on the cores that are free; none yet where none is free."""
        every = int(node["Resources"].get("CPU", 0))
        cores = min(every, self._free_cores(node))
        gpus = int(node["Resources"].get("GPU", 0))
        if cores < 1:
            return []
        memory = int(node["Resources"].get("memory", 0) * MEMORY_SHARE * share_of_node(self._options, cores, every))
        if gpus:
            processes, threads = gpus, threads_of_gpu_worker(self._options, gpus, cores, memory)
        else:
            processes, threads = processes_and_threads(self._options, cores, memory)
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
        """Place workers on nodes that join, until the run ends."""
        while not self._stop.wait(NODE_POLL_SECONDS):
            with contextlib.suppress(self._ray.exceptions.RayError, OSError, RuntimeError):
                self.place_workers()

    def _wait(self, reference: Any, what: str) -> Any:
        """Return the value of a Ray object. Raises BackendError when `what` does not start in time."""
        try:
            return self._ray.get(reference, timeout=ACTOR_START_SECONDS)
        except self._ray.exceptions.RayError as error:
            raise BackendError(f"{what} did not start on the Ray cluster: {type(error).__name__}: {error}") from None

    def stop_watching(self) -> None:
        """Place no more workers."""
        self._stop.set()

    def close(self) -> None:
        """Kill every actor of this run, and ask for no more nodes."""
        self.stop_watching()
        self._ask_for(None)
        for actor in [a for actors in self._workers.values() for a in actors] + [self._scheduler]:
            with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
                self._ray.kill(actor, no_restart=True)


def share_of_node(options: ClusterOptions, cores: int, every: int) -> float:
    """Return the share of a node's memory that a run may take: that of the cores it takes.

    Examples
    --------
    >>> share_of_node(ClusterOptions(), 16, 16), share_of_node(ClusterOptions(), 4, 16)
    (1.0, 0.25)
    >>> share_of_node(ClusterOptions(workers=1, threads_per_worker=4), 16, 16)
    0.25
    """
    wanted = cores
    if options.workers is not None:
        wanted = min(cores, options.workers * (options.threads_per_worker or 1))
    return wanted / max(1, every)


def _actor(ray: Any, cls: type, node: str, *, restarts: int, cpus: int = 0, gpus: int = 0) -> Any:
    """Return a Ray actor class bound to one node and its resources."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return ray.remote(cls).options(
        num_cpus=cpus,
        num_gpus=gpus,
        max_restarts=restarts,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node, soft=False),
    )


class SchedulerActor:
    """Dask's scheduler in a Ray actor. A run that loses it stops, and resumes when started again."""

    def __init__(self, security: Any, dashboard: dict[str, Any]) -> None:
        self._security = security
        self._dashboard = dashboard
        self._scheduler: Any = None

    async def address(self) -> str:
        """Return the scheduler's address; the first call starts it."""
        import dask
        import ray
        from distributed import Scheduler

        if self._scheduler is None:
            dask.config.set(DASK_SETTINGS)
            make: Any = Scheduler
            self._scheduler = await make(
                host=ray.util.get_node_ip_address(),
                port=0,
                protocol="tls" if self._security else "tcp",
                security=self._security,
                **self._dashboard,
            )
        return str(self._scheduler.address)


class WorkerActor:
    """One Dask worker in a Ray actor. Exits when its scheduler is gone; Ray starts it again if it dies."""

    def __init__(self, address: str, security: Any, threads: int, memory: int | str) -> None:
        self._keywords = {"nthreads": threads, "memory_limit": memory or "auto", "security": security}
        self._address = address
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        """Run the worker on its own event loop until it closes, then end this process."""
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

        dask.config.set(DASK_SETTINGS)
        make: Any = Worker
        worker = await make(
            self._address,
            host=ray.util.get_node_ip_address(),
            dashboard=False,
            dashboard_address=LOOPBACK_PAGES,
            death_timeout=ACTOR_START_SECONDS,
            **self._keywords,
        )
        await worker.finished()
