"""The golden model against Python integers and torch's float64 convolutions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dybit.quant.formats import (
    ESB,
    DyBit,
    Flint,
    Integer,
    Minifloat,
    NumberFormat,
    Posit,
)
from dybit.sim import golden
from tests.oracles import dybit_integers


def oracle_of(fmt: NumberFormat) -> dict[int, int]:
    """Integer of each canonical code of `fmt`, from sources other than the library."""
    codes = range(1 << fmt.bits)
    sign = 1 << (fmt.bits - 1)
    table: Callable[[int], int]
    match fmt:
        case DyBit():
            return dybit_integers(fmt.bits, fmt.signed, fmt.exponent_limit)
        case Integer(signed=True):
            table = lambda c: -(c - sign) if c & sign else c  # noqa: E731
        case Integer():
            table = int
        case ESB(bits=4, k=1):
            magnitudes = (0, 1, 2, 3, 4, 6, 8, 12)
            table = lambda c: -magnitudes[c - sign] if c & sign else magnitudes[c]  # noqa: E731
        case ESB(bits=3, k=1):  # no zero
            table = lambda c: -(2 * (c & 3) + 1) if c & sign else 2 * c + 1  # noqa: E731
        case Flint(bits=5):  # codes out of order
            flint = (0, 1, 2, 3, 4, 5, 6, 7, 64, 32, 16, 24, 8, 10, 12, 14)
            table = lambda c: -flint[c - sign] if c & sign else flint[c]  # noqa: E731
        case Posit(bits=4, es=1):  # two's complement, and one code that is no number
            posit = (0, 1, 4, 8, 16, 32, 64, 256, 0, -256, -64, -32, -16, -8, -4, -1)
            table = lambda c: posit[c]  # noqa: E731
        case _:
            raise AssertionError(fmt)
    return {c: table(c) for c in codes if not (c == sign and table(c) == 0)}


FORMATS = [
    *(DyBit(b, s, r) for b in (2, 4) for s in (True, False) for r in range(1, b - s + 1)),
    *(DyBit(8, s, r) for s in (True, False) for r in (1, 2, 5, 7)),
    DyBit(8, False),
    Integer(4),
    Integer(5, signed=False),
    ESB(4, 1),
    ESB(3, 1),
    Flint(5),
    Posit(4, 1),
]
NAMES = [fmt.name for fmt in FORMATS]


def slow_requantize(
    acc: int, bias: int, multiplier: int, shift: int, table: dict[int, int], relu: bool
) -> int:
    product = (acc + bias) * multiplier
    if relu:
        product = max(product, 0)
    # Distances from the exact rational, times 2^shift.
    distances = {code: abs(product - (value << shift)) for code, value in table.items()}
    least = min(distances.values())
    nearest = [code for code, distance in distances.items() if distance == least]
    # A grid without zero encodes 0 as its smallest positive value: both neighbours are even.
    return min(nearest, key=lambda code: (code & 1, code))


@pytest.mark.parametrize("fmt", FORMATS, ids=NAMES)
def test_requantize_rounds_ties_to_even(fmt: NumberFormat) -> None:
    """Every accumulator near the thresholds, with shifts that make many exact ties."""
    table = oracle_of(fmt)
    edges = sorted(
        {v * 2 + d for v in list(table.values())[:: 1 + len(table) // 16] for d in (0, 1)}
    )
    accs = np.array(sorted({e + d for e in edges for d in range(-3, 4)}), np.int64)
    for relu in (False, True):
        for bias, multiplier, shift in ((0, 1, 1), (1, 1, 0), (-2, 3, 2), (0, 3, 3), (0, 0, 63)):
            one = [np.array([v]) for v in (bias, multiplier, shift)]
            got = golden.requantize(accs[:, None], *one, fmt, relu)[:, 0]
            want = [slow_requantize(int(a), bias, multiplier, shift, table, relu) for a in accs]
            assert got.dtype == np.uint8
            assert got.tolist() == want, (bias, multiplier, shift, relu)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_requantize_over_the_whole_range(data: st.DataObject) -> None:
    fmt = data.draw(st.sampled_from(FORMATS))
    total = data.draw(st.integers(-(2**47) + 1, 2**47 - 1))
    bias = data.draw(st.integers(-(2**46), 2**46))
    multiplier = data.draw(st.integers(0, 65535))
    shift = data.draw(st.integers(0, 63))
    relu = data.draw(st.booleans())
    acc = np.array([[total - bias]])
    got = golden.requantize(
        acc, np.array([bias]), np.array([multiplier]), np.array([shift]), fmt, relu
    )
    want = slow_requantize(total - bias, bias, multiplier, shift, oracle_of(fmt), relu)
    assert got.tolist() == [[want]]


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_requantize_saturates(fmt: NumberFormat) -> None:
    acc = np.array([[2**47 - 1], [-(2**47) + 1]])
    table = oracle_of(fmt)
    for shift in range(8):
        got = golden.requantize(acc, *(np.array([v]) for v in (0, 65535, shift)), fmt)
        assert [table[code] for code in got[:, 0].tolist()] == [
            max(table.values()),
            min(table.values()),
        ]


def test_requantize_is_per_channel() -> None:
    fmt = DyBit(8, True, 2)
    table = oracle_of(fmt)
    rng = np.random.default_rng(7)
    acc = rng.integers(-(2**20), 2**20, (3, 5, 4))
    bias = rng.integers(-1000, 1000, 4)
    multiplier, shift = rng.integers(2**15, 2**16, 4), rng.integers(24, 36, 4)
    got = golden.requantize(acc, bias, multiplier, shift, fmt)
    for index in np.ndindex(acc.shape):
        p = (int(a[index[-1]]) for a in (bias, multiplier, shift))
        assert got[index] == slow_requantize(int(acc[index]), *p, table, False)


@pytest.mark.parametrize("fmt", [DyBit(4, False), DyBit(8, False, 3), DyBit(4, True, 2)], ids=str)
@pytest.mark.parametrize("relu", [False, True])
def test_max_code_limits_the_magnitude(fmt: NumberFormat, relu: bool) -> None:
    table = oracle_of(fmt)
    acc = np.arange(-70, 300)[:, None]
    unit = [np.array([v]) for v in (0, 1, 1)]
    for max_code in (0, 1, 5, 7):
        got = golden.requantize(acc, *unit, fmt, relu, max_code)[:, 0]
        kept = {c: v for c, v in table.items() if abs(v) <= table[max_code]}
        assert got.tolist() == [slow_requantize(int(a), 0, 1, 1, kept, relu) for a in acc[:, 0]]


def test_requantize_refuses() -> None:
    fmt = DyBit(4, False)

    def call(acc: object = 0, bias: object = 0, multiplier: object = 1, shift: object = 0) -> None:
        golden.requantize(np.array([acc]), *(np.array([v]) for v in (bias, multiplier, shift)), fmt)

    with pytest.raises(
        ValueError, match=r"\|acc \+ bias\| must be below 2\^47, not 140737488355328"
    ):
        call(2**47 - 1, 1)
    with pytest.raises(ValueError, match=r"not -140737488355328"):
        call(-(2**47) + 1, -1)
    with pytest.raises(ValueError, match=r"not 18446744073709551614"):
        call(2**63 - 1, 2**63 - 1)
    call(2**47 - 1, 0, 65535, 63)
    with pytest.raises(ValueError, match="multiplier must be 0 to 65535, not 65536"):
        call(multiplier=65536)
    with pytest.raises(ValueError, match="multiplier must be 0 to 65535, not -1"):
        call(multiplier=-1)
    with pytest.raises(ValueError, match="shift must be 0 to 63, not 64"):
        call(shift=64)
    with pytest.raises(TypeError, match="acc must be an array of integers within int64, not float"):
        call(acc=0.5)
    with pytest.raises(
        TypeError, match="bias must be an array of integers within int64, not uint64"
    ):
        call(bias=np.uint64(1))
    with pytest.raises(ValueError, match=r"bias must have shape \(2,\), not \(1,\)"):
        golden.requantize(np.zeros((3, 2), int), *[np.array([1])] * 3, fmt)
    with pytest.raises(ValueError, match=r"acc must have a last axis of channels, not shape \(\)"):
        golden.requantize(np.array(1), *[np.array([1])] * 3, fmt)
    for bad in (16, -1):
        with pytest.raises(ValueError, match=f"max_code must be the code of a value .*, not {bad}"):
            golden.requantize(np.zeros((3, 1), int), *[np.array([1])] * 3, fmt, max_code=bad)
    with pytest.raises(ValueError, match="not negative, not 9"):
        golden.requantize(np.zeros((3, 1), int), *[np.array([1])] * 3, DyBit(4), max_code=9)


@pytest.mark.parametrize("a_fmt", FORMATS[::3], ids=str)
def test_matmul_is_the_sum_of_products(a_fmt: NumberFormat) -> None:
    w_fmt = FORMATS[(FORMATS.index(a_fmt) * 5 + 2) % len(FORMATS)]
    a_table, w_table = oracle_of(a_fmt), oracle_of(w_fmt)
    rng = np.random.default_rng(3)
    a = rng.choice(list(a_table), (5, 9)).astype(np.uint8)
    w = rng.choice(list(w_table), (9, 4)).astype(np.uint8)
    got = golden.matmul(a, a_fmt, w, w_fmt)
    want = [
        [sum(a_table[x] * w_table[y] for x, y in zip(r, c, strict=True)) for c in w.T.tolist()]
        for r in a.tolist()
    ]
    assert got.dtype == np.int64
    assert got.tolist() == want


@pytest.mark.parametrize(
    ("fmt", "reduction"),
    [
        (DyBit(4, True), (1 << 16) - 1),  # below 2^24
        (DyBit(8, False), (1 << 10) + 3),  # above 2^24
        (Minifloat(4, 3), (1 << 20) + 1),  # above 2^53
    ],
    ids=str,
)
def test_matmul_is_exact_at_its_largest(fmt: NumberFormat, reduction: int) -> None:
    """Sums of the largest products with an odd remainder, which rounding would lose."""
    top = int(fmt.sorted_codes[-1])
    one = int(fmt.sorted_codes[np.searchsorted(fmt.values, fmt.unit)])
    a = np.full((1, reduction), top, np.uint8)
    w = a.T.copy()
    a[0, ::2], w[::2, 0] = one, one
    half = reduction // 2
    largest = int(fmt.integers(np.array([top], np.uint8))[0])
    assert golden.matmul(a, fmt, w, fmt).tolist() == [[half * (largest**2 + 1) + 1]]


def test_matmul_refuses() -> None:
    fmt, wide = DyBit(4, True), Minifloat(5, 2)
    a, w = np.zeros((2, 3), np.uint8), np.zeros((3, 4), np.uint8)
    with pytest.raises(TypeError, match="a_codes must be a uint8 array, not int64"):
        golden.matmul(a.astype(np.int64), fmt, w, fmt)
    with pytest.raises(TypeError, match="w_codes must be a uint8 array, not list"):
        golden.matmul(a, fmt, [[1]], fmt)
    with pytest.raises(ValueError, match=r"a_codes must have 2 axes, not shape \(3,\)"):
        golden.matmul(a[0], fmt, w, fmt)
    with pytest.raises(ValueError, match=r"rows as a_codes has columns, not shape \(4, 3\)"):
        golden.matmul(a, fmt, w.T, fmt)
    with pytest.raises(ValueError, match="16"):
        golden.matmul(a + 16, fmt, w, fmt)
    top = np.full((1, 1), wide.sorted_codes[-1], np.uint8)
    with pytest.raises(ValueError, match=r"max\|a\| max\|w\| K must be below 2\^63, not \d+"):
        golden.matmul(top, wide, top, wide)
    # Products of 2^60: seven fit 63 bits, eight do not.
    fmt_60 = Minifloat(5, 0)
    tops = np.full((1, 8), fmt_60.sorted_codes[-1], np.uint8)
    assert golden.matmul(tops[:, :7], fmt_60, tops[:, :7].T, fmt_60).tolist() == [[7 << 60]]
    with pytest.raises(ValueError, match=rf"must be below 2\^63, not {1 << 63} \(K = 8\)"):
        golden.matmul(tops, fmt_60, tops.T, fmt_60)
    assert golden.matmul(a[:, :0], fmt, w[:0], fmt).tolist() == [[0] * 4] * 2


SHAPES = [
    ((2, 5, 6, 3), (3, 3), (1, 1), (1, 1)),
    ((1, 7, 4, 2), (3, 2), (2, 1), (0, 1)),
    ((3, 8, 8, 1), (1, 1), (2, 2), (0, 0)),
    ((1, 3, 9, 5), (3, 5), (1, 3), (2, 0)),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("a_fmt", [DyBit(8, False), ESB(3, 1)], ids=str)
def test_conv2d_matches_torch(a_fmt: NumberFormat, shape: tuple[tuple[int, ...], ...]) -> None:
    size, kernel, stride, padding = shape
    w_fmt = DyBit(4, True, 2)
    rng = np.random.default_rng(11)
    a = rng.choice(a_fmt.sorted_codes, size)
    w = rng.choice(w_fmt.sorted_codes, (*kernel, size[3], 6))
    got = golden.conv2d(a, a_fmt, w, w_fmt, stride, padding)
    want = torch.nn.functional.conv2d(
        torch.from_numpy(a_fmt.integers(a).astype(float)).permute(0, 3, 1, 2),
        torch.from_numpy(w_fmt.integers(w).astype(float)).permute(3, 2, 0, 1),
        stride=stride,
        padding=padding,
    )
    assert got.dtype == np.int64
    assert np.array_equal(got, want.permute(0, 2, 3, 1).numpy())


def test_conv2d_in_parts_is_conv2d(monkeypatch: pytest.MonkeyPatch) -> None:
    fmt = DyBit(4, True)
    rng = np.random.default_rng(2)
    a, w = rng.choice(fmt.sorted_codes, (7, 5, 5, 2)), rng.choice(fmt.sorted_codes, (3, 3, 2, 4))
    whole = golden.conv2d(a, fmt, w, fmt)
    monkeypatch.setattr(golden, "_CHUNK", 3 * 9 * 18)  # three images at a time
    assert np.array_equal(golden.conv2d(a, fmt, w, fmt), whole)


def test_im2col_order() -> None:
    x = np.arange(2 * 3 * 4 * 2).reshape(2, 3, 4, 2) + 1
    rows = golden.im2col(x, (2, 3), (1, 2), (1, 1))
    assert rows.shape == (2, 4, 2, 12)
    for n, oy, ox, ky, kx, c in np.ndindex(2, 4, 2, 2, 3, 2):
        y, column = oy + ky - 1, 2 * ox + kx - 1
        inside = 0 <= y < 3 and 0 <= column < 4
        assert rows[n, oy, ox, (ky * 3 + kx) * 2 + c] == (x[n, y, column, c] if inside else 0)


def test_windows_are_refused() -> None:
    fmt = DyBit(4, True)
    x = np.zeros((1, 4, 4, 2), np.uint8)
    with pytest.raises(
        ValueError, match=r"kernel must fit the padded input of 4 x 4, not \(5, 1\)"
    ):
        golden.max_pool(x, fmt, (5, 1))
    with pytest.raises(
        ValueError, match=r"stride must be at least 1 .*, not \(0, 1\) and \(0, 0\)"
    ):
        golden.window_sum(x, fmt, (2, 2), (0, 1))
    with pytest.raises(ValueError, match=r"padding must be at most half of kernel \(2, 2\), not"):
        golden.max_pool(x, fmt, (2, 2), padding=(2, 0))
    with pytest.raises(
        ValueError, match="w_codes must have 2 input channels as a_codes has, not 3"
    ):
        golden.conv2d(x, fmt, np.zeros((1, 1, 3, 4), np.uint8), fmt)
    with pytest.raises(ValueError, match=r"codes must have 4 axes, not shape \(4, 4, 2\)"):
        golden.max_pool(x[0], fmt, (2, 2))


@pytest.mark.parametrize("fmt", [DyBit(4, True), DyBit(8, False), ESB(3, 1)], ids=str)
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [((2, 2), None, (0, 0)), ((3, 3), (2, 2), (1, 1)), ((2, 3), (1, 2), (1, 0))],
)
def test_max_pool_is_by_value(
    fmt: NumberFormat,
    kernel: tuple[int, int],
    stride: tuple[int, int] | None,
    padding: tuple[int, int],
) -> None:
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 1 << fmt.bits, (2, 7, 8, 3)).astype(np.uint8)  # negative zero too
    got = golden.max_pool(codes, fmt, kernel, stride, padding)
    values = torch.from_numpy(fmt.decode(codes)).permute(0, 3, 1, 2)
    want = torch.nn.functional.max_pool2d(values, kernel, stride, padding)
    assert np.array_equal(got, fmt.encode(want.permute(0, 2, 3, 1).numpy()))


def test_average_pool_rounds_once() -> None:
    fmt, out = DyBit(8, True), DyBit(4, False)
    rng = np.random.default_rng(9)
    codes = rng.choice(fmt.sorted_codes[100:150], (2, 6, 6, 3))
    got = golden.average_pool(codes, fmt, (3, 2), (2, 2), 43691, 20, out)
    table, integers = oracle_of(out), fmt.integers(codes)
    for n, y, x, c in np.ndindex(got.shape):
        total = int(integers[n, 2 * y : 2 * y + 3, 2 * x : 2 * x + 2, c].sum())
        assert got[n, y, x, c] == slow_requantize(total, 0, 43691, 20, table, False)
    assert got.shape == (2, 2, 3, 3)
