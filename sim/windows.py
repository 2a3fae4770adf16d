"""Windows of images: where a kernel goes, and what it sees."""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pair", "im2col", "output_size"]

Pair: TypeAlias = tuple[int, int]
T = TypeVar("T", bound=np.generic)


def im2col(x: NDArray[T], kernel: Pair, stride: Pair, padding: Pair = (0, 0)) -> NDArray[T]:
    """Lay out each window of `x` as a row; padding is 0, so it suits integers rather than codes.

    Parameters
    ----------
    x : (N, H, W, C)
        Integers, or a mask of ones whose zeros then mark the padding.

    Returns
    -------
    (N, OH, OW, kh * kw * C)
        Element ``(ky * kw + kx) * C + channel`` of a row is the window's value there.
    """
    size = output_size(x.shape, kernel, stride, padding)
    down, across = padding
    padded = np.pad(x, ((0, 0), (down, down), (across, across), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, (1, 2))
    windows = windows[:, :: stride[0], :: stride[1]]
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(len(x), *size, -1)


def output_size(shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    """Return how many windows fit down and across images of `shape`, (N, H, W, C).

    Raises
    ------
    ValueError
        If none fits, or kernel, stride or padding are out of range.
    """
    if min(stride) < 1 or min(padding) < 0:
        raise ValueError(
            f"stride must be at least 1 and padding at least 0, not {stride} and {padding}"
        )
    down, across = (
        (extent + 2 * pad - window) // step + 1
        for extent, window, step, pad in zip(shape[1:3], kernel, stride, padding, strict=True)
    )
    if min(kernel) < 1 or down < 1 or across < 1:
        raise ValueError(
            f"kernel must fit the padded input of {shape[1]} x {shape[2]}, not {kernel}"
        )
    return down, across
