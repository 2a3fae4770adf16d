"""The golden model of layers that join two activation tensors, or move elements of one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dybit.quant.formats import NumberFormat
from dybit.sim.golden import Codes, Integers, matmul, requantize
from dybit.sim.windows import Pair, im2col

__all__ = ["activation_matmul", "add", "max_pool_reals", "requantize_all", "view"]


def add(
    codes: tuple[NDArray[Any], NDArray[Any]],
    formats: tuple[NumberFormat, NumberFormat],
    multipliers: Pair,
    shift: int,
    output_fmt: NumberFormat,
    relu: bool = False,
    max_code: int | None = None,
) -> Codes:
    """Encode ``(Ma a + Mb b) / 2^S``, one rounding of the exact rational.

    Parameters
    ----------
    codes : pair of uint8 arrays of one shape
    formats : pair of NumberFormat
    multipliers : pair of int
        Ma and Mb, 0 to 65535.
    shift : int
        S, 0 to 63.
    output_fmt, relu, max_code
        As in `requantize`.
    """
    if codes[0].shape != codes[1].shape:
        raise ValueError(f"codes must have one shape, not {codes[0].shape} and {codes[1].shape}")
    if not all(0 <= multiplier <= 65535 for multiplier in multipliers):
        raise ValueError(f"multipliers must be 0 to 65535, not {multipliers}")
    first, second = (
        multiplier * fmt.integers(part)
        for multiplier, fmt, part in zip(multipliers, formats, codes, strict=True)
    )
    return requantize_all(first + second, 1, shift, output_fmt, relu, max_code)


def activation_matmul(
    a_codes: NDArray[Any], a_fmt: NumberFormat, b_codes: NDArray[Any], b_fmt: NumberFormat
) -> Integers:
    """Multiply the last two axes of two tensors of codes exactly, (..., M, K) by (..., K, N)."""
    leading = a_codes.shape[:-2]
    if leading != b_codes.shape[:-2]:
        raise ValueError(f"leading axes must be equal, not {leading} and {b_codes.shape[:-2]}")
    pairs = zip(
        a_codes.reshape(-1, *a_codes.shape[-2:]),
        b_codes.reshape(-1, *b_codes.shape[-2:]),
        strict=True,
    )
    products = [matmul(a, a_fmt, b, b_fmt) for a, b in pairs]
    size = (a_codes.shape[-2], b_codes.shape[-1])
    return np.array(products, np.int64).reshape(*leading, *size)


def requantize_all(
    accumulators: Integers,
    multiplier: int,
    shift: int,
    output_fmt: NumberFormat,
    relu: bool = False,
    max_code: int | None = None,
) -> Codes:
    """Re-quantise accumulators of one multiplier and shift and without bias."""
    flat = accumulators.reshape(-1, 1)
    codes = requantize(flat, [0], [multiplier], [shift], output_fmt, relu, max_code)
    return codes.reshape(accumulators.shape)


def max_pool_reals(x: NDArray[Any], kernel: Pair, stride: Pair, padding: Pair) -> NDArray[Any]:
    """Return the largest number of each window of (N, H, W, C); padding never wins."""
    down, across = padding
    padded = np.pad(x, ((0, 0), (down, down), (across, across), (0, 0)), constant_values=-np.inf)
    windows = im2col(padded, kernel, stride)
    best: NDArray[Any] = windows.reshape(*windows.shape[:3], -1, x.shape[3]).max(axis=3)
    return best


def view(
    x: NDArray[Any], start: int, sizes: tuple[int, ...], strides: tuple[int, ...]
) -> NDArray[Any]:
    """Return a box of elements of each item of `x`, (N, ...), as (N, \\*sizes).

    Element (i, j, ...) lies ``start + i strides[0] + j strides[1] + ...`` from the item's first.
    """
    flat = np.ascontiguousarray(x).reshape(len(x), -1)
    ends = [(size - 1) * step for size, step in zip(sizes, strides, strict=True)]
    first = start + sum(end for end in ends if end < 0)
    last = start + sum(end for end in ends if end > 0)
    if first < 0 or last >= flat.shape[1]:
        raise ValueError(f"box must lie within {flat.shape[1]} elements, not {first} to {last}")
    width = flat.itemsize
    box: NDArray[Any] = np.lib.stride_tricks.as_strided(
        flat[:, start:],
        (len(flat), *sizes),
        (flat.strides[0], *(step * width for step in strides)),
        writeable=False,
    ).copy()
    return box
