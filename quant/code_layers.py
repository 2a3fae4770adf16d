"""Layers without weights: those that join or sum codes, and those that only pass them on.

`MaxPool2d`, `Concat` and `View` choose or move elements and pass on real numbers just as well:
their `input` is None there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from dybit.quant.layer import Layer, Pair, Shape, check_integers, check_max_code, window_counts
from dybit.quant.tensor import QuantTensor, fixed_point, shared_fixed_point

__all__ = ["Add", "AvgPool2d", "Concat", "MatMul", "MaxPool2d", "Passing", "View"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Passing(Layer):
    """A layer whose output is elements of its inputs.

    Parameters
    ----------
    input : QuantTensor, optional
        How all its inputs, and the output, are read; None for real numbers, which may be those
        that codes stand for.
    """

    input: QuantTensor | None

    @property
    def reads(self) -> tuple[QuantTensor, ...] | None:
        return None if self.input is None else (self.input,) * len(self.inputs)

    @property
    def makes(self) -> QuantTensor | None:
        return self.input


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MaxPool2d(Passing):
    """The largest value of each window; padding never wins."""

    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)

    def __post_init__(self) -> None:
        check_integers(self, "kernel", 1)
        check_integers(self, "stride", 1)
        check_integers(self, "padding", 0)
        if any(2 * pad > size for pad, size in zip(self.padding, self.kernel, strict=True)):
            raise self.error(
                f"padding must be at most half of kernel {self.kernel}, not {self.padding}"
            )

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        counts = window_counts(self, shape, self.kernel, self.stride, self.padding)
        return (*counts, shape[2])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Concat(Passing):
    """Inputs one after the other along `axis`, the batch not counted; all have one scale."""

    axis: int

    def __post_init__(self) -> None:
        if type(self.axis) is not int or self.axis < 0:
            raise self.error(f"axis must be an integer of at least 0, not {self.axis!r}")

    def output_shape(self, *shapes: Shape) -> Shape:
        axis = self.axis
        rests = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
        if len(rests) != 1 or any(len(shape) <= axis for shape in shapes):
            texts = " and ".join(map(str, shapes))
            raise self.error(
                f"inputs must have shapes that differ in axis {axis} alone, not {texts}"
            )
        extent = sum(shape[axis] for shape in shapes)
        return (*shapes[0][:axis], extent, *shapes[0][axis + 1 :])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class View(Passing):
    """A box of the input's elements, in another shape: flattening, transposing, slicing.

    Parameters
    ----------
    shape : tuple of int
        Of the output, the batch left out.
    start : int
        Position, in the input as one axis, of the first element.
    sizes, strides : tuple of int
        Of the box: element (i, j, ...) lies ``i strides[0] + j strides[1] + ...`` behind the
        first; the elements in this order, the last index fastest, are the output's.
    """

    shape: Shape
    start: int
    sizes: Shape
    strides: Shape

    def __post_init__(self) -> None:
        check_integers(self, "shape", 1, None)
        check_integers(self, "sizes", 1, None)
        integers = isinstance(self.strides, tuple) and all(type(s) is int for s in self.strides)
        if not integers or len(self.strides) != len(self.sizes):
            raise self.error(
                f"strides must be as many integers as sizes, {len(self.sizes)}, "
                f"not {self.strides!r}"
            )
        if math.prod(self.sizes) != math.prod(self.shape):
            raise self.error(f"shape must have {math.prod(self.sizes)} elements, not {self.shape}")

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        ends = [(size - 1) * step for size, step in zip(self.sizes, self.strides, strict=True)]
        first = self.start + sum(end for end in ends if end < 0)
        last = self.start + sum(end for end in ends if end > 0)
        if first < 0 or last >= math.prod(shape):
            raise self.error(f"input must have elements {first} to {last}, not shape {shape}")
        return self.shape


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AvgPool2d(Layer):
    """The integer sum of each window, re-quantised; 1/count is part of ``multiplier / 2^shift``."""

    kernel: Pair
    stride: Pair
    input: QuantTensor
    output: QuantTensor
    multiplier: int = field(init=False)
    shift: int = field(init=False)

    def __post_init__(self) -> None:
        check_integers(self, "kernel", 1)
        check_integers(self, "stride", 1)
        count = self.kernel[0] * self.kernel[1]
        ratio = self.input.unit / (self.output.unit * count)
        (multiplier,), (shift,) = fixed_point([ratio], self.name)
        object.__setattr__(self, "multiplier", int(multiplier))
        object.__setattr__(self, "shift", int(shift))

    @property
    def reads(self) -> tuple[QuantTensor]:
        return (self.input,)

    @property
    def makes(self) -> QuantTensor:
        return self.output

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        return (*window_counts(self, shape, self.kernel, self.stride, (0, 0)), shape[2])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Add(Layer):
    """A sum of two tensors of one shape, ``(Ma a + Mb b) / 2^S``, encoded once.

    Parameters
    ----------
    operands : pair of QuantTensor
        How the two inputs are read.
    output : QuantTensor
    relu : bool
        Negative sums become 0.
    max_code : int, optional
        Code of the largest magnitude produced; the format's own by default.

    Members
    -------
    multipliers : pair of int
        Ma and Mb, unsigned of 16 bits.
    shift : int
    """

    operands: tuple[QuantTensor, QuantTensor]
    output: QuantTensor
    relu: bool = False
    max_code: int | None = None
    multipliers: Pair = field(init=False)
    shift: int = field(init=False)

    def __post_init__(self) -> None:
        check_max_code(self, self.max_code, self.output)
        ratios = [operand.unit / self.output.unit for operand in self.operands]
        (first, second), shift = shared_fixed_point(ratios, self.name)
        object.__setattr__(self, "multipliers", (first, second))
        object.__setattr__(self, "shift", shift)

    @property
    def reads(self) -> tuple[QuantTensor, QuantTensor]:
        return self.operands

    @property
    def makes(self) -> QuantTensor:
        return self.output

    def output_shape(self, *shapes: Shape) -> Shape:
        first, second = shapes
        if first != second:
            raise self.error(f"inputs must have one shape, not {first} and {second}")
        return first


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MatMul(Layer):
    """A product of two tensors' last two axes, (..., M, K) by (..., K, N), re-quantised.

    Parameters
    ----------
    operands : pair of QuantTensor
        How the two inputs are read.
    output : QuantTensor, optional
        None where the accumulators themselves are the result.
    relu : bool
        Negative results become 0.
    max_code : int, optional
        Code of the largest magnitude produced; the format's own by default.

    Members
    -------
    multiplier, shift : int
        As in convolution and linear layers; 0 without output.
    """

    operands: tuple[QuantTensor, QuantTensor]
    output: QuantTensor | None = None
    relu: bool = False
    max_code: int | None = None
    multiplier: int = field(init=False, default=0)
    shift: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        check_max_code(self, self.max_code, self.output)
        if self.output is None:
            if self.relu:
                raise self.error(
                    "relu must be false where the accumulators are the result, not True"
                )
            return
        (multiplier,), (shift,) = fixed_point(
            [self.accumulator_scale / self.output.unit], self.name
        )
        object.__setattr__(self, "multiplier", int(multiplier))
        object.__setattr__(self, "shift", int(shift))

    @property
    def reads(self) -> tuple[QuantTensor, QuantTensor]:
        return self.operands

    @property
    def makes(self) -> QuantTensor | None:
        return self.output

    @property
    def accumulator_scale(self) -> float:
        """The real number that the accumulator 1 stands for."""
        return self.operands[0].unit * self.operands[1].unit

    def output_shape(self, *shapes: Shape) -> Shape:
        first, second = shapes
        fits = len(first) == len(second) >= 2 and first[:-2] == second[:-2]
        if not fits or first[-1] != second[-2]:
            raise self.error(
                f"inputs must have shapes (..., M, K) and (..., K, N), not {first} and {second}"
            )
        largest = math.prod(operand.format.max_integer for operand in self.operands) * first[-1]
        if largest >= 1 << 47:
            raise self.error(
                f"an accumulator of up to {largest} must be below 2^47; narrow an input"
            )
        return (*first[:-1], second[-1])
