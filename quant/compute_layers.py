"""The layers that run on the array: a matrix of weights and a re-quantisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dybit.quant.formats import NumberFormat
from dybit.quant.layer import Layer, Pair, Shape, check_integers, check_max_code, window_counts
from dybit.quant.precision import PrecisionMode
from dybit.quant.tensor import MAX_SHIFT, QuantTensor

__all__ = ["ComputeLayer", "Conv2d", "Linear"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ComputeLayer(Layer):
    """What convolution and linear layers share.

    Parameters
    ----------
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
            raise self.error(
                f"weights must have {self.AXES} axes, none empty, not shape {self.weights.shape}"
            )
        worst = int(self.weights.max(initial=0))
        if worst >> self.weight_format.bits:
            raise self.error(f"weights must be codes of {self.weight_format}, not {worst}")
        per_output = (self.outputs,)
        for name, dtype in _PER_OUTPUT.items():
            self._array(name, dtype, per_output)
        if not (np.isfinite(self.weight_scale).all() and (self.weight_scale > 0).all()):
            bad = self.weight_scale[~(self.weight_scale > 0) | ~np.isfinite(self.weight_scale)][0]
            raise self.error(f"weight_scale must be positive and finite, not {bad}")
        if self.shift.max(initial=0) > MAX_SHIFT:
            raise self.error(f"shift must be 0 to {MAX_SHIFT}, not {self.shift.max()}")
        if self.output is None and self.relu:
            raise self.error("relu must be false where the accumulators are the result, not True")
        check_max_code(self, self.max_code, self.output)

    @property
    def reads(self) -> tuple[QuantTensor]:
        return (self.input,)

    @property
    def makes(self) -> QuantTensor | None:
        return self.output

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
            raise self.error(f"{name} must be an array of {np.dtype(dtype)}, not {kind}")
        if shape is not None and value.shape != shape:
            raise self.error(f"{name} must have shape {shape}, not {value.shape}")


_PER_OUTPUT: dict[str, type[np.generic]] = {
    "weight_scale": np.float64,
    "bias": np.int64,
    "multiplier": np.uint16,
    "shift": np.uint8,
}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Conv2d(ComputeLayer):
    """A convolution; weights are (kh, kw, input channels of a group, output channels).

    Parameters
    ----------
    stride, padding : pair of int
        Down and across.
    groups : int
        Input and output channels are cut into as many equal parts, each of which sees its own
        counterpart alone: 1 for a plain convolution, all of them for a depthwise one.
    """

    AXES: ClassVar[int] = 4

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    groups: int = 1

    def __post_init__(self) -> None:
        ComputeLayer.__post_init__(self)
        check_integers(self, "kernel", 1)
        check_integers(self, "stride", 1)
        check_integers(self, "padding", 0)
        if type(self.groups) is not int or self.groups < 1 or self.outputs % self.groups:
            raise self.error(f"groups must be a divisor of {self.outputs}, not {self.groups!r}")

    @property
    def kernel(self) -> Pair:
        """Height and width of the kernel."""
        return self.weights.shape[0], self.weights.shape[1]

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        channels = self.weights.shape[2] * self.groups
        if len(shape) != 3 or shape[2] != channels:
            raise self.error(f"input must have shape (H, W, {channels}), not {shape}")
        return (*window_counts(self, shape, self.kernel, self.stride, self.padding), self.outputs)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Linear(ComputeLayer):
    """A linear layer on the last axis; weights are (inputs, outputs)."""

    AXES: ClassVar[int] = 2

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        if not shape or shape[-1] != self.reduction:
            raise self.error(f"input must have shape (..., {self.reduction}), not {shape}")
        return (*shape[:-1], self.outputs)
