"""fake_quantize against the NumPy codec, bit for bit, and its straight-through gradient."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from dybit.quant.formats import ESB, DyBit, Integer, Minifloat, NumberFormat, PowerOfTwo
from dybit.quant.torch import fake_quantize

FORMATS = [
    DyBit(2),
    DyBit(4),
    DyBit(4, True, 2),
    DyBit(4, False),
    DyBit(8),
    DyBit(8, False),
    DyBit(8, True, 3),
    DyBit(8, False, 1),
    ESB(4, 1),
    ESB(4, 2),
    ESB(8, 4),
    Integer(4),
    Integer(8, signed=False),
    Minifloat(4, 3),
    PowerOfTwo(4),
]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def samples(fmt: NumberFormat, dtype: torch.dtype) -> torch.Tensor:
    """Random numbers, every value and threshold of the format, their neighbours, and extremes."""
    generator = torch.Generator().manual_seed(8)
    values = torch.from_numpy(fmt.values.copy())
    edges = torch.cat([values, (values[1:] + values[:-1]) / 2]).to(dtype)
    infinity = torch.tensor(torch.inf, dtype=dtype)
    parts = [
        (torch.randn(2000, generator=generator, dtype=torch.float64) * fmt.max / 3).to(dtype),
        (torch.randn(500, generator=generator, dtype=torch.float64) * fmt.unit).to(dtype),
        edges,
        torch.nextafter(edges, infinity),
        torch.nextafter(edges, -infinity),
        torch.tensor([0.0, -0.0, torch.inf, -torch.inf], dtype=dtype),
        torch.tensor([torch.finfo(dtype).max, torch.finfo(dtype).tiny], dtype=dtype),
        -torch.tensor([torch.finfo(dtype).max, torch.finfo(dtype).tiny], dtype=dtype),
    ]
    return torch.cat(parts)


def exact(y: torch.Tensor, fmt: NumberFormat) -> torch.Tensor:
    """decode(encode(y)), through float64, which holds every dtype exactly."""
    return torch.from_numpy(fmt.decode(fmt.encode(y.double().numpy())))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_matches_the_codec(fmt: NumberFormat, dtype: torch.dtype) -> None:
    x = samples(fmt, dtype)
    got = fake_quantize(x, fmt, 1.0)
    assert got.dtype == dtype
    assert torch.equal(got, exact(x, fmt).to(dtype))
    for scale in (0.25, 0.3):
        y = x / scale
        assert torch.equal(fake_quantize(x, fmt, scale), exact(y, fmt).to(dtype) * scale)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_scale_tensors_broadcast(dtype: torch.dtype) -> None:
    fmt = DyBit(4, True, 2)
    x = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1)).to(dtype)
    scale = torch.tensor([0.5, 0.3, 0.7, 0.11, 2.0], dtype=dtype).view(5, 1)
    got = fake_quantize(x, fmt, scale)
    assert got.dtype == dtype
    for channel in range(5):
        want = fake_quantize(x[:, channel], fmt, scale[channel, 0])
        assert torch.equal(got[:, channel], want)
        y = x[:, channel] / scale[channel, 0]
        assert torch.equal(want, exact(y, fmt).to(dtype) * scale[channel, 0])
    # A scale of more precision counts in the precision computed in.
    wide = torch.from_numpy(scale.double().numpy())
    assert torch.equal(fake_quantize(x, fmt, wide), got)


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_gradient_passes_within_the_range(fmt: NumberFormat) -> None:
    for scale in (1.0, 0.25, torch.tensor(4.0)):
        low, high = float(fmt.values[0]) * float(scale), fmt.max * float(scale)
        inside = [low, high, (low + high) / 2, low + fmt.unit * float(scale)]
        outside = [low - 1e-9, np.nextafter(high, np.inf), -np.inf, np.inf]
        x = torch.tensor(inside + outside, dtype=torch.float64, requires_grad=True)
        weights = torch.arange(1.0, len(x) + 1, dtype=torch.float64)
        (fake_quantize(x, fmt, scale) * weights).sum().backward()
        assert x.grad is not None
        assert x.grad.tolist() == [1, 2, 3, 4, 0, 0, 0, 0]


def test_strided_and_empty_tensors() -> None:
    fmt = DyBit(4)
    x = torch.randn(6, 8, 4, generator=torch.Generator().manual_seed(2))
    want = fake_quantize(x, fmt, 0.5)
    assert torch.equal(fake_quantize(x.transpose(0, 2), fmt, 0.5).transpose(0, 2), want)
    last = x.view(1, 6, 8, 4).contiguous(memory_format=torch.channels_last)
    assert torch.equal(fake_quantize(last, fmt, 0.5)[0], want)
    assert fake_quantize(x[:0], fmt, 0.5).shape == (0, 8, 4)
    assert fake_quantize(x[0, 0, 0], fmt, 0.5).shape == ()


def test_refuses() -> None:
    fmt = DyBit(4)
    x = torch.ones(2, 3)
    with pytest.raises(ValueError, match="x must not contain NaN"):
        fake_quantize(torch.tensor([1.0, torch.nan]), fmt, 1.0)
    with pytest.raises(TypeError, match=r"x must be a tensor of float16, .*, not torch.int64"):
        fake_quantize(torch.ones(2, dtype=torch.int64), fmt, 1.0)
    with pytest.raises(TypeError, match=r"x must be a tensor .*, not list"):
        fake_quantize([1.0], fmt, 1.0)
    for bad in (0.0, -1.0, np.inf, np.nan, 1e-60, 1e60):
        allowed = "scale must be positive and finite in torch.float32"
        with pytest.raises(ValueError, match=re.escape(f"{allowed}, not {bad}")):
            fake_quantize(x, fmt, bad)
        tensor = torch.tensor([1.0, 1.0, bad], dtype=torch.float64)
        with pytest.raises(ValueError, match=f"{allowed}, not a tensor with others"):
            fake_quantize(x, fmt, tensor)
    assert fake_quantize(x.double() * 1e60, fmt, 1e60).eq(1e60).all()
    for other in (None, "0.5", [0.5], np.ones(3)):
        with pytest.raises(TypeError, match="scale must be a float or a tensor of floats, not "):
            fake_quantize(x, fmt, other)
    with pytest.raises(TypeError, match=r"scale must be a float or .*, not torch.int64"):
        fake_quantize(x, fmt, torch.tensor(1))
    for shape in ((2,), (1, 1, 3)):
        with pytest.raises(ValueError, match=r"scale must broadcast against x of shape \(2, 3\)"):
            fake_quantize(x, fmt, torch.ones(shape))


# torch.compile looks at it where two graphs meet, and hides the warning if it may.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_ends_a_compiled_graph_without_a_word() -> None:
    class Model(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return fake_quantize(x.relu(), DyBit(4), 0.3) * 2

    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(3), requires_grad=True)
    compiled = torch.compile(Model(), backend="eager")
    (wanted,) = torch.autograd.grad(Model()(x).sum(), x)
    (grad,) = torch.autograd.grad(compiled(x).sum(), x)
    assert torch.equal(compiled(x), Model()(x))
    assert torch.equal(grad, wanted)
    with pytest.raises(ValueError, match="x must not contain NaN"):
        compiled(x * torch.nan)
