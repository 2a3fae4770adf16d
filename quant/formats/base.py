"""What every number format shares: a sign bit above monotone magnitude codes.

A family states three things: how many bits it has, whether it is signed, and the integer of
each magnitude code in units of a power of two. All else follows: values, decoding, and the one
encoding rule of the project (nearest value, ties to the even code, saturation).
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
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
        Whether the top bit of a code is a sign (1 = negative) rather than magnitude.
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
        """Largest power of two of which every value is an integer multiple."""

    @abstractmethod
    def _magnitude_integer(self, code: int) -> int:
        """Return the value of magnitude code `code` over `unit`; strictly increasing in `code`."""

    @property
    def magnitude_bits(self) -> int:
        """Bits of a code below the sign bit, if there is one."""
        return self.bits - self.signed

    @property
    def magnitude_integers(self) -> NDArray[np.int64]:
        """Magnitude over `unit` of every magnitude code, in code order (read-only)."""
        return _tables(self).magnitudes

    @property
    def values(self) -> NDArray[np.float64]:
        """Every distinct value, in increasing order (read-only)."""
        return _tables(self).values

    @property
    def sorted_codes(self) -> NDArray[np.uint8]:
        """Code of each entry of `values`, the one `encode` gives (read-only)."""
        return _tables(self).sorted_codes

    @property
    def max(self) -> float:
        """Largest value."""
        return float(self.values[-1])

    @property
    def max_integer(self) -> int:
        """Largest magnitude over `unit`."""
        return int(self.magnitude_integers[-1])

    @property
    def has_zero(self) -> bool:
        """Whether 0 is a value."""
        return int(self.magnitude_integers[0]) == 0

    def encode(self, x: ArrayLike) -> NDArray[np.uint8]:
        """Return the code of the value nearest to each element of `x`.

        A tie goes to the even code; magnitudes beyond the largest, infinities included, saturate;
        negative elements become 0 in an unsigned format; negative zero is never produced. On a
        grid without zero, 0 becomes the smallest positive value. One rounding, in the precision
        `x` has.

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
        return codec.encode(x, self.rounding_table)

    def decode(self, codes: ArrayLike) -> NDArray[np.float64]:
        """Return the value of each code.

        Parameters
        ----------
        codes : array_like of int
            Codes of any shape and integer type. The code of negative zero decodes to 0.

        Returns
        -------
        ndarray of float64
            Values, in the shape of `codes`.

        Raises
        ------
        TypeError
            If `codes` is not of an integer type.
        ValueError
            If a code is negative or needs more than `bits` bits.
        """
        return codec.look_up(codes, _tables(self).decoded)

    def integers(self, codes: ArrayLike) -> NDArray[np.int64]:
        """Return the value of each code over `unit`, under the terms of `decode`."""
        return codec.look_up(codes, _tables(self).integers)

    def rounding_table(self, dtype: np.typing.DTypeLike) -> RoundingTable:
        """Return the table that encodes floats of `dtype` (float32 or float64) from their bits."""
        dtype = np.dtype(dtype)
        if dtype not in (np.float32, np.float64):
            raise TypeError(f"dtype must be float32 or float64, not {dtype}")
        return _rounding_table(self, dtype)

    def to_dict(self) -> dict[str, Any]:
        """Return family and parameters as plain values; `format_from_dict` is the inverse."""
        parameters = {name: getattr(self, name) for name in self.PARAMETERS}
        return {"family": self.FAMILY, **parameters}

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, eq=False)
class _Tables:
    magnitudes: NDArray[np.int64]
    integers: NDArray[np.int64]
    decoded: NDArray[np.float64]
    values: NDArray[np.float64]
    sorted_codes: NDArray[np.uint8]


@cache
def _tables(fmt: NumberFormat) -> _Tables:
    count = 1 << fmt.magnitude_bits
    magnitudes = np.array([fmt._magnitude_integer(c) for c in range(count)], dtype=np.int64)
    integers = np.concatenate([magnitudes, -magnitudes]) if fmt.signed else magnitudes
    # The first of equal entries is the positive zero.
    distinct, codes = np.unique(integers, return_index=True)
    tables = _Tables(
        magnitudes=magnitudes,
        integers=integers,
        decoded=integers.astype(np.float64) * fmt.unit,
        values=distinct.astype(np.float64) * fmt.unit,
        sorted_codes=codes.astype(np.uint8),
    )
    for name in tables.__slots__:
        getattr(tables, name).setflags(write=False)
    return tables


@cache
def _rounding_table(fmt: NumberFormat, dtype: np.dtype[Any]) -> RoundingTable:
    return codec.build_rounding_table(fmt.magnitude_integers, fmt.unit, fmt.signed, dtype)


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
