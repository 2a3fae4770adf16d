"""Quantised networks as ONNX models, and back."""

from __future__ import annotations

from dybit.quant.interchange.files import export_onnx, import_onnx

__all__ = ["export_onnx", "import_onnx"]
