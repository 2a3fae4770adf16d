"""Stages without weights of their own on the array: pooling, sums, joins, moves, and floats."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.nn import functional

from dybit.quant.tensor import QuantTensor, fixed_point, shared_fixed_point
from dybit.quant.torch.fake_quantize import fake_quantize
from dybit.quant.torch.modules import ActivationQuantizer, Pair, Shape, Stage
from dybit.quant.torch.operations import Call, Source

__all__ = [
    "AddStage",
    "AvgPoolStage",
    "ConcatStage",
    "ConstantStage",
    "FlattenStage",
    "FloatStage",
    "MatMulStage",
    "MaxPoolStage",
    "MoveStage",
    "Moves",
    "PassingStage",
    "ScaledStage",
]


class PassingStage(Stage):
    """A stage whose output is elements of its inputs: codes pass it unchanged.

    Members
    -------
    passed : ActivationQuantizer, optional
        Of the codes that pass; None where it passes real numbers.
    """

    passed: ActivationQuantizer | None

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.passed = None


class MaxPoolStage(PassingStage):
    """Max-pooling."""

    def __init__(self, name: str, kernel: Pair, stride: Pair, padding: Pair) -> None:
        super().__init__(name)
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def real(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return functional.max_pool2d(x, self.kernel, self.stride, self.padding)


class ConcatStage(PassingStage):
    """Concatenation along an axis other than the batch."""

    def __init__(self, name: str, axis: int) -> None:
        super().__init__(name)
        self.axis = axis

    def real(self, *inputs: Tensor) -> Tensor:
        batch = max(map(len, inputs))
        return torch.cat([x.expand(batch, *x.shape[1:]) for x in inputs], self.axis)


class MoveStage(PassingStage):
    """A chain of calls that move the elements of each item of a batch about.

    Parameters
    ----------
    source : tuple of int
        Shape of the input, the batch left out.
    calls : sequence of Call
    """

    def __init__(self, name: str, source: Shape, calls: Sequence[Call]) -> None:
        super().__init__(name)
        self.source = source
        self.calls = tuple(calls)

    def real(self, *inputs: Tensor) -> Tensor:
        return _run(self.calls, *inputs)

    def places(self) -> NDArray[np.int64] | None:
        """Return where in an item each element of the output comes from, both counted in order.

        None if the calls do more than move elements within items.
        """
        size = int(np.prod(self.source))
        places = torch.arange(2 * size, dtype=torch.float64).reshape(2, *self.source)
        moved = self.real(places)
        apart = moved.ndim > 0 and len(moved) == 2 and torch.equal(moved[0] + size, moved[1])
        if not apart or not bool(((moved[0] >= 0) & (moved[0] < size)).all()):
            return None
        first: NDArray[np.int64] = moved[0].long().numpy()
        return first


class FlattenStage(MoveStage):
    """All axes of an image but the batch as one, channels slowest."""


class ScaledStage(Stage):
    """A stage whose integers are sums or products of its inputs' own, times a multiplier.

    Where no gradient is asked for, calibrated ones compute with these integers and so in the very
    arithmetic of the integer network; in training floats are scaled as the multipliers do.

    Members
    -------
    sources : tuple of ActivationQuantizer, optional
        Of its inputs, where the result is made of codes.
    relu : bool
    ceiling : float, optional
        Largest output, 6 for ReLU6.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.sources: tuple[ActivationQuantizer, ...] | None = None
        self.relu = False
        self.ceiling: float | None = None

    def activate(self, y: Tensor) -> Tensor:
        """Apply the activation function."""
        return y.clamp(0, self.ceiling) if self.relu else y

    def real(self, *inputs: Tensor) -> Tensor:
        return self.activate(self._combine(*inputs))

    def forward(self, *inputs: Tensor) -> Tensor:
        quantizer = self.quantizer
        if quantizer is None:
            return self.real(*inputs)
        output = quantizer.tensor
        if output is None or self.sources is None:
            return cast(Tensor, quantizer(self.real(*inputs)))
        units = [cast(QuantTensor, source.tensor).unit for source in self.sources]
        if torch.is_grad_enabled() or quantizer.rounding is not fake_quantize:
            y = self._combine(*self._scaled(inputs, units, output.unit))
            return cast(Tensor, quantizer(self.activate(y)))
        integers = [(x.double() / unit).round() for x, unit in zip(inputs, units, strict=True)]
        x = self._integers(integers, units, output.unit)
        if self.relu:
            x = x.clamp(0, None if self.ceiling is None else self.ceiling / output.unit)
        y = fake_quantize(x * output.format.unit, output.format, 1.0) * output.scale
        return y.to(inputs[0].dtype)

    @abstractmethod
    def _combine(self, *inputs: Tensor) -> Tensor:
        """Return the sum or product of real numbers."""

    @abstractmethod
    def _scaled(
        self, inputs: tuple[Tensor, ...], units: list[float], output: float
    ) -> tuple[Tensor, ...]:
        """Return the inputs, moved so that their combination is as the multipliers make it."""

    @abstractmethod
    def _integers(self, inputs: list[Tensor], units: list[float], output: float) -> Tensor:
        """Return the combination of integers, scaled to units of the output, exactly."""


class _ProductStage(ScaledStage):
    """A stage with one multiplier for all its accumulators."""

    def _ratio(self, units: list[float], output: float) -> float:
        return float(np.prod(units)) / output

    def _scaled(
        self, inputs: tuple[Tensor, ...], units: list[float], output: float
    ) -> tuple[Tensor, ...]:
        ratio = self._ratio(units, output)
        (multiplier,), (shift,) = fixed_point([ratio], self.name)
        # A ratio below the range of both has few bits of multiplier or none, and stays.
        exact = np.ldexp(float(multiplier), -int(shift)) / ratio if multiplier >> 15 else 1.0
        return (inputs[0] * float(exact), *inputs[1:])

    def _integers(self, inputs: list[Tensor], units: list[float], output: float) -> Tensor:
        (multiplier,), (shift,) = fixed_point([self._ratio(units, output)], self.name)
        return self._accumulate(*inputs) * float(np.ldexp(float(multiplier), -int(shift)))

    @abstractmethod
    def _accumulate(self, *inputs: Tensor) -> Tensor:
        """Return the accumulators."""


class AvgPoolStage(_ProductStage):
    """Average pooling."""

    def __init__(self, name: str, kernel: Pair, stride: Pair) -> None:
        super().__init__(name)
        self.kernel, self.stride = kernel, stride

    def _ratio(self, units: list[float], output: float) -> float:
        return units[0] / (output * self.kernel[0] * self.kernel[1])

    def _combine(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return functional.avg_pool2d(x, self.kernel, self.stride)

    def _accumulate(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return functional.avg_pool2d(x, self.kernel, self.stride, divisor_override=1)


class AddStage(ScaledStage):
    """A sum of two tensors of one shape."""

    def _combine(self, *inputs: Tensor) -> Tensor:
        first, second = inputs
        return first + second

    def _scaled(
        self, inputs: tuple[Tensor, ...], units: list[float], output: float
    ) -> tuple[Tensor, ...]:
        ratios = [unit / output for unit in units]
        multipliers, shift = shared_fixed_point(ratios, self.name)
        return tuple(
            x * (multiplier / 2**shift / ratio)
            for x, multiplier, ratio in zip(inputs, multipliers, ratios, strict=True)
        )

    def _integers(self, inputs: list[Tensor], units: list[float], output: float) -> Tensor:
        multipliers, shift = shared_fixed_point([unit / output for unit in units], self.name)
        first, second = inputs
        total: Tensor = multipliers[0] * first + multipliers[1] * second
        return total * float(np.ldexp(1.0, -shift))


class MatMulStage(_ProductStage):
    """A product of two tensors' last two axes."""

    def _combine(self, *inputs: Tensor) -> Tensor:
        return torch.matmul(*inputs)

    def _accumulate(self, *inputs: Tensor) -> Tensor:
        return torch.matmul(*inputs)


class ConstantStage(Stage):
    """A tensor that is always the same, such as a position embedding; a batch of one item."""

    def __init__(self, name: str, value: Tensor) -> None:
        super().__init__(name)
        self.value = nn.Parameter(value.detach().clone())

    def real(self, *inputs: Tensor) -> Tensor:
        return cast(Tensor, self.value)


class FloatStage(Stage):
    """What is not quantised.

    Parameters
    ----------
    operation : str
        Its kind, as `operations.read` names it.
    inputs : tuple of str
    call : Call
        Its `Source` arguments are the inputs.
    fields : dict
        Named arguments, constants among them.
    reason : str
        Why it stays float.
    """

    def __init__(
        self,
        name: str,
        operation: str,
        inputs: tuple[str, ...],
        call: Call,
        fields: dict[str, Any],
        reason: str,
    ) -> None:
        super().__init__(name)
        self.operation, self.inputs, self.reason = operation, inputs, reason
        # Modules and constants are registered, so that they move to a device with the rest.
        self.function = call.function if isinstance(call.function, nn.Module) else None
        self.constants = nn.ParameterList()
        known: dict[int, nn.Parameter] = {}

        def keep(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            if id(value) not in known:
                trained = isinstance(value, nn.Parameter) and value.requires_grad
                known[id(value)] = (
                    value
                    if isinstance(value, nn.Parameter)
                    else nn.Parameter(value, requires_grad=trained)
                )
            return known[id(value)]

        def take(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            self.constants.append(keep(value))
            return Source(len(inputs) + len(self.constants) - 1)

        args: Any = fx.node.map_aggregate(call.args, take)
        kwargs: Any = fx.node.map_aggregate(call.kwargs, take)
        self.call = Call(call.function, args, kwargs)
        self.fields = {name: keep(value) for name, value in fields.items()}

    def real(self, *inputs: Tensor) -> Tensor:
        batch = max((len(x) for x in inputs if isinstance(x, Tensor)), default=1)
        return cast(Tensor, self.call(batch, *inputs, *self.constants))


class Moves:
    """Calls one after the other, as one function."""

    def __init__(self, calls: tuple[Call, ...]) -> None:
        self.calls = calls

    def __call__(self, x: Tensor) -> Tensor:
        return _run(self.calls, x)


def _run(calls: tuple[Call, ...], x: Tensor) -> Tensor:
    batch = len(x)
    for call in calls:
        x = call(batch, x)
    return x
