"""The DyBit family, ESB and their encoding, brute force from the definition.

The definition in ``docs/format.md`` read once more, slowly and without a trick, so that neither
the codecs nor the hardware are tested against themselves. Below it, the integer arithmetic of
layers one element at a time in Python's own integers, from ``docs/adr/0012-network-graph.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

__all__ = [
    "ESB_4_BITS",
    "dybit_integers",
    "esb_integers",
    "esb_magnitude",
    "magnitude_value",
    "nearest_code",
    "nearest_codes",
    "slow_add",
    "slow_conv",
    "slow_matmul",
    "slow_mean",
    "slow_scaled",
]


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


ESB_4_BITS = {
    0: (0, 1, 2, 4, 8, 16, 32, 64),
    1: (0, 1, 2, 3, 4, 6, 8, 12),
    2: (1, 3, 5, 7, 9, 11, 13, 15),
}
"""Magnitudes of 4-bit ESB in code order, by fraction bits; in units of 1, 1/2 and 1/2."""


def esb_magnitude(code: int, bits: int, k: int) -> int:
    """Return the magnitude of an ESB code, in units of 2^-k, or of 1/2 where e = 1."""
    text = f"{code:0{bits - 1}b}"
    exponent, fraction = text[: bits - 1 - k], text[bits - 1 - k :]
    if len(exponent) == 1:
        return int((code + Fraction(1, 2)) / Fraction(1, 2))
    part = Fraction(int(fraction or "0", 2), 2**k)
    value = part if int(exponent, 2) == 0 else 2 ** (int(exponent, 2) - 1) * (1 + part)
    return int(value * 2**k)


@cache
def esb_integers(bits: int, k: int) -> Mapping[int, int]:
    """Return the integer of every code of ESB, negative zero left out."""
    size = bits - 1
    table = ESB_4_BITS[k] if bits == 4 else [esb_magnitude(c, bits, k) for c in range(2**size)]
    integers = {}
    for code, integer in enumerate(table):
        integers[code] = integer
        if integer != 0:
            integers[code + 2**size] = -integer
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


Table = Mapping[int, int]
Array = npt.NDArray[np.generic]


def slow_scaled(value: int, multiplier: int, shift: int, table: Table, relu: bool = False) -> int:
    """Return the code nearest to ``value multiplier / 2^shift``, or to 0 by ReLU."""
    x = Fraction(value * multiplier, 2**shift)
    x = max(x, Fraction(0)) if relu else x
    return nearest_code(x.numerator, x.denominator, table)


def slow_conv(
    codes: Array,
    table: Table,
    weights: Array,
    weight_table: Table,
    stride: tuple[int, int],
    padding: tuple[int, int],
    groups: int,
) -> npt.NDArray[np.int64]:
    """Convolve (N, H, W, C) with (kh, kw, C / groups, O), one product at a time."""
    count, height, width, _ = codes.shape
    kernel_h, kernel_w, channels, outputs = weights.shape
    rows = (height + 2 * padding[0] - kernel_h) // stride[0] + 1
    columns = (width + 2 * padding[1] - kernel_w) // stride[1] + 1
    out = np.zeros((count, rows, columns, outputs), np.int64)
    for n, i, j, o in np.ndindex(out.shape):
        first = o // (outputs // groups) * channels
        total = 0
        for u, v, c in np.ndindex(kernel_h, kernel_w, channels):
            y, x = i * stride[0] + u - padding[0], j * stride[1] + v - padding[1]
            if 0 <= y < height and 0 <= x < width:
                total += (
                    table[int(codes[n, y, x, first + c])] * weight_table[int(weights[u, v, c, o])]
                )
        out[n, i, j, o] = total
    return out


def slow_matmul(a: Array, a_table: Table, b: Array, b_table: Table) -> npt.NDArray[np.int64]:
    """Multiply (..., M, K) by (..., K, N), one product at a time."""
    out = np.zeros((*a.shape[:-1], b.shape[-1]), np.int64)
    for index in np.ndindex(out.shape):
        *lead, m, n = index
        row, column = a[(*lead, m)].tolist(), b[(*lead, slice(None), n)].tolist()
        out[index] = sum(a_table[x] * b_table[y] for x, y in zip(row, column, strict=True))
    return out


def slow_add(
    a: Array,
    b: Array,
    tables: tuple[Table, Table],
    multipliers: tuple[int, int],
    shift: int,
    output: Table,
    relu: bool = False,
) -> npt.NDArray[np.uint8]:
    """Encode ``(Ma a + Mb b) / 2^S`` of each element."""
    sums = [
        multipliers[0] * tables[0][x] + multipliers[1] * tables[1][y]
        for x, y in zip(a.reshape(-1).tolist(), b.reshape(-1).tolist(), strict=True)
    ]
    codes = [slow_scaled(total, 1, shift, output, relu) for total in sums]
    return np.array(codes, np.uint8).reshape(a.shape)


def slow_mean(
    codes: Array,
    table: Table,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    multiplier: int,
    shift: int,
    output: Table,
) -> npt.NDArray[np.uint8]:
    """Sum the windows of (N, H, W, C) and encode the scaled sums; 1/count is in the scale."""
    count, height, width, channels = codes.shape
    rows, columns = (height - kernel[0]) // stride[0] + 1, (width - kernel[1]) // stride[1] + 1
    out = np.zeros((count, rows, columns, channels), np.uint8)
    for n, i, j, c in np.ndindex(out.shape):
        window = codes[
            n,
            i * stride[0] : i * stride[0] + kernel[0],
            j * stride[1] : j * stride[1] + kernel[1],
            c,
        ]
        total = sum(table[code] for code in window.reshape(-1).tolist())
        out[n, i, j, c] = slow_scaled(total, multiplier, shift, output)
    return out
