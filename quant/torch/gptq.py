"""GPTQ: each weight rounded so that those not yet rounded make up for its error.

Frantar et al., arXiv 2210.17323, for any grid of values: only the rounding of one number to the
nearest value depends on the format.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from dybit.quant.formats import NumberFormat
from dybit.quant.torch.bias_correction import correct_bias
from dybit.quant.torch.fake_quantize import fake_quantize
from dybit.quant.torch.layerwise import layerwise
from dybit.quant.torch.modules import ComputeStage, ConvStage, PreparedModel

__all__ = ["gptq", "gptq_rounding", "hessians", "operands"]

DAMPING = 0.01
"""Part of the mean of a Hessian's diagonal that is added to it, as in the paper."""

INPUTS = 64
"""Inputs whose products are summed at a time."""


def gptq_rounding(
    weight: Tensor, hessian: Tensor, fmt: NumberFormat, scale: Tensor, damping: float = DAMPING
) -> Tensor:
    """Return `weight` rounded to a format so that the error of its products is small.

    Columns are rounded in order of falling diagonal of the Hessian; the columns after each take
    up its error, by the inverse of the Hessian.

    Parameters
    ----------
    weight : Tensor, shape (N, K)
    hessian : Tensor, shape (K, K)
        Sums of products of the inputs, X^T X for X of shape (samples, K).
    fmt : NumberFormat
    scale : Tensor, shape (N,) or (N, 1)
    damping : float

    Returns
    -------
    Tensor, shape (N, K)
        Values of the format times the scale, in the dtype of `weight`.
    """
    order = hessian.diagonal().argsort(descending=True, stable=True)
    left = weight.double()[:, order]
    h = hessian.double()[order][:, order]
    mean = float(h.diagonal().mean())
    h.diagonal().add_(damping * mean if mean > 0 else 1.0)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(h))
    factor = torch.linalg.cholesky(inverse, upper=True)
    column = scale.reshape(-1, 1).to(weight)
    rounded = torch.empty_like(weight)
    for k in range(left.shape[1]):
        value = left[:, k : k + 1]
        nearest = fake_quantize(value.to(weight.dtype), fmt, column)
        rounded[:, order[k]] = nearest[:, 0]
        error = (value - nearest.double()) / factor[k, k]
        left[:, k + 1 :] -= error * factor[k, k + 1 :]
    return rounded


def operands(stage: ComputeStage, x: Tensor) -> Tensor:
    """Return what the weights of a layer are multiplied with, (groups, samples, K).

    Parameters
    ----------
    stage : ComputeStage
    x : Tensor
        Its input; a convolution's samples are its windows, one for each pixel of the output.
    """
    if not isinstance(stage, ConvStage):
        return x.reshape(1, -1, x.shape[-1])
    kernel = stage.weight.shape[2:]
    windows = functional.unfold(x, kernel, padding=stage.padding, stride=stage.stride)
    groups = x.shape[1] // stage.weight.shape[1]
    # (N, groups, K, windows): unfolding puts channels before places of the kernel, as weights do.
    grouped = windows.view(len(x), groups, -1, windows.shape[2])
    return grouped.permute(1, 0, 3, 2).flatten(1, 2)


def hessians(stage: ComputeStage, x: Tensor) -> Tensor:
    """Return the sums of products of a layer's operands, (groups, K, K), in float64."""
    total: Tensor | None = None
    for part in torch.split(x, INPUTS):
        rows = operands(stage, part)
        products = (rows.mT @ rows).double()
        total = products if total is None else total + products
    assert total is not None  # an empty tensor is one part
    return total


def gptq(
    prepared: PreparedModel,
    inputs: Tensor,
    *,
    damping: float = DAMPING,
    progress: Callable[[], None] | None = None,
) -> None:
    """Round the weights of each layer so that its sums change little on the data.

    Weights become values of their formats, and biases make up for the mean error that is left.

    Parameters
    ----------
    prepared : PreparedModel
        Calibrated, its weights still the float model's; changed in place. Only `prepare` gives
        the float weights again.
    inputs : Tensor
        Run as one batch.
    damping : float
        Part of the mean diagonal of each Hessian that is added to the diagonal.
    progress : callable, optional
        Called after each layer.
    """

    def change(stage: ComputeStage, found: Tensor, real: Tensor) -> None:
        fmt, scale = stage.weight_format, stage.weight_scale
        assert fmt is not None
        assert scale is not None
        matrices = hessians(stage, found)
        weights = stage.weight.flatten(1).chunk(len(matrices))
        parts = zip(weights, matrices, scale.chunk(len(matrices)), strict=True)
        rounded = torch.cat([gptq_rounding(w, h, fmt, s, damping) for w, h, s in parts])
        stage.weight.copy_(rounded.view_as(stage.weight))
        correct_bias(stage, found, real)
        if progress is not None:
            progress()

    layerwise(prepared, inputs, change)
