"""The layers of a network as nodes of an ONNX graph, channels last throughout."""

from __future__ import annotations

from typing import Any

import numpy as np

from dybit.quant import network_tables as tables
from dybit.quant.interchange.codes import Style
from dybit.quant.interchange.floats import FLOATS, channels_first, channels_last
from dybit.quant.interchange.nodes import Graph
from dybit.quant.layers import (
    INPUT,
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Float,
    Layer,
    Linear,
    MatMul,
    MaxPool2d,
    QuantTensor,
    View,
)
from dybit.quant.network import QuantNetwork

__all__ = ["IMAGES", "emit"]

IMAGES = "images"
"""Name of the graph's input."""


def emit(network: QuantNetwork, style: Style) -> Graph:
    """Return the graph of a network; the output of each layer goes by the layer's name."""
    emitter = _Emitter(network, style)
    for layer in network.layers:
        emitter.add(layer)
    return emitter.graph


class _Emitter:
    def __init__(self, network: QuantNetwork, style: Style) -> None:
        self.graph = graph = Graph()
        self.style = style
        self._tensors: dict[str, QuantTensor | None] = {INPUT: network.input}
        self._integers: dict[str, str] = {}
        self._shapes = {layer.name: shape for layer, _, shape in network.shapes()}
        if network.input is None:
            graph.add("Cast", IMAGES, to=11, output=INPUT)
        else:
            style.check(INPUT, network.input.format)
            # In float32, as the golden model divides images of that type.
            scaled = graph.add("Div", IMAGES, graph.constant(np.float32(network.input.scale)))
            encoded = self._encode(graph.add("Cast", scaled, to=11), network.input, 1.0)
            graph.nodes[-1].output[0] = INPUT
            assert encoded

    def add(self, layer: Layer) -> None:
        """Append the nodes of a layer."""
        output = layer.makes
        if output is not None:
            self.style.check(layer.name, output.format)
        self._tensors[layer.name] = output
        match layer:
            case Conv2d() | Linear():
                result = self._compute(layer)
            case MatMul():
                product = self.graph.add("MatMul", *map(self._units, layer.inputs))
                result = self._scale(
                    product, layer.accumulator_scale, layer.multiplier, layer.shift, layer
                )
            case Add():
                result = self._add(layer)
            case AvgPool2d():
                result = self._average(layer)
            case Float():
                result = self._float(layer)
            case _:
                result = self._pass(layer)
        self.graph.finish(layer.name, result, tables.layer_table(layer))

    def _units(self, name: str) -> str:
        """Return a quantised tensor as integers in units of its format."""
        tensor = self._tensors[name]
        assert tensor is not None
        if name not in self._integers:
            self._integers[name] = self.style.integers(self.graph, name, tensor.format)
        return self._integers[name]

    def _reals(self, name: str) -> str:
        tensor = self._tensors[name]
        if tensor is None:
            return name
        unit = self.graph.constant(np.float64(tensor.unit))
        return self.graph.add("Mul", self._units(name), unit)

    def _encode(
        self,
        x: str,
        tensor: QuantTensor,
        unit: float,
        relu: bool = False,
        max_code: int | None = None,
    ) -> str:
        """Round `x`, counted in values over `unit`, to a tensor's format."""
        graph, fmt = self.graph, tensor.format
        if unit != fmt.unit:
            x = graph.add("Mul", x, graph.constant(np.float64(unit / fmt.unit)))
        if relu:
            x = graph.add("Relu", x)
        if max_code is not None:
            largest = float(fmt.integers(np.array([max_code], np.uint8))[0])
            bounds = (graph.constant(np.float64(bound)) for bound in (-largest, largest))
            x = graph.add("Clip", x, *bounds)
        return self.style.encode(graph, x, fmt)

    def _compute(self, layer: Conv2d | Linear) -> str:
        graph, name = self.graph, layer.name
        self.style.check(name, layer.weight_format)
        weights = self.style.weights(graph, f"{name}.weights", layer.weights, layer.weight_format)
        x = self._units(layer.inputs[0])
        if isinstance(layer, Conv2d):
            window: dict[str, Any] = {
                "strides": list(layer.stride),
                "pads": list(layer.padding) * 2,
            }
            kernel = graph.add("Transpose", weights, perm=[3, 2, 0, 1])
            first = channels_first(graph, x)
            sums = graph.add("Conv", first, kernel, group=layer.groups, **window)
            sums = channels_last(graph, sums)
        else:
            sums = graph.add("MatMul", x, weights)
        bias = graph.add("Cast", graph.constant(layer.bias, f"{name}.bias"), to=11)
        sums = graph.add("Add", sums, bias)
        multiplier, shift, scale = (
            graph.constant(getattr(layer, field), f"{name}.{field}")
            for field in ("multiplier", "shift", "weight_scale")
        )
        if layer.output is None:
            unit = graph.constant(np.float64(layer.weight_format.unit))
            scale = graph.add("Mul", scale, graph.constant(np.float64(layer.input.unit)))
            return graph.add("Mul", sums, graph.add("Mul", scale, unit))
        down = graph.add("Neg", graph.add("Cast", shift, to=11))
        power = graph.add("Pow", graph.constant(np.float64(2)), down)
        scaled = graph.add("Mul", sums, graph.add("Cast", multiplier, to=11))
        scaled = graph.add("Mul", scaled, power)
        return self._encode(
            scaled, layer.output, layer.output.format.unit, layer.relu, layer.max_code
        )

    def _scale(
        self, sums: str, unit: float, multiplier: int, shift: int, layer: MatMul | AvgPool2d
    ) -> str:
        """Re-quantise accumulators that have one scale for all."""
        graph = self.graph
        if layer.output is None:
            return graph.add("Mul", sums, graph.constant(np.float64(unit)))
        factor = graph.constant(np.ldexp(np.float64(multiplier), -shift))
        relu, max_code = (
            (layer.relu, layer.max_code) if isinstance(layer, MatMul) else (False, None)
        )
        scaled = graph.add("Mul", sums, factor)
        return self._encode(scaled, layer.output, layer.output.format.unit, relu, max_code)

    def _add(self, layer: Add) -> str:
        graph = self.graph
        first, second = (
            graph.add("Mul", self._units(name), graph.constant(np.float64(multiplier)))
            for name, multiplier in zip(layer.inputs, layer.multipliers, strict=True)
        )
        total = graph.add("Add", first, second)
        down = graph.constant(np.ldexp(1.0, -layer.shift))
        scaled = graph.add("Mul", total, down)
        unit = layer.output.format.unit
        return self._encode(scaled, layer.output, unit, layer.relu, layer.max_code)

    def _average(self, layer: AvgPool2d) -> str:
        graph = self.graph
        channels = self._shapes[layer.name][2]
        # A sum, which is exact, in place of a mean, which is not.
        ones = graph.constant(np.ones((channels, 1, *layer.kernel)))
        first = channels_first(graph, self._units(layer.inputs[0]))
        sums = graph.add("Conv", first, ones, group=channels, strides=list(layer.stride))
        sums = channels_last(graph, sums)
        return self._scale(sums, 1.0, layer.multiplier, layer.shift, layer)

    def _pass(self, layer: Layer) -> str:
        """Append a layer that passes elements on."""
        graph, real = self.graph, layer.makes is None
        if isinstance(layer, MaxPool2d):
            (name,) = layer.inputs
            x = channels_first(graph, self._reals(name) if real else self._units(name))
            window: dict[str, Any] = {
                "strides": list(layer.stride),
                "pads": list(layer.padding) * 2,
            }
            x = graph.add("MaxPool", x, kernel_shape=list(layer.kernel), **window)
            x = channels_last(graph, x)
            tensor = layer.makes
            return x if tensor is None else self._encode(x, tensor, tensor.format.unit)
        inputs = [self._reals(name) if real else name for name in layer.inputs]
        if isinstance(layer, Concat):
            return graph.add("Concat", *inputs, axis=layer.axis + 1)
        assert isinstance(layer, View)
        places = np.array(layer.start)
        for size, stride in zip(layer.sizes, layer.strides, strict=True):
            places = places[..., None] + np.arange(size) * stride
        flat = graph.add("Reshape", inputs[0], graph.constant(np.array([0, -1])))
        taken = graph.add("Gather", flat, graph.constant(places.reshape(-1)), axis=1)
        return graph.add("Reshape", taken, graph.constant(np.array([0, *layer.shape])))

    def _float(self, layer: Float) -> str:
        graph = self.graph
        if layer.operation == "constant":
            value = graph.constant(layer.arrays["value"], f"{layer.name}.value")
            size = graph.add("Shape", IMAGES, start=0, end=1)
            shape = graph.constant(np.array(layer.arrays["value"].shape, np.int64))
            result = graph.add("Expand", value, graph.add("Concat", size, shape, axis=0))
        else:
            inputs = [self._reals(name) for name in layer.inputs]
            result = FLOATS[layer.operation](graph, layer, *inputs)
        if layer.output is None:
            return result
        scaled = graph.add("Div", result, graph.constant(np.float64(layer.output.scale)))
        return self._encode(scaled, layer.output, 1.0)
