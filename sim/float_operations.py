"""The layers that stay in floating point, in float64 on the host.

One machine gives one result. Between machines the last bit of an exponential may differ with the
library behind NumPy, and with it, rarely, a code; nothing else here depends on the machine but the
order of BLAS sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, expit

from dybit.quant.layers import Float
from dybit.sim.windows import im2col

__all__ = ["FUNCTIONS", "evaluate"]

Reals: TypeAlias = NDArray[np.float64]


def evaluate(layer: Float, inputs: list[Reals], batch: int) -> Reals:
    """Return the result of a float layer, (batch, ...), before it is rounded."""
    result: Reals = FUNCTIONS[layer.operation](layer, *inputs)
    if not inputs:
        result = np.broadcast_to(result, (batch, *result.shape))
    return result


def _affine(layer: Float, x: Reals) -> Reals:
    return x * layer.arrays["factor"] + layer.arrays["offset"]


def _clamp(layer: Float, x: Reals) -> Reals:
    low, high = layer.parameters["low"], layer.parameters["high"]
    result: Reals = np.clip(x, low, high)
    return result


def _gelu(layer: Float, x: Reals) -> Reals:
    if layer.parameters["tanh"]:
        inner = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))
    else:
        inner = erf(x / math.sqrt(2))
    result: Reals = 0.5 * x * (1 + inner)
    return result


def _hardsigmoid(layer: Float, x: Reals) -> Reals:
    return np.clip(x / 6 + 0.5, 0, 1)


def _softmax(layer: Float, x: Reals) -> Reals:
    axis = layer.parameters["axis"] + 1
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    result: Reals = powers / powers.sum(axis=axis, keepdims=True)
    return result


def _layer_norm(layer: Float, x: Reals) -> Reals:
    weight, bias = layer.arrays["weight"], layer.arrays["bias"]
    axes = tuple(range(x.ndim - weight.ndim, x.ndim))
    centred = x - x.mean(axis=axes, keepdims=True)
    variance = np.square(centred).mean(axis=axes, keepdims=True)
    deviation = np.sqrt(variance + float(layer.parameters["epsilon"]))
    result: Reals = centred / deviation * weight + bias
    return result


def _mean(layer: Float, x: Reals) -> Reals:
    axes = tuple(axis + 1 for axis in layer.parameters["axes"])
    result: Reals = x.mean(axis=axes, keepdims=layer.parameters["keep"])
    return result


def _avg_pool2d(layer: Float, x: Reals) -> Reals:
    windows = im2col(x, layer.parameters["kernel"], layer.parameters["stride"])
    result: Reals = windows.reshape(*windows.shape[:3], -1, x.shape[3]).mean(axis=3)
    return result


def _conv2d(layer: Float, x: Reals) -> Reals:
    weight, groups = layer.arrays["weight"], layer.parameters["groups"]
    (down, across), outputs = weight.shape[:2], weight.shape[3]
    steps = layer.parameters["dilation"]
    # A dilated kernel is a larger one with zeros between its taps.
    size = tuple(
        (extent - 1) * step + 1 for extent, step in zip((down, across), steps, strict=True)
    )
    wide = np.zeros((*size, *weight.shape[2:]))
    wide[:: steps[0], :: steps[1]] = weight
    windows = im2col(x, (size[0], size[1]), layer.parameters["stride"], layer.parameters["padding"])
    rows = windows.reshape(*windows.shape[:3], size[0] * size[1], groups, -1)
    wide = wide.reshape(size[0] * size[1], weight.shape[2], groups, -1)
    sums = np.einsum("nhwkgc,kcgo->nhwgo", rows, wide, optimize=True)
    result: Reals = sums.reshape(*windows.shape[:3], outputs) + layer.arrays["bias"]
    return result


def _linear(layer: Float, x: Reals) -> Reals:
    result: Reals = x @ layer.arrays["weight"] + layer.arrays["bias"]
    return result


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "constant": lambda layer: layer.arrays["value"],
    "affine": _affine,
    "add": lambda layer, x, y: x + y,
    "subtract": lambda layer, x, y: x - y,
    "multiply": lambda layer, x, y: x * y,
    "clamp": _clamp,
    "sigmoid": lambda layer, x: expit(x),
    "tanh": lambda layer, x: np.tanh(x),
    "silu": lambda layer, x: x * expit(x),
    "gelu": _gelu,
    "hardsigmoid": _hardsigmoid,
    "hardswish": lambda layer, x: x * _hardsigmoid(layer, x),
    "leaky_relu": lambda layer, x: np.where(x < 0, layer.parameters["slope"] * x, x),
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "mean": _mean,
    "avg_pool2d": _avg_pool2d,
    "conv2d": _conv2d,
    "linear": _linear,
    "matmul": lambda layer, x, y: x @ y,
}
"""The function of each operation of `dybit.quant.float_layers.OPERATIONS`."""
