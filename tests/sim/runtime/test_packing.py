"""Bytes in memory, typed by hand from the contract of the memory formats."""

from __future__ import annotations

import numpy as np
import pytest

from dybit.quant.array_config import ArrayConfig
from dybit.quant.precision import PrecisionMode
from dybit.sim.runtime import packing
from dybit.sim.runtime.packing import Blocks, block_walk, pack, pixel_bytes, unpack


def array(rows: int, columns: int) -> ArrayConfig:
    fields = {"max_reduction": 64, "accumulator_depth": 64}
    modes = ["W8A8", "W8A4", "W4A8", "W4A4", "W2A4", "W4A2", "W2A2"]
    return ArrayConfig(rows=rows, columns=columns, modes=modes, **fields)


def test_pixels_of_4_bits() -> None:
    codes = np.array([[1, 2, 3, 4, 5], [10, 11, 12, 13, 14]], np.uint8)
    packed = pack(codes, 4, 4)
    assert packed.tolist() == [[0x21, 0x43, 0x05, 0], [0xBA, 0xDC, 0x0E, 0]]
    assert np.array_equal(unpack(packed, 4, 5), codes)


def test_pixels_of_2_bits_and_of_8() -> None:
    assert pack(np.array([[1, 2, 3, 0, 2]], np.uint8), 2, 4).tolist() == [[0b00111001, 2, 0, 0]]
    assert pack(np.array([[200, 7]], np.uint8), 8, 4).tolist() == [[200, 7, 0, 0]]
    assert unpack(np.array([[0b00111001, 2]], np.uint8), 2, 5).tolist() == [[1, 2, 3, 0, 2]]


def test_accumulators_have_signs() -> None:
    raw = np.array([[0xFE, 0xFF, 0xFF, 0xFF, 5, 0, 0, 0]], np.uint8)
    assert unpack(raw, 32, 2).tolist() == [[-2, 5]]
    assert unpack(raw, 32, 1).tolist() == [[-2]]
    assert unpack(raw, 64, 1).tolist() == [[0x5_FFFF_FFFE]]


@pytest.mark.parametrize(
    ("channels", "bits", "rows", "want"),
    [(1, 8, 4, 4), (4, 8, 4, 4), (5, 8, 4, 8), (8, 4, 4, 4), (9, 4, 4, 8), (17, 2, 4, 8)],
)
def test_pixels_are_whole_words(channels: int, bits: int, rows: int, want: int) -> None:
    assert pixel_bytes(channels, bits, rows) == want


def test_weights_of_bytes() -> None:
    # W8A8, 4 x 4: a byte is one weight. 1 x 2 kernel, 5 channels, 1 output: column 0 alone.
    codes = np.arange(10, 20, dtype=np.uint8).reshape(1, 2, 5, 1)
    blob = packing.weights(array(4, 4), PrecisionMode(8, 8), codes)
    column = blob.reshape(-1, 4)
    assert column[:, 1:].any() == np.False_
    # Per kernel position two words of four rows, the bottom row first.
    assert column[:, 0].tolist() == [13, 12, 11, 10, 0, 0, 0, 14, 18, 17, 16, 15, 0, 0, 0, 19]


def test_weights_of_lanes_and_channels() -> None:
    # W4A4, 4 x 4: two channels a byte of activations, two output channels (lanes) a column:
    # output n sits in column n % 4, lane n // 4; channel k in row k // 2, byte k % 2 of a column.
    codes = np.zeros((1, 1, 8, 8), np.uint8)
    codes[0, 0, 7, 6] = 5  # the bottom row's second channel, column 2, lane 1
    codes[0, 0, 7, 2] = 3  # the same place, lane 0
    codes[0, 0, 0, 3] = 9  # the top row's first channel, column 3, lane 0
    blob = packing.weights(array(4, 4), PrecisionMode(4, 4), codes)
    rows = blob.reshape(4, 4, 2)
    want = np.zeros((4, 4, 2), int)
    want[0, 2, 1] = 5 << 4 | 3
    want[3, 3, 0] = 9
    assert rows.tolist() == want.tolist()


def test_column_tiles_follow_each_other() -> None:
    # W8A8, 4 x 4, five outputs of one channel: the fifth is column 0 of the second tile.
    codes = np.array([1, 2, 3, 4, 5], np.uint8).reshape(1, 1, 1, 5)
    rows = packing.weights(array(4, 4), PrecisionMode(8, 8), codes).reshape(2, 4, 4)
    assert rows[:, :3].any() == np.False_
    assert rows[:, 3].tolist() == [[1, 2, 3, 4], [5, 0, 0, 0]]


def test_groups_walk_over_their_own_words() -> None:
    # Depthwise over 8 channels on 4 x 4 in W8A8: each column tile has a word of its own.
    built, mode = array(4, 4), PrecisionMode(8, 8)
    assert block_walk(built, mode, 8, 8, 8) == Blocks(1, 1)
    codes = np.arange(1, 9, dtype=np.uint8).reshape(1, 1, 1, 8)
    rows = packing.weights(built, mode, codes, groups=8).reshape(2, 4, 4)
    assert rows[0].tolist() == np.fliplr(np.diag([4, 3, 2, 1])).tolist()
    assert rows[1].tolist() == np.fliplr(np.diag([8, 7, 6, 5])).tolist()


@pytest.mark.parametrize(
    ("mode", "channels", "outputs", "groups", "want"),
    [
        ((8, 8), 12, 12, 1, (3, 0)),
        ((8, 8), 12, 12, 3, (1, 1)),
        ((8, 8), 12, 24, 3, (3, 0)),  # two column tiles a word: no step takes half a word
        ((8, 8), 24, 12, 3, (2, 2)),
        ((8, 8), 16, 16, 2, (4, 0)),  # words 0, 0, 2, 2 come first, which no step gives
        ((4, 8), 16, 16, 16, (2, 2)),
        ((8, 4), 16, 16, 16, (2, 0)),
    ],
)
def test_words_a_column_tile_takes(
    mode: tuple[int, int], channels: int, outputs: int, groups: int, want: tuple[int, int]
) -> None:
    walk = block_walk(array(4, 4), PrecisionMode(*mode), channels, outputs, groups)
    assert (walk.count, walk.step) == want


def test_depthwise_weights() -> None:
    # 1 x 2 kernel, 5 channels, 4 columns, W4A4: two bytes a column, the second never used.
    codes = np.arange(1, 11, dtype=np.uint8).reshape(1, 2, 5)
    rows = packing.depthwise_weights(array(4, 4), PrecisionMode(4, 4), codes).reshape(4, 4, 2)
    assert rows[..., 1].any() == np.False_
    assert rows[..., 0].tolist() == [[1, 2, 3, 4], [6, 7, 8, 9], [5, 0, 0, 0], [10, 0, 0, 0]]


def test_parameters() -> None:
    blob = packing.parameters(array(4, 4), [-2, 1], [0x1234, 65535], [63, 0], 1)
    rows = blob.reshape(4, 16)
    assert rows[0].tolist() == [0xFE, *[0xFF] * 5, 0x34, 0x12, 63, *[0] * 7]
    assert rows[1].tolist() == [1, *[0] * 5, 0xFF, 0xFF, 0, *[0] * 7]
    assert not rows[2:].any()
