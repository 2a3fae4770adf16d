r"""Scales of least squared error, found with a guarantee.

With :math:`u = 1/s`, the squared error of rounding :math:`x` to the values :math:`v` of a format
times :math:`s` is

.. math:: f(u) = \sum_i \min_v (x_i - v/u)^2 = \lVert x \rVert^2 - \varphi(u) / u^2,
          \qquad \varphi(u) = \sum_i \max_v (2 u x_i v - v^2).

It has many local minima, but :math:`\varphi` is a sum of maxima of functions linear in :math:`u`
and hence convex: between two points it lies below its chord. The chord therefore gives a lower
bound of :math:`f` on the interval, in closed form, and branch and bound over intervals ends with a
scale whose error exceeds the least one by no more than a chosen fraction.

Rounding is symmetric about zero in signed formats, so only :math:`|x|` matters; in an unsigned
format negative elements cost the same at every scale. Sorted magnitudes and their running sums
make one evaluation of :math:`\varphi` a binary search per midpoint, whatever the size of `x`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq  # type: ignore[import-untyped]
from scipy.special import ndtr  # type: ignore[import-untyped]

from dybit.quant.formats import ESB, DyBit, NumberFormat
from dybit.quant.formats.codec import as_float

__all__ = ["TOLERANCE", "best_exponent_limit", "esb_alpha", "optimal_scale", "squared_error"]

TOLERANCE = 1e-4
"""Largest relative excess of the squared error over the least one possible."""

NEGLIGIBLE = 1e-12
"""Squared errors below this fraction of the sum of squares count as zero."""

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
        If `x` is not of a real type.
    """
    array = _checked(x)
    if axis is None:
        return _fit(array, [fmt])[0]
    channels = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
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
    search = _Search(_Normal(), ESB(bits, k), tolerance=1e-7)
    scale = search.run()

    def descent(s: float) -> float:
        inner, squares = search.products(np.array([s]))
        return float(inner[0] - s * squares[0])

    reach = 1e-4
    while descent(scale * (1 - reach)) <= 0 or descent(scale * (1 + reach)) >= 0:
        reach *= 2
    return float(brentq(descent, scale * (1 - reach), scale * (1 + reach), rtol=1e-12))


class _Distribution(Protocol):
    """Magnitudes to be rounded: their number, sum, sum of squares and largest one."""

    count: float
    total: float
    power: float
    largest: float

    def below(self, limits: _Array) -> tuple[_Array, _Array]:
        """Return number and sum of the magnitudes up to each limit."""


class _Sample:
    """The distribution of given magnitudes."""

    def __init__(self, magnitudes: _Array) -> None:
        self._sorted = np.sort(magnitudes)
        self._sums = np.concatenate([[0.0], np.cumsum(self._sorted)])
        self.count = float(magnitudes.size)
        self.total = float(self._sums[-1])
        self.power = float(np.square(self._sorted).sum())
        self.largest = float(self._sorted[-1])

    def below(self, limits: _Array) -> tuple[_Array, _Array]:
        places = np.searchsorted(self._sorted, limits, side="right")
        return places.astype(np.float64), self._sums[places]


class _Normal:
    """The distribution of magnitudes of N(0, 1)."""

    count = 1.0
    total = np.sqrt(2 / np.pi)
    power = 1.0
    largest = 10.0  # beyond lies 1e-23 of the distribution

    def below(self, limits: _Array) -> tuple[_Array, _Array]:
        return 2 * ndtr(limits) - 1, -self.total * np.expm1(-np.square(limits) / 2)


@dataclass(slots=True)
class _Search:
    """Branch and bound for the best scale of one distribution in one format."""

    distribution: _Distribution
    fmt: NumberFormat
    tolerance: float

    def products(self, scales: _Array) -> tuple[_Array, _Array]:
        """Return <x, q> and <q, q> at each scale, q being the values that x / scale rounds to."""
        values = self.fmt.magnitude_integers * self.fmt.unit
        midpoints = (values[1:] + values[:-1]) / 2
        counts, sums = self.distribution.below(np.multiply.outer(scales, midpoints))
        inner = values[0] * self.distribution.total
        squares = values[0] ** 2 * self.distribution.count
        return (
            inner + (self.distribution.total - sums) @ np.diff(values),
            squares + (self.distribution.count - counts) @ np.diff(np.square(values)),
        )

    def run(self) -> float:
        """Return a scale whose error exceeds the least by no more than the tolerance."""
        power = self.distribution.power
        best_scale, least = 0.0, power

        def evaluate(u: _Array) -> _Array:
            """Return phi, having noted the best scale seen."""
            nonlocal best_scale, least
            inner, squares = self.products(1 / u)
            # With the rounding of x fixed, <x, q> / <q, q> is the best scale: at least as good.
            gains = np.divide(inner**2, squares, where=squares > 0, out=np.zeros_like(inner))
            top = int(gains.argmax())
            if power - gains[top] < least:
                best_scale, least = float(inner[top] / squares[top]), power - float(gains[top])
            return 2 * u * inner - squares

        first, last = self._range()
        u = np.geomspace(first, last, 2 + int(np.log2(last / first) * 4))
        phi = evaluate(u)
        left, right = np.stack([u[:-1], phi[:-1]]), np.stack([u[1:], phi[1:]])
        while True:
            bound = power - _greatest_gain(left, right)
            open_ = bound < (1 - self.tolerance) * least - NEGLIGIBLE * power
            if not open_.any():
                return best_scale
            left, right = left[:, open_], right[:, open_]
            middle_u = (left[0] + right[0]) / 2
            middle = np.stack([middle_u, evaluate(middle_u)])
            left, right = np.hstack([left, middle]), np.hstack([middle, right])

    def _range(self) -> tuple[float, float]:
        """Return bounds of 1 / scale outside which the error is no less than at some scale within.

        From above, a scale at which everything rounds to the smallest magnitude v: larger ones
        change nothing if v = 0, and otherwise only add error. From below, |x - s q| >= |x| - s |q|
        >= |x| - s max(v) sqrt(n), which must fall under the error at some scale; a few that bring
        the root mean square to one of the values are tried for that.
        """
        d = self.distribution
        values = self.fmt.magnitude_integers * self.fmt.unit
        midpoint = (values[0] + values[1]) / 2
        first = (midpoint if values[0] == 0 else values[0]) / d.largest
        root_mean_square = np.sqrt(d.power / d.count)
        inner, squares = self.products(root_mean_square / values[[1, len(values) // 2, -1]])
        gain = float(np.max(inner**2 / squares)) / d.power
        # |x| - sqrt(power - gain) without cancellation.
        reserve = np.sqrt(d.power) * gain / (1 + np.sqrt(max(0.0, 1 - gain)))
        last = values[-1] * np.sqrt(d.count) / reserve
        return float(first), float(max(last, 2 * first))


def _greatest_gain(left: _Array, right: _Array) -> _Array:
    """Return the maximum over each interval of (chord of phi) / u**2, from rows (u, phi)."""
    (u1, phi1), (u2, phi2) = left, right
    slope = (phi2 - phi1) / (u2 - u1)
    offset = phi1 - slope * u1
    stationary = np.divide(-2 * offset, slope, where=slope != 0, out=u1.copy())
    inside = np.clip(stationary, u1, u2)
    gains = [phi1 / u1**2, phi2 / u2**2, (offset + slope * inside) / inside**2]
    greatest: _Array = np.max(gains, axis=0)
    return greatest


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
    sample = _Sample(magnitudes)
    limits = np.finfo(np.float64)
    scales = []
    for fmt in formats:
        if equal and (fmt.has_zero or not zeros):
            scale = largest / _largest_power_of_two(fmt)
        else:
            scale = largest * _Search(sample, fmt, TOLERANCE).run()
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
