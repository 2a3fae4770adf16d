"""Rounding a tensor to a format times a scale, and its gradient: pure functions outside autograd.

Three ways lead to the same bits. Most formats are steps (`dybit.quant.torch.steps`): the compiled
kernel rounds to them in one pass, PyTorch's operations in some ten, block by block so that what is
in flight stays in the cache. The rest goes through the codec's tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dybit.quant.formats import NumberFormat, RoundingTable
from dybit.quant.torch.kernel import SEARCH_VALUES, Kernel, kernel
from dybit.quant.torch.steps import INTEGER, Steps, steps_of

__all__ = ["COMPUTE", "mask_gradient", "round_scaled"]

COMPUTE = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}
"""The type in which numbers of each type are divided, rounded and multiplied."""

BLOCK = 1 << 17
"""Elements in flight on each core; with their temporaries they fit a second-level cache."""


def round_scaled(x: Tensor, fmt: NumberFormat, scale: Tensor) -> Tensor:
    """Return ``decode(encode(x / scale)) * scale``, as `fake_quantize` defines it.

    Parameters
    ----------
    x : Tensor
        float16, bfloat16, float32 or float64.
    fmt : NumberFormat
    scale : Tensor
        Positive and finite, on the device of `x` and of the type in `COMPUTE`; broadcasts
        against `x`.

    Raises
    ------
    ValueError
        If `x` contains NaN.
    """
    x, order = _dense(x)
    out = torch.empty_like(x)
    if not x.numel():
        return out
    source, factor = _rows(x.permute(order), _along(scale, x, order))
    target = out.permute(order).view(source.shape)
    steps = steps_of(fmt, scale.dtype)
    native = _native(x, scale)
    if native is not None and steps is not None:
        nan = native.round(steps, source, factor, target)
    elif native is not None and len(fmt.values) <= SEARCH_VALUES:
        nan = native.search(*_levels(fmt, x.dtype, x.device), source, factor, target)
    else:
        nan = _round_blocks(source, fmt, steps, factor, target)
    if nan:
        raise ValueError("x must not contain NaN")
    return out


def mask_gradient(grad: Tensor, x: Tensor, fmt: NumberFormat, scale: Tensor) -> Tensor:
    """Return `grad` where ``x / scale`` lies within the format's range, ends included, 0 elsewhere.

    Parameters
    ----------
    grad : Tensor
        Of the shape and type of `x`.
    x, fmt, scale
        As `round_scaled` took them.
    """
    x, order = _dense(x)
    out = torch.empty_like(x)
    if not x.numel():
        return out
    source, factor = _rows(x.permute(order), _along(scale, x, order))
    passed = grad.permute(order).contiguous().view(source.shape)
    target = out.permute(order).view(source.shape)
    least, greatest = float(fmt.values[0]), fmt.max
    native = _native(x, scale)
    if native is None:
        _mask_blocks(passed, source, least, greatest, factor, target)
    else:
        native.mask(least, greatest, passed, source, factor, target)
    return out


def _native(x: Tensor, scale: Tensor) -> Kernel | None:
    return kernel() if x.device.type == "cpu" and x.dtype == scale.dtype else None


def _dense(x: Tensor) -> tuple[Tensor, list[int]]:
    """Return `x` without gaps or overlaps in memory, and its axes as they lie there."""
    order = sorted(range(x.ndim), key=x.stride, reverse=True)
    if x.permute(order).is_contiguous():
        return x, order
    return x.contiguous(), list(range(x.ndim))


def _along(scale: Tensor, x: Tensor, order: list[int]) -> Tensor:
    """Return the scale with the axes of `x`, reordered."""
    return scale.view([1] * (x.ndim - scale.ndim) + list(scale.shape)).permute(order)


def _rows(x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return a contiguous `x` as (outer, channels, inner), and the scale as (1, channels, 1)."""
    kept = [axis for axis, size in enumerate(scale.shape) if size > 1]
    first, last = (kept[0], kept[-1] + 1) if kept else (0, 0)
    if scale.shape[first:last] != x.shape[first:last]:  # one that is shared lies between
        scale, last = scale.expand(x.shape), x.ndim
    factor = scale.reshape(1, -1, 1).contiguous()
    return x.view(-1, factor.shape[1], math.prod(x.shape[last:])), factor


def _round_blocks(
    x: Tensor, fmt: NumberFormat, steps: Steps | None, scale: Tensor, out: Tensor
) -> bool:
    """Write the rounded `x` to `out`; return whether `x` has a NaN."""
    same_type = x.dtype == scale.dtype
    work = torch.empty(0)
    sums = []
    for factor, source, target in _blocks(_block_size(x), scale, x, out):
        y = _quotient(source, factor, target if same_type else None)
        if steps is None:
            sums.append(torch.where(y.isnan(), y, 0).sum())
            _look_up(y, fmt)
        else:
            if work.shape != y.shape:
                work = torch.empty_like(y)
            steps.round_(y, work)
            sums.append(y.sum())  # of finite numbers, but for NaN
        y.mul_(factor)
        if not same_type:
            target.copy_(y)
    return bool(torch.stack(sums).isnan().any())


def _mask_blocks(
    grad: Tensor, x: Tensor, least: float, greatest: float, scale: Tensor, out: Tensor
) -> None:
    """Write `grad` to `out` where ``x / scale`` lies within the range, 0 elsewhere."""
    same_type = x.dtype == scale.dtype
    # hardtanh lets the gradient pass strictly between its bounds.
    real = _numpy_type(scale.dtype).type
    below = float(np.nextafter(real(least), real(-np.inf)))
    above = float(np.nextafter(real(greatest), real(np.inf)))
    for factor, source, passed, target in _blocks(_block_size(x), scale, x, grad, out):
        y = _quotient(source, factor, target if same_type else None)
        if same_type:
            torch.ops.aten.hardtanh_backward.grad_input(passed, y, below, above, grad_input=target)
        else:
            target.copy_(passed).masked_fill_((y < least) | (y > greatest), 0)


def _quotient(x: Tensor, scale: Tensor, out: Tensor | None) -> Tensor:
    """Return ``x / scale`` in the type of the scale, but rounded to the type of `x`."""
    if out is not None:
        return torch.div(x, scale, out=out)
    return (x.to(scale.dtype) / scale).to(x.dtype).to(scale.dtype)


def _block_size(x: Tensor) -> int:
    """Return how many elements to hold in flight: on a device with its own memory, all."""
    return BLOCK * torch.get_num_threads() if x.device.type == "cpu" else x.numel()


def _blocks(size: int, scale: Tensor, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield the scale and the tensors in matching blocks of at most `size` elements."""
    shape, count = tensors[0].shape, tensors[0].numel()
    if count <= size:
        yield (scale, *tensors)
        return
    axis = next(axis for axis, length in enumerate(shape) if length > 1)
    step = max(1, size * shape[axis] // count)
    parts = zip(*[torch.split(tensor, step, axis) for tensor in tensors], strict=True)
    scales = repeat(scale) if scale.shape[axis] == 1 else torch.split(scale, step, axis)
    for part, factor in zip(parts, scales, strict=False):
        yield from _blocks(size, factor, *part)


def _look_up(y: Tensor, fmt: NumberFormat) -> None:
    """Round `y` in place by the codec's table of bits, or by a search where there is none."""
    if fmt.has_grid:
        keys = _keys(y, fmt.rounding_table(_numpy_type(y.dtype)))
        values = _table_values(fmt, y.dtype, y.device)
    else:
        thresholds, values = _levels(fmt, y.dtype, y.device)
        keys = torch.bucketize(y, thresholds)
    y.copy_(values.index_select(0, keys.view(-1)).view(y.shape))


def _keys(y: Tensor, table: RoundingTable) -> Tensor:
    """Return the place of each element in the table, as `RoundingTable` defines it."""
    magnitude = y.view(INTEGER[y.dtype]).bitwise_and(table.magnitude_mask)
    magnitude.clamp_(table.low, table.high)
    keys = magnitude >> table.shift
    keys += magnitude.add_(table.sticky_mask).bitwise_right_shift_(table.shift)
    keys -= table.offset
    return keys.add_(y < 0, alpha=table.size)


@lru_cache(maxsize=256)
def _table_values(fmt: NumberFormat, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the value at each place of the table of bits."""
    codes = fmt.rounding_table(_numpy_type(dtype)).codes
    return torch.from_numpy(fmt.decode(codes)).to(device, dtype)


@lru_cache(maxsize=256)
def _levels(fmt: NumberFormat, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the largest number that is rounded to each value but the last, and the values."""
    thresholds = torch.from_numpy(fmt.thresholds(_numpy_type(dtype)).copy())
    return thresholds.to(device), torch.from_numpy(fmt.values.copy()).to(device, dtype)


def _numpy_type(dtype: torch.dtype) -> np.dtype[Any]:
    return np.dtype(np.float32 if dtype == torch.float32 else np.float64)
