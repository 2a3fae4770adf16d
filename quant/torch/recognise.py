"""Which operations have integer stages, and why others stay float.

Each function appends what an operation computes and returns None, or appends nothing and returns
the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from dybit.quant.torch.builder import Builder
from dybit.quant.torch.modules import ComputeStage, ConvStage, LinearStage, Shape
from dybit.quant.torch.operations import Call, Operation, Source
from dybit.quant.torch.stages import (
    AddStage,
    AvgPoolStage,
    ConcatStage,
    ConstantStage,
    MatMulStage,
    MaxPoolStage,
    ScaledStage,
)
from dybit.quant.torch.windows import adaptive_kernel, conv_window, pool_window

__all__ = ["RECOGNISED"]

_INFINITE = float("inf")


def _conv2d(graph: Builder, operation: Operation) -> str | None:
    fields = operation.fields
    reason = _why_no_weights(graph, operation, fields.get("weight"))
    if reason is not None:
        return reason
    window = conv_window(operation, graph.shape(operation.inputs[0]))
    if isinstance(window, str):
        return window
    name, groups = graph.free(operation.name), fields.get("groups", 1)
    stage = ConvStage(name, fields["weight"], fields.get("bias"), *window, groups)
    graph.put(operation, stage, graph.name(operation.inputs[0]))
    return None


def _linear(graph: Builder, operation: Operation) -> str | None:
    fields = operation.fields
    reason = _why_no_weights(graph, operation, fields.get("weight"))
    if reason is not None:
        return reason
    stage = LinearStage(graph.free(operation.name), fields["weight"], fields.get("bias"))
    graph.put(operation, stage, graph.name(operation.inputs[0]))
    return None


def _why_no_weights(graph: Builder, operation: Operation, weight: Any) -> str | None:
    if not isinstance(weight, Tensor) or len(operation.inputs) != 1:
        return "its weights depend on data"
    if graph.uses[id(weight)] > 1:
        return "its weights are used more than once"
    if not graph.traced.has_batch_first(operation.inputs[0]):
        return "the first axis of its input is not the batch"
    return None


def _batch_norm(graph: Builder, operation: Operation) -> str | None:
    fields, (source, *others) = operation.fields, operation.inputs
    if others or fields.get("training") or not isinstance(fields.get("running_mean"), Tensor):
        return "it has no running statistics"
    stage = graph.made.get(source)
    follows = isinstance(stage, ComputeStage) and not stage.relu
    # A linear layer on several axes has its channels elsewhere than batch norm.
    fits = isinstance(stage, ConvStage) or len(graph.shape(source)) == 1
    if not (follows and fits and graph.traced.readers(source) == [operation.node]):
        return "it does not directly follow a convolution or linear layer"
    assert isinstance(stage, ComputeStage)
    stage.fold(
        fields["running_mean"],
        fields["running_var"],
        fields.get("eps", 1e-5),
        fields.get("weight"),
        fields.get("bias"),
    )
    graph.follow(operation)
    graph.made[operation.node] = stage
    return None


def _relu(graph: Builder, operation: Operation) -> str | None:
    ceiling = _ceiling(operation)
    if ceiling is None:
        return "it has no integer form"
    reader, node = operation.node, operation.inputs[0]
    while node not in graph.made and node in graph.through:
        if graph.traced.readers(node) != [reader]:
            break
        reader, node = node, graph.through[node]
    stage = graph.made.get(node)
    folds = isinstance(stage, ComputeStage | AddStage | MatMulStage)
    if not folds or graph.traced.readers(node) != [reader]:
        return "it does not follow a convolution, linear layer, sum or product"
    assert isinstance(stage, ComputeStage | ScaledStage)
    stage.relu = True
    if ceiling < _INFINITE:
        stage.ceiling = min(ceiling, stage.ceiling or ceiling)
    graph.follow(operation)
    return None


def _ceiling(operation: Operation) -> float | None:
    """Return the largest output of a ReLU, infinity for the plain one; None if it is none."""
    fields = operation.fields
    match operation.kind:
        case "relu":
            return _INFINITE
        case "relu6":
            return 6.0
        case "hardtanh":
            low, high = fields.get("min_val", -1.0), fields.get("max_val", 1.0)
        case _:
            low, high = fields.get("min"), fields.get("max")
    high = _INFINITE if high is None else high
    numbers = isinstance(low, int | float) and isinstance(high, int | float)
    return float(high) if numbers and low == 0 and high > 0 else None


def _max_pool2d(graph: Builder, operation: Operation) -> str | None:
    window = pool_window(operation, graph.shape(operation.inputs[0]))
    if isinstance(window, str):
        return window
    stage = MaxPoolStage(graph.free(operation.name), *window)
    graph.put(operation, stage, graph.name(operation.inputs[0]))
    del graph.made[operation.node]
    graph.through[operation.node] = operation.inputs[0]
    return None


def _avg_pool2d(graph: Builder, operation: Operation) -> str | None:
    window = pool_window(operation, graph.shape(operation.inputs[0]))
    if isinstance(window, str):
        return window
    stage = AvgPoolStage(graph.free(operation.name), *window[:2])
    graph.put(operation, stage, graph.name(operation.inputs[0]))
    return None


def _adaptive_avg_pool2d(graph: Builder, operation: Operation) -> str | None:
    kernel = adaptive_kernel(operation, graph.shape(operation.inputs[0]))
    if isinstance(kernel, str):
        return kernel
    stage = AvgPoolStage(graph.free(operation.name), kernel, kernel)
    graph.put(operation, stage, graph.name(operation.inputs[0]))
    return None


def _mean(graph: Builder, operation: Operation) -> str | None:
    shape, dims = graph.shape(operation.inputs[0]), operation.fields.get("dim")
    axes = {dim % (len(shape) + 1) for dim in dims} if isinstance(dims, tuple | list) else set()
    if len(shape) != 3 or axes != {2, 3}:
        return "it is no mean over height and width"
    stage = AvgPoolStage(graph.free(operation.name), (shape[1], shape[2]), (shape[1], shape[2]))
    if operation.fields.get("keepdim"):
        graph.put(operation, stage, graph.name(operation.inputs[0]))
    else:
        pooled = (shape[0], 1, 1)
        flat = Call(torch.flatten, (Source(0), 1), {})
        graph.append(stage, pooled, graph.name(operation.inputs[0]))
        graph.place(operation, stage, flat)
    return None


def _add(graph: Builder, operation: Operation) -> str | None:
    if operation.fields.get("alpha", 1) != 1:
        return f"alpha={operation.fields['alpha']}"
    shape = graph.traced.shape(operation.node)
    terms = [operation.fields.get("input"), operation.fields.get("other")]
    return _join(graph, operation, AddStage, terms, [shape, shape])


def _cat(graph: Builder, operation: Operation) -> str | None:
    tensors = list(operation.fields["tensors"])
    shape = graph.traced.shape(operation.node)
    axis = operation.fields.get("dim", 0) % len(shape)
    if axis == 0:
        return "it joins along the batch"
    extents = [
        (graph.traced.shape(x) if isinstance(x, fx.Node) else tuple(x.shape))[axis] for x in tensors
    ]
    shapes = [(*shape[:axis], extent, *shape[axis + 1 :]) for extent in extents]
    return _join(graph, operation, lambda name: ConcatStage(name, axis), tensors, shapes)


def _join(
    graph: Builder,
    operation: Operation,
    make: Callable[[str], Any],
    terms: list[Any],
    shapes: list[Shape],
) -> str | None:
    """Append what joins terms of these shapes, constants made stages."""
    constants: dict[int, Tensor] = {}
    for index, (term, shape) in enumerate(zip(terms, shapes, strict=True)):
        if isinstance(term, fx.Node):
            if not graph.traced.has_batch_first(term) or graph.traced.shape(term) != shape:
                return "its operands have several shapes"
        else:
            constant = _constant(term, shape)
            if constant is None:
                return "it has a number for an operand"
            constants[index] = constant
    names = []
    for index, term in enumerate(terms):
        if index in constants:
            stage = ConstantStage(graph.free(f"{operation.name}.constant"), constants[index])
            graph.append(stage, shapes[index][1:])
            names.append(stage.name)
        else:
            names.append(graph.name(term))
    graph.put(operation, make(graph.free(operation.name)), *names)
    return None


def _constant(term: Any, shape: Shape) -> Tensor | None:
    """Return a constant as one item of a batch of `shape`; None if it does not fit."""
    if not isinstance(term, Tensor) or not term.ndim or not term.is_floating_point():
        return None
    own = (1,) * (len(shape) - term.ndim) + tuple(term.shape)
    fits = len(own) == len(shape) and own[0] == 1
    if not fits or any(a not in (1, b) for a, b in zip(own[1:], shape[1:], strict=True)):
        return None
    return term.expand(1, *shape[1:])


def _matmul(graph: Builder, operation: Operation) -> str | None:
    first, second = operation.fields.get("input"), operation.fields.get("other")
    if isinstance(first, fx.Node) and isinstance(second, Tensor) and second.ndim == 2:
        reason = _why_no_weights(graph, operation, second)
        if reason is None:
            stage = LinearStage(graph.free(operation.name), second.T, None)
            graph.put(operation, stage, graph.name(first))
        return reason
    if not (isinstance(first, fx.Node) and isinstance(second, fx.Node)):
        return "one of its operands is a constant"
    shapes = graph.traced.shape(first), graph.traced.shape(second)
    leading = shapes[0][:-2] == shapes[1][:-2] and len(shapes[0]) == len(shapes[1]) >= 3
    if not leading or not all(map(graph.traced.has_batch_first, (first, second))):
        return "its operands differ in their leading axes"
    names = graph.name(first), graph.name(second)
    graph.put(operation, MatMulStage(graph.free(operation.name)), *names)
    return None


RECOGNISED: dict[str, Callable[[Builder, Operation], str | None]] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "relu": _relu,
    "relu6": _relu,
    "hardtanh": _relu,
    "clamp": _relu,
    "max_pool2d": _max_pool2d,
    "avg_pool2d": _avg_pool2d,
    "adaptive_avg_pool2d": _adaptive_avg_pool2d,
    "mean": _mean,
    "add": _add,
    "cat": _cat,
    "matmul": _matmul,
}
"""By kind."""
