"""From a PyTorch module to the chain of stages it computes, by tracing; the rest is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from dybit.quant.tensor import NetworkError
from dybit.quant.torch.modules import (
    AvgPoolStage,
    ComputeStage,
    ConvStage,
    FlattenStage,
    LinearStage,
    MaxPoolStage,
    Pair,
    Stage,
)

__all__ = ["trace"]

Shape = tuple[int, ...]


def trace(model: nn.Module, example: Tensor) -> list[Stage]:
    """Return the stages of `model` in evaluation mode, batch norm folded in.

    Parameters
    ----------
    model : Module
        Left as it is: the stages hold copies.
    example : Tensor
        An input, batch first.

    Raises
    ------
    NetworkError
        In one line naming the layer, if the model does anything but run layers one after the
        other, or a layer is not supported.
    """
    module = copy.deepcopy(model).eval()
    try:
        graph = fx.Tracer().trace(module)
        traced = fx.GraphModule(module, graph)
    except Exception as error:
        raise NetworkError(f"model cannot be traced: {_one_line(error)}") from error
    node = _placeholder(graph)
    # Two elements tell the batch from axes of size 1, which a view might also keep.
    batch = torch.cat([example[:1], example[:1]])
    try:
        with torch.no_grad():
            _Shapes(traced).run(batch)
    except Exception as error:
        raise NetworkError(
            f"model fails on an input of shape {tuple(batch.shape)}: {_one_line(error)}"
        ) from error
    chain = _Chain(traced)
    while (following := _reader(node)).op != "output":
        chain.add(following, _shape(node))
        node = following
    return chain.stages


class _Shapes(fx.Interpreter):
    """Notes the shape of every tensor, and which nodes make several."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            n.meta["shape"] = tuple(result.shape)
        elif isinstance(result, tuple | list) and any(isinstance(x, Tensor) for x in result):
            n.meta["shape"] = None
        return result


class _Chain:
    """The stages so far, extended node by node."""

    def __init__(self, traced: fx.GraphModule) -> None:
        self.traced = traced
        self.stages: list[Stage] = []

    def add(self, node: fx.Node, shape: Shape) -> None:
        """Extend the chain by a node whose input has `shape`."""
        if node.op == "call_module":
            module = self.traced.get_submodule(str(node.target))
            self._module(str(node.target), module, shape, _shape(node))
        elif node.op == "call_method":
            self._call(node, str(node.target), {}, shape)
        else:
            function = getattr(node.target, "__name__", str(node.target))
            kind = _FUNCTIONS.get(node.target) or function  # type: ignore[arg-type]
            arguments = None
            # Of other functions, arguments may fit several signatures, which is an error.
            if kind in (*_POOLS.values(), "dropout"):
                arguments = node.normalized_arguments(
                    self.traced, normalize_to_only_use_kwargs=True
                )
            self._call(node, kind, arguments.kwargs if arguments else {}, shape)

    def _module(self, name: str, module: nn.Module, shape: Shape, output: Shape) -> None:
        match module:
            case nn.Conv2d():
                self._compute(ConvStage(name, module, _conv_padding(name, module)))
            case nn.Linear():
                if len(shape) != 2:
                    raise _unsupported(name, f"a linear layer on {len(shape)} axes", "2")
                self._compute(LinearStage(name, module))
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                self._batch_norm(name, module)
            case nn.ReLU():
                self._relu(name, None)
            case nn.ReLU6():
                self._relu(name, 6.0)
            case nn.MaxPool2d() | nn.AvgPool2d() | nn.AdaptiveAvgPool2d():
                kind = type(module).__name__
                self._pool(name, _POOLS[kind], vars(module), shape)
            case nn.Flatten():
                self._flatten(name, shape, output)
            case nn.Identity() | nn.Dropout() | nn.Dropout1d() | nn.Dropout2d():
                pass
            case _:
                raise _unsupported(name, type(module).__name__, _SUPPORTED)

    def _call(self, node: fx.Node, kind: str, arguments: dict[str, Any], shape: Shape) -> None:
        name = node.name
        if kind in ("relu", "relu_"):
            self._relu(name, None)
        elif kind == "relu6":
            self._relu(name, 6.0)
        elif kind in ("flatten", "view", "reshape"):
            self._flatten(name, shape, _shape(node))
        elif kind in _POOLS.values() and arguments:
            self._pool(name, kind, arguments, shape)
        elif (kind == "dropout" and not arguments.get("training", True)) or kind == "contiguous":
            pass
        else:
            raise _unsupported(name, kind, _SUPPORTED)

    def _compute(self, stage: ComputeStage) -> None:
        if any(other.name == stage.name for other in self.stages):
            raise NetworkError(f"{stage.name}: a layer that runs twice is not supported")
        self.stages.append(stage)

    def _batch_norm(self, name: str, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        last = self.stages[-1] if self.stages else None
        if not isinstance(last, ComputeStage) or last.relu:
            raise NetworkError(
                f"{name}: batch norm must directly follow a convolution or linear layer"
            )
        if norm.running_mean is None or norm.running_var is None:
            raise NetworkError(f"{name}: batch norm must have running statistics")
        last.fold(norm)

    def _relu(self, name: str, ceiling: float | None) -> None:
        # Max-pooling and flattening keep the order of values, so ReLU may come before them.
        moved = (MaxPoolStage, FlattenStage)
        last = next(
            (stage for stage in reversed(self.stages) if not isinstance(stage, moved)), None
        )
        if not isinstance(last, ComputeStage):
            raise NetworkError(f"{name}: ReLU must follow a convolution or linear layer")
        last.relu = True
        if ceiling is not None:
            last.ceiling = ceiling

    def _pool(self, name: str, kind: str, arguments: dict[str, Any], shape: Shape) -> None:
        if len(shape) != 4:
            raise _unsupported(name, f"pooling of {len(shape)} axes", "4")
        if kind == "adaptive_avg_pool2d":
            kernel = _adaptive_kernel(name, arguments["output_size"], shape)
            self.stages.append(AvgPoolStage(name, kernel, kernel))
            return
        kernel = _pair(arguments["kernel_size"])
        stride = _pair(arguments["stride"] or kernel)
        padding = _pair(arguments["padding"])
        if arguments["ceil_mode"]:
            raise _unsupported(name, "ceil_mode=True", "False")
        if kind == "avg_pool2d":
            if padding != (0, 0):
                raise _unsupported(name, f"average pooling with padding={padding}", "0")
            if arguments["divisor_override"] is not None:
                divisor = arguments["divisor_override"]
                raise _unsupported(name, f"divisor_override={divisor}", "None")
            self.stages.append(AvgPoolStage(name, kernel, stride))
            return
        if _pair(arguments["dilation"]) != (1, 1):
            raise _unsupported(name, f"dilation={arguments['dilation']}", "1")
        if arguments.get("return_indices"):
            raise _unsupported(name, "return_indices=True", "False")
        self.stages.append(MaxPoolStage(name, kernel, stride, padding))

    def _flatten(self, name: str, shape: Shape, output: Shape) -> None:
        if output == shape and len(shape) == 2:
            return
        if len(shape) != 4 or output != (shape[0], shape[1] * shape[2] * shape[3]):
            raise _unsupported(
                name, f"a view of {shape[1:]} as {output[1:]}", "all axes but the batch as one"
            )
        self.stages.append(FlattenStage(name, shape[1:]))


_SUPPORTED = (
    "Conv2d, Linear, BatchNorm1d, BatchNorm2d, ReLU, ReLU6, MaxPool2d, AvgPool2d, "
    "AdaptiveAvgPool2d, Flatten, Dropout or Identity"
)

_POOLS = {
    "MaxPool2d": "max_pool2d",
    "AvgPool2d": "avg_pool2d",
    "AdaptiveAvgPool2d": "adaptive_avg_pool2d",
}

# Those whose own name is another, such as boolean_dispatch.
_FUNCTIONS: dict[Callable[..., Any], str] = {
    functional.max_pool2d: "max_pool2d",
    functional.avg_pool2d: "avg_pool2d",
}


def _unsupported(name: str, what: str, allowed: str) -> NetworkError:
    return NetworkError(f"{name}: {what} is not supported; must be {allowed}")


def _placeholder(graph: fx.Graph) -> fx.Node:
    inputs: list[fx.Node] = [
        node for node in graph.nodes if node.op == "placeholder" and node.users
    ]
    if len(inputs) != 1:
        names = ", ".join(node.name for node in inputs) or "none"
        raise NetworkError(f"model must read one input tensor, not {names}")
    return inputs[0]


def _reader(node: fx.Node) -> fx.Node:
    """Return the one node that reads a tensor, queries of its shape apart."""
    readers: list[fx.Node] = [
        user for user in node.users if user.op == "output" or "shape" in user.meta
    ]
    name = str(node.target)
    if len(readers) != 1:
        names = " and ".join(str(reader) for reader in readers) or "nothing"
        raise NetworkError(
            f"{name}: an output read by {names} is not supported; must be read by one layer"
        )
    if readers[0].op == "output" and readers[0].args != (node,):
        raise NetworkError("model must return one tensor")
    return readers[0]


def _shape(node: fx.Node) -> Shape:
    shape: Shape = node.meta["shape"]
    return shape


def _conv_padding(name: str, conv: nn.Conv2d) -> Pair:
    if conv.groups != 1:
        raise _unsupported(name, f"groups={conv.groups}", "1")
    if tuple(conv.dilation) != (1, 1):
        raise _unsupported(name, f"dilation={tuple(conv.dilation)}", "1")
    if conv.padding_mode != "zeros":
        raise _unsupported(name, f"padding_mode={conv.padding_mode!r}", "'zeros'")
    if conv.padding == "valid":
        return 0, 0
    if conv.padding == "same":
        height, width = conv.kernel_size
        if not (height % 2 and width % 2):
            kernel = tuple(conv.kernel_size)
            raise _unsupported(name, f"padding='same' with kernel_size={kernel}", "odd in size")
        return height // 2, width // 2
    return _pair(conv.padding)


def _adaptive_kernel(name: str, size: Any, shape: Shape) -> Pair:
    down, across = (
        extent if wanted is None else wanted
        for wanted, extent in zip(_pair(size), shape[2:], strict=True)
    )
    if shape[2] % down or shape[3] % across:
        raise _unsupported(
            name, f"output_size=({down}, {across})", f"a divisor of {shape[2]} x {shape[3]}"
        )
    return shape[2] // down, shape[3] // across


def _pair(value: Any) -> Pair:
    first, last = (value[0], value[-1]) if isinstance(value, tuple | list) else (value, value)
    return first, last


def _one_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
