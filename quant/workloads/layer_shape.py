"""The shape of one layer: all that cycles, memory traffic and multiply-accumulates depend on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from dybit.quant.layer import Pair
from dybit.quant.tensor import NetworkError

__all__ = ["Image", "LayerKind", "LayerShape", "Padding"]

Image = tuple[int, int, int]
"""Height, width and channels. What is no image has its leading axes as height, and width 1."""

Padding = tuple[int, int, int, int]
"""Rows and columns of zeros at the top, on the left, at the bottom and on the right."""


class LayerKind(StrEnum):
    """What a layer does."""

    CONV = "conv"
    GROUPED = "grouped"
    DEPTHWISE = "depthwise"
    LINEAR = "linear"
    MATMUL = "matmul"
    ADD = "add"
    CONCAT = "concat"
    MAX_POOL = "max_pool"
    AVG_POOL = "avg_pool"
    VIEW = "view"
    FLOAT = "float"

    @property
    def convolves(self) -> bool:
        """Whether it is a convolution."""
        return self in (LayerKind.CONV, LayerKind.GROUPED, LayerKind.DEPTHWISE)

    @property
    def passes(self) -> bool:
        """Whether its output is elements of its inputs, so that all have one format."""
        return self in (LayerKind.CONCAT, LayerKind.MAX_POOL, LayerKind.VIEW)

    @classmethod
    def of_convolution(cls, channels: int, groups: int) -> LayerKind:
        """Return the kind of a convolution of so many input channels in so many groups."""
        if groups == 1:
            return cls.CONV
        return cls.DEPTHWISE if groups == channels else cls.GROUPED


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """One layer without its numbers.

    Parameters
    ----------
    name : str
        Of the layer and of the tensor it writes.
    kind : LayerKind
    inputs : tuple of str
        Names of the tensors it reads.
    input_shape, output_shape : Image
        Of the first input and of the output.
    kernel, stride, dilation : pair of int
        Down and across.
    padding : Padding
    groups : int
        Of a convolution.
    channel_parameters : int
        Trained parameters of each output channel besides weights: 1 with a bias, 2 more with
        batch norm, as published totals count them.
    relu : bool
        Nothing it writes is negative.

    Raises
    ------
    NetworkError
        If the sizes do not fit each other.
    """

    name: str
    kind: LayerKind
    inputs: tuple[str, ...]
    input_shape: Image
    output_shape: Image
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    channel_parameters: int = 0
    relu: bool = False

    def __post_init__(self) -> None:
        for field, least in (
            *(("input_shape", 1), ("output_shape", 1), ("kernel", 1), ("stride", 1)),
            *(("padding", 0), ("dilation", 1)),
        ):
            value = getattr(self, field)
            if any(type(size) is not int or size < least for size in value):
                raise NetworkError(
                    f"{self.name}: {field} must be integers of at least {least}, not {value!r}"
                )
        if self.channels % self.groups or self.outputs % self.groups:
            raise NetworkError(
                f"{self.name}: groups must divide {self.channels} and {self.outputs} channels, "
                f"not {self.groups}"
            )
        if self.kind.convolves and self.output_shape[:2] != self.windows:
            raise NetworkError(
                f"{self.name}: output_shape must be {self.windows[0]} x {self.windows[1]} pixels, "
                f"not {self.output_shape[0]} x {self.output_shape[1]}"
            )

    @property
    def output(self) -> str:
        """Name of the tensor it writes."""
        return self.name

    @property
    def channels(self) -> int:
        """Input channels."""
        return self.input_shape[2]

    @property
    def outputs(self) -> int:
        """Output channels."""
        return self.output_shape[2]

    @property
    def pixels(self) -> int:
        """Output pixels, M."""
        return self.output_shape[0] * self.output_shape[1]

    @property
    def windows(self) -> Pair:
        """How many windows fit down and across."""
        top, left, bottom, right = self.padding
        down, across = (
            (size + pads - dilation * (kernel - 1) - 1) // stride + 1
            for size, pads, dilation, kernel, stride in zip(
                self.input_shape[:2],
                (top + bottom, left + right),
                self.dilation,
                self.kernel,
                self.stride,
                strict=True,
            )
        )
        return down, across

    @property
    def has_weights(self) -> bool:
        """Whether it is a convolution or linear layer."""
        return self.kind.convolves or self.kind is LayerKind.LINEAR

    @property
    def on_array(self) -> bool:
        """Whether the array runs it: dilated convolutions stay float."""
        return self.has_weights and self.dilation == (1, 1)

    @property
    def reduction(self) -> int:
        """Products summed in one output, K; 0 where there are none."""
        if self.has_weights:
            return math.prod(self.kernel) * self.channels // self.groups
        return self.channels if self.kind is LayerKind.MATMUL else 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one input."""
        return self.pixels * self.outputs * self.reduction

    @property
    def weights(self) -> int:
        """Number of its weights."""
        return self.reduction * self.outputs if self.has_weights else 0

    @property
    def parameters(self) -> int:
        """Number of its trained parameters."""
        return self.weights + self.channel_parameters * self.outputs
