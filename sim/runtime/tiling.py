"""Cuts a layer into tiles: rectangles of output pixels that fit the accelerator's memories.

Loads, weights, results and stores of neighbouring tiles overlap. Many tiles leave little of the
first load and the last store exposed; few read halos and weights seldom. `choose` weighs that by
an estimate of cycles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dybit.sim.board_driver import PlanError
from dybit.sim.runtime.engine_layer import EngineLayer, Hardware
from dybit.sim.runtime.packing import PARAMETER_BYTES

__all__ = ["COUNT_LIMIT", "Layout", "Tiling", "choose", "output_layout"]

Sizes = Any  # integers, or arrays of them

BUS_BYTES = 16
TILE_CYCLES = 64
"""Cycles that a tile takes at least, its descriptor being checked."""

HANDOVER_CYCLES = 16
"""Cycles between the work of one tile and that of the next."""

RESTART_CYCLES = 40
"""Cycles of a layer's first weights on their way, and of its last sums."""

COUNT_LIMIT = (1 << 16) - 1
"""What a descriptor counts, at most."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a tensor's pixels lie in memory.

    Attributes
    ----------
    pixel_bytes : int
        In memory.
    pitch : int
        Words of C bytes in the output memory.
    groups : int
        Groups of C channels written, blanks included.
    alone : bool
        Whether each pixel is a row of its own on its way to memory.
    """

    pixel_bytes: int
    pitch: int
    groups: int
    alone: bool


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles of `height` x `width` output pixels, and what they cost.

    Attributes
    ----------
    height, width : int
    count : int
        Tiles of all images.
    cycles : int
        An estimate for the layer.
    """

    height: int
    width: int
    count: int
    cycles: int


def output_layout(layer: EngineLayer, hardware: Hardware) -> Layout:
    """Return how the layer's output lies in memory."""
    array = hardware.array
    rows, columns = array.rows, array.columns
    bits = layer.output_bits(array)
    slot = columns * bits // 8
    if layer.output_format is None:
        return _padded(-(-layer.outputs // columns) * slot, max(rows, slot), columns, slot)
    wide = -(-layer.outputs * bits // 8)
    if columns > rows and not layer.output_format.has_zero:
        # What follows the channels must not be read as one: whole words of R bytes, no more.
        exact = -(-wide // rows) * rows
        pitch = -(-exact // columns)
        return Layout(exact, pitch, pitch * columns // slot, exact % columns > 0)
    return _padded(wide, max(rows, columns), columns, slot)


def _padded(wide: int, unit: int, columns: int, slot: int) -> Layout:
    size = -(-wide // unit) * unit
    return Layout(size, size // columns, size // slot, False)


def choose(layer: EngineLayer, blocks: int, hardware: Hardware) -> Tiling:
    """Return the tiling of the fewest estimated cycles that fits.

    Parameters
    ----------
    layer : EngineLayer
    blocks : int
        Words of R bytes in a pixel of the input.

    Raises
    ------
    PlanError
        If not even one pixel fits.
    """
    case = _Case(layer, blocks, output_layout(layer, hardware), hardware)
    heights, widths = (_parts(extent) for extent in layer.size)
    # Columns are cut only where rows alone do not do, or there is one row.
    groups: list[tuple[Sizes, Sizes]] = [(heights, width) for width in widths.tolist()]
    for height, width in groups if layer.size[0] > 1 else [(1, widths)]:
        fits = case.fits(height, width)
        if fits.any():
            height, width = _at(height, fits), _at(width, fits)
            cycles = case.cycles(height, width)
            best = int(cycles.argmin())
            tall, wide = int(_at(height, best)), int(_at(width, best))
            return Tiling(tall, wide, int(case.count(tall, wide)), int(cycles[best]))
    raise PlanError(f"{layer.name}: {case.excess(1, 1)}")


def _at(sizes: Sizes, index: Any) -> Sizes:
    """Return sizes at an index; one that all have in common is an integer."""
    return sizes[index] if isinstance(sizes, np.ndarray) else sizes


@cache
def _parts(extent: int) -> Sizes:
    """Return the sizes of equal parts that an extent can be cut into, the whole first."""
    return np.unique(-(-extent // np.arange(1, extent + 1)))[::-1]


class _Case:
    """A layer whose tilings are weighed."""

    def __init__(self, layer: EngineLayer, blocks: int, layout: Layout, hardware: Hardware) -> None:
        self.layer = layer
        self.blocks = blocks
        self.layout = layout
        self.hardware = hardware
        self.column_tiles = layer.column_tiles(hardware.array)
        self.taps = layer.kernel[0] * layer.kernel[1]
        self.passes = self.taps * layer.walk(hardware.array).count

    def lines(self, axis: int, count: Sizes) -> Sizes:
        """Return the lines of input that `count` lines of output need, at most."""
        if axis == 0 and self.layer.kernel[0] == 1:
            return count
        extent = (self.layer.height, self.layer.width)[axis]
        walked = self.walked(axis, count)
        return min(extent, walked) if isinstance(walked, int) else np.minimum(extent, walked)

    def walked(self, axis: int, count: Sizes) -> Sizes:
        """Return the lines of input, padding included, from the first window to the last."""
        return (count - 1) * self.layer.stride[axis] + self.layer.kernel[axis]

    def limits(self, height: Sizes, width: Sizes) -> list[tuple[str, Sizes, int, str]]:
        """Return what of a tile must fit: what it is, how much, the most, and the field of that."""
        accelerator, layer = self.hardware.accelerator, self.layer
        words = self.lines(0, height) * self.lines(1, width) * self.blocks
        most = min(accelerator.activation_words, COUNT_LIMIT)
        stored = height * width * self.layout.pitch
        limits = [
            ("output pixels", height * width, self.hardware.half, "array.accumulator_depth"),
            ("words of input", words, most, "accelerator.activation_words"),
            ("words of output", stored, accelerator.output_words, "accelerator.output_words"),
        ]
        if layer.depthwise:
            row = self.walked(1, width)
            field = "accelerator.depthwise_width"
            limits.append(("padded input pixels in a row", row, accelerator.depthwise_width, field))
        return limits

    def fits(self, height: Sizes, width: Sizes) -> NDArray[np.bool_]:
        """Return which tiles fit; pixels that are rows of their own must fill the tile's rows."""
        (_, value, limit, _), *others = self.limits(height, width)
        fit: NDArray[np.bool_] = value <= limit
        for _, value, limit, _ in others:
            fit &= value <= limit
        if self.layout.alone:
            fit &= (width == self.layer.size[1]) | (height == 1)
        return fit

    def excess(self, height: int, width: int) -> str | None:
        """Return which memory a tile does not fit and what would help, or None."""
        for what, value, limit, field in self.limits(np.array(height), np.array(width)):
            if value > limit:
                return f"{what} of a tile must be at most {limit}, not {value}; raise {field}"
        return None

    def count(self, height: Sizes, width: Sizes) -> Sizes:
        """Return the tiles of all images."""
        bands, cuts = -(-self.layer.size[0] // height), -(-self.layer.size[1] // width)
        return self.layer.images * bands * cuts

    def cycles(self, height: Sizes, width: Sizes) -> Sizes:
        """Return an estimate of cycles: the slowest flow of each tile, and both ends.

        Assumes a bus of one beat a cycle and all tiles alike.
        """
        layer, array, layout = self.layer, self.hardware.array, self.layout
        pixels = height * width
        row_bytes = array.columns * layer.mode.channels
        words = self.lines(0, height) * self.lines(1, width) * self.blocks
        load = words * array.rows // BUS_BYTES
        if layer.depthwise:
            compute = self.column_tiles * self.walked(0, height) * self.walked(1, width)
            weights = self.column_tiles * self.taps * row_bytes
        else:
            compute = self.column_tiles * self.passes * np.maximum(pixels, array.rows)
            weights = self.column_tiles * self.passes * array.rows * row_bytes
        constants = weights + self.column_tiles * layer.lanes * array.columns * PARAMETER_BYTES
        drain = pixels * layout.groups
        store = pixels * layout.pixel_bytes // BUS_BYTES
        slowest = np.maximum(
            np.maximum(compute, load + constants // BUS_BYTES),
            np.maximum(np.maximum(drain, store), TILE_CYCLES),
        )
        last_drain = pixels * min(layout.groups, layer.lanes)
        total: Sizes = self.count(height, width) * (slowest + HANDOVER_CYCLES)
        return total + load + last_drain + store + RESTART_CYCLES
