"""Layers known by their shape alone: tiled as the runtime tiles them, and what they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dybit.quant.precision import PrecisionMode
from dybit.quant.workloads import LayerKind, LayerShape
from dybit.sim.board_driver import DESCRIPTOR_BYTES, PlanError
from dybit.sim.cycles.counts import Counts, count_table
from dybit.sim.cycles.kernel import Table, constants, tile_table
from dybit.sim.cycles.machine import BUS_BYTES, Machine
from dybit.sim.runtime.engine_layer import EngineLayer, Hardware
from dybit.sim.runtime.inputs import packings
from dybit.sim.runtime.packing import PARAMETER_BYTES, pixel_bytes
from dybit.sim.runtime.placement import aligned
from dybit.sim.runtime.tiles import tile_columns
from dybit.sim.runtime.tiling import Tiling, choose, output_layout

__all__ = ["LayerCycles", "engine_layer", "forget", "layer_cycles"]

Scalar = TypeVar("Scalar", bound=np.generic)

SIDE_LIMIT = 255
"""Kernel and stride that a descriptor holds, at most."""

KNOWN_LIMIT = 1 << 16
_KNOWN: dict[tuple[object, ...], Counts] = {}
"""What has been counted."""


@dataclass(frozen=True, slots=True)
class LayerCycles:
    """A layer alone on the accelerator, its input in memory before and its output there after.

    Attributes
    ----------
    name : str
    mode : PrecisionMode
    depthwise : bool
        Whether the depthwise unit runs it.
    tile : pair of int
        Rows and columns of output pixels of a tile.
    macs : int
        Multiply-accumulates of use, those on padding included.
    peak : int
        Multiply-accumulates that the array does in a cycle of this mode.
    memory_cycles : int
        Cycles that reading or writing all bytes takes, whichever is more.
    counts : Counts
    """

    name: str
    mode: PrecisionMode
    depthwise: bool
    tile: tuple[int, int]
    macs: int
    peak: int
    memory_cycles: int
    counts: Counts

    @property
    def cycles(self) -> int:
        """From start to end."""
        return self.counts.cycles

    @property
    def utilisation(self) -> float:
        """Multiply-accumulates over what the array could have done, the unit's counted too."""
        return self.macs / (self.peak * self.cycles)

    @property
    def read_bytes(self) -> int:
        """Bytes read, whole beats."""
        return BUS_BYTES * self.counts.read_beats

    @property
    def written_bytes(self) -> int:
        """Bytes written, whole beats."""
        return BUS_BYTES * self.counts.write_beats


def forget() -> None:
    """Forget what has been counted."""
    _KNOWN.clear()


def engine_layer(
    shape: LayerShape,
    mode: PrecisionMode,
    hardware: Hardware,
    output_bits: int | None = None,
    batch: int = 1,
) -> EngineLayer:
    """Return a layer without numbers: weights of code 0 that take no memory.

    Parameters
    ----------
    shape : LayerShape
        A convolution or linear layer.
    mode : PrecisionMode
    hardware : Hardware
    output_bits : int, optional
        Width of an output code; 0 for accumulators, default: the input's.
    batch : int
        Images.

    Raises
    ------
    PlanError
        If the accelerator has no room for it, in one line.
    """
    array = hardware.array
    signed = False not in array.signednesses
    source = array.activation_format(mode.activation_bits, signed)
    bits = mode.activation_bits if output_bits is None else output_bits
    height, width, channels = shape.input_shape
    unit = shape.kind is LayerKind.DEPTHWISE and shape.outputs == channels
    for name in ("kernel", "stride"):
        largest = max(getattr(shape, name))
        if largest > SIDE_LIMIT:
            raise PlanError(f"{shape.name}: {name} must be at most {SIDE_LIMIT}, not {largest}")
    size = shape.output_shape[:2]
    if shape.kernel == shape.stride == (1, 1) and not any(shape.padding):
        # As `in_a_row` has it.
        batch, height, width = 1, 1, batch * height * width
        size = (1, width)
    layer = EngineLayer(
        name=shape.name,
        depthwise=unit and max(shape.kernel) <= hardware.accelerator.depthwise_kernel,
        mode=mode,
        input_format=source,
        weight_format=array.weight_format(mode.weight_bits),
        output_format=array.activation_format(bits, signed) if bits else None,
        weights=_zeros(np.uint8, *shape.kernel, channels // shape.groups, shape.outputs),
        bias=_zeros(np.int64, shape.outputs),
        multiplier=_zeros(np.uint16, shape.outputs),
        shift=_zeros(np.uint8, shape.outputs),
        images=batch,
        height=height,
        width=width,
        channels=channels,
        size=size,
        stride=shape.stride,
        padding=shape.padding[:2],
        groups=shape.groups,
    )
    groups = layer.column_tiles(array) * layer.lanes
    if groups > hardware.accelerator.parameter_groups:
        raise PlanError(
            f"{shape.name}: {shape.outputs} outputs are {groups} groups of array.columns; must be "
            f"at most {hardware.accelerator.parameter_groups}; raise accelerator.parameter_groups"
        )
    return layer


def _zeros(dtype: type[Scalar], *shape: int) -> NDArray[Scalar]:
    """Return one 0 that looks like an array."""
    return np.ndarray(shape, dtype, bytes(8), strides=(0,) * len(shape))


def layer_cycles(
    shape: LayerShape,
    mode: PrecisionMode,
    machine: Machine,
    output_bits: int | None = None,
    batch: int = 1,
    packed: bool = False,
) -> LayerCycles:
    """Return what a layer takes.

    Parameters
    ----------
    shape, mode, output_bits, batch
        As `engine_layer` takes them.
    machine : Machine
    packed : bool
        The host prepares the input, as it may that of a network's first layer.
    """
    hardware = machine.hardware
    layer = engine_layer(shape, mode, hardware, output_bits, batch)
    layer, tiling, blocks = _chosen(layer, hardware, packed)
    known = constants(machine)
    # Designs that differ in what the tiles do not show take the same.
    key = (
        *(shape.kind, shape.input_shape, shape.output_shape, shape.kernel, shape.stride),
        *(shape.padding, shape.groups, mode, output_bits, batch, layer.depthwise, layer.kernel),
        *(tiling.height, tiling.width, output_layout(layer, hardware)),
        known.tobytes(),
    )
    counts = _KNOWN.get(key)
    if counts is None:
        counts = count_table(_table(layer, tiling, blocks, machine), known)
        if len(_KNOWN) >= KNOWN_LIMIT:
            _KNOWN.clear()
        _KNOWN[key] = counts
    memory_cycles = max(counts.read_beats, counts.write_beats) * machine.memory.beat_cycles
    return LayerCycles(
        name=shape.name,
        mode=mode,
        depthwise=layer.depthwise,
        tile=(tiling.height, tiling.width),
        macs=batch * shape.macs,
        peak=machine.array.rows * machine.array.columns * mode.macs,
        memory_cycles=int(np.ceil(memory_cycles)),
        counts=counts,
    )


def _chosen(
    layer: EngineLayer, hardware: Hardware, packed: bool
) -> tuple[EngineLayer, Tiling, int]:
    """Return the layer, its input prepared as takes the fewest cycles, its tiling and blocks."""
    ways = []
    for way in [way for way, _ in packings(layer)] if packed else [layer]:
        size = pixel_bytes(way.channels, way.mode.activation_bits, hardware.array.rows)
        blocks = size // hardware.array.rows
        ways.append((way, choose(way, blocks, hardware), blocks))
    return min(ways, key=lambda each: each[1].cycles)


def _table(layer: EngineLayer, tiling: Tiling, blocks: int, machine: Machine) -> Table:
    """Return what the kernel is told of a layer's tiles.

    All they need lies in memory one after the other, as a plan of one layer would have it.
    """
    hardware = machine.hardware
    array = hardware.array
    column_tiles = layer.column_tiles(array)
    taps = layer.kernel[0] * layer.kernel[1]
    rows = taps if layer.depthwise else taps * layer.walk(array).count * array.rows
    pixels = layer.images * layer.size[0] * layer.size[1]
    parts = {
        "list": tiling.count * DESCRIPTOR_BYTES,
        "weights": column_tiles * rows * array.columns * layer.mode.channels,
        "parameters": column_tiles * layer.lanes * array.columns * PARAMETER_BYTES,
        "input": layer.images * layer.height * layer.width * blocks * array.rows,
        "output": pixels * output_layout(layer, hardware).pixel_bytes,
    }
    addresses, end = {}, 0
    for name, length in parts.items():
        addresses[name] = end
        end += aligned(length)
    columns, shape = tile_columns(layer, tiling, blocks, addresses, hardware)
    return tile_table(columns, shape, machine)
