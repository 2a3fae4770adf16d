"""A layer as the accelerator sees it: a convolution over images of packed pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dybit.quant.accelerator_config import AcceleratorConfig
from dybit.quant.array_config import ArrayConfig
from dybit.quant.config_errors import ConfigError
from dybit.quant.formats import DyBit, NumberFormat
from dybit.quant.layers import AvgPool2d, Conv2d, Linear
from dybit.quant.precision import MODES, PrecisionMode
from dybit.sim.board_driver import PlanError
from dybit.sim.runtime import packing

__all__ = ["EngineLayer", "Hardware", "average", "check", "convolution", "flattened", "linear"]

Pair = tuple[int, int]
CODE_WIDTHS = {2: 0, 4: 1, 8: 2}


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


def convolution(
    layer: Conv2d, shape: tuple[int, ...], batch: int, hardware: Hardware
) -> EngineLayer:
    """Return a convolution of a batch of images of `shape`, (H, W, C)."""
    unit = layer.groups == shape[2] == layer.outputs and _unit_takes(hardware, layer)
    height, width, _ = layer.output_shape(shape)
    whole = EngineLayer(
        **_common(layer),
        depthwise=unit,
        weights=layer.weights,
        images=batch,
        height=shape[0],
        width=shape[1],
        channels=shape[2],
        size=(height, width),
        stride=layer.stride,
        padding=layer.padding,
        groups=layer.groups,
    )
    if layer.kernel == layer.stride == (1, 1) and layer.padding == (0, 0):
        return in_a_row(whole)
    return whole


def linear(layer: Linear, shape: tuple[int, ...], batch: int) -> EngineLayer:
    """Return a linear layer on the last axis of `shape`: a row of pixels."""
    pixels = batch * int(np.prod(shape[:-1]))
    return EngineLayer(
        **_common(layer),
        depthwise=False,
        weights=layer.weights[None, None],
        images=1,
        height=1,
        width=pixels,
        channels=shape[-1],
        size=(1, pixels),
    )


def flattened(layer: Linear, shape: tuple[int, ...], batch: int) -> EngineLayer:
    """Return a linear layer on all of an image of `shape`, (H, W, C): a kernel as large."""
    height, width, channels = shape
    return EngineLayer(
        **_common(layer),
        depthwise=False,
        weights=layer.weights.reshape(height, width, channels, -1),
        images=1,
        height=batch * height,
        width=width,
        channels=channels,
        size=(batch, 1),
        stride=(height, 1),
    )


def average(
    layer: AvgPool2d, shape: tuple[int, ...], batch: int, hardware: Hardware
) -> EngineLayer | None:
    """Return average pooling as a depthwise convolution, or None where no mode has a weight 1."""
    array, channels = hardware.array, shape[2]
    for mode in reversed(array.modes):
        if mode.activation_bits != layer.input.format.bits:
            continue
        fmt = array.weight_format(mode.weight_bits)
        ones = fmt.sorted_codes[fmt.integers(fmt.sorted_codes) == 1]
        if not ones.size or not fmt.has_zero:
            continue
        height, width, _ = layer.output_shape(shape)
        full = np.ones(channels, np.int64)
        return EngineLayer(
            name=layer.name,
            depthwise=_unit_takes(hardware, layer),
            mode=mode,
            input_format=layer.input.format,
            weight_format=fmt,
            output_format=layer.output.format,
            weights=np.full((*layer.kernel, 1, channels), ones[0], np.uint8),
            bias=0 * full,
            multiplier=(layer.multiplier * full).astype(np.uint16),
            shift=(layer.shift * full).astype(np.uint8),
            images=batch,
            height=shape[0],
            width=shape[1],
            channels=channels,
            size=(height, width),
            stride=layer.stride,
            groups=channels,
        )
    return None


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


def _unit_takes(hardware: Hardware, layer: Conv2d | AvgPool2d) -> bool:
    """Return whether the depthwise unit has room for a kernel."""
    return max(layer.kernel) <= hardware.accelerator.depthwise_kernel


def _common(layer: Conv2d | Linear) -> dict[str, Any]:
    return {
        "name": layer.name,
        "mode": layer.mode,
        "input_format": layer.input.format,
        "weight_format": layer.weight_format,
        "output_format": None if layer.output is None else layer.output.format,
        "bias": layer.bias,
        "multiplier": layer.multiplier,
        "shift": layer.shift,
        "relu": layer.relu,
        "max_code": layer.max_code,
    }


def _limit(fmt: NumberFormat) -> int:
    """Return the exponent limit for the hardware; formats without one do not look at it."""
    return fmt.exponent_limit if isinstance(fmt, DyBit) else 0
