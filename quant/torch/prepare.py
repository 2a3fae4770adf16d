"""The first step of quantisation: a model as a graph whose tensors know their widths."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import QuantConfig
from dybit.quant.tensor import NetworkError
from dybit.quant.torch.assign import assign
from dybit.quant.torch.graph import build
from dybit.quant.torch.modules import ComputeStage, PreparedModel
from dybit.quant.torch.stages import AddStage, MatMulStage

__all__ = ["prepare"]

TOLERANCE = 1e-3
"""By how much the prepared model may differ from the original, of its largest output."""

NEGLIGIBLE = 1e-6
"""Difference that is nothing, where outputs cancel out."""


def prepare(model: nn.Module, config: QuantConfig, example_input: Tensor) -> PreparedModel:
    """Return `model` in evaluation mode as a graph of stages, ready for calibration.

    Convolutions (grouped ones too), linear layers, products of activations, sums of tensors,
    concatenations and pooling are quantised; batch norm is folded, ReLU and ReLU6 become part of
    the layer before them; what only moves elements passes codes on. All else stays float and is
    listed, with the reason, in ``kept_float`` of the result. So does what only float layers read.

    Tensors that are read by several layers have the width that all of these state.

    Parameters
    ----------
    model : Module
        A function of one tensor that torch.fx or torch.export can trace; it is left unchanged.
    config : QuantConfig
        Its layers are the model's submodules, by their full names; functions go by the name of
        the module that calls them and their own, such as ``layer1.0.add``.
    example_input : Tensor
        Batch first.

    Raises
    ------
    NetworkError
        In one line, if the model cannot be traced, or computes something else on the example than
        the graph does.
    ConfigError
        If the config names a layer that the model lacks, layers disagree on a tensor they both
        read, or a reduction exceeds what the array is built for.
    """
    if not isinstance(example_input, Tensor) or example_input.ndim < 2:
        shape = getattr(example_input, "shape", type(example_input).__name__)
        raise NetworkError(f"example_input must be a tensor of at least 2 axes, not {shape}")
    if not len(example_input):
        raise NetworkError("example_input must hold at least one input")
    example = example_input[:1].float()
    stages = build(model, example)
    prepared = PreparedModel(config, tuple(example.shape[1:]), stages).eval()
    named = [s.name for s in stages if isinstance(s, ComputeStage | MatMulStage | AddStage)]
    if not prepared.compute_stages:
        raise NetworkError("model must have a convolution or linear layer")
    config.check_layer_names(named)
    assign(prepared)
    for stage in prepared.compute_stages:
        _check(stage, config.array)
    _compare(prepared, model, example)
    return prepared


def _compare(prepared: PreparedModel, model: nn.Module, example: Tensor) -> None:
    """Refuse a graph that misses something: what Python does aside, random numbers."""
    original = copy.deepcopy(model).eval()
    with torch.no_grad():
        wanted, found = original(example), prepared(example)
    scale = float(wanted.abs().nan_to_num(0, 0, 0).max()) if wanted.numel() else 0.0
    fits = wanted.shape == found.shape and torch.allclose(
        found, wanted, rtol=TOLERANCE, atol=TOLERANCE * scale + NEGLIGIBLE, equal_nan=True
    )
    if not fits:
        raise NetworkError(
            "model must compute the same when it is traced; give it no random numbers, and no "
            "state that its forward changes"
        )


def _check(stage: ComputeStage, array: ArrayConfig) -> None:
    """Refuse a layer whose sums, biases apart, may not fit; formats may only get narrower."""
    settings = stage.settings
    weights = array.weight_format(settings.weight_bits, settings.weight_max_exponent_bits)
    activations = array.activation_format(
        settings.activation_bits, array.signednesses[-1], settings.activation_max_exponent_bits
    )
    reduction = stage.weight[0].numel()
    array.check_layer(stage.name, settings.mode, activations, weights, reduction, 0)
