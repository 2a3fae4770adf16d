"""Blobs: weights and re-quantisation as the accelerator reads them from memory.

Output channels are lane-major: a column tile t is C columns of L lanes each, and its channel
``t C L + l C + c`` is lane l of column c.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dybit.quant.array_config import ArrayConfig
from dybit.quant.precision import PrecisionMode
from dybit.sim.board_driver import pack, unpack

__all__ = [
    "PARAMETER_BYTES",
    "Blocks",
    "block_walk",
    "depthwise_weights",
    "pack",
    "parameters",
    "pixel_bytes",
    "unpack",
    "weights",
]

PARAMETER_BYTES = 16
"""Bytes of one channel's bias (6), multiplier (2), shift (1) and nothing (7)."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Blocks:
    """The words of a pixel that each column tile multiplies.

    Attributes
    ----------
    count : int
        Words a column tile takes.
    step : int
        From one column tile's first word to the next one's.
    """

    count: int
    step: int


def pixel_bytes(channels: int, bits: int, rows: int) -> int:
    """Return the bytes of a pixel in memory: whole words of `rows` bytes."""
    return -(-channels * bits // (8 * rows)) * rows


def block_walk(
    array: ArrayConfig, mode: PrecisionMode, channels: int, outputs: int, groups: int
) -> Blocks:
    """Return the fewest words a column tile needs, so that it sees all its groups' channels.

    Parameters
    ----------
    channels, outputs, groups : int
        Of the convolution, all groups together.
    """
    word, tile = array.rows * mode.channels, array.columns * mode.lanes
    return _block_walk(word, tile, channels, outputs, groups)


@lru_cache(maxsize=1024)
def _block_walk(word: int, tile: int, channels: int, outputs: int, groups: int) -> Blocks:
    """Do so for `word` channels in a word and `tile` outputs in a column tile."""
    blocks, tiles = -(-channels // word), -(-outputs // tile)
    inputs_each, outputs_each = channels // groups, outputs // groups
    firsts, ends = [], []
    for first in range(0, outputs, tile):
        last = min(first + tile, outputs) - 1
        firsts.append(first // outputs_each * inputs_each // word)
        ends.append(-(-(last // outputs_each + 1) * inputs_each // word))
    walks = []
    for step in range(blocks):
        count = max(end - step * t for t, end in enumerate(ends))
        fits = (tiles - 1) * step + count <= blocks
        if fits and all(step * t <= first for t, first in enumerate(firsts)):
            walks.append(Blocks(count, step))
    return min(walks, key=lambda walk: walk.count)


def weights(
    array: ArrayConfig,
    mode: PrecisionMode,
    codes: Bytes,
    groups: int = 1,
    blocks: Blocks | None = None,
) -> Bytes:
    """Return the weights of a convolution as the array reads them.

    Column tile by column tile, kernel position by position, word by word: R rows, the bottom one
    first, of a byte for each column and each channel of an activation byte, its lanes in it.

    Parameters
    ----------
    codes : ndarray of uint8, shape (kh, kw, channels of a group, outputs)
    groups : int
        Weights between groups are code 0.
    blocks : Blocks, optional
        What `block_walk` gives, by default.
    """
    kernel_h, kernel_w, inputs, outputs = codes.shape
    walk = blocks or block_walk(array, mode, inputs * groups, outputs, groups)
    word, tile = array.rows * mode.channels, array.columns * mode.lanes
    outputs_each = outputs // groups
    blobs = []
    for index, first in enumerate(range(0, outputs, tile)):
        low = index * walk.step * word
        slab = np.zeros((kernel_h, kernel_w, walk.count * word, tile), np.uint8)
        for group in range(first // outputs_each, -(-min(first + tile, outputs) // outputs_each)):
            here = slice(
                max(first, group * outputs_each), min(first + tile, (group + 1) * outputs_each)
            )
            rows = slice(group * inputs - low, (group + 1) * inputs - low)
            slab[:, :, rows, here.start - first : here.stop - first] = codes[..., here]
        cut = slab.reshape(
            *(kernel_h, kernel_w, walk.count, array.rows, mode.channels),
            *(mode.lanes, array.columns),
        )
        # (ky, kx, block, row, column, channel of the byte, lane), the bottom row first.
        rows_first = cut[:, :, :, ::-1].transpose(0, 1, 2, 3, 6, 4, 5)
        blobs.append(_join(rows_first, mode.weight_bits).reshape(-1))
    return np.concatenate(blobs)


def depthwise_weights(array: ArrayConfig, mode: PrecisionMode, codes: Bytes) -> Bytes:
    """Return the weights of a depthwise convolution, (kh, kw, channels), as its unit reads them.

    Group of C channels by group, kernel position by position: a row as the array's, a code in
    lane 0 of each column's first byte.
    """
    kernel_h, kernel_w, channels = codes.shape
    groups = -(-channels // array.columns)
    padded = np.zeros((kernel_h, kernel_w, groups * array.columns), np.uint8)
    padded[..., :channels] = codes
    rows = np.zeros((groups, kernel_h, kernel_w, array.columns, mode.channels), np.uint8)
    rows[..., 0] = padded.reshape(kernel_h, kernel_w, groups, -1).transpose(2, 0, 1, 3)
    return rows.reshape(-1)


def parameters(
    array: ArrayConfig, bias: ArrayLike, multiplier: ArrayLike, shift: ArrayLike, groups: int
) -> Bytes:
    """Return the re-quantisation of `groups` groups of C channels, zeros where there are none."""
    table = np.zeros((groups * array.columns, PARAMETER_BYTES), np.uint8)
    for values, place in ((bias, slice(0, 6)), (multiplier, slice(6, 8)), (shift, slice(8, 9))):
        raw = np.ascontiguousarray(values, "<i8").view(np.uint8).reshape(-1, 8)
        table[: len(raw), place] = raw[:, : place.stop - place.start]
    return table.reshape(-1)


def _join(codes: Bytes, bits: int) -> Bytes:
    """Pack the last axis into one byte, element 0 in the least significant bits."""
    joined = np.zeros(codes.shape[:-1], np.uint8)
    for place in range(codes.shape[-1]):
        joined |= codes[..., place] << np.uint8(bits * place)
    return joined
