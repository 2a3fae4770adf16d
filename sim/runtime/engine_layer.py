"""A layer as the accelerator sees it: a convolution over images of packed pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dybit.quant.accelerator_config import AcceleratorConfig
from dybit.quant.array_config import ArrayConfig
from dybit.quant.config_errors import ConfigError
from dybit.quant.formats import DyBit, NumberFormat
from dybit.quant.precision import MODES, PrecisionMode
from dybit.sim.board_driver import PlanError
from dybit.sim.runtime import packing

__all__ = ["CODE_WIDTHS", "EngineLayer", "Hardware", "check", "in_a_row"]

Pair = tuple[int, int]
CODE_WIDTHS = {2: 0, 4: 1, 8: 2}
"""What a descriptor calls the widths of output codes."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a plan is made for."""

    array: ArrayConfig
    accelerator: AcceleratorConfig

    @property
    def half(self) -> int:
        """Pixels of a tile, at most: half the accumulators."""
        return self.array.accumulator_depth // 2


@dataclass(frozen=True, slots=True, eq=False)
class EngineLayer:
    """A convolution as a list of tiles computes it.

    Attributes
    ----------
    name : str
    depthwise : bool
        Whether the depthwise unit runs it.
    mode : PrecisionMode
    input_format, weight_format : NumberFormat
    output_format : NumberFormat, optional
        None where the accumulators are the result.
    weights : ndarray of uint8, shape (kh, kw, channels of a group, outputs)
    bias, multiplier, shift : ndarray, shape (outputs,)
    images, height, width, channels : int
        Of the input.
    size : pair of int
        Rows and columns of output pixels of an image.
    stride, padding : pair of int
        Down and across; padding is above and left, and whatever it takes below and right.
    groups : int
    relu : bool
    max_code : int, optional
    """

    name: str
    depthwise: bool
    mode: PrecisionMode
    input_format: NumberFormat
    weight_format: NumberFormat
    output_format: NumberFormat | None
    weights: NDArray[np.uint8]
    bias: NDArray[np.int64]
    multiplier: NDArray[np.uint16]
    shift: NDArray[np.uint8]
    images: int
    height: int
    width: int
    channels: int
    size: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    groups: int = 1
    relu: bool = False
    max_code: int | None = None

    @property
    def kernel(self) -> Pair:
        """Height and width of the kernel."""
        return self.weights.shape[0], self.weights.shape[1]

    @property
    def outputs(self) -> int:
        """Output channels."""
        return int(self.weights.shape[3])

    @property
    def lanes(self) -> int:
        """Lanes of a column that are of use."""
        return 1 if self.depthwise else self.mode.lanes

    def column_tiles(self, array: ArrayConfig) -> int:
        """Return how many tiles of C columns the outputs are."""
        return -(-self.outputs // (array.columns * self.lanes))

    def walk(self, array: ArrayConfig) -> packing.Blocks:
        """Return the words of a pixel each column tile takes."""
        if self.depthwise:
            return packing.Blocks(1, 0)
        return packing.block_walk(array, self.mode, self.channels, self.outputs, self.groups)

    def output_bits(self, array: ArrayConfig) -> int:
        """Return the width of an output code, or of an accumulator in memory."""
        if self.output_format is not None:
            return self.output_format.bits
        return 32 if array.accumulator_lane_bits(self.mode) <= 32 else 64

    def weight_blob(self, array: ArrayConfig) -> NDArray[np.uint8]:
        """Return the weights as memory holds them."""
        if self.depthwise:
            return packing.depthwise_weights(array, self.mode, self.weights[:, :, 0])
        return packing.weights(array, self.mode, self.weights, self.groups)

    def parameter_blob(self, array: ArrayConfig) -> NDArray[np.uint8]:
        """Return the re-quantisation as memory holds it."""
        groups = self.column_tiles(array) * self.lanes
        return packing.parameters(array, self.bias, self.multiplier, self.shift, groups)

    def constant_fields(self, array: ArrayConfig) -> dict[str, int]:
        """Return the descriptor's fields that all its tiles have in common."""
        walk = self.walk(array)
        word = array.rows * self.mode.channels
        bits = self.output_bits(array)
        raw = self.output_format is None
        # A raw layer's output passes the encoder all the same; nobody looks at its codes.
        output = self.input_format if self.output_format is None else self.output_format
        largest = (1 << output.bits - output.signed) - 1
        return {
            "kind": int(self.depthwise),
            "mode": MODES.index(self.mode),
            "input_signed": int(self.input_format.signed),
            "input_limit": _limit(self.input_format),
            "weight_limit": _limit(self.weight_format),
            "output_width": CODE_WIDTHS[output.bits],
            "output_signed": int(output.signed),
            "output_limit": _limit(output),
            "relu": int(self.relu),
            "raw": bits // 32 if raw else 0,
            "max_code": largest if self.max_code is None else min(largest, self.max_code),
            "tail": (self.channels - 1) % word + 1,
            "kernel_height": self.kernel[0],
            "kernel_width": self.kernel[1],
            "block_count": walk.count,
            "block_step": walk.step,
            "column_tiles": self.column_tiles(array),
        }


def in_a_row(layer: EngineLayer) -> EngineLayer:
    """Return a layer of 1 x 1 windows with all pixels of all images in one row."""
    pixels = layer.images * layer.height * layer.width
    return replace(layer, images=1, height=1, width=pixels, size=(1, pixels))


def check(layer: EngineLayer, hardware: Hardware) -> None:
    """Refuse a layer that the hardware cannot run.

    Raises
    ------
    PlanError
        In one line, naming the layer, the value, what is allowed and what to do.
    """
    array = hardware.array
    for operand, fmt, decoded in (
        ("input", layer.input_format, array.decoded_activation_format),
        ("weights", layer.weight_format, array.decoded_weight_format),
    ):
        if array.family != fmt.FAMILY:
            raise PlanError(
                f"{layer.name}: {operand} must be {array.family_name}, not {fmt}; set array.family"
            )
        try:
            built = decoded(fmt)
        except KeyError:
            built = None
        if fmt != built:
            raise PlanError(
                f"{layer.name}: {operand} must be {built}, as the array is built, not {fmt}; "
                "quantise for this array"
            )
    if layer.input_format.signed not in array.signednesses:
        raise PlanError(
            f"{layer.name}: input must be {array.activations}, as the array is built, "
            f'not {layer.input_format}; set array.activations to "both"'
        )
    if layer.output_format is not None and not array.encodes(layer.output_format):
        raise PlanError(
            f"{layer.name}: output must be {array.encoded}, as the array is built, "
            f"not {layer.output_format}; add a mode with such activations to array.modes"
        )
    if layer.groups > 1 and not layer.depthwise and not layer.weight_format.has_zero:
        raise PlanError(
            f"{layer.name}: groups must be 1 with weights of {layer.weight_format}, which have "
            f"no zero, not {layer.groups}; choose another format"
        )
    try:
        array.check_layer(
            layer.name,
            layer.mode,
            layer.input_format,
            layer.weight_format,
            layer.weights[..., 0].size,
            max(-int(layer.bias.min()), int(layer.bias.max())),
        )
    except ConfigError as error:
        raise PlanError(str(error)) from None
    for axis in (0, 1):
        for name, value, limit in (
            ("kernel", layer.kernel[axis], 255),
            ("stride", layer.stride[axis], 255),
            ("padding", layer.padding[axis], layer.kernel[axis] - 1),
        ):
            if value > limit:
                raise PlanError(f"{layer.name}: {name} must be at most {limit}, not {value}")
    groups = layer.column_tiles(array) * layer.lanes
    if groups > hardware.accelerator.parameter_groups:
        raise PlanError(
            f"{layer.name}: {layer.outputs} outputs are {groups} groups of array.columns; must be "
            f"at most {hardware.accelerator.parameter_groups}; raise accelerator.parameter_groups"
        )


def _limit(fmt: NumberFormat) -> int:
    """Return the exponent limit for the hardware; formats without one do not look at it."""
    return fmt.exponent_limit if isinstance(fmt, DyBit) else 0
