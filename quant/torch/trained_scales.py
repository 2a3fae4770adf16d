"""Puts roundings whose scales training changes into a model, and reads the scales back."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from dybit.quant.formats import ESB, NumberFormat
from dybit.quant.scale import esb_alpha
from dybit.quant.tensor import NetworkError, QuantTensor
from dybit.quant.torch.distribution_aligner import DistributionAligner, moments
from dybit.quant.torch.fake_quantize import fake_quantize
from dybit.quant.torch.fit import snap
from dybit.quant.torch.layerwise import check_calibrated
from dybit.quant.torch.learned_scale import LearnedScale
from dybit.quant.torch.modules import PreparedModel

__all__ = ["ScaleTraining", "attach", "detach", "settle"]

ScaleTraining: TypeAlias = Literal["learned", "aligned", "fixed"]
"""Scales are parameters, follow the standard deviation (ESB only), or stay as calibrated."""

MOMENTUM = 0.1
"""Part of each batch in the running standard deviation of an activation tensor."""


def attach(prepared: PreparedModel, scales: ScaleTraining) -> None:
    """Let the scales of a calibrated model change in training, until `detach`.

    Aligners are in training mode; what stays float is not, and batch norms there keep their
    statistics.

    Raises
    ------
    NetworkError
        If the model is not calibrated, or a format does not fit the way of training.
    """
    check_calibrated(prepared)
    if scales == "fixed":
        return
    for quantizer in prepared.quantizers:
        tensor = quantizer.tensor
        assert tensor is not None
        if scales == "learned":
            quantizer.rounding = LearnedScale(torch.tensor(tensor.scale), per_input=True)
        else:
            alpha = _alpha(quantizer.name, tensor.format)
            deviation = torch.tensor(tensor.scale / alpha)
            quantizer.rounding = DistributionAligner(alpha, deviation, False, MOMENTUM)
    for stage in prepared.compute_stages:
        fmt, scale = stage.weight_format, stage.weight_scale
        assert fmt is not None
        assert scale is not None
        if scales == "learned":
            stage.rounding = LearnedScale(stage.per_output(scale), per_input=False)
        else:
            _, deviation = moments(stage.weight)
            aligner = DistributionAligner(_alpha(stage.name, fmt), deviation, True, 1.0)
            stage.rounding = aligner
    prepared.eval().to(next(prepared.parameters()).device)
    for module in prepared.modules():
        module.training = isinstance(module, DistributionAligner)


def settle(prepared: PreparedModel) -> None:
    """Take over the scales as training left them; weights whose mean it removed lose it."""
    for quantizer in prepared.quantizers:
        if isinstance(quantizer.rounding, LearnedScale | DistributionAligner):
            assert quantizer.tensor is not None
            scale = float(quantizer.rounding.scale.detach())
            quantizer.tensor = QuantTensor(quantizer.tensor.format, scale)
    for stage in prepared.compute_stages:
        rounding = stage.rounding
        if isinstance(rounding, DistributionAligner) and rounding.centred:
            with torch.no_grad():
                mean, deviation = moments(stage.weight)
                stage.weight.sub_(mean.to(stage.weight.dtype))
                rounding.deviation.copy_(deviation)
        if isinstance(rounding, LearnedScale | DistributionAligner):
            scales = rounding.scale.detach().double().flatten()
            stage.weight_scale = scales.expand(len(stage.weight)).clone()


def detach(prepared: PreparedModel) -> None:
    """Settle, and leave an ordinary calibrated model."""
    settle(prepared)
    places: list[Any] = [*prepared.quantizers, *prepared.compute_stages]
    for place in places:
        if isinstance(place.rounding, nn.Module):
            del place.rounding  # a module's place takes nothing but modules
            place.rounding = fake_quantize
    for stage in prepared.compute_stages:
        snap(stage)


def _alpha(name: str, fmt: NumberFormat) -> float:
    if not isinstance(fmt, ESB):
        raise NetworkError(
            f"{name}: must be in an ESB format for aligned scales, not {fmt}; calibrate with "
            "formats=FamilyFormats('esb'), or learn the scales"
        )
    return esb_alpha(fmt.bits, fmt.k)
