"""Layers of a network as the accelerator sees them."""

from __future__ import annotations

from typing import Any

import numpy as np

from dybit.quant.layers import AvgPool2d, Conv2d, Linear
from dybit.sim.runtime.engine_layer import EngineLayer, Hardware, in_a_row

__all__ = ["average", "convolution", "flattened", "linear"]


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
