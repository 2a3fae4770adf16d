"""An ONNX graph under construction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import helper, numpy_helper

__all__ = ["LAYER", "Graph"]

LAYER = "dybit.layer"
"""Key of the metadata that holds a layer's table, at the node that makes the layer's output."""


class Graph:
    """Nodes and constants so far; intermediate results are named as they come.

    Members
    -------
    nodes : list of NodeProto
    constants : dict of str to TensorProto
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def add(
        self,
        operator: str,
        *inputs: str,
        domain: str = "",
        output: str | None = None,
        **attributes: Any,
    ) -> str:
        """Append a node with one output and return the output's name."""
        name = output or f"{operator.lower()}.{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(operator, inputs, [name], name=name, domain=domain, **attributes)
        )
        return name

    def constant(self, value: ArrayLike | NDArray[Any], name: str | None = None) -> str:
        """Add a constant and return its name; a name that is there already stays."""
        array = np.asarray(value)
        name = name or f"constant.{len(self.constants)}"
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def finish(self, name: str, result: str, table: Mapping[str, Any]) -> None:
        """Let the node that made `result` make the layer `name`, and keep the layer's table."""
        node = self.nodes[-1]
        if list(node.output) != [result]:
            raise ValueError(f"{name}: result must be what the last node makes, not {result}")
        node.name = node.output[0] = name
        entry = node.metadata_props.add()
        entry.key, entry.value = LAYER, json.dumps(table, sort_keys=True)
