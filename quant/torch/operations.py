"""Nodes of a traced graph as operations with named fields, however they are written.

A module, a function, a method and an operator of torch.export that compute the same thing come
out as one kind with the same fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from dybit.quant.torch.tracing import Batch, Traced, function_name

__all__ = ["MOVES", "Call", "Operation", "Source", "read"]

FIELDS = {
    "conv2d": "input weight bias stride padding dilation groups",
    "linear": "input weight bias",
    "batch_norm": "input running_mean running_var weight bias training momentum eps",
    "layer_norm": "input normalized_shape weight bias eps",
    "hardtanh": "input min_val max_val",
    "clamp": "input min max",
    "leaky_relu": "input negative_slope",
    "gelu": "input approximate",
    "softmax": "input dim",
    "max_pool2d": "input kernel_size stride padding dilation ceil_mode return_indices",
    "avg_pool2d": "input kernel_size stride padding ceil_mode count_include_pad divisor_override",
    "adaptive_avg_pool2d": "input output_size",
    "mean": "input dim keepdim",
    "add": "input other alpha",
    "sub": "input other alpha",
    "mul": "input other",
    "div": "input other rounding_mode",
    "matmul": "input other",
    "cat": "tensors dim",
    "dropout": "input p training",
}
"""Names of the arguments, in order, of the kinds whose fields matter."""

# torch.export keeps an older order.
_EXPORTED = {"batch_norm": "input weight bias running_mean running_var training momentum eps"}

_KINDS: dict[str, str] = {
    **dict.fromkeys(("iadd", "__add__", "__radd__", "__iadd__"), "add"),
    **dict.fromkeys(("imul", "__mul__", "__rmul__", "__imul__", "multiply"), "mul"),
    **dict.fromkeys(("isub", "__sub__", "__isub__", "subtract"), "sub"),
    **dict.fromkeys(("truediv", "itruediv", "true_divide", "divide"), "div"),
    **dict.fromkeys(("mm", "bmm", "__matmul__"), "matmul"),
    **dict.fromkeys(("concat", "concatenate"), "cat"),
    "_softmax": "softmax",
    "clamp_min": "clamp",
    "clip": "clamp",
    "feature_dropout": "dropout",
    "dropout1d": "dropout",
    "dropout2d": "dropout",
}

_FUNCTIONS: dict[Any, str] = {
    functional.max_pool2d: "max_pool2d",
    functional.avg_pool2d: "avg_pool2d",
}

_MODULES: dict[type[nn.Module], str] = {
    nn.Conv2d: "conv2d",
    nn.Linear: "linear",
    nn.BatchNorm1d: "batch_norm",
    nn.BatchNorm2d: "batch_norm",
    nn.LayerNorm: "layer_norm",
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.Hardtanh: "hardtanh",
    nn.LeakyReLU: "leaky_relu",
    nn.SiLU: "silu",
    nn.GELU: "gelu",
    nn.Sigmoid: "sigmoid",
    nn.Tanh: "tanh",
    nn.Hardsigmoid: "hardsigmoid",
    nn.Hardswish: "hardswish",
    nn.Softmax: "softmax",
    nn.MaxPool2d: "max_pool2d",
    nn.AvgPool2d: "avg_pool2d",
    nn.AdaptiveAvgPool2d: "adaptive_avg_pool2d",
    nn.Flatten: "flatten",
    nn.Unflatten: "unflatten",
    nn.PixelShuffle: "pixel_shuffle",
    nn.PixelUnshuffle: "pixel_unshuffle",
    nn.ChannelShuffle: "channel_shuffle",
    nn.Identity: "identity",
    nn.Dropout: "identity",
    nn.Dropout1d: "identity",
    nn.Dropout2d: "identity",
}

MOVES = frozenset(
    (
        *("flatten", "unflatten", "view", "reshape", "expand", "squeeze", "unsqueeze"),
        *("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t"),
        *("select", "narrow", "getitem", "slice", "index_select", "flip", "roll", "rot90"),
        *("chunk", "split", "split_with_sizes", "unbind", "tensor_split", "unsafe_chunk"),
        *("repeat", "repeat_interleave", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"),
    )
)
"""Kinds that only move elements about."""

_NOTHING = frozenset(
    ["identity", "contiguous", "clone", "detach", "alias", "lift_fresh_copy", "float"]
)


@dataclass(frozen=True, slots=True)
class Source:
    """An argument that is the tensor of one of an operation's inputs."""

    index: int


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A function with its arguments: constants, `Source` and `Batch`, perhaps in lists."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __call__(self, batch: int, *tensors: Any) -> Any:
        """Return the result for a batch of that size."""

        def value(argument: Any) -> Any:
            match argument:
                case Source(index):
                    return tensors[index]
                case Batch(times):
                    return times * batch
                case _:
                    return argument

        args: Any = fx.node.map_aggregate(self.args, value)
        kwargs: Any = fx.node.map_aggregate(self.kwargs, value)
        return self.function(*args, **kwargs)


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """A node that computes a tensor.

    Members
    -------
    node : Node
    kind : str
        "identity" where it changes nothing.
    name : str
        Path of its module, or of the module that calls it and the function's own name.
    inputs : tuple of Node
        The tensors it reads that depend on data, in the order of its arguments.
    fields : dict of str to object
        Arguments by name, where `FIELDS` or a module names them; tensors that depend on data are
        nodes.
    call : Call
        All of it.
    module : Module, optional
        Where the node calls one.
    """

    node: fx.Node
    kind: str
    name: str
    inputs: tuple[fx.Node, ...]
    fields: dict[str, Any]
    call: Call
    module: nn.Module | None


def read(traced: Traced, node: fx.Node) -> Operation:
    """Return a node of `traced` as an operation."""
    args: Any = traced.resolve(node.args)
    kwargs: Any = traced.resolve(node.kwargs)
    module: nn.Module | None = None
    if node.op == "call_module":
        module = traced.module.get_submodule(str(node.target))
        kind = _MODULES.get(type(module), type(module).__name__)
        names = FIELDS.get(kind, "").split()[1:]
        fields = {name: getattr(module, name) for name in names if hasattr(module, name)}
        fields |= {"training": False, "input": args[0] if args else None}
        function: Callable[..., Any] = module
    else:
        kind = _kind(node)
        is_exported = isinstance(node.target, torch._ops.OpOverload)
        order = (_EXPORTED.get(kind) if is_exported else None) or FIELDS.get(kind, "")
        fields = dict(zip(order.split(), args, strict=False)) | kwargs
        function = _function(node)
    inputs: list[fx.Node] = []

    def source(argument: Any) -> Any:
        if not isinstance(argument, fx.Node):
            return argument
        if argument not in inputs:
            inputs.append(argument)
        return Source(inputs.index(argument))

    call_args: Any = fx.node.map_aggregate(args, source)
    call_kwargs: Any = fx.node.map_aggregate(kwargs, source)
    if kind == "dropout" and not fields.get("training", False):
        kind = "identity"
    return Operation(
        node,
        "identity" if kind in _NOTHING else kind,
        _name(node, kind),
        tuple(inputs),
        fields,
        Call(function, tuple(call_args), dict(call_kwargs)),
        module,
    )


def _kind(node: fx.Node) -> str:
    known = _FUNCTIONS.get(node.target)
    if known is not None:
        return known
    name = function_name(node)
    name = _KINDS.get(name, name)
    plain = name.removesuffix("_") if not name.endswith("__") else name
    return _KINDS.get(plain, plain)


def _function(node: fx.Node) -> Callable[..., Any]:
    if node.op == "call_method":
        method: Callable[..., Any] = getattr(Tensor, str(node.target))
        return method
    assert callable(node.target)
    return node.target


def _name(node: fx.Node, kind: str) -> str:
    if node.op == "call_module":
        return str(node.target)
    attributes = [str(n.target) for n in node.all_input_nodes if n.op == "get_attr"]
    if kind in ("conv2d", "linear") and "." in (attributes or [""])[0]:
        return attributes[0].rpartition(".")[0]
    stack = list(node.meta.get("nn_module_stack", {}).values())
    path, cls = (str(part) for part in stack[-1][:2]) if stack else ("", "")
    # torch.export sees into the modules of torch, torch.fx does not.
    if path and ".nn.modules." in cls and "container" not in cls:
        return path
    name = kind if kind in FIELDS else function_name(node)
    return f"{path}.{name}" if path else name
