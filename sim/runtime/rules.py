"""What a legal descriptor obeys, with the numbers that the hardware reports."""

from __future__ import annotations

from collections.abc import Sequence

from dybit.quant.precision import MODES
from dybit.sim.board_driver import Fields
from dybit.sim.runtime.engine_layer import CODE_WIDTHS, Hardware

__all__ = ["ADDRESS_LIMIT", "RULES", "broken_rule"]

RULES = (
    *("reserved", "kind", "mode", "signedness", "output_width", "input_address"),
    *("weights_address", "parameters_address", "output_address", "counts", "tail", "parameters"),
    *("groups", "pitch", "depthwise", "input_words", "input_rows", "pixels", "output_words"),
    *("output_rows", "blocks", "extent", "size"),
)
"""Names of the rules; a report's detail is the number of one, from 1."""

ADDRESS_LIMIT = 1 << 40
_COUNTS = (
    *("input_rows", "input_row_words", "input_height", "input_width", "blocks", "tail"),
    *("kernel_height", "kernel_width", "stride_y", "stride_x", "block_count", "column_tiles"),
    *("output_groups", "output_height", "output_width_pixels", "output_pitch", "output_rows"),
    *("output_row_bytes", "output_row_words"),
)
_ROW_BYTES_LIMIT = 1 << 24


def broken_rule(fields: Fields, reserved: bool, hardware: Hardware) -> int:
    """Return the number of a rule that a descriptor breaks, 0 if it is legal.

    Of several it is the first in the order in which the hardware looks.

    Parameters
    ----------
    fields : dict of str to int
    reserved : bool
        Whether a bit that belongs to no field is set.
    """
    broken = (
        "reserved"
        if reserved
        else next((rule for rule, breaks in _looks(fields, hardware) if breaks), None)
    )
    return 0 if broken is None else RULES.index(broken) + 1


def _looks(f: Fields, hardware: Hardware) -> Sequence[tuple[str, bool]]:
    array, accelerator = hardware.array, hardware.accelerator
    rows, columns = array.rows, array.columns
    depthwise = f["kind"] == 1
    built = f["mode"] < len(MODES) and MODES[f["mode"]] in array.modes
    # What needs the mode is not looked at where it is none.
    mode = MODES[f["mode"]] if built else array.modes[0]
    lanes = 1 if depthwise else mode.lanes
    widths = [CODE_WIDTHS[bits] for bits in array.activation_widths]
    bits = (2 << f["output_width"], 32, 64)[min(f["raw"], 2)]
    kernel = accelerator.depthwise_kernel
    words = f["input_height"] * f["input_width"] * f["blocks"]
    pixels = f["output_height"] * f["output_width_pixels"]
    stored = f["output_rows"] * f["output_row_words"]
    end_y = (f["output_height"] - 1) * f["stride_y"]
    end_x = (f["output_width_pixels"] - 1) * f["stride_x"]
    last = (f["column_tiles"] - 1) * f["block_step"] + f["block_count"]
    unit = (
        max(f["kernel_height"], f["kernel_width"]) > kernel
        or f["block_count"] != 1
        or f["block_step"] > 0
        or f["column_tiles"] * columns > f["blocks"] * rows * mode.channels
    )
    return [
        ("kind", f["kind"] > (kernel > 0)),
        ("mode", not built),
        ("signedness", bool(f["input_signed"]) not in array.signednesses),
        (
            "output_width",
            f["output_width"] not in widths
            or f["raw"] == 3
            or (f["raw"] == 1 and array.accumulator_lane_bits(mode) > 32),
        ),
        ("input_address", _misplaced(f["input_address"], rows) or f["input_row_stride"] % rows > 0),
        ("weights_address", _misplaced(f["weights_address"], 64)),
        ("parameters_address", _misplaced(f["parameters_address"], 64)),
        (
            "output_address",
            _misplaced(f["output_address"], rows) or f["output_row_stride"] % rows > 0,
        ),
        ("counts", not all(f[name] for name in _COUNTS)),
        ("tail", f["tail"] > rows * mode.channels),
        ("parameters", f["column_tiles"] * lanes > accelerator.parameter_groups),
        ("groups", f["output_groups"] <= (f["column_tiles"] - 1) * lanes),
        ("pitch", f["output_groups"] * bits > 8 * f["output_pitch"]),
        ("depthwise", depthwise and unit),
        ("size", f["output_row_bytes"] >= _ROW_BYTES_LIMIT),
        ("input_words", words > accelerator.activation_words),
        ("input_rows", f["input_rows"] * f["input_row_words"] != words),
        ("pixels", pixels > hardware.half),
        ("output_words", pixels * f["output_pitch"] > accelerator.output_words),
        (
            "output_rows",
            stored != pixels * f["output_pitch"]
            or f["output_row_bytes"] > f["output_row_words"] * columns,
        ),
        ("blocks", not depthwise and last > f["blocks"]),
        ("extent", end_y >= f["input_height"] + f["pad_top"]),
        ("extent", end_x >= f["input_width"] + f["pad_left"]),
        ("depthwise", depthwise and end_x + f["kernel_width"] > accelerator.depthwise_width),
    ]


def _misplaced(address: int, alignment: int) -> bool:
    return address % alignment > 0 or address >= ADDRESS_LIMIT
