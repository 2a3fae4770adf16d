"""ONNX models: they compute what the golden model does, and come back as they went."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from dybit.quant.float_layers import OPERATIONS
from dybit.quant.interchange import export_onnx, import_onnx
from dybit.quant.interchange.floats import FLOATS
from dybit.quant.layers import Add, Float
from dybit.quant.network import NetworkError, QuantNetwork
from dybit.sim.executor import run
from tests.networks import graph_network, random_network
from tests.sim.float_cases import CASES, X


def capped() -> QuantNetwork:
    """A graph whose sum stops at a largest code."""
    network = graph_network()
    layers = [
        dataclasses.replace(layer, max_code=70) if isinstance(layer, Add) else layer
        for layer in network.layers
    ]
    return dataclasses.replace(network, layers=tuple(layers))


NETWORKS = {
    "chain": random_network(),
    "graph": graph_network(),
    "capped": capped(),
    "uniform": graph_network(uniform=True),
}


class Quant(OpRun):
    """QONNX's Quant, from its specification: round half to even, clip to the integers' range."""

    op_domain = "qonnx.custom_op.general"

    def _run(self, x, scale, zero, bits, signed, narrow, rounding_mode):
        assert rounding_mode == "ROUND"
        low = -(2 ** (bits - 1)) + narrow if signed else 0
        high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
        integers = np.clip(np.rint(x / scale + zero), low, high)
        return (((integers - zero) * scale).astype(x.dtype),)


def images(network: QuantNetwork, count: int = 3) -> NDArray[np.float32]:
    shape = (count, *network.input_shape)
    return np.random.default_rng(7).normal(size=shape).astype(np.float32)


def evaluate(path: Path, names: list[str], x: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """The tensors of these names, as ONNX's own evaluator computes them."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    del model.graph.output[:]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    results = ReferenceEvaluator(model, new_ops=[Quant]).run(None, {"images": x})
    return dict(zip(names, results, strict=True))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_model_computes_every_code(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    export_onnx(network, tmp_path / "n.onnx")
    trace = run(network, images(network))
    found = evaluate(tmp_path / "n.onnx", [layer.name for layer in network.layers], images(network))
    for layer, step in trace.layers.items():
        if step.codes is not None:
            assert found[layer].dtype == np.uint8
            assert np.array_equal(found[layer], step.codes), layer
        else:
            np.testing.assert_allclose(found[layer], step.reals, atol=1e-8)


def test_quant_of_qonnx_computes_every_integer(tmp_path: Path) -> None:
    network = NETWORKS["uniform"]
    export_onnx(network, tmp_path / "n.onnx", qonnx=True)
    trace = run(network, images(network))
    found = evaluate(tmp_path / "n.onnx", [layer.name for layer in network.layers], images(network))
    for layer in network.layers:
        codes = trace.layers[layer.name].codes
        if layer.makes is not None and codes is not None:
            assert np.array_equal(found[layer.name], layer.makes.format.integers(codes))
    domains = {opset.domain for opset in onnx.load(tmp_path / "n.onnx").opset_import}
    assert domains == {"", "qonnx.custom_op.general"}


@pytest.mark.parametrize(("name", "qonnx"), [*((n, False) for n in NETWORKS), ("uniform", True)])
def test_a_round_trip_is_exact(name: str, qonnx: bool, tmp_path: Path) -> None:
    network = NETWORKS[name]
    for times in ("once", "twice"):
        export_onnx(network, tmp_path / times, qonnx)
        network = import_onnx(tmp_path / times)
    assert (tmp_path / "once").read_bytes() == (tmp_path / "twice").read_bytes()
    NETWORKS[name].save(tmp_path / "before")
    network.save(tmp_path / "after")
    for file in ("network.toml", "network.safetensors"):
        before, after = ((tmp_path / folder / file).read_bytes() for folder in ("before", "after"))
        assert before == after


@pytest.mark.parametrize("case", [c for c in CASES if c not in ("constant", "matmul")])
def test_float_layers_are_operators_of_onnx(case: str, tmp_path: Path) -> None:
    """All but those that the graph runs."""
    parameters, arrays, _ = CASES[case]
    operation = case.split()[0]
    layers = [
        Float(name="first", inputs=("input",), operation="tanh"),
        Float(name="second", inputs=("input",), operation="sigmoid"),
    ][: OPERATIONS[operation].inputs]
    last = Float(
        name="last",
        inputs=tuple(layer.name for layer in layers),
        operation=operation,
        parameters=parameters,
        arrays=arrays,
    )
    config = NETWORKS["graph"].config
    network = QuantNetwork("floats", config, None, X.shape[1:], (*layers, last))
    export_onnx(network, tmp_path / "n.onnx")
    x = X.astype(np.float32)
    found = evaluate(tmp_path / "n.onnx", ["last"], x)["last"]
    np.testing.assert_allclose(found, run(network, x).logits, rtol=1e-6, atol=1e-8)


def test_every_float_operation_has_its_operators() -> None:
    assert set(FLOATS) == set(OPERATIONS) - {"constant"}


def test_formats_that_qonnx_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"^input: dybit8r2 has no form in QONNX; must be unif"):
        export_onnx(NETWORKS["graph"], tmp_path / "n.onnx", qonnx=True)
    assert not list(tmp_path.iterdir())


def edited(path: Path, **changes: Any) -> Path:
    export_onnx(NETWORKS["chain"], path)
    model = onnx.load(path)
    (prop,) = model.metadata_props
    prop.value = json.dumps(json.loads(prop.value) | changes)
    onnx.save(model, path)
    return path


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "n.onnx"
    with pytest.raises(NetworkError, match=r"n\.onnx: no such file or directory; must be an ONNX"):
        import_onnx(path)
    path.write_bytes(b"\xff no model")
    with pytest.raises(NetworkError, match=r"n\.onnx: must be an ONNX model$"):
        import_onnx(path)
    export_onnx(NETWORKS["chain"], path)
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(NetworkError, match=r"n\.onnx: must be a model that dybit exported"):
        import_onnx(path)
    with pytest.raises(NetworkError, match=r"version must be at most 2, not 3: a newer dybit"):
        import_onnx(edited(path, version=3))
    with pytest.raises(NetworkError, match=r"n\.onnx: first: input must have shape \(H, W, 2\)"):
        import_onnx(edited(path, input_shape=[6, 8, 3]))
    export_onnx(NETWORKS["chain"], path)
    model = onnx.load(path)
    kept = [tensor for tensor in model.graph.initializer if tensor.name != "head.bias"]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    onnx.save(model, path)
    with pytest.raises(NetworkError, match=r"n\.onnx: head\.bias is missing from the arrays"):
        import_onnx(path)
