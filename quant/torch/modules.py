"""A graph of float layers that rounds like the accelerator once it is calibrated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from dybit.quant.config import LayerConfig, QuantConfig
from dybit.quant.formats import NumberFormat
from dybit.quant.layer import INPUT
from dybit.quant.tensor import QuantTensor
from dybit.quant.torch.fake_quantize import fake_quantize

__all__ = [
    "ActivationQuantizer",
    "ComputeStage",
    "ConvStage",
    "KeptFloat",
    "LinearStage",
    "Pair",
    "PreparedModel",
    "Shape",
    "Stage",
]

Pair = tuple[int, int]
Shape = tuple[int, ...]

Rounding: TypeAlias = Callable[[Tensor, NumberFormat, float | Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class KeptFloat:
    """A layer that is not quantised.

    Parameters
    ----------
    name, operation : str
    reason : str
    """

    name: str
    operation: str
    reason: str


class ActivationQuantizer(nn.Module):
    """Rounds one activation tensor; lets it pass before calibration.

    Tensors that a concatenation joins share one.

    Parameters
    ----------
    name : str
        Of the first layer that makes the tensor, for messages.

    Members
    -------
    settings : LayerConfig
        Of the layers that read the tensor: their activation width is the tensor's.
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
    """One layer; it makes one tensor, which goes by its name.

    Members
    -------
    name : str
    inputs : tuple of str
        Names of the tensors it reads: of stages before it, or `INPUT`.
    quantizer : ActivationQuantizer, optional
        Of its output; None where the output is the input's codes moved about, or real numbers.
    shape : tuple of int
        Of its output, the batch left out.
    image : bool
        Whether the integer network keeps its output channels last, (C, H, W) as (H, W, C).
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.inputs: tuple[str, ...] = ()
        self.quantizer: ActivationQuantizer | None = None
        self.shape: Shape = ()
        self.image = False

    @abstractmethod
    def real(self, *inputs: Tensor) -> Tensor:
        """Return the output in float, nothing rounded."""

    def forward(self, *inputs: Tensor) -> Tensor:
        y = self.real(*inputs)
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
    channel_axis : int
        Axis of its output channels in its output.
    weight_format : NumberFormat, optional
    weight_scale : Tensor, optional
        float64, one for each output channel.
    correction : Tensor, optional
        float64, what calibration adds to the bias; all three once calibrated.
    rounding : callable
        Of the weight: `fake_quantize`, or what training puts in its place.
    """

    channel_axis: ClassVar[int]

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

    def fold(
        self, mean: Tensor, var: Tensor, eps: float, gain: Tensor | None, offset: Tensor | None
    ) -> None:
        """Fold batch norm with its running statistics into weight and bias."""
        factor = (var.double() + eps).rsqrt()
        if gain is not None:
            factor = factor * gain.double()
        bias = (self.bias.double() - mean.double()) * factor
        if offset is not None:
            bias = bias + offset.double()
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

    def real(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return self.activate(self.sums(x, rounded=False))

    def forward(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
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
    """A convolution, grouped perhaps."""

    channel_axis = 1

    def __init__(
        self,
        name: str,
        weight: Tensor,
        bias: Tensor | None,
        stride: Pair,
        padding: Pair,
        groups: int,
    ) -> None:
        super().__init__(name, weight, bias)
        self.stride, self.padding, self.groups = stride, padding, groups

    def _sums(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return functional.conv2d(x, weight, bias, self.stride, self.padding, groups=self.groups)


class LinearStage(ComputeStage):
    """A linear layer on the last axis."""

    channel_axis = -1

    def _sums(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return functional.linear(x, weight, bias)


class PreparedModel(nn.Module):
    """The graph that `prepare` returns: float at first, fake-quantised once calibrated.

    Members
    -------
    config : QuantConfig
    input_shape : tuple of int
        (C, H, W), or whatever the first layers read.
    image : ActivationQuantizer
        Of the input.
    stages : ModuleList of Stage
        In an order in which each reads the input or what stages before it make.
    kept_float : tuple of KeptFloat
        What is not quantised, and why.
    """

    def __init__(self, config: QuantConfig, input_shape: Shape, stages: list[Stage]) -> None:
        super().__init__()
        self.config = config
        self.input_shape = input_shape
        self.image = ActivationQuantizer(INPUT)
        self.stages = nn.ModuleList(stages)
        self.kept_float: tuple[KeptFloat, ...] = ()
        self._last_reader = {name: stage.name for stage in stages for name in stage.inputs}

    @property
    def compute_stages(self) -> list[ComputeStage]:
        """The stages that run on the array."""
        return [stage for stage in self.stages if isinstance(stage, ComputeStage)]

    @property
    def quantizers(self) -> list[ActivationQuantizer]:
        """Quantizers of all activation tensors that are codes, each once, in order."""
        stages = cast("list[Stage]", list(self.stages))
        image = [] if self.image.settings is None else [self.image]
        made = [stage.quantizer for stage in stages if stage.quantizer is not None]
        return list(dict.fromkeys([*image, *made]))

    def readers(self, stage: Stage | None) -> list[Stage]:
        """Return the stages that read the output of `stage`, or of None the model's input."""
        name = INPUT if stage is None else stage.name
        return [other for other in cast("list[Stage]", list(self.stages)) if name in other.inputs]

    def forget(self) -> None:
        """Undo calibration: the model is float again."""
        for quantizer in self.quantizers:
            quantizer.tensor = None
        for stage in self.compute_stages:
            stage.weight_format = stage.weight_scale = stage.correction = None

    def steps(self, x: Tensor) -> Iterator[tuple[Stage | None, Tensor]]:
        """Yield each stage with its output, after the input itself under None."""
        values = {INPUT: self.image(x)}
        yield None, values[INPUT]
        for stage in cast("list[Stage]", list(self.stages)):
            values[stage.name] = stage(*(values[name] for name in stage.inputs))
            yield stage, values[stage.name]
            for name in stage.inputs:
                if self._last_reader[name] == stage.name:
                    values.pop(name, None)

    def forward(self, x: Tensor) -> Tensor:
        for _, output in self.steps(x):
            x = output
        return x
