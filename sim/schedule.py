"""When each vector, weight row and result of a matrix product crosses the engine's ports.

The engine takes weights, activations and drain requests on ports of their own, so the three
overlap: a tile's weights load while the tile before it computes, and one half of the
accumulators drains while the other fills.
"""

from __future__ import annotations

from dataclasses import dataclass

from dybit.quant.array_config import ArrayConfig
from dybit.quant.precision import PrecisionMode

__all__ = ["Group", "Pass", "Schedule", "plan"]


@dataclass(frozen=True, slots=True)
class Pass:
    """One tile of weights meeting one tile of pixels.

    Attributes
    ----------
    k_tile, n_tile : int
        Tile of the reduction and of the output channels.
    load : int
        Cycle of the first of the tile's R rows of weights.
    start : int
        Cycle of the first of its vectors; the others follow without a gap.
    """

    k_tile: int
    n_tile: int
    load: int
    start: int


@dataclass(frozen=True, slots=True)
class Group:
    """The passes that add up in one half of the accumulators, and their way out.

    Attributes
    ----------
    first_pixel, pixels : int
        Rows of the left matrix.
    n_tile : int
        Tile of the output channels.
    address : int
        Accumulator of the first pixel.
    passes : tuple of Pass
    parameters : int
        Cycle in which lane 0's re-quantisation parameters are written; one lane a cycle.
    drain : int
        Cycle of the first drain request: pixel by pixel, each lane in turn.
    """

    first_pixel: int
    pixels: int
    n_tile: int
    address: int
    passes: tuple[Pass, ...]
    parameters: int
    drain: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """A matrix product on the engine.

    Attributes
    ----------
    groups : tuple of Group
    cycles : int
        Cycles until the last code is out.
    """

    groups: tuple[Group, ...]
    cycles: int


def plan(
    array: ArrayConfig,
    latency: dict[str, int],
    mode: PrecisionMode,
    pixels: int,
    reduction: int,
    outputs: int,
) -> Schedule:
    """Schedule a product of (`pixels`, `reduction`) by (`reduction`, `outputs`).

    Parameters
    ----------
    array : ArrayConfig
    latency : dict of str to int
        The engine's latencies, as its manifest gives them.
    mode : PrecisionMode
        One of ``array.modes``.
    pixels, reduction, outputs : int
        Sizes, at least 1.
    """
    half = max(1, array.accumulator_depth // 2)
    bank_count = 2 if array.accumulator_depth > 1 else 1
    k_tiles = -(-reduction // (array.rows * mode.channels))
    n_tiles = -(-outputs // (array.columns * mode.lanes))

    groups: list[Group] = []
    load = start = drain_end = 0
    bank_free = [0] * bank_count
    for first_pixel in range(0, pixels, half):
        size = min(half, pixels - first_pixel)
        for n_tile in range(n_tiles):
            bank = len(groups) % bank_count
            # The first vector to reach the accumulators overwrites what must have been read.
            start = max(start, bank_free[bank] - latency["array"])
            passes = []
            for k_tile in range(k_tiles):
                start = max(start, load + array.rows)
                passes.append(Pass(k_tile, n_tile, load, start))
                # The next tile's rows may follow from the swap on; its vectors follow these,
                # but not before the first of them has been added.
                load = start
                start += max(size, latency["revisit"])
            drain = max(passes[-1].start + latency["accumulate"], drain_end + 1 + mode.lanes)
            parameters = drain - mode.lanes
            drain_end = drain + size * mode.lanes
            bank_free[bank] = drain_end
            groups.append(
                Group(first_pixel, size, n_tile, bank * half, tuple(passes), parameters, drain)
            )
    return Schedule(tuple(groups), drain_end + latency["codes"])
