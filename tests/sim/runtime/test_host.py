"""Operations of the host, as the board driver computes them, against the golden model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dybit.quant.formats import ESB, DyBit, NumberFormat
from dybit.quant.layers import Add, AvgPool2d, Layer, MatMul, MaxPool2d, QuantTensor, View
from dybit.sim import golden, joins
from dybit.sim.runtime.host import HOST_OPERATIONS, encoding, operation

FORMATS: list[NumberFormat] = [
    *(DyBit(8, True, 3), DyBit(8, False), DyBit(4, True, 2), DyBit(4, False), DyBit(2)),
    *(ESB(4, 1), ESB(4, 2), ESB(8, 4)),
]


def function(layer: Layer) -> Callable[..., np.ndarray]:
    fields = dict(operation(layer, 2))
    made: Callable[..., np.ndarray] = HOST_OPERATIONS[fields.pop("kind")](**fields)
    return made


def codes(fmt: NumberFormat, shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(fmt.sorted_codes, shape)


def largest(fmt: NumberFormat, seed: int) -> int | None:
    """Return no limit on the codes, or some code above the middle."""
    positive = fmt.sorted_codes[fmt.values >= 0]
    return (None, int(positive[len(positive) * 2 // 3]))[seed % 2]


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_encoding_at_and_around_every_change_of_code(fmt: NumberFormat, dtype: Any) -> None:
    tensor = QuantTensor(fmt, 4.0)
    fields = dict(encoding(tensor))
    encode = HOST_OPERATIONS[fields.pop("kind")](**fields)
    edges = fmt.thresholds(dtype)
    around = np.concatenate([np.nextafter(edges, dtype(s)) for s in (-np.inf, np.inf)] + [edges])
    x = np.concatenate([around, [0, -0.0, 1e9, -1e9, 1e-30]]).astype(dtype)
    assert np.array_equal(encode(x * dtype(4)), fmt.encode(x))


@pytest.mark.parametrize("seed", range(8))
def test_sums(seed: int) -> None:
    a, b, out = (FORMATS[(seed + step) % len(FORMATS)] for step in (0, 1, 2))
    out = DyBit(8, True, 2) if seed < 4 else out
    operands = (QuantTensor(a, 1 / a.max), QuantTensor(b, 0.7 / b.max))
    relu = seed % 4 < 2
    layer = Add(
        name="add",
        inputs=("a", "b"),
        operands=operands,
        output=QuantTensor(out, 1.2 / out.max),
        relu=relu,
        max_code=largest(out, seed),
    )
    x, y = codes(a, (2, 5, 5, 33), seed), codes(b, (2, 5, 5, 33), seed + 1)
    want = joins.add((x, y), (a, b), layer.multipliers, layer.shift, out, relu, largest(out, seed))
    assert np.array_equal(function(layer)(x, y), want)
    assert len(np.unique(want)) > 2


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [((2, 2), (2, 2), (0, 0)), ((3, 2), (2, 1), (1, 1)), ((1, 3), (3, 2), (0, 1))],
)
def test_pooling(fmt: NumberFormat, kernel: Any, stride: Any, padding: Any) -> None:
    tensor = QuantTensor(fmt, 0.5)
    x = codes(fmt, (2, 7, 8, 3), 4)
    window = {"kernel": kernel, "stride": stride}
    pool = MaxPool2d(name="m", inputs=("x",), input=tensor, padding=padding, **window)
    assert np.array_equal(function(pool)(x), golden.max_pool(x, fmt, kernel, stride, padding))
    real = MaxPool2d(name="m", inputs=("x",), input=None, padding=padding, **window)
    reals = np.random.default_rng(0).normal(size=x.shape)
    want = joins.max_pool_reals(reals, kernel, stride, padding)
    assert np.array_equal(function(real)(reals), want)
    mean = AvgPool2d(name="a", inputs=("x",), input=tensor, output=tensor, **window)
    want = golden.average_pool(x, fmt, kernel, stride, mean.multiplier, mean.shift, fmt)
    assert np.array_equal(function(mean)(x), want)


@pytest.mark.parametrize("seed", range(4))
def test_products(seed: int) -> None:
    a, b, out = DyBit(8, True, 2), DyBit(4, False), DyBit(8, seed < 2, 3)
    operands = (QuantTensor(a, 1 / a.max), QuantTensor(b, 1 / b.max))
    output = QuantTensor(out, 2 / out.max)
    limit = largest(out, seed)
    layer = MatMul(
        name="p",
        inputs=("a", "b"),
        operands=operands,
        output=output,
        relu=seed % 2 > 0,
        max_code=limit,
    )
    x, y = codes(a, (2, 3, 4, 9), seed), codes(b, (2, 3, 9, 5), seed + 1)
    sums = joins.activation_matmul(x, a, y, b)
    want = joins.requantize_all(sums, layer.multiplier, layer.shift, out, seed % 2 > 0, limit)
    assert np.array_equal(function(layer)(x, y), want)
    raw = MatMul(name="p", inputs=("a", "b"), operands=operands)
    assert np.array_equal(function(raw)(x, y), sums * raw.accumulator_scale)


def test_views() -> None:
    x = np.arange(2 * 24).reshape(2, 4, 6)
    box = {"start": 23, "sizes": (2, 3, 2), "strides": (-12, -2, -1), "shape": (3, 4)}
    layer = View(name="v", inputs=("x",), input=None, **box)
    want = joins.view(x, 23, (2, 3, 2), (-12, -2, -1)).reshape(2, 3, 4)
    assert np.array_equal(function(layer)(x), want)
