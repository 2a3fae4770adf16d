"""Runs a quantised network layer by layer and keeps everything it computed.

The arithmetic of convolution and linear layers comes from a backend: the golden model, or
anything that answers alike, such as the compiled accelerator. What lies between them (additions,
pooling, products of activations, moves) is the golden model's here, and what stays in floating
point runs in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dybit.quant.layers import (
    INPUT,
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Float,
    Layer,
    Linear,
    MatMul,
    MaxPool2d,
    QuantTensor,
    View,
)
from dybit.quant.network import QuantNetwork
from dybit.sim import float_operations, golden, joins

__all__ = ["Backend", "GoldenBackend", "LayerTrace", "Trace", "compare", "run"]

Codes = NDArray[np.uint8]
Integers = NDArray[np.int64]
Reals = NDArray[np.float64]


class Backend(Protocol):
    """What computes convolution and linear layers."""

    def compute(self, layer: Conv2d | Linear, codes: Codes) -> tuple[Integers, Codes | None]:
        """Return accumulators without bias and, unless the layer's output is raw, codes.

        Parameters
        ----------
        layer : Conv2d or Linear
        codes : ndarray of uint8, shape (N, H, W, C) or (N, ..., K)
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
                layer.groups,
            )
        else:
            rows = codes.reshape(-1, layer.reduction)
            accumulators = golden.matmul(
                rows, layer.input.format, layer.weights, layer.weight_format
            ).reshape(*codes.shape[:-1], layer.outputs)
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
        Sums without bias of convolutions, linear layers and products of activations.
    codes : ndarray of uint8, optional
        Output codes.
    reals : ndarray of float64, optional
        The output where it is not codes; accumulators with their bias, as real numbers.
    """

    layer: Layer
    accumulators: Integers | None
    codes: Codes | None
    reals: Reals | None


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What a network computed.

    Parameters
    ----------
    input : ndarray of uint8, optional
        Codes of the images; None where only float layers read them.
    layers : dict of str to LayerTrace
        By layer name, in order.
    logits : ndarray of float64
        Output of the last layer, real numbers.
    """

    input: Codes | None
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
        Channels last; divided by the input's scale in their own precision, then encoded, unless
        the network takes them as they are.
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
    first = None
    if network.input is not None:
        first = network.input.format.encode(images / images.dtype.type(network.input.scale))
    layers: dict[str, LayerTrace] = {}
    reals = images.astype(np.float64)
    values = {INPUT: _Value(network.input, first, None if first is not None else reals)}
    for layer in network.layers:
        step = _compute(layer, [values[name] for name in layer.inputs], len(images), backend)
        layers[layer.name] = step
        values[layer.name] = _Value(layer.makes, step.codes, step.reals)
        if progress is not None:
            progress()
    # The network has made sure that its last layer gives real numbers.
    assert step.reals is not None
    return Trace(first, layers, step.reals)


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


@dataclass(frozen=True, slots=True, eq=False)
class _Value:
    """A tensor of a run: codes and how they are read, or real numbers."""

    tensor: QuantTensor | None
    codes: Codes | None
    reals: Reals | None

    @property
    def elements(self) -> NDArray[Any]:
        """Codes or real numbers, whichever it holds."""
        elements = self.reals if self.codes is None else self.codes
        assert elements is not None
        return elements

    @property
    def real(self) -> Reals:
        """The real numbers, codes decoded."""
        if self.tensor is None:
            return self.elements
        integers = self.tensor.format.integers(self.elements)
        return integers.astype(np.float64) * self.tensor.unit


def _compute(layer: Layer, inputs: list[_Value], batch: int, backend: Backend) -> LayerTrace:
    match layer:
        case Conv2d() | Linear():
            accumulators, codes = backend.compute(layer, inputs[0].elements)
            reals = None
            if codes is None:
                reals = (accumulators + layer.bias) * layer.accumulator_scale
            return LayerTrace(layer, accumulators, codes, reals)
        case MatMul():
            (a, b), (first, second) = layer.operands, inputs
            accumulators = joins.activation_matmul(
                first.elements, a.format, second.elements, b.format
            )
            if layer.output is None:
                reals = accumulators.astype(np.float64) * layer.accumulator_scale
                return LayerTrace(layer, accumulators, None, reals)
            codes = joins.requantize_all(
                accumulators,
                layer.multiplier,
                layer.shift,
                layer.output.format,
                layer.relu,
                layer.max_code,
            )
            return LayerTrace(layer, accumulators, codes, None)
        case Float():
            reals = float_operations.evaluate(layer, [value.real for value in inputs], batch)
            if layer.output is None:
                return LayerTrace(layer, None, None, reals)
            codes = layer.output.format.encode(reals / layer.output.scale)
            return LayerTrace(layer, None, codes, None)
        case _:
            if layer.makes is None:
                return LayerTrace(layer, None, None, _pass(layer, [v.real for v in inputs]))
            return LayerTrace(layer, None, _pass(layer, [v.elements for v in inputs]), None)


def _pass(layer: Layer, inputs: list[NDArray[Any]]) -> NDArray[Any]:
    """Return the codes, or the real numbers, of a layer without accumulators of its own."""
    match layer:
        case MaxPool2d(input=tensor):
            window = layer.kernel, layer.stride, layer.padding
            if tensor is None:
                return joins.max_pool_reals(inputs[0], *window)
            return golden.max_pool(inputs[0], tensor.format, *window)
        case AvgPool2d():
            return golden.average_pool(
                inputs[0],
                layer.input.format,
                layer.kernel,
                layer.stride,
                layer.multiplier,
                layer.shift,
                layer.output.format,
            )
        case Add(operands=(a, b)):
            return joins.add(
                (inputs[0], inputs[1]),
                (a.format, b.format),
                layer.multipliers,
                layer.shift,
                layer.output.format,
                layer.relu,
                layer.max_code,
            )
        case Concat():
            return np.concatenate(inputs, axis=layer.axis + 1)
        case View():
            box = joins.view(inputs[0], layer.start, layer.sizes, layer.strides)
            return box.reshape(len(box), *layer.shape)
        case _:
            raise TypeError(f"layer must be one of a QuantNetwork, not {type(layer).__name__}")
