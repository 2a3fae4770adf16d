"""Quantisation of PyTorch networks: prepare, calibrate, convert. Alone in importing torch."""

from __future__ import annotations

from dybit.quant.torch.agreement import Agreement, StageAgreement, agreement, stage_agreement
from dybit.quant.torch.calibrate import calibrate
from dybit.quant.torch.convert import convert
from dybit.quant.torch.fake_quantize import fake_quantize
from dybit.quant.torch.modules import KeptFloat, PreparedModel
from dybit.quant.torch.prepare import prepare

__all__ = [
    "Agreement",
    "KeptFloat",
    "PreparedModel",
    "StageAgreement",
    "agreement",
    "calibrate",
    "convert",
    "fake_quantize",
    "prepare",
    "stage_agreement",
]
