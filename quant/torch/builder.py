"""Stages under construction, one operation of a traced module after the other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor, fx

from dybit.quant.layer import INPUT
from dybit.quant.tensor import NetworkError
from dybit.quant.torch.modules import Shape, Stage
from dybit.quant.torch.operations import MOVES, Call, Operation, Source, read
from dybit.quant.torch.stages import FlattenStage, FloatStage, Moves, MoveStage
from dybit.quant.torch.tracing import Batch, Traced

__all__ = ["Builder"]


@dataclass(frozen=True, slots=True)
class _Value:
    """A tensor: what a stage makes, `shape`, moved about by some calls."""

    stage: str
    shape: Shape
    calls: tuple[Call, ...] = ()


class Builder:
    """The stages so far.

    Members
    -------
    traced : Traced
    stages : dict of str to Stage
    made : dict of Node to Stage
        The stage that computes a node.
    through : dict of Node to Node
        Nodes that keep the order of values, with the node they read: ReLU may come before them.
    uses : Counter of int
        How many operations read a constant tensor, by its id.
    """

    def __init__(self, traced: Traced, operations: list[Operation]) -> None:
        self.traced = traced
        self.stages: dict[str, Stage] = {}
        self.made: dict[fx.Node, Stage] = {}
        self.through: dict[fx.Node, fx.Node] = {}
        fields = (field for operation in operations for field in operation.fields.values())
        self.uses = Counter(id(field) for field in fields if isinstance(field, Tensor))
        self._values = {traced.input: _Value(INPUT, self.shape(traced.input))}
        self._moved: dict[fx.Node, str] = {}

    def shape(self, node: fx.Node) -> Shape:
        """Return the shape of a tensor, its first axis left out."""
        return self.traced.shape(node)[1:]

    def put(self, operation: Operation, stage: Stage, *inputs: str) -> None:
        """Append the stage that computes an operation."""
        node = operation.node
        self.append(stage, self.shape(node) if self.traced.has_shape(node) else (), *inputs)
        self._values[node] = _Value(stage.name, stage.shape)
        self.made[node] = stage

    def place(self, operation: Operation, stage: Stage, call: Call) -> None:
        """Let an operation's result be what an appended stage makes, moved about by a call."""
        self._values[operation.node] = _Value(stage.name, stage.shape, (call,))

    def append(self, stage: Stage, shape: Shape, *inputs: str) -> None:
        """Append a stage that computes no node by itself."""
        stage.inputs, stage.shape = inputs, shape
        self.stages[stage.name] = stage

    def follow(self, operation: Operation) -> None:
        """Let an operation's result be its first input: nothing is left to compute."""
        source = operation.inputs[0]
        self._values[operation.node] = self._values[source]
        self.through[operation.node] = source

    def free(self, name: str) -> str:
        """Return a name that no tensor has yet, `name` if possible."""
        taken = {INPUT, *self.stages}
        numbered = (f"{name}_{number}" for number in range(1, len(taken) + 1))
        return name if name not in taken else next(n for n in numbered if n not in taken)

    def name(self, node: fx.Node) -> str:
        """Return the name of a tensor, its elements moved to where they belong."""
        value = self._values[node]
        if not value.calls:
            return value.stage
        if node not in self._moved:
            self._moved[node] = self._make_moves(node, value)
        return self._moved[node]

    def move(self, operation: Operation) -> bool:
        """Note an operation that only moves elements; its stage is made where it is read."""
        node, call, inputs = operation.node, operation.call, operation.inputs
        if operation.kind in ("expand_as", "view_as", "reshape_as") and len(inputs) == 2:
            if not self.traced.has_batch_first(node):
                return False
            function = getattr(Tensor, operation.kind.removesuffix("_as"))
            call = Call(function, (Source(0), Batch(1), *self.shape(node)), {})
        elif operation.kind not in MOVES or len(inputs) != 1 or call.args[:1] != (Source(0),):
            return False
        if inputs[0] in self.made and not self.traced.has_shape(inputs[0]):
            return False  # one of several results
        value = self._values[inputs[0]]
        self._values[node] = replace(value, calls=(*value.calls, call))
        self.through[node] = inputs[0]
        return True

    def keep_float(self, operation: Operation, reason: str) -> None:
        """Append an operation as it is."""
        names = tuple(self.name(node) for node in operation.inputs)
        fields = fx.node.map_aggregate(
            operation.fields, lambda x: None if isinstance(x, fx.Node) else x
        )
        name = self.free(operation.name)
        stage = FloatStage(name, operation.kind, names, operation.call, dict(fields), reason)
        self.put(operation, stage, *names)

    def finish(self) -> list[Stage]:
        """Return the stages; the last makes what the model returns."""
        if self.name(self.traced.output) == INPUT:
            raise NetworkError("model must compute something, not return its input")
        return list(self.stages.values())

    def _make_moves(self, node: fx.Node, value: _Value) -> str:
        """Append what moves a stage's elements, unless they stay where they are."""
        shape, name = self.shape(node), self.free(read(self.traced, node).name)
        moves = MoveStage(name, value.shape, value.calls)
        stage: Stage = moves
        places = moves.places() if self.traced.has_batch_first(node) else None
        if places is None:
            call = Call(Moves(value.calls), (Source(0),), {})
            reason = "it moves elements from one item of a batch to another"
            stage = FloatStage(name, "move", (value.stage,), call, {}, reason)
        elif np.array_equal(places.reshape(-1), np.arange(np.prod(value.shape))):
            if shape == value.shape:
                return value.stage
            if len(value.shape) == 3 and len(shape) == 1:
                stage = FlattenStage(name, value.shape, value.calls)
        self.append(stage, shape, value.stage)
        return name
