"""The cycles of the hardware that a config describes, before it is built."""

from __future__ import annotations

import gc
import warnings
from functools import lru_cache

from amaranth.hdl import UnusedElaboratable

from dybit.hw.latencies import latencies
from dybit.hw.matrix_engine import MatrixEngine
from dybit.quant.accelerator_config import AcceleratorConfig
from dybit.quant.array_config import ArrayConfig
from dybit.quant.config_errors import ConfigError
from dybit.quant.search import CostModel
from dybit.quant.search.problem import BASELINE
from dybit.quant.workloads import Workload
from dybit.sim.board_driver import PlanError
from dybit.sim.cycles import AcceleratorCost, Machine, Memory
from dybit.sim.schedule_cost import ScheduleCost

__all__ = ["engine_cost", "machine_of", "search_cost"]


def engine_cost(array: ArrayConfig) -> ScheduleCost:
    """Return what layers cost on the engine of an array."""
    return ScheduleCost(array, _engine_latency(array))


def machine_of(
    array: ArrayConfig, accelerator: AcceleratorConfig, memory: Memory | None = None
) -> Machine:
    """Return the accelerator of a config.

    Raises
    ------
    ConfigError
        If no accelerator can be built around the array.
    """
    accelerator.check_array(array)
    return Machine(array, accelerator, latencies(_engine_latency(array)), memory or Memory())


def search_cost(
    workload: Workload, array: ArrayConfig, accelerator: AcceleratorConfig
) -> tuple[CostModel, str]:
    """Return what layers cost, and of what the cycles are.

    That is the accelerator where it has room for all layers in all modes of the array, else the
    matrix engine alone.
    """
    try:
        cost = AcceleratorCost(machine_of(array, accelerator))
        for layer in workload.array_layers:
            for mode in {*array.modes, BASELINE}:
                cost(layer, mode)
    except (ConfigError, PlanError) as error:
        reason = str(error).splitlines()[0]
        return engine_cost(array), f"of the matrix engine without memory, since {reason}"
    return cost, "of the accelerator, its memory included"


def _engine_latency(array: ArrayConfig) -> dict[str, int]:
    """Return the latencies of an array's matrix engine.

    Describing every element of a large array takes seconds, and all it adds is the skew.
    """
    latency = dict(
        _latency_of_one(array.model_copy(update={"rows": 1, "columns": 1}).model_dump_json())
    )
    for flow in ("array", "accumulate"):
        latency[flow] += array.rows - 1 + array.columns - 1
    return latency


@lru_cache(maxsize=256)
def _latency_of_one(array: str) -> dict[str, int]:
    with warnings.catch_warnings():
        # Nobody elaborates this engine. Amaranth would say so when it is freed: now, not later.
        warnings.simplefilter("ignore", UnusedElaboratable)
        latency: dict[str, int] = MatrixEngine(ArrayConfig.model_validate_json(array)).latency
        gc.collect()
    return latency
