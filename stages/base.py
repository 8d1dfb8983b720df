"""The front door for authors of stages: what a stage is made of, and nothing else.

A stage of your own derives from `ShardStage`, declares parameters with `param`, and returns `Decisions`.
"""

from __future__ import annotations

import warnings

from stages.core.arrays import BoolArray, FloatArray, array, whole
from stages.core.digests import DATA_FORMAT, digest
from stages.core.exchange_stage import ExchangeStage
from stages.core.stage import Decisions, ShardStage, Stage, param

__all__ = [
    "DATA_FORMAT",
    "BoolArray",
    "Decisions",
    "ExchangeStage",
    "FloatArray",
    "ShardStage",
    "Stage",
    "array",
    "digest",
    "param",
    "rewrites",
    "whole",
]


def rewrites(stage: type[Stage]) -> bool:
    """Tell whether stages of this class rewrite texts. Deprecated: use `stage.rewrites()`."""
    warnings.warn("stages.base.rewrites(stage) is now stage.rewrites()", DeprecationWarning, stacklevel=2)
    return stage.rewrites()
