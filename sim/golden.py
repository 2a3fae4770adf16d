"""The golden model: exact integer arithmetic of a layer, as the hardware does it.

Products of integers are summed exactly and encoded once. Sums run in floating-point BLAS only
where the operands at hand prove that no intermediate sum leaves the significand, and in int64
otherwise, so results never depend on the order in which a library adds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dybit.quant.formats import NumberFormat
from dybit.sim.windows import Pair, im2col, output_size

__all__ = [
    "ACCUMULATOR_LIMIT",
    "average_pool",
    "conv2d",
    "im2col",
    "matmul",
    "max_pool",
    "product",
    "rank_limits",
    "requantize",
    "thresholds",
    "window_sum",
]

ACCUMULATOR_LIMIT = 1 << 47
"""Bound of ``|acc + bias|`` in the re-quantiser (exclusive)."""

Codes = NDArray[np.uint8]
Integers = NDArray[np.int64]

_CHUNK = 1 << 22  # elements of an im2col matrix held at a time
_SATURATED = 1 << 60  # twice x beyond this is above every threshold


def matmul(
    a_codes: NDArray[Any], a_fmt: NumberFormat, w_codes: NDArray[Any], w_fmt: NumberFormat
) -> Integers:
    """Multiply two matrices of codes exactly.

    Parameters
    ----------
    a_codes : (M, K) uint8
        Activations, in `a_fmt`.
    w_codes : (K, N) uint8
        Weights, in `w_fmt`.

    Returns
    -------
    (M, N) int64
        Sums of ``integer(a) * integer(w)``.

    Raises
    ------
    TypeError
        If an operand is not a uint8 array.
    ValueError
        If the shapes do not fit, a code is none of its format, or a sum could reach 2^63.
    """
    _check_codes("a_codes", a_codes, 2)
    _check_codes("w_codes", w_codes, 2)
    if a_codes.shape[1] != w_codes.shape[0]:
        raise ValueError(
            "w_codes must have as many rows as a_codes has columns, "
            f"not shape {w_codes.shape} for a_codes of shape {a_codes.shape}"
        )
    return product(a_fmt.integers(a_codes), w_fmt.integers(w_codes))


def product(a: Integers, w: Integers) -> Integers:
    """Multiply integer matrices exactly, (M, K) by (K, N); both within what `matmul` takes."""
    dtype = _exact_dtype(a, w, w.shape[0])
    return (a.astype(dtype) @ w.astype(dtype)).astype(np.int64)


def conv2d(
    a_codes: NDArray[Any],
    a_fmt: NumberFormat,
    w_codes: NDArray[Any],
    w_fmt: NumberFormat,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    groups: int = 1,
) -> Integers:
    """Convolve codes exactly; padding enters as operands of value 0, not as a code.

    Parameters
    ----------
    a_codes : (N, H, W, C) uint8
        Activations, in `a_fmt`.
    w_codes : (kh, kw, C / groups, O) uint8
        Weights, in `w_fmt`.
    stride, padding : pair of int
        Down and across; padding is the same on both sides.
    groups : int
        Equal parts of input and of output channels; each output sees its own part alone.

    Returns
    -------
    (N, OH, OW, O) int64
        Sums of ``integer(a) * integer(w)``.
    """
    _check_codes("a_codes", a_codes, 4)
    _check_codes("w_codes", w_codes, 4)
    kernel_h, kernel_w, channels, outputs = w_codes.shape
    if a_codes.shape[3] != channels * groups:
        raise ValueError(
            f"w_codes must have {a_codes.shape[3]} input channels as a_codes has, "
            f"not {channels * groups}"
        )
    if outputs % groups:
        raise ValueError(f"groups must be a divisor of the {outputs} outputs, not {groups}")
    kernel = (kernel_h, kernel_w)
    size = output_size(a_codes.shape, kernel, stride, padding)
    reduction = kernel_h * kernel_w * channels
    a, w = a_fmt.integers(a_codes), w_fmt.integers(w_codes).reshape(reduction, groups, -1)
    dtype = _exact_dtype(a, w, reduction)
    a, w = a.astype(dtype), np.ascontiguousarray(w.swapaxes(0, 1), dtype)
    out = np.empty((len(a), *size, outputs), np.int64)
    step = max(1, _CHUNK // (size[0] * size[1] * max(1, reduction * groups)))
    for start in range(0, len(a), step):
        part = slice(start, start + step)
        windows = im2col(a[part], kernel, stride, padding)
        # One product a group: a stack of small ones is slow in a BLAS with threads.
        cut = windows.reshape(-1, kernel_h * kernel_w, groups, channels)
        rows = cut.transpose(2, 0, 1, 3).reshape(groups, -1, reduction)
        out[part] = (rows @ w).swapaxes(0, 1).reshape(*windows.shape[:3], outputs)
    return out


def max_pool(
    codes: NDArray[Any],
    fmt: NumberFormat,
    kernel: Pair,
    stride: Pair | None = None,
    padding: Pair = (0, 0),
) -> Codes:
    """Return the code of the largest value of each window; padding never wins.

    Parameters
    ----------
    codes : (N, H, W, C) uint8
        Codes in `fmt`; the result's are too.
    stride : pair of int, optional
        The kernel by default.
    padding : pair of int
        At most half the kernel, so that every window holds a code.
    """
    _check_codes("codes", codes, 4)
    if any(2 * pad > extent for pad, extent in zip(padding, kernel, strict=True)):
        raise ValueError(f"padding must be at most half of kernel {kernel}, not {padding}")
    # Ranks order codes by value; the padding's rank 0 is the smallest value's and cannot beat one.
    values = fmt.integers(fmt.sorted_codes)
    ranks = np.searchsorted(values, fmt.integers(codes)).astype(np.uint8)
    rows = im2col(ranks, kernel, stride or kernel, padding)
    best = rows.reshape(*rows.shape[:3], -1, codes.shape[3]).max(axis=3)
    result: Codes = fmt.sorted_codes[best]
    return result


def window_sum(
    codes: NDArray[Any], fmt: NumberFormat, kernel: Pair, stride: Pair | None = None
) -> Integers:
    """Return the integer sum of each window, (N, OH, OW, C): average pooling's accumulator."""
    _check_codes("codes", codes, 4)
    rows = im2col(fmt.integers(codes), kernel, stride or kernel)
    total: Integers = rows.reshape(*rows.shape[:3], -1, codes.shape[3]).sum(axis=3)
    return total


def average_pool(
    codes: NDArray[Any],
    fmt: NumberFormat,
    kernel: Pair,
    stride: Pair | None,
    multiplier: int,
    shift: int,
    output_fmt: NumberFormat,
) -> Codes:
    """Average windows: their integer sum re-quantised, 1/count being part of ``M / 2^S``."""
    total = window_sum(codes, fmt, kernel, stride)
    full = np.ones(codes.shape[3], np.int64)
    return requantize(total, 0 * full, multiplier * full, shift * full, output_fmt)


def requantize(
    acc: NDArray[Any],
    bias: ArrayLike,
    multiplier: ArrayLike,
    shift: ArrayLike,
    fmt: NumberFormat,
    relu: bool = False,
    max_code: int | None = None,
) -> Codes:
    """Encode ``x = (acc + bias) * multiplier / 2^shift``, measured in units of `fmt`.

    One rounding of the exact rational: nearest value, a tie to the even code, saturating.

    Parameters
    ----------
    acc : (..., N) int64
        Accumulators.
    bias, multiplier, shift : (N,) integers
        Per output channel; multiplier 0 to 65535, shift 0 to 63.
    fmt : NumberFormat
        Format of the result.
    relu : bool
        Encode negative x as 0.
    max_code : int, optional
        Code of the largest magnitude produced; the format's own by default.

    Raises
    ------
    TypeError
        If an array is not of integers.
    ValueError
        If a shape or a value does not fit, or if ``|acc + bias|`` reaches 2^47.
    """
    acc = _integers("acc", acc)
    if acc.ndim < 1:
        raise ValueError(f"acc must have a last axis of channels, not shape {acc.shape}")
    channels = acc.shape[-1]
    bias = _integers("bias", bias, channels)
    multiplier = _integers("multiplier", multiplier, channels, (0, 65535))
    shift = _integers("shift", shift, channels, (0, 63))

    total = acc + bias
    overflow = ((acc ^ total) & (bias ^ total)) < 0
    outside = overflow | (total <= -ACCUMULATOR_LIMIT) | (total >= ACCUMULATOR_LIMIT)
    if outside.any():
        where = np.unravel_index(int(np.argmax(outside)), total.shape)
        value = int(acc[where]) + int(bias[where[-1]])
        raise ValueError(f"|acc + bias| must be below 2^47, not {value}")

    # |total| < 2^47 and multiplier < 2^16, so this is below 2^63.
    product = total * multiplier
    if relu:
        product = np.maximum(product, 0)
    # Twice x is its floor plus a sticky bit; doubling a shift of 0 saturates first.
    down = np.maximum(shift - 1, 0)
    floor = product >> down
    sticky = (floor << down) != product
    floor = np.clip(floor, -_SATURATED, _SATURATED) << (shift == 0)
    rank = np.searchsorted(thresholds(fmt), 2 * floor + sticky, side="right")
    if max_code is not None:
        rank = np.clip(rank, *rank_limits(fmt, max_code))
    codes: Codes = fmt.sorted_codes[rank]
    return codes


@lru_cache(maxsize=64)
def thresholds(fmt: NumberFormat) -> Integers:
    """Return the least ``2 floor(2x) + sticky`` that rounds up to each value but the first."""
    values = fmt.integers(fmt.sorted_codes)
    if 2 * fmt.max_integer >= _SATURATED:
        raise ValueError(f"fmt must have integers below 2^59, not {fmt.max_integer} of {fmt.name}")
    # Twice the midpoint is an integer T: at 2x = T exactly the format's tie rule decides.
    thresholds: Integers = 2 * (values[:-1] + values[1:]) + ~fmt.ties_up
    return thresholds


def rank_limits(fmt: NumberFormat, max_code: int) -> Pair:
    """Return the ranks of the values -max and max, max being that of `max_code`."""
    values = fmt.integers(fmt.sorted_codes)
    if max_code not in fmt.sorted_codes.tolist() or _integer(fmt, max_code) < 0:
        raise ValueError(
            f"max_code must be the code of a value of {fmt.name} that is not negative, "
            f"not {max_code!r}"
        )
    largest = _integer(fmt, max_code)
    low, high = np.searchsorted(values, (-largest, largest))
    return int(low), int(high)


def _integer(fmt: NumberFormat, code: int) -> int:
    return int(fmt.integers(np.array([code], np.uint8))[0])


def _exact_dtype(a: Integers, w: Integers, reduction: int) -> type[np.generic]:
    """Return the fastest dtype in which sums of `reduction` products of `a` and `w` are exact."""
    bound = _largest(a) * _largest(w) * reduction
    if bound >= 1 << 63:
        raise ValueError(f"max|a| max|w| K must be below 2^63, not {bound} (K = {reduction})")
    # Every partial sum is an integer no larger than the bound, in whichever order it is formed.
    if bound <= 1 << 24:
        return np.float32
    return np.float64 if bound <= 1 << 53 else np.int64


def _largest(integers: Integers) -> int:
    return int(np.abs(integers).max(initial=0))


def _check_codes(name: str, codes: NDArray[Any], ndim: int) -> None:
    if not isinstance(codes, np.ndarray) or codes.dtype != np.uint8:
        kind = getattr(codes, "dtype", type(codes).__name__)
        raise TypeError(f"{name} must be a uint8 array, not {kind}")
    if codes.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} axes, not shape {codes.shape}")


def _integers(
    name: str, value: ArrayLike, channels: int | None = None, limits: Pair | None = None
) -> Integers:
    array = np.asarray(value)
    if array.dtype == np.uint64 or not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{name} must be an array of integers within int64, not {array.dtype}")
    if channels is not None and array.shape != (channels,):
        raise ValueError(f"{name} must have shape ({channels},), not {array.shape}")
    if limits is not None and array.size:
        worst = int(array.max() if array.max() > limits[1] else array.min())
        if not limits[0] <= worst <= limits[1]:
            raise ValueError(f"{name} must be {limits[0]} to {limits[1]}, not {worst}")
    return array.astype(np.int64)
