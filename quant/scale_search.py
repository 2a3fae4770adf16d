r"""Search for the scale of least squared error, with a guarantee.

With :math:`u = 1/s`, the squared error of rounding :math:`x` to the values :math:`v` of a format
times :math:`s` is

.. math:: f(u) = \sum_i \min_v (x_i - v/u)^2 = \lVert x \rVert^2 - \varphi(u) / u^2,
          \qquad \varphi(u) = \sum_i \max_v (2 u x_i v - v^2).

It has many local minima, but :math:`\varphi` is a sum of maxima of functions linear in :math:`u`
and hence convex: between two points it lies below its chord. The chord therefore gives a lower
bound of :math:`f` on the interval, in closed form, and branch and bound over intervals ends with a
scale whose error exceeds the least one by no more than a chosen fraction.

Rounding is symmetric about zero in most signed formats, so only :math:`|x|` matters; in an
unsigned format negative elements cost the same at every scale; where positive and negative values
differ, each sign is rounded for itself. Sorted magnitudes and their running sums make one
evaluation of :math:`\varphi` a binary search per midpoint, whatever the size of `x`, and many
rows (channels, groups) are searched at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dybit.quant.distributions import Distribution
from dybit.quant.formats import NumberFormat
from dybit.quant.levels import Levels, levels

__all__ = ["NEGLIGIBLE", "Search", "Side", "population_sides"]

NEGLIGIBLE = 1e-12
"""Squared errors below this fraction of the sum of squares count as zero."""

BLOCK = 1 << 11
"""Rows searched at once, which bounds the memory for their intervals."""

_Array = NDArray[np.float64]
_Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """Magnitudes of one sign, or of both where they are rounded alike.

    Parameters
    ----------
    distribution : Distribution
    levels : Levels
        What they round to.
    share : float
        The part of the distribution that has this sign.
    """

    distribution: Distribution
    levels: Levels
    share: float = 1.0


def population_sides(distribution: Distribution, fmt: NumberFormat) -> list[Side]:
    """Return the sides of a distribution that is symmetric, or in an unsigned format positive."""
    parts = levels(fmt)
    return [Side(distribution, part, 1 / len(parts)) for part in parts]


@dataclass(slots=True)
class Search:
    """Branch and bound for the best scale of every row of a distribution in one format.

    No row may consist of zeros alone.
    """

    sides: Sequence[Side]
    tolerance: float
    count: _Array = field(init=False)
    power: _Array = field(init=False)

    def __post_init__(self) -> None:
        # One that does not count the zeros of the other side twice would do as well.
        self.count = np.sum([side.share * side.distribution.count for side in self.sides], axis=0)
        self.power = np.sum([side.share * side.distribution.power for side in self.sides], axis=0)

    def products(self, rows: _Rows, scales: _Array) -> tuple[_Array, _Array]:
        """Return <x, q> and <q, q> of each of `rows` at its scale, q being what x / scale becomes.

        A row's result depends on nothing but the row and the scale.
        """
        inner, squares = np.zeros(len(rows)), np.zeros(len(rows))
        for side in self.sides:
            products = side.distribution.products(rows, scales, side.levels)
            inner += side.share * products[0]
            squares += side.share * products[1]
        return inner, squares

    def errors(self, rows: _Rows, scales: _Array) -> _Array:
        """Return the squared error of each of `rows` at its scale."""
        inner, squares = self.products(rows, scales)
        errors: _Array = self.power[rows] - 2 * scales * inner + np.square(scales) * squares
        return errors

    def run(self) -> _Array:
        """Return scales whose errors exceed the least by no more than the tolerance."""
        rows = np.arange(len(self.power))
        first, last = self.range()
        parts = [slice(start, start + BLOCK) for start in range(0, len(rows), BLOCK)]
        return np.concatenate([self._run(rows[p], first[p], last[p]) for p in parts])

    def _run(self, block: _Rows, first: _Array, last: _Array) -> _Array:
        power = self.power
        best_scale, least = np.zeros(len(power)), power.copy()

        def evaluate(rows: _Rows, u: _Array) -> _Array:
            """Return phi, having noted the best scale seen in each row; `rows` increase."""
            inner, squares = self.products(rows, 1 / u)
            # With the rounding of x fixed, <x, q> / <q, q> is the best scale: at least as good.
            gains = np.divide(inner**2, squares, where=squares > 0, out=np.zeros_like(inner))
            starts = np.flatnonzero(np.diff(rows, prepend=-1))
            highest = np.maximum.reduceat(gains, starts)
            at_top = np.flatnonzero(gains == np.repeat(highest, np.diff([*starts, len(rows)])))
            tops = at_top[np.searchsorted(at_top, starts)]
            tops = tops[power[rows[tops]] - gains[tops] < least[rows[tops]]]
            best_scale[rows[tops]] = inner[tops] / squares[tops]
            least[rows[tops]] = power[rows[tops]] - gains[tops]
            return 2 * u * inner - squares

        points = 2 + (np.log2(last / first) * 4).astype(np.intp)
        places = np.concatenate([np.arange(n) for n in points])
        u = np.repeat(first, points) * np.repeat(last / first, points) ** (
            places / np.repeat(points - 1, points)
        )
        rows = np.repeat(block, points)
        phi = evaluate(rows, u)
        inside = rows[1:] == rows[:-1]
        rows = rows[1:][inside]
        left, right = (np.stack([u[p], phi[p]])[:, inside] for p in (np.s_[:-1], np.s_[1:]))
        while True:
            bound = power[rows] - _greatest_gain(left, right)
            reached = (1 - self.tolerance) * least[rows] - NEGLIGIBLE * power[rows]
            open_ = bound < reached
            if not open_.any():
                return best_scale[block]
            rows, left, right = rows[open_], left[:, open_], right[:, open_]
            middle_u = (left[0] + right[0]) / 2
            middle = np.stack([middle_u, evaluate(rows, middle_u)])
            rows = np.repeat(rows, 2)
            left, right = _interleaved(left, middle), _interleaved(middle, right)

    def range(self) -> tuple[_Array, _Array]:
        """Return bounds of 1 / scale outside which the error is no less than at some scale within.

        From above, a scale at which everything rounds to the smallest magnitude v: larger ones
        change nothing if v = 0, and otherwise only add error. From below, |x - s q| >= |x| - s |q|
        >= |x| - s max(v) sqrt(n), which must fall under the error at some scale; a few that bring
        a root mean square to one of the values are tried for that.
        """
        rows = np.arange(len(self.power))
        first, gain = np.full(len(rows), np.inf), np.zeros(len(rows))
        for side in self.sides:
            values, d = side.levels.values, side.distribution
            there = rows[d.largest > 0]
            smallest = (values[0] + values[1]) / 2 if values[0] == 0 else values[0]
            first[there] = np.minimum(first[there], smallest / d.largest[there])
            root_mean_square = np.sqrt(d.power[there] / d.count[there])
            for value in values[[1, len(values) // 2, -1]]:
                inner, squares = self.products(there, root_mean_square / value)
                gain[there] = np.maximum(gain[there], inner**2 / squares / self.power[there])
        # |x| - sqrt(power - gain) without cancellation.
        reserve = np.sqrt(self.power) * gain / (1 + np.sqrt(np.maximum(0.0, 1 - gain)))
        largest = max(float(side.levels.values[-1]) for side in self.sides)
        last = largest * np.sqrt(self.count) / reserve
        return first, np.maximum(last, 2 * first)


def _interleaved(one: _Array, other: _Array) -> _Array:
    return np.stack([one, other], axis=2).reshape(len(one), -1)


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
