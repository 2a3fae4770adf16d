"""Waveforms of one tile: the smallest product that fills the array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dybit.quant.formats import SignMagnitude
from dybit.quant.layers import Conv2d
from dybit.quant.network import QuantNetwork
from dybit.scripts.console import replacing
from dybit.sim import executor
from dybit.sim.engine import MatrixEngine, Requantization
from dybit.sim.verilated import CompiledModel
from dybit.sim.windows import im2col

__all__ = ["trace_tile"]


def trace_tile(
    network: QuantNetwork, name: str, image: NDArray[np.float32], design: Path, path: Path
) -> int:
    """Write every signal of the array to a VCD file while it computes one tile of a convolution.

    Parameters
    ----------
    network : QuantNetwork
    name : str
        A convolution, not the network's first layer, with codes as output. Its first input
        channels meet its first output channels, as many of each as the array holds at a time.
    image : ndarray of float32, (H, W, C)
    design : Path
        Folder of the Verilog that `emit_array` wrote for the network's array.
    path : Path

    Returns
    -------
    int
        Clock cycles, from the first weight row to the last code.
    """
    layer = network.layer(name)
    assert isinstance(layer, Conv2d)
    assert layer.output is not None
    formats = layer.input.format, layer.weight_format, layer.output.format
    activation_format, weight_format, output_format = (
        fmt for fmt in formats if isinstance(fmt, SignMagnitude)
    )
    before = network.layers[network.layers.index(layer) - 1]
    codes = executor.run(network, image[None]).layers[before.name].codes
    assert codes is not None
    window = layer.kernel, layer.stride, layer.padding
    pixels = im2col(codes, *window).reshape(-1, layer.reduction)
    keep = im2col(np.ones_like(codes), *window).reshape(-1, layer.reduction) > 0

    array = network.config.array
    inputs = slice(array.rows * layer.mode.channels)
    outputs = slice(array.columns * layer.mode.lanes)
    requantization = Requantization(
        output_format,
        layer.bias[outputs],
        layer.multiplier[outputs],
        layer.shift[outputs],
        layer.relu,
        layer.max_code,
    )
    with replacing(path) as temporary, CompiledModel(design, temporary) as model:
        result = MatrixEngine(model).matmul(
            pixels[:, inputs],
            keep[:, inputs],
            activation_format,
            layer.matrix[inputs, outputs],
            weight_format,
            requantization,
        )
    return result.cycles
