"""Encoding and decoding by table look-up, fast and exact for every format.

The points where one code gives way to the next are midpoints between neighbouring values:
dyadic numbers of few significant bits. A float's exponent, its first mantissa bits and one bit
that tells whether any lower bit is set therefore decide its code, and index a table of a few
thousand entries. The table itself is made in integer arithmetic, so no rounding enters anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "RoundingTable",
    "as_float",
    "build_rounding_table",
    "encode",
    "encode_by_comparison",
    "look_up",
]

CHUNK = 1 << 15
"""Elements in flight at once: temporaries stay in the second-level cache."""

_Number = TypeVar("_Number", np.float64, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class RoundingTable:
    """Codes by float bit pattern.

    With `pattern` the bits of a float as a signed integer of the same width, its code is
    ``codes[key]``, where::

        magnitude = clip(pattern & magnitude_mask, low, high)
        key = (magnitude >> shift) + ((magnitude + sticky_mask) >> shift) - offset
        key += size where the float is below zero

    The sum of the two shifts is twice the leading bits, plus one if any later bit is set. Both
    zeros count as positive. NaN has a magnitude above `infinity` and must be refused beforehand.

    Members
    -------
    dtype : dtype
        float32 or float64.
    magnitude_mask, infinity, low, high, shift, sticky_mask, offset : int
        The constants above; `low` and `high` bound what the table distinguishes.
    size : int
        Number of keys of one sign, a power of two.
    codes : ndarray of uint8, shape (2 * size,)
        Code of each key, positive numbers first (read-only).
    """

    dtype: np.dtype[Any]
    magnitude_mask: int
    infinity: int
    low: int
    high: int
    shift: int
    sticky_mask: int
    offset: int
    size: int
    codes: NDArray[np.uint8]


def build_rounding_table(
    integers: NDArray[np.int64],
    codes: NDArray[np.uint8],
    ties_up: NDArray[np.bool],
    unit: float,
    dtype: np.dtype[Any],
) -> RoundingTable:
    """Return the rounding table of a format.

    Parameters
    ----------
    integers : ndarray of int64
        Every value over `unit`, strictly increasing, of a magnitude of at most 2**50.
    codes : ndarray of uint8
        Their codes.
    ties_up : ndarray of bool
        Whether a tie between an integer and the next goes to the next.
    unit : float
        A power of two.
    dtype : dtype
        float32 or float64.
    """
    info = np.finfo(dtype)
    thresholds = integers[:-1] + integers[1:]  # in halves of the unit
    distances = np.unique(np.abs(thresholds[thresholds != 0]))
    kept = max(_significant_bits(int(d)) for d in distances) - 1
    # All numbers of one sign whose magnitude is at most 2**low_exponent (halves) have one code,
    # and so have those from 2**high_exponent on.
    low_exponent = int(distances[0]).bit_length() - 2
    high_exponent = int(distances[-1]).bit_length()

    # Two entries a number of `kept` mantissa bits: the number, and what lies up to the next. In
    # units fine enough for the middle of that gap, everything is an integer.
    fine_bits = kept + 1 - low_exponent
    entries = np.arange(2 * ((high_exponent - low_exponent) << kept) + 1, dtype=np.int64)
    exponent, fraction = np.divmod(entries, 2 << kept)
    numbers = ((2 << kept) + fraction) << exponent
    bounds = thresholds << fine_bits
    size = 1 << (len(entries) - 1).bit_length()
    table = np.zeros((2, size), dtype=np.uint8)
    for row, signed_numbers in zip(table, (numbers, -numbers), strict=True):
        below = np.searchsorted(bounds, signed_numbers, side="left")
        nearest = np.minimum(below, len(bounds) - 1)
        tie = bounds[nearest] == signed_numbers
        row[: len(entries)] = codes[below + (tie & ties_up[nearest])]
    codes = table.reshape(-1)
    codes.setflags(write=False)

    shift = info.nmant - kept
    half = unit / 2
    low = _pattern(half * 2.0**low_exponent, dtype)
    return RoundingTable(
        dtype=dtype,
        magnitude_mask=(1 << (info.bits - 1)) - 1,
        infinity=_pattern(np.inf, dtype),
        low=low,
        high=_pattern(half * 2.0**high_exponent, dtype),
        shift=shift,
        sticky_mask=(1 << shift) - 1,
        offset=2 * (low >> shift),
        size=size,
        codes=codes,
    )


def encode(x: ArrayLike, table_of: Callable[[Any], RoundingTable]) -> NDArray[np.uint8]:
    """Return the code of each element of `x`, from the table for the float type it is held in."""
    array = as_float(np.asarray(x))
    table = table_of(array.dtype)
    flat = np.ascontiguousarray(array).reshape(-1)
    pattern_type = np.int32 if table.dtype.itemsize == 4 else np.int64
    patterns = flat.view(pattern_type)
    out = np.empty(flat.size, dtype=np.uint8)

    length = min(CHUNK, flat.size)
    magnitude = np.empty(length, dtype=pattern_type)
    leading = np.empty(length, dtype=pattern_type)
    keys = np.empty(length, dtype=np.intp)
    constant = pattern_type  # constants of the same width keep the arithmetic in it
    sign_shift = 8 * table.dtype.itemsize - 1
    for start in range(0, flat.size, CHUNK):
        chunk = patterns[start : start + CHUNK]
        m, k, key = magnitude[: chunk.size], leading[: chunk.size], keys[: chunk.size]
        np.bitwise_and(chunk, constant(table.magnitude_mask), out=m)
        if m.max() > table.infinity:
            raise ValueError(f"x must not contain NaN{_place_of_nan(array)}")
        np.maximum(m, constant(table.low), out=m)
        np.minimum(m, constant(table.high), out=m)
        np.right_shift(m, constant(table.shift), out=k)
        np.add(m, constant(table.sticky_mask), out=m)
        np.right_shift(m, constant(table.shift), out=m)
        np.add(k, m, out=k)
        np.subtract(k, constant(table.offset), out=k)
        np.right_shift(chunk, constant(sign_shift), out=m)
        np.bitwise_and(m, constant(table.size), out=m)
        np.add(k, m, out=key)
        table.codes.take(key, out=out[start : start + CHUNK], mode="clip")
    if table.codes[table.size]:
        # A grid without zero: the smallest negative key also holds -0.0, which is not below zero.
        out[flat == 0] = table.codes[0]
    return out.reshape(array.shape)


def encode_by_comparison(
    x: ArrayLike, thresholds_of: Callable[[Any], NDArray[Any]], codes: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Return the code of each element of `x`: ``codes[i]`` for one above i of the thresholds.

    For formats of few values. Comparing with each threshold in turn is several times faster than
    a binary search, whose branches no processor can foresee.
    """
    array = as_float(np.asarray(x))
    thresholds = thresholds_of(array.dtype)
    flat = array.reshape(-1)
    out = np.empty(flat.size, dtype=np.uint8)
    length = min(CHUNK, flat.size)
    above, ranks = np.empty(length, dtype=np.bool), np.empty(length, dtype=np.uint8)
    for start in range(0, flat.size, CHUNK):
        chunk = flat[start : start + CHUNK]
        one, rank = above[: chunk.size], ranks[: chunk.size]
        np.isnan(chunk, out=one)
        if one.any():
            raise ValueError(f"x must not contain NaN{_place_of_nan(array)}")
        rank[:] = 0
        for threshold in thresholds:
            np.greater(chunk, threshold, out=one)
            np.add(rank, one.view(np.uint8), out=rank)
        codes.take(rank, out=out[start : start + CHUNK], mode="clip")
    return out.reshape(array.shape)


def look_up(
    codes: ArrayLike, table: NDArray[_Number], unused: int | None = None
) -> NDArray[_Number]:
    """Return ``table[codes]``, refusing codes that are not integers within the table, or unused."""
    array = np.asarray(codes)
    if array.dtype.kind not in "iu":
        if array.size or array.dtype.kind != "f":
            raise TypeError(f"codes must be of an integer type, not {array.dtype}")
        array = array.astype(np.uint8)  # an empty list has no better type
    flat = array.reshape(-1)
    out = np.empty(flat.size, dtype=table.dtype)
    if not flat.size:
        return out.reshape(array.shape)
    for extreme in (int(flat.max()), int(flat.min())):
        if not 0 <= extreme < len(table):
            raise ValueError(f"codes must be 0 to {len(table) - 1}, not {extreme}")
    if unused is not None and (flat == unused).any():
        raise ValueError(f"codes must be those of numbers, not {unused}")
    keys = np.empty(min(CHUNK, flat.size), dtype=np.intp)
    for start in range(0, flat.size, CHUNK):
        chunk = flat[start : start + CHUNK]
        key = keys[: chunk.size]
        key[:] = chunk
        table.take(key, out=out[start : start + CHUNK], mode="clip")
    return out.reshape(array.shape)


def as_float(array: NDArray[Any]) -> NDArray[Any]:
    """Return `array` as float32 or float64, whichever holds it without rounding that matters.

    Raises
    ------
    TypeError
        If it is neither float16, float32, float64 nor of an integer type.
    """
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "f" and size <= 8:
        return array.astype(np.float64 if size == 8 else np.float32, copy=False)
    if kind in "iu":
        # Integers beyond 2**53 round, far above every format's largest value.
        return array.astype(np.float64 if size > 2 else np.float32)
    raise TypeError(f"x must be float16, float32, float64 or of an integer type, not {array.dtype}")


def _place_of_nan(array: NDArray[Any]) -> str:
    if array.ndim == 0:
        return ""
    place = np.unravel_index(int(np.isnan(array).argmax()), array.shape)
    return "; the first is at index (" + ", ".join(str(int(i)) for i in place) + ")"


def _significant_bits(number: int) -> int:
    """Return the bits from the highest to the lowest one that is set."""
    return (number // (number & -number)).bit_length()


def _pattern(value: float, dtype: np.dtype[Any]) -> int:
    integer = np.int32 if dtype.itemsize == 4 else np.int64
    return int(np.array(value, dtype=dtype).view(integer))
