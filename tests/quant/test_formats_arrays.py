"""What encode and decode accept, and the one line that says why they refuse the rest."""

import numpy as np
import pytest

from dybit.quant.formats import ESB, DyBit, NormalFloat, Posit

FMT = DyBit(4)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint64])
def test_integers_encode_as_numbers(dtype):
    info = np.iinfo(dtype)
    x = np.array([0, 1, 2, 3, 4, info.max, info.min], dtype=dtype)
    lowest = FMT.encode(float(info.min))
    assert FMT.encode(x).tolist() == [0, 4, 6, 6, 7, 7, lowest]


@pytest.mark.parametrize(
    "x", [1.5, [1.5], np.float16(1.5), np.full((2, 0, 3), 1.5), np.full((3, 1, 2), 1.5), []]
)
def test_shape_is_kept(x):
    codes = FMT.encode(x)
    assert isinstance(codes, np.ndarray)
    assert codes.shape == np.shape(x)
    assert (codes == 5).all()
    for decoded in (FMT.decode(codes), FMT.decode(codes.astype(np.int16))):
        assert isinstance(decoded, np.ndarray)
        assert decoded.shape == np.shape(x)
        assert (decoded == 1.5).all()


@pytest.mark.parametrize("fmt", [FMT, ESB(4, 2), NormalFloat(4)], ids=str)
def test_memory_layout_does_not_matter(fmt):
    seed = 20
    print(f"seed {seed}")
    # More elements than one chunk holds, and not a multiple of it.
    x = np.random.default_rng(seed).standard_normal((3, 50_001)).astype(np.float32)
    x[:, ::7] = 0
    codes = fmt.encode(x)
    np.testing.assert_array_equal(fmt.encode(x.T).T, codes)
    np.testing.assert_array_equal(fmt.encode(x[:, ::-3]), codes[:, ::-3])
    np.testing.assert_array_equal(fmt.encode(x.astype(">f4")), codes)
    np.testing.assert_array_equal(fmt.encode(x.astype(np.float64)), codes)
    decoded = fmt.decode(codes)
    np.testing.assert_array_equal(fmt.decode(codes.T).T, decoded)
    np.testing.assert_array_equal(fmt.decode(codes.astype(np.int64)), decoded)
    if fmt.has_grid:
        np.testing.assert_array_equal(fmt.integers(codes) * fmt.unit, decoded)
    place = np.abs(x[:, :500, None] - fmt.values).argmin(axis=-1)
    error = np.abs(x[:, :500] - fmt.values[place])
    np.testing.assert_array_equal(np.abs(x[:, :500] - decoded[:, :500]), error)


def test_input_is_left_alone():
    x = np.linspace(-9, 9, 100)
    before = x.copy()
    FMT.encode(x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    "fmt", [FMT, DyBit(4, signed=False), ESB(4, 2), Posit(4, 1), NormalFloat(4)], ids=str
)
def test_nan_is_refused_with_its_place(fmt, sign, dtype):
    x = np.zeros((3, 40_000), dtype=dtype)
    x[2, 17] = np.copysign(np.nan, sign)
    x[2, 30_000] = np.nan
    with pytest.raises(ValueError, match="NaN") as caught:
        fmt.encode(x)
    assert str(caught.value) == "x must not contain NaN; the first is at index (2, 17)"


@pytest.mark.parametrize("pattern", [0x7F800001, 0xFF800001, 0x7FFFFFFF])
def test_every_kind_of_nan_is_refused(pattern):
    x = np.array([pattern], dtype=np.uint32).view(np.float32)
    for fmt in (FMT, NormalFloat(4)):
        with pytest.raises(ValueError, match="NaN"):
            fmt.encode(x)


def test_nan_scalar_is_refused():
    with pytest.raises(ValueError, match=r"^x must not contain NaN$"):
        FMT.encode(np.nan)


@pytest.mark.parametrize(
    ("x", "name"),
    [
        (True, "bool"),
        ([1 + 2j], "complex128"),
        ([None], "object"),
        (["1"], "<U1"),
        (np.longdouble(1), str(np.dtype(np.longdouble))),
    ],
)
def test_other_types_are_refused_by_name(x, name):
    message = f"x must be float16, float32, float64 or of an integer type, not {name}"
    with pytest.raises(TypeError) as caught:
        FMT.encode(x)
    assert str(caught.value) == message


@pytest.mark.parametrize("method", ["decode", "integers"])
@pytest.mark.parametrize(
    ("codes", "error", "message"),
    [
        (16, ValueError, "codes must be 0 to 15, not 16"),
        ([0, -1], ValueError, "codes must be 0 to 15, not -1"),
        (np.array([3, 255], dtype=np.uint8), ValueError, "codes must be 0 to 15, not 255"),
        (1.0, TypeError, "codes must be of an integer type, not float64"),
        ([True], TypeError, "codes must be of an integer type, not bool"),
        (["a"], TypeError, "codes must be of an integer type, not <U1"),
    ],
)
def test_bad_codes_are_refused(method, codes, error, message):
    with pytest.raises(error) as caught:
        getattr(FMT, method)(codes)
    assert str(caught.value) == message


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fmt", [FMT, DyBit(8, signed=False), ESB(4, 2), Posit(8, 2)], ids=str)
def test_rounding_table_works_as_documented(fmt, dtype):
    """The formula in `RoundingTable`, followed word by word in Python integers."""
    seed = 21
    print(f"seed {seed}")
    x = np.random.default_rng(seed).standard_normal(300).astype(dtype) * 3
    x[:3] = [0.0, -0.0, 1.0]
    table = fmt.rounding_table(dtype)
    expected = fmt.encode(x)
    for number, code in zip(x, expected, strict=True):
        pattern = int(number.view(f"i{table.dtype.itemsize}"))
        magnitude = min(max(pattern & table.magnitude_mask, table.low), table.high)
        key = magnitude >> table.shift
        key += (magnitude + table.sticky_mask) >> table.shift
        key -= table.offset
        key += table.size if number < 0 else 0
        assert table.codes[key] == code


def test_rounding_table_of_another_type_is_refused():
    for table in (FMT.rounding_table, FMT.thresholds):
        with pytest.raises(TypeError, match=r"^dtype must be float32 or float64, not float16$"):
            table(np.float16)
