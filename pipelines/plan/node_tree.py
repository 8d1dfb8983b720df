"""The part of a plan on one node of GPUs and cores, as plain values; see pipelines/plan/tree.py."""

from __future__ import annotations

from typing import TypedDict


class NodeRead(TypedDict):
    """The first read of one dataset. Seconds of a byte of text on one core: `host` what no GPU takes over.

    kernels: what a GPU takes over, by kernel; calls: for how many times the text; each: seconds of any task.
    """

    dataset: str
    tasks: int
    text_bytes: int
    host: float
    kernels: dict[str, float]
    calls: dict[str, float]
    each: float


class NodeAgain(TypedDict):
    """A step that reads texts again, and what that takes. Seconds of a byte of text on one core, as in NodeRead.

    copied: the share of the text that is wanted, and copied out of the GPU.
    """

    step: str
    tasks: int
    text_bytes: int
    host: float
    kernels: dict[str, float]
    copied: float


class NodeModel(TypedDict):
    """A deferred stage with a neural model. Seconds of a document on one core: of its forward pass, of the rest."""

    stage: str
    documents: int
    host: float
    model: float


class NodeWork(TypedDict):
    """The work of a run on one node. straight: texts are read to the GPU.

    steps: seconds of all other steps on all cores, without what `again` holds.
    """

    cores: int
    text_bytes: int
    input_bytes: int
    straight: bool
    permutations: float
    first_read: list[NodeRead]
    again: list[NodeAgain]
    models: list[NodeModel]
    steps: dict[str, float]


class NodeRate(TypedDict):
    """Bytes of text a second of a kernel on one GPU, as assumed, and what that is derived from."""

    bytes_per_second: float
    source: str


class NodeSeconds(TypedDict):
    """Seconds on the cores alone, and with the GPUs."""

    cores: float
    gpus: float


class NodePlan(TypedDict):
    """One node of GPUs and cores, simulated with measured rates of the host and assumed ones of the device.

    times_faster: the seconds on the cores alone by those with the GPUs; even_at: how many times slower than assumed
    devices may be until both are equal.
    """

    gpus: int
    cores: int
    device_rates_are: str
    device_rates: dict[str, NodeRate]
    host_rates_are: str
    work: NodeWork
    first_read: NodeSeconds
    again: NodeSeconds
    models: NodeSeconds
    other_steps: float
    seconds: NodeSeconds
    times_faster: float
    gpus_busy: float
    even_at: float
