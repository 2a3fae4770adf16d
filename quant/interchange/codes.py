"""Two ways to write quantised tensors in a graph: codes of our own domain, and QONNX.

Both hold integers in units of their format as float64 where they compute, so that everything
between one rounding and the next is exact.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from dybit.quant.formats import DyBit, Integer, NumberFormat
from dybit.quant.interchange.nodes import Graph
from dybit.quant.tensor import NetworkError

__all__ = ["DOMAIN", "OPSET", "QONNX_DOMAIN", "CodeStyle", "QonnxStyle", "Style"]

DOMAIN = "dybit"
QONNX_DOMAIN = "qonnx.custom_op.general"
OPSET = 21

_ENCODE = """<opset_import: ["": 21], domain: "dybit">
Encode <midpoints, ties_up, codes> (x) => (y) {
  middle = Constant <value: tensor = @midpoints> ()
  up = Constant <value: tensor = @ties_up> ()
  order = Constant <value: tensor = @codes> ()
  last = Constant <value_ints = [-1]> ()
  wide = Unsqueeze (x, last)
  above = Greater (wide, middle)
  at = Equal (wide, middle)
  tied = And (at, up)
  passed = Or (above, tied)
  counted = Cast <to = 7> (passed)
  rank = ReduceSum <keepdims = 0> (counted, last)
  y = Gather (order, rank)
}"""

_DECODE = """<opset_import: ["": 21], domain: "dybit">
Decode <integers> (codes) => (y) {
  table = Constant <value: tensor = @integers> ()
  places = Cast <to = 7> (codes)
  y = Gather (table, places)
}"""


class Style(ABC):
    """How a graph holds quantised tensors.

    Members
    -------
    domains : dict of str to int
        Operator sets it uses beside ONNX's own, with their versions.
    functions : list of FunctionProto
        Definitions of its operators.
    dtype : int
        Element type of a quantised tensor.
    """

    domains: dict[str, int]
    functions: list[onnx.FunctionProto]
    dtype: int

    @abstractmethod
    def check(self, name: str, fmt: NumberFormat) -> None:
        """Raise `NetworkError` if the style does not know the format of a tensor."""

    @abstractmethod
    def encode(self, graph: Graph, units: str, fmt: NumberFormat) -> str:
        """Round numbers counted in units of the format."""

    @abstractmethod
    def integers(self, graph: Graph, tensor: str, fmt: NumberFormat) -> str:
        """Return a quantised tensor as integers, float64."""

    @abstractmethod
    def weights(self, graph: Graph, name: str, codes: NDArray[np.uint8], fmt: NumberFormat) -> str:
        """Add weights as a constant called `name`, and return them as integers."""

    @abstractmethod
    def read_weights(self, array: NDArray[np.generic], fmt: NumberFormat) -> NDArray[np.uint8]:
        """Return the codes of weights that `weights` wrote."""


class CodeStyle(Style):
    """Codes, and operators Encode and Decode that are defined by tables in the model itself."""

    dtype = onnx.TensorProto.UINT8

    def __init__(self) -> None:
        self.domains = {DOMAIN: 1}
        self.functions = [parser.parse_function(text) for text in (_ENCODE, _DECODE)]

    def check(self, name: str, fmt: NumberFormat) -> None:
        pass

    def encode(self, graph: Graph, units: str, fmt: NumberFormat) -> str:
        integers = fmt.integers(fmt.sorted_codes).astype(np.float64)
        tables = {
            "midpoints": (integers[:-1] + integers[1:]) / 2,
            "ties_up": fmt.ties_up,
            "codes": fmt.sorted_codes,
        }
        attributes = {name: _tensor(name, table) for name, table in tables.items()}
        return graph.add("Encode", units, domain=DOMAIN, **attributes)

    def integers(self, graph: Graph, tensor: str, fmt: NumberFormat) -> str:
        table = np.zeros(1 << fmt.bits)
        table[fmt.sorted_codes] = fmt.integers(fmt.sorted_codes)
        return graph.add("Decode", tensor, domain=DOMAIN, integers=_tensor("integers", table))

    def weights(self, graph: Graph, name: str, codes: NDArray[np.uint8], fmt: NumberFormat) -> str:
        return self.integers(graph, graph.constant(codes, name), fmt)

    def read_weights(self, array: NDArray[np.generic], fmt: NumberFormat) -> NDArray[np.uint8]:
        return array.astype(np.uint8, copy=False)


class QonnxStyle(Style):
    """Integers behind QONNX's Quant, which knows uniform formats alone."""

    dtype = onnx.TensorProto.DOUBLE

    def __init__(self) -> None:
        self.domains = {QONNX_DOMAIN: 1}
        self.functions = []

    def check(self, name: str, fmt: NumberFormat) -> None:
        if not isinstance(fmt, Integer) and not (
            isinstance(fmt, DyBit) and fmt.exponent_limit == 1
        ):
            raise NetworkError(
                f"{name}: {fmt} has no form in QONNX; must be uniform (an exponent limit of 1), or "
                "be exported as codes"
            )

    def encode(self, graph: Graph, units: str, fmt: NumberFormat) -> str:
        one, zero, bits = (
            graph.constant(np.array(value, np.float64), f"qonnx.{value}")
            for value in (1, 0, fmt.bits)
        )
        # Sign and magnitude: the most negative of two's complement is left out.
        attributes: dict[str, Any] = {"signed": int(fmt.signed), "narrow": int(fmt.signed)}
        quant = (units, one, zero, bits)
        return graph.add("Quant", *quant, domain=QONNX_DOMAIN, rounding_mode="ROUND", **attributes)

    def integers(self, graph: Graph, tensor: str, fmt: NumberFormat) -> str:
        return tensor

    def weights(self, graph: Graph, name: str, codes: NDArray[np.uint8], fmt: NumberFormat) -> str:
        integers = fmt.integers(codes).astype(np.float64)
        return self.encode(graph, graph.constant(integers, name), fmt)

    def read_weights(self, array: NDArray[np.generic], fmt: NumberFormat) -> NDArray[np.uint8]:
        return fmt.encode(array.astype(np.float64) * fmt.unit)


def _tensor(name: str, array: NDArray[np.generic]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(array), name)
