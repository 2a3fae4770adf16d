"""Scales of least squared error: per tensor, per channel, and for the normal distribution.

The error has many local minima in the scale; `dybit.quant.scale_search` finds the global one.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from dybit.quant.distributions import Normal
from dybit.quant.formats import ESB, DyBit, NumberFormat
from dybit.quant.formats.base import checked_int
from dybit.quant.formats.codec import as_float
from dybit.quant.scale_rows import NEGLIGIBLE, TOLERANCE, Rows
from dybit.quant.scale_search import Search, population_sides

__all__ = [
    "TOLERANCE",
    "best_exponent_limit",
    "checked_axis",
    "checked_tensor",
    "checked_weights",
    "esb_alpha",
    "needs_sign",
    "optimal_scale",
    "squared_error",
]

_Array = NDArray[np.float64]


@overload
def optimal_scale(
    x: ArrayLike, fmt: NumberFormat, axis: None = None, *, weights: ArrayLike | None = None
) -> float: ...
@overload
def optimal_scale(
    x: ArrayLike, fmt: NumberFormat, axis: int, *, weights: ArrayLike | None = None
) -> _Array: ...
def optimal_scale(
    x: ArrayLike, fmt: NumberFormat, axis: int | None = None, *, weights: ArrayLike | None = None
) -> float | _Array:
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
    weights : array_like, optional
        Weight of each element's squared error, not negative; broadcasts against `x`.

    Returns
    -------
    float, or ndarray of float64 with one dimension
        Positive scales. 1 where there is nothing to fit: all elements zero or, in an unsigned
        format, none above zero. Elements that all have one magnitude get a scale without error.

    Raises
    ------
    ValueError
        If `x` is empty or not finite, or has no such axis, or the weights do not fit.
    TypeError
        If `x` is not of a real type, or the axis no integer.
    """
    array = checked_tensor(x)
    given = checked_weights(weights, array)
    if axis is None:
        weights = None if given is None else given[None]
        return float(_rows(array[None], 0, weights).optimal_scales(fmt)[0])
    return _rows(array, checked_axis(axis, array.shape), given).optimal_scales(fmt)


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
    array = checked_tensor(x)
    candidates = range(1, DyBit(bits, signed).exponent_limit + 1) if limits is None else limits
    formats = [DyBit(bits, signed, limit) for limit in sorted(set(candidates), reverse=True)]
    if not formats:
        raise ValueError("limits must not be empty")
    largest = float(np.abs(array).max()) or 1.0
    normalised = array.astype(np.float64) / largest
    rows = Rows(normalised.reshape(1, -1))
    scales = [float(rows.optimal_scales(fmt)[0]) for fmt in formats]
    errors = [squared_error(normalised, f, s) for f, s in zip(formats, scales, strict=True)]
    tie = min(errors) * (1 + TOLERANCE) + NEGLIGIBLE * float(np.square(normalised).sum())
    best = next(i for i, error in enumerate(errors) if error <= tie)
    return formats[best], scales[best] * largest


def squared_error(
    x: ArrayLike, fmt: NumberFormat, scale: ArrayLike, *, weights: ArrayLike | None = None
) -> float:
    """Return the sum of squared differences between `x` and its rounding to `fmt` at `scale`.

    Parameters
    ----------
    x : array_like
        Real numbers.
    fmt : NumberFormat
        The format to round to.
    scale : array_like of float
        Positive; broadcasts against `x`.
    weights : array_like, optional
        Weight of each element's squared error, not negative; broadcasts against `x`.
    """
    array = as_float(np.asarray(x)).astype(np.float64, copy=False)
    factor = np.asarray(scale, dtype=np.float64)
    if not ((factor > 0) & np.isfinite(factor)).all():
        raise ValueError(f"scale must be positive and finite, not {scale!r}")
    rounded = fmt.decode(fmt.encode(array / factor)) * factor
    errors = np.square(array - rounded)
    given = checked_weights(weights, array)
    return float(errors.sum() if given is None else (errors * given).sum())


def needs_sign(x: ArrayLike) -> bool:
    """Return whether an element of `x` is below zero, so that an unsigned format would lose it."""
    return bool((checked_tensor(x) < 0).any())


@cache
def esb_alpha(bits: int, k: int) -> float:
    """Return the scale of least expected squared error of ``ESB(bits, k)`` on N(0, 1).

    Multiplied by the standard deviation of a tensor it is the scale of the ESB paper (arXiv
    2109.03513). For three and more exponent bits the error has several local minima; this is the
    global one, to a relative 10**-9, or one whose error exceeds its by less than a part in 10**7.
    """
    search = Search(population_sides(Normal(), ESB(bits, k)), tolerance=1e-7)
    scale = float(search.run()[0])

    def descent(s: float) -> float:
        inner, squares = search.products(np.zeros(1, np.intp), np.array([s]))
        return float(inner[0] - s * squares[0])

    reach = 1e-4
    while descent(scale * (1 - reach)) <= 0 or descent(scale * (1 + reach)) >= 0:
        reach *= 2
    return float(brentq(descent, scale * (1 - reach), scale * (1 + reach), rtol=1e-12))


def _rows(array: NDArray[Any], axis: int, weights: _Array | None) -> Rows:
    """Return a row of what lies at each index along an axis."""

    def rows(values: NDArray[Any]) -> NDArray[Any]:
        return np.moveaxis(values, axis, 0).reshape(array.shape[axis], -1)

    return Rows(rows(array), None if weights is None else rows(weights))


def checked_tensor(x: ArrayLike) -> NDArray[Any]:
    """Return `x` as an array of finite floats, or raise."""
    array = as_float(np.asarray(x))
    if array.size == 0:
        raise ValueError(f"x must not be empty, but has shape {array.shape}")
    _check_finite("x", array)
    return array


def checked_weights(weights: ArrayLike | None, array: NDArray[Any]) -> _Array | None:
    """Return weights in the shape of `array`, or raise."""
    if weights is None:
        return None
    given = np.asarray(weights, dtype=np.float64)
    try:
        spread = np.broadcast_to(given, array.shape)
    except ValueError:
        raise ValueError(
            f"weights must broadcast against x of shape {array.shape}, not {given.shape}"
        ) from None
    _check_finite("weights", given)
    if (given < 0).any():
        raise ValueError(f"weights must not be negative, not {given.min()}")
    return spread


def checked_axis(axis: int, shape: tuple[int, ...]) -> int:
    """Return an axis of tensors of that shape, or raise."""
    if not shape:
        raise ValueError("x must have an axis to keep, not shape ()")
    return checked_int("axis", axis, -len(shape), len(shape) - 1, f" for shape {shape}")


def _check_finite(name: str, array: NDArray[Any]) -> None:
    finite = np.isfinite(array)
    if not finite.all():
        place = tuple(int(i) for i in np.unravel_index(int(finite.argmin()), array.shape))
        raise ValueError(f"{name} must be finite, not {array[place]} at index {place}")
