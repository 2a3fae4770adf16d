"""One layer alone on a device: random operands of a given shape, to measure and to compare."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dybit.quant.formats import NumberFormat
from dybit.quant.precision import PrecisionMode
from dybit.quant.tensor import fixed_point
from dybit.quant.workloads import LayerKind, LayerShape
from dybit.sim.board_driver import ALIGNMENT, DESCRIPTOR_BYTES, Device, Fields, Report
from dybit.sim.runtime.engine_layer import EngineLayer, Hardware, check, in_a_row
from dybit.sim.runtime.inputs import packings
from dybit.sim.runtime.packing import pixel_bytes
from dybit.sim.runtime.tiles import tiles
from dybit.sim.runtime.tiling import choose, output_layout

__all__ = ["LayerRun", "place", "random_layer"]

GUARD_BYTES = 4096
"""Bytes around the output that must stay as they are."""

GUARD = 0xA5


@dataclass(frozen=True, slots=True, eq=False)
class LayerRun:
    """A layer's memory and descriptors.

    Attributes
    ----------
    layer : EngineLayer
    fields : list of dict of str to int
        Descriptors; addresses count from the run's first byte.
    image : ndarray of uint8
        Memory from there on, before the run.
    output : slice
        The bytes of `image` that the run writes.
    list_address : int
    """

    layer: EngineLayer
    fields: list[Fields]
    image: NDArray[np.uint8]
    output: slice
    list_address: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates of use, those on padding included."""
        layer = self.layer
        pixels = layer.images * layer.size[0] * layer.size[1]
        return pixels * int(layer.weights[..., 0].size) * layer.outputs

    def run(self, device: Device) -> tuple[Report, NDArray[np.uint8]]:
        """Run it on a device; return how it ended and its memory afterwards."""
        base = device.allocate(self.image.size)
        device.write(base, self.image)
        device.write(base + self.list_address, device.descriptors(self.fields, base))
        report = device.execute(base + self.list_address, len(self.fields))
        return report, device.read(base, self.image.size)


def random_layer(
    shape: LayerShape, mode: PrecisionMode, hardware: Hardware, seed: int = 0
) -> EngineLayer:
    """Return a layer with random weights and biases whose results spread over the output's codes.

    Input and output are unsigned where the array has that, of the same width; DyBit's exponent
    limit is 2 where there is a choice.

    Parameters
    ----------
    shape : LayerShape
        A convolution or a linear layer.
    mode : PrecisionMode
    hardware : Hardware
    seed : int

    Raises
    ------
    PlanError
        If the hardware cannot run it.
    """
    rng = np.random.default_rng(seed)
    array = hardware.array
    signed = False not in array.signednesses
    input_format = array.activation_format(mode.activation_bits, signed, 2)
    weight_format = array.weight_format(mode.weight_bits, 2)
    height, width, channels = shape.input_shape
    depthwise = (
        shape.kind is LayerKind.DEPTHWISE
        and shape.outputs == channels
        and max(shape.kernel) <= hardware.accelerator.depthwise_kernel
    )
    size = (*shape.kernel, channels // shape.groups, shape.outputs)
    weights = _codes(rng, weight_format, size)
    reduction = weights[..., 0].size
    spread = _spread(weight_format) * _spread(input_format) * np.sqrt(reduction)
    ratio = input_format.max_integer / (3 * spread) * rng.uniform(0.7, 1.4, shape.outputs)
    multiplier, shift = fixed_point(ratio, shape.name)
    layer = EngineLayer(
        name=shape.name,
        depthwise=depthwise,
        mode=mode,
        input_format=input_format,
        weight_format=weight_format,
        output_format=input_format,
        weights=weights,
        bias=np.rint(rng.normal(0, spread, shape.outputs)).astype(np.int64),
        multiplier=multiplier,
        shift=shift,
        images=1,
        height=height,
        width=width,
        channels=channels,
        size=shape.output_shape[:2],
        stride=shape.stride,
        padding=shape.padding[:2],
        groups=shape.groups,
    )
    if shape.kernel == shape.stride == (1, 1) and not any(shape.padding):
        layer = in_a_row(layer)
    check(layer, hardware)
    return layer


def place(layer: EngineLayer, hardware: Hardware, seed: int = 0, packed: bool = False) -> LayerRun:
    """Lay a layer's memory out, its input random, and tile it.

    Parameters
    ----------
    layer : EngineLayer
    hardware : Hardware
    seed : int
    packed : bool
        Let the host prepare the input, as it may that of a network's first layer.
    """
    array = hardware.array
    ways = [way for way, _ in packings(layer)] if packed else [layer]
    bits = layer.mode.activation_bits
    sizes = [pixel_bytes(way.channels, bits, array.rows) for way in ways]
    tilings = [
        choose(way, size // array.rows, hardware) for way, size in zip(ways, sizes, strict=True)
    ]
    best = min(range(len(ways)), key=lambda i: tilings[i].cycles)
    layer, pixel, tiling = ways[best], sizes[best], tilings[best]

    rng = np.random.default_rng(seed)
    # Bytes beyond a pixel's channels are random too: nothing may depend on them.
    content = rng.integers(0, 256, layer.images * layer.height * layer.width * pixel)
    result = layer.images * layer.size[0] * layer.size[1]
    parts = {
        "list": np.zeros(tiling.count * DESCRIPTOR_BYTES, np.uint8),
        "weights": layer.weight_blob(array),
        "parameters": layer.parameter_blob(array),
        "input": content.astype(np.uint8),
        "before": np.full(GUARD_BYTES, GUARD, np.uint8),
        "output": np.full(result * output_layout(layer, hardware).pixel_bytes, GUARD, np.uint8),
        "after": np.full(GUARD_BYTES, GUARD, np.uint8),
    }
    addresses, end = {}, 0
    for name, part in parts.items():
        addresses[name] = end
        end += -(-part.size // ALIGNMENT) * ALIGNMENT
    image = np.full(end, GUARD, np.uint8)
    for name, part in parts.items():
        image[addresses[name] : addresses[name] + part.size] = part
    fields = list(tiles(layer, tiling, pixel // array.rows, addresses, hardware))
    fields[-1]["last"] = 1
    output = slice(addresses["output"], addresses["output"] + parts["output"].size)
    return LayerRun(layer, fields, image, output, addresses["list"])


def _codes(
    rng: np.random.Generator, fmt: NumberFormat, shape: tuple[int, ...]
) -> NDArray[np.uint8]:
    """Return random codes, none that the format does not produce."""
    codes: NDArray[np.uint8] = rng.choice(fmt.sorted_codes, shape).astype(np.uint8)
    return codes


def _spread(fmt: NumberFormat) -> float:
    """Return the root mean square of a format's integers, each code as likely as any other."""
    integers = fmt.integers(fmt.sorted_codes).astype(np.float64)
    return float(np.sqrt(np.mean(integers**2)))
