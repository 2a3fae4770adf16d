"""Ways to prepare the network's input, which the host does for the accelerator.

A first layer has few channels, and rows of the array that no channel fills stand idle. Kernel
positions can take their place: those of a row of the kernel, or all of them, become channels of
a pixel. What is read from memory grows, and passes get fewer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dybit.sim.board_driver import Operation
from dybit.sim.runtime.engine_layer import EngineLayer, in_a_row

__all__ = ["packings"]


def packings(layer: EngineLayer) -> Iterator[tuple[EngineLayer, Operation | None]]:
    """Yield ways to run a layer whose input the host prepares, each with the windows to make.

    None stands for pixels as they are. Padding that is folded in enters as the value 0.
    """
    yield layer, None
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    pad_y, pad_x = layer.padding
    if layer.groups > 1 or layer.kernel == (1, 1):
        return
    padded_codes = layer.input_format.has_zero
    if kernel_w > 1 and (padded_codes or not pad_x):
        row = replace(
            layer,
            weights=layer.weights.reshape(kernel_h, 1, -1, layer.outputs),
            width=layer.size[1],
            channels=kernel_w * layer.channels,
            stride=(stride_y, 1),
            padding=(pad_y, 0),
        )
        yield row, {"kernel": [1, kernel_w], "stride": [1, stride_x], "padding": [0, pad_x]}
    if padded_codes or not pad_x + pad_y:
        whole = replace(
            layer,
            weights=layer.weights.reshape(1, 1, -1, layer.outputs),
            height=layer.size[0],
            width=layer.size[1],
            channels=kernel_h * kernel_w * layer.channels,
            stride=(1, 1),
            padding=(0, 0),
        )
        fold = {name: list(getattr(layer, name)) for name in ("kernel", "stride", "padding")}
        yield in_a_row(whole), fold
