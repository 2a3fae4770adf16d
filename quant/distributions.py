"""Magnitudes to be rounded: rows of samples, and populations in closed form.

Which value a number rounds to depends on the midpoints it lies between, so the squared error of a
rounding needs no more of a distribution than how many magnitudes lie above a limit, and their sum.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from dybit.quant.levels import Levels

__all__ = ["Distribution", "Laplace", "Normal", "Population", "Samples", "StudentT4"]

CELLS = 1 << 17
"""Numbers in flight at once: temporaries stay in the cache."""

SEARCH_COST = 16
"""Elements rounded in the time that it takes to find one midpoint among them."""

_Array = NDArray[np.float64]
_Rows = NDArray[np.intp]


class Distribution(ABC):
    """Number, sum, sum of squares and largest of the magnitudes in each row."""

    count: _Array
    total: _Array
    power: _Array
    largest: _Array

    @abstractmethod
    def above(self, rows: _Rows, limits: _Array) -> tuple[_Array, _Array]:
        """Return number and sum of the magnitudes above each limit, exact however few they are.

        Parameters
        ----------
        rows : (K,) ndarray of int
        limits : (K, M) ndarray of float
            Limits for the magnitudes of each of `rows`.

        Returns
        -------
        numbers, sums : (K, M) ndarray of float
        """

    def products(self, rows: _Rows, scales: _Array, levels: Levels) -> tuple[_Array, _Array]:
        """Return <x, q> and <q, q> of each of `rows`, q being the levels that x / scale rounds to.

        A row's result depends on nothing but the row and its scale.
        """
        inner, squares = np.empty(len(rows)), np.empty(len(rows))
        smallest, midpoints = levels.values[0], levels.midpoints
        for part in _parts(len(rows), len(midpoints)):
            row = rows[part]
            numbers, sums = self.above(row, np.multiply.outer(scales[part], midpoints))
            inner[part] = smallest * self.total[row] + _dot(sums, levels.steps)
            squares[part] = smallest**2 * self.count[row] + _dot(numbers, levels.square_steps)
        return inner, squares


class Samples(Distribution):
    """Given magnitudes, row by row, each counted with its weight.

    Parameters
    ----------
    magnitudes : (R, n) ndarray of float64
    weights : (R, n) ndarray of float64, optional
        Not negative; 1 by default.
    """

    def __init__(self, magnitudes: _Array, weights: _Array | None = None) -> None:
        rows, length = magnitudes.shape
        if weights is None:
            ordered, numbers = np.sort(magnitudes), np.ones_like(magnitudes)
        else:
            order = np.argsort(magnitudes)
            ordered = np.take_along_axis(magnitudes, order, axis=1)
            numbers = np.take_along_axis(weights, order, axis=1)
        sums = ordered * numbers
        self._length, self._weights = length, None if weights is None else numbers
        self._numbers, self._sums = _from_each_on(numbers), _from_each_on(sums)
        self.count, self.total = self._numbers[:, 0], self._sums[:, 0]
        self.power, self.largest = (sums * ordered).sum(axis=1), ordered[:, -1]
        # One less than a power of two: a binary search then has no ends to look out for.
        self._top = 1 << length.bit_length() >> 1
        self._ordered = np.full((rows, 2 * self._top - 1), np.inf)
        self._ordered[:, :length] = ordered

    def above(self, rows: _Rows, limits: _Array) -> tuple[_Array, _Array]:
        if len(self._ordered) == 1:
            places = np.searchsorted(self._ordered[0], limits, side="right")
        else:
            places = self._search(rows, limits)
        places += (rows * (self._length + 1))[:, None]
        return self._numbers.ravel()[places], self._sums.ravel()[places]

    def products(self, rows: _Rows, scales: _Array, levels: Levels) -> tuple[_Array, _Array]:
        if not levels.is_tabled or self._length > SEARCH_COST * len(levels.midpoints):
            return super().products(rows, scales, levels)
        inner, squares = np.empty(len(rows)), np.empty(len(rows))
        for part in _parts(len(rows), self._length):
            row = rows[part]
            x = self._ordered[row, : self._length]
            q = levels.nearest(x * (1 / scales[part])[:, None])
            if self._weights is not None:
                x = x * self._weights[row]
                squares[part] = np.einsum("kn,kn,kn->k", q, q, self._weights[row])
            else:
                squares[part] = np.einsum("kn,kn->k", q, q)
            inner[part] = np.einsum("kn,kn->k", x, q)
        return inner, squares

    def _search(self, rows: _Rows, limits: _Array) -> _Rows:
        """Return the number of magnitudes up to each limit, all rows searched at once."""
        ordered, start = self._ordered.ravel(), (rows * self._ordered.shape[1])[:, None]
        places = np.zeros(limits.shape, dtype=np.intp)
        step = self._top
        while step:
            places += step * (ordered[places + (start + step - 1)] <= limits)
            step >>= 1
        return places


class Population(Distribution):
    """The magnitudes of a symmetric distribution with a density: one row, of one in number."""

    count = np.array([1.0])

    @abstractmethod
    def density(self, magnitudes: _Array) -> _Array:
        """Return the density of the magnitudes."""


class Normal(Population):
    """The magnitudes of N(0, 1)."""

    total = np.array([np.sqrt(2 / np.pi)])
    power = np.array([1.0])
    largest = np.array([10.0])  # beyond lies 1e-23 of the distribution

    def density(self, magnitudes: _Array) -> _Array:
        density: _Array = self.total * np.exp(-np.square(magnitudes) / 2)
        return density

    def above(self, rows: _Rows, limits: _Array) -> tuple[_Array, _Array]:
        return 2 * ndtr(-limits), self.density(limits)


class Laplace(Population):
    """The magnitudes of the Laplace distribution of density ``exp(-abs(x)) / 2``."""

    total = np.array([1.0])
    power = np.array([2.0])
    largest = np.array([50.0])  # beyond lies 1e-22 of the distribution

    def density(self, magnitudes: _Array) -> _Array:
        density: _Array = np.exp(-magnitudes)
        return density

    def above(self, rows: _Rows, limits: _Array) -> tuple[_Array, _Array]:
        numbers = self.density(limits)
        return numbers, (1 + limits) * numbers


class StudentT4(Population):
    """The magnitudes of Student's t distribution with four degrees of freedom."""

    total = np.array([1.0])
    power = np.array([2.0])
    largest = np.array([1e6])  # beyond lies 1e-11 of the sum of squares

    def density(self, magnitudes: _Array) -> _Array:
        density: _Array = 0.75 * (1 + np.square(magnitudes) / 4) ** -2.5
        return density

    def above(self, rows: _Rows, limits: _Array) -> tuple[_Array, _Array]:
        # With s and c the sine and cosine of atan(t / 2): 1 - (3 s - s**3) / 2, and c**3.
        cosine = 2 / np.sqrt(4 + np.square(limits))
        sine = limits * cosine / 2
        return np.square(cosine**2 / (1 + sine)) * (2 + sine) / 2, cosine**3


def _from_each_on(numbers: _Array) -> _Array:
    """Return the sum of each element of a row and all after it, and 0 behind the last."""
    sums = np.zeros((len(numbers), numbers.shape[1] + 1))
    np.cumsum(numbers[:, ::-1], axis=1, out=sums[:, -2::-1])
    return sums


def _parts(count: int, width: int) -> list[slice]:
    """Cut so many rows of a width into pieces of at most `CELLS` numbers, or one row."""
    length = max(1, CELLS // max(1, width))
    return [slice(start, start + length) for start in range(0, count, length)]


def _dot(cells: _Array, weights: _Array) -> _Array:
    # Unlike a matrix product's, the sum over one row does not depend on how many there are.
    sums: _Array = np.einsum("km,m->k", cells, weights)
    return sums
