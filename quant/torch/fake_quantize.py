"""Rounding to a number format inside a PyTorch graph."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, SupportsFloat

import numpy as np
import torch
from torch import Tensor

from dybit.quant.formats import NumberFormat

__all__ = ["fake_quantize"]

_INTEGER = {torch.float32: torch.int32, torch.float64: torch.int64}


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
    if not isinstance(x, Tensor) or x.dtype not in _COMPUTE:
        kind = getattr(x, "dtype", type(x).__name__)
        raise TypeError(f"x must be a tensor of float16, bfloat16, float32 or float64, not {kind}")
    factor = _checked_scale(x, scale)
    result: Tensor = _FakeQuantize.apply(x, fmt, factor)  # type: ignore[no-untyped-call]
    return result


_COMPUTE = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, fmt: NumberFormat, scale: Tensor) -> Tensor:
        # Through x's own dtype: that is the y whose code counts.
        y = (x.to(scale.dtype) / scale).to(x.dtype).to(scale.dtype)
        if y.isnan().any():
            raise ValueError("x must not contain NaN")
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward((y >= float(fmt.values[0])) & (y <= fmt.max))
        values = _values(fmt, y.dtype, y.device)
        rounded = values.index_select(0, _keys(y, fmt).view(-1)).view(y.shape)
        return rounded.mul_(scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return grad * inside, None, None


def _keys(y: Tensor, fmt: NumberFormat) -> Tensor:
    """Return the place of each element in the rounding table, as `RoundingTable` defines it."""
    table = fmt.rounding_table(_numpy_dtype(y.dtype))
    magnitude = y.contiguous().view(_INTEGER[y.dtype]).bitwise_and(table.magnitude_mask)
    magnitude.clamp_(table.low, table.high)
    keys = magnitude >> table.shift
    keys += magnitude.add_(table.sticky_mask).bitwise_right_shift_(table.shift)
    keys -= table.offset
    return keys.add_(y < 0, alpha=table.size)


@lru_cache(maxsize=256)
def _values(fmt: NumberFormat, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the value at each place of the rounding table."""
    codes = fmt.rounding_table(_numpy_dtype(dtype)).codes
    return torch.from_numpy(fmt.decode(codes)).to(device, dtype)


def _numpy_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    return np.dtype(np.float32 if dtype == torch.float32 else np.float64)


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
    factor = factor.to(x.device, _COMPUTE[x.dtype])
    if not bool(((factor > 0) & factor.isfinite()).all()):
        raise ValueError(f"scale must be positive and finite in {factor.dtype}, not {given}")
    return factor


def _broadcasts(scale: torch.Size, x: torch.Size) -> bool:
    return len(scale) <= len(x) and all(
        mine in (1, theirs) for mine, theirs in zip(reversed(scale), reversed(x), strict=False)
    )
