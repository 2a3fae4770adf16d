"""Networks to ONNX files and from them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from dybit.quant import network_tables as tables
from dybit.quant.config import QuantConfig
from dybit.quant.formats import format_from_dict
from dybit.quant.interchange.codes import OPSET, QONNX_DOMAIN, CodeStyle, QonnxStyle, Style
from dybit.quant.interchange.emit import IMAGES, emit
from dybit.quant.interchange.nodes import LAYER
from dybit.quant.network import QuantNetwork
from dybit.quant.tensor import NetworkError

__all__ = ["export_onnx", "import_onnx"]

NETWORK = "dybit.network"
"""Key of the model's metadata that holds what is not in its layers."""

IR_VERSION = 10


def export_onnx(network: QuantNetwork, path: str | Path, qonnx: bool = False) -> None:
    """Write a network as an ONNX model that computes exactly what the golden model does.

    Weights are codes. Between roundings the model computes with integers, kept in float64, by
    ONNX's own operators; codes come from and go to these by the operators Encode and Decode of
    the domain "dybit", which the model defines itself. Its input is images as (N, H, W, C) of
    float32, its output float64.

    Parameters
    ----------
    network : QuantNetwork
    path : str or Path
    qonnx : bool
        Write QONNX's Quant in place of Encode and Decode.

    Raises
    ------
    NetworkError
        If QONNX is asked for and a format is not uniform.
    """
    style: Style = QonnxStyle() if qonnx else CodeStyle()
    graph = emit(network, style)
    double, last = onnx.TensorProto.DOUBLE, network.layers[-1].name
    *_, (_, _, shape) = network.shapes()
    made = helper.make_graph(
        graph.nodes,
        network.name,
        [_value(IMAGES, onnx.TensorProto.FLOAT, network.input_shape)],
        [_value(last, double, shape)],
        list(graph.constants.values()),
        value_info=[
            _value(layer.name, double if layer.makes is None else style.dtype, shape)
            for layer, _, shape in network.shapes()
            if layer.name != last
        ],
    )
    opsets = [
        helper.make_opsetid(domain, version)
        for domain, version in {"": OPSET, **style.domains}.items()
    ]
    model = helper.make_model(
        made,
        opset_imports=opsets,
        functions=style.functions,
        ir_version=IR_VERSION,
        producer_name="dybit",
    )
    structure = {
        "version": tables.VERSION,
        "name": network.name,
        "input_shape": list(network.input_shape),
        "config": network.config.to_dict(),
    }
    if network.input is not None:
        structure["input"] = tables.tensor_table(network.input)
    helper.set_model_props(model, {NETWORK: json.dumps(structure, sort_keys=True)})
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.write_bytes(model.SerializeToString(deterministic=True))
    temporary.replace(target)


def import_onnx(path: str | Path) -> QuantNetwork:
    """Return the network in an ONNX model that `export_onnx` wrote.

    Raises
    ------
    NetworkError
        If the file is none, is damaged, or is of another version.
    ConfigError
        As on construction.
    """
    try:
        model = onnx.load_model_from_string(Path(path).read_bytes())
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        raise NetworkError(f"{path}: {reason}; must be an ONNX model") from None
    except DecodeError:
        raise NetworkError(f"{path}: must be an ONNX model") from None
    props = {prop.key: prop.value for prop in model.metadata_props}
    if NETWORK not in props:
        raise NetworkError(
            f"{path}: must be a model that dybit exported; quantise others from PyTorch"
        )
    structure: dict[str, Any] = json.loads(props[NETWORK])
    tables.check_version(structure, str(path))
    rows = [
        json.loads(entry.value)
        for node in model.graph.node
        for entry in node.metadata_props
        if entry.key == LAYER
    ]
    qonnx = any(opset.domain == QONNX_DOMAIN for opset in model.opset_import)
    style: Style = QonnxStyle() if qonnx else CodeStyle()
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    arrays: dict[str, NDArray[Any]] = {}
    for row in rows:
        for name in tables.array_names(row):
            key = f"{row['name']}.{name}"
            if key in constants:
                arrays[key] = numpy_helper.to_array(constants[key])
        key = f"{row['name']}.weights"
        if key in arrays:
            arrays[key] = style.read_weights(arrays[key], format_from_dict(row["weight_format"]))
    config = structure["config"]
    try:
        name, shape, tensor, layers = tables.parse(
            structure | {"layers": rows, "arrays": ""}, arrays
        )
        return QuantNetwork(
            name, QuantConfig.from_dict(config, f"{path}: config"), tensor, shape, layers
        )
    except NetworkError as error:
        raise NetworkError(f"{path}: {error}") from None


def _value(name: str, dtype: int, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, ["N", *shape])
