"""Stages without weights of their own on the array: pooling, sums, joins, moves, and floats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.nn import functional

from dybit.quant.tensor import QuantTensor, fixed_point, shared_fixed_point
from dybit.quant.torch.modules import ActivationQuantizer, Pair, Shape, Stage
from dybit.quant.torch.operations import Call, Source

__all__ = [
    "AddStage",
    "AvgPoolStage",
    "ConcatStage",
    "ConstantStage",
    "FlattenStage",
    "FloatStage",
    "JoinStage",
    "MatMulStage",
    "MaxPoolStage",
    "MoveStage",
    "Moves",
    "PassingStage",
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


class AvgPoolStage(Stage):
    """Average pooling."""

    source: ActivationQuantizer | None

    def __init__(self, name: str, kernel: Pair, stride: Pair) -> None:
        super().__init__(name)
        self.kernel, self.stride = kernel, stride
        self.source = None

    def real(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return functional.avg_pool2d(x, self.kernel, self.stride)

    def forward(self, *inputs: Tensor) -> Tensor:
        y = self.real(*inputs)
        if self.quantizer is None:
            return y
        if self.quantizer.tensor is not None and self.source is not None:
            assert self.source.tensor is not None
            ratio = self.source.tensor.unit / self.quantizer.tensor.unit
            y = y * _snapped(ratio / (self.kernel[0] * self.kernel[1]), self.name)
        return cast(Tensor, self.quantizer(y))


class JoinStage(Stage):
    """A sum or a product of two tensors, with an activation function.

    Members
    -------
    sources : pair of ActivationQuantizer, optional
        Of its inputs, where the result is made of codes.
    relu : bool
    ceiling : float, optional
        Largest output, 6 for ReLU6.
    """

    sources: tuple[ActivationQuantizer, ActivationQuantizer] | None = None

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.relu = False
        self.ceiling: float | None = None

    def activate(self, y: Tensor) -> Tensor:
        """Apply the activation function."""
        return y.clamp(0, self.ceiling) if self.relu else y

    def tensors(self) -> tuple[QuantTensor, QuantTensor, QuantTensor] | None:
        """Return how both inputs and the output are read, once calibrated."""
        if self.quantizer is None or self.sources is None:
            return None
        found = [q.tensor for q in (*self.sources, self.quantizer)]
        if any(tensor is None for tensor in found):
            return None
        return cast("tuple[QuantTensor, QuantTensor, QuantTensor]", tuple(found))


class AddStage(JoinStage):
    """A sum of two tensors of one shape."""

    def real(self, *inputs: Tensor) -> Tensor:
        first, second = inputs
        return self.activate(first + second)

    def forward(self, *inputs: Tensor) -> Tensor:
        first, second = inputs
        tensors = self.tensors()
        if tensors is not None:
            # As the integers are scaled, so that only float sums are rounded otherwise.
            ratios = [tensor.unit / tensors[2].unit for tensor in tensors[:2]]
            multipliers, shift = shared_fixed_point(ratios, self.name)
            first, second = (
                x * (multiplier / 2**shift / ratio)
                for x, multiplier, ratio in zip(inputs, multipliers, ratios, strict=True)
            )
        y = self.activate(first + second)
        return y if self.quantizer is None else cast(Tensor, self.quantizer(y))


class MatMulStage(JoinStage):
    """A product of two tensors' last two axes."""

    def real(self, *inputs: Tensor) -> Tensor:
        return self.activate(torch.matmul(*inputs))

    def forward(self, *inputs: Tensor) -> Tensor:
        y = torch.matmul(*inputs)
        tensors = self.tensors()
        if tensors is not None:
            first, second, output = (tensor.unit for tensor in tensors)
            y = y * _snapped(first * second / output, self.name)
        y = self.activate(y)
        return y if self.quantizer is None else cast(Tensor, self.quantizer(y))


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


def _snapped(ratio: float, name: str) -> float:
    """Return by how much multiplier and shift miss a ratio."""
    (multiplier,), (shift,) = fixed_point([ratio], name)
    exact: float = float(np.ldexp(float(multiplier), -int(shift)))
    # A ratio below the range of both has few bits of multiplier or none, and stays.
    return exact / ratio if multiplier >> 15 else 1.0
