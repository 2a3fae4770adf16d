"""Runs a quantised network layer by layer and keeps everything it computed.

The arithmetic of convolution and linear layers comes from a backend: the golden model, or
anything that answers alike, such as the compiled accelerator. What lies between them (pooling
and flattening) only moves codes or sums a few of them, and is the golden model's here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dybit.quant.layers import AvgPool2d, ComputeLayer, Conv2d, Layer, Linear, MaxPool2d
from dybit.quant.network import QuantNetwork
from dybit.sim import golden

__all__ = ["Backend", "GoldenBackend", "LayerTrace", "Trace", "compare", "run"]

Codes = NDArray[np.uint8]
Integers = NDArray[np.int64]


class Backend(Protocol):
    """What computes convolution and linear layers."""

    def compute(self, layer: Conv2d | Linear, codes: Codes) -> tuple[Integers, Codes | None]:
        """Return accumulators without bias and, unless the layer's output is raw, codes.

        Parameters
        ----------
        layer : Conv2d or Linear
        codes : ndarray of uint8, shape (N, H, W, C) or (N, K)
            In the format of the layer's input.
        """


class GoldenBackend:
    """The golden model as a backend."""

    def compute(self, layer: Conv2d | Linear, codes: Codes) -> tuple[Integers, Codes | None]:
        """Return accumulators and codes, exactly."""
        if isinstance(layer, Conv2d):
            accumulators = golden.conv2d(
                codes,
                layer.input.format,
                layer.weights,
                layer.weight_format,
                layer.stride,
                layer.padding,
            )
        else:
            accumulators = golden.matmul(
                codes, layer.input.format, layer.weights, layer.weight_format
            )
        if layer.output is None:
            return accumulators, None
        return accumulators, golden.requantize(
            accumulators,
            layer.bias,
            layer.multiplier,
            layer.shift,
            layer.output.format,
            layer.relu,
            layer.max_code,
        )


@dataclass(frozen=True, slots=True, eq=False)
class LayerTrace:
    """What one layer computed.

    Parameters
    ----------
    layer : Layer
    accumulators : ndarray of int64, optional
        Sums without bias; None for layers other than convolution and linear.
    codes : ndarray of uint8, optional
        Output codes; None where the accumulators are the output.
    """

    layer: Layer
    accumulators: Integers | None
    codes: Codes | None


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What a network computed.

    Parameters
    ----------
    input : ndarray of uint8
        Codes of the images.
    layers : dict of str to LayerTrace
        By layer name, in order.
    logits : ndarray of float64
        Accumulators of the last layer with their bias, as real numbers.
    """

    input: Codes
    layers: dict[str, LayerTrace]
    logits: NDArray[np.float64]

    @property
    def predictions(self) -> NDArray[np.intp]:
        """Index of the largest logit of each image."""
        best: NDArray[np.intp] = np.argmax(self.logits, axis=-1)
        return best


def run(
    network: QuantNetwork,
    images: NDArray[np.floating[Any]],
    progress: Callable[[], None] | None = None,
    backend: Backend | None = None,
) -> Trace:
    """Run images through a network.

    Parameters
    ----------
    network : QuantNetwork
    images : ndarray of float, shape (N, *network.input_shape)
        NHWC; divided by the input's scale in their own precision, then encoded.
    progress : callable, optional
        Called after each layer.
    backend : Backend, optional
        The golden model by default.

    Raises
    ------
    TypeError, ValueError
        If the images are not floats of that shape, or hold NaN.
    """
    images = np.asarray(images)
    if images.dtype not in (np.float32, np.float64):
        raise TypeError(f"images must be float32 or float64, not {images.dtype}")
    if images.shape[1:] != network.input_shape:
        expected = ", ".join(("N", *map(str, network.input_shape)))
        raise ValueError(f"images must have shape ({expected}), not {images.shape}")
    backend = GoldenBackend() if backend is None else backend
    scale = images.dtype.type(network.input.scale)
    first = codes = network.input.format.encode(images / scale)
    layers: dict[str, LayerTrace] = {}
    for layer in network.layers:
        accumulators, output = _compute(layer, codes, backend)
        layers[layer.name] = LayerTrace(layer, accumulators, output)
        if output is not None:
            codes = output
        if progress is not None:
            progress()
    # The network has made sure that its last layer, and no other, is raw.
    assert accumulators is not None
    assert isinstance(layer, ComputeLayer)
    return Trace(first, layers, (accumulators + layer.bias) * layer.accumulator_scale)


def compare(trace: Trace, other: Trace) -> tuple[int, int]:
    """Return how many accumulators and codes two runs of a network have, and how many differ."""
    compared = differing = 0
    for name, layer in trace.layers.items():
        for field in ("accumulators", "codes"):
            mine, theirs = getattr(layer, field), getattr(other.layers[name], field)
            if mine is not None:
                compared += mine.size
                differing += int(np.count_nonzero(mine != theirs))
    return compared, differing


def _compute(layer: Layer, codes: Codes, backend: Backend) -> tuple[Integers | None, Codes | None]:
    if isinstance(layer, Conv2d | Linear):
        return backend.compute(layer, codes)
    fmt = layer.input.format
    if isinstance(layer, MaxPool2d):
        return None, golden.max_pool(codes, fmt, layer.kernel, layer.stride, layer.padding)
    if isinstance(layer, AvgPool2d):
        return None, golden.average_pool(
            codes,
            fmt,
            layer.kernel,
            layer.stride,
            layer.multiplier,
            layer.shift,
            layer.output.format,
        )
    return None, codes.reshape(len(codes), int(np.prod(codes.shape[1:])))
