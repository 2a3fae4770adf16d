"""Signal-to-quantisation-noise ratios in decibels: of tensors, and of whole populations."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dybit.quant.distributions import Distribution
from dybit.quant.formats import NumberFormat
from dybit.quant.scale import optimal_scale, squared_error
from dybit.quant.scale_search import Search, population_sides

__all__ = ["decibels", "population_sqnr", "sqnr"]

TOLERANCE = 1e-6
"""Relative excess of a population's error over the least one possible."""


def decibels(power: float, noise: float) -> float:
    """Return the ratio in decibels, infinite where there is no noise."""
    return float("inf") if noise <= 0 else float(10 * np.log10(power / noise))


def sqnr(x: ArrayLike, fmt: NumberFormat, scale: ArrayLike | None = None) -> float:
    """Return the ratio of a tensor rounded to `fmt`, at its optimal scale by default.

    Parameters
    ----------
    x : array_like
        Finite real numbers, at least one.
    fmt : NumberFormat
    scale : array_like of float, optional
        Positive; broadcasts against `x`.
    """
    factor = optimal_scale(x, fmt) if scale is None else scale
    power = float(np.square(np.asarray(x, dtype=np.float64)).sum())
    return decibels(power, squared_error(x, fmt, factor))


def population_sqnr(distribution: Distribution, fmt: NumberFormat) -> float:
    """Return the ratio at the optimal scale of a population of known moments.

    Parameters
    ----------
    distribution : Distribution
        Of one row; symmetric about zero, or in an unsigned format all positive.
    fmt : NumberFormat
    """
    search = Search(population_sides(distribution, fmt), TOLERANCE)
    row = np.zeros(1, np.intp)
    return decibels(float(search.power[0]), float(search.errors(row, search.run())[0]))
