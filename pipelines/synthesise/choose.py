"""Which kept documents of a run are rewritten: conditions of a cell, a sample, a budget.

Guarantees: who is rewritten depends on the documents and the settings alone; the most that all questions about the
chosen documents can cost stays within the budget. Memory: the facts of one bundle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifiers.endpoint import answers
from classifiers.endpoint import prompt as prompts
from classifiers.endpoint.answers import Spent
from cluster import storage
from cluster.engines import Engine
from cluster.errors import RecipeError
from cluster.files.arrow_files import read_arrow, write_arrow
from pipelines.recipe.to_run import condition_of
from pipelines.synthesise.settings import Synthesis
from stages.asking.population import SALT
from stages.asking.prefix import TOP, bounds
from stages.core.arrays import array
from stages.core.costs import per_bundle
from stages.core.run import Run
from stages.kernels.hashes.hashing import mix64
from stages.outcome.cells import Condition
from stages.outcome.fields import UnknownField, find_field, values_of
from stages.outcome.verdicts import outcome

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
CHOSEN = pa.schema([("row", pa.int64()), ("place", pa.uint64()), ("bytes", pa.int64())])
LIST = per_bundle("list documents to rewrite")
GROWTH = 4  # times the bytes of a text as it was read that one as it is written may have, at most


@dataclass(frozen=True)
class Choice:
    """The documents to rewrite, in files below a folder, one per bundle; up to a place in the order of hashes."""

    run: Run
    settings: Synthesis
    folder: str

    def path(self, position: int) -> str:
        return storage.join(self.folder, "chosen", f"{position}.arrow")

    def rows(self, reach: int, position: int) -> I64:
        """Return the rows of a bundle whose places lie within reach."""
        table = read_arrow(self.path(position))
        found: I64 = array(table, "row").astype(np.int64)
        return found[array(table, "place").astype(np.uint64) <= np.uint64(reach)] if reach >= 0 else found[:0]


def conditions(run: Run, settings: Synthesis) -> list[Condition]:
    """Return the conditions of the documents to rewrite. Raises RecipeError where a field is none of the run's."""
    found = []
    for name, section in settings.where.items():
        condition = condition_of(name, section)
        if condition.quantiles:
            raise RecipeError(f"where.{name}: quantiles are not known here; give min and max.")
        try:
            find_field(name, run.stages)
        except UnknownField as error:
            raise RecipeError(f"where.{name}: {name} {error}.") from None
        found.append(condition)
    return found


def choose(engine: Engine, choice: Choice) -> int:
    """Write which documents meet the conditions; return up to which place they are rewritten, -1 for none."""
    settings, positions = choice.settings, list(range(len(choice.run.manifest.bundles)))
    wanted = conditions(choice.run, settings)
    engine.map(partial(_list, choice, wanted), positions, cost=LIST)
    limits = settings.limits
    if not limits.any:
        return TOP
    reach = TOP
    if limits.sample is not None:
        reach = bounds(engine, partial(_ones, choice), positions, {"": (limits.sample,)}, LIST)[""]
    if limits.budget:
        left = limits.left(_spent(engine, choice))
        if min(left) < 0:
            return -1
        reach = min(reach, bounds(engine, partial(_costs, choice), positions, {"": left}, LIST)[""])
    return reach


def _list(choice: Choice, wanted: Sequence[Condition], position: int) -> None:
    found = outcome(choice.run, position)
    view = found.view
    rows = np.flatnonzero(found.kept).astype(np.int64)
    dataset = view.run.dataset(view.bundle.dataset)
    if dataset.role == "reference" or dataset.name == choice.settings.name:
        rows = rows[:0]
    for condition in wanted:
        if len(rows):
            values = values_of(find_field(condition.field, choice.run.stages), position, found, rows)
            rows = rows[condition.holds(values)]
    place = mix64(array(view.read, "h1").astype(np.uint64)[rows], choice.settings.seed ^ SALT)
    size = array(view.read, "num_bytes").astype(np.int64)[rows]
    columns = [pa.array(rows), pa.array(place), pa.array(size)]
    write_arrow(choice.path(position), pa.table(columns, schema=CHOSEN), scratch=True)


def _ones(choice: Choice, position: int) -> dict[str, tuple[U64, I64]]:
    place = array(read_arrow(choice.path(position)), "place").astype(np.uint64)
    return {"": (place, np.ones((len(place), 1), np.int64))}


def _spent(engine: Engine, choice: Choice) -> Spent:
    """Return what all questions of the settings have cost in this run folder."""
    settings, total = choice.settings, Spent()
    every = [*settings.loaded(), *(prompts.load(name, "refine") for name in prompts.names("refine"))]
    askers = [settings.asker(model, prompt) for model in settings.models for prompt in every]
    folders = {answers.folder_of(choice.run.root, asker.digest()) for asker in askers}
    for one in engine.map(answers.spent, [path for folder in sorted(folders) for path in answers.files(folder)]):
        total = total.plus(one)
    return total


def _costs(choice: Choice, position: int) -> dict[str, tuple[U64, I64]]:
    """Return the places of a bundle with the most that rewriting each document may cost.

    A text makes at most 1 + 2 * tokens / chunk_tokens chunks. A draft inside a critique is counted with four bytes for
    each token that it can have had, as the same model's tokenizer reads it again.
    """
    table, settings = read_arrow(choice.path(position)), choice.settings
    size = array(table, "bytes").astype(np.int64) * (GROWTH if choice.run.stages[-1].applies_edits else 1)
    pieces = 1 + size // max(1, settings.chunk_tokens // 2)  # a token has a byte at least
    total = np.zeros((len(size), 3), np.int64)
    refine = [prompts.load(name, "refine") for name in ("critique", "refine")]
    for model in settings.models:
        for prompt in settings.loaded():
            asker = settings.asker(model, prompt)
            total += _cost(settings, pieces, size + pieces * asker.most_tokens(0), asker.max_tokens)
            for other in refine * settings.rounds:
                told = settings.asker(model, other).most_tokens(0) + len(prompt.user.encode()) + 4 * asker.max_tokens
                total += _cost(settings, pieces, size + pieces * told, asker.max_tokens)
    return {"": (array(table, "place").astype(np.uint64), total)}


def _cost(settings: Synthesis, questions: I64, asked: I64, answer: int) -> I64:
    parts = settings.limits.cost(questions, asked, questions * answer)
    return np.asarray(np.stack(parts, axis=1) * settings.tries, np.int64)
