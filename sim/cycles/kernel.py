"""The recurrences in C++, compiled on first use and kept."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from math import prod
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dybit.quant.precision import MODES
from dybit.sim.board_driver import DESCRIPTOR_BYTES, Fields
from dybit.sim.cycles.machine import Machine
from dybit.sim.library import build_kernel
from dybit.sim.runtime.tiles import Columns

__all__ = ["TILE", "TOTALS", "columns_of", "constants", "replay", "tile_table"]

SOURCE = Path(__file__).with_name("kernel.cpp")

INTERVAL_ONE = 256
"""What the kernel calls a cycle from a beat to the next."""

# The members of the structures in kernel.cpp, in their order.
MACHINE = (
    *("rows", "columns", "weight_rows", "accumulate", "revisit", "codes"),
    *("check", "split", "read", "walk", "write"),
    *("burst_beats", "buffer_beats", "bursts", "tiles", "latency", "interval", "leaps"),
)
TILE = (
    *("list_address", "barrier"),
    *("input_address", "input_rows", "input_row_words", "input_row_stride"),
    *("parameters_address", "parameter_groups"),
    *("weights_address", "depthwise", "weight_bytes", "command_units", "taps"),
    *("passes", "column_tiles", "passes_each"),
    *("row_units", "vectors", "pixels", "lanes", "groups", "parts"),
    *("output_address", "output_rows", "output_row_bytes", "output_row_stride"),
)
TOTALS = (
    *("cycles", "begin", "end", "wait_weights", "wait_input", "wait_results"),
    *("descriptor_beats", "parameter_beats", "weight_beats", "input_beats", "output_beats"),
    *("vectors", "depthwise", "passes", "weight_rows"),
)
"""What `replay` tells: cycles of the run, of its first and its last vector; waits, beats, work."""

_FIELDS = (
    *("kind", "mode", "raw", "barrier", "kernel_height", "kernel_width", "stride_y", "stride_x"),
    *("block_count", "column_tiles", "output_height", "output_width_pixels", "output_groups"),
    *("input_address", "input_rows", "input_row_words", "input_row_stride"),
    *("weights_address", "parameters_address"),
    *("output_address", "output_rows", "output_row_bytes", "output_row_stride"),
)
_fields = itemgetter(*_FIELDS)
_SAME = (
    *("barrier", "input_rows", "input_row_words", "input_row_stride", "column_tiles"),
    *("output_rows", "output_row_bytes", "output_row_stride"),
)
_ADDRESSES = ("input_address", "parameters_address", "weights_address", "output_address")
_CHANNELS = np.array([mode.channels for mode in MODES])
_LANES = np.array([mode.lanes for mode in MODES])
_PARTS = np.array([1, 4, 8])
"""Words of a group in the output memory: of codes, and of sums of 32 and of 64 bits."""

Table = NDArray[np.int64]


def tile_table(
    columns: Columns,
    shape: tuple[int, ...],
    machine: Machine,
    base: int = 0,
    list_address: int = 0,
) -> Table:
    """Return what the kernel is told of descriptors.

    Parameters
    ----------
    columns : dict of str to int or ndarray
        Fields of legal descriptors, as `dybit.sim.runtime.tiles.tile_columns` gives them.
    shape : tuple of int
        Of all tiles.
    machine : Machine
    base : int
        Where the addresses count from.
    list_address : int
        Of the first descriptor.
    """
    f = columns
    rows, elements = machine.array.rows, machine.array.columns
    depthwise = f["kind"] == 1
    select: Callable[..., Any] = np.where
    channels: Any = _CHANNELS[f["mode"]]
    lanes: Any = _LANES[f["mode"]]
    parts: Any = _PARTS[f["raw"]]
    if isinstance(depthwise, bool):
        # All tiles alike: Python's integers are faster than arrays of one.
        select = _choose
        channels, lanes, parts = int(channels), int(lanes), int(parts)
    lanes = select(depthwise, 1, lanes)
    taps = f["kernel_height"] * f["kernel_width"]
    pixels = f["output_height"] * f["output_width_pixels"]
    # The unit sees every pixel from the first window to the last.
    walked = ((f["output_height"] - 1) * f["stride_y"] + f["kernel_height"]) * (
        (f["output_width_pixels"] - 1) * f["stride_x"] + f["kernel_width"]
    )
    passes_each = select(depthwise, 1, taps * f["block_count"])
    weight_rows = select(depthwise, taps * f["column_tiles"], rows)
    known = {
        "list_address": list_address + DESCRIPTOR_BYTES * np.arange(prod(shape)).reshape(shape),
        "depthwise": depthwise,
        "parameter_groups": f["column_tiles"] * lanes,
        "weight_bytes": weight_rows * elements * channels,
        "command_units": weight_rows * channels,
        "taps": taps,
        "passes": f["column_tiles"] * passes_each,
        "passes_each": passes_each,
        "row_units": channels,
        "vectors": select(depthwise, walked, pixels),
        "pixels": pixels,
        "lanes": lanes,
        "groups": f["output_groups"],
        "parts": parts,
        **{name: f[name] for name in _SAME},
        **{name: f[name] + base for name in _ADDRESSES},
    }
    values = [known[name] for name in TILE]
    varying = [i for i, value in enumerate(values) if isinstance(value, np.ndarray)]
    table = np.empty((*shape, len(TILE)), np.int64)
    table[:] = [0 if isinstance(value, np.ndarray) else value for value in values]
    for place in varying:
        table[..., place] = values[place]
    return table.reshape(-1, len(TILE))


def _choose(condition: bool, yes: Any, no: Any) -> Any:
    return yes if condition else no


def columns_of(fields: Sequence[Fields]) -> tuple[Columns, tuple[int, ...]]:
    """Return the fields of a list of descriptors as `tile_table` takes them."""
    given = np.array([_fields(tile) for tile in fields], np.int64)
    return dict(zip(_FIELDS, given.T, strict=True)), (len(given),)


def constants(machine: Machine, leaps: bool = True) -> Table:
    """Return what the kernel is told of an accelerator and its memory.

    Without `leaps` it goes through what repeats itself, too, to the same end.
    """
    memory = machine.memory
    known = {
        **machine.latency,
        "rows": machine.array.rows,
        "columns": machine.array.columns,
        "weight_rows": machine.accelerator.weight_rows,
        "latency": memory.latency,
        "interval": round(memory.beat_cycles * INTERVAL_ONE),
        "leaps": int(leaps),
    }
    return np.array([known[name] for name in MACHINE], np.int64)


def replay(table: Table, machine: Table) -> dict[str, int]:
    """Return the `TOTALS` of a run.

    Parameters
    ----------
    table : ndarray of int64, shape (tiles, members)
        As `tile_table` makes it.
    machine : ndarray of int64
        As `constants` makes it.
    """
    tiles, machine = (np.ascontiguousarray(each, np.int64) for each in (table, machine))
    totals = (ctypes.c_int64 * len(TOTALS))()
    _run()(machine.ctypes.data, tiles.ctypes.data, totals, len(tiles))
    found = dict(zip(TOTALS, totals, strict=True))
    if found["cycles"] < 0:
        raise RuntimeError("the run of these tiles does not end: descriptors must be legal")
    return found


@cache
def _run() -> Callable[..., None]:
    function = ctypes.CDLL(str(build_kernel(SOURCE))).cycles_run
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    function.restype = None
    run: Callable[..., None] = function
    return run
