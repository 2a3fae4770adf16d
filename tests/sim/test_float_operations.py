"""Layers that stay in floating point, against torch in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dybit.quant.float_layers import OPERATIONS
from dybit.quant.layers import Float
from dybit.quant.tensor import NetworkError
from dybit.sim.float_operations import FUNCTIONS, evaluate
from tests.sim.float_cases import BIAS, CASES, KERNEL, WINDOW, X, Y


@pytest.mark.parametrize("case", CASES)
def test_operations_are_what_torch_computes(case: str) -> None:
    parameters, arrays, want = CASES[case]
    operation = case.split()[0]
    count = OPERATIONS[operation].inputs
    inputs = [X, Y.swapaxes(2, 3) if operation == "matmul" else Y][:count]
    layer = Float(
        name="f",
        inputs=("x", "y")[:count],
        operation=operation,
        parameters=parameters,
        arrays=arrays,
    )
    got = evaluate(layer, inputs, 3)
    expected = want(*(torch.from_numpy(x.copy()) for x in inputs)).numpy()
    assert got.shape == (3, *layer.output_shape(*(x.shape[1:] for x in inputs)))
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


def test_every_operation_is_tested_and_runs() -> None:
    assert set(FUNCTIONS) == set(OPERATIONS) == {case.split()[0] for case in CASES}


REFUSED: list[tuple[dict[str, Any], tuple[tuple[int, ...], ...], str]] = [
    ({"operation": "erf"}, (), "operation must be one of constant, affine, .*, not 'erf'"),
    ({"operation": "add"}, (), "add must have 2 inputs, not 1"),
    ({"operation": "softmax"}, (), "parameters of softmax must be axis, not none"),
    (
        {"operation": "sigmoid", "arrays": {"a": BIAS}},
        (),
        "arrays of sigmoid must be none, not a",
    ),
    (
        {"operation": "softmax", "parameters": {"axis": 1.5}},
        (),
        "axis must be an integer, not 1.5",
    ),
    (
        {"operation": "softmax", "parameters": {"axis": 2}},
        ((3, 4),),
        r"axis must be an axis of \(3, 4\), not 2",
    ),
    (
        {"operation": "clamp", "parameters": {"low": np.nan, "high": 1.0}},
        (),
        "low must be a number, not nan",
    ),
    (
        {"operation": "constant", "inputs": (), "arrays": {"value": BIAS.astype(np.float32)}},
        (),
        "value must be an array of float64",
    ),
    (
        {"operation": "constant", "inputs": (), "arrays": {"value": BIAS + np.inf}},
        (),
        "value must be finite",
    ),
    (
        {"operation": "affine", "arrays": {"factor": BIAS, "offset": BIAS}},
        ((6, 1),),
        r"arrays must broadcast to \(6, 1\), not make \(6, 6\) of it",
    ),
    (
        {"operation": "add", "inputs": ("x", "y")},
        ((3,), (4,)),
        r"inputs must have shapes that broadcast, not \(3,\) and \(4,\)",
    ),
    (
        {
            "operation": "layer_norm",
            "parameters": {"epsilon": 1.0},
            "arrays": {"weight": BIAS, "bias": BIAS},
        },
        ((6, 4),),
        r"weight must have the last axes of \(6, 4\), not \(6,\)",
    ),
    (
        {"operation": "mean", "parameters": {"axes": (2,), "keep": True}},
        ((6, 4),),
        r"axes must be axes of \(6, 4\), not \(2,\)",
    ),
    (
        {"operation": "avg_pool2d", "parameters": {"kernel": (2,), "stride": (1, 1)}},
        ((6, 4, 1),),
        r"kernel must be two integers of at least 1, not \(2,\)",
    ),
    (
        {
            "operation": "conv2d",
            "parameters": WINDOW,
            "arrays": {"weight": KERNEL, "bias": BIAS},
        },
        ((6, 5, 5),),
        r"weight must be \(kh, kw, inputs / groups, outputs\), not \(3, 2, 2, 6\) in 2 groups",
    ),
    (
        {"operation": "linear", "arrays": {"weight": KERNEL[0, 0], "bias": BIAS}},
        ((5, 3),),
        r"input must have shape \(..., 2\), not \(5, 3\)",
    ),
    (
        {"operation": "matmul", "inputs": ("x", "y")},
        ((5, 3), (5, 3)),
        r"inputs must have shapes \(..., M, K\) and \(..., K, N\), not",
    ),
]


@pytest.mark.parametrize(("fields", "shapes", "message"), REFUSED, ids=[r[2] for r in REFUSED])
def test_what_does_not_fit_is_refused(
    fields: dict[str, Any], shapes: tuple[tuple[int, ...], ...], message: str
) -> None:
    with pytest.raises(NetworkError, match=f"f: {message}"):
        Float(name="f", **{"inputs": ("x",)} | fields).output_shape(*shapes)
