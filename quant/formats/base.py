"""What every number format shares: a finite set of values, and a code for each.

A family states how many bits it has, which value each code stands for and, where there is one,
the power of two of which all values are integer multiples. All else follows: decoding, integers,
and the one encoding rule of the project (nearest value, ties to the even code, saturation).
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dybit.quant.formats import codec
from dybit.quant.formats.codec import RoundingTable

__all__ = ["NumberFormat", "checked_bool", "checked_int"]


class NumberFormat(ABC):
    """A set of at most 256 real values with a code for each.

    Instances are immutable, hashable, and equal when family and parameters are.

    Members
    -------
    bits : int
        Width of a code.
    signed : bool
        Whether there are negative values.
    """

    __slots__ = ()

    FAMILY: ClassVar[str]
    PARAMETERS: ClassVar[tuple[str, ...]]

    bits: int
    signed: bool

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name, unique among all formats and fit for a file name."""

    @property
    @abstractmethod
    def unit(self) -> float:
        """Largest power of two of which every value is an integer multiple.

        Raises
        ------
        ValueError
            If there is none: the format has no integers.
        """

    @abstractmethod
    def _code_values(self) -> Iterable[float]:
        """Return the value of every code in code order, NaN where a code is no number."""

    @property
    def has_grid(self) -> bool:
        """Whether there are a `unit` and integers."""
        return True

    @property
    def values(self) -> NDArray[np.float64]:
        """Every distinct value, in increasing order (read-only)."""
        return _tables(self).values

    @property
    def sorted_codes(self) -> NDArray[np.uint8]:
        """Code of each entry of `values`, the one `encode` gives (read-only)."""
        return _tables(self).sorted_codes

    @property
    def ties_up(self) -> NDArray[np.bool]:
        """Whether a tie between an entry of `values` and the next goes to the next (read-only)."""
        return _tables(self).ties_up

    @property
    def max(self) -> float:
        """Largest value."""
        return float(self.values[-1])

    @property
    def max_integer(self) -> int:
        """Largest magnitude over `unit`."""
        return int(np.abs(_integers(self)).max())

    @property
    def has_zero(self) -> bool:
        """Whether 0 is a value."""
        return bool((self.values == 0).any())

    def encode(self, x: ArrayLike) -> NDArray[np.uint8]:
        """Return the code of the value nearest to each element of `x`.

        A tie goes to the even code, or to the smaller one where both are even or odd; magnitudes
        beyond the largest, infinities included, saturate; negative elements become 0 in an
        unsigned format; a second code of 0 is never produced. On a grid without zero, 0 becomes
        the smallest positive value. One rounding, in the precision `x` has.

        Parameters
        ----------
        x : array_like
            Real numbers of any shape: float16, float32, float64 or an integer type.

        Returns
        -------
        ndarray of uint8
            Codes, in the shape of `x`.

        Raises
        ------
        TypeError
            If `x` is of another type.
        ValueError
            If `x` contains NaN.
        """
        if self.has_grid:
            return codec.encode(x, self.rounding_table)
        return codec.encode_by_comparison(x, self.thresholds, self.sorted_codes)

    def decode(self, codes: ArrayLike) -> NDArray[np.float64]:
        """Return the value of each code.

        Parameters
        ----------
        codes : array_like of int
            Codes of any shape and integer type. A second code of 0 (negative zero) decodes to 0.

        Returns
        -------
        ndarray of float64
            Values, in the shape of `codes`.

        Raises
        ------
        TypeError
            If `codes` is not of an integer type.
        ValueError
            If a code is negative, needs more than `bits` bits or is no number (a posit's NaR).
        """
        tables = _tables(self)
        return codec.look_up(codes, tables.decoded, tables.unused)

    def integers(self, codes: ArrayLike) -> NDArray[np.int64]:
        """Return the value of each code over `unit`, under the terms of `decode` and `unit`."""
        return codec.look_up(codes, _integers(self), _tables(self).unused)

    def rounding_table(self, dtype: np.typing.DTypeLike) -> RoundingTable:
        """Return the table that encodes floats of `dtype` (float32 or float64) from their bits.

        Only formats with a grid have one.
        """
        return _rounding_table(self, _checked_dtype(dtype))

    def thresholds(self, dtype: np.typing.DTypeLike) -> NDArray[Any]:
        """Return the largest float of `dtype` (float32 or float64) below each change of code.

        With t the result, x becomes ``values[i]`` or more exactly where ``x > t[i - 1]``: every
        format encodes by ``sorted_codes[(x[..., None] > t).sum(-1)]``, or by a search in `t`.
        """
        return _thresholds(self, _checked_dtype(dtype))

    def to_dict(self) -> dict[str, Any]:
        """Return family and parameters as plain values; `format_from_dict` is the inverse."""
        parameters = {name: getattr(self, name) for name in self.PARAMETERS}
        return {"family": self.FAMILY, **parameters}

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, eq=False)
class _Tables:
    decoded: NDArray[np.float64]
    unused: int | None  # the code that is no number
    values: NDArray[np.float64]
    sorted_codes: NDArray[np.uint8]
    ties_up: NDArray[np.bool]


@cache
def _tables(fmt: NumberFormat) -> _Tables:
    decoded = np.array(list(fmt._code_values()), dtype=np.float64) + 0.0  # no negative zero
    numbers = np.flatnonzero(~np.isnan(decoded))
    (unused,) = np.flatnonzero(np.isnan(decoded)).tolist() or (None,)
    # Of codes of equal value the first is the one to produce.
    values, places = np.unique(decoded[numbers], return_index=True)
    codes = numbers[places]
    lower, upper = codes[:-1], codes[1:]
    ties_up = np.where((lower ^ upper) & 1, upper & 1 == 0, upper < lower)
    for table in (decoded, values, sorted_codes := codes.astype(np.uint8), ties_up):
        table.setflags(write=False)
    return _Tables(decoded, unused, values, sorted_codes, ties_up)


@cache
def _integers(fmt: NumberFormat) -> NDArray[np.int64]:
    # Exact: the unit is a power of two, and no format's integers need more than 53 bits.
    integers = np.nan_to_num(_tables(fmt).decoded / fmt.unit).astype(np.int64)
    integers.setflags(write=False)
    return integers


@cache
def _rounding_table(fmt: NumberFormat, dtype: np.dtype[Any]) -> RoundingTable:
    integers = _integers(fmt)[fmt.sorted_codes]
    return codec.build_rounding_table(integers, fmt.sorted_codes, fmt.ties_up, fmt.unit, dtype)


@cache
def _thresholds(fmt: NumberFormat, dtype: np.dtype[Any]) -> NDArray[Any]:
    midpoints = (fmt.values[1:] + fmt.values[:-1]) / 2  # exact in float64
    thresholds = midpoints.astype(dtype)
    above = (thresholds > midpoints) | ((thresholds == midpoints) & fmt.ties_up)
    thresholds[above] = np.nextafter(thresholds[above], dtype.type(-np.inf))
    thresholds.setflags(write=False)
    return thresholds


def _checked_dtype(dtype: np.typing.DTypeLike) -> np.dtype[Any]:
    checked = np.dtype(dtype)
    if checked not in (np.float32, np.float64):
        raise TypeError(f"dtype must be float32 or float64, not {checked}")
    return checked


def checked_int(field: str, value: Any, low: int, high: int, where: str = "") -> int:
    """Return `value` as an int, or raise unless it is an integer from `low` to `high`."""
    span = f"{low} to {high}" if low < high else f"{low}"
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool | np.bool):
        raise TypeError(f"{field} must be an integer, {span}{where}, not {value!r}")
    if not low <= number <= high:
        raise ValueError(f"{field} must be {span}{where}, not {number}")
    return number


def checked_bool(field: str, value: Any) -> bool:
    """Return `value` as a bool, or raise unless it is one."""
    if not isinstance(value, bool | np.bool):
        raise TypeError(f"{field} must be True or False, not {value!r}")
    return bool(value)
