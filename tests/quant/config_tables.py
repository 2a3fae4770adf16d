"""Quant configs as tables, for tests to change."""

from __future__ import annotations

import copy
from typing import Any

__all__ = ["BASE", "changed", "esb"]

BASE: dict[str, Any] = {
    "array": {"rows": 8, "columns": 4, "max_reduction": 1152, "accumulator_depth": 64},
    "default": {"weight_bits": 8, "activation_bits": 8},
    "layers": {"conv1": {"weight_bits": 4}, "head": {"weight_bits": 2, "activation_bits": 2}},
}


def changed(path: str, value: object) -> dict[str, Any]:
    """`BASE` with the field at `path` set, or taken away when `value` is None."""
    data = copy.deepcopy(BASE)
    *tables, field = path.split(".")
    table = data
    for name in tables:
        table = table.setdefault(name, {})
    if value is None:
        del table[field]
    else:
        table[field] = value
    return data


def esb(**fields: Any) -> dict[str, Any]:
    """`BASE` for an ESB array, with fields of the array set."""
    data = changed("array.family", "esb")
    data["array"] |= {"activations": "signed"} | fields
    data["layers"] = {"conv1": {"weight_bits": 4, "activation_bits": 4}}
    return data
