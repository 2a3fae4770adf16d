"""Stages that stay float as `Float` layers, so that a network runs without torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dybit.quant.tensor import NetworkError
from dybit.quant.torch.modules import Shape
from dybit.quant.torch.stages import FloatStage
from dybit.quant.torch.windows import pair

__all__ = ["FloatForm", "float_form"]

Arrays = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class FloatForm:
    """What a float stage is without torch.

    Attributes
    ----------
    operation : str
        One of `dybit.quant.float_layers.OPERATIONS`.
    parameters : dict
    arrays : dict of str to ndarray of float64
        With the axes of torch, the batch left out, and as many as the input has.
    image : bool, optional
        Whether it reads and makes tensors with channels last; None if either will do.
    """

    operation: str
    parameters: dict[str, Any]
    arrays: Arrays
    image: bool | None = None


def float_form(stage: FloatStage, shapes: list[Shape]) -> FloatForm:
    """Return a float stage that reads tensors of `shapes` as a layer.

    Raises
    ------
    NetworkError
        If there is none.
    """
    form = _FORMS.get(stage.operation)
    found = None if form is None else form(stage, shapes)
    if found is None:
        raise NetworkError(
            f"{stage.name}: {stage.operation} stays float ({stage.reason}) and has no form outside "
            "torch; replace it, or keep to the fake-quantised model"
        )
    return found


Form = Callable[[FloatStage, list[Shape]], FloatForm | None]


def _plain(operation: str) -> Form:
    return lambda stage, shapes: FloatForm(operation, {}, {})


def _clamp(stage: FloatStage, shapes: list[Shape]) -> FloatForm | None:
    fields, low, high = stage.fields, None, None
    match stage.operation:
        case "relu":
            low, high = 0.0, np.inf
        case "relu6":
            low, high = 0.0, 6.0
        case "hardtanh":
            low, high = fields.get("min_val", -1.0), fields.get("max_val", 1.0)
        case _:
            low, high = fields.get("min"), fields.get("max")
    low, high = -np.inf if low is None else low, np.inf if high is None else high
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        return None
    return FloatForm("clamp", {"low": float(low), "high": float(high)}, {})


def _gelu(stage: FloatStage, shapes: list[Shape]) -> FloatForm:
    return FloatForm("gelu", {"tanh": stage.fields.get("approximate") == "tanh"}, {})


def _leaky_relu(stage: FloatStage, shapes: list[Shape]) -> FloatForm:
    return FloatForm("leaky_relu", {"slope": float(stage.fields.get("negative_slope", 0.01))}, {})


def _softmax(stage: FloatStage, shapes: list[Shape]) -> FloatForm | None:
    axis = _axis(stage.fields.get("dim"), shapes[0])
    return None if axis is None else FloatForm("softmax", {"axis": axis}, {}, image=False)


def _layer_norm(stage: FloatStage, shapes: list[Shape]) -> FloatForm:
    fields = stage.fields
    size = tuple(fields["normalized_shape"])
    weight, bias = fields.get("weight"), fields.get("bias")
    arrays = {
        "weight": np.ones(size) if weight is None else _array(weight),
        "bias": np.zeros(size) if bias is None else _array(bias),
    }
    epsilon = float(fields.get("eps", 1e-5))
    return FloatForm("layer_norm", {"epsilon": epsilon}, arrays, image=False)


def _batch_norm(stage: FloatStage, shapes: list[Shape]) -> FloatForm | None:
    fields = stage.fields
    mean, var = fields.get("running_mean"), fields.get("running_var")
    if mean is None or var is None or fields.get("training"):
        return None
    factor = (var.double() + fields.get("eps", 1e-5)).rsqrt()
    if fields.get("weight") is not None:
        factor = factor * fields["weight"].double()
    offset = -mean.double() * factor
    if fields.get("bias") is not None:
        offset = offset + fields["bias"].double()
    # Channels come first among the axes of an item.
    behind = (...,) + (None,) * (len(shapes[0]) - 1)
    return _affine(factor[behind], offset[behind], shapes)


def _affine(factor: Tensor, offset: Tensor, shapes: list[Shape]) -> FloatForm | None:
    """Return a product and a sum with constants, whose axes are aligned with the input's."""
    rank = len(shapes[0])
    arrays: Arrays = {}
    for name, value in (("factor", factor), ("offset", offset)):
        array = _array(value)
        # The batch is one more axis in front.
        if array.ndim == rank + 1 and array.shape[0] == 1:
            array = array[0]
        if array.ndim > rank:
            return None
        arrays[name] = array.reshape((1,) * (rank - array.ndim) + array.shape)
    return FloatForm("affine", {}, arrays)


def _sum(stage: FloatStage, shapes: list[Shape]) -> FloatForm | None:
    if stage.fields.get("alpha", 1) != 1:
        return None
    sign = 1.0 if stage.operation == "add" else -1.0
    if len(shapes) == 2:
        return _pair(stage, "add" if sign > 0 else "subtract", shapes)
    first, second = stage.fields.get("input"), stage.fields.get("other")
    if first is None and second is None:
        return None  # a tensor and itself
    one = torch.ones((), dtype=torch.float64)
    if first is None:
        return _affine(one, sign * _tensor(second), shapes)
    return _affine(sign * one, _tensor(first), shapes)


def _product(stage: FloatStage, shapes: list[Shape]) -> FloatForm | None:
    if len(shapes) == 2:
        return _pair(stage, "multiply", shapes)
    first, second = stage.fields.get("input"), stage.fields.get("other")
    if first is None and second is None:
        return None  # a tensor and itself
    factor = _tensor(second if first is None else first)
    return _affine(factor, torch.zeros((), dtype=torch.float64), shapes)


def _quotient(stage: FloatStage, shapes: list[Shape]) -> FloatForm | None:
    divisor = stage.fields.get("other")
    if divisor is None or stage.fields.get("rounding_mode") is not None:
        return None
    return _affine(1 / _tensor(divisor), torch.zeros((), dtype=torch.float64), shapes)


def _pair(stage: FloatStage, operation: str, shapes: list[Shape]) -> FloatForm | None:
    return FloatForm(operation, {}, {}) if len(shapes[0]) == len(shapes[1]) else None


def _mean(stage: FloatStage, shapes: list[Shape]) -> FloatForm | None:
    dims = stage.fields.get("dim")
    axes = [_axis(dim, shapes[0]) for dim in ([dims] if isinstance(dims, int) else dims or [])]
    if not axes or None in axes:
        return None
    keep = bool(stage.fields.get("keepdim", False))
    return FloatForm("mean", {"axes": tuple(axes), "keep": keep}, {}, image=False)


def _conv2d(stage: FloatStage, shapes: list[Shape]) -> FloatForm | None:
    fields = stage.fields
    weight, bias = fields.get("weight"), fields.get("bias")
    padding = fields.get("padding", 0)
    zeros = getattr(stage.function, "padding_mode", "zeros") == "zeros"
    if weight is None or len(shapes) != 1 or not zeros or padding == "same":
        return None
    parameters = {
        "stride": pair(fields.get("stride", 1)),
        "padding": pair(0 if padding == "valid" else padding),
        "dilation": pair(fields.get("dilation", 1)),
        "groups": int(fields.get("groups", 1)),
    }
    arrays = {"weight": _array(weight.permute(2, 3, 1, 0)), "bias": _bias(bias, len(weight))}
    return FloatForm("conv2d", parameters, arrays, image=True)


def _linear(stage: FloatStage, shapes: list[Shape]) -> FloatForm | None:
    weight, bias = stage.fields.get("weight"), stage.fields.get("bias")
    if weight is None or len(shapes) != 1:
        return None
    arrays = {"weight": _array(weight.T), "bias": _bias(bias, len(weight))}
    return FloatForm("linear", {}, arrays, image=False)


def _matmul(stage: FloatStage, shapes: list[Shape]) -> FloatForm | None:
    return FloatForm("matmul", {}, {}, image=False) if len(shapes) == 2 else None


_FORMS: dict[str, Form] = {
    **{kind: _plain(kind) for kind in ("sigmoid", "tanh", "silu", "hardsigmoid", "hardswish")},
    **dict.fromkeys(("relu", "relu6", "hardtanh", "clamp"), _clamp),
    **dict.fromkeys(("add", "sub"), _sum),
    "mul": _product,
    "div": _quotient,
    "gelu": _gelu,
    "leaky_relu": _leaky_relu,
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "batch_norm": _batch_norm,
    "mean": _mean,
    "conv2d": _conv2d,
    "linear": _linear,
    "matmul": _matmul,
}


def _axis(dim: Any, shape: Shape) -> int | None:
    """Return an axis of torch without the batch; None if it is the batch, or none."""
    if not isinstance(dim, int):
        return None
    axis = dim % (len(shape) + 1) - 1
    return axis if axis >= 0 else None


def _tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().double()
    return torch.tensor(float(value), dtype=torch.float64)


def _array(value: Tensor) -> NDArray[np.float64]:
    return np.ascontiguousarray(value.detach().cpu().numpy(), np.float64)


def _bias(bias: Tensor | None, outputs: int) -> NDArray[np.float64]:
    return np.zeros(outputs) if bias is None else _array(bias)
