"""A saved quantised network as a workload."""

from __future__ import annotations

import math
from typing import Any

from dybit.quant.layer import Layer, Shape
from dybit.quant.layers import Add, AvgPool2d, Concat, Conv2d, Linear, MatMul, MaxPool2d, View
from dybit.quant.network import QuantNetwork
from dybit.quant.workloads.layer_shape import Image, LayerKind, LayerShape
from dybit.quant.workloads.workload import Workload

__all__ = ["network_workload"]

_KINDS: dict[type[Layer], LayerKind] = {
    Linear: LayerKind.LINEAR,
    MatMul: LayerKind.MATMUL,
    Add: LayerKind.ADD,
    Concat: LayerKind.CONCAT,
    MaxPool2d: LayerKind.MAX_POOL,
    AvgPool2d: LayerKind.AVG_POOL,
    View: LayerKind.VIEW,
}


def network_workload(network: QuantNetwork) -> Workload:
    """Return the workload of a quantised network; its layers keep their names."""
    layers = []
    for layer, shapes, output in network.shapes():
        fields: dict[str, Any] = {}
        for field in ("kernel", "stride", "groups"):
            if isinstance(layer, Conv2d | MaxPool2d | AvgPool2d) and hasattr(layer, field):
                fields[field] = getattr(layer, field)
        if isinstance(layer, Conv2d | MaxPool2d):
            fields["padding"] = (*layer.padding, *layer.padding)
        layers.append(
            LayerShape(
                name=layer.name,
                kind=_kind(layer),
                inputs=layer.inputs,
                input_shape=_image(shapes[0] if shapes else output),
                output_shape=_image(output),
                channel_parameters=int(isinstance(layer, Conv2d | Linear)),
                relu=_unsigned(layer),
                **fields,
            )
        )
    return Workload(network.name, _image(network.input_shape), tuple(layers))


def _kind(layer: Layer) -> LayerKind:
    if isinstance(layer, Conv2d):
        return LayerKind.of_convolution(layer.weights.shape[2] * layer.groups, layer.groups)
    return _KINDS.get(type(layer), LayerKind.FLOAT)


def _unsigned(layer: Layer) -> bool:
    """Return whether nothing that a layer makes can be negative."""
    made = layer.makes
    return bool(getattr(layer, "relu", False)) or (made is not None and not made.format.signed)


def _image(shape: Shape) -> Image:
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return math.prod(shape[:-1]), 1, shape[-1] if shape else 1
