"""The tables of ``network.toml``, both ways."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from dybit.quant.code_layers import Passing
from dybit.quant.float_layers import OPERATIONS
from dybit.quant.formats import format_from_dict
from dybit.quant.layers import (
    INPUT,
    KINDS,
    Add,
    ComputeLayer,
    Float,
    Layer,
    MatMul,
    NetworkError,
    QuantTensor,
)

__all__ = [
    "VERSION",
    "array_names",
    "check_version",
    "layer_arrays",
    "layer_table",
    "parse",
    "tensor_table",
]

VERSION = 2
"""Version of the file format."""

_ARRAYS = ("weights", "weight_scale", "bias", "multiplier", "shift")


def tensor_table(tensor: QuantTensor) -> dict[str, Any]:
    """Return a tensor as a table."""
    return {"scale": float(tensor.scale), "format": tensor.format.to_dict()}


def layer_table(layer: Layer) -> dict[str, Any]:
    """Return all of a layer but its arrays and how it reads its inputs, which others state."""
    kind = next(kind for kind, cls in KINDS.items() if type(layer) is cls)
    values = {name: getattr(layer, name) for name in _stored(type(layer))}
    table = {name: _FIELDS[name][0](v) for name, v in values.items() if v is not None}
    return {"kind": kind, **table}


def layer_arrays(layer: Layer) -> dict[str, NDArray[Any]]:
    """Return the arrays of a layer, which are kept beside the tables."""
    if isinstance(layer, ComputeLayer):
        return {name: getattr(layer, name) for name in _ARRAYS}
    return dict(layer.arrays) if isinstance(layer, Float) else {}


def array_names(table: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the arrays that belong to a layer's table."""
    if table["kind"] == "float":
        return OPERATIONS[table["operation"]].arrays
    return _ARRAYS if "weight_format" in table else ()


def check_version(structure: Mapping[str, Any], path: str) -> None:
    """Refuse a file of another version, naming it, before anything else of it is looked at."""
    version = structure.get("version")
    if type(version) is not int:
        raise NetworkError(f"{path}: version must be {VERSION}, not {version!r}")
    if version > VERSION:
        raise NetworkError(
            f"{path}: version must be at most {VERSION}, not {version}: a newer dybit wrote it"
        )
    if version < VERSION:
        raise NetworkError(
            f"{path}: version must be {VERSION}, not {version}: an older dybit wrote it; "
            "quantise again"
        )


def parse(
    structure: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> tuple[str, tuple[int, ...], QuantTensor | None, tuple[Layer, ...]]:
    """Return name, input shape, input tensor and layers of a network.

    Raises
    ------
    NetworkError
        On anything missing, of the wrong type or left over, naming it.
    """
    table = _Table("network", structure)
    for name, kind in (("version", int), ("arrays", str), ("config", dict)):
        table.take(name, kind)
    network = table.take("name", str)
    shape = tuple(table.take("input_shape", list))
    if not shape or any(type(extent) is not int or extent < 1 for extent in shape):
        raise NetworkError(f"input_shape must be a list of positive integers, not {list(shape)}")
    coded = "input" in table
    first = _tensor(_Table("input", table.take("input", dict))) if coded else None
    rows = table.take("layers", list)
    table.finish()

    left = dict(arrays)
    tensors: dict[str, QuantTensor | None] = {INPUT: first}
    layers: list[Layer] = []
    for index, row in enumerate(rows):
        layer = _layer(_Table(f"layers[{index}]", row), tensors, left)
        layers.append(layer)
        tensors[layer.name] = layer.makes
    if left:
        raise NetworkError(f"arrays must be those of the layers, not {', '.join(sorted(left))}")
    return network, shape, first, tuple(layers)


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


def _parameters(table: _Table, name: str) -> dict[str, Any]:
    parameters = table.take(name, dict)
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in parameters.items()
    }


_Read = Callable[[_Table, str], Any]


def _scalar(kind: type) -> _Read:
    return lambda table, name: table.take(name, kind)


def _list(table: _Table, name: str) -> tuple[Any, ...]:
    return tuple(table.take(name, list))


def _names(table: _Table, name: str) -> tuple[str, ...]:
    names = table.take(name, list)
    if not all(isinstance(each, str) for each in names):
        raise NetworkError(f"{table.where}.{name} must be a list of strings, not {names!r}")
    return tuple(names)


def _output(table: _Table, name: str) -> QuantTensor:
    return _tensor(_Table(f"{table.where}.{name}", table.take(name, dict)))


_FIELDS: dict[str, tuple[Callable[[Any], Any], _Read]] = {
    "name": (str, _scalar(str)),
    "inputs": (list, _names),
    **dict.fromkeys(("kernel", "stride", "padding", "shape", "sizes", "strides"), (list, _list)),
    **dict.fromkeys(("start", "axis", "groups"), (int, _scalar(int))),
    "operation": (str, _scalar(str)),
    "parameters": (
        lambda parameters: {k: list(v) if type(v) is tuple else v for k, v in parameters.items()},
        _parameters,
    ),
    "relu": (bool, _scalar(bool)),
    "max_code": (int, _scalar(int)),
    "weight_format": (lambda fmt: fmt.to_dict(), _format),
    "output": (tensor_table, _output),
}
"""How fields of layers are written and read, in the order of the file."""


def _stored(cls: type[Layer]) -> dict[str, bool]:
    """Return the fields of a kind of layer that a table holds, and which it must hold."""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    return {name: fields[name].default is not None for name in _FIELDS if name in fields}


def _layer(
    table: _Table, tensors: Mapping[str, QuantTensor | None], arrays: dict[str, NDArray[Any]]
) -> Layer:
    kind = table.take("kind", str)
    if kind not in KINDS:
        raise NetworkError(f"{table.where}.kind must be one of {', '.join(KINDS)}, not {kind!r}")
    cls = KINDS[kind]
    fields: dict[str, Any] = {
        name: _FIELDS[name][1](table, name)
        for name, needed in _stored(cls).items()
        if needed or name in table
    }
    table.finish()
    name = fields["name"]
    for source in fields["inputs"]:
        if source not in tensors:
            raise NetworkError(f"{name}: inputs must be made by layers before it, not {source!r}")
    if cls is Float:
        fields["arrays"] = {
            key.removeprefix(f"{name}."): arrays.pop(key)
            for key in sorted(arrays)
            if key.rpartition(".")[0] == name
        }
        return cls(**fields)
    read: tuple[Any, ...] = tuple(tensors[source] for source in fields["inputs"])
    if None in read and not issubclass(cls, Passing):
        raise NetworkError(f"{name}: inputs must be codes, not real numbers")
    if issubclass(cls, Add | MatMul):
        if len(read) != 2:
            raise NetworkError(f"{name}: inputs must be 2 names, not {len(read)}")
        return cls(operands=read, **fields)
    if not read:
        raise NetworkError(f"{name}: inputs must be at least one name")
    fields["input"] = read[0]
    if issubclass(cls, ComputeLayer):
        for array in _ARRAYS:
            if f"{name}.{array}" not in arrays:
                raise NetworkError(f"{name}.{array} is missing from the arrays")
            fields[array] = arrays.pop(f"{name}.{array}")
    return cls(**fields)
