"""One tile by the golden model: from bytes in memory to bytes in memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dybit.quant.array_config import ArrayConfig
from dybit.quant.formats import DyBit, NumberFormat
from dybit.quant.precision import MODES, PrecisionMode
from dybit.sim import golden
from dybit.sim.board_driver import Fields, pack, unpack
from dybit.sim.runtime.engine_layer import Hardware
from dybit.sim.runtime.memory import Memory
from dybit.sim.runtime.packing import PARAMETER_BYTES

__all__ = ["compute_tile"]

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]


def compute_tile(fields: Fields, memory: Memory, hardware: Hardware) -> None:
    """Carry out a legal descriptor."""
    array, mode = hardware.array, MODES[fields["mode"]]
    pixels = _load(fields, mode, memory, array)
    if fields["kind"] == 1:
        sums = _depthwise(fields, mode, pixels, memory, array)
    else:
        sums = _convolve(fields, mode, pixels, memory, array)
    _store(fields, _drain(fields, sums, memory, array), memory, array)


def _load(fields: Fields, mode: PrecisionMode, memory: Memory, array: ArrayConfig) -> Integers:
    """Return the integers of the input, (height, width, channels), zeros all around included.

    The result has just the lines and pixels that windows look at.
    """
    size = fields["input_row_words"] * array.rows
    rows = [
        memory.read(fields["input_address"] + row * fields["input_row_stride"], size)
        for row in range(fields["input_rows"])
    ]
    height, width = fields["input_height"], fields["input_width"]
    pixels = np.concatenate(rows).reshape(height * width, -1)
    channels = pixels.shape[1] * mode.channels
    fmt = _operand(fields, mode, array)
    integers = fmt.integers(unpack(pixels, mode.activation_bits, channels))
    integers[:, channels - array.rows * mode.channels + fields["tail"] :] = 0
    image = integers.reshape(height, width, channels)
    top, left = fields["pad_top"], fields["pad_left"]
    needed = [
        (fields[f"output_{axis}"] - 1) * fields[f"stride_{step}"] + fields[f"kernel_{side}"]
        for axis, step, side in (("height", "y", "height"), ("width_pixels", "x", "width"))
    ]
    below, right = max(0, needed[0] - top - height), max(0, needed[1] - left - width)
    padded = np.pad(image, ((top, below), (left, right), (0, 0)))
    return padded[: needed[0], : needed[1]]


def _operand(fields: Fields, mode: PrecisionMode, array: ArrayConfig) -> NumberFormat:
    signed = bool(fields["input_signed"])
    bits = mode.activation_bits
    return array.activation_format(bits, signed, _limit(fields["input_limit"], bits - signed))


def _limit(limit: int, magnitude_bits: int) -> int:
    return min(max(limit, 1), magnitude_bits)


def _weights(fields: Fields, mode: PrecisionMode, codes: Bytes, array: ArrayConfig) -> Integers:
    fmt = array.weight_format(
        mode.weight_bits, _limit(fields["weight_limit"], mode.weight_bits - 1)
    )
    return fmt.integers(codes)


def _convolve(
    fields: Fields, mode: PrecisionMode, image: Integers, memory: Memory, array: ArrayConfig
) -> Integers:
    """Return sums (pixels, groups, C)."""
    kernel = fields["kernel_height"], fields["kernel_width"]
    tiles, count, step = (fields[n] for n in ("column_tiles", "block_count", "block_step"))
    word = array.rows * mode.channels
    shape = (tiles, *kernel, count, array.rows, array.columns * mode.channels)
    blob = memory.read(fields["weights_address"], int(np.prod(shape))).reshape(shape)
    lanes = unpack(blob[:, :, :, :, ::-1].reshape(-1, 1), mode.weight_bits, mode.lanes)
    # (tile, ky, kx, block, row, column, channel of the byte, lane), the top row first again.
    codes = lanes.reshape(*shape[:5], array.columns, mode.channels, mode.lanes)
    order = codes.transpose(0, 1, 2, 3, 4, 6, 7, 5)
    matrices = _weights(fields, mode, order, array).reshape(
        tiles, kernel[0] * kernel[1] * count * word, -1
    )
    stride = fields["stride_y"], fields["stride_x"]
    if step == 0:
        # All column tiles see the same words: one product does.
        every = matrices.transpose(1, 0, 2).reshape(matrices.shape[1], -1)
        rows = golden.im2col(image[None, :, :, : count * word], kernel, stride)
        sums = golden.product(rows.reshape(-1, rows.shape[-1]), every)
    else:
        parts = []
        for tile, matrix in enumerate(matrices):
            words = image[None, :, :, tile * step * word : (tile * step + count) * word]
            rows = golden.im2col(words, kernel, stride)
            parts.append(golden.product(rows.reshape(-1, rows.shape[-1]), matrix))
        sums = np.concatenate(parts, axis=1)
    return sums.reshape(len(sums), -1, array.columns)


def _depthwise(
    fields: Fields, mode: PrecisionMode, image: Integers, memory: Memory, array: ArrayConfig
) -> Integers:
    """Return sums (pixels, groups, C)."""
    kernel = fields["kernel_height"], fields["kernel_width"]
    groups = fields["column_tiles"]
    shape = (groups, *kernel, array.columns, mode.channels)
    blob = memory.read(fields["weights_address"], int(np.prod(shape))).reshape(shape)
    codes = blob[..., 0] & np.uint8((1 << mode.weight_bits) - 1)
    weights = _weights(fields, mode, codes, array).transpose(1, 2, 0, 3)
    taps = weights.reshape(*kernel, groups * array.columns)
    height, width = fields["output_height"], fields["output_width_pixels"]
    sums = np.zeros((height, width, groups * array.columns), np.int64)
    for y in range(kernel[0]):
        for x in range(kernel[1]):
            seen = image[y :: fields["stride_y"], x :: fields["stride_x"]][:height, :width]
            sums += seen[:, :, : sums.shape[2]] * taps[y, x]
    return sums.reshape(height * width, groups, array.columns)


def _drain(fields: Fields, sums: Integers, memory: Memory, array: ArrayConfig) -> Bytes:
    """Return the output memory: pixels of `output_pitch` words of C bytes."""
    columns = array.columns
    pixels, groups, _ = sums.shape
    written = min(groups, fields["output_groups"])
    output = np.zeros((pixels, fields["output_pitch"] * columns), np.uint8)
    size = groups * columns * PARAMETER_BYTES
    table = memory.read(fields["parameters_address"], size).reshape(-1, PARAMETER_BYTES)
    flat = sums[:, :written].reshape(pixels, -1)
    if fields["raw"]:
        raw = flat.astype(f"<i{4 * fields['raw']}").view(np.uint8)
        output[:, : raw.shape[1]] = raw
        return output
    bits, signed = 2 << fields["output_width"], bool(fields["output_signed"])
    fmt = array.activation_format(bits, signed, 1)
    if isinstance(fmt, DyBit):
        fmt = DyBit(bits, signed, _limit(fields["output_limit"], bits - signed))
    used = table[: flat.shape[1]]
    codes = golden.requantize(
        flat,
        _integers(used[:, :6], signed=True),
        _integers(used[:, 6:8]),
        _integers(used[:, 8:9]) & 63,
        fmt,
        bool(fields["relu"]),
        min(fields["max_code"], (1 << bits - fmt.signed) - 1),
    )
    output[:, : flat.shape[1] * bits // 8] = pack(codes, bits, flat.shape[1] * bits // 8)
    return output


def _integers(raw: Bytes, signed: bool = False) -> Integers:
    """Return little-endian integers of any number of bytes."""
    wide = np.zeros((len(raw), 8), np.uint8)
    wide[:, 8 - raw.shape[1] :] = raw
    spare = 64 - 8 * raw.shape[1]
    top = wide.view("<i8" if signed else "<u8")[:, 0]
    integers: Integers = (top >> np.array(spare, top.dtype)).astype(np.int64)
    return integers


def _store(fields: Fields, output: Bytes, memory: Memory, array: ArrayConfig) -> None:
    rows = output.reshape(fields["output_rows"], fields["output_row_words"] * array.columns)
    for index, row in enumerate(rows[:, : fields["output_row_bytes"]]):
        memory.write(fields["output_address"] + index * fields["output_row_stride"], row)
