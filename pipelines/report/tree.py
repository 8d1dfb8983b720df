"""report.json as types, from the whole to its leaves.

Guarantees: `report.schema.json` beside this file is made from these types (`python -m pipelines.report.schema`), and a
test holds both to a real report.
"""

from __future__ import annotations

from typing import (
    Any,
    NotRequired,  # before Python 3.12 pydantic needs this TypedDict
)

from typing_extensions import TypedDict

from pipelines.artefacts import HoldoutSimilarity, MixCell, PartTiming, QuarantinedProblem
from pipelines.report.accuracy import Accuracy
from pipelines.shown_text import DifferenceTree
from pipelines.staleness import Stale


class Amount(TypedDict):
    """Documents and their tokens."""

    documents: int
    tokens: int


class MixedAmount(Amount):
    """Documents in the mix, each once, the tokens of all their copies, and how many copies these are."""

    copies: int


class Digests(TypedDict):
    """What the run was made from: digests of the recipe and of the input files."""

    recipe: str
    inputs: str


class Stage(TypedDict):
    """A stage of the recipe. datasets: those it is limited to, empty: all. digest: None where its model is gone."""

    name: str
    use: str
    digest: str | None
    datasets: list[str]
    parameters: dict[str, Any]


class Dataset(TypedDict):
    """A source. priority: its rank among duplicates, 1 first."""

    name: str
    licence: str | None
    preset: str | None
    role: str
    priority: int | None
    shards: int
    rows: int
    bytes: int


class FunnelStep(TypedDict):
    """What one stage took. dropped: per reason, the commonest first."""

    stage: str
    applies: bool
    before: Amount
    dropped: dict[str, Amount]
    after: Amount


class Funnel(TypedDict):
    """The way of a dataset's documents through the stages: rows = kept + all that was dropped."""

    rows: Amount
    stages: list[FunnelStep]
    kept: Amount
    mix: MixedAmount


class Matrix(TypedDict):
    """Losses between datasets: rows lose, columns win, both in the order of `overlap.datasets`."""

    documents: list[list[int]]
    tokens: list[list[int]]


class SharedGroups(TypedDict):
    """Groups of duplicates that hold documents of both datasets."""

    datasets: list[str]
    groups: int


class Overlap(TypedDict):
    """Who lost how much to whom, over all deduplication stages and for each."""

    datasets: list[str]
    all: Matrix
    stages: dict[str, Matrix]
    shared_groups: list[SharedGroups]


class AtLeast(TypedDict):
    """Dropped documents that are at least so similar to what they lost to."""

    similarity: float
    documents: int


class LengthCounts(TypedDict):
    """Documents of one dataset in each bin of lengths, before and after. quantiles: lengths of a tenth, half, nine
    tenths of the documents, about; None without documents."""

    read: list[int]
    kept: list[int]
    quantiles_read: list[int | None]
    quantiles_kept: list[int | None]


class Lengths(TypedDict):
    """How many tokens documents have, per dataset. edges: of the bins, ascending."""

    edges: list[int]
    datasets: dict[str, LengthCounts]


class Similarities(TypedDict):
    """Similarities of what one stage dropped to what it lost to. dropped: documents between two `edges`."""

    stage: str
    thresholds: list[float]
    edges: list[float]
    dropped: list[int]
    kinds: dict[str, int]
    at_least: list[AtLeast]
    without_similarity: int
    below_one: int
    below_threshold: int


class ShownDocument(TypedDict):
    """What identifies a document, and the beginning of its text; text and url are None where it cannot be read."""

    doc_id: int
    dataset: str
    path: str
    row: int
    id: str | None
    url: str | None
    tokens: int
    text: str | None
    chars: int | None


GroupSizes = TypedDict("GroupSizes", {"from": int, "to": int | None, "groups": int, "documents": int})
GroupSizes.__doc__ = "Groups of duplicates of a size from `from` to `to`, and the documents in them."


class LargeGroup(ShownDocument):
    """One of the largest groups: its survivor, documents per dataset, some of the others."""

    group_size: int | None
    group_datasets: dict[str, int]
    members: list[ShownDocument]


class Groups(TypedDict):
    """Groups of duplicates by size, and the largest of them."""

    sizes: list[GroupSizes]
    largest: list[LargeGroup]


class KeptAndDropped(TypedDict):
    """Documents of one dataset in each bin of a histogram."""

    kept: list[int]
    dropped: list[int]


class ShareAt(TypedDict):
    """Documents that another threshold would keep, and their share of those judged."""

    threshold: float
    documents: int
    share: float


class Scores(TypedDict):
    """The histogram of one stage's scores. kept, dropped: documents between two `edges`."""

    stage: str
    model: str | None
    min_score: float | None
    max_score: float | None
    whole_numbers: bool
    edges: list[float]
    kept: list[int]
    dropped: list[int]
    datasets: dict[str, KeptAndDropped]
    judged: int
    unscored: int
    near_threshold: int | None
    near_margin: float
    thresholds: list[ShareAt]


class Language(TypedDict):
    """Documents of one language."""

    language: str
    kept: Amount
    dropped: Amount
    datasets: dict[str, int]


class Languages(TypedDict):
    """What one language stage judged. unwanted, scores: None where facts are gone."""

    stage: str
    languages: int
    wanted: list[str]
    judged: Amount
    unwanted: Amount | None
    scores: Scores | None
    rows: list[Language]


class MixShare(MixedAmount):
    """What one dataset gives to the mix. Values that are None are not in the mix's manifest."""

    share: float
    weight_share: float | None
    available: Amount
    epochs: float | None
    target_tokens: int | None
    shortfall_tokens: int | None
    over_target_tokens: int | None
    rows: int | None
    bytes: int | None
    max_epochs: float
    holdout_documents: int | None
    holdout_tokens: int | None
    files: int


class MixCells(TypedDict):
    """The cells of one mix, as its manifest has them. name: None where the recipe has one mix; left: in no cell."""

    name: str | None
    exclude: list[str]
    cells: dict[str, MixCell]
    documents_in_no_cell: int
    holdout: HoldoutSimilarity | None


class Mix(Amount):
    """The mix against what was wished; all mixes together where the recipe has several. cells: of each mix."""

    mode: str | None
    target_tokens: int | None
    datasets: dict[str, MixShare]
    cells: list[MixCells]


class SampledDocument(ShownDocument):
    """A document with the number that decided about it. decided: the same in words, with the language found."""

    value: float | None
    threshold: float | None
    decided: str | None


class Samples(TypedDict):
    """A few documents of one stage and reason, or kept ones of one dataset. of: how many there are of the kind."""

    stage: str | None
    reason: str | None
    dataset: str | None
    of: int
    documents: list[SampledDocument]


class Comparison(TypedDict):
    """A dropped document beside the one it lost to."""

    dropped: ShownDocument
    kept: ShownDocument
    similarity: float | None
    similarity_kind: str | None
    threshold: float | None
    difference: DifferenceTree | None


class Pair(Comparison):
    """A comparison with the stage that dropped the document."""

    stage: str


class Quarantine(TypedDict):
    """Problems of unreadable input, and the first ten of them."""

    problems: int
    first: list[QuarantinedProblem]


class PartRate(PartTiming):
    """Work of one stage inside a step, with its rates."""

    documents_per_second: float | None
    bytes_per_second: float | None


class StepRate(TypedDict):
    """A step with its rates; where a step counts no documents, `documents` are those that reached it."""

    name: str
    seconds: float
    documents: int
    bytes: int
    peak_memory_bytes: NotRequired[int | None]
    from_device: NotRequired[int]
    bundles_on_gpu: NotRequired[int]
    bundles_on_cores: NotRequired[int]
    parts: list[PartRate]
    documents_per_second: float | None
    bytes_per_second: float | None


class TimingRates(TypedDict):
    """What the last call took, step by step."""

    format: NotRequired[int]
    workers: int
    peak_memory_bytes: NotRequired[int | None]
    stages: list[StepRate]


class PassedOver(TypedDict):
    """Files that a dataset's folders and globs hold beside data, for one reason. examples: paths of the first ones."""

    reason: str
    count: int
    examples: list[str]


class Report(TypedDict):
    """The report of a run: every number that report.html shows."""

    format: int
    name: str
    tokens_are: str
    digests: Digests
    recipe: str
    stages: list[Stage]
    datasets: list[Dataset]
    funnel: dict[str, Funnel]
    total: Funnel
    warnings: list[str]
    stale: list[Stale]
    figures: dict[str, dict[str, dict[str, int]]]  # stage -> dataset -> name -> number
    overlap: Overlap
    dedup: list[Similarities]
    groups: Groups
    scores: list[Scores]
    languages: list[Languages]
    scores_from: str
    lengths: Lengths
    accuracy: Accuracy | None  # None: not audited
    mix: Mix
    samples: list[Samples]
    pairs: list[Pair]
    quarantine: Quarantine
    passed_over: dict[str, list[PassedOver]]  # dataset -> what its folders and globs hold beside data
    timings: TimingRates | None
