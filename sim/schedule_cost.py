"""What a layer costs on the matrix engine, for the width search."""

from __future__ import annotations

from functools import cache

from dybit.quant.array_config import ArrayConfig
from dybit.quant.precision import PrecisionMode
from dybit.quant.workloads.layer_shape import LayerShape

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
        self.array, self.latency = array, latency
        self._cycles = cache(self._product)

    def __call__(self, layer: LayerShape, mode: PrecisionMode) -> int:
        """Return the cycles of one input, in any mode, built or not."""
        outputs = layer.outputs // layer.groups
        return layer.groups * self._cycles(mode, layer.pixels, layer.reduction, outputs)

    def _product(self, mode: PrecisionMode, pixels: int, reduction: int, outputs: int) -> int:
        """Return the cycles that `plan` schedules, without the schedule.

        Within a group of passes each begins a fixed time after the one before it.
        """
        array, latency = self.array, self.latency
        half = max(1, array.accumulator_depth // 2)
        k_tiles = -(-reduction // (array.rows * mode.channels))
        n_tiles = -(-outputs // (array.columns * mode.lanes))
        load = start = drain_end = 0
        bank_free = [0] * (2 if array.accumulator_depth > 1 else 1)
        groups = 0
        for first_pixel in range(0, pixels, half):
            size = min(half, pixels - first_pixel)
            streaming = max(size, latency["revisit"])
            for _ in range(n_tiles):
                bank = groups % len(bank_free)
                start = max(start, bank_free[bank] - latency["array"], load + array.rows)
                load = start + (k_tiles - 1) * max(streaming, array.rows)
                start = load + streaming
                drain = max(load + latency["accumulate"], drain_end + 1 + mode.lanes)
                drain_end = bank_free[bank] = drain + size * mode.lanes
                groups += 1
        return drain_end + latency["codes"]
