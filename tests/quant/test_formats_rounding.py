"""Encoding and decoding of every format against the definitions, written out in exact fractions."""

import math
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dybit.quant.formats import (
    ESB,
    DyBit,
    Flint,
    Integer,
    Minifloat,
    NormalFloat,
    Posit,
    PowerOfTwo,
)

DYBITS = [
    DyBit(bits, signed, limit)
    for bits in range(2, 9)
    for signed in (True, False)
    for limit in range(1, bits - signed + 1)
]
FORMATS = [
    *DYBITS,
    *(ESB(b, k) for b in range(2, 9) for k in range(max(0, b - 5), b - 1)),
    *(Integer(bits, signed) for bits in range(2, 9) for signed in (True, False)),
    *(Minifloat(e, m) for e in range(1, 6) for m in range(8 - e)),
    *(PowerOfTwo(bits, True) for bits in range(2, 6)),
    *(PowerOfTwo(bits, False) for bits in range(2, 5)),
    *(Flint(bits, signed) for bits in range(2, 9) for signed in (True, False)),
    *(Posit(bits, es) for bits in range(2, 9) for es in range(3)),
]
CODEBOOKS = [NormalFloat(bits) for bits in range(2, 5)]


def magnitude(fmt, code):
    """Return the magnitude of a code without its sign bit, straight from docs/format.md."""
    match fmt:
        case DyBit():
            n = fmt.bits - 1 if fmt.signed else fmt.bits
            limit = fmt.max_exponent_bits
            text = format(code, f"0{n}b")
            ones = min(n - len(text.lstrip("1")), limit)
            if n == 1:
                return Fraction(code)
            if ones == 0:
                return Fraction(code, 2 ** (n - 1))
            # Below the limit a zero ends the exponent field.
            fraction = text[ones:] if ones == limit else text[ones + 1 :]
            f = int(fraction, 2) if fraction else 0
            return 2 ** (ones - 1) * (1 + Fraction(f, 2 ** len(fraction)))
        case ESB():
            if fmt.k == fmt.bits - 2:
                return code + Fraction(1, 2)
            field, j = divmod(code, 2**fmt.k)
            if field == 0:
                return Fraction(j, 2**fmt.k)
            return 2 ** (field - 1) * (1 + Fraction(j, 2**fmt.k))
        case Minifloat():
            m = fmt.mantissa_bits
            bias = 2 ** (fmt.exponent_bits - 1) - 1
            field, j = divmod(code, 2**m)
            if field == 0:
                return Fraction(2) ** (1 - bias) * Fraction(j, 2**m)
            return Fraction(2) ** (field - bias) * (1 + Fraction(j, 2**m))
        case Integer():
            return Fraction(code)
        case PowerOfTwo():
            return Fraction(2 ** (code - 1)) if code else Fraction(0)
        case Flint():
            n = fmt.bits - 1 if fmt.signed else fmt.bits
            text = format(code, f"0{n}b")
            if text[0] == "0":
                return Fraction(code, 2 ** (n - 1))
            fraction = text[1:].lstrip("0")[1:]
            i = n - 1 - len(fraction) if "1" in text[1:] else n
            f = int(fraction, 2) if fraction else 0
            return 2 ** (i - 1) * (1 + Fraction(f, 2 ** len(fraction)))


def posit(fmt, code):
    """Return the value of a posit's code, from the formula with the sign in two's complement."""
    n, es = fmt.bits, fmt.es
    if code >= 2 ** (n - 1):
        return -posit(fmt, 2**n - code)
    if code == 0:
        return Fraction(0)
    text = format(code, f"0{n - 1}b")
    run = len(text) - len(text.lstrip(text[0]))
    k = run - 1 if text[0] == "1" else -run
    tail = text[run + 1 :] + "0" * (es + 1)  # at least the exponent and one bit of fraction
    exponent, fraction = int("0" + tail[:es], 2), tail[es:]
    return Fraction(2) ** (k * 2**es + exponent) * (
        1 + Fraction(int(fraction, 2), 2 ** len(fraction))
    )


@cache
def table(fmt):
    """Return {code: value}, negative zero included, NaR left out."""
    if isinstance(fmt, Posit):
        codes = [code for code in range(2**fmt.bits) if code != 2 ** (fmt.bits - 1)]
        return {code: posit(fmt, code) for code in codes}
    if isinstance(fmt, NormalFloat):
        return {code: Fraction(value) for code, value in enumerate(fmt.values.tolist())}
    if not fmt.signed:
        return {code: magnitude(fmt, code) for code in range(2**fmt.bits)}
    half = 2 ** (fmt.bits - 1)
    return {code: (-1) ** (code // half) * magnitude(fmt, code % half) for code in range(2 * half)}


SCALE = 2**1100  # makes an integer of every finite float and every value


@cache
def candidates(fmt):
    entries = {}
    for code, value in table(fmt).items():
        entries.setdefault(int(value * SCALE), code)  # negative zero comes second
    return [(code, value) for value, code in entries.items()]


def nearest(fmt, x):
    """Return the code of finite `x`: nearest, then even, then smaller."""
    exact = int(Fraction(x) * SCALE)
    return min((abs(exact - value), code % 2, code) for code, value in candidates(fmt))[2]


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_every_code_decodes_by_definition(fmt):
    expected = table(fmt)
    codes = np.array(list(expected))
    decoded = fmt.decode(codes)
    assert decoded.dtype == np.float64
    assert [Fraction(v) for v in decoded.tolist()] == list(expected.values())
    assert not np.signbit(decoded[decoded == 0]).any()

    integers = fmt.integers(codes)
    assert integers.dtype == np.int64
    assert [Fraction(fmt.unit) * i for i in integers.tolist()] == list(expected.values())
    # The unit is the largest power of two: half the integers would not be integers.
    assert math.frexp(fmt.unit)[0] == 0.5
    assert (integers % 2 == 1).any()

    distinct = sorted(set(expected.values()))
    assert [Fraction(v) for v in fmt.values.tolist()] == distinct
    assert fmt.max == distinct[-1]
    assert fmt.has_zero == (0 in distinct)
    assert fmt.max_integer == max(abs(integers))
    np.testing.assert_array_equal(fmt.decode(fmt.sorted_codes), fmt.values)
    np.testing.assert_array_equal(fmt.encode(fmt.values), fmt.sorted_codes)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fmt", [*FORMATS, *CODEBOOKS], ids=str)
def test_values_midpoints_and_their_neighbours(fmt, dtype):
    values = fmt.values
    exact = np.concatenate([values, (values[1:] + values[:-1]) / 2, [2 * fmt.max, -2 * fmt.max, 0]])
    points = exact.astype(dtype)
    assert (points == exact).all() or (dtype == np.float32 and not fmt.has_grid)
    points = np.concatenate(
        [points, np.nextafter(points, dtype(np.inf)), np.nextafter(points, dtype(-np.inf))]
    )
    codes = fmt.encode(points)
    assert codes.dtype == np.uint8
    assert codes.tolist() == [nearest(fmt, x) for x in points.tolist()]
    # The thresholds say the same to whoever encodes by comparing.
    thresholds = fmt.thresholds(dtype)
    assert thresholds.dtype == dtype
    ranks = (points[:, None] > thresholds).sum(axis=1)
    np.testing.assert_array_equal(fmt.sorted_codes[ranks], codes)


@pytest.mark.parametrize("fmt", [*FORMATS, *CODEBOOKS], ids=str)
def test_every_float16(fmt):
    x = np.arange(2**16, dtype=np.uint16).view(np.float16)
    x = x[~np.isnan(x)]
    wide = x.astype(np.float64)
    codes = fmt.encode(x)
    np.testing.assert_array_equal(fmt.encode(wide), codes)
    distance = np.abs(np.clip(wide, -1e9, 1e9) - fmt.decode(codes))
    place = np.clip(np.searchsorted(fmt.values, wide), 1, len(fmt.values) - 1)
    best = np.minimum(
        np.abs(np.clip(wide, -1e9, 1e9) - fmt.values[place]),
        np.abs(np.clip(wide, -1e9, 1e9) - fmt.values[place - 1]),
    )
    np.testing.assert_array_equal(distance, best)


def finite(width):
    return st.floats(width=width, allow_nan=False, allow_infinity=False)


@given(fmt=st.sampled_from([*FORMATS, *CODEBOOKS]), x=finite(64))
def test_any_double(fmt, x):
    assert fmt.encode(x) == nearest(fmt, x)


@given(fmt=st.sampled_from([*FORMATS, *CODEBOOKS]), x=finite(32))
def test_any_single(fmt, x):
    assert fmt.encode(np.float32(x)) == nearest(fmt, x)


@given(fmt=st.sampled_from(FORMATS), x=st.integers(-(2**63), 2**63 - 1))
def test_any_integer(fmt, x):
    assert fmt.encode(np.int64(x)) == nearest(fmt, x)
    assert fmt.encode(x) == nearest(fmt, x)


@given(fmt=st.sampled_from(DYBITS), x=finite(64), y=finite(64))
def test_dybit_codes_compare_like_their_values(fmt, x, y):
    def key(code):
        if not fmt.signed:
            return code
        sign = 2 ** (fmt.bits - 1)
        return code ^ (2 * sign - 1) if code & sign else code | sign

    low, high = (key(int(fmt.encode(v))) for v in sorted((x, y)))
    assert low <= high
    keys = [key(int(c)) for c in fmt.sorted_codes]
    assert keys == sorted(set(keys))


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_infinities_and_zeros(fmt):
    infinities = fmt.encode([np.inf, -np.inf])
    assert fmt.decode(infinities).tolist() == [fmt.max, fmt.values[0]]
    zeros = fmt.encode(np.array([0.0, -0.0, 0.0], dtype=np.float32))
    assert zeros.tolist() == [0, 0, 0]
    if fmt.has_zero:
        assert fmt.encode([5e-324, -5e-324, -1e-30]).tolist() == [0, 0, 0]
    else:
        sign = 2 ** (fmt.bits - 1)
        assert fmt.encode([5e-324, -5e-324, -1e-30]).tolist() == [0, sign, sign]
