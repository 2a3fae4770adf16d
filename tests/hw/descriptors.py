"""Descriptors as numbers, and the rules they obey, written down a second time."""

from __future__ import annotations

import random
from collections.abc import Iterator

from dybit.quant.accelerator_config import AcceleratorConfig
from dybit.quant.array_config import ArrayConfig
from dybit.quant.precision import MODES

__all__ = ["DESCRIPTOR_BYTES", "PLACES", "broken_rules", "illegal", "legal", "pack"]

DESCRIPTOR_BYTES = 128
WORDS = 24
"""Words of 32 bits that have fields."""

TOGETHER = (
    ("input_height", "input_rows"),
    ("output_pitch", "output_row_words"),
    ("column_tiles", "output_groups", "output_pitch", "output_row_words"),
    ("pad_top", "output_height", "output_rows"),
    ("pad_top", "output_height", "output_row_words"),
)
"""Fields that break a rule alone only where they grow together."""

SEARCH = 2000
"""Descriptors looked at to find one that breaks a rule alone."""

# Word, lowest bit and size of each field, from the contract and not from the code.
PLACES = {
    "kind": (0, 0, 2),
    "mode": (0, 2, 3),
    "input_signed": (0, 5, 1),
    "input_limit": (0, 6, 4),
    "weight_limit": (0, 10, 4),
    "output_width": (0, 14, 2),
    "output_signed": (0, 16, 1),
    "output_limit": (0, 17, 4),
    "relu": (0, 21, 1),
    "raw": (0, 22, 2),
    "barrier": (0, 24, 1),
    "last": (0, 25, 1),
    "max_code": (1, 0, 8),
    "input_address": (2, 0, 64),
    "input_rows": (4, 0, 16),
    "input_row_words": (4, 16, 16),
    "input_row_stride": (5, 0, 32),
    "input_height": (6, 0, 16),
    "input_width": (6, 16, 16),
    "blocks": (7, 0, 16),
    "tail": (7, 16, 16),
    "kernel_height": (8, 0, 8),
    "kernel_width": (8, 8, 8),
    "stride_y": (8, 16, 8),
    "stride_x": (8, 24, 8),
    "pad_top": (9, 0, 8),
    "pad_left": (9, 8, 8),
    "block_count": (10, 0, 16),
    "block_step": (10, 16, 16),
    "column_tiles": (11, 0, 16),
    "output_groups": (11, 16, 16),
    "output_height": (12, 0, 16),
    "output_width_pixels": (12, 16, 16),
    "output_pitch": (13, 0, 16),
    "weights_address": (14, 0, 64),
    "parameters_address": (16, 0, 64),
    "output_address": (18, 0, 64),
    "output_rows": (20, 0, 32),
    "output_row_bytes": (21, 0, 32),
    "output_row_stride": (22, 0, 32),
    "output_row_words": (23, 0, 32),
}


def pack(fields: dict[str, int], reserved: int = 0) -> int:
    """Return the 1,024 bits of a descriptor; `reserved` sets bits that belong to no field."""
    value = reserved
    for name, (word, low, bits) in PLACES.items():
        if fields[name] >> bits:
            raise ValueError(f"{name} must have {bits} bits, not {fields[name]}")
        value |= fields[name] << 32 * word + low
    return value


def legal(rng: random.Random, array: ArrayConfig, accelerator: AcceleratorConfig) -> dict[str, int]:
    """Return a descriptor that obeys every rule."""
    while True:
        fields = _draw(rng, array, accelerator)
        if not broken_rules(fields, array, accelerator):
            return fields


def _draw(rng: random.Random, array: ArrayConfig, accelerator: AcceleratorConfig) -> dict[str, int]:
    mode = rng.choice(array.modes)
    depthwise = accelerator.depthwise_kernel > 0 and rng.random() < 0.3
    lanes = 1 if depthwise else mode.lanes
    blocks, height, width = rng.randint(1, 4), rng.randint(1, 9), rng.randint(1, 9)
    kernel = [rng.randint(1, 3) for _ in range(2)]
    stride = [rng.randint(1, 2) for _ in range(2)]
    pad = [rng.randint(0, 2) for _ in range(2)]
    sizes = [
        rng.randint(1, (size + before - 1) // step + 1)
        for size, before, step in zip((height, width), pad, stride, strict=True)
    ]
    parts = max(1, array.rows * mode.channels // array.columns)
    tiles = rng.randint(1, blocks * parts if depthwise else 3)
    count = 1 if depthwise else rng.randint(1, blocks)
    step = 0 if depthwise or tiles == 1 else rng.randint(0, (blocks - count) // (tiles - 1))
    raw = rng.choice((0, 0, 0, 2))
    bits = rng.choice(array.activation_widths)
    groups = rng.randint((tiles - 1) * lanes + 1, tiles * lanes + 1)
    slot = (bits, 32, 64)[raw]
    pitch = -(-groups * slot // 8) + rng.randint(0, 1)
    pixels = sizes[0] * sizes[1]
    by_pixel = rng.random() < 0.5
    return {
        "kind": int(depthwise),
        "mode": MODES.index(mode),
        "input_signed": int(rng.choice(array.signednesses)),
        "input_limit": rng.randint(1, 8),
        "weight_limit": rng.randint(1, 7),
        "output_width": {2: 0, 4: 1, 8: 2}[bits],
        "output_signed": rng.randint(0, 1),
        "output_limit": rng.randint(1, 8),
        "relu": rng.randint(0, 1),
        "raw": raw,
        "barrier": rng.randint(0, 1),
        "last": rng.randint(0, 1),
        "max_code": rng.randint(0, 255),
        "input_address": rng.randrange(1 << 20) * array.rows,
        "input_rows": height,
        "input_row_words": width * blocks,
        "input_row_stride": rng.randrange(1 << 10) * array.rows,
        "input_height": height,
        "input_width": width,
        "blocks": blocks,
        "tail": rng.randint(1, array.rows * mode.channels),
        "kernel_height": kernel[0],
        "kernel_width": kernel[1],
        "stride_y": stride[0],
        "stride_x": stride[1],
        "pad_top": pad[0],
        "pad_left": pad[1],
        "block_count": count,
        "block_step": step,
        "column_tiles": tiles,
        "output_groups": groups,
        "output_height": sizes[0],
        "output_width_pixels": sizes[1],
        "output_pitch": pitch,
        "weights_address": rng.randrange(1 << 20) * 64,
        "parameters_address": rng.randrange(1 << 20) * 64,
        "output_address": rng.randrange(1 << 20) * array.rows,
        "output_rows": pixels if by_pixel else 1,
        "output_row_bytes": pitch * array.columns * (1 if by_pixel else pixels),
        "output_row_stride": rng.randrange(1 << 10) * array.rows,
        "output_row_words": pitch * (1 if by_pixel else pixels),
    }


def illegal(
    rng: random.Random, array: ArrayConfig, accelerator: AcceleratorConfig, rules: list[str]
) -> Iterator[tuple[dict[str, int], int]]:
    """Yield descriptors and bits of no field: for each field that can be wrong, for each rule.

    They break one rule where that can be, and as few as were found where not. A rule that this
    build cannot break is left out.
    """
    yield legal(rng, array, accelerator), 1 << rng.randrange(32 * WORDS, 8 * DESCRIPTOR_BYTES)
    for field, rule in [*((name, None) for name in PLACES), *((None, rule) for rule in rules)]:
        best: dict[str, int] = {}
        fewest = len(rules) + 1
        for _ in range(SEARCH):
            fields = legal(rng, array, accelerator)
            name = field or rng.choice(list(PLACES))
            value = fields[name]
            alone = field is not None or rng.random() < 0.5
            if alone:
                _spoil(rng, fields, name)
            else:
                factor = rng.randint(2, 64)
                for member in rng.choice(TOGETHER):
                    fields[member] = min(fields[member] * factor, (1 << PLACES[member][2]) - 1)
            broken = broken_rules(fields, array, accelerator)
            if (rule in broken if rule else broken) and len(broken) < fewest:
                best, fewest = fields, len(broken)
                if alone:
                    best |= {name: _barely(fields, name, value, array, accelerator)}
            if fewest == 1:
                break
        if best:
            yield best, 0


def _barely(
    fields: dict[str, int],
    name: str,
    value: int,
    array: ArrayConfig,
    accelerator: AcceleratorConfig,
) -> int:
    """Return what breaks the same rules and is next to a value of the field that does not."""
    broken = broken_rules(fields, array, accelerator)
    low, high = value, fields[name]
    while abs(high - low) > 1:
        middle = (low + high) // 2
        if broken_rules(fields | {name: middle}, array, accelerator) == broken:
            high = middle
        else:
            low = middle
    return high


def _spoil(rng: random.Random, fields: dict[str, int], name: str) -> None:
    """Give a field a value near its own, or near the ends of what it can hold."""
    value, bits = fields[name], PLACES[name][2]
    top = (1 << bits) - 1
    near = (value - 1, value + 1, value ^ 1 << rng.randrange(bits), 2 * value)
    anywhere = (0, top, top >> 1, rng.randint(0, top))
    fields[name] = min(max(rng.choice((*anywhere, *near, *near)), 0), top)


def broken_rules(
    fields: dict[str, int],
    array: ArrayConfig,
    accelerator: AcceleratorConfig,
    reserved: int = 0,
) -> set[str]:
    """Return the rules that a descriptor breaks."""
    f = fields
    mode = MODES[f["mode"]] if f["mode"] < len(MODES) else None
    built = mode in array.modes
    depthwise = f["kind"] == 1
    kernel = accelerator.depthwise_kernel
    pixels = f["output_height"] * f["output_width_pixels"]
    reach_y = (f["output_height"] - 1) * f["stride_y"]
    reach_x = (f["output_width_pixels"] - 1) * f["stride_x"]
    words = f["input_height"] * f["input_width"] * f["blocks"]
    widths = {2: 0, 4: 1, 8: 2}
    built_widths = {widths[bits] for bits in array.activation_widths}
    optional = {"barrier", "last", "max_code", "kind", "mode", "input_signed", "relu", "raw"}
    optional |= {"input_limit", "weight_limit", "output_width", "output_signed", "output_limit"}
    optional |= {"pad_top", "pad_left", "block_step", "input_row_stride", "output_row_stride"}
    optional |= {name for name in f if name.endswith("address")}
    broken = {
        "reserved": reserved != 0,
        "kind": f["kind"] > (1 if kernel else 0),
        "mode": not built,
        "signedness": bool(f["input_signed"]) not in array.signednesses,
        "output_width": f["output_width"] not in built_widths or f["raw"] == 3,
        "input_address": bool(
            f["input_address"] % array.rows
            or f["input_row_stride"] % array.rows
            or f["input_address"] >> 40
        ),
        "weights_address": bool(f["weights_address"] % 64 or f["weights_address"] >> 40),
        "parameters_address": bool(f["parameters_address"] % 64 or f["parameters_address"] >> 40),
        "output_address": bool(
            f["output_address"] % array.rows
            or f["output_row_stride"] % array.rows
            or f["output_address"] >> 40
        ),
        "counts": any(value == 0 for name, value in f.items() if name not in optional),
        "input_words": words > accelerator.activation_words,
        "input_rows": f["input_rows"] * f["input_row_words"] != words,
        "pixels": pixels > array.accumulator_depth // 2,
        "output_words": pixels * f["output_pitch"] > accelerator.output_words,
        "output_rows": f["output_rows"] * f["output_row_words"] != pixels * f["output_pitch"]
        or f["output_row_bytes"] > f["output_row_words"] * array.columns,
        "blocks": not depthwise
        and (f["column_tiles"] - 1) * f["block_step"] + f["block_count"] > f["blocks"],
        "extent": reach_y >= f["input_height"] + f["pad_top"]
        or reach_x >= f["input_width"] + f["pad_left"],
        "size": f["output_row_bytes"] >= 1 << 24,
    }
    if mode is not None and built:
        lanes = 1 if depthwise else mode.lanes
        slot = ((2, 4, 8, 0)[f["output_width"]], 32, 64, 0)[f["raw"]]
        parts = max(1, array.rows * mode.channels // array.columns)
        broken |= {
            "tail": f["tail"] > array.rows * mode.channels,
            "parameters": f["column_tiles"] * lanes > accelerator.parameter_groups,
            "groups": f["output_groups"] <= (f["column_tiles"] - 1) * lanes,
            "pitch": f["output_groups"] * slot > 8 * f["output_pitch"],
            "depthwise": depthwise
            and (
                f["kernel_height"] > kernel
                or f["kernel_width"] > kernel
                or f["block_count"] != 1
                or f["block_step"] != 0
                or f["column_tiles"] > f["blocks"] * parts
                or reach_x + f["kernel_width"] > accelerator.depthwise_width
                or max(reach_x + f["kernel_width"], reach_y + f["kernel_height"]) >= 1 << 16
            ),
        }
        broken["output_width"] |= f["raw"] == 1 and array.accumulator_lane_bits(mode) > 32
    return {name for name, is_broken in broken.items() if is_broken}
