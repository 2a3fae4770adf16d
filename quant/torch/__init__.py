"""Quantisation of PyTorch networks: prepare, calibrate, convert. Alone in importing torch."""

from __future__ import annotations

from dybit.quant.torch.fake_quantize import fake_quantize

__all__ = ["fake_quantize"]
