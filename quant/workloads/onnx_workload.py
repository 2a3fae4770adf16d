"""Any ONNX file as a workload.

As in `dybit.quant.torch.prepare`, batch norm, constants added and multiplied, and ReLU belong to
the layer before them where nobody else reads that; what has no form in integers is a float layer,
and counts no multiply-accumulates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

from dybit.quant.layer import INPUT
from dybit.quant.workloads.layer_shape import LayerKind, LayerShape, Padding
from dybit.quant.workloads.onnx_graph import OnnxGraph
from dybit.quant.workloads.workload import Workload

__all__ = ["onnx_workload"]

BATCH_NORM = 2
"""Parameters of batch norm for each channel."""


def onnx_workload(path: str | Path) -> Workload:
    """Return the workload of an ONNX model; its weights are not read.

    Further inputs than the first are float layers that read nothing.

    Raises
    ------
    NetworkError
        In one line, if it is no ONNX model, or shapes do not follow from it.
    """
    graph = OnnxGraph(Path(path))
    reading = _Reading(graph)
    for node in graph.nodes:
        reading.add(node)
    return Workload(Path(path).stem, graph.image(graph.inputs[0]), tuple(reading.layers.values()))


class _Reading:
    """Layers by name, and which of them makes each of the graph's tensors."""

    def __init__(self, graph: OnnxGraph) -> None:
        self.graph = graph
        self.layers: dict[str, LayerShape] = {}
        first, *others = graph.inputs
        self.makers = {first: INPUT}
        for name in others:
            self.append(name, name, LayerKind.FLOAT, ())

    def add(self, node: onnx.NodeProto) -> None:
        """Append what a node computes, or let it be part of the layer before."""
        read = _READERS.get(node.op_type)
        if read is None or not read(self, node):
            self.append_all(node, LayerKind.FLOAT)

    def append_all(self, node: onnx.NodeProto, kind: LayerKind) -> bool:
        """Append a layer for each tensor that a node makes and somebody reads."""
        made = [name for name in node.output if name]
        for name in made:
            self.append(node.name if len(made) == 1 else name, name, kind, self.sources(node))
        return True

    def append(
        self, name: str, tensor: str, kind: LayerKind, inputs: tuple[str, ...], **fields: Any
    ) -> None:
        """Append a layer that makes `tensor`."""
        unique = name and name not in (INPUT, *self.layers)
        own = name if unique else tensor
        source = next((key for key, maker in self.makers.items() if maker in inputs[:1]), tensor)
        fields.setdefault("input_shape", self.graph.image(source))
        fields.setdefault("output_shape", self.graph.image(tensor))
        self.layers[own] = LayerShape(name=own, kind=kind, inputs=inputs, **fields)
        self.makers[tensor] = own

    def sources(self, node: onnx.NodeProto) -> tuple[str, ...]:
        """Return the layers that a node reads."""
        return tuple(self.makers[name] for name in self.graph.active(node))

    def before(self, node: onnx.NodeProto) -> LayerShape | None:
        """Return the layer whose only reader is a node, of one tensor that is not constant."""
        active = self.graph.active(node)
        if len(active) != 1 or not self.graph.read_once(active[0]):
            return None
        return self.layers.get(self.makers[active[0]])

    def become(self, node: onnx.NodeProto, layer: LayerShape, **fields: Any) -> bool:
        """Let a node be part of a layer."""
        self.layers[layer.name] = dataclasses.replace(layer, **fields)
        self.makers[node.output[0]] = layer.name
        return True


def _conv(reading: _Reading, node: onnx.NodeProto) -> bool:
    graph = reading.graph
    weights = graph.shape(node.input[1])
    if not graph.is_constant(node.input[1]) or len(weights) != 4:
        return False
    attributes = graph.attributes(node)
    groups = attributes.get("group", 1)
    source = graph.image(node.input[0])
    window = _window(reading, node, (int(weights[2] or 1), int(weights[3] or 1)))
    reading.append(
        node.name,
        node.output[0],
        LayerKind.of_convolution(source[2], groups),
        reading.sources(node),
        groups=groups,
        channel_parameters=int(len(node.input) > 2),
        **window,
    )
    return True


def _window(reading: _Reading, node: onnx.NodeProto, kernel: tuple[int, int]) -> dict[str, Any]:
    attributes = reading.graph.attributes(node)
    stride = tuple(attributes.get("strides", (1, 1)))
    dilation = tuple(attributes.get("dilations", (1, 1)))
    padding: Padding = tuple(attributes.get("pads", (0, 0, 0, 0)))
    automatic = attributes.get("auto_pad", b"NOTSET")
    if automatic in (b"SAME_UPPER", b"SAME_LOWER"):
        padding = _same(reading, node, (kernel, stride, dilation), automatic == b"SAME_LOWER")
    return {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding}


def _same(reading: _Reading, node: onnx.NodeProto, window: tuple[Any, ...], lower: bool) -> Padding:
    """Return the padding with which there is a window for each stride."""
    before, after = [], []
    sizes = reading.graph.image(node.input[0])[:2]
    for size, kernel, stride, dilation in zip(sizes, *window, strict=True):
        needed = (-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1
        total = max(0, needed - size)
        before.append((total + lower) // 2)
        after.append(total - before[-1])
    return before[0], before[1], after[0], after[1]


def _gemm(reading: _Reading, node: onnx.NodeProto) -> bool:
    graph = reading.graph
    first, second = node.input[0], node.input[1]
    if graph.is_constant(first) or graph.attributes(node).get("transA", 0):
        return False
    if graph.is_constant(second):
        if len(graph.shape(second)) != 2:
            return False
        bias = int(len(node.input) > 2 and bool(node.input[2]))
        fields = {"channel_parameters": bias}
        reading.append(node.name, node.output[0], LayerKind.LINEAR, reading.sources(node), **fields)
        return True
    reading.append(node.name, node.output[0], LayerKind.MATMUL, reading.sources(node)[:2])
    return True


def _pool(kind: LayerKind) -> Callable[[_Reading, onnx.NodeProto], bool]:
    def read(reading: _Reading, node: onnx.NodeProto) -> bool:
        kernel = reading.graph.attributes(node)["kernel_shape"]
        if len(kernel) != 2:
            return False
        window = _window(reading, node, (kernel[0], kernel[1]))
        reading.append(node.name, node.output[0], kind, reading.sources(node), **window)
        return True

    return read


def _whole(kind: LayerKind) -> Callable[[_Reading, onnx.NodeProto], bool]:
    def read(reading: _Reading, node: onnx.NodeProto) -> bool:
        graph = reading.graph
        source, shape = node.input[0], graph.shape(node.input[0])
        if node.op_type.startswith("Reduce"):
            axes = graph.attributes(node).get("axes")
            if axes is None and len(node.input) > 1:
                axes = graph.values(node.input[1])
            if axes is None or sorted(axis % len(shape) for axis in axes) != [2, 3]:
                return False
        if len(shape) != 4:
            return False
        height, width, channels = graph.image(source)
        window = (height, width)
        reading.append(
            node.name,
            node.output[0],
            kind,
            reading.sources(node),
            kernel=window,
            stride=window,
            output_shape=(1, 1, channels),
        )
        return True

    return read


def _join(kind: LayerKind) -> Callable[[_Reading, onnx.NodeProto], bool]:
    def read(reading: _Reading, node: onnx.NodeProto) -> bool:
        graph = reading.graph
        active = graph.active(node)
        if kind is LayerKind.ADD and len(active) == 1:
            return _affine(reading, node)
        shapes = {graph.shape(name) for name in active}
        if len(active) != len(node.input) or (kind is LayerKind.ADD and len(shapes) != 1):
            return False
        return reading.append_all(node, kind)

    return read


def _affine(reading: _Reading, node: onnx.NodeProto) -> bool:
    """Let a factor or an offset be part of the layer before."""
    layer = reading.before(node)
    if layer is None or not layer.has_weights or layer.relu:
        return False
    added = BATCH_NORM if node.op_type == "BatchNormalization" else 0
    return reading.become(node, layer, channel_parameters=layer.channel_parameters + added)


def _relu(reading: _Reading, node: onnx.NodeProto) -> bool:
    layer = reading.before(node)
    if layer is None or layer.kind in (LayerKind.FLOAT, LayerKind.CONCAT, LayerKind.VIEW):
        return False
    return reading.become(node, layer, relu=True)


def _clip(reading: _Reading, node: onnx.NodeProto) -> bool:
    least: Any = reading.graph.attributes(node).get("min")
    if len(node.input) > 1:
        least = next(iter(reading.graph.values(node.input[1]) or ()), None)
    return least == 0 and _relu(reading, node)


def _pass(reading: _Reading, node: onnx.NodeProto) -> bool:
    (source,) = reading.graph.active(node)
    reading.makers[node.output[0]] = reading.makers[source]
    return True


def _view(reading: _Reading, node: onnx.NodeProto) -> bool:
    return len(reading.graph.active(node)) == 1 and reading.append_all(node, LayerKind.VIEW)


_READERS: dict[str, Callable[[_Reading, onnx.NodeProto], bool]] = {
    "Conv": _conv,
    **dict.fromkeys(("Gemm", "MatMul"), _gemm),
    "MaxPool": _pool(LayerKind.MAX_POOL),
    "AveragePool": _pool(LayerKind.AVG_POOL),
    "GlobalMaxPool": _whole(LayerKind.MAX_POOL),
    **dict.fromkeys(("GlobalAveragePool", "ReduceMean"), _whole(LayerKind.AVG_POOL)),
    **dict.fromkeys(("Add", "Sum"), _join(LayerKind.ADD)),
    "Concat": _join(LayerKind.CONCAT),
    **dict.fromkeys(("BatchNormalization", "Mul", "Sub", "Div"), _affine),
    "Relu": _relu,
    "Clip": _clip,
    **dict.fromkeys(("Identity", "Dropout"), _pass),
    **dict.fromkeys(
        ("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split"), _view
    ),
}
"""How nodes are read; each returns False where a node stays float after all."""
