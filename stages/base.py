"""The front door for authors of stages: what a stage is made of, and nothing else.

A stage of your own derives from `ShardStage`, declares parameters with `param`, and returns `Decisions`.
"""

from stages.core.stage import (
    DATA_FORMAT,
    BoolArray,
    Decisions,
    ExchangeStage,
    FloatArray,
    ShardStage,
    Stage,
    array,
    digest,
    param,
    rewrites,
    whole,
)

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
