"""The tables of ``network.toml``, both ways."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from dybit.quant.formats import format_from_dict
from dybit.quant.layers import (
    AvgPool2d,
    ComputeLayer,
    Conv2d,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    NetworkError,
    QuantTensor,
)

__all__ = ["ARRAYS", "VERSION", "layer_table", "parse", "tensor_table"]

VERSION = 1
"""Version of the file format."""

ARRAYS = ("weights", "weight_scale", "bias", "multiplier", "shift")
"""Arrays of a compute layer, kept beside the tables."""

_KINDS: dict[str, type[Layer]] = {
    "conv2d": Conv2d,
    "linear": Linear,
    "max_pool2d": MaxPool2d,
    "avg_pool2d": AvgPool2d,
    "flatten": Flatten,
}
_PAIRS = ("kernel", "stride", "padding")


def tensor_table(tensor: QuantTensor) -> dict[str, Any]:
    """Return a tensor as a table."""
    return {"scale": float(tensor.scale), "format": tensor.format.to_dict()}


def layer_table(layer: Layer) -> dict[str, Any]:
    """Return all of a layer but its arrays and its input, which the layer before it states."""
    kind = next(kind for kind, cls in _KINDS.items() if type(layer) is cls)
    table: dict[str, Any] = {"kind": kind, "name": layer.name}
    known = {field.name for field in dataclasses.fields(layer)}
    for pair in _PAIRS:
        if pair in known:
            table[pair] = list(getattr(layer, pair))
    if isinstance(layer, ComputeLayer):
        table["relu"] = layer.relu
        if layer.max_code is not None:
            table["max_code"] = layer.max_code
        table["weight_format"] = layer.weight_format.to_dict()
    if isinstance(layer, ComputeLayer | AvgPool2d) and layer.output is not None:
        table["output"] = tensor_table(layer.output)
    return table


def parse(
    structure: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> tuple[str, tuple[int, ...], QuantTensor, tuple[Layer, ...]]:
    """Return name, input shape, input tensor and layers of a network.

    Raises
    ------
    NetworkError
        On anything missing, of the wrong type or left over, naming it.
    """
    table = _Table("network", structure)
    version = table.take("version", int)
    if version != VERSION:
        raise NetworkError(f"version must be {VERSION}, not {version}")
    name, _ = table.take("name", str), table.take("arrays", str)
    shape = tuple(table.take("input_shape", list))
    if not shape or any(type(extent) is not int or extent < 1 for extent in shape):
        raise NetworkError(f"input_shape must be a list of positive integers, not {list(shape)}")
    first = tensor = _tensor(_Table("input", table.take("input", dict)))
    rows, _ = table.take("layers", list), table.take("config", dict)
    table.finish()

    left = dict(arrays)
    layers: list[Layer] = []
    for index, row in enumerate(rows):
        layer = _layer(_Table(f"layers[{index}]", row), tensor, left)
        layers.append(layer)
        # A raw output ends the chain, which the network checks.
        tensor = layer.output or tensor
    if left:
        raise NetworkError(f"arrays must be those of the layers, not {', '.join(sorted(left))}")
    return name, shape, first, tuple(layers)


class _Table:
    """A table that is taken apart field by field; what is missing or left over is refused."""

    def __init__(self, where: str, fields: Any) -> None:
        if not isinstance(fields, Mapping):
            raise NetworkError(f"{where} must be a table, not {fields!r}")
        self.where = where
        self.fields = dict(fields)

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    def take(self, name: str, kind: type) -> Any:
        if name not in self.fields:
            raise NetworkError(f"{self.where}.{name} is missing; must be {_WORDS[kind]}")
        value = self.fields.pop(name)
        if type(value) is not kind:
            raise NetworkError(f"{self.where}.{name} must be {_WORDS[kind]}, not {value!r}")
        return value

    def finish(self) -> None:
        if self.fields:
            unknown = ", ".join(self.fields)
            raise NetworkError(f"{self.where} must have no other fields, not {unknown}")


_WORDS: dict[type, str] = {
    int: "an integer",
    float: "a float",
    str: "a string",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}


def _tensor(table: _Table) -> QuantTensor:
    scale = table.take("scale", float)
    fmt = _format(table, "format")
    table.finish()
    return QuantTensor(fmt, scale)


def _format(table: _Table, name: str) -> Any:
    fields = table.take(name, dict)
    try:
        return format_from_dict(fields)
    except (TypeError, ValueError) as error:
        raise NetworkError(f"{table.where}.{name}: {error}") from None


def _layer(table: _Table, tensor: QuantTensor, arrays: dict[str, NDArray[Any]]) -> Layer:
    kind = table.take("kind", str)
    if kind not in _KINDS:
        raise NetworkError(f"{table.where}.kind must be one of {', '.join(_KINDS)}, not {kind!r}")
    cls = _KINDS[kind]
    name = table.take("name", str)
    fields: dict[str, Any] = {"name": name, "input": tensor}
    known = {field.name for field in dataclasses.fields(cls)}
    for pair in _PAIRS:
        if pair in known:
            fields[pair] = tuple(table.take(pair, list))
    if cls is AvgPool2d or (issubclass(cls, ComputeLayer) and "output" in table):
        fields["output"] = _tensor(_Table(f"{table.where}.output", table.take("output", dict)))
    if issubclass(cls, ComputeLayer):
        fields["relu"] = table.take("relu", bool)
        if "max_code" in table:
            fields["max_code"] = table.take("max_code", int)
        fields["weight_format"] = _format(table, "weight_format")
        for array in ARRAYS:
            if f"{name}.{array}" not in arrays:
                raise NetworkError(f"{name}.{array} is missing from the arrays")
            fields[array] = arrays.pop(f"{name}.{array}")
    table.finish()
    return cls(**fields)
