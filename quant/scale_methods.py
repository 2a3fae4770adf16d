"""Ways to choose scales: least squared error, largest magnitude, percentile, ESB's aligner."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dybit.quant.formats import ESB, NumberFormat
from dybit.quant.formats.base import checked_bool
from dybit.quant.scale import checked_tensor, checked_weights, esb_alpha
from dybit.quant.scale_groups import Grouping
from dybit.quant.scale_rows import Rows

__all__ = ["ScaleMethod", "ScaleRule", "fit_scale"]

_Array = NDArray[np.float64]


class ScaleMethod(Enum):
    """How a scale is chosen."""

    MSE = "mse"
    """Least squared error."""

    MAX = "max"
    """Nothing saturates: the largest magnitude meets the format's."""

    PERCENTILE = "percentile"
    """That share of the magnitudes does not saturate; as `MAX` where the percentile is zero."""

    DDA = "dda"
    """ESB's distribution-difference aligner: `esb_alpha` times the standard deviation."""


@dataclass(frozen=True, slots=True)
class ScaleRule:
    """A method with its options.

    Parameters
    ----------
    method : ScaleMethod or str
    percentile : float
        For that method: above 0, to 100.
    power_of_two : bool
        Powers of two only: the best of all by `MSE`; by other methods their scale rounded up or
        down, whichever errs less.
    """

    method: ScaleMethod | str = ScaleMethod.MSE
    percentile: float = 99.9
    power_of_two: bool = False

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "method", ScaleMethod(self.method))
        except ValueError:
            known = ", ".join(each.value for each in ScaleMethod)
            raise ValueError(f"method must be one of {known}, not {self.method!r}") from None
        if not 0 < self.percentile <= 100:
            raise ValueError(f"percentile must be above 0, to 100, not {self.percentile!r}")
        checked_bool("power_of_two", self.power_of_two)

    def scales(self, rows: Rows, fmt: NumberFormat) -> _Array:
        """Return the scale of each row."""
        match self.method:
            case ScaleMethod.MSE if self.power_of_two:
                return rows.power_of_two_scales(fmt)
            case ScaleMethod.MSE:
                return rows.optimal_scales(fmt)
            case ScaleMethod.MAX:
                found = rows.reaching(fmt, 100)
            case ScaleMethod.PERCENTILE:
                found = rows.reaching(fmt, self.percentile)
            case _ if isinstance(fmt, ESB):
                found = rows.aligned(fmt, esb_alpha(fmt.bits, fmt.k))
            case _:
                raise ValueError(f"method dda must be for an ESB format, not {fmt}")
        return rows.power_of_two_scales(fmt, found) if self.power_of_two else found


def fit_scale(
    x: ArrayLike,
    fmt: NumberFormat,
    method: ScaleMethod | str = ScaleMethod.MSE,
    *,
    axis: int | None = None,
    group: int | None = None,
    percentile: float = 99.9,
    power_of_two: bool = False,
    weights: ArrayLike | None = None,
) -> _Array:
    """Return the scales of a tensor, in the shape that `Grouping.gather` gives them.

    Parameters
    ----------
    x : array_like
        Finite real numbers, at least one.
    fmt : NumberFormat
    method : ScaleMethod or str
    axis, group : int, optional
        What shares a scale, as in `Grouping`.
    percentile, power_of_two
        As in `ScaleRule`.
    weights : array_like, optional
        Weight of each element's squared error, not negative; broadcasts against `x`. It counts
        wherever errors and deviations do.

    Returns
    -------
    ndarray of float64
        Positive; 1 where there is nothing to fit.

    Raises
    ------
    ValueError, TypeError
        If `x`, the weights or an option are not as above, or `DDA` is asked for a format that is
        not ESB.
    """
    array = checked_tensor(x)
    given = checked_weights(weights, array)
    grouping = Grouping(array.shape, axis, group)
    rule = ScaleRule(method, percentile, power_of_two)
    values = grouping.rows(array)
    counted = [None] * len(values) if given is None else grouping.rows(given)
    pieces = [Rows(*each) for each in zip(values, counted, strict=True)]
    return grouping.gather([rule.scales(rows, fmt) for rows in pieces])
