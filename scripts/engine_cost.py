"""The cycles of the matrix engine that a config describes, before it is built."""

from __future__ import annotations

from dybit.hw.matrix_engine import MatrixEngine
from dybit.quant.array_config import ArrayConfig
from dybit.sim.schedule_cost import ScheduleCost

__all__ = ["engine_cost"]


def engine_cost(array: ArrayConfig) -> ScheduleCost:
    """Return what layers cost on the engine of an array."""
    # Describing every element of a large array takes seconds, and all it adds is the skew.
    latency = dict(MatrixEngine(array.model_copy(update={"rows": 1, "columns": 1})).latency)
    for flow in ("array", "accumulate"):
        latency[flow] += array.rows - 1 + array.columns - 1
    return ScheduleCost(array, latency)
