"""Brevitas on the same network, images and epochs: its own tools, as its examples use them.

Integers: its graph flow, unsigned after ReLU, scales of least squared error, residual sums
requantised. E2M1: its layer-wise flow, the only one it has for minifloats in residual networks;
sums stay in floating point there. After training GPTQ and bias correction; with the rounding, the
same loss, optimiser and schedule as ours, its scales learned.
"""

from __future__ import annotations

import copy
from typing import Any

import brevitas.nn as qnn
import torch
from brevitas.core.scaling.standalone import ParameterFromStatsFromParameterScaling
from brevitas.graph.calibrate import bias_correction_mode, calibration_mode
from brevitas.graph.gptq import gptq_mode
from brevitas.graph.quantize import layerwise_quantize, preprocess_for_quantize, quantize
from brevitas.quant import (
    Fp8e4m3ActPerTensorFloatMSE,
    Fp8e4m3WeightPerChannelFloatMSE,
    Int8ActPerTensorFloatMSE,
    Int8WeightPerChannelFloatMSE,
    Int32Bias,
)
from torch import Tensor, nn

from benchmarks._accuracy_plan import Method
from dybit.quant.torch.distillation import distillation_loss
from dybit.quant.torch.train_settings import TrainSettings
from dybit.scripts import digits

__all__ = ["brevitas_model"]

CALIBRATED = 512
BATCH = digits.BATCH


def brevitas_model(
    model: nn.Module, method: Method, recipe: TrainSettings | None, x: Tensor, y: Tensor
) -> nn.Module:
    """Return a network quantised by Brevitas; trained where there is a recipe."""
    graph = preprocess_for_quantize(copy.deepcopy(model).eval())
    if method.family == "brevitas-int":
        graph = _integers(graph, method.weight_bits, method.activation_bits)
    else:
        graph = _minifloats(graph)
    graph.eval()
    with torch.no_grad():
        with calibration_mode(graph):
            _show(graph, x)
        graph(x[:BATCH])  # quantisers of weights begin outside that mode
        if recipe is None:
            with gptq_mode(graph, use_quant_activations=True, act_order=True) as gptq:
                for _ in range(gptq.num_layers):
                    _show(gptq.model, x[:CALIBRATED])
                    gptq.update()
        with bias_correction_mode(graph):
            _show(graph, x)
    if recipe is not None:
        _train(graph, model, recipe, x, y)
    return _Plain(graph)


class _Plain(nn.Module):
    """The values of what Brevitas returns."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, x: Tensor) -> Tensor:
        y = self.graph(x)
        values: Tensor = getattr(y, "value", y)
        return values


def _integers(graph: nn.Module, weight_bits: int, activation_bits: int) -> nn.Module:
    weights = Int8WeightPerChannelFloatMSE.let(
        bit_width=weight_bits,
        narrow_range=True,
        scaling_impl=ParameterFromStatsFromParameterScaling,
    )
    layer = {"weight_quant": weights, "bias_quant": Int32Bias, "return_quant_tensor": False}
    quantizer = Int8ActPerTensorFloatMSE.let(bit_width=activation_bits)
    signed = {"act_quant": quantizer, "return_quant_tensor": True}
    unsigned = {**signed, "signed": False}
    return quantize(
        graph,
        compute_layer_map=_layers(layer),
        quant_act_map=dict.fromkeys((nn.ReLU, nn.ReLU6), (qnn.QuantReLU, unsigned)),
        quant_identity_map={
            "signed": (qnn.QuantIdentity, signed),
            "unsigned": (qnn.QuantIdentity, unsigned),
        },
    )


def _minifloats(graph: nn.Module) -> nn.Module:
    widths = {"bit_width": 4, "exponent_bit_width": 2, "mantissa_bit_width": 1}
    layer = {
        "weight_quant": Fp8e4m3WeightPerChannelFloatMSE.let(
            **widths, scaling_impl=ParameterFromStatsFromParameterScaling
        ),
        "input_quant": Fp8e4m3ActPerTensorFloatMSE.let(**widths),
        "bias_quant": None,
        "return_quant_tensor": False,
    }
    return layerwise_quantize(graph, compute_layer_map=_layers(layer))


def _layers(fields: dict[str, Any]) -> dict[type[nn.Module], tuple[type[nn.Module], Any]]:
    return {nn.Linear: (qnn.QuantLinear, fields), nn.Conv2d: (qnn.QuantConv2d, fields)}


def _show(graph: nn.Module, x: Tensor) -> None:
    for batch in torch.split(x, BATCH):
        graph(batch)


def _train(
    graph: nn.Module, teacher: nn.Module, recipe: TrainSettings, x: Tensor, y: Tensor
) -> None:
    """Train as `fine_tune` does."""
    torch.manual_seed(recipe.seed)
    graph.train()  # batch norm is folded
    optimizer = torch.optim.AdamW(graph.parameters(), recipe.learning_rate, weight_decay=0.0)
    steps, done = recipe.epochs * -(-len(x) // recipe.batch), 0
    for _ in range(recipe.epochs):
        for chosen in torch.split(torch.randperm(len(x)), recipe.batch):
            done += 1
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * recipe.rate(done / steps)
            images = digits.shifted(x[chosen])
            with torch.no_grad():
                wanted = teacher(images)
            given = graph(images)
            loss = distillation_loss(
                getattr(given, "value", given),
                y[chosen],
                wanted,
                recipe.distillation,
                recipe.temperature,
            ).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    graph.eval()
