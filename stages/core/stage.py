"""What a stage is: a frozen dataclass of parameters around pure functions.

Two shapes: a `ShardStage` sees one document at a time (`annotate` -> facts, `decide` -> decisions); an
`ExchangeStage` (exchange_stage.py) must bring equal keys together across shards. Facts depend on the text and on
the parameters marked `fact=True`; decisions depend on facts and thresholds.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.errors import RecipeError
from stages.core import secret_params
from stages.core.arrays import BoolArray, FloatArray
from stages.core.digests import digest
from stages.core.edits import Edits

LARGEST = (1 << 63) - 1  # of a whole number


def param(default: Any, help: str, *, fact: bool = False, **more: Any) -> Any:
    """Declare a stage parameter: `help` is shown by the CLI, `fact` marks what facts depend on.

    `more` may hold choices=(...), ge=, le=, metavar=; the CLI and the JSON schema use them. guard=True
    marks a limit that may stop a run but never changes a verdict, secret=True a text that no run folder may hold
    (secret_params.py), added=True a parameter of a later version: its default is what earlier ones did, so that digests
    leave it out (of the stage and of the recipe).
    """
    metadata = {"help": help, "fact": fact, **more}
    if isinstance(default, list | dict | set):
        raise TypeError("use a tuple as default")
    return dataclasses.field(default=default, metadata=metadata, repr=not more.get("secret"))


_LIMIT = re.compile(r"\s*(\w+)\s*(<=|>=)\s*([-+.\deE]+)\s*")


def parsed_limit(text: str) -> tuple[str, str, float] | None:
    """Return name, sign and number of NAME>=NUMBER or NAME<=NUMBER, None of other text.

    >>> parsed_limit("num_words >= 20"), parsed_limit("num_words > 20")
    (('num_words', '>=', 20.0), None)
    """
    found = _LIMIT.fullmatch(text)
    if not found:
        return None
    try:
        return found[1], found[2], float(found[3])
    except ValueError:
        return None


@dataclass(frozen=True, eq=False)
class Decisions:
    """Verdicts, one per row of facts, arrays of shape (rows,).

    reason: index into `reasons`, -1 where the row stays. value: the number that decided.
    threshold: what it was compared with. NaN where there is none.
    """

    reason: npt.NDArray[np.int16]
    reasons: tuple[str, ...]
    value: FloatArray
    threshold: FloatArray

    @classmethod
    def keep_all(cls, rows: int) -> Decisions:
        """Return decisions that keep all of `rows` rows."""
        nan = np.full(rows, np.nan)
        return cls(np.full(rows, -1, np.int16), (), nan, nan)

    @classmethod
    def below(cls, value: FloatArray, threshold: float, reason: str) -> Decisions:
        """Drop rows whose value is below the threshold (NaN counts as below)."""
        dropped = ~(value >= threshold)
        return cls(
            np.where(dropped, 0, -1).astype(np.int16),
            (reason,),
            value.astype(np.float64),
            np.full(len(value), float(threshold)),
        )

    @property
    def dropped(self) -> BoolArray:
        """Whether each row is dropped, (rows,) bool."""
        return self.reason >= 0


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Parameters of one stage of a recipe. The constructor stores and validates; it opens nothing."""

    name: str = param("", "name of this use; needed where a stage is used twice")
    datasets: tuple[str, ...] = param((), "limit the stage to these datasets (default: all)")

    use: ClassVar[str] = ""  # file name = stage name = CLI name = recipe key = sidecar folder
    version: ClassVar[int] = 1  # raised when the same parameters would give other facts
    summary: ClassVar[str] = ""  # one line for the CLI
    hidden: ClassVar[bool] = False  # inserted by the runner for another stage; not shown to users
    exchanges: ClassVar[bool] = False  # brings documents of all shards together: an ExchangeStage
    applies_edits: ClassVar[bool] = False  # drops what the edits of all stages leave nothing of: `rewrite`, at the end

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.use)
        for f in dataclasses.fields(self):
            if f.metadata.get("secret"):
                found = secret_params.revealed(getattr(self, f.name), self.use, f.name)
                object.__setattr__(self, f.name, found)
            self._check_bounds(f)
        self.validate()

    def shown(self, f: dataclasses.Field[Any]) -> Any:
        """Return the value of a parameter as run folders hold it: of a secret one its digest."""
        value = getattr(self, f.name)
        return secret_params.sealed(value) if f.metadata.get("secret") else value

    def secret(self, key: str) -> str:
        """Return a secret parameter. Raises RecipeError where only its digest is known."""
        value: str = getattr(self, key)
        if not secret_params.is_sealed(value):
            return value
        name = secret_params.variable(self.use, key)
        raise RecipeError(
            f"{key} of stage {self.name} is a secret that run folders do not hold, and documents are to be judged "
            f"with it again. Give it in the environment variable {name}, or use `winnow run` with your own recipe."
        )

    def _check_bounds(self, f: dataclasses.Field[Any]) -> None:
        value = getattr(self, f.name)
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(n, int) and abs(n) > LARGEST for n in numbers):
            raise self.error(f.name, "a larger one", "a number below 2^63")
        choices = f.metadata.get("choices")
        if choices and value not in choices:
            raise self.error(f.name, value, "one of " + ", ".join(map(str, choices)))
        low, high = f.metadata.get("ge"), f.metadata.get("le")
        if value is None or (low is None and high is None):
            return
        if (low is not None and value < low) or (high is not None and value > high):
            if high is None:
                raise self.error(f.name, value, f"at least {low}")
            raise self.error(f.name, value, f"in [{low}, {high}]")

    def error(self, key: str, value: object, right: str, remedy: str = "") -> RecipeError:
        """Return the RecipeError for a bad parameter: key, value, what is right, remedy."""
        text = f"{key} must be {right}, got {value!r} (stage {self.name or self.use})"
        return RecipeError(f"{text}. {remedy}" if remedy else f"{text}.")

    def validate(self) -> None:
        """Check parameters against each other; raise RecipeError through `self.error`."""

    def companions(self) -> tuple[Stage, ...]:
        """Return hidden stages that the runner places before this one."""
        return ()

    @property
    def drops(self) -> bool:
        """Whether the stage, with these parameters, can drop a document."""
        return True

    @classmethod
    def rewrites(cls) -> bool:
        """Tell whether stages of this class rewrite texts."""
        return False

    @property
    def hands_on_text(self) -> bool:
        """Whether the stages after this one judge texts with this stage's edits applied."""
        return False

    def companions_after_repair(self) -> tuple[Stage, ...]:
        """Return the hidden stages that the runner places before this one where it judges repaired texts."""
        return self.companions()

    def planned(self) -> Self:
        """Return the stage that `winnow plan` runs on a sample in this one's place."""
        return self

    def applies_to(self, dataset: str) -> bool:
        """Tell whether the stage works on documents of this dataset."""
        return not self.datasets or dataset in self.datasets

    @classmethod
    def key(cls) -> str:
        """Return the name of the stage in recipes: `use`, or the import path of a stage that is not winnow's."""
        own = cls.__module__.partition(".")[0] == __name__.partition(".")[0]
        return cls.use if own else f"{cls.__module__}:{cls.__qualname__}"

    def model_digest(self) -> str:
        """Return the digest of the model file that facts depend on; empty if there is none."""
        return ""

    def fact_digest(self) -> str:
        """Return the digest that names the facts: of stage, version, parameters marked `fact`, model."""
        values = {f.name: self.shown(f) for f in self.addressed_params() if f.metadata.get("fact")}
        return digest(self.key(), self.version, values, self.model_digest())

    def addressed_params(self) -> list[dataclasses.Field[Any]]:
        """Return the fields of the parameters, without those of later versions that hold their default."""
        fields = dataclasses.fields(self)
        return [f for f in fields if not f.metadata.get("added") or getattr(self, f.name) != f.default]

    def digest(self) -> str:
        """Return the digest that names decisions: of every parameter that can change a verdict (guards cannot)."""
        values = {f.name: self.shown(f) for f in self.addressed_params() if not f.metadata.get("guard")}
        return digest(self.key(), self.version, values, self.model_digest())


@dataclass(frozen=True, kw_only=True)
class ShardStage(Stage):
    """Base class of stages that decide each document by its own facts alone."""

    schema: ClassVar[pa.Schema] = pa.schema([])  # of the facts, one row per document
    expansion: ClassVar[float] = 2.0  # peak memory of annotate as a multiple of the text it is given
    hands_on: ClassVar[tuple[str, ...]] = ()  # facts that later stages are given (`facts_needed`), unless costly
    device_expansion: ClassVar[float] = 0.0  # the same on a GPU, for what a stage computes there
    asks: ClassVar[bool] = False  # asks models behind endpoints: always deferred, by steps of its own (`ask_live`)

    @property
    def costly(self) -> bool:
        """Whether scoring a text costs far more than reading it: after a deduplication such a stage is deferred."""
        return False

    @property
    def by_population(self) -> bool:
        """Whether facts depend on which documents reach the stage, as those of a sample: no promotion foresees it."""
        return False

    @property
    def drops(self) -> bool:
        """Whether the stage can drop a document: its class overrides `decide`."""
        return type(self).decide is not ShardStage.decide  # minhash, for one, cannot

    @classmethod
    def rewrites(cls) -> bool:
        """Tell whether stages of this class rewrite texts: it overrides `edits`."""
        return cls.edits is not ShardStage.edits

    def columns(self) -> tuple[str, ...]:
        """Return the columns that `annotate` reads: "text", "id", "url", or "column:NAME" for an input column."""
        return ("text",)

    @property
    def host_text(self) -> bool:
        """Whether annotate needs its texts on the host; if not, they may be `Documents` that lie on a device."""
        return "text" in self.columns()

    @property
    def neural(self) -> bool:
        """Whether annotate computes with a model whose last bits depend on the processor; see `Engine.map`."""
        return False

    def facts_needed(self) -> tuple[str, ...]:
        """Return the facts that the nearest stage before this one hands on: columns `fact:NAME` of `annotate`."""
        return ()

    def annotate(self, documents: pa.Table) -> pa.Table:
        """Return the facts of these documents: same number of rows, `schema`'s columns.

        `documents` has the columns of `columns()`; text is large_string without nulls.
        """
        raise TypeError(f"{type(self).__name__} has no facts")

    def decide(self, facts: pa.Table) -> Decisions:
        """Return a verdict for every row of `facts`. Reads no text."""
        return Decisions.keep_all(facts.num_rows)

    def figures(self, facts: pa.Table) -> dict[str, int]:
        """Return what the report counts of these facts, by name."""
        return {}

    def group_columns(self) -> tuple[str, ...]:
        """Return the facts that `groups` and `remarks` read; none: the stage's losses are not counted by language."""
        return ()

    def groups(self, facts: pa.Table) -> pa.Array:
        """Return the language, or what is known of it, of every row of `facts`, string."""
        return pa.nulls(facts.num_rows, pa.string())

    def remarks(self, facts: pa.Table) -> dict[str, BoolArray]:
        """Return what is to be said of some rows of `facts`, counted by language: the beginning of a sentence each."""
        return {}

    def edits(self, facts: pa.Table) -> Edits:
        """Return the edits of the texts of these facts, by place in `facts`; applied when the mix is written."""
        raise TypeError(f"{type(self).__name__} rewrites nothing")


def is_kind(stage: Stage, use: str) -> bool:
    """Tell whether a stage is the one that recipes name `use`, or derived from it; imports neither."""
    return any(vars(kind).get("use") == use for kind in type(stage).__mro__)
