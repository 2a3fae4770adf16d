"""Quantisation of PyTorch networks: prepare, calibrate, convert. Alone in importing torch."""

from __future__ import annotations

from dybit.quant.torch.calibrate import calibrate
from dybit.quant.torch.convert import Agreement, agreement, convert
from dybit.quant.torch.fake_quantize import fake_quantize
from dybit.quant.torch.modules import PreparedModel
from dybit.quant.torch.prepare import prepare

__all__ = [
    "Agreement",
    "PreparedModel",
    "agreement",
    "calibrate",
    "convert",
    "fake_quantize",
    "prepare",
]
