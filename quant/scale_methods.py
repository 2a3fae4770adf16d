"""Ways to choose scales: least squared error, largest magnitude, percentile, ESB's aligner."""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dybit.quant.formats import ESB, NumberFormat
from dybit.quant.formats.base import checked_bool
from dybit.quant.scale import checked_tensor, checked_weights, esb_alpha
from dybit.quant.scale_groups import Grouping
from dybit.quant.scale_rows import Rows

__all__ = ["ScaleMethod", "fit_scale"]

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
    percentile : float
        For that method: above 0, to 100.
    power_of_two : bool
        Powers of two only: the best of all by `MSE`; by other methods their scale rounded up or
        down, whichever errs less.
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
    method = _checked_method(method, fmt)
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile must be above 0, to 100, not {percentile!r}")
    reach = percentile if method is ScaleMethod.PERCENTILE else 100.0
    rounded = checked_bool("power_of_two", power_of_two)

    def scales(rows: Rows) -> _Array:
        if method is ScaleMethod.MSE:
            return rows.power_of_two_scales(fmt) if rounded else rows.optimal_scales(fmt)
        if isinstance(fmt, ESB) and method is ScaleMethod.DDA:
            found = rows.aligned(fmt, esb_alpha(fmt.bits, fmt.k))
        else:
            found = rows.reaching(fmt, reach)
        return rows.power_of_two_scales(fmt, found) if rounded else found

    values = grouping.rows(array)
    counted = [None] * len(values) if given is None else grouping.rows(given)
    return grouping.gather([scales(Rows(*each)) for each in zip(values, counted, strict=True)])


def _checked_method(method: ScaleMethod | str, fmt: NumberFormat) -> ScaleMethod:
    try:
        checked = ScaleMethod(method)
    except ValueError:
        known = ", ".join(each.value for each in ScaleMethod)
        raise ValueError(f"method must be one of {known}, not {method!r}") from None
    if checked is ScaleMethod.DDA and not isinstance(fmt, ESB):
        raise ValueError(f"method dda must be for an ESB format, not {fmt}")
    return checked
