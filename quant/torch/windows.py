"""Kernels, strides and paddings as modules and functions write them, checked for integer form."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dybit.quant.torch.modules import Pair, Shape
from dybit.quant.torch.operations import Operation

__all__ = ["adaptive_kernel", "conv_window", "pair", "pool_window"]


def pair(value: Any) -> Pair:
    """Return one number or two as two."""
    first, last = (value[0], value[-1]) if isinstance(value, tuple | list) else (value, value)
    return first, last


def conv_window(operation: Operation, shape: Shape) -> tuple[Pair, Pair] | str:
    """Return stride and padding of a convolution, or why it has no integer form."""
    fields = operation.fields
    weight: Tensor = fields["weight"]
    if len(shape) != 3:
        return f"its input has {len(shape)} axes without the batch, not 3"
    dilation = pair(fields.get("dilation", 1))
    if dilation != (1, 1):
        return f"dilation={dilation}"
    mode = getattr(operation.module, "padding_mode", "zeros")
    if mode != "zeros":
        return f"padding_mode={mode!r}"
    padding = fields.get("padding", 0)
    if padding == "same":
        height, width = weight.shape[2:]
        if not (height % 2 and width % 2):
            return f"padding='same' with a kernel of {height} x {width}"
        padding = (height // 2, width // 2)
    return pair(fields.get("stride", 1)), pair(0 if padding == "valid" else padding)


def pool_window(operation: Operation, shape: Shape) -> tuple[Pair, Pair, Pair] | str:
    """Return kernel, stride and padding of a pooling layer, or why it has no integer form."""
    fields = operation.fields
    if len(shape) != 3:
        return f"its input has {len(shape)} axes without the batch, not 3"
    kernel = pair(fields["kernel_size"])
    stride, padding = pair(fields.get("stride") or kernel), pair(fields.get("padding", 0))
    if pair(fields.get("dilation", 1)) != (1, 1):
        return f"dilation={fields['dilation']}"
    if fields.get("return_indices"):
        return "return_indices=True"
    if fields.get("divisor_override") is not None:
        return f"divisor_override={fields['divisor_override']}"
    if operation.kind == "avg_pool2d" and padding != (0, 0):
        return f"average pooling with padding={padding}"
    spare = [
        (extent + 2 * pad - size) % step
        for extent, pad, size, step in zip(shape[1:], padding, kernel, stride, strict=True)
    ]
    # Where windows fill the input exactly, there is nothing to round up.
    if fields.get("ceil_mode") and any(spare):
        return "ceil_mode=True"
    return kernel, stride, padding


def adaptive_kernel(operation: Operation, shape: Shape) -> Pair | str:
    """Return the kernel, and stride, of adaptive pooling, or why it has no integer form."""
    if len(shape) != 3:
        return f"its input has {len(shape)} axes without the batch, not 3"
    down, across = (
        extent if wanted is None else wanted
        for wanted, extent in zip(pair(operation.fields["output_size"]), shape[1:], strict=True)
    )
    if shape[1] % down or shape[2] % across:
        return f"output_size=({down}, {across}) of {shape[1]} x {shape[2]}"
    return shape[1] // down, shape[2] // across
