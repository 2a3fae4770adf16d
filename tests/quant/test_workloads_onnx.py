"""ONNX files as workloads, beside counts made from what onnx infers of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

from dybit.quant.network import NetworkError
from dybit.quant.workloads import LayerKind, Workload, onnx_workload, table

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
FILES = sorted(LIGHT.glob("light_*.onnx"))


def counted(path: Path) -> tuple[int, int]:
    """Multiply-accumulates and weights of convolutions and Gemm, by inferred shapes alone."""
    model = shape_inference.infer_shapes(onnx.load(path), data_prop=True)
    graph = model.graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        dims = value.type.tensor_type.shape.dim
        shapes.setdefault(value.name, [d.dim_value for d in dims])
    macs = weights = 0
    for node in graph.node:
        if node.op_type == "Conv":
            outputs, *per_output = shapes[node.input[1]]
            batch, channels, height, width = shapes[node.output[0]]
            assert (batch, channels) == (1, outputs)
            macs += height * width * outputs * math.prod(per_output)
            weights += outputs * math.prod(per_output)
        elif node.op_type == "Gemm":
            macs += math.prod(shapes[node.input[1]])
            weights += math.prod(shapes[node.input[1]])
    return macs, weights


def test_there_are_nine_light_models() -> None:
    assert len(FILES) == 9


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_light_models(path: Path) -> None:
    workload = onnx_workload(path)
    macs, weights = counted(path)
    assert workload.macs == macs > 0
    assert sum(layer.weights for layer in workload.layers) == weights
    assert workload.name == path.stem
    # All of them are chains or graphs of layers whose operands the array has.
    assert sum(layer.macs for layer in workload.array_layers) == macs


def test_resnet50_is_the_table_by_other_names() -> None:
    found, wanted = onnx_workload(LIGHT / "light_resnet50.onnx"), table("resnet50")
    assert (found.macs, found.parameters) == (wanted.macs, wanted.parameters)

    def shapes(workload: Workload) -> list[Any]:
        return sorted(
            (layer.kind, layer.input_shape, layer.output_shape, layer.kernel, layer.relu)
            for layer in workload.array_layers
        )

    def groups(workload: Workload) -> list[tuple[int, int, int, bool]]:
        return sorted(
            (len(g.tensors), len(g.readers), len(g.sinks), g.signed) for g in workload.groups
        )

    assert shapes(found) == shapes(wanted)
    assert groups(found) == groups(wanted)


def tensor(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ones(shape, np.float32), name)


def model(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
    inputs: dict[str, list[Any]],
    output: str,
) -> Path:
    """Save a model whose last tensor is `output`."""
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in inputs.items()
    ]
    last = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "graph", values, [last], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def test_every_kind_of_node(tmp_path: Path) -> None:
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w0"], ["c0"], name="stem", auto_pad="SAME_UPPER", strides=[2, 2]),
        node("Mul", ["c0", "gain"], ["m0"]),
        node("Add", ["m0", "gain"], ["a0"]),
        node("Clip", ["a0", "zero"], ["r0"]),
        node("Split", ["r0"], ["left", "right"], axis=1),
        node("Conv", ["left", "w1"], ["c1"], name="depthwise", group=4, pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"]),
        node("Sum", ["r1", "right"], ["s0"], name="sum"),
        node("Identity", ["s0"], ["i0"]),
        node("Sigmoid", ["i0"], ["g0"], name="gate"),
        node("Concat", ["g0", "i0"], ["k0"], name="concat", axis=1),
        node("Conv", ["k0", "w2", "b2"], ["c2"], name="dilated", dilations=[2, 2]),
        node("ReduceMean", ["c2"], ["mean"], name="mean", axes=[2, 3], keepdims=0),
        node("MatMul", ["mean", "w3"], ["head"], name="head"),
    ]
    constants = [tensor("w0", 8, 3, 3, 3), tensor("gain", 8, 1, 1), tensor("w1", 4, 1, 3, 3),
                 tensor("w2", 5, 8, 3, 3), tensor("b2", 5), tensor("w3", 5, 7),
                 numpy_helper.from_array(np.float32(0), "zero")]  # fmt: skip
    path = model(tmp_path / "all.onnx", nodes, constants, {"x": ["N", 3, 15, 17]}, "head")
    workload = onnx_workload(path)
    kinds = {layer.name: layer.kind.value for layer in workload.layers}
    assert kinds == {
        "stem": "conv", "left": "view", "right": "view", "depthwise": "depthwise", "sum": "add",
        "gate": "float", "concat": "concat", "dilated": "conv", "mean": "avg_pool",
        "head": "linear",
    }  # fmt: skip
    stem = workload.layer("stem")
    # 15 rows at stride 2 need 8 windows, 17 columns 9: one row and one column at either side.
    assert (stem.output_shape, stem.padding, stem.relu) == ((8, 9, 8), (1, 1, 1, 1), True)
    assert workload.layer("depthwise").relu
    assert not workload.layer("dilated").on_array
    assert workload.layer("dilated").output_shape == (4, 5, 5)
    assert workload.macs == 8 * 9 * 8 * 27 + 8 * 9 * 4 * 9 + 4 * 5 * 5 * 72 + 35
    assert workload.parameters == 8 * 27 + 4 * 9 + 5 * 72 + 5 + 35
    (shared,) = [group for group in workload.groups if "stem" in group.tensors]
    # The other half is only summed into what stays float.
    assert (shared.tensors, shared.readers) == (("stem", "left"), ("depthwise",))
    assert not shared.signed


@pytest.mark.parametrize(
    ("automatic", "padding"),
    [("SAME_UPPER", (0, 1, 1, 1)), ("SAME_LOWER", (1, 1, 0, 1)), ("VALID", (0, 0, 0, 0))],
)
def test_automatic_padding(tmp_path: Path, automatic: str, padding: tuple[int, ...]) -> None:
    # 16 rows at stride 2 need one row more, 17 columns two.
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["out"], auto_pad=automatic, strides=[2, 2]),
    ]
    shapes: dict[str, list[Any]] = {"x": [1, 3, 16, 17]}
    path = model(tmp_path / "m.onnx", nodes, [tensor("w", 4, 3, 3, 3)], shapes, "out")
    (layer,) = onnx_workload(path).layers
    assert (layer.name, layer.padding) == ("out", padding)


def test_activations_that_are_read_twice_keep_their_relu_apart(tmp_path: Path) -> None:
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["c"], name="conv"),
        node("Relu", ["c"], ["r"], name="relu"),
        node("Add", ["c", "r"], ["out"], name="sum"),
    ]
    path = model(tmp_path / "m.onnx", nodes, [tensor("w", 4, 3, 1, 1)], {"x": [1, 3, 5, 5]}, "out")
    layers = {layer.name: layer for layer in onnx_workload(path).layers}
    assert layers["relu"].kind is LayerKind.FLOAT
    assert not layers["conv"].relu
    assert layers["sum"].inputs == ("conv", "relu")


def test_products_of_activations_share_their_width(tmp_path: Path) -> None:
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "wq"], ["q"], name="query"),
        node("MatMul", ["x", "wk"], ["k"], name="key"),
        node("Transpose", ["k"], ["kt"], name="turned", perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["s"], name="scores"),
    ]
    constants = [tensor("wq", 6, 4), tensor("wk", 6, 4)]
    path = model(tmp_path / "m.onnx", nodes, constants, {"x": [1, 9, 6]}, "s")
    workload = onnx_workload(path)
    assert workload.macs == 2 * 9 * 6 * 4 + 9 * 9 * 4
    group = next(group for group in workload.groups if "query" in group.tensors)
    assert set(group.tensors) == {"query", "key", "turned"}
    assert group.readers == ("scores",)


def test_further_inputs_are_float(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["x", "y"], ["s"], name="sum"),
        helper.make_node("MatMul", ["s", "w"], ["out"], name="head"),
    ]
    shapes: dict[str, list[Any]] = {"x": [1, 6], "y": [1, 6]}
    path = model(tmp_path / "m.onnx", nodes, [tensor("w", 6, 2)], shapes, "out")
    first, *_ = onnx_workload(path).layers
    assert (first.name, first.kind, first.inputs) == ("y", LayerKind.FLOAT, ())


def test_files_that_are_no_model_are_refused(tmp_path: Path) -> None:
    missing, text = tmp_path / "missing.onnx", tmp_path / "text.onnx"
    text.write_text("no model")
    with pytest.raises(NetworkError, match=r"missing\.onnx: no such file or directory; must be an"):
        onnx_workload(missing)
    with pytest.raises(NetworkError, match=r"text\.onnx: must be an ONNX model: ") as refused:
        onnx_workload(text)
    assert len(str(refused.value).splitlines()) == 1


def test_shapes_that_vary_are_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["out"], name="conv")]
    shapes: dict[str, list[Any]] = {"x": [1, 3, "H", 5]}
    path = model(tmp_path / "m.onnx", nodes, [tensor("w", 4, 3, 1, 1)], shapes, "out")
    with pytest.raises(NetworkError, match=r"x must have a fixed shape but for the batch, not \["):
        onnx_workload(path)
