"""Formats against tables typed by hand from docs/format.md and the papers, and their errors."""

import numpy as np
import pytest

from dybit.quant.formats import (
    ESB,
    DyBit,
    Flint,
    Integer,
    Minifloat,
    NormalFloat,
    Posit,
    PowerOfTwo,
    format_from_dict,
)


@pytest.mark.parametrize(
    ("bits", "table"),
    [
        (2, [0, 1 / 2, 1, 2]),
        (3, [0, 1 / 4, 1 / 2, 3 / 4, 1, 3 / 2, 2, 4]),
        (4, [0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1, 1.25, 1.5, 1.75, 2, 3, 4, 8]),
    ],
)
def test_unsigned_dybit_codes_in_order(bits, table):
    fmt = DyBit(bits, signed=False)
    np.testing.assert_array_equal(fmt.decode(np.arange(2**bits)), table)
    np.testing.assert_array_equal(fmt.encode(table), np.arange(2**bits))


def test_unsigned_dybit4_integers():
    fmt = DyBit(bits=4, signed=False)
    expected = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 24, 32, 64]
    np.testing.assert_array_equal(fmt.integers(np.arange(16)), expected)
    assert fmt.unit == 1 / 8


@pytest.mark.parametrize(
    ("limit", "table"),
    [
        (1, [0, 1, 2, 3, 4, 5, 6, 7]),
        (2, [0, 1, 2, 3, 4, 6, 8, 12]),
        (3, [0, 1, 2, 3, 4, 6, 8, 16]),
    ],
)
def test_signed_dybit4_integers(limit, table):
    fmt = DyBit(bits=4, signed=True, max_exponent_bits=limit)
    np.testing.assert_array_equal(fmt.integers(np.arange(16)), table + [-v for v in table])
    np.testing.assert_array_equal(
        fmt.decode(np.arange(16)), np.array(table + [-v for v in table]) / 4
    )
    assert fmt.unit == 1 / 4
    assert fmt.max_integer == table[-1]


@pytest.mark.parametrize(
    ("code", "value"),
    [
        (0x00, 0.0),
        (0x01, 1 / 64),
        (0x3F, 63 / 64),
        (0x40, 1.0),
        (0x41, 1 + 1 / 32),
        (0x5F, 1 + 31 / 32),
        (0x60, 2.0),
        (0x61, 2.125),
        (0x6F, 3.875),
        (0x70, 4.0),
        (0x77, 7.5),
        (0x78, 8.0),
        (0x7B, 14.0),
        (0x7C, 16.0),
        (0x7D, 24.0),
        (0x7E, 32.0),
        (0x7F, 64.0),
        (0x80, 0.0),
        (0x81, -1 / 64),
        (0xE1, -2.125),
        (0xFF, -64.0),
    ],
)
def test_signed_dybit8_rows(code, value):
    assert DyBit(8).decode(code) == value


@pytest.mark.parametrize(
    ("code", "value"), [(0x60, 2.0), (0x70, 4.0), (0x71, 4.25), (0x7C, 7.0), (0x7F, 7.75)]
)
def test_signed_dybit8_rows_under_limit_three(code, value):
    assert DyBit(8, signed=True, max_exponent_bits=3).decode(code) == value


def test_signed_dybit2_is_ternary():
    np.testing.assert_array_equal(DyBit(2).decode([0, 1, 2, 3]), [0, 1, 0, -1])


@pytest.mark.parametrize(
    ("fmt", "magnitudes"),
    [
        (ESB(4, 0), [0, 1, 2, 4, 8, 16, 32, 64]),
        (ESB(4, 1), [0, 0.5, 1, 1.5, 2, 3, 4, 6]),
        (ESB(4, 2), [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]),
        (ESB(3, 0), [0, 1, 2, 4]),
        (ESB(3, 1), [0.5, 1.5, 2.5, 3.5]),
        (ESB(2, 0), [0.5, 1.5]),
        (Minifloat(2, 1), [0, 0.5, 1, 1.5, 2, 3, 4, 6]),
        (Minifloat(3, 0), [0, 1 / 4, 1 / 2, 1, 2, 4, 8, 16]),
        (Minifloat(1, 2), [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]),
        (Minifloat(1, 0), [0, 2]),
        (Integer(4), [0, 1, 2, 3, 4, 5, 6, 7]),
        (PowerOfTwo(4), [0, 1, 2, 4, 8, 16, 32, 64]),
        (PowerOfTwo(2), [0, 1]),
    ],
    ids=str,
)
def test_signed_magnitudes(fmt, magnitudes):
    np.testing.assert_array_equal(
        fmt.decode(np.arange(2**fmt.bits)), magnitudes + [-v for v in magnitudes]
    )
    np.testing.assert_array_equal(fmt.values, sorted({s * v for v in magnitudes for s in (-1, 1)}))


# ANT's table of 4-bit flint: 11xx, 101x, 1001 and 1000 are binades of ever less precision.
FLINT4 = [0, 1, 2, 3, 4, 5, 6, 7, 64, 32, 16, 24, 8, 10, 12, 14]


def test_unsigned_flint4_codes_in_order():
    fmt = Flint(4, signed=False)
    assert fmt.integers(np.arange(16)).tolist() == FLINT4
    assert fmt.unit == 1 / 8
    assert fmt.encode(np.array(FLINT4) / 8).tolist() == list(range(16))
    assert Flint(5).integers(np.arange(16, 32)).tolist() == [-v for v in FLINT4]


def test_flint_has_the_values_of_dybit():
    for bits in range(2, 9):
        for signed in (True, False):
            fmt = Flint(bits, signed)
            np.testing.assert_array_equal(fmt.values, DyBit(bits, signed).values)
            assert fmt.unit == DyBit(bits, signed).unit


@pytest.mark.parametrize(
    ("fmt", "positive"),
    [
        (Posit(2, 2), [1]),
        (Posit(3, 0), [0.5, 1, 2]),
        (Posit(3, 1), [0.25, 1, 4]),
        (Posit(4, 0), [0.25, 0.5, 0.75, 1, 1.5, 2, 4]),
        (Posit(4, 1), [1 / 16, 1 / 4, 1 / 2, 1, 2, 4, 16]),
        (Posit(4, 2), [1 / 256, 1 / 16, 1 / 4, 1, 4, 16, 256]),
        (Posit(5, 1), [1 / 64, 1 / 16, 1 / 8, 1 / 4, 0.375, 0.5, 0.75, 1, 1.5, 2, 3, 4, 8, 16, 64]),
    ],
    ids=str,
)
def test_posits_are_twos_complements(fmt, positive):
    half = 2 ** (fmt.bits - 1)
    assert fmt.decode(np.arange(half)).tolist() == [0, *positive]
    assert fmt.decode(np.arange(half + 1, 2 * half)).tolist() == [-v for v in positive[::-1]]
    assert fmt.unit == positive[0]


@pytest.mark.parametrize("bits", [2, 5, 8])
def test_not_a_real_is_refused(bits):
    for read in (Posit(bits, 1).decode, Posit(bits, 1).integers):
        with pytest.raises(
            ValueError, match=rf"^codes must be those of numbers, not {2**bits // 2}$"
        ):
            read([0, 2**bits // 2])


# QLoRA's appendix, and bitsandbytes, in float32.
NF4 = [
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
]
# The 3-bit codebook of Intel's neural-compressor.
NF3 = [-1.0, -0.5350227, -0.2469314, 0.0, 0.1833375, 0.3819940, 0.6229857, 1.0]


@pytest.mark.parametrize(("bits", "published"), [(3, NF3), (4, NF4)])
def test_normal_float_is_the_published_codebook(bits, published):
    """Published values come from a float32 `linspace` and differ in the seventh digit."""
    fmt = NormalFloat(bits)
    values = fmt.decode(np.arange(2**bits))
    np.testing.assert_allclose(values, published, rtol=0, atol=2.5e-7)
    np.testing.assert_array_equal(fmt.values, values)
    np.testing.assert_array_equal(fmt.values, fmt.values.astype(np.float32))
    assert values[2 ** (bits - 1) - 1] == 0
    assert fmt.has_zero


def test_normal_float_has_no_integers():
    fmt = NormalFloat()
    assert not fmt.has_grid
    for call in (
        lambda: fmt.unit,
        lambda: fmt.max_integer,
        lambda: fmt.integers([1]),
        lambda: fmt.rounding_table(np.float32),
    ):
        with pytest.raises(ValueError, match="no integers") as caught:
            call()
        assert str(caught.value) == (
            "nf4 has no integers: its values are quantiles of the normal distribution; "
            "integer arithmetic needs a format of another family"
        )


@pytest.mark.parametrize(
    ("fmt", "table"),
    [
        (Integer(3, signed=False), [0, 1, 2, 3, 4, 5, 6, 7]),
        (PowerOfTwo(3, signed=False), [0, 1, 2, 4, 8, 16, 32, 64]),
    ],
    ids=str,
)
def test_unsigned_tables(fmt, table):
    np.testing.assert_array_equal(fmt.values, table)


def test_esb84_has_255_values_to_124_in_sixteenths_below_two():
    fmt = ESB(8, 4)
    assert len(fmt.values) == 255
    assert fmt.max == 124
    np.testing.assert_array_equal(fmt.values[127:160], np.arange(33) / 16)


@pytest.mark.parametrize(
    ("fmt", "maximum", "smallest"),
    [
        (Minifloat(4, 3), 480.0, 2.0**-9),
        (Minifloat(5, 2), 114688.0, 2.0**-16),
        (Minifloat(3, 2), 28.0, 1 / 16),
        (Minifloat(2, 3), 7.5, 1 / 8),
        (Integer(8), 127.0, 1.0),
        (Integer(8, signed=False), 255.0, 1.0),
        (PowerOfTwo(5), 16384.0, 1.0),
        (DyBit(8, signed=False), 128.0, 1 / 128),
    ],
    ids=str,
)
def test_extremes(fmt, maximum, smallest):
    assert fmt.max == maximum
    assert fmt.values[fmt.values > 0].min() == smallest
    assert fmt.unit == smallest


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: DyBit(9), ValueError, "bits must be 2 to 8, not 9"),
        (lambda: DyBit(1), ValueError, "bits must be 2 to 8, not 1"),
        (lambda: DyBit(4.0), TypeError, "bits must be an integer, 2 to 8, not 4.0"),
        (lambda: DyBit(True), TypeError, "bits must be an integer, 2 to 8, not True"),
        (lambda: DyBit(4, "yes"), TypeError, "signed must be True or False, not 'yes'"),
        (
            lambda: DyBit(4, True, 4),
            ValueError,
            "max_exponent_bits must be 1 to 3 for 4 bits signed, not 4",
        ),
        (
            lambda: DyBit(4, False, 0),
            ValueError,
            "max_exponent_bits must be 1 to 4 for 4 bits unsigned, not 0",
        ),
        (
            lambda: DyBit(2, True, 2),
            ValueError,
            "max_exponent_bits must be 1 for 2 bits signed, not 2",
        ),
        (lambda: ESB(9, 5), ValueError, "bits must be 2 to 8, not 9"),
        (lambda: ESB(8, 2), ValueError, "k must be 3 to 6 for 8 bits, not 2"),
        (lambda: ESB(4, 3), ValueError, "k must be 0 to 2 for 4 bits, not 3"),
        (lambda: Integer(1), ValueError, "bits must be 2 to 8, not 1"),
        (lambda: Integer(4, 1), TypeError, "signed must be True or False, not 1"),
        (lambda: Minifloat(6, 0), ValueError, "exponent_bits must be 1 to 5, not 6"),
        (
            lambda: Minifloat(4, 4),
            ValueError,
            "mantissa_bits must be 0 to 3 for 4 exponent bits, not 4",
        ),
        (
            lambda: PowerOfTwo(6),
            ValueError,
            "bits must be 2 to 5 for a signed power of two, not 6",
        ),
        (
            lambda: PowerOfTwo(5, signed=False),
            ValueError,
            "bits must be 2 to 4 for an unsigned power of two, not 5",
        ),
        (lambda: PowerOfTwo(3, None), TypeError, "signed must be True or False, not None"),
        (lambda: Flint(9), ValueError, "bits must be 2 to 8, not 9"),
        (lambda: Flint(4, 0), TypeError, "signed must be True or False, not 0"),
        (lambda: Posit(1, 0), ValueError, "bits must be 2 to 8, not 1"),
        (lambda: Posit(8, 3), ValueError, "es must be 0 to 2, not 3"),
        (lambda: NormalFloat(5), ValueError, "bits must be 2 to 4, not 5"),
        (
            lambda: format_from_dict({"family": "takum", "bits": 8}),
            ValueError,
            "family must be one of dybit, esb, flint, integer, minifloat, normal_float, posit, "
            "power_of_two, not 'takum'",
        ),
        (
            lambda: format_from_dict({"family": "esb", "bits": 4, "fraction": 1}),
            ValueError,
            "parameters of esb must be bits, k, not bits, fraction",
        ),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "fmt",
    [
        DyBit(4),
        DyBit(8, False, 3),
        ESB(4, 2),
        Flint(4, False),
        Integer(5, False),
        Minifloat(4, 3),
        NormalFloat(4),
        Posit(8, 2),
        PowerOfTwo(4),
    ],
    ids=str,
)
def test_dictionary_round_trip(fmt):
    again = format_from_dict(fmt.to_dict())
    assert again == fmt
    assert hash(again) == hash(fmt)
    assert again.name == str(fmt) == fmt.name


def test_default_limit_is_the_longest_exponent():
    assert DyBit(4) == DyBit(4, True, 3) != DyBit(4, True, 2)
    assert DyBit(4).exponent_limit == 3
    assert DyBit(4).to_dict() == {
        "family": "dybit",
        "bits": 4,
        "signed": True,
        "max_exponent_bits": 3,
    }


def test_formats_and_their_tables_are_immutable():
    fmt = DyBit(4)
    with pytest.raises(AttributeError):
        fmt.bits = 5
    for table in (fmt.values, fmt.magnitude_integers, fmt.sorted_codes, fmt.ties_up):
        with pytest.raises(ValueError, match="read-only"):
            table[0] = 1
