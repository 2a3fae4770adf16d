"""The first step of quantisation: a model as a chain whose tensors know their widths."""

from __future__ import annotations

from torch import Tensor, nn

from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import QuantConfig
from dybit.quant.tensor import NetworkError
from dybit.quant.torch.graph import trace
from dybit.quant.torch.modules import (
    ActivationQuantizer,
    AvgPoolStage,
    ComputeStage,
    PreparedModel,
)

__all__ = ["prepare"]


def prepare(model: nn.Module, config: QuantConfig, example_input: Tensor) -> PreparedModel:
    """Return `model` in evaluation mode as a chain of stages, ready for calibration.

    A tensor has the width its reader states: that of the convolution or linear layer that comes
    next, pooling and flattening in between included.

    Parameters
    ----------
    model : Module
        Convolutions, linear layers, batch norm, ReLU, ReLU6, pooling, flattening and dropout, one
        after the other; it is left unchanged.
    config : QuantConfig
        Its layers are the model's submodules, by their full names.
    example_input : Tensor
        (N, C, H, W), or (N, inputs) where the first layer is linear.

    Raises
    ------
    NetworkError
        In one line naming the layer, if the model does something else.
    ConfigError
        If the config names a layer that the model lacks, or a reduction exceeds what the array is
        built for.
    """
    if not isinstance(example_input, Tensor) or example_input.ndim not in (2, 4):
        shape = getattr(example_input, "shape", type(example_input).__name__)
        raise NetworkError(f"example_input must be a tensor of 2 or 4 axes, not {shape}")
    if not len(example_input):
        raise NetworkError("example_input must hold at least one input")
    stages = trace(model, example_input.float())
    last = stages[-1] if stages else None
    if not isinstance(last, ComputeStage) or last.relu:
        name = last.name if last is not None else "model"
        raise NetworkError(
            f"{name}: the last layer must be a convolution or linear layer without activation"
        )
    prepared = PreparedModel(config, tuple(example_input.shape[1:]), stages)
    config.check_layer_names(stage.name for stage in prepared.compute_stages)
    _assign(prepared)
    for stage in prepared.compute_stages:
        _check(stage, config.array)
    return prepared.eval()


def _assign(prepared: PreparedModel) -> None:
    """Give every tensor its quantizer, with the settings of the layer that reads it."""
    source = prepared.image
    waiting: list[ActivationQuantizer] = [source]
    for index, stage in enumerate(prepared.stages):
        if isinstance(stage, ComputeStage):
            stage.settings = prepared.config.layer(stage.name)
            stage.source = source
            for quantizer in waiting:
                quantizer.settings = stage.settings
            waiting = []
        if isinstance(stage, ComputeStage | AvgPoolStage) and index + 1 < len(prepared.stages):
            stage.quantizer = source = ActivationQuantizer(stage.name)
            waiting.append(source)


def _check(stage: ComputeStage, array: ArrayConfig) -> None:
    """Refuse a layer whose sums, biases apart, may not fit; formats may only get narrower."""
    settings = stage.settings
    weights = array.weight_format(settings.weight_bits, settings.weight_max_exponent_bits)
    activations = array.activation_format(
        settings.activation_bits, array.signednesses[-1], settings.activation_max_exponent_bits
    )
    reduction = stage.weight[0].numel()
    array.check_layer(stage.name, settings.mode, activations, weights, reduction, 0)
