"""The magnitudes a format rounds to, and fast rounding to them where only the error matters."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from dybit.quant.formats import NumberFormat

__all__ = ["Levels", "levels"]

MANTISSA = 52
MOST_BITS = 12

_Array = NDArray[np.float64]


class Levels:
    """Increasing magnitudes, from 0 or more, that others are rounded to.

    Parameters
    ----------
    values : ndarray of float64

    Members
    -------
    values, midpoints : ndarray of float64
    steps, square_steps : ndarray of float64
        From each value, and each square of one, to the next.
    """

    def __init__(self, values: _Array) -> None:
        self.values = values
        self.midpoints = (values[1:] + values[:-1]) / 2
        self.steps, self.square_steps = np.diff(values), np.diff(np.square(values))
        bits = _mantissa_bits(self.midpoints)
        self.is_tabled = len(self.midpoints) > 0 and bits <= MOST_BITS
        if self.is_tabled:
            # A midpoint is the lower end of a cell of numbers with the same leading bits.
            self._shift = MANTISSA - bits
            ends = self.midpoints[[0, -1]].view(np.int64) >> self._shift
            self._first, self._last = int(ends[0]) - 1, int(ends[1])
            cells = np.arange(self._first, self._last + 1) << self._shift
            places = np.searchsorted(self.midpoints, cells.view(np.float64), side="right")
            self._table = values[places]

    def nearest(self, magnitudes: _Array) -> _Array:
        """Return the value nearest to each magnitude, by table: only where `is_tabled`.

        Of two as near it is the larger, by the same distance.
        """
        keys = magnitudes.view(np.int64) >> self._shift
        np.clip(keys, self._first, self._last, out=keys)
        keys -= self._first
        return self._table.take(keys)


@cache
def levels(fmt: NumberFormat) -> tuple[Levels, ...]:
    """Return the magnitudes that each sign rounds to: once where they are the same for both."""
    positive = fmt.values[fmt.values >= 0]
    negative = -fmt.values[fmt.values <= 0][::-1]
    if not fmt.signed or np.array_equal(positive, negative):
        return (Levels(positive),)
    return Levels(positive), Levels(negative)


def _mantissa_bits(numbers: _Array) -> int:
    """Return how many bits after the leading one hold every number."""
    mantissas, _ = np.frexp(numbers)
    integers = np.ldexp(mantissas, MANTISSA + 1).astype(np.int64)
    lowest = integers & -integers
    return MANTISSA - int(np.log2(lowest.min(initial=1 << MANTISSA)))
