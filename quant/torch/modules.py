"""A chain of float layers that rounds like the accelerator once it is calibrated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from dybit.quant.config import LayerConfig, QuantConfig
from dybit.quant.formats import NumberFormat
from dybit.quant.tensor import QuantTensor
from dybit.quant.torch.fake_quantize import fake_quantize

__all__ = [
    "ActivationQuantizer",
    "AvgPoolStage",
    "ComputeStage",
    "ConvStage",
    "FlattenStage",
    "LinearStage",
    "MaxPoolStage",
    "PreparedModel",
    "Stage",
]

Pair = tuple[int, int]

Rounding: TypeAlias = Callable[[Tensor, NumberFormat, float | Tensor], Tensor]


class ActivationQuantizer(nn.Module):
    """Rounds one activation tensor; lets it pass before calibration.

    Parameters
    ----------
    name : str
        Of the layer that makes the tensor, for messages.

    Members
    -------
    settings : LayerConfig
        Of the layer that reads the tensor: its activation width is the tensor's.
    tensor : QuantTensor, optional
        Format and scale, once calibrated.
    rounding : callable
        `fake_quantize`, or what training puts in its place.
    """

    rounding: Rounding

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.settings: LayerConfig | None = None
        self.tensor: QuantTensor | None = None
        self.rounding = fake_quantize

    def forward(self, x: Tensor) -> Tensor:
        if self.tensor is None:
            return x
        return self.rounding(x, self.tensor.format, self.tensor.scale)


class Stage(nn.Module, ABC):
    """One layer of the chain.

    Members
    -------
    name : str
    quantizer : ActivationQuantizer, optional
        Of its output; None where the output is the input's codes moved about, or raw.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.quantizer: ActivationQuantizer | None = None

    @abstractmethod
    def real(self, x: Tensor) -> Tensor:
        """Return the output in float, nothing rounded."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.real(x)
        return y if self.quantizer is None else cast(Tensor, self.quantizer(y))


class ComputeStage(Stage):
    """A convolution or linear layer with its activation function.

    Members
    -------
    weight, bias : Parameter
        Batch norm folded in; output channels first.
    relu : bool
    ceiling : float, optional
        Largest output, 6 for ReLU6.
    settings : LayerConfig
    source : ActivationQuantizer
        Of its input.
    weight_format : NumberFormat, optional
    weight_scale : Tensor, optional
        float64, one for each output channel.
    correction : Tensor, optional
        float64, what calibration adds to the bias; all three once calibrated.
    rounding : callable
        Of the weight: `fake_quantize`, or what training puts in its place.
    """

    settings: LayerConfig
    source: ActivationQuantizer
    rounding: Rounding
    weight_scale: Tensor | None
    correction: Tensor | None

    def __init__(self, name: str, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(name)
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = nn.Parameter(
            weight.new_zeros(len(weight)) if bias is None else bias.detach().clone()
        )
        self.relu = False
        self.ceiling: float | None = None
        self.weight_format: NumberFormat | None = None
        self.rounding = fake_quantize
        self.register_buffer("weight_scale", None)
        self.register_buffer("correction", None)

    def fold(self, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        """Fold batch norm with its running statistics into weight and bias."""
        # The caller has refused batch norms without running statistics.
        mean, var = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        factor = (var.double() + norm.eps).rsqrt()
        bias = (self.bias.double() - mean.double()) * factor
        if norm.affine:
            factor = factor * norm.weight.double()
            bias = bias * norm.weight.double() + norm.bias.double()
        with torch.no_grad():
            self.weight.copy_(self.weight.double() * self.per_output(factor))
            self.bias.copy_(bias)

    def per_output(self, values: Tensor) -> Tensor:
        """Shape one value for each output channel so that it broadcasts against the weight."""
        return values.view(-1, *[1] * (self.weight.ndim - 1))

    def accumulator_scale(self) -> Tensor:
        """Return the real number that the accumulator 1 of each output channel stands for."""
        fmt, scale, tensor = self.weight_format, self.weight_scale, self.source.tensor
        if fmt is None or scale is None or tensor is None:
            raise RuntimeError(f"{self.name} must be calibrated first")
        return tensor.unit * scale * fmt.unit

    def integer_bias(self) -> Tensor:
        """Return the bias in accumulator units, rounded."""
        bias = self.bias.double()
        if self.correction is not None:
            bias = bias + self.correction
        return (bias / self.accumulator_scale()).round()

    def real(self, x: Tensor) -> Tensor:
        return self.activate(self.sums(x, rounded=False))

    def forward(self, x: Tensor) -> Tensor:
        y = self.activate(self.sums(x, rounded=self.weight_format is not None))
        return y if self.quantizer is None else cast(Tensor, self.quantizer(y))

    def sums(self, x: Tensor, rounded: bool) -> Tensor:
        """Return what the activation function gets, with float or rounded weight and bias."""
        weight, bias = cast(Tensor, self.weight), cast(Tensor, self.bias)
        if rounded:
            scale = self.accumulator_scale()
            assert self.weight_format is not None
            assert self.weight_scale is not None
            weight = self.rounding(weight, self.weight_format, self.per_output(self.weight_scale))
            bias = bias + (self.integer_bias() * scale - bias).to(bias.dtype).detach()
        return self._sums(x, weight, bias)

    def activate(self, y: Tensor) -> Tensor:
        """Apply the activation function."""
        return y.clamp(0, self.ceiling) if self.relu else y

    @abstractmethod
    def _sums(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return the products' sums and the bias."""


class ConvStage(ComputeStage):
    """A convolution."""

    def __init__(self, name: str, conv: nn.Conv2d, padding: Pair) -> None:
        super().__init__(name, conv.weight, conv.bias)
        self.stride: Pair = (conv.stride[0], conv.stride[1])
        self.padding = padding

    def _sums(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return functional.conv2d(x, weight, bias, self.stride, self.padding)


class LinearStage(ComputeStage):
    """A linear layer."""

    def __init__(self, name: str, linear: nn.Linear) -> None:
        super().__init__(name, linear.weight, linear.bias)

    def _sums(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return functional.linear(x, weight, bias)


class MaxPoolStage(Stage):
    """Max-pooling."""

    def __init__(self, name: str, kernel: Pair, stride: Pair, padding: Pair) -> None:
        super().__init__(name)
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def real(self, x: Tensor) -> Tensor:
        return functional.max_pool2d(x, self.kernel, self.stride, self.padding)


class AvgPoolStage(Stage):
    """Average pooling."""

    def __init__(self, name: str, kernel: Pair, stride: Pair) -> None:
        super().__init__(name)
        self.kernel, self.stride = kernel, stride

    def real(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, self.kernel, self.stride)


class FlattenStage(Stage):
    """Flattening of all axes but the batch; `shape` is the input's, (C, H, W)."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        super().__init__(name)
        self.shape = shape

    def real(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class PreparedModel(nn.Module):
    """The chain that `prepare` returns: float at first, fake-quantised once calibrated.

    Members
    -------
    config : QuantConfig
    input_shape : tuple of int
        (C, H, W), or (inputs,) where the first layer is linear.
    image : ActivationQuantizer
        Of the input.
    stages : ModuleList of Stage
    """

    def __init__(
        self, config: QuantConfig, input_shape: tuple[int, ...], stages: list[Stage]
    ) -> None:
        super().__init__()
        self.config = config
        self.input_shape = input_shape
        self.image = ActivationQuantizer("input")
        self.stages = nn.ModuleList(stages)

    @property
    def compute_stages(self) -> list[ComputeStage]:
        """The stages that run on the array."""
        return [stage for stage in self.stages if isinstance(stage, ComputeStage)]

    @property
    def quantizers(self) -> list[ActivationQuantizer]:
        """Quantizers of all activation tensors, in order."""
        stages = cast(Any, self.stages)
        return [self.image, *(s.quantizer for s in stages if s.quantizer is not None)]

    def forget(self) -> None:
        """Undo calibration: the chain is float again."""
        for quantizer in self.quantizers:
            quantizer.tensor = None
        for stage in self.compute_stages:
            stage.weight_format = stage.weight_scale = stage.correction = None

    def steps(self, x: Tensor) -> Iterator[tuple[Stage | None, Tensor]]:
        """Yield each stage with its output, after the input itself under None."""
        x = self.image(x)
        yield None, x
        for stage in self.stages:
            x = stage(x)
            yield cast(Stage, stage), x

    def forward(self, x: Tensor) -> Tensor:
        for _, output in self.steps(x):
            x = output
        return x
