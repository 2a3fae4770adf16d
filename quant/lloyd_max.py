"""The Lloyd-Max limit: the least squared error that any so many values can have.

What a number format loses against it is the price of values that hardware can compute with.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_banded

from dybit.quant.distributions import Population

__all__ = ["population_error", "sample_errors"]

ITERATIONS = 100
CONVERGED = 1e-7
"""Relative step of a border after which the error, least where it is level, changes no more."""

CANDIDATES = 4096
"""Borders between cells that are considered in a sample."""

_Array = NDArray[np.float64]
_Places = NDArray[np.intp]


def population_error(population: Population, levels: int) -> float:
    """Return the least expected squared error of magnitudes rounded to so many values.

    A signed quantiser of 2 L values of a symmetric distribution has L for its magnitudes. Borders
    lie midway between values and values in the mean of their cells (Lloyd, Max): Newton's method
    on the borders, from those of the compander that is best for infinitely many.

    Raises
    ------
    ArithmeticError
        If it does not converge.
    """
    borders = _compander(population, levels)
    for _ in range(ITERATIONS):
        means, masses = _cells(population, borders)
        residual = borders - (means[1:] + means[:-1]) / 2
        density = population.density(borders)
        # How the mean of each cell moves with its upper and its lower border.
        upper = density * (borders - means[:-1]) / masses[:-1]
        lower = density * (means[1:] - borders) / masses[1:]
        bands = np.zeros((3, levels - 1))
        bands[0, 1:] = -upper[1:] / 2
        bands[1] = 1 - (upper + lower) / 2
        bands[2, :-1] = -lower[:-1] / 2
        step = solve_banded((1, 1), bands, residual)
        while (np.diff(borders - step, prepend=0.0) <= 0).any():
            step /= 2
        borders = borders - step
        if (np.abs(step) < CONVERGED * borders).all():
            means, masses = _cells(population, borders)
            return float(population.power[0] - (masses * means**2).sum())
    raise ArithmeticError(f"the best {levels} values were not found in {ITERATIONS} steps")


def sample_errors(x: NDArray[np.floating], levels: int) -> _Array:
    """Return the least squared error of a sample rounded to 1, 2, ... `levels` values.

    By dynamic programming over the sorted sample, exact but that samples of many numbers have
    their cells begin at `CANDIDATES` places only, evenly spread over ranks and over values.
    """
    ordered = np.sort(x.astype(np.float64), axis=None)
    borders = _candidates(ordered)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])[borders]
    squares = np.concatenate([[0.0], np.cumsum(np.square(ordered))])[borders]

    def cost(first: _Places, last: _Places) -> _Array:
        """Return the squared error of cells from one border to another about their means."""
        number = np.maximum(borders[last] - borders[first], 1)
        spread = squares[last] - squares[first] - np.square(sums[last] - sums[first]) / number
        errors: _Array = np.maximum(spread, 0.0)
        return errors

    places = np.arange(len(borders))
    least = cost(np.zeros_like(places), places)
    errors = [least[-1]]
    for _ in range(1, levels):
        least = _one_more_cell(least, cost)
        errors.append(least[-1])
    return np.array(errors)


def _compander(population: Population, levels: int) -> _Array:
    """Return the borders of `levels` cells of equal measure, that of the density's cube root."""
    fine = np.concatenate([[0.0], np.geomspace(1e-4, float(population.largest[0]), 20_000)])
    roots = np.cbrt(population.density(fine))
    measure = np.concatenate([[0.0], np.cumsum(np.diff(fine) * (roots[1:] + roots[:-1]) / 2)])
    borders: _Array = np.interp(np.arange(1, levels) / levels * measure[-1], measure, fine)
    return borders


def _cells(population: Population, borders: _Array) -> tuple[_Array, _Array]:
    """Return mean and mass of each cell between borders, and of the last, beyond them."""
    numbers, sums = population.above(np.zeros(1, np.intp), borders[None])
    masses = -np.diff(numbers[0], prepend=population.count, append=0.0)
    return -np.diff(sums[0], prepend=population.total, append=0.0) / masses, masses


def _candidates(ordered: _Array) -> _Places:
    """Return the places in a sorted sample where cells may begin, its two ends among them."""
    size = len(ordered)
    if size <= CANDIDATES:
        return np.arange(size + 1)
    ranks = np.linspace(0, size, CANDIDATES // 2).astype(np.intp)
    values = np.linspace(ordered[0], ordered[-1], CANDIDATES // 2)
    return np.unique(np.concatenate([ranks, np.searchsorted(ordered, values)]))


def _one_more_cell(least: _Array, cost: Callable[[_Places, _Places], _Array]) -> _Array:
    """Return the least error up to each border with one cell more than in `least`.

    The best place for the last cell to begin moves with its end, never back: ends are settled by
    halving, all of one depth at once, each between the places found for its neighbours.
    """
    size = len(least)
    found, errors = np.zeros(size, np.intp), np.empty(size)
    step = 1 << (size.bit_length() - 1)
    while step:
        ends = np.arange(step - 1, size, 2 * step)
        low = np.where(ends >= step, found[ends - step], 0)
        after = ends + step
        high = np.where(after < size, found[np.minimum(after, size - 1)], size - 1)
        lengths = np.minimum(high, ends) - low + 1
        starts = np.cumsum(lengths) - lengths
        places = np.arange(lengths.sum()) + np.repeat(low - starts, lengths)
        totals = least[places] + cost(places, np.repeat(ends, lengths))
        errors[ends] = np.minimum.reduceat(totals, starts)
        at_least = np.flatnonzero(totals == np.repeat(errors[ends], lengths))
        found[ends] = places[at_least[np.searchsorted(at_least, starts)]]
        step >>= 1
    return errors
