"""The format that suits a tensor best, out of several: an exponent limit, or another family.

Formats are rated once, each at its best scale, and the best picked from any part of them: all
that software has, what a given array decodes, or one family to compare with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dybit.quant.array_config import ArrayConfig
from dybit.quant.config_errors import ConfigError
from dybit.quant.formats import NumberFormat
from dybit.quant.scale import checked_tensor, checked_weights
from dybit.quant.scale_groups import Grouping
from dybit.quant.scale_methods import ScaleRule
from dybit.quant.scale_rows import NEGLIGIBLE, TOLERANCE, Rows
from dybit.quant.sqnr import decibels
from dybit.quant.tail import with_tail

__all__ = [
    "Rating",
    "Ratings",
    "Summary",
    "decoded_formats",
    "output_error",
    "rate_channels",
    "rate_formats",
    "rate_sample",
    "summarise",
]

LEAST_ERROR = ScaleRule()
"""Scales of least squared error."""

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Rating:
    """What a format makes of a tensor.

    Attributes
    ----------
    format : NumberFormat
    scale : ndarray of float64
        In the shape of `Grouping.gather`.
    error : float
    """

    format: NumberFormat
    scale: _Array
    error: float


@dataclass(frozen=True, slots=True, eq=False)
class Ratings:
    """What each of several formats makes of one tensor.

    Attributes
    ----------
    by_format : mapping of NumberFormat to Rating
        In order of preference.
    power : float
        The error of a tensor of zeros.
    """

    by_format: Mapping[NumberFormat, Rating]
    power: float

    def best(self, formats: Iterable[NumberFormat] | None = None) -> Rating:
        """Return the rating of least error; of several within `TOLERANCE` of it, the first.

        Parameters
        ----------
        formats : iterable of NumberFormat, optional
            In order of preference; those that were not rated do not count. Everything rated, by
            default.
        """
        wanted = self.by_format if formats is None else formats
        rated = [self.by_format[fmt] for fmt in wanted if fmt in self.by_format]
        if not rated:
            raise ValueError("formats must have one that was rated")
        tie = min(each.error for each in rated) * (1 + TOLERANCE) + NEGLIGIBLE * self.power
        return next(each for each in rated if each.error <= tie)

    def gain(self, formats: Iterable[NumberFormat], rivals: Iterable[NumberFormat]) -> float:
        """Return by how many decibels the best of `formats` beats the best of `rivals`.

        Errors that count as none are told apart no further: the gain is always finite.
        """
        floor = NEGLIGIBLE * self.power or 1.0
        ours, theirs = (max(self.best(each).error, floor) for each in (formats, rivals))
        return decibels(theirs, ours)

    def sqnr(self, formats: Iterable[NumberFormat] | None = None) -> float:
        """Return the signal-to-noise ratio of the best in decibels."""
        return decibels(self.power, self.best(formats).error)


def rate_formats(
    x: ArrayLike,
    formats: Iterable[NumberFormat],
    *,
    axis: int | None = None,
    group: int | None = None,
    weights: ArrayLike | None = None,
    error: Callable[[_Array], float] | None = None,
    rule: ScaleRule = LEAST_ERROR,
) -> Ratings:
    """Return what each format makes of a tensor.

    Parameters
    ----------
    x : array_like
        Finite real numbers, at least one.
    formats : iterable of NumberFormat
        In order of preference.
    axis, group : int, optional
        What shares a scale, as in `Grouping`; all have one format.
    weights : array_like, optional
        Weight of each element's squared error, not negative; broadcasts against `x`. Scales and,
        without `error`, formats go by it.
    error : callable, optional
        Gives the error of the rounded tensor, as `output_error` does; formats go by it in place
        of the squared error.
    rule : ScaleRule
        How scales are chosen; by least squared error, weighted, by default.
    """
    array = checked_tensor(x).astype(np.float64, copy=False)
    given = checked_weights(weights, array)
    if error is None:

        def error(rounded: _Array) -> float:
            return float(_squares(array - rounded, given).sum())

    grouping = Grouping(array.shape, axis, group)
    ratings = {
        fmt: Rating(fmt, scale, error(rounded))
        for fmt, scale, rounded in _rounded(array, formats, grouping, given, rule)
    }
    return Ratings(ratings, error(np.zeros_like(array)))


def rate_sample(x: ArrayLike, formats: Iterable[NumberFormat]) -> Ratings:
    """Return what each format would make of the tensor that a sample was drawn from.

    Unlike in `rate_formats`, scales leave room for what is larger than the sample's largest. Meant
    for activations, of which calibration sees a few.

    Parameters
    ----------
    x, formats
        As in `rate_formats`; one scale for all.
    """
    values, weights = with_tail(checked_tensor(x))
    return rate_formats(values, formats, weights=weights)


def rate_channels(
    x: ArrayLike,
    formats: Iterable[NumberFormat],
    axis: int,
    channels: int = 1,
    *,
    weights: ArrayLike | None = None,
) -> list[Ratings]:
    """Return what each format makes of groups of channels, a scale to each channel.

    Parameters
    ----------
    x, formats, weights
        As in `rate_formats`.
    axis : int
        The channel axis.
    channels : int
        So many neighbours share a format; the last group may have fewer.
    """
    array = checked_tensor(x).astype(np.float64, copy=False)
    given = checked_weights(weights, array)
    grouping = Grouping(array.shape, axis)
    count = len(grouping.rows(array)[0])
    starts = np.arange(0, count, Grouping((count,), 0, channels).group)

    def by_group(squares: _Array) -> _Array:
        sums: _Array = np.add.reduceat(grouping.rows(squares)[0].sum(axis=1), starts)
        return sums

    ratings: list[dict[NumberFormat, Rating]] = [{} for _ in starts]
    for fmt, scale, rounded in _rounded(array, formats, grouping, given, LEAST_ERROR):
        errors = by_group(_squares(array - rounded, given))
        scales = np.split(scale, starts[1:])
        for place, rated in enumerate(ratings):
            rated[fmt] = Rating(fmt, scales[place], float(errors[place]))
    powers = by_group(_squares(array, given)).tolist()
    return [Ratings(rated, power) for rated, power in zip(ratings, powers, strict=True)]


def output_error(weights: ArrayLike, gram: ArrayLike) -> Callable[[_Array], float]:
    """Return the error of a layer's outputs as a function of its rounded weights.

    Parameters
    ----------
    weights : array_like, (outputs, ...)
        The layer's own; everything but the outputs is the reduction, K elements.
    gram : array_like, (K, K)
        Sum of ``outer(a, a)`` over the inputs a of the layer.
    """
    exact, moments = np.asarray(weights, np.float64), np.asarray(gram, np.float64)
    reduction = exact.size // len(exact)
    if moments.shape != (reduction, reduction):
        raise ValueError(
            f"gram must have shape {(reduction, reduction)} for weights of shape {exact.shape}, "
            f"not {moments.shape}"
        )

    def error(rounded: _Array) -> float:
        difference = (rounded - exact).reshape(len(exact), reduction)
        return float(((difference @ moments) * difference).sum())

    return error


def decoded_formats(
    array: ArrayConfig, operand: Literal["weight", "activation"], bits: int, signed: bool = True
) -> list[NumberFormat]:
    """Return every format an array decodes for an operand of that width, widest range first.

    Raises
    ------
    ConfigError
        If the array is not built for that width or signedness.
    """
    widths = sorted({getattr(mode, f"{operand}_bits") for mode in array.modes})
    if bits not in widths:
        built = ", ".join(map(str, widths))
        raise ConfigError(f"array.modes: no {operand} of {bits} bits; must be one of {built}")
    if operand == "weight":
        choices = [array.weight_format(bits, limit) for limit in range(bits, 0, -1)]
    elif signed in array.signednesses:
        choices = [array.activation_format(bits, signed, limit) for limit in range(bits, 0, -1)]
    else:
        kind = "signed" if signed else "unsigned"
        raise ConfigError(f"array.activations: no {kind} ones; must be {kind} or both")
    return list(dict.fromkeys(choices))


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """How a choice among formats did over several tensors.

    Attributes
    ----------
    wins : mapping of str to int
        Tensors that each format suited best, by its name.
    gains : mapping of str to ndarray of float64
        By rival, how many decibels each tensor gained over it.
    """

    wins: Mapping[str, int]
    gains: Mapping[str, _Array]


def summarise(
    ratings: Sequence[Ratings],
    formats: Iterable[NumberFormat],
    rivals: Mapping[str, Iterable[NumberFormat]],
) -> Summary:
    """Return how the best of `formats` did against the best of each rival's.

    Parameters
    ----------
    ratings : sequence of Ratings
        One of each tensor. Formats that were not rated for it, such as unsigned ones where a
        tensor has a sign, do not count there.
    formats : iterable of NumberFormat
        In order of preference.
    rivals : mapping of str to iterable of NumberFormat
    """
    wanted = list(formats)
    opponents = {name: list(theirs) for name, theirs in rivals.items()}
    wins = Counter(each.best(wanted).format.name for each in ratings)
    gains = {
        name: np.array([each.gain(wanted, theirs) for each in ratings])
        for name, theirs in opponents.items()
    }
    return Summary(dict(wins.most_common()), gains)


def _rounded(
    array: _Array,
    formats: Iterable[NumberFormat],
    grouping: Grouping,
    weights: _Array | None,
    rule: ScaleRule,
) -> Iterator[tuple[NumberFormat, _Array, _Array]]:
    """Yield each format with its scales and the tensor rounded to it."""
    values = grouping.rows(array)
    counted: list[Any] = [None] * len(values) if weights is None else grouping.rows(weights)
    rows = [Rows(*each) for each in zip(values, counted, strict=True)]
    for fmt in dict.fromkeys(formats):
        scale = grouping.gather([rule.scales(each, fmt) for each in rows])
        spread = grouping.spread(scale)
        yield fmt, scale, fmt.decode(fmt.encode(array / spread)) * spread


def _squares(differences: _Array, weights: _Array | None) -> _Array:
    squares: _Array = np.square(differences)
    return squares if weights is None else squares * weights
