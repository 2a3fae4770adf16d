"""Layers that stay in floating point: what has no integer form, run in float64 on the host.

They read codes, as the real numbers these stand for, or real numbers, and give real numbers or,
where an integer layer reads the result, codes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dybit.quant.layer import Layer, Pair, Shape, window_counts
from dybit.quant.tensor import QuantTensor

__all__ = ["OPERATIONS", "Float", "Operation"]

_ShapeRule: TypeAlias = "Callable[[Float, tuple[Shape, ...]], Shape]"


@dataclass(frozen=True, slots=True)
class Operation:
    """What a kind of float layer takes.

    Attributes
    ----------
    inputs : int
        Tensors it reads.
    parameters : dict of str to type
        float, int, bool or tuple (of integers).
    arrays : tuple of str
        Names of its constants.
    shape : callable
        The shape of its output, from the layer and the shapes of its inputs.
    """

    inputs: int
    parameters: Mapping[str, type]
    arrays: tuple[str, ...]
    shape: _ShapeRule


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Float(Layer):
    """One operation in float64.

    Parameters
    ----------
    operation : str
        One of `OPERATIONS`.
    parameters : dict
        Those the operation takes.
    arrays : dict of str to ndarray of float64
        Constants the operation takes.
    output : QuantTensor, optional
        How the result is rounded; None where it stays as it is.
    """

    operation: str
    parameters: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    output: QuantTensor | None = None

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            raise self.error(
                f"operation must be one of {', '.join(OPERATIONS)}, not {self.operation!r}"
            )
        takes = OPERATIONS[self.operation]
        if len(self.inputs) != takes.inputs:
            raise self.error(
                f"{self.operation} must have {takes.inputs} inputs, not {len(self.inputs)}"
            )
        for what, given, wanted in (
            ("parameters", self.parameters, takes.parameters),
            ("arrays", self.arrays, takes.arrays),
        ):
            if set(given) != set(wanted):
                names, found = ", ".join(wanted) or "none", ", ".join(given) or "none"
                raise self.error(f"{what} of {self.operation} must be {names}, not {found}")
        for name, kind in takes.parameters.items():
            value = self.parameters[name]
            if type(value) is not kind or value != value:  # NaN alone differs from itself
                raise self.error(f"{name} must be {_WORDS[kind]}, not {value!r}")
        for name, array in self.arrays.items():
            if not isinstance(array, np.ndarray) or array.dtype != np.float64:
                raise self.error(f"{name} must be an array of float64")
            if not np.isfinite(array).all():
                raise self.error(f"{name} must be finite")

    @property
    def reads(self) -> None:
        return None

    @property
    def makes(self) -> QuantTensor | None:
        return self.output

    def output_shape(self, *shapes: Shape) -> Shape:
        return OPERATIONS[self.operation].shape(self, shapes)


_WORDS = {float: "a number", int: "an integer", bool: "true or false", tuple: "a list of integers"}


def _same(layer: Float, shapes: tuple[Shape, ...]) -> Shape:
    return shapes[0]


def _broadcast(layer: Float, shapes: tuple[Shape, ...]) -> Shape:
    constants = [array.shape for array in layer.arrays.values()]
    try:
        return np.broadcast_shapes(*shapes, *constants)
    except ValueError:
        texts = " and ".join(map(str, [*shapes, *constants]))
        raise layer.error(f"inputs must have shapes that broadcast, not {texts}") from None


def _affine(layer: Float, shapes: tuple[Shape, ...]) -> Shape:
    shape = _broadcast(layer, shapes)
    if shape != shapes[0]:
        raise layer.error(f"arrays must broadcast to {shapes[0]}, not make {shape} of it")
    return shape


def _axis(layer: Float, shapes: tuple[Shape, ...]) -> Shape:
    axis, (shape,) = layer.parameters["axis"], shapes
    if not 0 <= axis < len(shape):
        raise layer.error(f"axis must be an axis of {shape}, not {axis}")
    return shape


def _normalised(layer: Float, shapes: tuple[Shape, ...]) -> Shape:
    for name, array in layer.arrays.items():
        if not array.ndim or shapes[0][-array.ndim :] != array.shape:
            raise layer.error(f"{name} must have the last axes of {shapes[0]}, not {array.shape}")
    return shapes[0]


def _mean(layer: Float, shapes: tuple[Shape, ...]) -> Shape:
    axes, (shape,) = layer.parameters["axes"], shapes
    if any(type(axis) is not int or not 0 <= axis < len(shape) for axis in axes):
        raise layer.error(f"axes must be axes of {shape}, not {axes}")
    kept = layer.parameters["keep"]
    sizes = [1 if axis in axes else extent for axis, extent in enumerate(shape)]
    return tuple(size for axis, size in enumerate(sizes) if kept or axis not in axes)


def _window(layer: Float, field: str, least: int) -> Pair:
    pair: Pair = layer.parameters[field]
    if len(pair) != 2 or any(type(v) is not int or v < least for v in pair):
        raise layer.error(f"{field} must be two integers of at least {least}, not {pair!r}")
    return pair


def _avg_pool2d(layer: Float, shapes: tuple[Shape, ...]) -> Shape:
    (shape,) = shapes
    kernel, stride = _window(layer, "kernel", 1), _window(layer, "stride", 1)
    return (*window_counts(layer, shape, kernel, stride, (0, 0)), shape[2])


def _conv2d(layer: Float, shapes: tuple[Shape, ...]) -> Shape:
    (shape,), weight, groups = shapes, layer.arrays["weight"], layer.parameters["groups"]
    stride, padding = _window(layer, "stride", 1), _window(layer, "padding", 0)
    dilation = _window(layer, "dilation", 1)
    fits = len(shape) == 3 and weight.ndim == 4 and groups >= 1
    if not fits or weight.shape[2] * groups != shape[2] or weight.shape[3] % groups:
        raise layer.error(
            f"weight must be (kh, kw, inputs / groups, outputs), not {weight.shape} in {groups} "
            f"groups for an input of shape {shape}"
        )
    extent = [(size - 1) * step + 1 for size, step in zip(weight.shape[:2], dilation, strict=True)]
    counts = window_counts(layer, shape, (extent[0], extent[1]), stride, padding)
    return (*counts, weight.shape[3])


def _linear(layer: Float, shapes: tuple[Shape, ...]) -> Shape:
    (shape,), weight = shapes, layer.arrays["weight"]
    if weight.ndim != 2 or not shape or shape[-1] != len(weight):
        raise layer.error(f"input must have shape (..., {len(weight)}), not {shape}")
    return (*shape[:-1], weight.shape[1])


def _matmul(layer: Float, shapes: tuple[Shape, ...]) -> Shape:
    first, second = shapes
    fits = len(first) == len(second) >= 2 and first[:-2] == second[:-2]
    if not fits or first[-1] != second[-2]:
        raise layer.error(
            f"inputs must have shapes (..., M, K) and (..., K, N), not {first} and {second}"
        )
    return (*first[:-1], second[-1])


def _constant(layer: Float, shapes: tuple[Shape, ...]) -> Shape:
    return layer.arrays["value"].shape


_PAIRS = {"stride": tuple, "padding": tuple, "dilation": tuple}

OPERATIONS: dict[str, Operation] = {
    "constant": Operation(0, {}, ("value",), _constant),
    "affine": Operation(1, {}, ("factor", "offset"), _affine),
    "add": Operation(2, {}, (), _broadcast),
    "subtract": Operation(2, {}, (), _broadcast),
    "multiply": Operation(2, {}, (), _broadcast),
    "clamp": Operation(1, {"low": float, "high": float}, (), _same),
    "sigmoid": Operation(1, {}, (), _same),
    "tanh": Operation(1, {}, (), _same),
    "silu": Operation(1, {}, (), _same),
    "gelu": Operation(1, {"tanh": bool}, (), _same),
    "hardsigmoid": Operation(1, {}, (), _same),
    "hardswish": Operation(1, {}, (), _same),
    "leaky_relu": Operation(1, {"slope": float}, (), _same),
    "softmax": Operation(1, {"axis": int}, (), _axis),
    "layer_norm": Operation(1, {"epsilon": float}, ("weight", "bias"), _normalised),
    "mean": Operation(1, {"axes": tuple, "keep": bool}, (), _mean),
    "avg_pool2d": Operation(1, {"kernel": tuple, "stride": tuple}, (), _avg_pool2d),
    "conv2d": Operation(1, {**_PAIRS, "groups": int}, ("weight", "bias"), _conv2d),
    "linear": Operation(1, {}, ("weight", "bias"), _linear),
    "matmul": Operation(2, {}, (), _matmul),
}
"""Every operation by its name; arithmetic and axes are those of NHWC, the batch not counted."""
