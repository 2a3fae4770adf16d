"""Scales of many rows at once: channels or groups of a tensor, each for itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dybit.quant.distributions import Samples
from dybit.quant.formats import NumberFormat
from dybit.quant.levels import Levels, levels
from dybit.quant.scale_search import NEGLIGIBLE, Search, Side

__all__ = ["NEGLIGIBLE", "TOLERANCE", "Rows"]

TOLERANCE = 1e-4
"""Largest relative excess of the squared error over the least one possible."""

_Array = NDArray[np.float64]
_LIMITS = np.finfo(np.float64)


class Rows:
    """Rows of numbers, each with a scale of its own that depends on that row alone.

    A row without anything to fit (zeros alone or, in an unsigned format, nothing above zero) gets
    the scale 1.

    Parameters
    ----------
    values : (R, n) ndarray of float
        Finite.
    weights : (R, n) ndarray of float64, optional
        Weight of each squared error, not negative.
    """

    def __init__(self, values: NDArray[Any], weights: _Array | None = None) -> None:
        # Contiguous: a sum then does not depend on how the tensor lay in memory.
        self.values = np.ascontiguousarray(values, dtype=np.float64)
        self.weights = weights
        if weights is not None:
            heaviest = weights.max(axis=1, keepdims=True)
            self.weights = weights / np.where(heaviest > 0, heaviest, 1.0)
            self.values = np.where(weights > 0, self.values, 0.0)
        self._samples: dict[tuple[bool, str], Samples] = {}

    def largest(self, fmt: NumberFormat) -> _Array:
        """Return the largest magnitude of each row that `fmt` does not lose with its sign."""
        largest: _Array = self._magnitudes("both" if fmt.signed else "positive").max(axis=1)
        return largest

    def optimal_scales(self, fmt: NumberFormat) -> _Array:
        """Return scales of least squared error, to a relative `TOLERANCE`."""
        live, largest, search = self._search(fmt)
        scales = np.ones(len(self.values))
        if live.size:
            scales[live] = _positive(largest * search.run())
            # Elements all of one magnitude need no error at all.
            magnitudes = self._magnitudes("both" if fmt.signed else "positive")[live]
            zero = magnitudes == 0
            equal = (zero | (magnitudes == largest[:, None])).all(axis=1)
            if not fmt.has_zero:
                counted = zero if self.weights is None else zero & (self.weights[live] > 0)
                equal &= ~counted.any(axis=1)
            scales[live[equal]] = _positive(largest[equal] / _largest_power_of_two(fmt))
        return scales

    def reaching(self, fmt: NumberFormat, percentile: float) -> _Array:
        """Return scales at which that percentage of magnitudes lies within the range of `fmt`.

        The largest magnitude counts instead where the percentile is zero.
        """
        scales = np.zeros(len(self.values))
        for sign, part in _parts(fmt):
            magnitudes = self._magnitudes(sign)
            reach = np.percentile(magnitudes, percentile, axis=1)
            reach = np.where(reach > 0, reach, magnitudes.max(axis=1))
            scales = np.maximum(scales, reach / part.values[-1])
        return np.where(self.largest(fmt) > 0, _positive(scales), 1.0)

    def aligned(self, fmt: NumberFormat, alpha: float) -> _Array:
        """Return `alpha` standard deviations, and optimal scales where there is no deviation."""
        largest = np.abs(self.values).max(axis=1, keepdims=True)
        values = self.values / np.where(largest > 0, largest, 1.0)
        weights = np.ones_like(values) if self.weights is None else self.weights
        count = np.maximum(weights.sum(axis=1, keepdims=True), _LIMITS.tiny)
        centred = values - (values * weights).sum(axis=1, keepdims=True) / count
        variances = (np.square(centred) * weights).sum(axis=1, keepdims=True) / count
        # Elements all equal have no more than what rounding leaves of their mean.
        deviations = np.where(np.ptp(values, axis=1) > 0, (np.sqrt(variances) * largest)[:, 0], 0)
        scales = _positive(alpha * deviations)
        still = deviations == 0
        if still.any():
            counted = None if self.weights is None else self.weights[still]
            scales[still] = Rows(self.values[still], counted).optimal_scales(fmt)
        return scales

    def power_of_two_scales(self, fmt: NumberFormat, scales: _Array | None = None) -> _Array:
        """Return powers of two of least squared error.

        Parameters
        ----------
        scales : (R,) ndarray of float, optional
            Scales to round up or down to a power of two; every power is tried by default.
        """
        live, largest, search = self._search(fmt)
        result = np.ones(len(self.values))
        if not live.size:
            return result
        if scales is None:
            first, last = search.range()
            lowest = np.floor(np.log2(largest / last)).astype(np.int64)
            highest = np.ceil(np.log2(largest / first)).astype(np.int64)
        else:
            lowest = np.floor(np.log2(scales[live])).astype(np.int64)
            highest = np.ceil(np.log2(scales[live])).astype(np.int64)
        best, least = np.zeros(live.size, np.int64), np.full(live.size, np.inf)
        for step in range(int((highest - lowest).max()) + 1):
            exponents = np.minimum(lowest + step, highest)
            relative = np.ldexp(1 / largest, exponents)
            errors = search.errors(np.arange(live.size), relative)
            better = errors < least
            best[better], least[better] = exponents[better], errors[better]
        result[live] = np.ldexp(1.0, best)
        return result

    def _magnitudes(self, sign: str) -> _Array:
        """Return the magnitudes of one sign, zeros for the other's, or both."""
        if sign == "both":
            return np.abs(self.values)
        return np.maximum(self.values if sign == "positive" else -self.values, 0)

    def _search(self, fmt: NumberFormat) -> tuple[NDArray[np.intp], _Array, Search]:
        """Return the rows with something to fit, their largest magnitude, and a search of them.

        The search is among scales relative to the largest magnitude: no square over- or underflows.
        """
        largest = self.largest(fmt)
        live = np.flatnonzero(largest)
        sides = []
        for sign, part in _parts(fmt):
            # Sorting takes most of the time; formats of one kind share it.
            samples = self._samples.get((fmt.signed, sign))
            if samples is None:
                magnitudes = self._magnitudes(sign)[live] / largest[live, None]
                weights = None if self.weights is None else self.weights[live]
                samples = self._samples[fmt.signed, sign] = Samples(magnitudes, weights)
            sides.append(Side(samples, part))
        return live, largest[live], Search(sides, TOLERANCE)


def _parts(fmt: NumberFormat) -> list[tuple[str, Levels]]:
    """Return the signs that `fmt` rounds apart, and the magnitudes each rounds to."""
    parts = levels(fmt)
    if len(parts) == 2:
        return list(zip(("positive", "negative"), parts, strict=True))
    return [("both" if fmt.signed else "positive", parts[0])]


def _largest_power_of_two(fmt: NumberFormat) -> float:
    """Return the largest value whose multiples by any scale are exact; every format has one."""
    mantissas, _ = np.frexp(fmt.values)
    return float(fmt.values[mantissas == 0.5].max())


def _positive(scales: _Array) -> _Array:
    """Return scales within the range of float64."""
    return np.clip(scales, float(_LIMITS.smallest_subnormal), float(_LIMITS.max))
