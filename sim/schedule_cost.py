"""What a layer costs on the matrix engine, for the width search."""

from __future__ import annotations

from functools import cache

from dybit.quant.array_config import ArrayConfig
from dybit.quant.precision import PrecisionMode
from dybit.quant.workloads.layer_shape import LayerShape
from dybit.sim.schedule import plan

__all__ = ["ScheduleCost"]


class ScheduleCost:
    """Cycles by the engine's schedule, of a layer as a product of its im2col matrix.

    Groups of a convolution are products of their own, one after the other, as `EngineBackend` runs
    them. Memory is not waited for.

    Parameters
    ----------
    array : ArrayConfig
    latency : dict of str to int
        The engine's latencies, as its manifest gives them.
    """

    def __init__(self, array: ArrayConfig, latency: dict[str, int]) -> None:
        @cache
        def cycles(mode: PrecisionMode, pixels: int, reduction: int, outputs: int) -> int:
            return plan(array, latency, mode, pixels, reduction, outputs).cycles

        self._cycles = cycles

    def __call__(self, layer: LayerShape, mode: PrecisionMode) -> int:
        """Return the cycles of one input, in any mode, built or not."""
        outputs = layer.outputs // layer.groups
        return layer.groups * self._cycles(mode, layer.pixels, layer.reduction, outputs)
