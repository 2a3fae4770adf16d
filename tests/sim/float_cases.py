"""Operations of layers that stay in floating point, each with what torch computes for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

__all__ = ["BIAS", "CASES", "KERNEL", "WINDOW", "X", "Y"]

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(2, 3, 6, 5, 4)) * 3
FACTOR, OFFSET = RNG.normal(size=(2, 4))
KERNEL = RNG.normal(size=(3, 2, 2, 6))
BIAS = RNG.normal(size=6)
WINDOW = {"stride": (2, 1), "padding": (2, 1), "dilation": (2, 1), "groups": 2}


def real(array: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(array)


def convolved(x: Tensor) -> Tensor:
    weight = real(KERNEL).permute(3, 2, 0, 1)
    y = functional.conv2d(x.permute(0, 3, 1, 2), weight, real(BIAS), **WINDOW)
    return y.permute(0, 2, 3, 1)


def pooled(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x.permute(0, 3, 1, 2), (2, 3), (1, 2)).permute(0, 2, 3, 1)


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], Callable[..., Tensor]]] = {
    "constant": ({}, {"value": FACTOR}, lambda: real(FACTOR).expand(3, 4)),
    "affine": (
        {},
        {"factor": FACTOR, "offset": OFFSET},
        lambda x: x * real(FACTOR) + real(OFFSET),
    ),
    "add": ({}, {}, lambda x, y: x + y),
    "subtract": ({}, {}, lambda x, y: x - y),
    "multiply": ({}, {}, lambda x, y: x * y),
    "clamp": ({"low": 0.0, "high": np.inf}, {}, lambda x: x.relu()),
    "sigmoid": ({}, {}, torch.sigmoid),
    "tanh": ({}, {}, torch.tanh),
    "silu": ({}, {}, functional.silu),
    "gelu": ({"tanh": False}, {}, functional.gelu),
    "gelu tanh": ({"tanh": True}, {}, lambda x: functional.gelu(x, approximate="tanh")),
    "hardsigmoid": ({}, {}, functional.hardsigmoid),
    "hardswish": ({}, {}, functional.hardswish),
    "leaky_relu": ({"slope": 0.1}, {}, lambda x: functional.leaky_relu(x, 0.1)),
    "softmax": ({"axis": 1}, {}, lambda x: x.softmax(2)),
    "layer_norm": (
        {"epsilon": 1e-3},
        {"weight": FACTOR, "bias": OFFSET},
        lambda x: functional.layer_norm(x, (4,), real(FACTOR), real(OFFSET), 1e-3),
    ),
    "mean": ({"axes": (0, 2), "keep": False}, {}, lambda x: x.mean((1, 3))),
    "avg_pool2d": ({"kernel": (2, 3), "stride": (1, 2)}, {}, pooled),
    "conv2d": (WINDOW, {"weight": KERNEL, "bias": BIAS}, convolved),
    "linear": (
        {},
        {"weight": KERNEL[0, 0].repeat(2, axis=0), "bias": BIAS},
        lambda x: functional.linear(x, real(KERNEL[0, 0].repeat(2, axis=0)).T, real(BIAS)),
    ),
    "matmul": ({}, {}, lambda x, y: x @ y),
}
