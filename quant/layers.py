"""Layers of a quantised network: codes, formats and integers, checked when they are made.

Everything is NHWC. A layer's output tensor has the format its consumer reads; a layer whose
output is None ends the network and gives raw accumulators.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dybit.quant.formats import NumberFormat
from dybit.quant.precision import PrecisionMode
from dybit.quant.tensor import MAX_SHIFT, NetworkError, QuantTensor, fixed_point

__all__ = [
    "AvgPool2d",
    "ComputeLayer",
    "Conv2d",
    "Flatten",
    "Layer",
    "Linear",
    "MaxPool2d",
    "NetworkError",
    "QuantTensor",
]

Pair: TypeAlias = tuple[int, int]
Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ComputeLayer:
    """What convolution and linear layers share: a matrix of weights and a re-quantisation.

    Parameters
    ----------
    name : str
    weights : ndarray of uint8
        Codes, output channels last.
    weight_format : NumberFormat
    weight_scale : ndarray of float64, shape (outputs,)
        Scale of each output channel's weights.
    bias : ndarray of int64, shape (outputs,)
        In accumulator units.
    multiplier : ndarray of uint16, shape (outputs,)
    shift : ndarray of uint8, shape (outputs,)
        ``x = (accumulator + bias) * multiplier / 2^shift`` in integers of the output's format;
        both are 0 in a layer without output.
    input : QuantTensor
    output : QuantTensor, optional
        None where the accumulators themselves are the result.
    relu : bool
        Negative x becomes 0.
    max_code : int, optional
        Code of the largest magnitude produced; the format's own by default.
    """

    AXES: ClassVar[int]

    name: str
    weights: NDArray[np.uint8]
    weight_format: NumberFormat
    weight_scale: NDArray[np.float64]
    bias: NDArray[np.int64]
    multiplier: NDArray[np.uint16]
    shift: NDArray[np.uint8]
    input: QuantTensor
    output: QuantTensor | None = None
    relu: bool = False
    max_code: int | None = None

    def __post_init__(self) -> None:
        self._array("weights", np.uint8, None)
        if self.weights.ndim != self.AXES or not self.weights.size:
            raise self._error(
                f"weights must have {self.AXES} axes, none empty, not shape {self.weights.shape}"
            )
        worst = int(self.weights.max(initial=0))
        if worst >> self.weight_format.bits:
            raise self._error(f"weights must be codes of {self.weight_format}, not {worst}")
        per_output = (self.outputs,)
        for name, dtype in _PER_OUTPUT.items():
            self._array(name, dtype, per_output)
        if not (np.isfinite(self.weight_scale).all() and (self.weight_scale > 0).all()):
            bad = self.weight_scale[~(self.weight_scale > 0) | ~np.isfinite(self.weight_scale)][0]
            raise self._error(f"weight_scale must be positive and finite, not {bad}")
        if self.shift.max(initial=0) > MAX_SHIFT:
            raise self._error(f"shift must be 0 to {MAX_SHIFT}, not {self.shift.max()}")
        if self.output is not None and self.max_code is not None:
            codes = self.output.format.sorted_codes[self.output.format.values >= 0].tolist()
            if self.max_code not in codes:
                raise self._error(
                    f"max_code must be the code of a value of {self.output.format} that is not "
                    f"negative, not {self.max_code!r}"
                )

    @property
    def outputs(self) -> int:
        """Output channels, N."""
        return int(self.weights.shape[-1])

    @property
    def reduction(self) -> int:
        """Products summed in one output, K."""
        return self.weights.size // self.outputs

    @property
    def matrix(self) -> NDArray[np.uint8]:
        """The weights as (K, N)."""
        return self.weights.reshape(-1, self.outputs)

    @property
    def mode(self) -> PrecisionMode:
        """The precision mode the layer runs in."""
        return PrecisionMode(self.weight_format.bits, self.input.format.bits)

    @property
    def accumulator_scale(self) -> NDArray[np.float64]:
        """The real number that the accumulator 1 of each output channel stands for."""
        return self.input.unit * self.weight_scale * self.weight_format.unit

    def _array(self, name: str, dtype: type[np.generic], shape: Shape | None) -> None:
        value = getattr(self, name)
        if not isinstance(value, np.ndarray) or value.dtype != dtype:
            kind = getattr(value, "dtype", type(value).__name__)
            raise self._error(f"{name} must be an array of {np.dtype(dtype)}, not {kind}")
        if shape is not None and value.shape != shape:
            raise self._error(f"{name} must have shape {shape}, not {value.shape}")

    def _error(self, text: str) -> NetworkError:
        return NetworkError(f"{self.name}: {text}")


_PER_OUTPUT: dict[str, type[np.generic]] = {
    "weight_scale": np.float64,
    "bias": np.int64,
    "multiplier": np.uint16,
    "shift": np.uint8,
}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Conv2d(ComputeLayer):
    """A convolution; weights are (kh, kw, input channels, output channels)."""

    AXES: ClassVar[int] = 4

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)

    def __post_init__(self) -> None:
        ComputeLayer.__post_init__(self)
        _check_window(self.name, self.kernel, self.stride, self.padding)

    @property
    def kernel(self) -> Pair:
        """Height and width of the kernel."""
        return self.weights.shape[0], self.weights.shape[1]

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output of an input of `shape`, (H, W, C)."""
        if len(shape) != 3 or shape[2] != self.weights.shape[2]:
            channels = self.weights.shape[2]
            raise self._error(f"input must have shape (H, W, {channels}), not {shape}")
        size = _windows(self.name, shape, self.kernel, self.stride, self.padding)
        return (*size, self.outputs)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Linear(ComputeLayer):
    """A linear layer; weights are (inputs, outputs), inputs in NHWC order after a `Flatten`."""

    AXES: ClassVar[int] = 2

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output of an input of `shape`, (inputs,)."""
        if shape != (self.reduction,):
            raise self._error(f"input must have shape ({self.reduction},), not {shape}")
        return (self.outputs,)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool2d:
    """The largest value of each window; padding never wins."""

    name: str
    kernel: Pair
    stride: Pair
    input: QuantTensor
    padding: Pair = (0, 0)

    def __post_init__(self) -> None:
        _check_window(self.name, self.kernel, self.stride, self.padding)
        if any(2 * pad > size for pad, size in zip(self.padding, self.kernel, strict=True)):
            raise NetworkError(
                f"{self.name}: padding must be at most half of kernel {self.kernel}, "
                f"not {self.padding}"
            )

    @property
    def output(self) -> QuantTensor:
        """The input's tensor: codes pass unchanged."""
        return self.input

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output of an input of `shape`, (H, W, C)."""
        return (*_windows(self.name, shape, self.kernel, self.stride, self.padding), shape[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class AvgPool2d:
    """The integer sum of each window, re-quantised; 1/count is part of ``multiplier / 2^shift``."""

    name: str
    kernel: Pair
    stride: Pair
    input: QuantTensor
    output: QuantTensor
    multiplier: int = field(init=False)
    shift: int = field(init=False)

    def __post_init__(self) -> None:
        _check_window(self.name, self.kernel, self.stride, (0, 0))
        count = self.kernel[0] * self.kernel[1]
        ratio = self.input.unit / (self.output.unit * count)
        (multiplier,), (shift,) = fixed_point([ratio], self.name)
        object.__setattr__(self, "multiplier", int(multiplier))
        object.__setattr__(self, "shift", int(shift))

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output of an input of `shape`, (H, W, C)."""
        return (*_windows(self.name, shape, self.kernel, self.stride, (0, 0)), shape[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatten:
    """(H, W, C) to (H * W * C,)."""

    name: str
    input: QuantTensor

    @property
    def output(self) -> QuantTensor:
        """The input's tensor: codes pass unchanged."""
        return self.input

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output of an input of `shape`."""
        return (int(np.prod(shape)),)


Layer: TypeAlias = Conv2d | Linear | MaxPool2d | AvgPool2d | Flatten


def _check_window(name: str, kernel: Any, stride: Any, padding: Any) -> None:
    for field_name, pair, least in (
        ("kernel", kernel, 1),
        ("stride", stride, 1),
        ("padding", padding, 0),
    ):
        integers = isinstance(pair, tuple) and len(pair) == 2 and all(type(v) is int for v in pair)
        if not integers or min(pair) < least:
            raise NetworkError(
                f"{name}: {field_name} must be two integers of at least {least}, not {pair!r}"
            )


def _windows(name: str, shape: Shape, kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    if len(shape) != 3:
        raise NetworkError(f"{name}: input must have shape (H, W, C), not {shape}")
    down, across = (
        (shape[axis] + 2 * padding[axis] - kernel[axis]) // stride[axis] + 1 for axis in (0, 1)
    )
    if down < 1 or across < 1:
        raise NetworkError(
            f"{name}: kernel must fit the padded input of {shape[0]} x {shape[1]}, not {kernel}"
        )
    return down, across
