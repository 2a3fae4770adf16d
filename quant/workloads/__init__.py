"""Networks as shapes: what cycle model and search need to know of them, and no more."""

from __future__ import annotations

from dybit.quant.workloads.layer_shape import LayerKind, LayerShape
from dybit.quant.workloads.network_workload import network_workload
from dybit.quant.workloads.onnx_workload import onnx_workload
from dybit.quant.workloads.tables import PUBLISHED, TABLES, table
from dybit.quant.workloads.workload import TensorGroup, Workload

__all__ = [
    "PUBLISHED",
    "TABLES",
    "LayerKind",
    "LayerShape",
    "TensorGroup",
    "Workload",
    "network_workload",
    "onnx_workload",
    "table",
]
