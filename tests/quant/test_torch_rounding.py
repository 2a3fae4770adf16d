"""Every way to round a tensor against the NumPy codec: bit for bit, all formats, dense samples.

Both encodings are monotone in the number, so what matters is where the code changes: around each
value and each midpoint every float for some fifty places on both sides is tried, besides every
bfloat16 pattern, which visits every binade, both infinities and both zeros, and random patterns.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
import torch

from dybit.quant.formats import (
    ESB,
    DyBit,
    Flint,
    Integer,
    Minifloat,
    NormalFloat,
    NumberFormat,
    Posit,
    PowerOfTwo,
)
from dybit.quant.torch import fake_quantize
from dybit.quant.torch.kernel import THREAD_ELEMENTS, kernel, without_kernel
from dybit.quant.torch.rounding import BLOCK
from dybit.quant.torch.steps import steps_of

SEED = 17
REACH = 50
INTEGER = {np.dtype(np.float32): np.int32, np.dtype(np.float64): np.int64}
FLOATS = [np.float32, np.float64]
Array = npt.NDArray[np.floating]


def members() -> Iterator[NumberFormat]:
    """Every format of every family."""
    for bits in range(2, 9):
        for signed in (True, False):
            size = bits - signed
            yield from (DyBit(bits, signed, limit) for limit in range(1, size + 1))
            yield Integer(bits, signed)
            yield Flint(bits, signed)
            if size <= 4:
                yield PowerOfTwo(bits, signed)
        yield from (ESB(bits, k) for k in range(max(0, bits - 5), bits - 1))
        yield from (Posit(bits, es) for es in range(3))
    for exponent_bits in range(1, 6):
        yield from (Minifloat(exponent_bits, mantissa) for mantissa in range(8 - exponent_bits))
    yield NormalFloat(4)


ALL = list(members())
SOME = [
    *(DyBit(4), DyBit(8, False), DyBit(8, True, 3), DyBit(4, False, 1), Integer(4)),
    *(ESB(4, 2), ESB(5, 0), Minifloat(4, 3), PowerOfTwo(4, False), Posit(8, 1), NormalFloat(4)),
]
TABLES = [*(Posit(bits, es) for bits in range(3, 9) for es in (1, 2)), NormalFloat(4)]
"""Formats whose values are no steps."""

SHAPES = [
    ((4, 6, 250), (6, 1)),  # channels amid
    ((6, 1000), (6, 1)),  # outermost
    ((1000, 6), (6,)),  # innermost
    ((3, 2, 500), (3, 2, 1)),  # groups of channels
    ((4, 6, 250), (4, 1, 250)),  # an axis between that is shared
    ((500, 7), (500, 7)),  # one for each element
    ((700,), ()),
]
"""Shapes of a tensor and its scale."""


@pytest.fixture(params=["kernel", "torch"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "kernel" and kernel() is None:
        request.getfixturevalue("debian_tool")("g++")
    with without_kernel() if request.param == "torch" else nullcontext():
        yield request.param


def neighbourhood(points: Array) -> Array:
    """The floats up to `REACH` places from each point."""
    integer = INTEGER[points.dtype]
    patterns = (np.abs(points) + points.dtype.type(0)).view(integer)
    near = np.maximum(patterns[:, None] + np.arange(-REACH, REACH + 1, dtype=integer), 0)
    magnitudes = np.minimum(near, np.array(np.inf, points.dtype).view(integer)).view(points.dtype)
    return np.concatenate([magnitudes.ravel(), -magnitudes.ravel()])


def samples(fmt: NumberFormat, dtype: npt.DTypeLike) -> Array:
    """Numbers that tell two ways to round apart; `SEED` made the random ones."""
    values = fmt.values
    points = np.concatenate([values, (values[1:] + values[:-1]) / 2]).astype(dtype)
    bfloats = (np.arange(1 << 16, dtype=np.uint32) << 16).view(np.float32)
    random = np.random.default_rng(SEED).integers(0, 1 << 32, 20_000, np.uint32).view(np.float32)
    with np.errstate(invalid="ignore"):
        patterns = np.concatenate([bfloats, random])
        patterns = patterns[~np.isnan(patterns)].astype(dtype)
    return np.concatenate([neighbourhood(points), patterns])


def codec(x: Array, fmt: NumberFormat, scale: npt.ArrayLike) -> Array:
    """What `fake_quantize` is said to return, by NumPy in the type of `x`."""
    factor = np.asarray(scale, dtype=x.dtype)
    with np.errstate(over="ignore"):
        return fmt.decode(fmt.encode(x / factor)).astype(x.dtype) * factor


def assert_same_bits(got: torch.Tensor, wanted: Array, x: Array) -> None:
    bits = INTEGER[wanted.dtype]
    wrong = got.contiguous().numpy().view(bits) != wanted.view(bits)
    assert not wrong.any(), f"{x[wrong][:5]} gave {got.numpy()[wrong][:5]}, not {wanted[wrong][:5]}"


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("fmt", ALL, ids=str)
def test_every_format_rounds_as_its_codec(
    fmt: NumberFormat, dtype: type[np.floating], engine: str
) -> None:
    x = samples(fmt, dtype)
    assert_same_bits(fake_quantize(torch.from_numpy(x), fmt, 1.0), codec(x, fmt, 1.0), x)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shapes: f"{shapes[0]} by {shapes[1]}")
@pytest.mark.parametrize("fmt", SOME, ids=str)
def test_scales_of_any_shape(
    fmt: NumberFormat, shape: tuple[tuple[int, ...], tuple[int, ...]], engine: str
) -> None:
    random = np.random.default_rng(SEED)
    for dtype in FLOATS:
        factor = np.asarray(np.exp(random.uniform(-3, 3, shape[1])), dtype)
        # Multiples of each scale, so that quotients fall on and next to the thresholds.
        numbers = random.choice(samples(fmt, dtype), shape[0])
        with np.errstate(over="ignore"):
            x = np.asarray(numbers * factor)
        got = fake_quantize(torch.from_numpy(x), fmt, torch.from_numpy(factor))
        assert_same_bits(got, codec(x, fmt, factor), x)
        spread = torch.from_numpy(factor)[..., None].expand(*shape[1], 2).contiguous()[..., 0]
        assert torch.equal(fake_quantize(torch.from_numpy(x), fmt, spread), got)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("fmt", SOME, ids=str)
def test_every_half_precision_number(fmt: NumberFormat, dtype: torch.dtype) -> None:
    x = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(dtype)
    x = x[~x.isnan()]
    factor = np.float32(0.3)
    with np.errstate(over="ignore"):
        y = torch.from_numpy(x.float().numpy() / factor).to(dtype)
    values = fmt.decode(fmt.encode(y.float().numpy())).astype(np.float32)
    wanted = torch.from_numpy(values * factor).to(dtype)
    x.requires_grad_()
    got = fake_quantize(x, fmt, 0.3)
    assert torch.equal(got.view(torch.int16), wanted.view(torch.int16))
    got.sum().backward()
    inside = (y.double() >= fmt.values[0]) & (y.double() <= fmt.max)
    assert x.grad is not None
    assert torch.equal(x.grad, inside.to(dtype))


@pytest.mark.parametrize("fmt", SOME, ids=str)
def test_the_gradient_passes_within_the_range(fmt: NumberFormat, engine: str) -> None:
    random = np.random.default_rng(SEED)
    low, high = fmt.values[0], fmt.values[-1]
    for dtype in FLOATS:
        ends = neighbourhood(np.array([low, high], dtype))
        numbers = np.concatenate([ends, random.uniform(2 * low, 2 * high, 500).astype(dtype)])
        numbers = np.concatenate([numbers, np.array([np.inf, -np.inf, 0.0, -0.0], dtype)])
        grad = random.standard_normal(len(numbers)).astype(dtype)
        grad[::50] = np.inf
        for scale in (1.0, 0.3, np.exp(random.uniform(-1, 1, len(numbers))).astype(dtype)):
            factor = np.asarray(scale, dtype)
            x = torch.from_numpy(numbers * factor).requires_grad_()
            fake_quantize(x, fmt, torch.from_numpy(factor)).backward(torch.from_numpy(grad))
            y = x.detach().numpy() / factor
            assert x.grad is not None
            wanted = np.where((y >= low) & (y <= high), grad, 0)
            np.testing.assert_array_equal(x.grad.numpy(), wanted)


def test_the_gradient_has_the_layout_and_the_gradient_of_its_own(engine: str) -> None:
    generator = torch.Generator().manual_seed(SEED)
    fmt, scale = Integer(4), torch.tensor([0.1, 0.3, 0.5]).view(3, 1, 1)
    x = torch.randn(2, 3, 4, 5, generator=generator)
    inside = ((x / scale).abs() <= 7).float()
    for laid in (x, x.to(memory_format=torch.channels_last), x.transpose(0, 3).clone()):
        back = laid.shape == x.shape
        z = (laid if back else laid.transpose(0, 3)).detach().requires_grad_()
        out = fake_quantize(z, fmt, scale)
        assert out.stride() == z.stride()
        (grad,) = torch.autograd.grad(out.square().sum(), z, create_graph=True)
        torch.testing.assert_close(grad, 2 * out * inside, rtol=0, atol=0)
        # out.square() has the second derivative 2 through `out` as through `grad`.
        (second,) = torch.autograd.grad(grad.sum(), z)
        assert torch.equal(second, 2 * inside)


@pytest.mark.parametrize("fmt", [DyBit(4), ESB(4, 2), Posit(8, 1), NormalFloat(4)], ids=str)
def test_nan_is_refused_wherever_it_stands(fmt: NumberFormat, engine: str) -> None:
    for size in (1, 3, 16, 33, 2 * BLOCK + 5):
        for place in {0, size // 2, size - 1}:
            for dtype in (torch.float32, torch.float64, torch.float16):
                x = torch.ones(size, dtype=dtype)
                x[place] = torch.nan
                with pytest.raises(ValueError, match=r"^x must not contain NaN$"):
                    fake_quantize(x, fmt, 0.5)
        # Infinities of both signs, whose sum would be none.
        x[place] = torch.inf
        x[0] = -torch.inf
        assert fake_quantize(x, fmt, 0.5).isfinite().all()


@pytest.mark.parametrize("shape", [(1, 1), (700, 1), (1, 3_000), (2, 3_000)], ids=str)
def test_threads_and_blocks_leave_no_seam(shape: tuple[int, int], engine: str) -> None:
    fmt, count = DyBit(4), 3 * THREAD_ELEMENTS + 13_000
    generator = torch.Generator().manual_seed(SEED)
    rows, columns = shape
    x = torch.randn(rows, count // rows // columns * columns, generator=generator)
    x = x.view(rows, -1, columns)
    scale = torch.rand(rows, 1, columns, generator=generator) + 0.1
    wanted = codec(x.numpy(), fmt, scale.numpy())
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            z = x.clone().requires_grad_()
            got = fake_quantize(z, fmt, scale)
            got.sum().backward()
            assert_same_bits(got.detach(), wanted, x.numpy())
            assert z.grad is not None
            assert torch.equal(z.grad, ((x / scale).abs() <= 4).float())
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_all_but_tables_are_steps(dtype: torch.dtype) -> None:
    assert [fmt for fmt in ALL if steps_of(fmt, dtype) is None] == TABLES


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_rounds_to_the_same_bits() -> None:
    for fmt, dtype, scale in product(ALL, FLOATS, (1.0, 0.3)):
        with np.errstate(over="ignore"):
            x = samples(fmt, dtype) * dtype(scale)
        z = torch.from_numpy(x).cuda().requires_grad_()
        got = fake_quantize(z, fmt, scale)
        assert_same_bits(got.detach().cpu(), codec(x, fmt, scale), x)
        got.sum().backward()
        y = x / dtype(scale)
        assert z.grad is not None
        inside = (y >= fmt.values[0]) & (y <= fmt.max)
        np.testing.assert_array_equal(z.grad.cpu().numpy(), inside)
