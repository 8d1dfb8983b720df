"""winnow turns several large web-text datasets into one clean, deduplicated, weighted pretraining mix.

The public face: what a program needs, from one import. Nothing is loaded before it is asked for.

    import winnow

    result = winnow.run("mix.yaml", run_dir="RUN")
    for table in winnow.open_run("RUN").ledger(columns=["doc_id", "stage", "reason"]): ...

- run a recipe: `load_recipe`, `Recipe`, `run`, `RunResult`, `plan`
- without a recipe, on files or in memory: `dedup`, `Deduplicated`, `minhash`
- read what a run left behind: `open_run`, `RunFolder`, `Tables`, `explain`, `audit`, `diff`
- write a stage: `ShardStage`, `ExchangeStage`, `Stage`, `Decisions`, `param`, `array`, `whole`, `StageSuite`
- write a classifier: `Classifier`, `Scores`
- errors: `WinnowError`, and its kinds `RecipeError`, `ShardError`, `LedgerError`, `BackendError`

Guarantees: this package holds no logic; every name is the one that the module behind it defines.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cluster.version import VERSION as __version__

if TYPE_CHECKING:
    from classifiers.base import Classifier as Classifier
    from classifiers.base import Scores as Scores
    from cluster.errors import BackendError as BackendError
    from cluster.errors import LedgerError as LedgerError
    from cluster.errors import RecipeError as RecipeError
    from cluster.errors import ShardError as ShardError
    from cluster.errors import WinnowError as WinnowError
    from pipelines.python.looks import audit as audit
    from pipelines.python.looks import diff as diff
    from pipelines.python.looks import explain as explain
    from pipelines.python.memory import Deduplicated as Deduplicated
    from pipelines.python.memory import dedup as dedup
    from pipelines.python.memory import minhash as minhash
    from pipelines.python.recipes import plan as plan
    from pipelines.python.recipes import run as run
    from pipelines.recipe.recipe import Recipe as Recipe
    from pipelines.recipe.recipe import load_recipe as load_recipe
    from pipelines.run.result import RunResult as RunResult
    from pipelines.run_tables import Tables as Tables
    from pipelines.runfolder import RunFolder as RunFolder
    from pipelines.runfolder import open_run as open_run
    from stages.base import Decisions as Decisions
    from stages.base import ExchangeStage as ExchangeStage
    from stages.base import ShardStage as ShardStage
    from stages.base import Stage as Stage
    from stages.base import array as array
    from stages.base import param as param
    from stages.base import whole as whole
    from stages.testing import StageSuite as StageSuite

_HOMES = {
    "BackendError": "cluster.errors:BackendError",
    "Classifier": "classifiers.base:Classifier",
    "Decisions": "stages.base:Decisions",
    "Deduplicated": "pipelines.python.memory:Deduplicated",
    "ExchangeStage": "stages.base:ExchangeStage",
    "LedgerError": "cluster.errors:LedgerError",
    "Recipe": "pipelines.recipe.recipe:Recipe",
    "RecipeError": "cluster.errors:RecipeError",
    "RunFolder": "pipelines.runfolder:RunFolder",
    "RunResult": "pipelines.run.result:RunResult",
    "Scores": "classifiers.base:Scores",
    "ShardError": "cluster.errors:ShardError",
    "ShardStage": "stages.base:ShardStage",
    "Stage": "stages.base:Stage",
    "StageSuite": "stages.testing:StageSuite",
    "Tables": "pipelines.run_tables:Tables",
    "WinnowError": "cluster.errors:WinnowError",
    "array": "stages.base:array",
    "audit": "pipelines.python.looks:audit",
    "dedup": "pipelines.python.memory:dedup",
    "diff": "pipelines.python.looks:diff",
    "explain": "pipelines.python.looks:explain",
    "load_recipe": "pipelines.recipe.recipe:load_recipe",
    "minhash": "pipelines.python.memory:minhash",
    "open_run": "pipelines.runfolder:open_run",
    "param": "stages.base:param",
    "plan": "pipelines.python.recipes:plan",
    "run": "pipelines.python.recipes:run",
    "whole": "stages.base:whole",
}

__all__ = [
    "BackendError",
    "Classifier",
    "Decisions",
    "Deduplicated",
    "ExchangeStage",
    "LedgerError",
    "Recipe",
    "RecipeError",
    "RunFolder",
    "RunResult",
    "Scores",
    "ShardError",
    "ShardStage",
    "Stage",
    "StageSuite",
    "Tables",
    "WinnowError",
    "__version__",
    "array",
    "audit",
    "dedup",
    "diff",
    "explain",
    "load_recipe",
    "minhash",
    "open_run",
    "param",
    "plan",
    "run",
    "whole",
]


if not TYPE_CHECKING:  # a type checker would take any name for there

    def __getattr__(name: str) -> Any:
        """Import the module behind a public name when it is first asked for (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module 'winnow' has no attribute {name!r}")
        module, _, attribute = _HOMES[name].partition(":")
        found = globals()[name] = getattr(importlib.import_module(module), attribute)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
