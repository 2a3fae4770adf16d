"""Where the buffers of drawn layers lie in a memory: anywhere they may, with room between them."""

from __future__ import annotations

import random
from collections.abc import Mapping

from dybit.quant.array_config import ArrayConfig
from tests.hw.tile_jobs import PAGE, TileJob, in_rows

__all__ = ["BEAT", "LINE", "Shelf"]

BEAT = 16
LINE = 64
"""Alignment of lists, weights and parameters."""

EDGE = 4096
"""No burst crosses a multiple of it."""

LINED = ("weights_address", "parameters_address")
FREE = ("input_address", "output_address")


class Shelf:
    """Places buffers one after the other, many of them across an edge of 4 KiB.

    Parameters
    ----------
    rng
    array
        Input and output are aligned to its rows.
    base, size
        The memory.

    Members
    -------
    end : int
        The first address that is free.
    """

    def __init__(self, rng: random.Random, array: ArrayConfig, base: int, size: int) -> None:
        self.rng = rng
        self.array = array
        self.end = base
        self.top = base + size

    def place(self, size: int, alignment: int = LINE, start: int = 0) -> int:
        """Return the address of so many bytes, `start` above a multiple of `alignment`.

        Some bytes before and after them are nobody's.
        """
        address = self.end + self.rng.randrange(17, 80)
        edge = -(-address // EDGE) * EDGE
        if self.rng.random() < 0.5:
            address = max(address, edge - self.rng.randrange(size + 1))
        address = -(-address // alignment) * alignment + start
        self.end = address + size
        assert self.end + EDGE < self.top, "the memory is too small"
        return address

    def spread(self, job: TileJob) -> TileJob:
        """Return the layer placed, with gaps between rows, or pixels, of its output, if it may."""
        f = job.fields
        if f["output_rows"] == 1:
            pixels = f["output_height"] * f["output_width_pixels"]
            rows = self.rng.choice((1, f["output_height"], pixels))
            job = in_rows(job, rows, self.array.rows * self.rng.randrange(5))
        return self.put(job)

    def put(self, job: TileJob, starts: Mapping[str, int] | None = None) -> TileJob:
        """Return the same layer with its buffers placed.

        Parameters
        ----------
        job
        starts
            Position in a beat of the first byte of input and output; any that may be if absent.
        """
        rows = self.array.rows
        unit = max(rows, BEAT)
        if starts is None:
            starts = {name: rows * self.rng.randrange(unit // rows) for name in FREE}
        sizes = _sizes(job, self.array)
        addresses = {name: self.place(sizes[name]) for name in LINED}
        addresses |= {name: self.place(sizes[name], unit, starts[name]) for name in FREE}
        return _moved(job, addresses)


def _sizes(job: TileJob, array: ArrayConfig) -> dict[str, int]:
    """Return the bytes that each buffer spans, by the field that points at it."""
    f = job.fields
    return {
        "input_address": (f["input_rows"] - 1) * f["input_row_stride"]
        + f["input_row_words"] * array.rows,
        "output_address": (f["output_rows"] - 1) * f["output_row_stride"] + f["output_row_bytes"],
        **{name: len(job.inputs[f[name]]) for name in LINED},
    }


def _moved(job: TileJob, addresses: dict[str, int]) -> TileJob:
    def move(parts: dict[int, bytes]) -> dict[int, bytes]:
        result = {}
        for address, content in parts.items():
            (name,) = (n for n in addresses if 0 <= address - job.fields[n] < PAGE)
            result[address - job.fields[name] + addresses[name]] = content
        return result

    return TileJob(job.fields | addresses, move(job.inputs), move(job.outputs))
