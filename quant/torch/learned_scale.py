r"""Scales that training learns with the weights: LSQ, and what it lacks on non-uniform grids.

With y = x / scale and q the value that y rounds to, LSQ (Esser et al., arXiv 1902.08153, equation
3) takes q - y for the derivative of the rounded x with respect to the scale: the error of rounding
grows with the scale. That holds where the step between values is the same everywhere. Where the
step grows with the magnitude, x moves to other steps as the scale changes: the error of a
floating-point number does not depend on the scale at all, and that of DyBit, whose step grows with
the square of the magnitude, falls as the scale grows. Straight through the rounding of the value's
*index*, rather than of the value, the derivative is

.. math:: q - y \frac{\Delta(q)}{\Delta(y)}

with :math:`\Delta` the local step of the grid. To first order that is q - y times a factor which
is 1 on a uniform grid, about 0 in a float's binades and about -1 in DyBit's; it is tabulated here
for each binade of each format. Without it, every DyBit and float scale would shrink in training.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dybit.quant.formats import NumberFormat
from dybit.quant.torch.fake_quantize import fake_quantize

__all__ = ["LearnedScale", "learned_quantize", "slope_factors"]

POINTS = 64
"""Numbers between two values that factors are fitted to."""


def learned_quantize(
    x: Tensor, fmt: NumberFormat, scale: Tensor, gradient_scale: float = 1.0
) -> Tensor:
    """Round as `fake_quantize` does, with a gradient for the scale too.

    The derivative of the result with respect to the scale is q - y times the factor of q's binade
    where y lies within the format's range, both ends included, and q elsewhere.

    Parameters
    ----------
    x : Tensor
        float32 or float64.
    fmt : NumberFormat
    scale : Tensor
        Positive and finite, of the dtype of `x`; broadcasts against it.
    gradient_scale : float
        Multiplies the gradient of the scale.
    """
    apply: Callable[..., Tensor] = _LearnedQuantize.apply
    return apply(x, fmt, scale, gradient_scale)


class _LearnedQuantize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, fmt: NumberFormat, scale: Tensor, gradient_scale: float
    ) -> Tensor:
        rounded = fake_quantize(x, fmt, scale)
        ctx.save_for_backward(x, rounded, scale)
        ctx.format, ctx.gradient_scale = fmt, gradient_scale
        return rounded

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor, None]:
        x, rounded, scale = ctx.saved_tensors
        y, q = x / scale, rounded / scale
        inside = (y >= float(ctx.format.values[0])) & (y <= ctx.format.max)
        slope = torch.where(inside, (q - y) * _factors(q, ctx.format), q)
        total = (grad * slope).sum_to_size(scale.shape) * ctx.gradient_scale
        return grad * inside, None, total, None


_EXPONENT = {torch.float32: (torch.int32, 23, 127), torch.float64: (torch.int64, 52, 1023)}


def _factors(q: Tensor, fmt: NumberFormat) -> Tensor | float:
    """Return the factor of each value's binade."""
    lowest, factors = slope_factors(fmt)
    if (factors == 1).all():
        return 1.0
    integer, shift, bias = _EXPONENT[q.dtype]
    # A power of two may have lost its last bit to the scale.
    exponent = (q.abs() * (1 + 2.0**-20)).view(integer) >> shift
    place = (exponent - (lowest + bias)).clamp_(0, len(factors) - 1)
    table = torch.from_numpy(factors).to(q.device, q.dtype)
    return table.index_select(0, place.view(-1)).view(q.shape)


@lru_cache(maxsize=256)
def slope_factors(fmt: NumberFormat) -> tuple[int, NDArray[np.float64]]:
    """Return the lowest binade of a format and the factor of each from there up.

    The lowest stands for 0 too. Each factor is the one with which q - y is nearest, over the
    numbers y that round to the binade, to the derivative through the index.
    """
    values = fmt.values
    gaps = np.diff(values)
    # The step at a value is the mean of those to both sides, and linear between values.
    steps = np.concatenate([gaps[:1], (gaps[1:] + gaps[:-1]) / 2, gaps[-1:]])
    within = (np.arange(POINTS) + 0.5) / POINTS
    y = (values[:-1, None] + gaps[:, None] * within).ravel()
    q = fmt.decode(fmt.encode(y))
    error = q - y
    wanted = q - y * np.interp(q, values, steps) / np.interp(y, values, steps)
    magnitude = np.abs(q)
    least = magnitude[magnitude > 0].min()
    binade = np.floor(np.log2(np.maximum(magnitude, least))).astype(np.int64)
    lowest = int(binade.min())
    widths = np.repeat(gaps, POINTS)
    squares = np.bincount(binade - lowest, widths * np.square(error))
    products = np.bincount(binade - lowest, widths * wanted * error)
    factors = np.divide(products, squares, out=np.ones_like(squares), where=squares > 0)
    return lowest, np.where(np.abs(factors - 1) < 1e-6, 1.0, factors)


class LearnedScale(nn.Module):
    """A rounding whose scale is a parameter.

    The parameter is the logarithm, so the scale stays positive and a step of the optimiser
    changes scales of all sizes by the same factor.

    Parameters
    ----------
    scale : Tensor
        To begin with.
    per_input : bool
        Whether the rounded tensor is a batch of inputs, which are not counted as elements: the
        gradient is scaled by 1 / sqrt(n * largest value), n elements sharing a scale (LSQ,
        section 2.2).
    """

    def __init__(self, scale: Tensor, per_input: bool) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(scale.detach().float().log())
        self.per_input = per_input

    @property
    def scale(self) -> Tensor:
        """The scale, as a tensor that autograd follows."""
        return self.log_scale.exp()

    def forward(self, x: Tensor, fmt: NumberFormat, _: float | Tensor) -> Tensor:
        shared = (x[0] if self.per_input else x).numel() / self.log_scale.numel()
        scale = self.scale.to(x.dtype)
        return learned_quantize(x, fmt, scale, 1 / math.sqrt(shared * fmt.max))
