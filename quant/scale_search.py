r"""Search for the scale of least squared error, with a guarantee.

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

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from dybit.quant.formats import NumberFormat

__all__ = ["NEGLIGIBLE", "Distribution", "Normal", "Sample", "Search"]

NEGLIGIBLE = 1e-12
"""Squared errors below this fraction of the sum of squares count as zero."""

_Array = NDArray[np.float64]


class Distribution(Protocol):
    """Magnitudes to be rounded: their number, sum, sum of squares and largest one."""

    count: float
    total: float
    power: float
    largest: float

    def below(self, limits: _Array) -> tuple[_Array, _Array]:
        """Return number and sum of the magnitudes up to each limit."""


class Sample:
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


class Normal:
    """The distribution of magnitudes of N(0, 1)."""

    count = 1.0
    total = np.sqrt(2 / np.pi)
    power = 1.0
    largest = 10.0  # beyond lies 1e-23 of the distribution

    def below(self, limits: _Array) -> tuple[_Array, _Array]:
        return 2 * ndtr(limits) - 1, -self.total * np.expm1(-np.square(limits) / 2)


@dataclass(slots=True)
class Search:
    """Branch and bound for the best scale of one distribution in one format."""

    distribution: Distribution
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
