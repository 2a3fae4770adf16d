"""Rounding to a number format inside a PyTorch graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, SupportsFloat

import numpy as np
import torch
from torch import Tensor

from dybit.quant.formats import NumberFormat
from dybit.quant.torch.rounding import COMPUTE, mask_gradient, round_scaled

__all__ = ["fake_quantize"]


def fake_quantize(x: Tensor, fmt: NumberFormat, scale: float | Tensor) -> Tensor:
    """Round `x` to the values of a format times a scale, with a straight-through gradient.

    With ``y = x / scale``, the result is ``decode(encode(y)) * scale``, bit for bit what the
    format's own codec gives. The gradient with respect to `x` is 1 where y lies within the
    format's range, both ends included, and 0 elsewhere; the scale gets none. For a half-precision
    `x` division and product are those of float32, each rounded to the dtype of `x`.

    Parameters
    ----------
    x : Tensor
        float16, bfloat16, float32 or float64.
    fmt : NumberFormat
    scale : float or Tensor
        Positive and finite; a tensor must broadcast against `x`.

    Raises
    ------
    TypeError
        If `x` is of another type.
    ValueError
        If `x` contains NaN, or the scale does not fit.
    """
    if torch.compiler.is_compiling():
        # To refuse NaN is to look at the data: the compiled graph ends before and begins behind.
        eager = torch.compiler.disable(_fake_quantize)
        outside: Tensor = eager(x, fmt, scale)
        return outside
    return _fake_quantize(x, fmt, scale)


def _fake_quantize(x: Tensor, fmt: NumberFormat, scale: float | Tensor) -> Tensor:
    if not isinstance(x, Tensor) or x.dtype not in COMPUTE:
        kind = getattr(x, "dtype", type(x).__name__)
        raise TypeError(f"x must be a tensor of float16, bfloat16, float32 or float64, not {kind}")
    factor = _checked_scale(x, scale)
    apply: Callable[..., Tensor] = _FakeQuantize.apply
    return apply(x, fmt, factor)


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, fmt: NumberFormat, scale: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        ctx.format = fmt
        return round_scaled(x, fmt, scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        x, scale = ctx.saved_tensors
        apply: Callable[..., Tensor] = _Passed.apply
        return apply(grad, x, ctx.format, scale), None, None


class _Passed(torch.autograd.Function):
    """The gradient that passes: linear, and so its own derivative."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor, fmt: NumberFormat, scale: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        ctx.format = fmt
        return mask_gradient(grad, x, fmt, scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        x, scale = ctx.saved_tensors
        apply: Callable[..., Tensor] = _Passed.apply
        return apply(grad, x, ctx.format, scale), None, None, None


def _checked_scale(x: Tensor, scale: float | Tensor) -> Tensor:
    """Return the scale as a tensor of the dtype computed in, on the device of `x`."""
    if isinstance(scale, Tensor):
        if not scale.is_floating_point():
            raise TypeError(f"scale must be a float or a tensor of floats, not {scale.dtype}")
        if not _broadcasts(scale.shape, x.shape):
            raise ValueError(
                f"scale must broadcast against x of shape {tuple(x.shape)}, "
                f"not {tuple(scale.shape)}"
            )
        factor, given = scale.detach(), "a tensor with others"
    elif isinstance(scale, SupportsFloat) and not np.ndim(scale):
        factor, given = torch.tensor(float(scale), dtype=torch.float64), repr(scale)
    else:
        raise TypeError(f"scale must be a float or a tensor of floats, not {scale!r}")
    # A float64 may be 0 or infinite in the dtype computed in.
    factor = factor.to(x.device, COMPUTE[x.dtype])
    if not bool(((factor > 0) & factor.isfinite()).all()):
        raise ValueError(f"scale must be positive and finite in {factor.dtype}, not {given}")
    return factor


def _broadcasts(scale: torch.Size, x: torch.Size) -> bool:
    return len(scale) <= len(x) and all(
        mine in (1, theirs) for mine, theirs in zip(reversed(scale), reversed(x), strict=False)
    )
