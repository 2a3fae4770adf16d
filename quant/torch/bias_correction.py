"""Biases that make up for the mean error of rounding."""

from __future__ import annotations

from torch import Tensor

from dybit.quant.torch.layerwise import layerwise
from dybit.quant.torch.modules import ComputeStage, PreparedModel

__all__ = ["correct_bias", "correct_biases", "mean_error"]


def mean_error(real: Tensor, rounded: Tensor, channel_axis: int = 1) -> Tensor:
    """Return by how much `rounded` falls short of `real` on average, by channel, in float64.

    Parameters
    ----------
    real, rounded : Tensor
        Of one shape.
    channel_axis : int
    """
    axes = [axis for axis in range(real.ndim) if axis != channel_axis % real.ndim]
    return (real - rounded).double().mean(axes)


def correct_bias(stage: ComputeStage, found: Tensor, real: Tensor) -> None:
    """Correct the bias of one layer, as `layerwise` visits it."""
    stage.correction = None
    stage.correction = mean_error(real, stage.sums(found, rounded=True), stage.channel_axis)


def correct_biases(prepared: PreparedModel, inputs: Tensor) -> None:
    """Let each bias make up for the mean error of its sums, given the rounding before them.

    Parameters
    ----------
    prepared : PreparedModel
        Calibrated; its weights must still be the float model's.
    inputs : Tensor
        The data that the means are taken of.
    """
    layerwise(prepared, inputs, correct_bias)
