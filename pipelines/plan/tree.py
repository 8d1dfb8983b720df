"""A plan as a tree of plain values: what `plan()` returns and `winnow plan --json` prints, field by field.

plan.schema.json says the same to other programs; docs/plan-and-audit.md says where each number comes from.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from pipelines.plan.node_tree import NodePlan

Action = Literal["run", "rest", "reuse", "skip"]


class DatasetPlan(TypedDict):
    """One dataset as it lies there."""

    role: str
    formats: list[str]
    shards: int
    bytes: int
    largest_shard: int
    median_shard: int
    documents: int
    documents_are: Literal["counted", "estimated"]
    text_bytes: int
    tokens: int
    weight: float | None
    bundles: int
    problems: list[str]


class SamplePlan(TypedDict):
    """What was drawn and run; documents and text_bytes by dataset, languages by stage and dataset."""

    documents: dict[str, int]
    text_bytes: dict[str, int]
    dropped: dict[str, dict[str, float]]
    languages: dict[str, dict[str, dict[str, float]]]


class FilterPlan(TypedDict):
    """How the scores of a dataset lie about a stage's threshold; the shares kept only where there is one."""

    stage: str
    dataset: str
    documents: int
    without_score: int
    percentiles: dict[str, float]
    min_score: float | None
    kept_lower: NotRequired[float]
    kept: NotRequired[float]
    kept_upper: NotRequired[float]


class LshPlan(TypedDict):
    """The banding of a near_dedup, what it finds and what it misses."""

    stage: str
    bands: int
    rows_per_band: int
    threshold: float
    threshold_is: Literal["half-way point of the curve", "jaccard_threshold"]
    s_curve: list[tuple[float, float]]
    found: dict[str, float]
    half_way: float
    missed_if_even: float
    missed_in_sample: float | None
    similar_pairs_in_sample: int
    near_threshold_in_sample: int


class DuplicatesPlan(TypedDict):
    """What a dedup stage drops of the sample, and the share it is expected to drop of the whole.

    looked_at: documents that tell of the whole; candidates: share of the whole that shares a key, null if unknown.
    """

    documents: int
    dropped: int
    groups: int
    in_sample: float
    in_all: float | None
    looked_at: int
    candidates: float | None


class FlowPlan(TypedDict):
    """Documents of one dataset at one stage."""

    before: int
    dropped: int
    share: float


class KeptPlan(TypedDict):
    """Survivors of one dataset."""

    documents: int
    share: float


class MixDatasetPlan(TypedDict):
    """What one dataset gives to the mix."""

    documents: int
    tokens: int
    epochs: float
    target_tokens: int | None
    shortfall_tokens: int


class MixPlan(TypedDict):
    """What a mix is expected to hold; text_bytes: that are written, copies included."""

    datasets: dict[str, MixDatasetPlan]
    text_bytes: int


class MachinePlan(TypedDict):
    """Where the run works; slots: tasks at the same time, in units of one thread alone."""

    kind: str
    workers: int
    threads: int
    gpus: int
    slots: float
    cores_here: int


class StagePlan(TypedDict):
    """What happens to a stage or closing step, how many of its bundles are done, and what it takes."""

    stage: str
    action: Action
    done: int
    of: int
    seconds: float
    bytes_written: int


class MemoryPlan(TypedDict):
    """Bytes of one worker process: what it holds anyway, one task of each kind, all of it at most, and the limit."""

    process: int
    tasks: dict[str, int]
    largest: str
    worker: int
    limit: int
    limit_is: str


class TimePlan(TypedDict):
    """Seconds: before the first task, of a fresh worker, of every step, of all."""

    start: float
    warm_up: float
    steps: dict[str, float]
    total: float


class DevicePlan(TypedDict):
    """Bytes of GPU memory of one worker; limit: None where nobody knows it."""

    tasks: dict[str, int]
    largest: str
    worker: int
    limit: int | None
    limit_is: str
    text_on_host_for: list[str]


class CostPlan(TypedDict):
    """What the run costs at a price per hour of each of so many workers or GPUs."""

    price_per_hour: float
    of: Literal["worker", "GPU"]
    count: int
    total: float


class HopPlan(TypedDict):
    """One hop of the exchange in the whole. times: hops of this kind; the numbers are of one."""

    step: str
    sends: str
    receives: str
    times: int
    sources: int
    destinations: int
    merged: int
    together: int
    files: int
    prefixes: int
    requests: int
    bytes_written: int
    bytes_read: int
    destination_bytes: int


class StorePlan(TypedDict):
    """Requests of the storage and their price in dollars; empty where nothing was counted (a file system)."""

    kind: str
    prices_as_of: str
    price_per_thousand: dict[str, float]
    price_per_tb_month: float
    requests: dict[str, int]
    steps: dict[str, dict[str, int]]
    requests_cost: float
    prefixes: int
    scratch_tb_days: tuple[float, float]
    scratch_cost: tuple[float, float]


class RehearsedStep(TypedDict):
    """Requests of a step as counted of each size, those of the exchange apart beside what is foreseen of them.

    The power law goes through those of tasks and client; two ways lead to the whole, both with the exchange.
    """

    counted: list[int]
    of_exchange: list[int]
    foreseen: list[int]
    factor: float
    exponent: float
    r2: float
    by_fit: int
    by_tasks: int


class RehearsalPlan(TypedDict):
    """Runs of growing size in the wind tunnel. divisor: of the sizes at which work is divided."""

    divisor: float
    documents: list[int]
    bundles: list[int]
    steps: dict[str, RehearsedStep]


class WidthPlan(TypedDict):
    """The kind of task that takes most of a step's time: how many there are, and how long the longest takes."""

    step: str
    task: str
    tasks: int
    threads: int
    longest_seconds: float
    in_one_process: list[str]


class LimitsPlan(TypedDict):
    """What client, scheduler and worker take beside the memory of tasks, and what this machine allows."""

    client: int
    client_limit: int
    scheduler: int
    tmp: int
    tmp_limit: int
    tmp_is: str
    maps: int
    maps_limit: int | None
    descriptors: int
    descriptors_limit: int


class BoundsPlan(TypedDict):
    """The least and the most seconds of a run, and dollars for machines (where a price is given) and storage."""

    seconds: tuple[float, float]
    cost: tuple[float, float]


class WallPlan(TypedDict):
    """A limit that the run would hit, and the setting that avoids it."""

    step: str
    what: str
    value: float
    limit: float
    sentence: str
    setting: str


class Plan(TypedDict):
    """The plan of a run. device: only where a GPU is asked for; cost: only where a price is given.

    node: only where a number of GPUs is given. rehearsal: only where it was asked for.
    """

    format: int
    recipe: str
    digest: str
    run: str | None
    datasets: dict[str, DatasetPlan]
    sample: SamplePlan
    filters: list[FilterPlan]
    lsh: list[LshPlan]
    duplicates: dict[str, DuplicatesPlan]
    flow: dict[str, dict[str, FlowPlan]]
    kept: dict[str, KeptPlan]
    mix: MixPlan
    mixes: dict[str, MixPlan]
    machine: MachinePlan
    stages: list[StagePlan]
    judged: dict[str, int]
    bytes_written: dict[str, int]
    bytes_on_disk: int
    memory: MemoryPlan
    time: TimePlan
    device: NotRequired[DevicePlan]
    node: NotRequired[NodePlan]
    cost: NotRequired[CostPlan]
    hops: list[HopPlan]
    store: StorePlan
    width: list[WidthPlan]
    limits: LimitsPlan
    bounds: BoundsPlan
    walls: list[WallPlan]
    first_wall: str
    rehearsal: NotRequired[RehearsalPlan]
    warnings: list[str]
    planned_in: float
