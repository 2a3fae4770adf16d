"""Layers of a quantised network: codes, formats and integers, checked when they are made."""

from __future__ import annotations

from dybit.quant.code_layers import Add, AvgPool2d, Concat, MatMul, MaxPool2d, View
from dybit.quant.compute_layers import ComputeLayer, Conv2d, Linear
from dybit.quant.float_layers import Float
from dybit.quant.layer import INPUT, Layer
from dybit.quant.tensor import NetworkError, QuantTensor

__all__ = [
    "INPUT",
    "KINDS",
    "Add",
    "AvgPool2d",
    "ComputeLayer",
    "Concat",
    "Conv2d",
    "Float",
    "Layer",
    "Linear",
    "MatMul",
    "MaxPool2d",
    "NetworkError",
    "QuantTensor",
    "View",
]

KINDS: dict[str, type[Layer]] = {
    "conv2d": Conv2d,
    "linear": Linear,
    "matmul": MatMul,
    "add": Add,
    "concat": Concat,
    "max_pool2d": MaxPool2d,
    "avg_pool2d": AvgPool2d,
    "view": View,
    "float": Float,
}
"""Every kind of layer, by the name files give it."""
