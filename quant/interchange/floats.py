"""Layers that stay in floating point as operators of ONNX."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dybit.quant.interchange.nodes import Graph
from dybit.quant.layers import Float

__all__ = ["FLOATS", "channels_first", "channels_last"]


def channels_first(graph: Graph, x: str) -> str:
    """Return (N, H, W, C) as (N, C, H, W)."""
    return graph.add("Transpose", x, perm=[0, 3, 1, 2])


def channels_last(graph: Graph, x: str) -> str:
    """Return (N, C, H, W) as (N, H, W, C)."""
    return graph.add("Transpose", x, perm=[0, 2, 3, 1])


def _array(graph: Graph, layer: Float, name: str) -> str:
    return graph.constant(layer.arrays[name], f"{layer.name}.{name}")


def _affine(graph: Graph, layer: Float, x: str) -> str:
    scaled = graph.add("Mul", x, _array(graph, layer, "factor"))
    return graph.add("Add", scaled, _array(graph, layer, "offset"))


def _clamp(graph: Graph, layer: Float, x: str) -> str:
    bounds = (graph.constant(np.float64(layer.parameters[name])) for name in ("low", "high"))
    return graph.add("Clip", x, *bounds)


def _silu(graph: Graph, layer: Float, x: str) -> str:
    return graph.add("Mul", x, graph.add("Sigmoid", x))


def _gelu(graph: Graph, layer: Float, x: str) -> str:
    return graph.add("Gelu", x, approximate="tanh" if layer.parameters["tanh"] else "none")


def _hardsigmoid(graph: Graph, layer: Float, x: str) -> str:
    # HardSigmoid's own slope is a float32, in which there is no 1/6.
    sixth = graph.add("Div", x, graph.constant(np.float64(6)))
    moved = graph.add("Add", sixth, graph.constant(np.float64(0.5)))
    return graph.add("Clip", moved, graph.constant(np.float64(0)), graph.constant(np.float64(1)))


def _hardswish(graph: Graph, layer: Float, x: str) -> str:
    return graph.add("Mul", x, _hardsigmoid(graph, layer, x))


def _leaky_relu(graph: Graph, layer: Float, x: str) -> str:
    slope = graph.constant(np.float64(layer.parameters["slope"]))
    negative = graph.add("Less", x, graph.constant(np.float64(0)))
    return graph.add("Where", negative, graph.add("Mul", x, slope), x)


def _softmax(graph: Graph, layer: Float, x: str) -> str:
    return graph.add("Softmax", x, axis=layer.parameters["axis"] + 1)


def _layer_norm(graph: Graph, layer: Float, x: str) -> str:
    axes = list(range(-layer.arrays["weight"].ndim, 0))
    over = graph.constant(np.array(axes))
    centred = graph.add("Sub", x, graph.add("ReduceMean", x, over))
    variance = graph.add("ReduceMean", graph.add("Mul", centred, centred), over)
    # LayerNormalization's epsilon is a float32.
    epsilon = graph.constant(np.float64(layer.parameters["epsilon"]))
    deviation = graph.add("Sqrt", graph.add("Add", variance, epsilon))
    weighted = graph.add(
        "Mul", graph.add("Div", centred, deviation), _array(graph, layer, "weight")
    )
    return graph.add("Add", weighted, _array(graph, layer, "bias"))


def _mean(graph: Graph, layer: Float, x: str) -> str:
    axes = graph.constant(np.array([axis + 1 for axis in layer.parameters["axes"]]))
    return graph.add("ReduceMean", x, axes, keepdims=int(layer.parameters["keep"]))


def _avg_pool2d(graph: Graph, layer: Float, x: str) -> str:
    window = layer.parameters
    pooled = graph.add(
        "AveragePool",
        channels_first(graph, x),
        kernel_shape=list(window["kernel"]),
        strides=list(window["stride"]),
    )
    return channels_last(graph, pooled)


def _conv2d(graph: Graph, layer: Float, x: str) -> str:
    window = layer.parameters
    weight = graph.add("Transpose", _array(graph, layer, "weight"), perm=[3, 2, 0, 1])
    convolved = graph.add(
        "Conv",
        channels_first(graph, x),
        weight,
        _array(graph, layer, "bias"),
        strides=list(window["stride"]),
        pads=list(window["padding"]) * 2,
        dilations=list(window["dilation"]),
        group=window["groups"],
    )
    return channels_last(graph, convolved)


def _linear(graph: Graph, layer: Float, x: str) -> str:
    product = graph.add("MatMul", x, _array(graph, layer, "weight"))
    return graph.add("Add", product, _array(graph, layer, "bias"))


def _operator(operator: str) -> Callable[..., str]:
    return lambda graph, layer, *inputs: graph.add(operator, *inputs)


FLOATS: dict[str, Callable[..., str]] = {
    "affine": _affine,
    "add": _operator("Add"),
    "subtract": _operator("Sub"),
    "multiply": _operator("Mul"),
    "clamp": _clamp,
    "sigmoid": _operator("Sigmoid"),
    "tanh": _operator("Tanh"),
    "silu": _silu,
    "gelu": _gelu,
    "hardsigmoid": _hardsigmoid,
    "hardswish": _hardswish,
    "leaky_relu": _leaky_relu,
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "mean": _mean,
    "avg_pool2d": _avg_pool2d,
    "conv2d": _conv2d,
    "linear": _linear,
    "matmul": _operator("MatMul"),
}
"""What appends each operation but "constant", which has no input, and returns its result."""
