"""Convolutions as descriptors and memory, and what memory must hold afterwards."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dybit.quant.accelerator_config import AcceleratorConfig
from dybit.quant.array_config import ArrayConfig
from dybit.quant.formats import DyBit
from dybit.quant.precision import MODES, PrecisionMode
from dybit.sim import golden
from tests.hw.descriptors import broken_rules, pack

__all__ = ["TileJob", "draw_job", "in_rows", "list_of"]

PAGE = 1 << 16
"""Addresses of a job's buffers are this far apart."""


@dataclass
class TileJob:
    """A descriptor, the memory it reads and the bytes it must write.

    Attributes
    ----------
    fields : dict of str to int
    inputs, outputs : dict of int to bytes
        Memory by address, before and after.
    """

    fields: dict[str, int]
    inputs: dict[int, bytes] = field(default_factory=dict)
    outputs: dict[int, bytes] = field(default_factory=dict)


def list_of(jobs: list[TileJob]) -> bytes:
    """Return the list of the jobs' descriptors."""
    parts = []
    for index, job in enumerate(jobs):
        fields = job.fields | {"last": int(index == len(jobs) - 1)}
        parts.append(pack(fields).to_bytes(128, "little"))
    return b"".join(parts)


def in_rows(job: TileJob, rows: int, gap: int) -> TileJob:
    """Return a layer that stores everything in one row with so many instead, of equal size.

    Parameters
    ----------
    job
    rows
        A divisor of the output's pixels.
    gap
        Bytes from a row's end to the next one; a multiple of R.
    """
    f = job.fields
    ((address, content),) = job.outputs.items()
    size = len(content) // rows
    fields = f | {
        "output_rows": rows,
        "output_row_bytes": size,
        "output_row_stride": size + gap,
        "output_row_words": f["output_row_words"] // rows,
    }
    parts = {address + i * (size + gap): content[i * size : (i + 1) * size] for i in range(rows)}
    return TileJob(fields, job.inputs, parts)


def draw_job(
    rng: random.Random,
    array: ArrayConfig,
    accelerator: AcceleratorConfig,
    base: int,
    depthwise: bool = False,
) -> TileJob:
    """Return a random layer that is one tile, its buffers at `base` and after."""
    while True:
        job = _draw(rng, array, base, depthwise)
        if not broken_rules(job.fields, array, accelerator):
            return job


def _draw(rng: random.Random, array: ArrayConfig, base: int, depthwise: bool) -> TileJob:
    numbers = np.random.default_rng(rng.getrandbits(32))
    mode = rng.choice(array.modes)
    signed = rng.choice(array.signednesses)
    word = array.rows * mode.channels
    channels = rng.randint(1, 2 * word + 1)
    outputs = channels if depthwise else rng.randint(1, 2 * array.columns * mode.lanes + 1)
    height, width = rng.randint(1, 7), rng.randint(1, 7)
    kernel = (rng.randint(1, 3), rng.randint(1, 3))
    stride = (rng.randint(1, 2), rng.randint(1, 2))
    pad = (rng.randint(0, 1), rng.randint(0, 1))
    sizes = tuple(
        max(1, (size + 2 * p - k) // s + 1)
        for size, p, k, s in zip((height, width), pad, kernel, stride, strict=True)
    )
    limit_a, limit_w = rng.randint(1, 8 - signed), rng.randint(1, 7)
    a_format = array.activation_format(mode.activation_bits, signed, limit_a)
    w_format = array.weight_format(mode.weight_bits, limit_w)
    out_signed = array.family == "esb" or rng.random() < 0.5
    out_bits = rng.choice(array.activation_widths)
    out_limit = rng.randint(1, out_bits - out_signed)
    out_format = array.activation_format(out_bits, out_signed, out_limit)
    if array.family == "dybit":  # of which any limit can be encoded, built or not
        out_format = DyBit(out_bits, out_signed, out_limit)
    raw = rng.choice((0, 0, 0, 1, 2, 2))
    relu = rng.random() < 0.5
    max_code = rng.choice((255, 255, rng.randint(1, (1 << out_bits) - 1)))

    a_codes = numbers.integers(0, 1 << mode.activation_bits, (1, height, width, channels))
    taps = (*kernel, 1 if depthwise else channels)
    w_codes = numbers.integers(0, 1 << mode.weight_bits, (outputs, *taps)).astype(np.uint8)
    a_integers = a_format.integers(a_codes.astype(np.uint8))
    w_integers = w_format.integers(w_codes)
    acc = _convolve(a_integers, w_integers, stride, pad, sizes, depthwise)
    reach = int(np.abs(acc).max()) + 1
    bias = numbers.integers(-reach, reach + 1, outputs)
    multiplier = numbers.integers(0, 1 << 16, outputs)
    top = max(1, reach.bit_length() + 16 - 2 * out_bits)
    shift = np.clip(numbers.integers(top - 3, top + 4, outputs), 0, 63)

    lanes = 1 if depthwise else mode.lanes
    tiles = -(-outputs // (array.columns * lanes))
    slot = array.columns * ((out_bits, 32, 64)[raw]) // 8
    real = -(-outputs // array.columns)
    pixel_bytes = -(-real * slot // array.rows) * array.rows
    groups = pixel_bytes // slot if pixel_bytes % slot == 0 else real
    pitch = -(-pixel_bytes // array.columns)
    pixels = sizes[0] * sizes[1]
    blocks = -(-channels // word)
    address = {name: base + i * PAGE for i, name in enumerate(("a", "w", "p", "o"))}
    whole = pitch * array.columns == pixel_bytes
    fields = {
        "kind": int(depthwise),
        "mode": MODES.index(mode),
        "input_signed": int(signed),
        "input_limit": limit_a,
        "weight_limit": limit_w,
        "output_width": {2: 0, 4: 1, 8: 2}[out_bits],
        "output_signed": int(out_signed),
        "output_limit": out_limit,
        "relu": int(relu),
        "raw": raw,
        "barrier": rng.randint(0, 1),
        "last": 0,
        "max_code": max_code,
        "input_address": address["a"],
        "input_rows": height,
        "input_row_words": width * blocks,
        "input_row_stride": (width * blocks + 3) * array.rows,
        "input_height": height,
        "input_width": width,
        "blocks": blocks,
        "tail": channels - (blocks - 1) * word,
        "kernel_height": kernel[0],
        "kernel_width": kernel[1],
        "stride_y": stride[0],
        "stride_x": stride[1],
        "pad_top": pad[0],
        "pad_left": pad[1],
        "block_count": 1 if depthwise else blocks,
        "block_step": 0,
        "column_tiles": tiles,
        "output_groups": groups,
        "output_height": sizes[0],
        "output_width_pixels": sizes[1],
        "output_pitch": pitch,
        "weights_address": address["w"],
        "parameters_address": address["p"],
        "output_address": address["o"],
        "output_rows": 1 if whole else pixels,
        "output_row_bytes": pixel_bytes * (pixels if whole else 1),
        "output_row_stride": pixel_bytes,
        "output_row_words": pitch * (pixels if whole else 1),
    }
    job = TileJob(fields)

    padded = np.zeros((height, width, blocks * word), np.int64)
    padded[..., :channels] = a_codes[0]
    # What lies beyond the last channel must not matter.
    padded[..., channels:] = numbers.integers(0, 1 << mode.activation_bits, padded.shape)[
        ..., channels:
    ]
    packed = _bits(padded.reshape(height, -1), mode.activation_bits)
    for y in range(height):
        job.inputs[address["a"] + y * fields["input_row_stride"]] = packed[y].tobytes()
    if depthwise:
        job.inputs[address["w"]] = _depthwise_weights(array, mode, w_codes, tiles)
    else:
        job.inputs[address["w"]] = _weights(array, mode, w_codes, tiles, blocks)
    job.inputs[address["p"]] = _parameters(array, tiles * lanes, bias, multiplier, shift)

    if raw:
        results = acc.reshape(pixels, outputs)
        bits = (32, 64)[raw - 1]
    else:
        codes = golden.requantize(acc, bias, multiplier, shift, out_format, relu)
        results = _capped(codes.reshape(pixels, outputs), out_format, max_code)
        bits = out_bits
    total = np.zeros((pixels, pixel_bytes * 8 // bits), np.int64)
    total[:, :outputs] = results
    blank = job.outputs
    blank[address["o"]] = (
        total.astype(f"<i{bits // 8}").tobytes() if raw else _bits(total, bits).tobytes()
    )
    return job


def _convolve(
    a: NDArray[np.int64],
    w: NDArray[np.int64],
    stride: tuple[int, int],
    pad: tuple[int, int],
    sizes: tuple[int, ...],
    depthwise: bool,
) -> NDArray[np.int64]:
    """Return the sums (1, OH, OW, N); there is room right and below for every window."""
    _, height, width, channels = a.shape
    room = np.zeros((height + 20, width + 20, channels), np.int64)
    room[pad[0] : pad[0] + height, pad[1] : pad[1] + width] = a[0]
    out = np.zeros((1, *sizes, len(w)), np.int64)
    for ky in range(w.shape[1]):
        for kx in range(w.shape[2]):
            window = room[ky:, kx:][:: stride[0], :: stride[1]][: sizes[0], : sizes[1]]
            if depthwise:
                out[0] += window * w[:, ky, kx, 0]
            else:
                out[0] += window @ w[:, ky, kx].T
    return out


def _capped(codes: NDArray[np.uint8], fmt, max_code: int) -> NDArray[np.uint8]:
    """Return codes whose magnitude goes no further than `max_code`."""
    sign = 1 << fmt.bits - 1 if fmt.signed else 0
    magnitude = np.minimum(codes & ~np.uint8(sign), min(max_code, 255))
    return (magnitude | codes & np.uint8(sign)).astype(np.uint8)


def _bits(codes: NDArray[np.int64], bits: int) -> NDArray[np.uint8]:
    """Pack the last axis, element 0 in the least significant bits of a byte."""
    per_byte = 8 // bits
    grouped = codes.reshape(*codes.shape[:-1], -1, per_byte)
    shifts = bits * np.arange(per_byte)
    return np.bitwise_or.reduce(grouped << shifts, axis=-1).astype(np.uint8)


def _weights(
    array: ArrayConfig, mode: PrecisionMode, codes: NDArray[np.uint8], tiles: int, blocks: int
) -> bytes:
    """Write the weights out loop by loop, as the contract has them."""
    rows, columns, channels, lanes = array.rows, array.columns, mode.channels, mode.lanes
    outputs, kernel_height, kernel_width, inputs = codes.shape
    result = bytearray()
    for t in range(tiles):
        for ky in range(kernel_height):
            for kx in range(kernel_width):
                for block in range(blocks):
                    for row in reversed(range(rows)):
                        for column in range(columns):
                            for j in range(channels):
                                byte = 0
                                k = (block * rows + row) * channels + j
                                for lane in range(lanes):
                                    n = (t * lanes + lane) * columns + column
                                    if n < outputs and k < inputs:
                                        code = int(codes[n, ky, kx, k])
                                        byte |= code << mode.weight_bits * lane
                                result.append(byte)
    return bytes(result)


def _depthwise_weights(
    array: ArrayConfig, mode: PrecisionMode, codes: NDArray[np.uint8], groups: int
) -> bytes:
    outputs, kernel_height, kernel_width, _ = codes.shape
    result = bytearray()
    for group in range(groups):
        for ky in range(kernel_height):
            for kx in range(kernel_width):
                for column in range(array.columns):
                    n = group * array.columns + column
                    result.append(int(codes[n, ky, kx, 0]) if n < outputs else 0)
                    result.extend(bytes(mode.channels - 1))
    return bytes(result)


def _parameters(
    array: ArrayConfig,
    groups: int,
    bias: NDArray[np.int64],
    multiplier: NDArray[np.int64],
    shift: NDArray[np.int64],
) -> bytes:
    result = bytearray()
    for n in range(groups * array.columns):
        if n < len(bias):
            result += int(bias[n]).to_bytes(6, "little", signed=True)
            result += int(multiplier[n]).to_bytes(2, "little") + bytes([int(shift[n])]) + bytes(7)
        else:
            result += bytes(16)
    return bytes(result)
