"""What the host computes between runs of the accelerator, as operations of the board driver.

Max-pooling, sums of tensors, products of activations and moves of elements: an operation holds
all it needs, tables of the formats included. To run one of them on the accelerator instead, give
`dybit.sim.runtime.compiler` an `EngineLayer` for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dybit.quant.float_layers import OPERATIONS as OPERATIONS_OF_FLOATS
from dybit.quant.formats import NumberFormat
from dybit.quant.layers import (
    Add,
    AvgPool2d,
    ComputeLayer,
    Concat,
    Float,
    Layer,
    MatMul,
    MaxPool2d,
    QuantTensor,
    View,
)
from dybit.sim import float_operations
from dybit.sim.board_driver import OPERATIONS, Array, Operation
from dybit.sim.golden import rank_limits, thresholds

__all__ = ["HOST_OPERATIONS", "decoding", "encoding", "operation", "scaling"]


def encoding(tensor: QuantTensor | None) -> Operation:
    """Return what makes the network's input of images."""
    if tensor is None:
        return {"kind": "reals"}
    return {"kind": "encode", **_encoding(tensor)}


def decoding(tensor: QuantTensor) -> Operation:
    """Return what makes real numbers of codes."""
    return {"kind": "decode", "integers": _integers(tensor.format), "unit": tensor.unit}


def scaling(layer: ComputeLayer) -> Operation:
    """Return what makes real numbers of a layer's accumulators."""
    scale = layer.accumulator_scale.tolist()
    return {"kind": "scale", "bias": layer.bias.tolist(), "scale": scale}


def operation(layer: Layer, batch: int) -> Operation:
    """Return what computes a layer, of a batch of images, that the accelerator does not run."""
    match layer:
        case MaxPool2d(input=tensor):
            pool = {name: list(getattr(layer, name)) for name in ("kernel", "stride", "padding")}
            if tensor is None:
                return {"kind": "max_pool_reals", **pool}
            fmt = tensor.format
            ranks = np.searchsorted(fmt.integers(fmt.sorted_codes), _integers(fmt))
            codes = fmt.sorted_codes.tolist()
            return {"kind": "max_pool", "ranks": ranks.tolist(), "codes": codes, **pool}
        case AvgPool2d():
            return {
                "kind": "average_pool",
                "integers": _integers(layer.input.format),
                "kernel": list(layer.kernel),
                "stride": list(layer.stride),
                "multiplier": layer.multiplier,
                **_requantization(layer.shift, layer.output.format),
            }
        case Add(operands=operands):
            return {
                "kind": "add",
                "integers": [_integers(operand.format) for operand in operands],
                "multipliers": list(layer.multipliers),
                **_requantization(layer.shift, layer.output.format, layer.relu, layer.max_code),
            }
        case MatMul(operands=operands):
            tables = [_integers(operand.format) for operand in operands]
            if layer.output is None:
                scale = layer.accumulator_scale
                return {"kind": "matmul", "integers": tables, "scale": scale}
            return {
                "kind": "matmul",
                "integers": tables,
                "scale": None,
                "multiplier": layer.multiplier,
                **_requantization(layer.shift, layer.output.format, layer.relu, layer.max_code),
            }
        case Concat():
            return {"kind": "concat", "axis": layer.axis}
        case View():
            box = {name: list(getattr(layer, name)) for name in ("shape", "sizes", "strides")}
            return {"kind": "view", "start": layer.start, **box}
        case Float():
            return {
                "kind": "float",
                "batch": batch,
                "operation": layer.operation,
                "parameters": {
                    name: list(value) if isinstance(value, tuple) else value
                    for name, value in layer.parameters.items()
                },
                "arrays": {name: array.tolist() for name, array in layer.arrays.items()},
                "output": None if layer.output is None else _encoding(layer.output),
            }
        case _:
            raise TypeError(f"layer must be one of a QuantNetwork, not {type(layer).__name__}")


def _encoding(tensor: QuantTensor) -> Operation:
    fmt = tensor.format
    tables = {name: fmt.thresholds(name).tolist() for name in ("float32", "float64")}
    return {"scale": tensor.scale, "thresholds": tables, "codes": fmt.sorted_codes.tolist()}


def _integers(fmt: NumberFormat) -> list[int]:
    codes = np.arange(1 << fmt.bits)
    integers: list[int] = fmt.integers(codes).tolist()
    return integers


def _requantization(
    shift: int, fmt: NumberFormat, relu: bool = False, max_code: int | None = None
) -> Operation:
    last = len(fmt.sorted_codes) - 1
    return {
        "shift": shift,
        "thresholds": thresholds(fmt).tolist(),
        "codes": fmt.sorted_codes.tolist(),
        "ranks": [0, last] if max_code is None else list(rank_limits(fmt, max_code)),
        "relu": relu,
    }


def _float(
    batch: int,
    operation: str,
    parameters: Mapping[str, Any],
    arrays: Mapping[str, Any],
    output: Operation | None,
) -> Callable[..., Array]:
    """Compute a float layer; this alone needs more than the board driver has."""
    layer = Float(
        name=operation,
        inputs=("",) * OPERATIONS_OF_FLOATS[operation].inputs,
        operation=operation,
        parameters={
            name: tuple(value) if isinstance(value, list) else value
            for name, value in parameters.items()
        },
        arrays={name: np.asarray(array, np.float64) for name, array in arrays.items()},
    )
    encode = None if output is None else OPERATIONS["encode"](**output)

    def compute(*inputs: Array) -> Array:
        reals = float_operations.evaluate(layer, list(inputs), batch)
        return reals if encode is None else encode(reals)

    return compute


HOST_OPERATIONS = {**OPERATIONS, "float": _float}
"""What the host computes beside a model: all that the board driver does, and float layers."""
