"""The DyBit family and its encoding, brute force from the definition.

The definition in ``docs/format.md`` read once more, slowly and without a trick, so that neither
the codecs nor the hardware are tested against themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

__all__ = ["dybit_integers", "magnitude_value", "nearest_code", "nearest_codes"]


def magnitude_value(code: int, size: int, limit: int) -> Fraction:
    """Return the value of a magnitude code of `size` bits under an exponent limit."""
    bits = f"{code:0{size}b}"
    count = min(len(bits) - len(bits.lstrip("1")), limit)
    if count == 0:
        return Fraction(code, 2 ** (size - 1))
    # The zero that ends the ones is spent only below the limit.
    fraction = bits[count + 1 :] if count < limit else bits[count:]
    m = len(fraction)
    f = int(fraction, 2) if m else 0
    return Fraction(2) ** (count - 1) * (1 + Fraction(f, 2**m))


@cache
def dybit_integers(bits: int, signed: bool, limit: int) -> Mapping[int, int]:
    """Return the integer of every code of DyBit-`bits`, negative zero left out.

    Integers are values in units of ``2^(1-N)``, N being the magnitude bits.
    """
    size = bits - signed
    integers = {}
    for code in range(2**size):
        integer = magnitude_value(code, size, limit) * 2 ** (size - 1)
        assert integer.denominator == 1
        integers[code] = int(integer)
        if signed and integer != 0:
            integers[code + 2**size] = -int(integer)
    return MappingProxyType(integers)


def nearest_code(numerator: int, denominator: int, integers: Mapping[int, int]) -> int:
    """Return the code whose integer is nearest to a fraction; of two as near, the even one."""
    return min(integers, key=lambda code: (abs(integers[code] * denominator - numerator), code % 2))


def nearest_codes(
    quarters: npt.NDArray[np.int64], integers: Mapping[int, int]
) -> npt.NDArray[np.uint8]:
    """Return `nearest_code` of each element, which counts quarters of a unit."""
    codes = np.array(sorted(integers), dtype=np.int64)
    values = np.array([4 * integers[code] for code in codes.tolist()])
    nearest = np.empty(quarters.shape, dtype=np.uint8)
    for start in range(0, quarters.size, 4096):
        part = slice(start, start + 4096)
        # Twice the distance leaves the low bit to the tie: an odd code is a little farther.
        keys = 2 * np.abs(quarters[part, None] - values) + codes % 2
        nearest[part] = codes[keys.argmin(axis=1)]
    return nearest
