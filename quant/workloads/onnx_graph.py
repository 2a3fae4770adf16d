"""An ONNX file as a graph of tensors: what is constant, what has which shape, who reads what."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import helper, numpy_helper, shape_inference

from dybit.quant.tensor import NetworkError
from dybit.quant.workloads.layer_shape import Image

__all__ = ["OnnxGraph"]


class OnnxGraph:
    """The graph of a model, its shapes inferred.

    Parameters
    ----------
    path : Path
        Weights stored outside the file are not needed.

    Members
    -------
    nodes : list of NodeProto
        Those that depend on an input, in order.
    inputs : list of str
        Tensors that are no initialisers.
    outputs : set of str

    Raises
    ------
    NetworkError
        If the file is no ONNX model, or has no input.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            model = onnx.load(str(path), load_external_data=False)
            model = shape_inference.infer_shapes(model, data_prop=True)
        except OSError as error:
            reason = (error.strerror or "cannot be read").lower()
            raise NetworkError(f"{path}: {reason}; must be an ONNX model") from None
        except (DecodeError, shape_inference.InferenceError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise NetworkError(f"{path}: must be an ONNX model: {reason}") from None
        graph = model.graph
        self._values = {
            **{tensor.name: _dims(tensor) for tensor in graph.initializer},
            **{
                value.name: _declared(value)
                for value in (*graph.input, *graph.value_info, *graph.output)
            },
        }
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        constant = set(self._tensors)
        self.inputs = [value.name for value in graph.input if value.name not in constant]
        if not self.inputs:
            raise NetworkError(f"{path}: must have an input that is no initialiser")
        self.outputs = {value.name for value in graph.output}
        self.nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            if all(not name or name in constant for name in node.input):
                constant.update(node.output)
                self._note_constant(node)
            else:
                self.nodes.append(node)
        self._constant = constant
        self._readers = Counter(name for node in self.nodes for name in node.input)
        self._batch = self.shape(self.inputs[0])[:1]

    def is_constant(self, name: str) -> bool:
        """Return whether a tensor is the same for every input."""
        return name in self._constant

    def active(self, node: onnx.NodeProto) -> list[str]:
        """Return the inputs of a node that are not constant."""
        return [name for name in node.input if name and name not in self._constant]

    def read_once(self, name: str) -> bool:
        """Return whether one node alone reads a tensor, and nobody outside."""
        return self._readers[name] == 1 and name not in self.outputs

    def shape(self, name: str) -> tuple[int | None, ...]:
        """Return the shape of a tensor, None for an axis that may vary."""
        shape = self._values.get(name)
        if shape is None:
            raise NetworkError(
                f"{self.path}: the shape of {name} must follow from the model; "
                "give its input a fixed shape, or let onnx infer it"
            )
        return shape

    def image(self, name: str) -> Image:
        """Return the shape of one item of a tensor; of (C, H, W) as (H, W, C)."""
        shape = self.shape(name)
        item = shape[1:] if shape and shape[:1] == self._batch else shape
        sizes = []
        for size in item:
            if size is None:
                raise NetworkError(
                    f"{self.path}: {name} must have a fixed shape but for the batch, "
                    f"not {list(shape)}"
                )
            sizes.append(size)
        if len(sizes) == 3 and len(shape) == 4:
            return sizes[1], sizes[2], sizes[0]
        leading = 1
        for size in sizes[:-1]:
            leading *= size
        return leading, 1, sizes[-1] if sizes else 1

    def values(self, name: str) -> list[int] | None:
        """Return the integers of a constant that the file holds; None where it does not."""
        tensor = self._tensors.get(name)
        if tensor is None:
            return None
        found: list[int] = numpy_helper.to_array(tensor).reshape(-1).tolist()
        return found

    def attributes(self, node: onnx.NodeProto) -> dict[str, Any]:
        """Return the attributes of a node."""
        return {each.name: helper.get_attribute_value(each) for each in node.attribute}

    def _note_constant(self, node: onnx.NodeProto) -> None:
        attributes = self.attributes(node)
        if node.op_type == "Constant" and "value" in attributes:
            self._tensors[node.output[0]] = attributes["value"]
            self._values.setdefault(node.output[0], _dims(attributes["value"]))


def _dims(tensor: onnx.TensorProto) -> tuple[int | None, ...]:
    return tuple(tensor.dims)


def _declared(value: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
