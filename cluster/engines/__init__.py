"""Engines run functions over tasks: in this process, on threads, or on the workers of a Dask client."""

from cluster.engines.cost import Growth, TaskCost
from cluster.engines.engine import Engine, InlineEngine
from cluster.engines.peak_memory import Measured, give_back
from cluster.engines.transfers import brought, count_brought

__all__ = ["Engine", "Growth", "InlineEngine", "Measured", "TaskCost", "brought", "count_brought", "give_back"]
