r"""Formats as steps: rounding by two additions instead of a search.

Between neighbouring powers of two the values of every format here but a codebook lie one power of
two apart. With p the power of two at or below :math:`|y|`, that step is

.. math:: s(y) = \min(\max(g p^a, s_{low}), s_{high})

with a = 0 for a uniform grid, 1 for a floating-point number and 2 for DyBit, whose precision
tapers. Added to y, the constant :math:`c = 1.5 \cdot 2^{23} s` (float32) leaves no bit below s;
subtracted again, it leaves y rounded to a multiple of s, ties to the even multiple. Both additions
are all the arithmetic there is, and the float unit's rounding is the only one.

The rule of the formats is ties to the even *code*. The two agree wherever a power of two is
followed by an even number of values. Where it is followed by one, an odd multiple of s as the
constant turns the tie round.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from dybit.quant.formats import NumberFormat

__all__ = ["INTEGER", "Steps", "steps_of"]

INTEGER = {torch.float32: torch.int32, torch.float64: torch.int64}
"""The integer type as wide as each float type."""

_EXPONENT = {torch.float32: 0x7F800000, torch.float64: 0x7FF0000000000000}
_EXPONENT_PAIR = {torch.float32: 0x7F000000, torch.float64: 0x7FE0000000000000}
"""The exponent field of a float, and the field without its lowest bit."""


@dataclass(frozen=True, slots=True)
class Steps:
    """How one format rounds floats of one type.

    Members
    -------
    least, greatest : float
        The range of the format.
    slope : int
        The power of p in the step, 0 to 2.
    gain, low, high : float
        The constant to add is ``p**slope * gain``, not below `low` nor above `high`.
    alternate : bool
        Whether the constant is an odd multiple of the step every second time, for formats in which
        every power of two is followed by one value and codes are even and odd in turn. To add the
        power of four at or below p, in the exponent's own bits, does it: that is p or p / 2, one
        step or half of one, which the sum's own rounding drops.
    shift : float
        Magnitudes are this far above the multiples of the step: 1/2 of it on a grid without zero.
    """

    least: float
    greatest: float
    slope: int
    gain: float
    low: float
    high: float
    alternate: bool = False
    shift: float = 0.0

    def round_(self, y: Tensor, work: Tensor) -> None:
        """Round `y` in place to the nearest values; NaN stays NaN.

        Parameters
        ----------
        y : Tensor
            float32 or float64, whichever the steps were made for.
        work : Tensor
            Of the shape and type of `y`; its content is lost.
        """
        y.clamp_(self.least, self.greatest)
        if self.shift:
            sign = y + 0.0  # of -0, that of 0
            y.abs_().sub_(self.shift).add_(self.low).sub_(self.low).add_(self.shift)
            y.copysign_(sign)
        elif not self.slope:
            y.add_(self.low).sub_(self.low)
        else:
            y.add_(self._constant(y, work)).sub_(work)

    def _constant(self, y: Tensor, work: Tensor) -> Tensor:
        """Return the constant to add, in `work`."""
        bits, integer = y.view(INTEGER[y.dtype]), work.view(INTEGER[y.dtype])
        torch.bitwise_and(bits, _EXPONENT[y.dtype], out=integer)
        if self.slope == 2:
            work.mul_(work)
        work.mul_(self.gain)
        if self.alternate:
            pair = bits.bitwise_and(_EXPONENT_PAIR[y.dtype]).view(y.dtype)
            work.add_(pair)
        return work.clamp_(self.low, self.high)


@lru_cache(maxsize=256)
def steps_of(fmt: NumberFormat, dtype: torch.dtype) -> Steps | None:
    """Return the steps that round as `fmt` does, or None if there are none.

    Both ways to round are monotone: that they agree on every value of the format, on every
    midpoint and on the floats next to each proves that they agree everywhere.

    Parameters
    ----------
    fmt : NumberFormat
    dtype : dtype
        float32 or float64.
    """
    points = _points(fmt, dtype)
    wanted = torch.from_numpy(fmt.decode(fmt.encode(points.numpy()))).to(dtype)
    for candidate in _candidates(fmt, dtype):
        rounded = points.clone()
        candidate.round_(rounded, torch.empty_like(rounded))
        if torch.equal(rounded, wanted):
            return candidate
    return None


def _points(fmt: NumberFormat, dtype: torch.dtype) -> Tensor:
    """Return all numbers at which rounding to the format may change, and the extremes."""
    values = torch.from_numpy(fmt.values.copy())
    exact = torch.cat([values, (values[1:] + values[:-1]) / 2]).to(dtype)
    zero = torch.zeros(1, dtype=dtype)
    infinity = torch.full((1,), torch.inf, dtype=dtype)
    places = torch.cat([exact, zero, -zero])
    up, down = torch.nextafter(places, infinity), torch.nextafter(places, -infinity)
    return torch.cat([places, up, down, infinity, -infinity])


def _candidates(fmt: NumberFormat, dtype: torch.dtype) -> Iterator[Steps]:
    levels = fmt.values[fmt.values >= 0]
    gaps = np.diff(levels)
    if (np.frexp(gaps)[0] != 0.5).any():  # not all powers of two
        return
    magic = 1.5 / torch.finfo(dtype).eps  # 1.5 * 2**23, whose last bit is worth 1
    least, greatest = float(fmt.values[0]), fmt.max
    finest, coarsest = float(gaps.min()), float(gaps.max())
    low, high = finest * magic, coarsest * magic
    if finest == coarsest:
        yield Steps(least, greatest, 0, 0.0, low, low, shift=float(levels[0]))
        return
    place = int((gaps > finest).argmax())
    power = 2.0 ** np.floor(np.log2(levels[place]))
    for slope in (1, 2):
        gain = float(gaps[place] / power**slope) * magic
        yield Steps(least, greatest, slope, gain, low, high)
        yield Steps(least, greatest, slope, gain, low, high - coarsest)
    yield Steps(least, greatest, 1, magic, low, np.inf, alternate=True)
