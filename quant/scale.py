"""Scales of least squared error: per tensor, per channel, and for the normal distribution.

The error has many local minima in the scale; `dybit.quant.scale_search` finds the global one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from dybit.quant.formats import ESB, DyBit, NumberFormat
from dybit.quant.formats.base import checked_int
from dybit.quant.formats.codec import as_float
from dybit.quant.scale_search import NEGLIGIBLE, Normal, Sample, Search

__all__ = ["TOLERANCE", "best_exponent_limit", "esb_alpha", "optimal_scale", "squared_error"]

TOLERANCE = 1e-4
"""Largest relative excess of the squared error over the least one possible."""

_Array = NDArray[np.float64]


@overload
def optimal_scale(x: ArrayLike, fmt: NumberFormat, axis: None = None) -> float: ...
@overload
def optimal_scale(x: ArrayLike, fmt: NumberFormat, axis: int) -> _Array: ...
def optimal_scale(x: ArrayLike, fmt: NumberFormat, axis: int | None = None) -> float | _Array:
    """Return the scale that minimises the squared error of `x` in `fmt`.

    The error is at most `TOLERANCE` (relative) above the least possible; errors under a part in
    10**12 of the sum of squares are not told apart. The result is deterministic.

    Parameters
    ----------
    x : array_like
        Finite real numbers, at least one.
    fmt : NumberFormat
        The format to round to.
    axis : int, optional
        The axis that is kept: one scale for each index along it, such as the channel axis.

    Returns
    -------
    float, or ndarray of float64 with one dimension
        Positive scales. 1 where there is nothing to fit: all elements zero or, in an unsigned
        format, none above zero. Elements that all have one magnitude get a scale without error.

    Raises
    ------
    ValueError
        If `x` is empty or not finite, or has no such axis.
    TypeError
        If `x` is not of a real type, or the axis no integer.
    """
    array = _checked(x)
    if axis is None:
        return _fit(array, [fmt])[0]
    if not array.ndim:
        raise ValueError("x must have an axis to keep, not shape ()")
    kept = checked_int("axis", axis, -array.ndim, array.ndim - 1, f" for shape {array.shape}")
    channels = np.moveaxis(array, kept, 0).reshape(array.shape[kept], -1)
    return np.array([_fit(channel, [fmt])[0] for channel in channels])


def best_exponent_limit(
    x: ArrayLike, bits: int, signed: bool, limits: Iterable[int] | None = None
) -> tuple[DyBit, float]:
    """Return the DyBit format whose exponent limit suits `x` best, and its optimal scale.

    Parameters
    ----------
    x : array_like
        As in `optimal_scale`.
    bits, signed : int, bool
        As in `DyBit`.
    limits : iterable of int, optional
        The exponent limits to choose from; every one by default.

    Returns
    -------
    format : DyBit
        The one of least squared error; the largest limit where several are within `TOLERANCE`.
    scale : float
        Its scale.
    """
    array = _checked(x)
    candidates = range(1, DyBit(bits, signed).exponent_limit + 1) if limits is None else limits
    formats = [DyBit(bits, signed, limit) for limit in sorted(set(candidates), reverse=True)]
    if not formats:
        raise ValueError("limits must not be empty")
    largest = float(np.abs(array).max()) or 1.0
    normalised = array.astype(np.float64) / largest
    scales = _fit(normalised, formats)
    errors = [squared_error(normalised, f, s) for f, s in zip(formats, scales, strict=True)]
    tie = min(errors) * (1 + TOLERANCE) + NEGLIGIBLE * float(np.square(normalised).sum())
    best = next(i for i, error in enumerate(errors) if error <= tie)
    return formats[best], scales[best] * largest


def squared_error(x: ArrayLike, fmt: NumberFormat, scale: ArrayLike) -> float:
    """Return the sum of squared differences between `x` and its rounding to `fmt` at `scale`.

    Parameters
    ----------
    x : array_like
        Real numbers.
    fmt : NumberFormat
        The format to round to.
    scale : array_like of float
        Positive; broadcasts against `x`.
    """
    array = as_float(np.asarray(x)).astype(np.float64, copy=False)
    factor = np.asarray(scale, dtype=np.float64)
    if not ((factor > 0) & np.isfinite(factor)).all():
        raise ValueError(f"scale must be positive and finite, not {scale!r}")
    rounded = fmt.decode(fmt.encode(array / factor)) * factor
    return float(np.square(array - rounded).sum())


@cache
def esb_alpha(bits: int, k: int) -> float:
    """Return the scale of least expected squared error of ``ESB(bits, k)`` on N(0, 1).

    Multiplied by the standard deviation of a tensor it is the scale of the ESB paper (arXiv
    2109.03513). For three and more exponent bits the error has several local minima; this is the
    global one, to a relative 10**-9.
    """
    search = Search(Normal(), ESB(bits, k), tolerance=1e-7)
    scale = search.run()

    def descent(s: float) -> float:
        inner, squares = search.products(np.array([s]))
        return float(inner[0] - s * squares[0])

    reach = 1e-4
    while descent(scale * (1 - reach)) <= 0 or descent(scale * (1 + reach)) >= 0:
        reach *= 2
    return float(brentq(descent, scale * (1 - reach), scale * (1 + reach), rtol=1e-12))


def _fit(x: NDArray[Any], formats: Sequence[NumberFormat]) -> list[float]:
    """Return the optimal scale of `x` in each of several formats, all signed or all unsigned."""
    values = x.ravel().astype(np.float64)
    magnitudes = np.abs(values) if formats[0].signed else np.maximum(values, 0)
    largest = float(magnitudes.max())
    if largest == 0:
        return [1.0] * len(formats)
    magnitudes /= largest  # so that no square over- or underflows
    zeros = bool((magnitudes == 0).any())
    equal = bool(((magnitudes == 1) | (magnitudes == 0)).all())
    sample = Sample(magnitudes)
    limits = np.finfo(np.float64)
    scales = []
    for fmt in formats:
        if equal and (fmt.has_zero or not zeros):
            scale = largest / _largest_power_of_two(fmt)
        else:
            scale = largest * Search(sample, fmt, TOLERANCE).run()
        scales.append(min(max(scale, float(limits.smallest_subnormal)), float(limits.max)))
    return scales


def _largest_power_of_two(fmt: NumberFormat) -> float:
    """Return the largest value whose multiples by any scale are exact; every format has one."""
    mantissas, _ = np.frexp(fmt.values)
    return float(fmt.values[mantissas == 0.5].max())


def _checked(x: ArrayLike) -> NDArray[Any]:
    """Return `x` as an array of finite floats, or raise."""
    array = as_float(np.asarray(x))
    if array.size == 0:
        raise ValueError(f"x must not be empty, but has shape {array.shape}")
    finite = np.isfinite(array)
    if not finite.all():
        place = tuple(int(i) for i in np.unravel_index(int(finite.argmin()), array.shape))
        raise ValueError(f"x must be finite, not {array[place]} at index {place}")
    return array
