"""From a PyTorch module to a graph whose arguments are known.

By torch.fx or, where Python branches on shapes, by torch.export. The graph is run on batches of
two sizes, copies of one input: what is equal in both is a constant, what grows with the batch is a
multiple of it, and what depends on the data is a tensor.
"""

from __future__ import annotations

import logging
import operator
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from dybit.quant.tensor import NetworkError
from dybit.quant.torch.attention import open_attention, open_products

__all__ = ["Batch", "Shape", "Traced", "function_name", "one_line", "trace"]

Shape = tuple[int, ...]

SIZES = (2, 3)
"""Batch sizes the graph is run on."""

_QUERIES = {"size", "dim", "numel", "sym_size", "sym_numel", "ndimension", "len"}
_ATTRIBUTES = {"shape", "ndim", "dtype", "device"}


@dataclass(frozen=True, slots=True)
class Batch:
    """A number that is so many times the size of the batch."""

    times: int


class Traced:
    """A module's graph, with what is known of every node.

    Members
    -------
    module : GraphModule
    input : Node
        The placeholder of the input tensor.
    output : Node
        What the module returns.
    nodes : list of Node
        Those that depend on the input's data and matter for the output, in order.
    """

    def __init__(self, module: fx.GraphModule, example: Tensor) -> None:
        self.module = module
        self.input = _placeholder(module.graph)
        runs = [_Run(module, self.input, _batch(example, size)) for size in SIZES]
        self._runs = (runs[0], runs[1])
        self.output = _result(module.graph)
        if self.output not in runs[0].active:
            raise NetworkError("model must return a tensor that depends on its input")
        wanted = {self.output}
        for node in reversed(list(module.graph.nodes)):
            if node in wanted:
                wanted.update(node.all_input_nodes)
        self.nodes = [n for n in module.graph.nodes if n in wanted and n in runs[0].active]

    def shape(self, node: fx.Node) -> Shape:
        """Return the shape of a tensor, its batch being of `SIZES[0]`."""
        shape = self._runs[0].shapes.get(node)
        if shape is None:
            raise NetworkError(f"{node}: must be one tensor, not several")
        return shape

    def has_shape(self, node: fx.Node) -> bool:
        """Return whether a node makes one tensor, not several."""
        return node in self._runs[0].shapes

    def has_batch_first(self, node: fx.Node) -> bool:
        """Return whether a tensor is a batch of items, and the rest of its shape constant."""
        first, second = (run.shapes.get(node) for run in self._runs)
        if first is None or second is None or not first:
            return False
        return first[1:] == second[1:] and (first[0], second[0]) == SIZES

    def readers(self, node: fx.Node) -> list[fx.Node]:
        """Return the nodes that read a tensor's data and matter, the output among them."""
        users = [user for user in node.users if user in set(self.nodes)]
        return [*users, *([user for user in node.users if user.op == "output"])]

    def resolve(self, argument: Any) -> Any:
        """Return an argument with its nodes replaced by constants, but for those of `nodes`."""
        return fx.node.map_aggregate(argument, self._resolve)

    def constant(self, node: fx.Node) -> Tensor | None:
        """Return the tensor a node always gives, a batch cut to one item; None if it varies."""
        first, second = (run.values.get(node) for run in self._runs)
        if not isinstance(first, Tensor) or not isinstance(second, Tensor):
            return None
        if first.shape == second.shape:
            return first if torch.equal(first, second) else None
        items = first.shape[:1] == SIZES[:1] and second.shape == (SIZES[1], *first.shape[1:])
        same = items and all(torch.equal(item, first[0]) for item in (*first, *second))
        return first[:1] if same else None

    def _resolve(self, argument: Any) -> Any:
        if not isinstance(argument, fx.Node) or argument in self._runs[0].active:
            return argument
        first, second = (run.values[argument] for run in self._runs)
        if isinstance(first, Tensor):
            constant = self.constant(argument)
            if constant is None:
                raise NetworkError(f"{argument}: must not depend on the size of the batch")
            return constant
        return _size(str(argument), first, second)


def trace(model: nn.Module, example: Tensor) -> Traced:
    """Trace `model`, which must be in evaluation mode and may be changed.

    Raises
    ------
    NetworkError
        In one line, if it cannot be traced, fails on the example, or is no function of one tensor.
    """
    open_attention(model)
    try:
        graph = fx.Tracer().trace(model)
        module = fx.GraphModule(model, graph)
    except Exception as error:
        module = _export(model, example, error)
    open_products(module.graph)
    _follow_changes(module.graph)
    try:
        with torch.no_grad():
            return Traced(module, example)
    except NetworkError as error:
        # The interpreter adds lines on where it was.
        raise NetworkError(one_line(error)) from None
    except Exception as error:
        shape = tuple(_batch(example, SIZES[0]).shape)
        raise NetworkError(
            f"model fails on an input of shape {shape}: {one_line(error)}"
        ) from error


def function_name(node: fx.Node) -> str:
    """Return the name of the function or method a node calls."""
    target: Any = node.target
    schema = getattr(target, "_schema", None)
    if schema is not None:
        return str(schema.name.rpartition("::")[2])
    return target if isinstance(target, str) else str(getattr(target, "__name__", target))


def one_line(error: Exception) -> str:
    """Return the first line of a message."""
    return str(error).strip().partition("\n")[0]


def _export(model: nn.Module, example: Tensor, reason: Exception) -> fx.GraphModule:
    try:
        with _silence(), torch.no_grad():
            dynamic = ({0: torch.export.Dim("batch")},)
            batch = _batch(example, SIZES[0])
            program = torch.export.export(model, (batch,), dynamic_shapes=dynamic)
            module: Any = program.module()
    except Exception:
        # What torch.fx says is about the model; torch.export talks of itself.
        raise NetworkError(f"model cannot be traced: {one_line(reason)}") from reason
    exported: fx.GraphModule = module
    for node in list(exported.graph.nodes):
        if node.target == "_guards_fn":
            exported.graph.erase_node(node)
        elif node.op == "output" and len(node.args[0]) == 1:
            node.args = node.args[0]
    return exported


@contextmanager
def _silence() -> Iterator[None]:
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


class _Run(fx.Interpreter):
    """One run of the graph, and what it noted.

    Members
    -------
    active : set of Node
        Tensors that depend on the input's data, alone or in a tuple.
    shapes : dict of Node to tuple of int
        Of the active ones that are one tensor.
    values : dict of Node to object
        Of all others.
    """

    def __init__(self, module: fx.GraphModule, source: fx.Node, batch: Tensor) -> None:
        super().__init__(module)
        self.active = {source}
        self.shapes: dict[fx.Node, Shape] = {}
        self.values: dict[fx.Node, Any] = {}
        # Of several placeholders only one is read; the others may be given anything.
        inputs = [n for n in module.graph.nodes if n.op == "placeholder"]
        self.run(*(batch if node is source else None for node in inputs))

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        reads = any(node in self.active for node in n.all_input_nodes)
        if n in self.active or (reads and n.op != "output" and _holds_tensor(result)):
            self.active.add(n)
            if isinstance(result, Tensor):
                self.shapes[n] = tuple(result.shape)
            return result
        if reads and n.op == "call_function" and n.target is getattr:
            known = n.args[1] in _ATTRIBUTES
        else:
            known = function_name(n) in _QUERIES
        if reads and n.op in ("call_function", "call_method") and not known:
            raise NetworkError(f"{n}: a number computed from data is not supported; must be a size")
        self.values[n] = result
        return result


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(map(_holds_tensor, value))
    return isinstance(value, Tensor)


def _size(name: str, first: Any, second: Any) -> Any:
    """Return what two runs agree on, or the multiple of the batch that both have."""
    if isinstance(first, tuple | list):
        return [_size(name, a, b) for a, b in zip(first, second, strict=True)]
    if first is second or first == second:
        return first
    if type(first) is type(second) is int and first * SIZES[1] == second * SIZES[0]:
        return Batch(first // SIZES[0])
    raise NetworkError(f"{name}: must be a constant or a multiple of the batch, not {first}")


def _batch(example: Tensor, size: int) -> Tensor:
    return torch.cat([example[:1]] * size)


def _placeholder(graph: fx.Graph) -> fx.Node:
    inputs: list[fx.Node] = [
        node for node in graph.nodes if node.op == "placeholder" and node.users
    ]
    if len(inputs) != 1:
        names = ", ".join(node.name for node in inputs) or "none"
        raise NetworkError(f"model must read one input tensor, not {names}")
    return inputs[0]


def _result(graph: fx.Graph) -> fx.Node:
    (output,) = (node for node in graph.nodes if node.op == "output")
    (result,) = output.args
    if not isinstance(result, fx.Node):
        raise NetworkError("model must return one tensor")
    return result


def _follow_changes(graph: fx.Graph) -> None:
    """Let what reads a tensor after it was changed in place read the changed one by name."""
    for node in graph.nodes:
        if not (node.args and isinstance(node.args[0], fx.Node) and _changes(node)):
            continue
        changed = node.args[0]
        later = False
        for other in graph.nodes:
            if later:
                other.replace_input_with(changed, node)
            later = later or other is node


def _changes(node: fx.Node) -> bool:
    """Return whether a call changes its first argument."""
    if node.op == "call_module":
        root = cast(nn.Module, node.graph.owning_module)  # a traced graph has one
        return bool(getattr(root.get_submodule(str(node.target)), "inplace", False))
    name = function_name(node)
    in_place = name.startswith("i") and getattr(operator, name, None) is node.target
    return in_place or (name.endswith("_") and name[:1] != "_") or bool(node.kwargs.get("inplace"))
